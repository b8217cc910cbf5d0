/**
 * What the facts of the conformance suite are made of: small writes and reads, and the model of conditional commits.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { Backend, Mutation, Snapshot } from "../../Backend.ts"
import { Datastore } from "../../Datastore.ts"
import * as Entity from "../../Entity.ts"
import type { ContentionError, DatastoreError } from "../../EventboxError.ts"
import { isBytes } from "../../ground/foreign.ts"
import * as Key from "../../Key.ts"
import { same } from "./checks.ts"

/** What happens to an entity between the read that an expectation rests on, and the commit. */
export const histories = [
  "absent",
  "absent, created",
  "present",
  "present, updated",
  "present, deleted",
  "present, recreated"
]

/** The one correct outcome, and the value afterwards: `undefined` for none. */
export const judge = (history: string, expected: boolean, tag: Mutation["_tag"] | "None") => {
  const changed = history.includes(",")
  const value = history === "present, updated" || history === "present, recreated" || history === "absent, created"
    ? 2
    : history === "present"
    ? 1
    : undefined
  if (expected && changed) return { outcome: "Contention", value }
  if (tag === "Insert" && value !== undefined) return { outcome: "AlreadyExists", value }
  return { outcome: "Success", value: tag === "None" ? value : tag === "Delete" ? undefined : 3 }
}

/** Plays a history; returns what a read saw before its comma. */
export const play = (
  backend: Backend,
  key: Key.Key,
  history: string
): Effect.Effect<Snapshot, ContentionError | DatastoreError> =>
  Effect.gen(function*() {
    if (history.startsWith("present")) yield* upsert(backend, [leaf(key, 1)])
    const [snapshot] = yield* backend.lookup([key])
    if (history.endsWith("deleted") || history.endsWith("recreated")) {
      yield* backend.commit({ mutations: [remove(key)], expected: [] })
    }
    if (/created|updated/.test(history)) yield* upsert(backend, [leaf(key, 2)])
    return snapshot!
  })

/** Tries again what lost a race, for at most 100 times. */
export const retryLost = <A>(
  effect: Effect.Effect<A, ContentionError | DatastoreError>
): Effect.Effect<A, ContentionError | DatastoreError> =>
  Effect.retry(effect, { schedule: pauses, while: (error) => error._tag === "ContentionError" })

const pauses = Schedule.min([Schedule.exponential("2 millis"), Schedule.spaced("50 millis")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 100 })
)

/** One mutation of each sort: two for keys that are missing, then two for keys that exist. */
export const sorts: ReadonlyArray<(key: Key.Key, entity: Entity.Entity) => Mutation> = [
  (_, entity) => ({ _tag: "Insert", entity }),
  (_, entity) => ({ _tag: "Upsert", entity }),
  (key) => remove(key),
  (_, entity) => ({ _tag: "Patch", entity })
]

/** The entries of a table, as `each` shows them. */
export const named = <A>(table: Readonly<Record<string, A>>) =>
  Object.keys(table).map((name) => ({ name, value: table[name]! }))

/** Names, typed as a list. */
export const ids = (...names: ReadonlyArray<string>) => names

/** The backend, and a root key that no other test uses. */
export const setup = Effect.gen(function*() {
  const { backend } = yield* Datastore
  const name = (yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)).toString(36).padStart(11, "0")
  return { backend, root: Key.make("SuiteRoot", name) }
})

/** The parts of a root key. */
export const flat = (key: Key.Key): [kind: string, id: Key.Id] => [key.kind, key.id]

/** An entity with one value. */
export const leaf = (key: Key.Key, value: number): Entity.Entity => Entity.make(key, { value })

/** Removes a key. */
export const remove = (key: Key.Key): Mutation => ({ _tag: "Delete", key })

/** One commit without expectations. */
export const upsert = (backend: Backend, entities: ReadonlyArray<Entity.Entity>) =>
  backend.commit({ mutations: entities.map((entity): Mutation => ({ _tag: "Upsert", entity })), expected: [] })

/** The properties of a snapshot that is expected to have some. */
export const propertiesOf = (snapshot: Snapshot): Entity.Properties => Option.getOrThrow(snapshot.entity).properties

/** The one value of what {@link leaf} made; `undefined` for a missing entity. */
export const valueOf = (snapshot: Snapshot): Entity.Value | undefined =>
  Option.isNone(snapshot.entity) ? undefined : snapshot.entity.value.properties["value"]

/** `Success`, `Contention`, or the reason of a `DatastoreError`. */
export const outcome = <E extends ContentionError | DatastoreError>(
  effect: Effect.Effect<void, E>
): Effect.Effect<string> =>
  Effect.map(Effect.result(effect), (result) => {
    if (Result.isSuccess(result)) return "Success"
    const error: ContentionError | DatastoreError = result.failure
    return error._tag === "ContentionError" ? "Contention" : error.reason._tag
  })

/** Runs effects at the same time. */
export const atOnce = <A, E, R>(effects: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.all(effects, { concurrency: "unbounded" })

/** A value as data that is deeply equal only to itself: `5n` and `5`, or `new Double(1)` and `1`, are not. */
export const plain = (value: Entity.Value): unknown => {
  if (isBytes(value)) return { blob: Array.from(value) }
  if (Entity.isDouble(value)) return { double: plain(value.value) }
  if (Entity.isTimestampValue(value)) return { micros: value.micros }
  if (Entity.isOpaque(value)) return { opaque: value.raw }
  if (Key.isKey(value)) return { key: value.toString() }
  if (Array.isArray(value)) return value.map(plain)
  if (Entity.isRecord(value)) {
    return Object.fromEntries(Object.keys(value).toSorted().map((name) => [name, plain(value[name]!)]))
  }
  return Object.is(value, -0) ? { minus: 0 } : value
}

/** That two records hold the same values in the same form: `5n` and `5`, or `new Double(1)` and `1`, are not. */
export const sameProperties = (actual: Entity.Properties, expected: Entity.Properties): void =>
  same(plain(actual), plain(expected))
