/**
 * The Datastore that the library and its users call: reads, writes and optimistic transactions over a `Backend`.
 *
 * A transaction here holds no lock and needs no RPC to begin. Reads inside it are plain lookups whose snapshots are
 * remembered, writes are buffered, and the end is ONE conditional commit which expects every entity that was read to be
 * unchanged. A lost race is a `ContentionError` with nothing written.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import {
  type Backend,
  type CommitRequest,
  type Mutation,
  mutationKey,
  type Query,
  type QueryResult,
  type Snapshot
} from "./Backend.ts"
import { entityChanged } from "./datastore/contention.ts"
import { awaitOutcome, type Restore } from "./datastore/doubt.ts"
import { type Looked, makeMerged, maxLookupKeys } from "./datastore/lookups.ts"
import * as Entity from "./Entity.ts"
import {
  CommitTooLarge,
  ContentionError,
  DatastoreError,
  Fenced,
  InvalidArgument,
  isUnknownOutcome,
  LayerClosed,
  OutcomeUnknown,
  Unavailable
} from "./EventboxError.ts"
import { retryOnceFailed } from "./ground/retries.ts"
import { inSpan } from "./ground/span.ts"
import { isKey, type Key, sizeBytes as keyBytes } from "./Key.ts"
import * as Transaction from "./Transaction.ts"

/**
 * What a layer provides: a backend, with merged lookups and a place for background work.
 *
 * **Details**
 *
 * Use the functions of this module rather than the members: they join the fiber's transaction and check what they send.
 *
 * @category services
 * @since 0.1.0
 */
export class Datastore extends Context.Service<Datastore, {
  /** The three operations as the layer made them: no merging, no transaction, no checks. */
  readonly backend: Backend
  /** Lookup merged with concurrent ones. Distinct keys; a call of at most 1,000 is one consistent read. @internal */
  readonly lookup: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyArray<Looked>, DatastoreError>
  /**
   * Runs an effect in the background of the layer, in the layer's own context; `false` when that is closed. @internal
   */
  readonly background: (effect: Effect.Effect<void>) => Effect.Effect<boolean>
  /** Returns when the layer begins to close: background work should then stop pausing and retrying. @internal */
  readonly closing: Effect.Effect<void>
}>()("eventbox/Datastore") {}

/** How long closing a layer waits for its background work. */
const closeTimeout = "10 seconds"

/**
 * Turns a backend into the service; every layer is built with it.
 *
 * **Details**
 *
 * Scoped: when the scope closes, background work (deletes of garbage, the search for the outcome of a commit that
 * nobody waits for any more) is awaited for at most 10 seconds and then interrupted; the backend's own resources must
 * be acquired before, so that they are released after. From then on every operation fails at once with
 * `DatastoreError`/ `Closed`, also the lookups that are under way.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (backend: Backend): Effect.Effect<Datastore["Service"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const fibers = yield* FiberSet.make<void>()
    const closing = yield* Latch.make(false)
    const outside = Context.omit(Transaction.Transaction)(context)
    const { close, guarded, isClosed } = closable(backend)
    const { failAll, lookup } = makeMerged(guarded, outside)
    yield* Effect.addFinalizer(() =>
      closing.open.pipe(
        Effect.andThen(FiberSet.awaitEmpty(fibers)),
        Effect.timeoutOption(closeTimeout),
        Effect.andThen(Effect.sync(() => {
          close()
          failAll(closed("lookup"))
        }))
      )
    )
    return {
      backend: guarded,
      lookup: (keys) =>
        keys.length <= maxLookupKeys
          ? Effect.map(lookup(keys), (looked) => [looked])
          : Effect.forEach(chunksOf(keys, maxLookupKeys), lookup, { concurrency: "unbounded" }),
      background: (effect) =>
        Effect.suspend(() => {
          if (isClosed()) return Effect.succeed(false)
          const running = effect.pipe(
            Effect.tapCause((cause) =>
              Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("Background work failed", cause)
            ),
            Effect.updateContext((_: Context.Context<never>) => outside)
          )
          return Effect.as(FiberSet.run(fibers, running), true)
        }),
      closing: closing.await
    }
  })

/** A backend that can be shut: then it is asked nothing more. */
const closable = (backend: Backend) => {
  let isClosed = false
  const unless = <A, E>(operation: string, effect: () => Effect.Effect<A, E>) =>
    Effect.suspend((): Effect.Effect<A, E | DatastoreError> => isClosed ? Effect.fail(closed(operation)) : effect())
  const guarded: Backend = {
    ...backend,
    lookup: (keys) => unless("lookup", () => backend.lookup(keys)),
    query: (request) => unless("query", () => backend.query(request)),
    commit: (request) => unless("commit", () => backend.commit(request))
  }
  return {
    guarded,
    isClosed: () => isClosed,
    close: () => {
      isClosed = true
    }
  }
}

const closed = (operation: string): DatastoreError =>
  new DatastoreError({ operation, reason: new LayerClosed({ detail: "nothing was sent" }) })

/**
 * Turns a scoped effect that makes a backend into a layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  makeBackend: Effect.Effect<Backend, E, R>
): Layer.Layer<Datastore, E, Exclude<R, Scope.Scope>> => Layer.effect(Datastore, Effect.flatMap(makeBackend, make))

/**
 * Reads one entity; `None` when there is none.
 *
 * **Details**
 *
 * Strongly consistent. Inside a transaction the first read of a key is remembered: later reads of it return the same,
 * and the commit expects it unchanged. What the transaction itself has written is seen: reads return a copy of what is
 * buffered. The key is read all the same, also one that was written first, so that the commit expects what was there; a
 * write alone expects nothing. Cost: 1 read; concurrent calls share RPCs.
 *
 * Fails with `DatastoreError` when the read failed after its retries: see its `reason`.
 *
 * @category reading
 * @since 0.1.0
 */
export const get = (key: Key): Effect.Effect<Option.Option<Entity.Entity>, DatastoreError, Datastore> =>
  Effect.map(getAll([key]), ([entity]) => entity!)

/**
 * Reads entities, in the order of the keys; `None` for each that does not exist.
 *
 * **Details**
 *
 * As {@link get}, for many. Up to 1,000 keys are one consistent read and one RPC. Cost: 1 read per distinct key.
 *
 * @category reading
 * @since 0.1.0
 */
export const getAll = (
  keys: ReadonlyArray<Key>
): Effect.Effect<ReadonlyArray<Option.Option<Entity.Entity>>, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    const transaction = Transaction.of(context)
    return Effect.map(snapshots(keys), (found) => found.map((snapshot) => Transaction.entityOf(transaction, snapshot)))
  })

/**
 * Queries entities of one kind, in ascending key order.
 *
 * **Details**
 *
 * Strongly consistent, and not part of any transaction: dies inside one, because its result could not be validated by
 * the commit. Cost: 1 read per result (1 small operation with `keysOnly`).
 *
 * Fails with `DatastoreError` when the read failed after its retries. Dies when `limit` is not a positive integer.
 *
 * @category reading
 * @since 0.1.0
 */
export const query = (request: Query): Effect.Effect<QueryResult, DatastoreError, Datastore> =>
  Effect.gen(function*() {
    yield* Transaction.refuseInside("Datastore.query", "query before it, then read by key inside")
    const { limit } = request
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
      return yield* Effect.die(new Error(`Datastore.query: limit is a positive integer, got ${limit}`))
    }
    return yield* (yield* Datastore).backend.query(request)
  })

/**
 * Writes entities, whether or not they exist.
 *
 * **Details**
 *
 * Inside a transaction the writes are buffered for its commit. Outside they are one atomic commit without expectations,
 * below 10 MiB in all (4 MiB on the emulator). Cost: 1 write per entity.
 *
 * Fails with `DatastoreError`: `InvalidArgument` names the property or limit that is wrong, before anything is sent;
 * `TooLarge` when they are more than one commit takes; `OutcomeUnknown` means that the writes may have landed. A commit
 * that Datastore aborts is sent again, five times in all with jittered pauses; then it is `Unavailable`, and nothing
 * was written.
 *
 * @category writing
 * @since 0.1.0
 */
export const put = (
  entities: ReadonlyArray<Entity.Entity>
): Effect.Effect<void, DatastoreError, Datastore> => write("put", entities, (entity) => ({ _tag: "Upsert", entity }))

/**
 * Writes entities that must not exist yet.
 *
 * **Details**
 *
 * As {@link put}; fails with `DatastoreError`/`AlreadyExists` when one of them exists, and then writes none. Inside a
 * transaction that failure comes from its commit.
 *
 * @category writing
 * @since 0.1.0
 */
export const insert = (
  entities: ReadonlyArray<Entity.Entity>
): Effect.Effect<void, DatastoreError, Datastore> => write("insert", entities, (entity) => ({ _tag: "Insert", entity }))

/**
 * Sets some properties of an entity, and keeps all others as they are stored.
 *
 * **Details**
 *
 * As {@link put} in all else. `unindexed` is about these properties alone. Makes the entity when there is none. What is
 * kept is not read: also what other programs store there, index flags and all. Cost: 1 write.
 *
 * Dies when there is no property to set.
 *
 * @category writing
 * @since 0.1.0
 */
export const patch = (
  key: Key,
  properties: Entity.Properties,
  options?: { readonly unindexed?: "all" | Iterable<string> | undefined }
): Effect.Effect<void, DatastoreError, Datastore> =>
  Object.keys(properties).length === 0
    ? Effect.die(new Error(`Datastore.patch of ${key}: there is no property to set`))
    : write("patch", [Entity.make(key, properties, options)], (entity) => ({ _tag: "Patch", entity }))

/**
 * Removes entities, if they exist. As {@link put} in all else. Cost: 1 delete per key.
 *
 * @category writing
 * @since 0.1.0
 */
export const remove = (
  keys: ReadonlyArray<Key>
): Effect.Effect<void, DatastoreError, Datastore> => write("remove", keys, (key) => ({ _tag: "Delete", key }))

/**
 * Runs a body as one optimistic transaction: all its writes land together, or none.
 *
 * **Details**
 *
 * The body runs once; nothing is retried here. When it succeeds, one conditional commit expects every entity that it
 * read to be unchanged. When it fails or is interrupted, nothing is written. A commit under way is not interrupted, so
 * an interruption returns within the deadline of a commit: where its response is lost, the search for its outcome goes
 * on in the background of the layer. A body that writes nothing needs no commit; if its reads took more than one RPC,
 * one lookup validates them. Cost: 1 RPC for the commit; an entity that was read and not written costs 1 write, as it
 * carries the expectation.
 *
 * Fails with `ContentionError` when another writer was first: run the whole again, with jitter. Fails with
 * `DatastoreError`: `AlreadyExists` for an `insert`, `TooLarge` for a commit over the limit, `OutcomeUnknown` when
 * the response was lost (load again, never repeat blindly). Dies when it is nested in another transaction.
 *
 * @category transactions
 * @since 0.1.0
 */
export const withTransaction = <A, E, R>(
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ContentionError | DatastoreError, Exclude<R, Transaction.Transaction> | Datastore> =>
  transact(body, new Map())

/**
 * As {@link withTransaction}, with reads that were remembered before it (see {@link remembering}).
 *
 * @internal
 */
export const transact = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  remembered: ReadonlyMap<string, Snapshot>
): Effect.Effect<A, E | ContentionError | DatastoreError, Exclude<R, Transaction.Transaction> | Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    if (Transaction.of(context)?.open === true) {
      return Transaction.refuse("withTransaction", "transactions do not nest; call the body directly")
    }
    const datastore = Context.get(context, Datastore)
    const transaction = Transaction.makeUnsafe(remembered)
    return Effect.uninterruptibleMask((restore) =>
      restore(Effect.provideService(body, Transaction.Transaction, transaction)).pipe(
        Effect.onExit((exit) => Effect.sync(() => close(transaction, exit, openMemory(context)))),
        Effect.tap(() => Effect.andThen(end(datastore, transaction, context, restore), runAfterCommit(transaction)))
      )
    )
  })

/** Commits; where reads are being remembered, so are those of the transaction. // E1 */
const end = (
  datastore: Datastore["Service"],
  transaction: Transaction.TransactionState,
  context: Context.Context<never>,
  restore: Restore
): Effect.Effect<void, ContentionError | DatastoreError> =>
  Effect.flatMap(commit(datastore, transaction, restore), () => {
    const memory = openMemory(context)
    if (memory !== undefined) keepReads(memory, transaction)
    return rememberWrites(datastore, context, transaction.writes)
  })

const keepReads = (memory: Remembered, { reads }: Transaction.TransactionState): void => {
  for (const [id, snapshot] of reads) if (!memory.has(id)) memory.set(id, snapshot)
}

/**
 * What was remembered of keys that were written since is old. Each is looked up again, and the new snapshot counts if
 * it shows what was written: whoever remembers knows that. If it does not, another writer was at it, and the old one
 * stays, so that the commit that expects it is contention.
 */
const rememberWrites = (
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

/**
 * Runs an effect once the transaction of the fiber has committed; immediately when there is none.
 *
 * **Details**
 *
 * Effects run in the order of registration, before `withTransaction` returns, with the services of the registering
 * fiber minus the transaction. An effect that dies is logged, and the others still run. No RPC of its own.
 *
 * **Gotchas**
 *
 * They are dropped when the body fails or the commit does not land, and lost when the process dies first or the outcome
 * of the commit stays unknown: what must happen belongs into the transaction. After the commit they run
 * uninterruptibly, so keep them short; when the caller was interrupted while the outcome was in doubt, they run in the
 * background of the layer, once it is found that the commit landed. Registering after the transaction has ended is a
 * defect.
 *
 * Source: `SqlClient.afterCommit` of effect 4.1.
 *
 * @category transactions
 * @since 0.1.0
 */
export const afterCommit = <R>(effect: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> =>
  Effect.flatMap(Transaction.current, (transaction) =>
    transaction === undefined
      ? effect
      : Effect.map(Effect.context<R>(), (context) => {
        transaction.afterCommit.push(Effect.provideContext(Transaction.outside(effect), context))
      }))

/**
 * Reads keys as snapshots; joins the fiber's transaction or the reads that {@link remembering} collects.
 *
 * @internal
 */
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
type Remembered = Map<string, Snapshot>

/**
 * Collects what an effect reads, outside transactions and in transactions of its own, so that a later transaction can
 * use and expect it.
 *
 * @internal
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

const openMemory = (context: Context.Context<never>): Map<string, Snapshot> | undefined => {
  const memory = Context.get(context, ReadMemory)
  return memory?.open === true ? memory.snapshots : undefined
}

/**
 * Whether two snapshots of one key saw the same: both nothing, or the same version.
 *
 * @internal
 */
export const sameSnapshot = (self: Snapshot, that: Snapshot): boolean =>
  Option.isNone(self.entity) ? Option.isNone(that.entity) : Option.isSome(that.entity) && self.version === that.version

/**
 * Those of some snapshots that are no longer true; `now` are snapshots of the same keys, in their order.
 *
 * @internal
 */
export const changedAmong = (before: ReadonlyArray<Snapshot>, now: ReadonlyArray<Snapshot>): ReadonlyArray<Snapshot> =>
  before.filter((snapshot, index) => !sameSnapshot(snapshot, now[index]!))

/**
 * Sends a commit after checking its size, if not measured before; what need not be atomic is split by the caller.
 *
 * @internal
 */
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

const bytesOf = (mutations: ReadonlyArray<Mutation>): number =>
  mutations.reduce((sum, mutation) => sum + mutationBytes(mutation), 0)

/**
 * Sends a commit without expectations. One that Datastore aborts wrote nothing and is sent again, five times in all.
 *
 * @internal
 */
export const sendBlind = (
  datastore: Datastore["Service"],
  mutations: ReadonlyArray<Mutation>,
  operation: string,
  bytes?: number
): Effect.Effect<void, DatastoreError> =>
  retryOnceFailed(
    Effect.uninterruptible(sendCommit(datastore, { mutations, expected: [] }, bytes)),
    () => ({ while: (error) => error._tag === "ContentionError", schedule: afterAbort })
  ).pipe(
    Effect.catchTag("ContentionError", (cause) => {
      const detail = "Datastore aborted the commit five times, because of other writers; nothing was written"
      return Effect.fail(new DatastoreError({ operation, reason: new Unavailable({ detail, cause }) }))
    })
  )

const afterAbort = Schedule.exponential("20 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 4 }))

/**
 * Bytes of one mutation in a commit request, estimated.
 *
 * @internal
 */
export const mutationBytes = (mutation: Mutation): number =>
  mutation._tag === "Delete" ? 64 + keyBytes(mutation.key) : Entity.sizeBytes(mutation.entity)

/** Splits an array into parts of at most `size`. */
const chunksOf = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> => {
  if (items.length <= size) return [items]
  const chunks: Array<ReadonlyArray<A>> = []
  for (let from = 0; from < items.length; from += size) chunks.push(items.slice(from, from + size))
  return chunks
}

/**
 * Does something with parts of at most `size`, four at a time; a single part needs no fiber of its own.
 *
 * @internal
 */
export const forEachChunk = <A, E, R>(
  items: ReadonlyArray<A>,
  size: number,
  each: (chunk: ReadonlyArray<A>) => Effect.Effect<void, E, R>
): Effect.Effect<void, E, R> => {
  if (items.length === 0) return Effect.void
  return items.length <= size
    ? each(items)
    : Effect.forEach(chunksOf(items, size), each, { concurrency: 4, discard: true })
}

const write = <A>(
  operation: string,
  items: ReadonlyArray<A>,
  toMutation: (item: A) => Mutation
): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    if (!Array.isArray(items)) return Effect.die(new Error(`Datastore.${operation} takes an array`))
    const mutations = items.map(toMutation)
    const stray = mutations.map(mutationKey).find((key) => !isKey(key))
    if (stray !== undefined) {
      return Effect.die(new Error(`Datastore.${operation}: ${String(stray)} is not a Key; see Key.make`))
    }
    const transaction = Transaction.of(context)
    if (transaction?.open === false) return Transaction.ended
    const writes = transaction?.writes ?? new Map<string, Mutation>()
    for (const mutation of mutations) {
      const problem = mutation._tag === "Delete" ? undefined : Entity.check(mutation.entity)
      if (problem !== undefined) return invalidEntity(operation, mutation, problem)
    }
    const buffered = Transaction.buffer(writes, mutations, operation)
    if (transaction !== undefined || writes.size === 0 || Result.isFailure(buffered)) {
      return Effect.fromResult(buffered)
    }
    const datastore = Context.get(context, Datastore)
    const sent = sendBlind(datastore, Array.from(writes.values()), operation)
    return openMemory(context) === undefined
      ? sent
      : Effect.andThen(sent, Effect.suspend(() => rememberWrites(datastore, context, writes)))
  })

const invalidEntity = (operation: string, mutation: Mutation, problem: Entity.Problem) => {
  const detail = problem.property === "" ? problem.reason : `property ${problem.property}: ${problem.reason}`
  return Effect.fail(
    new DatastoreError({ operation, keys: [mutationKey(mutation)], reason: new InvalidArgument({ detail }) })
  )
}

/** A body that failed wrote nothing, but what it failed with may be told by what it read. // E1 */
const close = (
  transaction: Transaction.TransactionState,
  exit: Exit.Exit<unknown, unknown>,
  memory: Remembered | undefined
): void => {
  transaction.open = false
  if (memory !== undefined && Exit.isFailure(exit)) keepReads(memory, transaction)
}

const commit = (
  datastore: Datastore["Service"],
  transaction: Transaction.TransactionState,
  restore: Restore
): Effect.Effect<void, ContentionError | DatastoreError> => {
  for (const problem of transaction.unfinished) return Effect.die(new Error(problem))
  const expected = Array.from(transaction.reads.values())
  if (transaction.writes.size === 0) {
    return transaction.readRpcs.size > 1 ? restore(validate(datastore, expected)) : Effect.void
  }
  const mutations = Array.from(transaction.writes.values())
  const bytes = transaction.deletedBytes + bytesOf(mutations)
  const { witness } = transaction
  const sending = sendCommit(datastore, { mutations, expected }, bytes)
  return witness === undefined ? sending : Effect.catch(sending, (error) => {
    const isContended = error._tag === "ContentionError"
    if (!isContended && !isUnknownOutcome(error)) return Effect.fail(error)
    const search = isContended
      ? witness.afterContention(expected)
      : Effect.map(witness.afterDoubt, (outcome): Transaction.Contended => ({ outcome, changed: [] }))
    return Effect.flatMap(
      awaitOutcome(datastore.background, search, runAfterCommit(transaction), restore),
      ({ changed, outcome }) =>
        settle(
          outcome,
          error,
          changed.length > 0 || !isContended ? contention(isContended ? changed : expected) : error
        )
    )
  })
}

/** What a commit comes to that was in doubt or contended, once its outcome was looked for. */
const settle = (
  outcome: Transaction.Outcome,
  error: ContentionError | DatastoreError,
  lost: ContentionError
): Effect.Effect<void, ContentionError | DatastoreError> => {
  switch (outcome) {
    case "Landed":
      return Effect.void
    case "Lost":
      return Effect.fail(lost)
    case "Fenced":
      return Effect.fail(new ContentionError({ reason: new Fenced({ cause: error }) }))
    case "Unknown":
      return Effect.fail(error._tag === "DatastoreError" ? error : inDoubt(error))
  }
}

const inDoubt = (cause: ContentionError): DatastoreError => {
  const detail = "the service said that another writer was first, and it could not be found out whether that was " +
    "this very commit, delivered twice"
  return new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail, cause }) })
}

const contention = (changed: ReadonlyArray<Snapshot>): ContentionError => entityChanged(changed.map(({ key }) => key))

/**
 * Checks that everything a read-only transaction saw was true at one moment: what is unchanged now, after the last
 * read, was so since its own read.
 */
const validate = (
  datastore: Datastore["Service"],
  expected: ReadonlyArray<Snapshot>
): Effect.Effect<void, ContentionError | DatastoreError> =>
  Effect.flatMap(datastore.lookup(expected.map((snapshot) => snapshot.key)), (looked) => {
    const changed = changedAmong(expected, looked.flatMap((part) => part.snapshots))
    return changed.length === 0 ? Effect.void : Effect.fail(contention(changed))
  })

const runAfterCommit = (transaction: Transaction.TransactionState): Effect.Effect<void> =>
  Effect.forEach(
    transaction.afterCommit,
    (effect) => Effect.catchCause(effect, (cause) => Effect.logError("An afterCommit effect died", cause)),
    { discard: true }
  )
