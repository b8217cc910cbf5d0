/**
 * Datastore entities and property values, their validity, equality and size.
 *
 * Values are plain JavaScript wherever that is lossless: `null`, booleans, strings, `Uint8Array`, keys, arrays, nested
 * records, and numbers. What JavaScript cannot tell apart has a small class of its own: {@link Double} for a whole
 * number stored as a double, {@link TimestampValue} for a moment with microseconds, {@link Opaque} for what a backend
 * read and this library has no form for.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import { hasProperty } from "effect/Predicate"
import { isBytes, isPlainObject } from "./ground/foreign.ts"
import { isKey, type Key, sizeBytes as keySizeBytes, utf8Bytes } from "./Key.ts"

/**
 * Names the classes of values below, also those of another copy of this package. A symbol, since the names of a record
 * may be anybody's.
 */
const TypeId = Symbol.for("eventbox/Entity/Value")

/**
 * Bytes that an entity may have. Source: Datastore limits, 1,048,572 bytes.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxEntityBytes = 1_048_572

/**
 * Bytes that one unindexed string or blob may have. Source: Datastore limits, 1,048,487 bytes.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxUnindexedBytes = 1_048_487

/**
 * Bytes that one indexed string or blob may have. Source: Datastore limits, 1,500 bytes.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxIndexedBytes = 1_500

/**
 * Levels of nested entities. Source: Datastore limits, 20.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxDepth = 20

/**
 * Values of an entity that may be indexed. Source: Datastore limits, 20,000.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxIndexedValues = 20_000

/**
 * A double that JavaScript would otherwise take for an integer, such as `new Double(1)`.
 *
 * **Details**
 *
 * Reading a stored double gives a `number` when it is not a safe integer, and a `Double` when it is, so what is read
 * and written back keeps its type.
 *
 * @category models
 * @since 0.1.0
 */
export class Double {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
  /** @internal */
  get [TypeId](): "Double" {
    return "Double"
  }
  [Equal.symbol](that: unknown): boolean {
    return isDouble(that) && Object.is(that.value, this.value)
  }
  [Hash.symbol](): number {
    return Hash.number(this.value)
  }
}

/**
 * A moment as Datastore stores it: microseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export class TimestampValue {
  readonly micros: bigint
  constructor(micros: bigint) {
    this.micros = micros
  }
  /** @internal */
  get [TypeId](): "TimestampValue" {
    return "TimestampValue"
  }
  /** The moment of a JavaScript `Date` or of milliseconds since the epoch. */
  static fromMillis(millis: number): TimestampValue {
    return new TimestampValue(BigInt(Math.round(millis * 1_000)))
  }
  /** Milliseconds since the epoch; a part of a millisecond stays as a fraction. */
  get millis(): number {
    return Number(this.micros) / 1_000
  }
  [Equal.symbol](that: unknown): boolean {
    return isTimestampValue(that) && that.micros === this.micros
  }
  [Hash.symbol](): number {
    return Hash.string(this.micros.toString())
  }
}

/**
 * A value that a backend read and that this library has no form for: a geographical point, or a key of another
 * partition.
 *
 * **Details**
 *
 * It can be written back to the backend it came from, unchanged. `kind` names what it is, `raw` is the backend's form.
 *
 * @category models
 * @since 0.1.0
 */
export class Opaque {
  readonly kind: string
  readonly raw: unknown
  constructor(kind: string, raw: unknown) {
    this.kind = kind
    this.raw = raw
  }
  /** @internal */
  get [TypeId](): "Opaque" {
    return "Opaque"
  }
  [Equal.symbol](that: unknown): boolean {
    return isOpaque(that) && that.kind === this.kind && Equal.equals(that.raw, this.raw)
  }
  [Hash.symbol](): number {
    return Hash.string(this.kind)
  }
}

/**
 * Whether a value is a {@link Double}, also one that another copy of this package made.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDouble = (u: unknown): u is Double => hasProperty(u, TypeId) && u[TypeId] === "Double"

/**
 * Whether a value is a {@link TimestampValue}, also one that another copy of this package made.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTimestampValue = (u: unknown): u is TimestampValue =>
  hasProperty(u, TypeId) && u[TypeId] === "TimestampValue"

/**
 * Whether a value is an {@link Opaque}, also one that another copy of this package made.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOpaque = (u: unknown): u is Opaque => hasProperty(u, TypeId) && u[TypeId] === "Opaque"

/**
 * A property value.
 *
 * **Details**
 *
 * | value | stored as |
 * |---|---|
 * | `null`, `boolean`, `string`, `Uint8Array` | null, boolean, string, blob |
 * | `number` that is a safe integer, `bigint` of 64 bits | integer |
 * | any other `number` (`-0`, `NaN` and the infinities too), {@link Double} | double |
 * | {@link TimestampValue} | timestamp |
 * | `Key` | key |
 * | array | array; no array directly inside |
 * | plain record | nested entity, at most 20 levels |
 *
 * An integer beyond the safe range is read as a `bigint`, never rounded.
 *
 * @category models
 * @since 0.1.0
 */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Double
  | TimestampValue
  | Opaque
  | Key
  | ReadonlyArray<Value>
  | { readonly [property: string]: Value }

/**
 * Properties by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Properties = { readonly [property: string]: Value }

/**
 * An entity: a key and its properties.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entity {
  readonly key: Key
  readonly properties: Properties
  /**
   * Which properties no index covers: all of them, or those named. A name covers what is below it; `"a.b"` names the
   * property `b` of the nested entity `a`, and arrays take the name of their property.
   */
  readonly unindexed: "all" | ReadonlySet<string>
}

/**
 * Makes an entity; every property is indexed unless `unindexed` says otherwise, as in Datastore itself.
 *
 * **Details**
 *
 * Nothing is checked here: {@link check} does, and every write does so before it sends anything. Strings and blobs of
 * more than 1,500 bytes must not be indexed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  key: Key,
  properties: Properties,
  options?: { readonly unindexed?: "all" | Iterable<string> | undefined }
): Entity => {
  const unindexed = options?.unindexed
  return { key, properties, unindexed: unindexed === "all" ? "all" : new Set(unindexed ?? []) }
}

/**
 * An entity with some properties set anew and all others as they were; `undefined` stands for no entity.
 *
 * @internal
 */
export const patched = (before: Entity | undefined, patch: Entity): Entity => {
  if (before === undefined) return patch
  const properties = { ...before.properties, ...patch.properties }
  if (before.unindexed === "all" && patch.unindexed === "all") return { key: patch.key, properties, unindexed: "all" }
  const isSet = (path: string) =>
    Object.hasOwn(patch.properties, path) ||
    Object.keys(patch.properties).some((name) => path.startsWith(`${name}.`))
  const kept = unindexedPaths(before).filter((path) => !isSet(path))
  return { key: patch.key, properties, unindexed: new Set([...kept, ...unindexedPaths(patch)]) }
}

const unindexedPaths = ({ properties, unindexed }: Entity): ReadonlyArray<string> =>
  unindexed === "all" ? Object.keys(properties) : Array.from(unindexed)

/**
 * Whether the property at a dotted path is left out of the indexes.
 *
 * @internal
 */
export const isUnindexed = (unindexed: "all" | ReadonlySet<string>, path: string): boolean => {
  if (unindexed === "all") return true
  if (unindexed.size === 0) return false
  for (let end = path.length; end > 0; end = path.lastIndexOf(".", end - 1)) {
    if (unindexed.has(path.slice(0, end))) return true
  }
  return false
}

/**
 * What keeps an entity from being stored: the property by its path, and the rule it breaks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  /** Dotted path of the property, with array positions as `[n]`; empty for the entity as a whole. */
  readonly property: string
  readonly reason: string
}

/**
 * Says what keeps an entity from being stored, or `undefined` when nothing does.
 *
 * **Details**
 *
 * Checks the kind of every value, 64-bit integers, well-formed strings, 1,500 bytes for indexed strings and blobs,
 * 1,048,487 bytes for others, 20 levels, 20,000 indexed values, 1,048,572 bytes in all. No RPC; O(size).
 *
 * @category checks
 * @since 0.1.0
 */
export const check = (entity: Entity): Problem | undefined => {
  const state: CheckState = { unindexed: entity.unindexed, indexed: 0 }
  const problem = checkRecord(state, entity.properties, "", "", 0)
  if (problem !== undefined) return problem
  if (state.indexed > maxIndexedValues) {
    return { property: "", reason: `at most ${maxIndexedValues} indexed values, got ${state.indexed}` }
  }
  const bytes = sizeBytes(entity)
  return bytes > maxEntityBytes
    ? { property: "", reason: `an entity has at most ${maxEntityBytes} bytes, this one has ${bytes}` }
    : undefined
}

/**
 * Size of an entity in bytes as Datastore counts it.
 *
 * **Details**
 *
 * Key, property names and values after "Storage size calculations" of the Datastore documentation, plus 32 bytes for
 * the entity. An estimate: the service has the last word.
 *
 * @category checks
 * @since 0.1.0
 */
export const sizeBytes = (entity: Entity): number => keySizeBytes(entity.key) + 32 + recordBytes(entity.properties)

/**
 * Whether two property values are the same stored value: `5` and `5n` are, as are `1.5` and `new Double(1.5)`, while
 * `0` (an integer) and `-0` (a double) are not.
 *
 * @internal
 */
export const sameValue = (self: Value, that: Value): boolean => {
  if (Object.is(self, that)) return true
  if (typeof self !== "object" || self === null || typeof that !== "object" || that === null) {
    return Object.is(canonicalScalar(self), canonicalScalar(that))
  }
  if (Array.isArray(self)) {
    return Array.isArray(that) && self.length === that.length &&
      self.every((element: Value, index) => sameValue(element, that[index] as Value))
  }
  if (isBytes(self)) return isBytes(that) && sameBytes(self, that)
  return isRecord(self) ? isRecord(that) && sameProperties(self, that) : Equal.equals(self, that)
}

/**
 * Whether two records hold the same stored values, in any order.
 *
 * @internal
 */
export const sameProperties = (self: Properties, that: Properties): boolean => {
  const names = Object.keys(self)
  return names.length === Object.keys(that).length &&
    names.every((name) => Object.hasOwn(that, name) && sameValue(self[name]!, that[name]!))
}

/**
 * The form in which a scalar is read back: integers as `number` where that is exact, doubles as `number` unless they
 * would be taken for integers.
 *
 * @internal
 */
export const canonicalScalar = (value: Value): Value => {
  if (typeof value === "bigint") {
    return value >= minSafeInteger && value <= maxSafeInteger ? Number(value) : value
  }
  if (isDouble(value)) return isStoredAsInteger(value.value) ? value : value.value
  return value
}

/**
 * A copy in the form in which an entity is read back, sharing nothing that a caller could change.
 *
 * @internal
 */
export const copy = ({ key, properties, unindexed }: Entity): Entity => ({
  key,
  properties: copyRecord(properties),
  unindexed
})

const copyRecord = (record: Properties): Properties => {
  const copied: Record<string, Value> = {}
  for (const name of Object.keys(record)) copied[name] = copyValue(record[name]!)
  return copied
}

const copyValue = (value: Value): Value => {
  if (typeof value !== "object" || value === null) return canonicalScalar(value)
  // Not `slice`: that of a Node buffer is a view.
  if (isBytes(value)) return new Uint8Array(value)
  if (Array.isArray(value)) return value.map(copyValue)
  return isRecord(value) ? copyRecord(value) : canonicalScalar(value)
}

const minSafeInteger = BigInt(Number.MIN_SAFE_INTEGER)
const maxSafeInteger = BigInt(Number.MAX_SAFE_INTEGER)

/** Whether a plain `number` is stored as an integer: `-0` is not, since integers have no such value. */
const isStoredAsInteger = (value: number): boolean => Number.isSafeInteger(value) && !Object.is(value, -0)

const sameBytes = (self: Uint8Array, that: Uint8Array): boolean => {
  if (self.length !== that.length) return false
  for (let index = 0; index < self.length; index++) {
    if (self[index] !== that[index]) return false
  }
  return true
}

interface CheckState {
  readonly unindexed: "all" | ReadonlySet<string>
  indexed: number
}

const checkRecord = (
  state: CheckState,
  record: Properties,
  path: string,
  shown: string,
  depth: number
): Problem | undefined => {
  if (depth > maxDepth) return { property: shown, reason: `at most ${maxDepth} levels of nested entities` }
  for (const name of Object.keys(record)) {
    const at = path === "" ? name : `${path}.${name}`
    const shownAt = shown === "" ? name : `${shown}.${name}`
    const reason = checkName(name)
    if (reason !== undefined) return { property: shownAt, reason }
    const problem = checkValue(state, record[name], at, shownAt, depth, false)
    if (problem !== undefined) return problem
  }
  return undefined
}

const checkName = (name: string): string | undefined => {
  if (name === "") return "a property name is not empty"
  if (!name.isWellFormed()) return "a property name has no lone surrogates"
  if (name.startsWith("__") && name.endsWith("__")) return "a property name of the form __…__ is reserved by Datastore"
  return utf8Bytes(name) > maxIndexedBytes ? `a property name has at most ${maxIndexedBytes} bytes` : undefined
}

const checkValue = (
  state: CheckState,
  value: unknown,
  path: string,
  shown: string,
  depth: number,
  inArray: boolean
): Problem | undefined => {
  if (Array.isArray(value)) {
    if (inArray) return { property: shown, reason: "an array may not hold an array directly" }
    for (let index = 0; index < value.length; index++) {
      const problem = checkValue(state, value[index], path, `${shown}[${index}]`, depth, true)
      if (problem !== undefined) return problem
    }
    return undefined
  }
  if (isRecord(value)) return checkRecord(state, value, path, shown, depth + 1)
  const indexed = !isUnindexed(state.unindexed, path)
  if (indexed) state.indexed++
  const reason = checkScalar(value, indexed)
  return reason === undefined ? undefined : { property: shown, reason }
}

const checkScalar = (value: unknown, indexed: boolean): string | undefined => {
  switch (typeof value) {
    case "boolean":
    case "number":
      return undefined
    case "bigint":
      return BigInt.asIntN(64, value) === value ? undefined : "an integer has at most 64 bits"
    case "string":
      if (!value.isWellFormed()) return "a string has no lone surrogates"
      return checkLength("string", utf8Bytes(value), indexed)
    case "object":
      if (value === null || isDouble(value) || isOpaque(value) || isKey(value)) return undefined
      if (isBytes(value)) return checkLength("blob", value.length, indexed)
      if (isTimestampValue(value)) return checkTimestamp(value)
      return cannotStore(Object.prototype.toString.call(value).slice(8, -1))
    default:
      return cannotStore(typeof value)
  }
}

const cannotStore = (what: string): string =>
  `cannot store ${what}; ${
    what === "Date" ? "make it an Entity.TimestampValue.fromMillis" : "see Entity.Value for what can be stored"
  }`

const checkLength = (what: string, bytes: number, indexed: boolean): string | undefined => {
  const limit = indexed ? maxIndexedBytes : maxUnindexedBytes
  if (bytes <= limit) return undefined
  return indexed
    ? `an indexed ${what} has at most ${limit} bytes, this one has ${bytes}; name the property in \`unindexed\``
    : `a ${what} has at most ${limit} bytes, this one has ${bytes}`
}

// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z, the range of google.protobuf.Timestamp.
const minTimestampMicros = BigInt("-62135596800000000")
const maxTimestampMicros = BigInt("253402300799999999")

const checkTimestamp = ({ micros }: TimestampValue): string | undefined =>
  typeof micros === "bigint" && micros >= minTimestampMicros && micros <= maxTimestampMicros
    ? undefined
    : "a timestamp lies between the years 1 and 9999"

/**
 * Whether a value is a nested entity: a record made by `{}`, `Object.create(null)` or the like, in whichever realm.
 *
 * @internal
 */
export const isRecord = (value: unknown): value is Properties => {
  if (typeof value !== "object" || value === null || isKey(value)) return false
  return isPlainObject(value)
}

const recordBytes = (record: Properties): number => {
  let bytes = 0
  for (const name of Object.keys(record)) bytes += utf8Bytes(name) + 1 + valueBytes(record[name]!)
  return bytes
}

const valueBytes = (value: Value): number => {
  if (typeof value === "string") return utf8Bytes(value) + 1
  if (value === null || typeof value === "boolean") return 1
  if (isBytes(value)) return value.length
  if (Array.isArray(value)) return value.reduce((sum: number, element: Value) => sum + valueBytes(element), 0)
  if (isKey(value)) return keySizeBytes(value)
  return isRecord(value) ? recordBytes(value) + 32 : 8
}
