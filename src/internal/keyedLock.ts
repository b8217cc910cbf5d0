/**
 * One lock per recipient and layer inside the process: two batches of one recipient would only make each other fail.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type { Datastore } from "../Datastore.ts"
import type { Key } from "../Key.ts"

interface Lock {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

const locks = new WeakMap<Datastore["Service"], Map<string, Lock>>()

/** The locks that the fiber holds, to tell a deadlock from waiting. */
const Held = Context.Reference<ReadonlySet<string>>("eventbox/internal/keyedLock/Held", {
  defaultValue: () => new Set()
})

/**
 * Runs an effect while no other holds the lock of this key, and waits for that, or with `skip` does nothing while
 * another does; dies when the calling fiber holds it.
 */
export const withKeyedLock = Effect.fnUntraced(function*<A, E, R>(
  datastore: Datastore["Service"],
  key: Key,
  whenBusy: "wait" | "skip",
  effect: Effect.Effect<A, E, R>
): Effect.fn.Return<Option.Option<A>, E, R> {
  const id = key.toString()
  const held = yield* Held
  if (held.has(id)) {
    const message = `Eventbox.process or drain of ${id} inside its own batch would wait for itself for ever`
    return yield* Effect.die(new Error(message))
  }
  const lock = acquire(datastore, id)
  const holding = Effect.provideService(effect, Held, new Set([...held, id]))
  return yield* (
    whenBusy === "skip"
      ? lock.semaphore.withPermitsIfAvailable(1)(holding)
      : Effect.map(lock.semaphore.withPermit(holding), Option.some)
  ).pipe(
    Effect.ensuring(Effect.sync(() => release(datastore, id, lock)))
  )
})

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
