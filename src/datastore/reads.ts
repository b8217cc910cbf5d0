/**
 * Reads as snapshots: those of a transaction, and those that are remembered for one that comes later.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Mutation, Snapshot } from "../Backend.ts"
import * as Entity from "../Entity.ts"
import type { DatastoreError } from "../EventboxError.ts"
import * as Transaction from "../ground/transaction.ts"
import { isKey, type Key } from "../Key.ts"
import { Datastore } from "./service.ts"

/** Whether two snapshots of one key saw the same: both nothing, or the same version. */
export const sameSnapshot = (self: Snapshot, that: Snapshot): boolean =>
  Option.isNone(self.entity) ? Option.isNone(that.entity) : Option.isSome(that.entity) && self.version === that.version

/** Those of some snapshots that are no longer true; `now` are snapshots of the same keys, in their order. */
export const changedAmong = (before: ReadonlyArray<Snapshot>, now: ReadonlyArray<Snapshot>): ReadonlyArray<Snapshot> =>
  before.filter((snapshot, index) => !sameSnapshot(snapshot, now[index]!))

/** Reads keys as snapshots; joins the fiber's transaction or the reads that {@link remembering} collects. */
export const snapshots = (
  keys: ReadonlyArray<Key>
): Effect.Effect<ReadonlyArray<Snapshot>, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    const transaction = Transaction.of(context)
    if (transaction?.open === false) return Transaction.ended
    const memory = openMemory(context)
    const known = (id: string) =>
      transaction === undefined ? memory?.get(id) : transaction.reads.get(id) ?? transaction.remembered.get(id)
    const missing = new Map<string, Key>()
    for (const key of keys) {
      if (!isKey(key)) return Effect.die(new Error(`Datastore.get: ${String(key)} is not a Key; see Key.make`))
      const id = key.toString()
      if (known(id) === undefined) missing.set(id, key)
    }
    const answer = (found: ReadonlyMap<string, Snapshot>): ReadonlyArray<Snapshot> =>
      keys.map((key) => {
        const id = key.toString()
        const snapshot = known(id) ?? found.get(id)!
        if (transaction !== undefined) return Transaction.recordRead(transaction, snapshot)
        // A fiber that was forked inside may have been waiting when the memory ended.
        if (memory !== undefined && openMemory(context) !== undefined && !memory.has(id)) memory.set(id, snapshot)
        return snapshot
      })
    if (missing.size === 0) return Effect.succeed(answer(new Map()))
    return Effect.flatMap(Context.get(context, Datastore).lookup(Array.from(missing.values())), (looked) => {
      // The transaction may have ended while this fiber was waiting.
      if (transaction?.open === false) return Transaction.ended
      const found = new Map<string, Snapshot>()
      for (const part of looked) {
        transaction?.readRpcs.add(part.rpc)
        for (const snapshot of part.snapshots) found.set(snapshot.key.toString(), snapshot)
      }
      return Effect.succeed(answer(found))
    })
  })

/** What an effect has read so far. */
export type Remembered = Map<string, Snapshot>

/**
 * Collects what an effect reads, outside transactions and in transactions of its own, so that a later transaction can
 * use and expect it.
 */
export const remembering = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [A, ReadonlyMap<string, Snapshot>], E, R> =>
  Effect.suspend(() => {
    const memory: ReadMemory = { open: true, snapshots: new Map() }
    return Effect.provideService(effect, ReadMemory, memory).pipe(
      Effect.onExit(() => {
        memory.open = false
        return Effect.void
      }),
      Effect.map((result) => [result, memory.snapshots] as const)
    )
  })

/** No longer open when the effect has ended: fibers that were forked inside may outlive it. */
interface ReadMemory {
  open: boolean
  readonly snapshots: Map<string, Snapshot>
}

const ReadMemory = Context.Reference<ReadMemory | undefined>("eventbox/Datastore/ReadMemory", {
  defaultValue: () => undefined
})

/** What is being remembered around this, if that has not ended. */
export const openMemory = (context: Context.Context<never>): Remembered | undefined => {
  const memory = Context.get(context, ReadMemory)
  return memory?.open === true ? memory.snapshots : undefined
}

/** Remembers what a transaction has read. */
export const keepReads = (memory: Remembered, { reads }: Transaction.TransactionState): void => {
  for (const [id, snapshot] of reads) if (!memory.has(id)) memory.set(id, snapshot)
}

/**
 * What was remembered of keys that were written since is old. Each is looked up again, and the new snapshot counts if
 * it shows what was written: whoever remembers knows that. If it does not, another writer was at it, and the old one
 * stays, so that the commit that expects it is contention.
 */
export const rememberWrites = (
  datastore: Datastore["Service"],
  context: Context.Context<never>,
  writes: ReadonlyMap<string, Mutation>
): Effect.Effect<void> => {
  const memory = openMemory(context)
  if (memory === undefined) return Effect.void
  const old = Array.from(writes).flatMap(([id, write]) => {
    const snapshot = memory.get(id)
    return snapshot === undefined ? [] : [{ id, snapshot, wanted: Transaction.after(write, snapshot.entity) }]
  })
  if (old.length === 0) return Effect.void
  return datastore.lookup(old.map(({ snapshot }) => snapshot.key)).pipe(
    Effect.map((looked) => {
      const now = looked.flatMap((part) => part.snapshots)
      // The memory may have ended meanwhile.
      if (openMemory(context) === undefined) return
      for (const [index, { id, wanted }] of old.entries()) {
        if (sameContent(now[index]!.entity, wanted)) memory.set(id, now[index]!)
      }
    }),
    Effect.ignore
  )
}

const sameContent = (self: Option.Option<Entity.Entity>, that: Option.Option<Entity.Entity>): boolean =>
  Option.isNone(self) || Option.isNone(that)
    ? Option.isNone(self) && Option.isNone(that)
    : Entity.sameProperties(self.value.properties, that.value.properties)
