/**
 * One lock per recipient and layer inside the process: two batches of one recipient would only make each other fail.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import { type Lock, type Place, remember } from "./memory.ts"

/**
 * Runs an effect while no other holds the lock of this set, and waits for that, or with `skip` does nothing while
 * another does. Whoever holds it must not ask for it again.
 *
 * A fiber that comes upon something that is no effect ends at once, and none of its finalizers runs. Such things come
 * from users, so the lock is given back with the end of the fiber, too, or the recipient would be busy for ever.
 */
export const withLock = <A, E, R>(
  place: Place,
  whenBusy: "wait" | "skip",
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Option.Option<A>, E, R> =>
  // Nothing comes between taking a lock and the promise to give it back: not even an interruption.
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
      const lock = acquire(place)
      const { semaphore } = lock
      let isHeld = false
      const holding = Effect.suspend(() => {
        isHeld = true
        return Effect.onExit(effect, () => {
          isHeld = false
          return Effect.void
        })
      })
      const forget = fiber.addObserver(() => {
        if (isHeld) Effect.runFork(semaphore.release(1))
        release(place, lock)
      })
      return Effect.onExit(
        restore(
          whenBusy === "skip"
            ? semaphore.withPermitsIfAvailable(1)(holding)
            : Effect.map(semaphore.withPermit(holding), Option.some)
        ),
        () => {
          forget()
          release(place, lock)
          return Effect.void
        }
      )
    })
  )

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
