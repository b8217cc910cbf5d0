/**
 * From values to items: encoding, ids, checks and trace, all before anything is sent.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { checkId, type NewItem, newItem } from "../dsset/format/stored.ts"
import { Encode, EventRejected, InvalidId, TooLarge } from "../EventboxError.ts"
import { isTraced } from "../ground/span.ts"
import { Ids } from "../Ids.ts"
import type { Key } from "../Key.ts"
import type { PayloadCodec } from "../Processor.ts"
import { messageOf } from "../processor/codec.ts"

/** A value to emit, and its id when the caller gave one. */
export interface Emission<A> {
  readonly value: A
  readonly id: string | undefined
}

/** What one emit adds. */
export interface Emitted {
  readonly ids: ReadonlyArray<string>
  readonly items: ReadonlyArray<NewItem>
}

/** Items of one emit, all with the same time: the time of the first try, which retries keep. */
export const makeItems = Effect.fnUntraced(function*<A>(
  codec: PayloadCodec<A>,
  recipient: Key,
  emissions: ReadonlyArray<Emission<A>>,
  maxEntityBytes: number
): Effect.fn.Return<Emitted, EventRejected> {
  const context = yield* Effect.context<never>()
  const source = Context.get(context, Ids)
  const trace = currentTrace(context)
  const atMillis = yield* Clock.currentTimeMillis
  const items: Array<NewItem> = []
  const ids = new Set<string>()
  for (const emission of emissions) {
    const encoded = codec.encode(emission.value)
    // A fiber step per event is what it would cost.
    const value = Exit.isExit(encoded) && Exit.isSuccess(encoded)
      ? encoded.value as Uint8Array
      : yield* Effect.mapError(
        encoded,
        (cause) => new EventRejected({ recipient, reason: new Encode({ detail: messageOf(cause), cause }) })
      )
    const id = emission.id ?? (yield* source.next)
    const detail = ids.has(id)
      ? "given twice in one call, where the second would replace the first"
      : checkId(id)
    if (detail !== undefined) {
      return yield* new EventRejected({
        recipient,
        reason: new InvalidId({ id: typeof id === "object" ? "an object" : String(id), detail })
      })
    }
    const item = newItem(recipient, { id, value, trace }, atMillis)
    if (item.bytes > maxEntityBytes) {
      const limitBytes = maxEntityBytes - (item.bytes - value.length)
      const reason = new TooLarge({ sizeBytes: value.length, limitBytes })
      return yield* new EventRejected({ recipient, reason })
    }
    ids.add(id)
    items.push(item)
  }
  return { ids: Array.from(ids), items }
})

const traceparent = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/

/**
 * `traceparent` of the span that the fiber is in, when it is sampled, its ids have the standard form, and a tracer that
 * could show the link is installed.
 */
const currentTrace = (context: Context.Context<never>): string | undefined => {
  const span = isTraced(context) ? Context.getOrUndefined(context, Tracer.ParentSpan) : undefined
  if (span?.sampled !== true) return undefined
  const text = `00-${span.traceId}-${span.spanId}-01`
  return traceparent.test(text) ? text : undefined
}

/** Links a batch to what emitted its events, each span once, at most 128. */
export const linkTraces = (traces: Iterable<string | undefined>): Effect.Effect<void> => {
  const spans: Array<Tracer.SpanLink> = []
  for (const text of new Set(traces)) {
    const found = text === undefined ? null : traceparent.exec(text)
    if (found === null || spans.length >= maxLinks) continue
    spans.push({ span: Tracer.externalSpan({ traceId: found[1]!, spanId: found[2]! }), attributes: {} })
  }
  return spans.length === 0 ?
    Effect.void :
    Effect.flatMap(Effect.option(Effect.currentSpan), (span) =>
      Effect.sync(() => {
        if (Option.isSome(span)) span.value.addLinks(spans)
      }))
}

const maxLinks = 128
