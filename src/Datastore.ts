/**
 * The Datastore that the library and its users call: reads, writes and optimistic transactions over a `Backend`.
 *
 * A transaction here holds no lock and needs no RPC to begin. Reads inside it are plain lookups whose snapshots are
 * remembered, writes are buffered, and the end is ONE conditional commit which expects every entity that was read to be
 * unchanged. A lost race is a `ContentionError` with nothing written.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Backend, Query, QueryResult } from "./Backend.ts"
import { open } from "./datastore/lifecycle.ts"
import { snapshots } from "./datastore/reads.ts"
import { Datastore } from "./datastore/service.ts"
import { transact } from "./datastore/transact.ts"
import { write } from "./datastore/writes.ts"
import * as Entity from "./Entity.ts"
import type { ContentionError, DatastoreError } from "./EventboxError.ts"
import * as Transaction from "./ground/transaction.ts"
import type { Key } from "./Key.ts"

export { Datastore } from "./datastore/service.ts"

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
export const make = (backend: Backend): Effect.Effect<Datastore["Service"], never, Scope.Scope> => open(backend)

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
