/**
 * Datastore in memory: the reference semantics of `Backend`, for tests, examples and trying things out.
 *
 * Everything that a real Datastore decides is decided here in its plainest form: one map of entities with versions,
 * and an index per kind in key order. Every operation takes effect at one instant.
 * Limits and errors are those of the service. Nothing survives the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Backend from "../Backend.ts"
import * as Datastore from "../Datastore.ts"
import { entityChanged } from "../datastore/contention.ts"
import * as Entity from "../Entity.ts"
import {
  AlreadyExists,
  CommitTooLarge,
  type ContentionError,
  DatastoreError,
  type DatastoreReason,
  InvalidArgument
} from "../EventboxError.ts"
import { isBytes } from "../ground/foreign.ts"
import * as Key from "../Key.ts"
import { SortedRows } from "./memory/sortedRows.ts"

/** Bytes that one commit may have. Source: Datastore limits, "Maximum size for a transaction", 10 MiB. */
const maxCommitBytes = 10 * 1024 * 1024

/**
 * What a store held at one moment, for {@link Store.restore}, {@link entitiesOf} and {@link diff}; immutable, and
 * usable any number of times.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoreSnapshot {
  readonly "~eventbox/layers/InMemory/StoreSnapshot": unknown
}

/**
 * A database in memory: a {@link Backend.Backend} and what tests need beside it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Store {
  /** Give it to as many `Datastore` services as there are processes to play. */
  readonly backend: Backend.Backend
  /** How many entities there are. */
  readonly size: Effect.Effect<number>
  /** Every entity as one line of readable text, in key order: key, version, properties. */
  readonly dump: Effect.Effect<string>
  /** Remembers everything: entities and versions. O(entities). */
  readonly snapshot: Effect.Effect<StoreSnapshot>
  /**
   * Goes back to what was saved, here or in another store; versions then repeat. What a `Datastore` over this
   * store remembers, such as where a truncated listing ended, stays. O(entities).
   */
  readonly restore: (snapshot: StoreSnapshot) => Effect.Effect<void>
}

/**
 * What became of one entity between two snapshots.
 *
 * @category models
 * @since 0.1.0
 */
export type Change =
  | { readonly _tag: "Inserted"; readonly key: Key.Key; readonly after: Entity.Entity }
  | { readonly _tag: "Deleted"; readonly key: Key.Key; readonly before: Entity.Entity }
  /** `properties` names those with another value or another index flag, in the order of their names. */
  | {
    readonly _tag: "Changed"
    readonly key: Key.Key
    readonly before: Entity.Entity
    readonly after: Entity.Entity
    readonly properties: ReadonlyArray<string>
  }

/**
 * The store behind {@link layerControlled}.
 *
 * @category services
 * @since 0.1.0
 */
export class InMemory extends Context.Service<InMemory, Store>()("eventbox/layers/InMemory") {}

/**
 * Makes an empty store.
 *
 * **When to use**
 *
 * To let several `Datastore` services, each playing a process of its own, share one database, or to drive a backend
 * directly.
 *
 * **Example** (Two processes over one database)
 *
 * ```ts
 * import { Datastore } from "effect-eventbox"
 * import * as InMemory from "effect-eventbox/layers/InMemory"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* InMemory.makeStore
 *   const first = Datastore.layer(Effect.succeed(store.backend))
 *   const second = Datastore.layer(Effect.succeed(store.backend))
 *   return [first, second]
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeStore: Effect.Effect<Store> = Effect.sync(() => {
  let state = new State()
  return {
    backend: {
      lookup: (keys) => atInstant(() => state, (now) => lookup(now, keys)),
      query: (query) => atInstant(() => state, (now) => runQuery(now, query)),
      commit: (request) => atInstant(() => state, (now) => commit(now, request)),
      limits: { commitBytes: maxCommitBytes }
    },
    size: Effect.sync(() => state.rows.size),
    dump: Effect.sync(() => formatEntities(sortedRows(state).map((row) => present(row, false)))),
    snapshot: Effect.sync(() => state.copy() as unknown as StoreSnapshot),
    restore: (snapshot) =>
      Effect.sync(() => {
        state = (snapshot as unknown as State).copy()
      })
  }
})

/**
 * Makes the backend of an empty store, for `Datastore.layer`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeBackend: Effect.Effect<Backend.Backend> = Effect.map(makeStore, (store) => store.backend)

/**
 * The entities of a snapshot, in key order, with their versions. O(entities).
 *
 * @category inspection
 * @since 0.1.0
 */
export const entitiesOf = (snapshot: StoreSnapshot): ReadonlyArray<Backend.Snapshot> =>
  sortedRows(snapshot as unknown as State).map((row) => present(row, false))

/**
 * What became of the entities between two snapshots, in key order.
 *
 * **Details**
 *
 * Compares what is stored, not how it came to be: an entity that was deleted and written again as it was is no change.
 * O(entities).
 *
 * **Example** (What one batch wrote)
 *
 * ```ts
 * import { Datastore, Entity, Key } from "effect-eventbox"
 * import * as InMemory from "effect-eventbox/layers/InMemory"
 * import { Effect } from "effect"
 *
 * const counter = Key.make("Counter", "c1")
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* InMemory.InMemory
 *   yield* Datastore.put([Entity.make(counter, { n: 1, name: "visits" })])
 *   const before = yield* store.snapshot
 *   yield* Datastore.put([Entity.make(counter, { n: 2, name: "visits" })])
 *   yield* Datastore.put([Entity.make(Key.make("Log", 7), { of: "c1" })])
 *   console.log(InMemory.formatDiff(InMemory.diff(before, yield* store.snapshot)))
 * })
 *
 * await Effect.runPromise(Effect.provide(program, InMemory.layerControlled))
 * // Output:
 * // changed  Counter,"c1"  n: 1 → 2
 * // inserted Log,7  {of: "c1"}
 * ```
 *
 * @category inspection
 * @since 0.1.0
 */
export const diff = (before: StoreSnapshot, after: StoreSnapshot): ReadonlyArray<Change> => {
  const [old, now] = [before as unknown as State, after as unknown as State]
  const keys = new Map<string, Key.Key>()
  for (const { rows } of [old, now]) for (const [id, { key }] of rows) keys.set(id, key)
  const changes: Array<Change> = []
  for (const [id, key] of keys) {
    const [was, is] = [old.rows.get(id)?.entity, now.rows.get(id)?.entity]
    if (was === undefined) changes.push({ _tag: "Inserted", key, after: Entity.copy(is!) })
    else if (is === undefined) changes.push({ _tag: "Deleted", key, before: Entity.copy(was) })
    else if (!sameEntity(was, is)) {
      const properties = changedProperties(was, is)
      changes.push({ _tag: "Changed", key, before: Entity.copy(was), after: Entity.copy(is), properties })
    }
  }
  return changes.toSorted((self, that) => Key.Order(self.key, that.key))
}

/**
 * How {@link formatDiff}, {@link formatEntity} and {@link formatEntities} show the value of a property, where it is not
 * `undefined`.
 *
 * @category models
 * @since 0.1.0
 */
export type ShowProperty = (entity: Entity.Entity, property: string) => string | undefined

/**
 * Changes as text, one line each; a changed entity with the properties that changed.
 *
 * @see `StoreDump` in `effect-eventbox/testing` for text in which what the library stores can be read
 *
 * @category inspection
 * @since 0.1.0
 */
export const formatDiff = (changes: ReadonlyArray<Change>, show?: ShowProperty): string =>
  changes.map((change) => {
    switch (change._tag) {
      case "Inserted":
        return `inserted ${change.key}  ${showRecord(change.after, show)}`
      case "Deleted":
        return `deleted  ${change.key}  ${showRecord(change.before, show)}`
      case "Changed": {
        const { after, before, key, properties } = change
        const parts = properties.map((name) => showChange(before, after, name, show))
        return `changed  ${key}  ${parts.join(", ")}`
      }
    }
  }).join("\n")

/**
 * One entity as text: key and properties.
 *
 * @category inspection
 * @since 0.1.0
 */
export const formatEntity = (entity: Entity.Entity, show?: ShowProperty): string =>
  `${entity.key} ${showRecord(entity, show)}`

/**
 * Entities as text, one line each: key, version, properties.
 *
 * @category inspection
 * @since 0.1.0
 */
export const formatEntities = (entities: ReadonlyArray<Backend.Snapshot>, show?: ShowProperty): string =>
  entities.flatMap(({ entity, key, version }) =>
    Option.isNone(entity) ? [] : [`${key} v${version} ${showRecord(entity.value, show)}`]
  ).join("\n")

/**
 * Provides `Datastore` with an empty store.
 *
 * **Gotchas**
 *
 * A layer is built once per program, so everything that is given this constant shares one store, as processes share a
 * database. Use `Layer.fresh(InMemory.layer)` for a store apart.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Datastore.Datastore> = Datastore.layer(makeBackend)

/**
 * Provides `Datastore` with an empty store, and the store itself as {@link InMemory}, to look into and to turn back.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerControlled: Layer.Layer<Datastore.Datastore | InMemory> = Layer.provideMerge(
  Datastore.layer(InMemory.useSync((store) => store.backend)),
  Layer.effect(InMemory, makeStore)
)

// ---------------------------------------------------------------------------------------------------------------------
// State: rows by key, the same rows by kind in key order, the clock, the last version
// ---------------------------------------------------------------------------------------------------------------------

/** One stored entity. Its `entity` belongs to the store: it is copied on its way in and out, and never changed. */
interface Row {
  readonly key: Key.Key
  entity: Entity.Entity
  version: Backend.Version
}

class State {
  readonly rows = new Map<string, Row>()
  readonly kinds = new Map<string, SortedRows<Row>>()
  /** Of the last commit. */
  version = 0

  add(row: Row): void {
    this.rows.set(row.key.toString(), row)
    let rows = this.kinds.get(row.key.kind)
    if (rows === undefined) this.kinds.set(row.key.kind, rows = new SortedRows())
    rows.insert(row)
  }

  remove(row: Row): void {
    this.rows.delete(row.key.toString())
    this.kinds.get(row.key.kind)!.remove(row)
  }

  copy(): State {
    const copy = new State()
    for (const rows of this.kinds.values()) {
      for (const row of rows.between(() => true, () => false, Infinity)) copy.add({ ...row })
    }
    copy.version = this.version
    return copy
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The three operations
// ---------------------------------------------------------------------------------------------------------------------

/** Runs an operation at one instant: nothing else happens between its first read and its last write. */
const atInstant = <A, E>(state: () => State, run: (now: State) => Result.Result<A, E>): Effect.Effect<A, E> =>
  Effect.suspend(() => Effect.fromResult(run(state())))

type Answer<A> = Result.Result<A, DatastoreError>

const lookup = (state: State, keys: ReadonlyArray<Key.Key>): Answer<ReadonlyArray<Backend.Snapshot>> => {
  const snapshots: Array<Backend.Snapshot> = []
  for (const key of keys) {
    const row = state.rows.get(key.toString())
    // A key that names a row was checked when that was written.
    const problem = row === undefined ? Key.checkPath(key.path) : undefined
    if (problem !== undefined) return refuse("lookup", new InvalidArgument({ detail: problem }), key)
    snapshots.push(row === undefined ? absent(key) : present(row, false))
  }
  return Result.succeed(snapshots)
}

const absent = (key: Key.Key): Backend.Snapshot => ({
  key,
  entity: Option.none(),
  version: zero
})

const zero = BigInt(0)

const present = ({ entity, key, version }: Row, keysOnly: boolean): Backend.Snapshot => ({
  key,
  entity: Option.some(keysOnly ? { key, properties: {}, unindexed: "all" } : Entity.copy(entity)),
  version
})

const runQuery = (state: State, query: Backend.Query): Answer<Backend.QueryResult> => {
  const { ancestor, from, keysOnly = false, kind, limit = Infinity, to } = query
  if (limit < 1 || Number.isNaN(limit)) {
    return refuse("query", new InvalidArgument({ detail: `a limit is at least 1, got ${limit}` }), ancestor)
  }
  const rows = state.kinds.get(kind)?.between(
    (key) =>
      (from === undefined || Key.Order(key, from.key) >= (from.inclusive ? 0 : 1)) &&
      (ancestor === undefined || Key.Order(key, ancestor) >= 0),
    (key) =>
      (to !== undefined && Key.Order(key, to.key) >= (to.inclusive ? 1 : 0)) ||
      (ancestor !== undefined && Key.Order(key, ancestor) > 0 && !Key.isWithin(key, ancestor)),
    limit
  )
  return Result.succeed({ results: rows?.map((row) => present(row, keysOnly)) ?? [] })
}

const commit = (
  state: State,
  { expected, mutations }: Backend.CommitRequest
): Result.Result<void, ContentionError | DatastoreError> => {
  const invalid = checkRequest(state, mutations, expected)
  if (invalid !== undefined) return invalid
  // Expectations come before existence: an insert whose key was expected to be absent is contention, not AlreadyExists.
  const changed = expected.filter(({ key, version }) => (state.rows.get(key.toString())?.version ?? zero) !== version)
  if (changed.length > 0) {
    return Result.fail(entityChanged(changed.map(({ key }) => key)))
  }
  for (const mutation of mutations) {
    const key = Backend.mutationKey(mutation)
    const exists = state.rows.has(key.toString())
    if (mutation._tag === "Insert" && exists) return refuse("commit", new AlreadyExists({ detail: "" }), key)
  }
  const version = BigInt(++state.version)
  for (const mutation of mutations) apply(state, mutation, version)
  return Result.void
}

const apply = (state: State, mutation: Backend.Mutation, version: Backend.Version) => {
  const row = state.rows.get(Backend.mutationKey(mutation).toString())
  if (mutation._tag === "Delete") {
    if (row !== undefined) state.remove(row)
    return
  }
  const entity = mutation._tag === "Patch"
    ? Entity.patched(row?.entity, Entity.copy(mutation.entity))
    : Entity.copy(mutation.entity)
  if (row === undefined) {
    state.add({ key: entity.key, entity, version })
  } else if (!sameEntity(row.entity, entity)) {
    row.entity = entity
    row.version = version
  }
}

const checkRequest = (
  state: State,
  mutations: ReadonlyArray<Backend.Mutation>,
  expected: ReadonlyArray<Backend.Snapshot>
): Answer<never> | undefined => {
  let bytes = 0
  for (const mutation of mutations) {
    const key = Backend.mutationKey(mutation)
    const problem = state.rows.has(key.toString()) ? undefined : Key.checkPath(key.path)
    if (problem !== undefined) return invalid(problem, key)
    if (mutation._tag === "Delete") {
      bytes += Key.sizeBytes(key)
      continue
    }
    if (mutation._tag === "Patch" && Object.keys(mutation.entity.properties).length === 0) {
      return invalid("a patch sets at least one property", key)
    }
    const wrong = Entity.check(mutation.entity)
    if (wrong !== undefined) {
      return invalid(wrong.property === "" ? wrong.reason : `property ${wrong.property}: ${wrong.reason}`, key)
    }
    bytes += Entity.sizeBytes(mutation.entity)
  }
  if (bytes > maxCommitBytes) {
    const detail = `a commit has at most ${maxCommitBytes} bytes, this one has ${bytes}`
    return refuse("commit", new CommitTooLarge({ detail }), undefined)
  }
  const twice = firstRepeated(mutations.map(Backend.mutationKey))
  if (twice !== undefined) return invalid("at most one mutation per key", twice)
  const twiceExpected = firstRepeated(expected.map(({ key }) => key))
  return twiceExpected === undefined ? undefined : invalid("at most one expectation per key", twiceExpected)
}

const invalid = (detail: string, key?: Key.Key): Answer<never> => refuse("commit", new InvalidArgument({ detail }), key)

const firstRepeated = (keys: ReadonlyArray<Key.Key>): Key.Key | undefined => {
  if (keys.length < 2) return undefined
  const seen = new Set<string>()
  return keys.find((key) => seen.size === seen.add(key.toString()).size)
}

const refuse = (operation: string, reason: DatastoreReason, key: Key.Key | undefined): Answer<never> =>
  Result.fail(new DatastoreError({ operation, reason, ...(key === undefined ? {} : { keys: [key] }) }))

// ---------------------------------------------------------------------------------------------------------------------
// Entities on their way in and out
// ---------------------------------------------------------------------------------------------------------------------

const sameEntity = (self: Entity.Entity, that: Entity.Entity): boolean =>
  Entity.sameProperties(self.properties, that.properties) &&
  (self.unindexed === that.unindexed || sameFlags(self.unindexed, that.unindexed, self.properties, ""))

type Flags = Entity.Entity["unindexed"]

/** Whether the same values are indexed; two entities may say so in different ways, such as "all" and every name. */
const sameFlags = (self: Flags, that: Flags, record: Entity.Properties, path: string): boolean =>
  Object.keys(record).every((name) => {
    const at = path === "" ? name : `${path}.${name}`
    const value = record[name]!
    return Array.isArray(value)
      ? value.every((element: Entity.Value) => sameValueFlags(self, that, element, at))
      : sameValueFlags(self, that, value, at)
  })

const sameValueFlags = (self: Flags, that: Flags, value: Entity.Value, path: string): boolean =>
  Entity.isRecord(value)
    ? sameFlags(self, that, value, path)
    : Entity.isUnindexed(self, path) === Entity.isUnindexed(that, path)

const sortedRows = (state: State): ReadonlyArray<Row> =>
  Array.from(state.rows.values()).toSorted((self, that) => Key.Order(self.key, that.key))

const changedProperties = (before: Entity.Entity, after: Entity.Entity): ReadonlyArray<string> =>
  Array.from(new Set([...Object.keys(before.properties), ...Object.keys(after.properties)])).toSorted().filter(
    (name) => !sameEntity(onlyProperty(before, name), onlyProperty(after, name))
  )

const onlyProperty = ({ key, properties, unindexed }: Entity.Entity, name: string): Entity.Entity => ({
  key,
  properties: Object.hasOwn(properties, name) ? { [name]: properties[name]! } : {},
  unindexed
})

const showProperty = (entity: Entity.Entity, name: string, show?: ShowProperty): string =>
  Object.hasOwn(entity.properties, name)
    ? show?.(entity, name) ?? showValue(entity.properties[name]!)
    : "absent"

const showRecord = (entity: Entity.Entity, show?: ShowProperty): string =>
  `{${Object.keys(entity.properties).map((name) => `${name}: ${showProperty(entity, name, show)}`).join(", ")}}`

const showChange = (before: Entity.Entity, after: Entity.Entity, name: string, show?: ShowProperty): string => {
  const [was, is] = [showProperty(before, name, show), showProperty(after, name, show)]
  if (was !== is) return `${name}: ${was} → ${is}`
  const flag = (entity: Entity.Entity) => Entity.isUnindexed(entity.unindexed, name) ? "not indexed" : "indexed"
  return flag(before) === flag(after) ? `${name}: changed in a part not shown` : `${name}: now ${flag(after)}`
}

/**
 * A value as text, long blobs shortened.
 *
 * @internal
 */
export const showValue = (value: Entity.Value): string => {
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value)
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  if (isBytes(value)) return `blob(${value.length}) ${showBytes(value)}`
  if (Entity.isDouble(value)) return `double(${showValue(value.value)})`
  if (Entity.isTimestampValue(value)) return `timestamp(${value.micros})`
  if (Entity.isOpaque(value)) return `opaque(${value.kind})`
  if (Array.isArray(value)) return `[${value.map(showValue).join(", ")}]`
  if (!Entity.isRecord(value)) return String(value)
  return `{${Object.keys(value).map((name) => `${name}: ${showValue(value[name]!)}`).join(", ")}}`
}

/** The start of a blob: as text when it is printable, in hexadecimal otherwise. */
const showBytes = (bytes: Uint8Array): string => {
  const start = bytes.subarray(0, 60)
  const more = bytes.length > start.length ? "…" : ""
  if (start.every((byte) => byte >= 0x20 && byte < 0x7f)) return JSON.stringify(String.fromCharCode(...start)) + more
  return Array.from(start, (byte) => byte.toString(16).padStart(2, "0")).join("") + more
}
