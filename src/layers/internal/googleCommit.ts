/**
 * Conditional commits: expectations as versions on mutations, and codes as errors.
 *
 * | | nothing expected | expected present | expected absent |
 * |---|---|---|---|
 * | Insert | insert | cannot succeed | insert |
 * | Upsert | upsert | upsert at its version | insert |
 * | Patch | upsert with a mask | the same at its version | insert |
 * | Delete | delete | delete at its version | delete at the version reported for the missing entity |
 * | not written | – | update with the very message that was read, at its version | as Delete |
 *
 * *At a version*: `base_version` with the strategy FAIL, which makes the whole commit fail when the entity has another
 * one. Always FAIL: the default strategy applies the stale mutation on the emulator, and skips it silently in
 * production. *Cannot succeed*: nothing is sent; a lookup tells whether the expectation (contention) or existence is
 * what is wrong.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type CommitRequest, type Mutation, mutationKey, type Snapshot } from "../../Backend.ts"
import {
  Aborted,
  AlreadyExists,
  ContentionError,
  type DatastoreError,
  EntityChanged,
  InvalidArgument
} from "../../EventboxError.ts"
import { checkPath, type Key, maxKeyBytes } from "../../Key.ts"
import { UnencodableError } from "./googleEntity.ts"
import { Code, leavesDoubt, makeError, type RpcFailure, toError, unknownOutcome } from "./googleErrors.ts"
import {
  beginTransactionRequest,
  commitRequest,
  readBeginTransactionResponse,
  rollbackRequest,
  type WireMutation
} from "./googleMessages.ts"
import { type Connection, lookup, lookupWith, retrying } from "./googleReads.ts"
import { GoogleSnapshot } from "./googleSnapshot.ts"

/** How an expectation on an entity that is not written is checked; see the layer's option of this name. */
export type UnwrittenExpectations = "noop" | "interactive"

type CommitError = ContentionError | DatastoreError

/** Applies every mutation if and only if every expected snapshot is still true. */
export const commit = (
  connection: Connection,
  request: CommitRequest,
  unwritten: UnwrittenExpectations
): Effect.Effect<void, CommitError> =>
  Effect.suspend(() => {
    const planned = plan(request)
    if (planned._tag === "Refused") return Effect.fail(planned.error)
    const { impossible, mutations, onUnwritten } = planned
    if (impossible) return explain(connection, request, undefined)
    if (mutations.length === 0 && onUnwritten.length === 0) return Effect.void
    if (onUnwritten.length > 0 && unwritten === "interactive") {
      return commitInteractively(connection, request, mutations, onUnwritten)
    }
    const all = onUnwritten.length === 0 ? mutations : [...mutations, ...onUnwritten.map(confirm)]
    return send(connection, request, all, undefined)
  })

// ---------------------------------------------------------------------------------------------------------------------
// From a request to mutations
// ---------------------------------------------------------------------------------------------------------------------

interface Plan {
  readonly _tag: "Plan"
  readonly mutations: ReadonlyArray<WireMutation>
  /** Expected, and not written. */
  readonly onUnwritten: ReadonlyArray<GoogleSnapshot>
  /** Whether a mutation contradicts its own expectation. */
  readonly impossible: boolean
}

const plan = (
  { expected, mutations }: CommitRequest
): Plan | { readonly _tag: "Refused"; readonly error: DatastoreError } => {
  const expectations = new Map<string, GoogleSnapshot>()
  for (const snapshot of expected) {
    const id = snapshot.key.toString()
    if (expectations.has(id)) return refused(snapshot.key, "at most one expectation per key")
    expectations.set(id, usable(snapshot))
  }
  const written = new Set<string>()
  const wire: Array<WireMutation> = []
  let impossible = false
  for (const mutation of mutations) {
    const key = mutationKey(mutation)
    const id = key.toString()
    if (written.size === written.add(id).size) return refused(key, "at most one mutation per key")
    // Production checks this too, the emulator does not. Shorter ones are below the limit whatever they are made of.
    const problem = id.length < maxKeyBytes / 3 ? undefined : checkPath(key.path)
    if (problem !== undefined) return refused(key, problem)
    const planned = expecting(mutation, expectations.get(id))
    if (planned === undefined) impossible = true
    else wire.push(planned)
    expectations.delete(id)
  }
  return { _tag: "Plan", mutations: wire, onUnwritten: Array.from(expectations.values()), impossible }
}

const refused = (key: Key, detail: string) => ({
  _tag: "Refused" as const,
  error: makeError("commit", new InvalidArgument({ detail }), [key])
})

/** Dies for a snapshot that holds no version, or one of another backend: expecting it would not protect anything. */
const usable = (snapshot: Snapshot): GoogleSnapshot => {
  if (!GoogleSnapshot.is(snapshot)) {
    throw new Error(`The snapshot of ${snapshot.key} was not made by this backend, so a commit cannot expect it`)
  }
  if (GoogleSnapshot.isKeysOnly(snapshot)) {
    throw new Error(
      `The snapshot of ${snapshot.key} comes from a query for keys, which reports no versions, so a commit cannot ` +
        "expect it: look the key up, or query without `keysOnly`"
    )
  }
  return snapshot
}

const isAbsent = (snapshot: Snapshot): boolean =>
  GoogleSnapshot.is(snapshot) && GoogleSnapshot.message(snapshot) === undefined

/** The mutation together with what is expected of its key; `undefined` when they contradict each other. */
const expecting = (mutation: Mutation, expected: GoogleSnapshot | undefined): WireMutation | undefined => {
  const at = expected?.version
  if (mutation._tag === "Delete") return { operation: mutation, baseVersion: at }
  if (expected === undefined) return { operation: mutation, baseVersion: undefined }
  const { _tag, entity } = mutation
  if (isAbsent(expected)) return { operation: { _tag: "Insert", entity }, baseVersion: undefined }
  return _tag === "Insert" ? undefined : { operation: mutation, baseVersion: at }
}

/** A mutation that changes nothing and fails when the expectation is no longer true. */
const confirm = (expected: GoogleSnapshot): WireMutation => {
  const message = GoogleSnapshot.message(expected)
  return {
    operation: message === undefined ? { _tag: "Delete", key: expected.key } : { _tag: "Unchanged", message },
    baseVersion: expected.version
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The RPC and its errors
// ---------------------------------------------------------------------------------------------------------------------

const send = (
  connection: Connection,
  request: CommitRequest,
  mutations: ReadonlyArray<WireMutation>,
  transaction: Uint8Array | undefined
): Effect.Effect<void, CommitError> => {
  const { client, commitDeadlineMillis, partition } = connection
  return Effect.flatMap(
    encode(request, () => commitRequest(partition, mutations, transaction)),
    (bytes) =>
      Effect.catch(
        Effect.asVoid(client.callToEnd("commit", bytes, commitDeadlineMillis)),
        (failure) =>
          failed(connection, request, failure, mutations.some(({ baseVersion }) => baseVersion !== undefined))
      )
  )
}

const encode = (request: CommitRequest, make: () => Uint8Array): Effect.Effect<Uint8Array, DatastoreError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(make())
    } catch (cause) {
      if (!(cause instanceof UnencodableError)) return Effect.die(cause)
      return Effect.fail(
        makeError("commit", new InvalidArgument({ detail: cause.message }), request.mutations.map(mutationKey))
      )
    }
  })

/** What the failure of a commit means; looks the keys up when the code alone does not tell. */
const failed = (
  connection: Connection,
  request: CommitRequest,
  failure: RpcFailure,
  conditional: boolean
): Effect.Effect<never, CommitError> => {
  const keys = request.mutations.map(mutationKey)
  if (leavesDoubt(failure)) return Effect.fail(unknownOutcome(failure, keys))
  const expected = new Set(request.expected.map(({ key }) => key.toString()))
  const blind = (tag: Mutation["_tag"]) =>
    request.mutations.some((mutation) => mutation._tag === tag && !expected.has(mutationKey(mutation).toString()))
  switch (failure.code) {
    case Code.aborted:
      return Effect.fail(aborted(failure))
    case Code.failedPrecondition:
      if (conditional) return Effect.fail(changed(request.expected, failure))
      break
    case Code.alreadyExists:
      // Without a blind insert, only an expected absence can have met an entity.
      return blind("Insert") ? explain(connection, request, failure) : Effect.fail(changed(request.expected, failure))
    case Code.notFound:
      // It also says that the project or the database does not exist: then the lookup fails with it as well.
      if (conditional) return explain(connection, request, failure)
  }
  return Effect.fail(toError("commit", failure, keys))
}

const aborted = (failure: RpcFailure | undefined): ContentionError =>
  new ContentionError({ reason: new Aborted(failure === undefined ? {} : { cause: failure.cause }) })

const changed = (expected: ReadonlyArray<Snapshot>, failure: RpcFailure | undefined): ContentionError => {
  const keys = expected.map(({ key }) => key)
  return new ContentionError({
    reason: new EntityChanged(failure === undefined ? { keys } : { keys, cause: failure.cause })
  })
}

/**
 * Finds out by a lookup why a commit that wrote nothing cannot be applied. Expectations come first: existence is the
 * caller's mistake only while everything that was expected is true.
 */
const explain = (
  connection: Connection,
  request: CommitRequest,
  failure: RpcFailure | undefined
): Effect.Effect<never, CommitError> => {
  const keys = new Map<string, Key>()
  for (const { key } of request.expected) keys.set(key.toString(), key)
  for (const mutation of request.mutations) {
    if (mutation._tag === "Insert") {
      keys.set(mutation.entity.key.toString(), mutation.entity.key)
    }
  }
  return Effect.flatMap(
    lookup(connection, Array.from(keys.values())),
    (snapshots) => Effect.fail(verdict(request, snapshots, failure))
  )
}

const verdict = (
  request: CommitRequest,
  snapshots: ReadonlyArray<Snapshot>,
  failure: RpcFailure | undefined
): CommitError => {
  const now = new Map(snapshots.map((snapshot) => [snapshot.key.toString(), snapshot]))
  const differs = request.expected.filter((snapshot) => !same(snapshot, now.get(snapshot.key.toString())!))
  if (differs.length > 0) return changed(differs, failure)
  const cause = failure === undefined ? {} : { cause: failure.cause }
  const existing = request.mutations.filter(({ _tag }) => _tag === "Insert").map(mutationKey)
    .filter((key) => !isAbsent(now.get(key.toString())!))
  if (existing.length > 0) return makeError("commit", new AlreadyExists({ detail: "", ...cause }), existing)
  // What was in the way has gone since: another writer was there.
  return aborted(failure)
}

const same = (self: Snapshot, that: Snapshot): boolean =>
  isAbsent(self) ? isAbsent(that) : !isAbsent(that) && self.version === that.version

// ---------------------------------------------------------------------------------------------------------------------
// With a transaction of the server
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reads the unwritten keys in a transaction of the server, which locks them or watches them, compares, and commits in
 * it. Never a lookup that begins the transaction: on the emulator that leaves an orphan lock.
 */
const commitInteractively = (
  connection: Connection,
  request: CommitRequest,
  mutations: ReadonlyArray<WireMutation>,
  unwritten: ReadonlyArray<GoogleSnapshot>
): Effect.Effect<void, CommitError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      restore(begin(connection)),
      (transaction) =>
        restore(compare(connection, transaction, unwritten)).pipe(
          Effect.andThen(send(connection, request, mutations, transaction)),
          Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : rollback(connection, transaction))
        )
    )
  )

const begin = (connection: Connection): Effect.Effect<Uint8Array, DatastoreError> =>
  Effect.map(
    retrying(connection, "commit", "beginTransaction", beginTransactionRequest(connection.partition)),
    readBeginTransactionResponse
  )

const compare = (
  connection: Connection,
  transaction: Uint8Array,
  expected: ReadonlyArray<GoogleSnapshot>
): Effect.Effect<void, CommitError> => {
  const { client, commitDeadlineMillis, partition } = connection
  const keys = expected.map(({ key }) => key)
  // Once: an aborted transaction is over, and its lookups fail for good.
  const sendOnce = (bytes: Uint8Array) =>
    Effect.mapError(
      client.call("lookup", bytes, commitDeadlineMillis),
      (failure) => failure.code === Code.aborted ? aborted(failure) : toError("commit", failure, keys)
    )
  return lookupWith(partition, keys, { _tag: "Transaction", id: transaction }, sendOnce).pipe(
    Effect.flatMap((snapshots) => {
      const differs = expected.filter((snapshot, index) => !same(snapshot, snapshots[index]!))
      return differs.length === 0 ? Effect.void : Effect.fail(changed(differs, undefined))
    })
  )
}

/** Frees what the transaction locks; when that fails, the server does it after a while. */
const rollback = (connection: Connection, transaction: Uint8Array): Effect.Effect<void> =>
  Effect.ignore(
    connection.client.callToEnd(
      "rollback",
      rollbackRequest(connection.partition, transaction),
      Math.min(maxRollbackMillis, connection.commitDeadlineMillis)
    )
  )

const maxRollbackMillis = 5_000
