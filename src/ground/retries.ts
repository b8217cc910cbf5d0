/**
 * Retries that cost nothing until something fails.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"

/**
 * As `Effect.retry`, with a policy that is made once something has failed: to make one costs more than most of what is
 * retried here.
 */
export const retryOnceFailed = <A, E, R, O extends Effect.Retry.Options<E>>(
  self: Effect.Effect<A, E, R>,
  policy: () => O
): Effect.Retry.Return<R, E, A, O> =>
  Effect.catch(self, (failure) => {
    let runs = 0
    return Effect.retry(Effect.suspend(() => runs++ === 0 ? Effect.fail(failure) : self), policy())
  }) as Effect.Retry.Return<R, E, A, O>

/**
 * As {@link retryOnceFailed}, and never after a moment, in ms since epoch. It is looked at before each pause and again
 * before each try: a process may stand still in between, and hear late of a failure. `earlier` is the failure of a try
 * before all of these: with it the first of these is no first try.
 */
export const retryUntil = <A, E, R, S extends E>(
  self: Effect.Effect<A, E, R>,
  giveUpAtMillis: number,
  policy: () => {
    readonly while: (error: E) => boolean
    readonly schedule: Schedule.Schedule<unknown, S>
  },
  earlier: () => E | undefined = () => undefined
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let failure = earlier()
    const attempt = Effect.tapError(self, (error) =>
      Effect.sync(() => {
        failure = error
      }))
    const isLate = Effect.map(Clock.currentTimeMillis, (now) => now > giveUpAtMillis)
    const inTime = Effect.suspend(() =>
      failure === undefined
        ? attempt
        : Effect.flatMap(isLate, (late) => late ? Effect.fail(failure!) : attempt)
    )
    return retryOnceFailed(inTime, () => {
      const { schedule, while: isWorthIt } = policy()
      return {
        while: (error: E) => Effect.map(isLate, (late) => !late && isWorthIt(error)),
        schedule: schedule as Schedule.Schedule<unknown, any>
      }
    }) as Effect.Effect<A, E, R>
  })
