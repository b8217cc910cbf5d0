/**
 * Deletes of entities that were read before: each only if it is still what was read, in chunks, with retries.
 *
 * An id may be reused once its tombstone has expired, and a paused worker may wake up late: an unconditional delete
 * would then remove an event that nobody consumed.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Snapshot } from "../Backend.ts"
import { type Datastore, forEachChunk, sameSnapshot, sendCommit } from "../Datastore.ts"
import type { DatastoreError } from "../EventboxError.ts"

/** Deletes in one commit. */
export const maxDeletes = 500

const maxAttempts = 5

/**
 * Deletes the entities of these snapshots, each if it is unchanged; those that changed or are gone are left alone.
 *
 * **Details**
 *
 * 500 deletes per commit, four commits at a time. A chunk in which something changed is looked up, and what is
 * unchanged is deleted. Failures are retried five times in all, with jittered pauses from 50 ms on; then the last one
 * is the result.
 */
export const deleteUnchanged = (
  datastore: Datastore["Service"],
  snapshots: ReadonlyArray<Snapshot>
): Effect.Effect<void, DatastoreError> => {
  const perCommit = Math.min(maxDeletes, Math.max(1, Math.floor(datastore.backend.limits.commitBytes / maxDeleteBytes)))
  return forEachChunk(snapshots, perCommit, (chunk) => deleteChunk(datastore, chunk, 1))
}

/** A key of the greatest size, 6 KiB, with room for the envelope. */
const maxDeleteBytes = 7 * 1_024

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

/** A jittered pause that closing the layer cuts short. */
const pause = (datastore: Datastore["Service"], attempt: number): Effect.Effect<void> =>
  Effect.flatMap(
    Random.nextBetween(0.5, 1.5),
    (jitter) => Effect.raceFirst(Effect.sleep(50 * 2 ** (attempt - 1) * jitter), datastore.closing)
  )
