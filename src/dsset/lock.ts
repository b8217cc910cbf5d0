/**
 * One lock per recipient and layer inside the process: two batches of one recipient would only make each other fail.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import { type Lock, type Place, remember } from "./memory.ts"

/**
 * Runs an effect while no other holds the lock of this set, and waits for that, or with `skip` does nothing while
 * another does. Whoever holds it must not ask for it again.
 */
export const withLock = <A, E, R>(
  place: Place,
  whenBusy: "wait" | "skip",
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Option.Option<A>, E, R> =>
  // Nothing comes between taking a lock and the promise to give it back: not even an interruption.
  Effect.uninterruptibleMask((restore) => {
    const lock = acquire(place)
    const { semaphore } = lock
    return Effect.onExit(
      restore(
        whenBusy === "skip"
          ? semaphore.withPermitsIfAvailable(1)(effect)
          : Effect.map(semaphore.withPermit(effect), Option.some)
      ),
      () => {
        release(place, lock)
        return Effect.void
      }
    )
  })

const acquire = (place: Place): Lock => {
  let lock: Lock | undefined
  remember(place, (memory) => {
    lock = memory.lock ??= { semaphore: Semaphore.makeUnsafe(1), users: 0 }
    lock.users++
  })
  return lock!
}

const release = (place: Place, lock: Lock): void => {
  if (--lock.users > 0) return
  remember(place, (memory) => {
    memory.lock = undefined
  })
}
