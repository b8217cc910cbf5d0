/**
 * From values to items: encoding, ids, checks and trace, all before anything is sent.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Item } from "../DsSet.ts"
import * as Entity from "../Entity.ts"
import { Encode, EventRejected, InvalidId, TooLarge } from "../EventboxError.ts"
import { Ids } from "../Ids.ts"
import type { Key } from "../Key.ts"
import type { PayloadCodec } from "../Processor.ts"
import { isTraced } from "./span.ts"
import { checkId, itemEntity } from "./stored.ts"

/** A value to emit, and its id when the caller gave one. */
export interface Emission<A> {
  readonly value: A
  readonly id: string | undefined
}

/** Items of one emit, all with the same time: the time of the first try, which retries keep. */
export const makeItems = <A>(
  codec: PayloadCodec<A>,
  recipient: Key,
  emissions: ReadonlyArray<Emission<A>>,
  maxEntityBytes: number
): Effect.Effect<ReadonlyArray<Item>, EventRejected> =>
  Effect.gen(function*() {
    const atMillis = yield* Clock.currentTimeMillis
    const ids = yield* Ids
    const trace = yield* currentTrace
    const items: Array<Item> = []
    const given = new Set<string>()
    for (const emission of emissions) {
      const encoded = codec.encode(emission.value)
      // A fiber step per event is what it would cost.
      const value = Exit.isExit(encoded) && Exit.isSuccess(encoded)
        ? encoded.value as Uint8Array
        : yield* Effect.mapError(encoded, (cause) =>
          new EventRejected({ recipient, reason: new Encode({ detail: cause.message, cause }) }))
      const id = emission.id ?? (yield* ids.next)
      const item: Item = { id, value, atMillis, trace }
      const problem = given.has(id)
        ? new InvalidId({ id, detail: "given twice in one call, where the second would replace the first" })
        : checkItem(recipient, item, maxEntityBytes)
      given.add(id)
      if (problem !== undefined) {
        return yield* new EventRejected({ recipient, reason: problem })
      }
      items.push(item)
    }
    return items
  })

const checkItem = (recipient: Key, item: Item, maxEntityBytes: number): InvalidId | TooLarge | undefined => {
  const detail = checkId(item.id)
  if (detail !== undefined) return new InvalidId({ id: String(item.id), detail })
  const bytes = Entity.sizeBytes(itemEntity(recipient, item, 0))
  return bytes <= maxEntityBytes ? undefined : new TooLarge({
    sizeBytes: item.value.length,
    limitBytes: maxEntityBytes - (bytes - item.value.length)
  })
}

const traceparent = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/

/**
 * `traceparent` of the span that the fiber is in, when it is sampled, its ids have the standard form, and a tracer that
 * could show the link is installed.
 */
const currentTrace: Effect.Effect<string | undefined> = Effect.gen(function*() {
  if (!(yield* isTraced)) return undefined
  const found = yield* Effect.serviceOption(Tracer.ParentSpan)
  if (Option.isNone(found) || !found.value.sampled) return undefined
  const text = `00-${found.value.traceId}-${found.value.spanId}-01`
  return traceparent.test(text) ? text : undefined
})

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
