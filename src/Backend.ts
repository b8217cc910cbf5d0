/**
 * THE PORT: what the library needs of a database, as three operations, each atomic by itself.
 *
 * A layer implements {@link Backend} for one database and hands it to `Datastore.make`, which adds transactions,
 * merging of lookups and background work. The conformance suite in `effect-eventbox/testing/DatastoreSuite` states what
 * an implementation must do, as tests.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Entity } from "./Entity.ts"
import type { ContentionError, DatastoreError } from "./EventboxError.ts"
import type { Key } from "./Key.ts"

/**
 * Version of one entity: opaque, grows with every change, also over a deletion.
 *
 * **Gotchas**
 *
 * A write that changes nothing may keep the version.
 *
 * @category models
 * @since 0.1.0
 */
export type Version = bigint

/**
 * What a read saw of one key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly key: Key
  /** `None` when there is no entity. A backend may decode it on first use. */
  readonly entity: Option.Option<Entity>
  /** For a missing entity: what the backend reported, which may be 0. */
  readonly version: Version
}

/**
 * One end of a key range.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bound {
  readonly key: Key
  readonly inclusive: boolean
}

/**
 * A query by kind, in ascending key order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query {
  readonly kind: string
  /** Only entities below this key, or with this very key. */
  readonly ancestor?: Key | undefined
  readonly from?: Bound | undefined
  readonly to?: Bound | undefined
  /** At most this many results; all of them when absent. At least 1. */
  readonly limit?: number | undefined
  /**
   * The query may end once its results have so many bytes: an answer that comes in parts is then not read on, and says
   * so by `isCutOff`. A backend whose answers come in one part may take no notice.
   */
  readonly maxBytes?: number | undefined
  /** Results then hold entities without properties; billed as one small operation each. */
  readonly keysOnly?: boolean | undefined
}

/**
 * The answer to a {@link Query}.
 *
 * @category models
 * @since 0.1.0
 */
export interface QueryResult {
  /** In ascending key order; the entity of each is present. */
  readonly results: ReadonlyArray<Snapshot>
  /** Whether `maxBytes` ended it, with a result at least: there may be more after the last one. */
  readonly isCutOff?: boolean | undefined
}

/**
 * One write of a commit.
 *
 * @category models
 * @since 0.1.0
 */
export type Mutation =
  /** The entity must not exist: `AlreadyExists` otherwise, unless its absence is also expected (then contention). */
  | { readonly _tag: "Insert"; readonly entity: Entity }
  /** Writes the entity whether or not it exists. */
  | { readonly _tag: "Upsert"; readonly entity: Entity }
  /**
   * Sets the properties of `entity`, at least one, and keeps all others as they are stored, with their index flags and
   * whatever else the database keeps beside them; makes the entity when there is none.
   */
  | { readonly _tag: "Patch"; readonly entity: Entity }
  /** Removes the entity if it exists. */
  | { readonly _tag: "Delete"; readonly key: Key }

/**
 * A conditional commit: at most one mutation per key, at most one expectation per key.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommitRequest {
  readonly mutations: ReadonlyArray<Mutation>
  /** What must still be true; also of keys that are not written. Only snapshots of this backend, none of `keysOnly`. */
  readonly expected: ReadonlyArray<Snapshot>
}

/**
 * A database, as far as this library needs one.
 *
 * **Details**
 *
 * A backend refuses keys and entities that break the rules of `Key` and `Entity`, with `InvalidArgument` and before it
 * sends anything. Reads are retried inside; commits never are. Every operation may be interrupted; an interrupted
 * commit waits for its result or reports nothing.
 *
 * **Gotchas**
 *
 * A blob may be a view into a larger buffer, which it shares with others, as Node's own do: use its `byteOffset` and
 * `length`, never its `buffer` as a whole, and do not transfer that to a worker.
 *
 * @category models
 * @since 0.1.0
 */
export interface Backend {
  /**
   * Reads keys, strongly consistent: one snapshot per key, in the order of the keys, which are distinct. A call of at
   * most 1,000 keys is one consistent read.
   */
  readonly lookup: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyArray<Snapshot>, DatastoreError>
  /** Strongly consistent, ascending key order. */
  readonly query: (query: Query) => Effect.Effect<QueryResult, DatastoreError>
  /**
   * All or nothing: applies every mutation if and only if every expected snapshot is still true, and fails with
   * `ContentionError` otherwise. `DatastoreError`/`OutcomeUnknown` when it may or may not have landed; every other
   * failure promises that nothing was written and nothing will be.
   */
  readonly commit: (request: CommitRequest) => Effect.Effect<void, ContentionError | DatastoreError>
  /** What one commit may hold; larger ones that need not be atomic are split by the caller. */
  readonly limits: {
    /** Bytes of a commit request, as `Entity.sizeBytes` counts entities, with a margin for the envelope. */
    readonly commitBytes: number
  }
}

/**
 * The key that a mutation writes.
 *
 * @category accessors
 * @since 0.1.0
 */
export const mutationKey = (mutation: Mutation): Key => mutation._tag === "Delete" ? mutation.key : mutation.entity.key
