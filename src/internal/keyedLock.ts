/**
 * One lock per recipient and layer inside the process: two batches of one recipient would only make each other fail.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type { Datastore } from "../Datastore.ts"
import type { Key } from "../Key.ts"

interface Lock {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

const locks = new WeakMap<Datastore["Service"], Map<string, Lock>>()

/**
 * Runs an effect while no other holds the lock of this key, and waits for that, or with `skip` does nothing while
 * another does. Whoever holds it must not ask for it again.
 *
 * A fiber that comes upon something that is no effect ends at once, and none of its finalizers runs. Such things come
 * from users, so the lock is given back with the end of the fiber, too, or the recipient would be busy for ever.
 */
export const withKeyedLock = <A, E, R>(
  datastore: Datastore["Service"],
  key: Key,
  whenBusy: "wait" | "skip",
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Option.Option<A>, E, R> =>
  // Nothing comes between taking a lock and the promise to give it back: not even an interruption.
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
      const id = key.toString()
      const lock = acquire(datastore, id)
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
        release(datastore, id, lock)
      })
      return Effect.onExit(
        restore(
          whenBusy === "skip"
            ? semaphore.withPermitsIfAvailable(1)(holding)
            : Effect.map(semaphore.withPermit(holding), Option.some)
        ),
        () => {
          forget()
          release(datastore, id, lock)
          return Effect.void
        }
      )
    })
  )

/** How many recipients of a layer have a lock: those that are being processed, or wait for it. */
export const lockCount = (datastore: Datastore["Service"]): number => locks.get(datastore)?.size ?? 0

const acquire = (datastore: Datastore["Service"], id: string): Lock => {
  let byKey = locks.get(datastore)
  if (byKey === undefined) locks.set(datastore, byKey = new Map())
  let lock = byKey.get(id)
  if (lock === undefined) byKey.set(id, lock = { semaphore: Semaphore.makeUnsafe(1), users: 0 })
  lock.users++
  return lock
}

const release = (datastore: Datastore["Service"], id: string, lock: Lock): void => {
  if (--lock.users === 0) locks.get(datastore)?.delete(id)
}
