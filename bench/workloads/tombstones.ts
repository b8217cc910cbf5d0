/**
 * Two ways of remembering what was consumed, over one backend in memory: this library's, and the one entity that LUCI's
 * eventbox reads and writes with every batch.
 */
import { Clock, Effect, Option } from "effect"
import { type Backend, Datastore, Entity, Eventbox, type EventboxError, Key } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { Counter, ticks } from "./counter.ts"

/** Emits and consumes one batch. */
export type Batch = (from: number, count: number) => Effect.Effect<void, unknown, Datastore.Datastore | Counter>

/** What a backend was asked for, without the items themselves. */
export interface Traffic {
  /** Of entities read and written beside the items: state and tombstones. */
  overheadBytes: number
  /** The largest entity that was written. */
  largestBytes: number
  /** Entities read and written beside the items, and deleted. */
  overheadEntities: number
  operations: number
}

/** A store in memory that counts what goes through it; items are left out, since they are the same for both. */
export const openCounted = Effect.map(InMemory.makeStore, ({ backend }) => {
  const traffic: Traffic = { overheadBytes: 0, largestBytes: 0, overheadEntities: 0, operations: 0 }
  const count = (entity: Entity.Entity): void => {
    if (entity.key.kind === itemKind) return
    const bytes = Entity.sizeBytes(entity)
    traffic.overheadBytes += bytes
    traffic.overheadEntities++
    traffic.largestBytes = Math.max(traffic.largestBytes, bytes)
  }
  const counting: Backend.Backend = {
    lookup: (keys) =>
      Effect.tap(backend.lookup(keys), (snapshots) =>
        Effect.sync(() => {
          traffic.operations++
          for (const { entity } of snapshots) if (Option.isSome(entity)) count(entity.value)
        })),
    query: (query) => {
      traffic.operations++
      return backend.query(query)
    },
    commit: (request) => {
      traffic.operations++
      for (const mutation of request.mutations) if (mutation._tag !== "Delete") count(mutation.entity)
      return backend.commit(request)
    },
    limits: backend.limits
  }
  return { traffic, layer: Datastore.layer(Effect.succeed(counting)) }
})

const itemKind = "dsset.Item"

/** This library. */
export const ours: Batch = (from, count) =>
  Effect.gen(function*() {
    const recipient = Counter.recipient("minutes")
    yield* Eventbox.emitAll(Counter, recipient, ticks(from, count))
    const { consumed } = yield* Eventbox.processBatch(Counter, recipient, { maxEvents: count })
    if (consumed !== count) return yield* Effect.die(new Error(`a batch consumed ${consumed} events, not ${count}`))
  })

const tombstonesDelayMillis = 5 * 60_000
const recipient = Key.make("BenchCounter", "minutes")
const tombstonesKey = Key.child(recipient, "dsset.Tombstones", "const")

/**
 * LUCI's: all tombstones in one entity, as its layer stores them; read by the listing and by the transaction, written
 * by the transaction. The ids are as long as those that LUCI draws.
 */
export const oneEntity: Batch = (from, count) =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    yield* read
    yield* Datastore.withTransaction(Effect.gen(function*() {
      const state = Option.getOrUndefined(yield* Datastore.get(recipient))
      const tombstones = Option.getOrUndefined(yield* Datastore.get(tombstonesKey))
      const [ids, times] = lists(tombstones)
      const keep = times.findIndex((at) => now * 1_000 - Number(at.micros) <= tombstonesDelayMillis * 1_000)
      const old = keep === -1 ? times.length : keep
      const version = Number(state?.properties["EVersion"] ?? 0) + 1
      yield* Datastore.put([
        Entity.make(recipient, { EVersion: version, State: "{\"count\":1,\"sum\":1}" }, { unindexed: "all" }),
        Entity.make(tombstonesKey, {
          "Tombstones.ID": [...ids.slice(old), ...newIds(from, count, now)],
          "Tombstones.Tombstoned": [...times.slice(old), ...Array.from({ length: count }, () => at(now))]
        }, { unindexed: "all" })
      ])
    }))
  })

const read = Effect.andThen(Datastore.get(recipient), Datastore.get(tombstonesKey))

const lists = (
  tombstones: Entity.Entity | undefined
): readonly [ReadonlyArray<string>, ReadonlyArray<Entity.TimestampValue>] => [
  (tombstones?.properties["Tombstones.ID"] ?? []) as ReadonlyArray<string>,
  (tombstones?.properties["Tombstones.Tombstoned"] ?? []) as ReadonlyArray<Entity.TimestampValue>
]

const newIds = (from: number, count: number, now: number): ReadonlyArray<string> =>
  Array.from(
    { length: count },
    (_, index) => `00000000-0000-4000-8000-${String(from + index).padStart(12, "0")}/${now}000000`
  )

const at = (millis: number): Entity.TimestampValue => new Entity.TimestampValue(BigInt(millis) * BigInt(1_000))

/** The limit that stopped a way of remembering. */
export const isFull = (error: unknown): error is EventboxError.DatastoreError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "DatastoreError"
