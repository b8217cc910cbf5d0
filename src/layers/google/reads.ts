/**
 * Lookups and queries: retried, and followed until they are complete.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Query, QueryResult, Snapshot } from "../../Backend.ts"
import { type DatastoreError, Internal, InvalidArgument } from "../../EventboxError.ts"
import { retryOnceFailed } from "../../ground/retries.ts"
import type { Key } from "../../Key.ts"
import type { Client, Method } from "./client.ts"
import { isTransient, makeError, type RpcFailure, toError } from "./errors.ts"
import { type Family, keyOfEntity, noFamily, type Partition } from "./key.ts"
import {
  type EntityResult,
  lookupRequest,
  type LookupResponse,
  readLookupResponse,
  type ReadOptions,
  readRunQueryResponse,
  runQueryRequest,
  type RunQueryResponse,
  strong
} from "./messages.ts"
import { GoogleSnapshot } from "./snapshot.ts"

/** What every operation of one backend needs. */
export interface Connection {
  readonly client: Client
  readonly partition: Partition
  /** How long a read may take in all, its retries included. */
  readonly readDeadlineMillis: number
  /** How long a commit may take, beside what its mutations add. */
  readonly commitDeadlineMillis: number
  /** Larger commits are refused before they are sent. */
  readonly maxRequestBytes: number
}

/** Keys in one RPC. Source: Datastore limits, "keys per lookup". */
const maxLookupKeys = 1_000

// ---------------------------------------------------------------------------------------------------------------------
// Lookups
// ---------------------------------------------------------------------------------------------------------------------

/** Reads distinct keys: one snapshot per key, in their order. Each thousand of them is one consistent read. */
export const lookup = (
  connection: Connection,
  keys: ReadonlyArray<Key>
): Effect.Effect<ReadonlyArray<Snapshot>, DatastoreError> => {
  const send: Send<DatastoreError> = (request) => retrying(connection, "lookup", "lookup", request, keys)
  if (keys.length === 0) return Effect.succeed([])
  if (keys.length <= maxLookupKeys) return lookupWith(connection.partition, keys, strong, send)
  const chunks: Array<ReadonlyArray<Key>> = []
  for (let from = 0; from < keys.length; from += maxLookupKeys) chunks.push(keys.slice(from, from + maxLookupKeys))
  return Effect.map(
    Effect.forEach(chunks, (chunk) => lookupWith(connection.partition, chunk, strong, send), { concurrency: 4 }),
    (parts) => parts.flat()
  )
}

type Send<E> = (request: Uint8Array) => Effect.Effect<Uint8Array, E>

/**
 * One lookup, and further ones for the keys that the server deferred. Those read as of the moment of the first, so that
 * together they are one consistent read; inside a transaction they are that anyway.
 */
export const lookupWith = Effect.fnUntraced(function*<E>(
  partition: Partition,
  keys: ReadonlyArray<Key>,
  options: ReadOptions,
  send: Send<E>
): Effect.fn.Return<ReadonlyArray<Snapshot>, E | DatastoreError> {
  const found = new Map<string, Snapshot>()
  let pending = keys
  let reading = options
  while (true) {
    const bytes = yield* send(lookupRequest(partition, pending, reading))
    const response = yield* decode("lookup", () => readLookupResponse(bytes))
    const read = yield* decode("lookup", () => snapshotsOf(response, partition, keys))
    if (read.ordered !== undefined) return read.ordered
    for (const snapshot of read.snapshots) found.set(snapshot.key.toString(), snapshot)
    if (response.deferred.length === 0) break
    if (response.deferred.length >= pending.length) return yield* unreadable("lookup", "it deferred every key")
    pending = response.deferred
    if (reading._tag === "Strong") {
      if (response.readTime === zero) return yield* unreadable("lookup", "it does not say as of when it read")
      reading = { _tag: "ReadTime", micros: response.readTime }
    }
  }
  const snapshots: Array<Snapshot> = []
  for (const key of keys) {
    const snapshot = found.get(key.toString())
    if (snapshot === undefined) return yield* unreadable("lookup", `it said nothing about ${key}`)
    snapshots.push(snapshot)
  }
  return snapshots
})

/**
 * The snapshots of a response; in the order of the keys when they make that plain, which servers mostly do: then
 * nothing has to be looked for.
 */
const snapshotsOf = (
  { found, missing }: LookupResponse,
  partition: Partition,
  keys: ReadonlyArray<Key>
): { readonly snapshots: ReadonlyArray<Snapshot>; readonly ordered: ReadonlyArray<Snapshot> | undefined } => {
  const family = noFamily()
  const snapshots: Array<Snapshot> = []
  const ordered: Array<Snapshot> = []
  let placed = 0
  let at = -1
  /** The key itself where it is asked for, found after the one before. */
  const next = (message: Uint8Array): Key => {
    const key = keyOf(message, family)
    do at++
    while (at < keys.length && !isSame(keys[at]!, key))
    return keys[at] ?? key
  }
  const place = (snapshot: Snapshot): void => {
    snapshots.push(snapshot)
    if (at >= keys.length) return
    ordered[at] = snapshot
    placed++
  }
  for (const result of found) place(present(result, next(result.message), partition, false))
  at = -1
  for (const { message, version } of missing) {
    const key = next(message)
    place(new GoogleSnapshot({ key, version, message: undefined, partition, keysOnly: false }))
  }
  // A server that said anything twice would have filled fewer places than it took.
  const isComplete = placed === keys.length && snapshots.length === keys.length && !ordered.includes(undefined as never)
  return { snapshots, ordered: isComplete && ordered.length === keys.length ? ordered : undefined }
}

const isSame = (self: Key, that: Key): boolean => {
  if (self.path.length !== that.path.length) return false
  // The last elements differ most.
  for (let index = self.path.length - 1; index >= 0; index--) {
    const [one, other] = [self.path[index]!, that.path[index]!]
    if (one !== other && (one.id !== other.id || one.kind !== other.kind)) return false
  }
  return true
}

const present = (
  { message, version }: EntityResult,
  key: Key,
  partition: Partition,
  keysOnly: boolean
): Snapshot => {
  if (!keysOnly && version === zero) {
    throw new Error(`no version of ${key}; only Firestore in Datastore mode reports it`)
  }
  return new GoogleSnapshot({ key, version, message, partition, keysOnly })
}

const keyOf = (message: Uint8Array, family: Family): Key => {
  const key = keyOfEntity(message, family)
  if (key === undefined) throw new Error("an entity without a key")
  return key
}

// ---------------------------------------------------------------------------------------------------------------------
// Queries
// ---------------------------------------------------------------------------------------------------------------------

/** Runs a query to its end, batch by batch. */
export const runQuery = Effect.fnUntraced(
  function*(connection: Connection, query: Query): Effect.fn.Return<QueryResult, DatastoreError> {
    const { limit } = query
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 1)) {
      return yield* Effect.fail(
        makeError("query", new InvalidArgument({ detail: `a limit is a positive integer, got ${limit}` }))
      )
    }
    const results: Array<Snapshot> = []
    const family = noFamily()
    let cursor: Uint8Array = new Uint8Array(0)
    let size = 0
    while (true) {
      // The service takes limits of 31 bits.
      const rest = limit === undefined ? undefined : Math.min(limit - results.length, maxLimit)
      const batch = yield* runBatch(connection, query, { cursor, limit: rest })
      yield* decode("query", () => {
        for (const result of batch.results) {
          const key = keyOf(result.message, family)
          results.push(present(result, key, connection.partition, query.keysOnly === true))
        }
      })
      if (batch.finished === undefined) return yield* unreadable("query", "it does not say whether it is complete")
      if (batch.finished || results.length === limit) return { results }
      size += batch.size
      if (query.maxBytes !== undefined && size >= query.maxBytes && results.length > 0) {
        return { results, isCutOff: true }
      }
      if (batch.endCursor.length === 0 || (batch.results.length === 0 && sameBytes(batch.endCursor, cursor))) {
        return yield* unreadable("query", "an unfinished batch does not say where to go on")
      }
      cursor = batch.endCursor
    }
  }
)

const maxLimit = 0x7fff_ffff

const runBatch = Effect.fnUntraced(function*(
  connection: Connection,
  query: Query,
  from: { readonly cursor: Uint8Array; readonly limit: number | undefined }
): Effect.fn.Return<RunQueryResponse & { readonly size: number }, DatastoreError> {
  const request = runQueryRequest(connection.partition, query, from)
  const bytes = yield* retrying(connection, "query", "runQuery", request)
  const batch = yield* decode("query", () => readRunQueryResponse(bytes))
  return { ...batch, size: bytes.length }
})

const sameBytes = (self: Uint8Array, that: Uint8Array): boolean => Buffer.compare(self, that) === 0

// ---------------------------------------------------------------------------------------------------------------------
// Retries
// ---------------------------------------------------------------------------------------------------------------------

/** Sends a read until it succeeds, fails for good, or its time is over; the last failure is the result. */
export const retrying = (
  connection: Connection,
  operation: string,
  method: Method,
  request: Uint8Array,
  keys?: ReadonlyArray<Key>
): Effect.Effect<Uint8Array, DatastoreError> => {
  const total = connection.readDeadlineMillis
  return Effect.flatMap(Clock.currentTimeMillis, (start) => {
    const attempt = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      // Half of the time at most for one attempt: when its response was lost, there is time for another.
      connection.client.call(method, request, Math.max(1, Math.min(total - (now - start), total / 2))))
    return attempt.pipe(
      (read) => retryOnceFailed(read, () => ({ schedule: backoff(start + total) })),
      Effect.mapError((failure) => toError(operation, failure, keys))
    )
  })
}

/** Pauses of 50 ms, twice as long each time, up to 5 s, jittered; none that would end after the time is over. */
const backoff = (endMillis: number) =>
  Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
    Schedule.setInputType<RpcFailure>(),
    Schedule.jittered,
    Schedule.while(({ attempt, duration, input, now }) =>
      isTransient(input, attempt) && now + Duration.toMillis(duration) < endMillis
    )
  )

/** Reads a response; one that cannot be read is `Internal`. */
export const decode = <A>(operation: string, evaluate: () => A): Effect.Effect<A, DatastoreError> =>
  Effect.try({
    try: evaluate,
    catch: (cause) => {
      const detail = `the response cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`
      return makeError(operation, new Internal({ detail, cause }))
    }
  })

/** A response that was read and is of no use. */
export const unreadable = (operation: string, detail: string): Effect.Effect<never, DatastoreError> =>
  Effect.fail(makeError(operation, new Internal({ detail: `the response cannot be used: ${detail}` })))

const zero = BigInt(0)
