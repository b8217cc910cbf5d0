/**
 * Retries that cost nothing until something fails.
 */
import * as Effect from "effect/Effect"

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
