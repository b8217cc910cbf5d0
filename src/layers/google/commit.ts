/**
 * Conditional commits: expectations as versions on mutations, and codes as errors.
 *
 * | | nothing expected | expected present | expected absent |
 * |---|---|---|---|
 * | Insert | insert | cannot succeed | insert |
 * | Upsert | upsert | upsert at its version | insert |
 * | Patch | upsert with a mask | the same at its version | insert |
 * | Delete | delete | delete at its version | delete at the version reported for the missing entity |
 * | not written | – | update that changes nothing, at its version | as Delete |
 *
 * *At a version*: `base_version` with the strategy FAIL, which makes the whole commit fail when the entity has another
 * one. Always FAIL: the default strategy applies the stale mutation on the emulator, and skips it silently in
 * production. *Changes nothing*: the update has no properties, and a mask that names one which the entity does not have
 * either; so nothing of what was only read is sent. Never an empty mask, which may mean all properties. *Cannot
 * succeed*: nothing is sent; a lookup tells whether the expectation (contention) or existence is what is wrong.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type CommitRequest, type Mutation, mutationKey, type Snapshot } from "../../Backend.ts"
import { entityChanged } from "../../datastore/contention.ts"
import {
  Aborted,
  AlreadyExists,
  CommitTooLarge,
  ContentionError,
  type DatastoreError,
  InvalidArgument
} from "../../EventboxError.ts"
import { checkPath, type Key, maxKeyBytes } from "../../Key.ts"
import { UnencodableError } from "./entity.ts"
import { Code, leavesDoubt, makeError, type RpcFailure, toError, unknownOutcome } from "./errors.ts"
import {
  beginTransactionRequest,
  commitRequest,
  inTransaction,
  readBeginTransactionResponse,
  readCommitResponse,
  rollbackRequest,
  type WireMutation
} from "./messages.ts"
import { type Connection, decode, lookup, lookupWith, retrying, unreadable } from "./reads.ts"
import { GoogleSnapshot } from "./snapshot.ts"

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
    return Effect.flatMap(
      encode(connection, request, () => commitRequest(connection.partition, all, "own")),
      (bytes) => send(connection, request, all, bytes)
    )
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
    if (mutation._tag === "Patch" && Object.keys(mutation.entity.properties).length === 0) {
      return refused(key, "a patch sets at least one property")
    }
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

const isAbsent = (snapshot: Snapshot): boolean => GoogleSnapshot.is(snapshot) && GoogleSnapshot.isAbsent(snapshot)

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
  const { key } = expected
  return {
    operation: isAbsent(expected)
      ? { _tag: "Delete", key }
      : { _tag: "Confirm", key, property: GoogleSnapshot.unusedName(expected) },
    baseVersion: expected.version
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The RPC and its errors
// ---------------------------------------------------------------------------------------------------------------------

/** Beside the deadline, milliseconds for each mutation: the emulator takes 0.3. */
const millisPerMutation = 1

const send = (
  connection: Connection,
  request: CommitRequest,
  mutations: ReadonlyArray<WireMutation>,
  bytes: Uint8Array
): Effect.Effect<void, CommitError> =>
  Effect.matchEffect(
    connection.client.callToEnd(
      "commit",
      bytes,
      connection.commitDeadlineMillis + mutations.length * millisPerMutation
    ),
    {
      onSuccess: (response) => answered(request, mutations, response),
      onFailure: (failure) => failed(connection, request, failure, mutations, bytes.length)
    }
  )

/**
 * Whether a commit landed whole. An answer that cannot be read, or that does not speak of every mutation, is no proof
 * of that, and none of the opposite.
 */
const answered = (
  request: CommitRequest,
  mutations: ReadonlyArray<WireMutation>,
  bytes: Uint8Array
): Effect.Effect<void, CommitError> => {
  const doubt = (detail: string, cause?: unknown) =>
    Effect.fail(unknownOutcome({ code: undefined, detail, cause }, request.mutations.map(mutationKey)))
  try {
    const { conflicts, results } = readCommitResponse(bytes)
    if (conflicts.length > 0) return Effect.fail(entityChanged(conflicts.map((index) => keyOf(mutations[index]!))))
    if (results >= mutations.length) return Effect.void
    return doubt(`the answer speaks of ${results} of ${mutations.length} mutations`)
  } catch (cause) {
    return doubt("the answer cannot be read", cause)
  }
}

const keyOf = ({ operation }: WireMutation): Key => "key" in operation ? operation.key : operation.entity.key

const encode = (
  { maxRequestBytes }: Connection,
  request: CommitRequest,
  make: () => Uint8Array
): Effect.Effect<Uint8Array, DatastoreError> =>
  Effect.suspend(() => {
    try {
      const bytes = make()
      if (bytes.length <= maxRequestBytes) return Effect.succeed(bytes)
      const detail = `a request has at most ${maxRequestBytes} bytes, this one has ${bytes.length}; write less at once`
      return Effect.fail(makeError("commit", new CommitTooLarge({ detail })))
    } catch (cause) {
      if (!(cause instanceof UnencodableError)) return Effect.die(cause)
      return Effect.fail(
        makeError("commit", new InvalidArgument({ detail: cause.message }), request.mutations.map(mutationKey))
      )
    }
  })

/** What the failure of a commit means; looks keys up when the code alone does not tell. */
const failed = (
  connection: Connection,
  request: CommitRequest,
  failure: RpcFailure,
  mutations: ReadonlyArray<WireMutation>,
  sizeBytes: number
): Effect.Effect<never, CommitError> => {
  const keys = request.mutations.map(mutationKey)
  if (leavesDoubt(failure)) return Effect.fail(unknownOutcome(failure, keys))
  if (failure.fate === "unsent") return Effect.fail(toError("commit", failure, keys))
  const conditional = mutations.some(({ baseVersion }) => baseVersion !== undefined)
  switch (failure.code) {
    case Code.aborted:
      return Effect.fail(aborted(failure))
    case Code.failedPrecondition:
      if (conditional) return Effect.fail(changed(request.expected, failure))
      break
    case Code.alreadyExists:
      // Without a blind insert, only an expected absence can have met an entity.
      return blindInserts(request).length > 0
        ? explain(connection, request, failure)
        : Effect.fail(changed(request.expected, failure))
    case Code.notFound:
      // It also says that the project or the database does not exist: then the lookup fails with it as well.
      if (conditional) return explain(connection, request, failure)
      break
    case Code.invalidArgument:
    case Code.resourceExhausted: {
      const size = sizeBytes + storedBytes(request)
      if (size <= connection.maxRequestBytes / 2) break
      const { cause, detail } = failure
      const about = `${size} bytes with those that it replaces; write less at once: ${detail}`
      return Effect.fail(makeError("commit", new CommitTooLarge({ detail: about, cause })))
    }
  }
  return Effect.fail(toError("commit", failure, keys))
}

/** Bytes of the entities that a commit replaces or deletes, as far as it has read them: the service counts them too. */
const storedBytes = ({ expected, mutations }: CommitRequest): number => {
  const written = new Set(mutations.map((mutation) => mutationKey(mutation).toString()))
  return expected.reduce(
    (sum, snapshot) =>
      written.has(snapshot.key.toString()) && GoogleSnapshot.is(snapshot)
        ? sum + GoogleSnapshot.sizeBytes(snapshot)
        : sum,
    0
  )
}

const aborted = (failure: RpcFailure | undefined): ContentionError =>
  new ContentionError({ reason: new Aborted(failure === undefined ? {} : { cause: failure.cause }) })

const changed = (expected: ReadonlyArray<Snapshot>, failure: RpcFailure | undefined): ContentionError =>
  entityChanged(expected.map(({ key }) => key), failure?.cause)

/** Keys that are inserted whose absence is not expected. */
const blindInserts = ({ expected, mutations }: CommitRequest): ReadonlyArray<Key> => {
  const inserted = mutations.filter(({ _tag }) => _tag === "Insert").map(mutationKey)
  if (inserted.length === 0) return inserted
  const known = new Set(expected.map(({ key }) => key.toString()))
  return inserted.filter((key) => !known.has(key.toString()))
}

/**
 * Finds out by a lookup why a commit that wrote nothing cannot be applied. Expectations come first: existence is the
 * caller's mistake only while what was expected is true. Of what the commit deletes only the first are asked: a batch
 * deletes its events, of which there may be a thousand, and is lost with its head.
 */
const explain = (
  connection: Connection,
  request: CommitRequest,
  failure: RpcFailure | undefined
): Effect.Effect<never, CommitError> => {
  const inserted = request.mutations.filter(({ _tag }) => _tag === "Insert").map(mutationKey)
  const deleted = new Set(
    request.mutations.filter(({ _tag }) => _tag === "Delete").map((it) => mutationKey(it).toString())
  )
  let deletes = 0
  const asked = request.expected.filter(({ key }) => !deleted.has(key.toString()) || deletes++ < maxAskedDeletes)
  const keys = new Map([...inserted, ...asked.map(({ key }) => key)].map((key) => [key.toString(), key]))
  // One at least, since it also tells whether there is such a database.
  if (keys.size === 0) { for (const { key } of request.expected.slice(0, 1)) keys.set(key.toString(), key) }
  return Effect.flatMap(
    lookup(connection, Array.from(keys.values())),
    (snapshots) => Effect.fail(verdict(asked, inserted, snapshots, failure))
  )
}

const maxAskedDeletes = 100

const verdict = (
  expected: ReadonlyArray<Snapshot>,
  inserted: ReadonlyArray<Key>,
  snapshots: ReadonlyArray<Snapshot>,
  failure: RpcFailure | undefined
): CommitError => {
  const now = new Map(snapshots.map((snapshot) => [snapshot.key.toString(), snapshot]))
  const differs = expected.filter((snapshot) => !same(snapshot, now.get(snapshot.key.toString())!))
  if (differs.length > 0) return changed(differs, failure)
  const cause = failure === undefined ? {} : { cause: failure.cause }
  const existing = inserted.filter((key) => !isAbsent(now.get(key.toString())!))
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
      // First, so that what cannot be sent begins no transaction.
      encode(connection, request, () => commitRequest(connection.partition, mutations, "begun")),
      (bytes) =>
        Effect.flatMap(restore(begin(connection)), (transaction) =>
          restore(compare(connection, transaction, unwritten)).pipe(
            Effect.andThen(() => send(connection, request, mutations, inTransaction(bytes, transaction))),
            Effect.onExit((exit) =>
              Exit.isSuccess(exit) ? Effect.void : rollback(connection, transaction)
            )
          ))
    )
  )

const begin = Effect.fnUntraced(
  function*(connection: Connection): Effect.fn.Return<Uint8Array, DatastoreError> {
    const request = beginTransactionRequest(connection.partition)
    const response = yield* retrying(connection, "commit", "beginTransaction", request)
    const transaction = yield* decode("commit", () => readBeginTransactionResponse(response))
    return transaction.length === 0 ? yield* unreadable("commit", "it names no transaction") : transaction
  }
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
