/**
 * Traces: from the span of an emit to the span of the batch that takes its event.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { isTraced } from "../ground/span.ts"

const traceparent = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/

/**
 * `traceparent` of the span that the fiber is in, when it is sampled, its ids have the standard form, and a tracer that
 * could show the link is installed.
 */
export const currentTrace = (context: Context.Context<never>): string | undefined => {
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
