/**
 * Deletes in chunks: of entities that were read before, each only if it is still what was read, and of any others.
 *
 * An id may be reused once its tombstone has expired, and a paused worker may wake up late: an unconditional delete
 * would then remove an event that nobody consumed.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { Snapshot } from "../Backend.ts"
import type { Datastore } from "../Datastore.ts"
import { forEachChunk } from "../datastore/chunks.ts"
import { sameSnapshot } from "../datastore/reads.ts"
import { sendBlind, sendCommit } from "../datastore/sending.ts"
import { sizeBytes } from "../Entity.ts"
import type { DatastoreError } from "../EventboxError.ts"
import { type Key, sizeBytes as keyBytes } from "../Key.ts"
import { maxPartItems, type Part, splitBySize } from "./parts.ts"

const maxAttempts = 5

/**
 * Deletes the entities of these snapshots, each if it is unchanged; those that changed or are gone are left alone.
 *
 * **Details**
 *
 * At most 500 deletes per commit, and no more stored bytes than one may delete, four commits at a time. A chunk in
 * which something changed is looked up, and what is unchanged is deleted. Failures are retried five times in all, with
 * jittered pauses from 50 ms on; then the last one is the result.
 */
export const deleteUnchanged = (
  datastore: Datastore["Service"],
  snapshots: ReadonlyArray<Snapshot>
): Effect.Effect<void, DatastoreError> => {
  const parts = splitBySize(snapshots, storedBytes, datastore.backend.limits.commitBytes)
  const deletePart = ({ items }: Part<Snapshot>) => deleteChunk(datastore, items, 1)
  return parts.length === 1
    ? deletePart(parts[0]!)
    : Effect.forEach(parts, deletePart, { concurrency: 4, discard: true })
}

/** The stored size of what is deleted, which counts against the limit of a commit, and its key in the request. */
const storedBytes = ({ entity, key }: Snapshot): number =>
  keyBytes(key) + requestBytes + (Option.isNone(entity) ? 0 : sizeBytes(entity.value))

const requestBytes = 64

const deleteChunk = (
  datastore: Datastore["Service"],
  chunk: ReadonlyArray<Snapshot>,
  attempt: number
): Effect.Effect<void, DatastoreError> =>
  sendCommit(datastore, {
    mutations: chunk.map(({ key }) => ({ _tag: "Delete", key })),
    expected: chunk
  }).pipe(
    Effect.catch((error) => {
      if (error._tag === "ContentionError") return retryUnchanged(datastore, chunk, attempt)
      if (attempt >= maxAttempts || !(error.isRetryable || error.reason._tag === "OutcomeUnknown")) {
        return Effect.fail(error)
      }
      return Effect.andThen(pause(datastore, attempt), retryUnchanged(datastore, chunk, attempt))
    })
  )

/** Something in the chunk changed, or nobody knows whether the deletes landed: look, and delete what is as it was. */
const retryUnchanged = (
  datastore: Datastore["Service"],
  chunk: ReadonlyArray<Snapshot>,
  attempt: number
): Effect.Effect<void, DatastoreError> =>
  Effect.flatMap(datastore.backend.lookup(chunk.map(({ key }) => key)), (now) => {
    const unchanged = chunk.filter((snapshot, index) => sameSnapshot(snapshot, now[index]!))
    // Under constant contention something is left for the next listing, which sees it as garbage again.
    return unchanged.length === 0 || attempt >= maxAttempts
      ? Effect.void
      : deleteChunk(datastore, unchanged, attempt + 1)
  })

/**
 * Deletes whatever these keys name. What is stored counts against the limit of a commit, and here nobody has read it: a
 * commit that the database finds too large is halved.
 */
export const deleteBlind = (
  datastore: Datastore["Service"],
  keys: ReadonlyArray<Key>,
  operation: string
): Effect.Effect<void, DatastoreError> => {
  const deleteAll = (chunk: ReadonlyArray<Key>): Effect.Effect<void, DatastoreError> =>
    Effect.catch(sendBlind(datastore, chunk.map((key) => ({ _tag: "Delete", key })), operation), (error) => {
      if (error.reason._tag !== "TooLarge" || chunk.length === 1) return Effect.fail(error)
      const middle = chunk.length >> 1
      return Effect.andThen(deleteAll(chunk.slice(0, middle)), deleteAll(chunk.slice(middle)))
    })
  return forEachChunk(keys, maxPartItems, deleteAll)
}

/** A jittered pause that closing the layer cuts short. */
const pause = (datastore: Datastore["Service"], attempt: number): Effect.Effect<void> =>
  Effect.flatMap(
    Random.nextBetween(0.5, 1.5),
    (jitter) => Effect.raceFirst(Effect.sleep(50 * 2 ** (attempt - 1) * jitter), datastore.closing)
  )
