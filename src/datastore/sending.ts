/**
 * Sending commits: checked against the limit, and repeated where nothing was expected.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { CommitRequest, Mutation } from "../Backend.ts"
import * as Entity from "../Entity.ts"
import { CommitTooLarge, type ContentionError, DatastoreError, Unavailable } from "../EventboxError.ts"
import { retryUntil } from "../ground/retries.ts"
import { inSpan } from "../ground/span.ts"
import { sizeBytes as keyBytes } from "../Key.ts"
import type { Datastore } from "./service.ts"

/** Sends a commit after checking its size, if not measured before; what need not be atomic is split by the caller. */
export const sendCommit = (
  datastore: Datastore["Service"],
  request: CommitRequest,
  bytes: number = bytesOf(request.mutations)
): Effect.Effect<void, ContentionError | DatastoreError> => {
  const limit = datastore.backend.limits.commitBytes
  if (bytes > limit) {
    const detail = `the commit has ${bytes} bytes, the limit is ${limit}; write less in one transaction`
    return Effect.fail(new DatastoreError({ operation: "commit", reason: new CommitTooLarge({ detail }) }))
  }
  return inSpan(datastore.backend.commit(request), "Datastore.commit", () => ({
    kind: "client",
    attributes: { "datastore.mutations": request.mutations.length, "datastore.expected": request.expected.length }
  }))
}

/**
 * Sends a commit without expectations. One that Datastore aborts wrote nothing and is sent again, five times in all,
 * and never after `giveUpAtMillis`, in ms since epoch; nor for the first time then, if there was an `earlier` failure.
 */
export const sendBlind = (
  datastore: Datastore["Service"],
  mutations: ReadonlyArray<Mutation>,
  operation: string,
  { bytes, earlier, giveUpAtMillis = Number.POSITIVE_INFINITY }: {
    readonly bytes?: number | undefined
    readonly giveUpAtMillis?: number | undefined
    readonly earlier?: (() => DatastoreError | undefined) | undefined
  } = {}
): Effect.Effect<void, DatastoreError> =>
  retryUntil(
    Effect.uninterruptible(sendCommit(datastore, { mutations, expected: [] }, bytes)),
    giveUpAtMillis,
    () => ({ while: (error) => error._tag === "ContentionError", schedule: afterAbort }),
    earlier
  ).pipe(
    Effect.catchTag("ContentionError", (cause) => {
      const detail =
        "Datastore aborted the commit each time that it was sent, because of other writers; nothing was written"
      return Effect.fail(new DatastoreError({ operation, reason: new Unavailable({ detail, cause }) }))
    })
  )

const afterAbort = Schedule.exponential("20 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 4 }))

/** Bytes of one mutation in a commit request, estimated. */
const mutationBytes = (mutation: Mutation): number =>
  mutation._tag === "Delete" ? 64 + keyBytes(mutation.key) : Entity.sizeBytes(mutation.entity)

/** Bytes of mutations in a commit request. */
export const bytesOf = (mutations: ReadonlyArray<Mutation>): number =>
  mutations.reduce((sum, mutation) => sum + mutationBytes(mutation), 0)
