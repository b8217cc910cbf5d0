/**
 * Spans of the library.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

/** Whether a tracer is installed that could show spans: Effect's own one keeps them in memory, for nobody. */
export const isTraced = (context: Context.Context<never>): boolean =>
  Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer

/** Runs an effect in a span; as it is, when nobody could see the span. */
export const inSpan = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  name: string,
  options: () => Tracer.SpanOptionsNoTrace = () => ({})
): Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>> =>
  Effect.contextWith((context) => {
    const spanned = isTraced(context)
      ? effect.pipe(Effect.withSpan(name, options(), { captureStackTrace: false }))
      : effect
    return spanned as Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>>
  })
