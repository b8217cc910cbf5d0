/**
 * Entities and values to and from Datastore's wire form (`google/datastore/v1/entity.proto`).
 *
 * | stored | read as |
 * |---|---|
 * | null, boolean, string, blob | `null`, `boolean`, `string`, `Uint8Array` of its own memory |
 * | integer | `number`, or `bigint` outside the safe range |
 * | double | `number`, or `Entity.Double` when it would be taken for an integer |
 * | timestamp | `Entity.TimestampValue`, microseconds |
 * | key, key of another partition | `Key`, `Entity.Opaque` of kind `key` |
 * | array, nested entity (its own key is dropped) | array, record |
 * | geographical point | `Entity.Opaque` of kind `geoPoint` |
 * | vector, incomplete key, what is newer than this code | `Entity.Opaque` of kind `value`, in wire form |
 *
 * Datastore keeps an index flag on every value, an `Entity` keeps the paths of those without an index. Every value at
 * or below such a path carries the flag, except arrays, which must not: their elements do.
 */
import * as Entity from "../../Entity.ts"
import { isBytes } from "../../ground/foreign.ts"
import * as Key from "../../Key.ts"
import { type ForeignKey, type Partition, readKeyValue, writeForeignKey, writeKey } from "./key.ts"
import { WireReader, type WireWriter } from "./wire.ts"

/** A value that has no stored form. */
export class UnencodableError extends Error {
  override readonly name = "UnencodableError"
  constructor(property: string, reason: string) {
    super(`property ${property}: ${reason}`)
  }
}

/** A geographical point in degrees, as an `Entity.Opaque` of kind `geoPoint` holds it. */
export interface GeoPoint {
  readonly latitude: number
  readonly longitude: number
}

// ---------------------------------------------------------------------------------------------------------------------
// Writing, in reverse: see WireWriter
// ---------------------------------------------------------------------------------------------------------------------

interface Writing {
  readonly writer: WireWriter
  readonly partition: Partition
  readonly unindexed: "all" | ReadonlySet<string>
}

/** Writes an entity as a field; throws an {@link UnencodableError} for a value that has no stored form. */
export const writeEntity = (writer: WireWriter, field: number, entity: Entity.Entity, partition: Partition): void => {
  const mark = writer.written
  writeProperties({ writer, partition, unindexed: entity.unindexed }, entity.properties, "", entity.unindexed === "all")
  writeKey(writer, 1, entity.key, partition)
  writer.message(field, mark)
}

/**
 * About how many bytes an entity takes in wire form: enough for entities with few properties whose values are strings
 * and blobs, so that the writer need not grow and copy what it wrote.
 */
export const estimateBytes = ({ properties }: Entity.Entity): number => {
  let bytes = 192
  for (const name in properties) {
    const value = properties[name]
    bytes += 32 + name.length
    if (typeof value === "string" || isBytes(value)) bytes += value.length
  }
  return bytes
}

/** Writes properties; `covered` when the path above has no index. */
const writeProperties = (to: Writing, properties: Entity.Properties, above: string, covered: boolean): void => {
  const names = Object.keys(properties)
  for (let index = names.length - 1; index >= 0; index--) {
    const name = names[index]!
    const path = above === "" ? name : `${above}.${name}`
    const mark = to.writer.written
    writeValue(to, 2, properties[name]!, path, covered || Entity.isUnindexed(to.unindexed, path))
    to.writer.string(1, name)
    to.writer.message(3, mark)
  }
}

const writeValue = (to: Writing, field: number, value: Entity.Value, path: string, unindexed: boolean): void => {
  const mark = to.writer.written
  if (unindexed && !Array.isArray(value)) to.writer.varint(19, 1)
  if (typeof value === "object" && value !== null) writeObject(to, value, path, unindexed)
  else writeScalar(to.writer, value, path)
  to.writer.message(field, mark)
}

const writeScalar = (writer: WireWriter, value: null | string | number | bigint | boolean, path: string): void => {
  switch (typeof value) {
    case "string":
      // It would be stored with replacement characters, and so be another string when it is read.
      if (!value.isWellFormed()) throw new UnencodableError(path, "a string has no lone surrogates")
      return writer.string(17, value)
    case "number":
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? writer.varint(2, value) : writer.double(3, value)
    case "boolean":
      return writer.varint(1, value ? 1 : 0)
    case "bigint":
      if (BigInt.asIntN(64, value) !== value) throw new UnencodableError(path, "an integer has at most 64 bits")
      return writer.varint(2, value)
    default:
      if (value === null) return writer.varint(11, 0)
      throw new UnencodableError(path, `cannot store ${typeof value}`)
  }
}

const writeObject = (to: Writing, value: object, path: string, unindexed: boolean): void => {
  const { writer } = to
  if (isBytes(value)) return writer.bytes(18, value)
  if (Array.isArray(value)) return writeArray(to, value, path, unindexed)
  if (Key.isKey(value)) return writeKey(writer, 5, value, to.partition)
  if (Entity.isTimestampValue(value)) return writeTimestamp(writer, 10, value.micros)
  if (Entity.isDouble(value)) return writer.double(3, value.value)
  if (Entity.isOpaque(value)) return writeOpaque(writer, value, path)
  if (!Entity.isRecord(value)) {
    throw new UnencodableError(path, `cannot store ${Object.prototype.toString.call(value).slice(8, -1)}`)
  }
  const mark = writer.written
  writeProperties(to, value, path, unindexed)
  writer.message(6, mark)
}

const writeArray = (to: Writing, value: ReadonlyArray<Entity.Value>, path: string, unindexed: boolean): void => {
  const mark = to.writer.written
  for (let index = value.length - 1; index >= 0; index--) {
    const element = value[index]!
    if (Array.isArray(element)) throw new UnencodableError(path, "an array may not hold an array directly")
    writeValue(to, 1, element, path, unindexed)
  }
  to.writer.message(9, mark)
}

const million = BigInt(1_000_000)

/** Writes a `google.protobuf.Timestamp`, whose nanoseconds count forward even before 1970. */
export const writeTimestamp = (writer: WireWriter, field: number, micros: bigint): void => {
  const mark = writer.written
  const rest = Number(micros % million)
  const positive = rest < 0 ? rest + 1_000_000 : rest
  if (positive !== 0) writer.varint(2, positive * 1_000)
  writer.varint(1, (micros - BigInt(positive)) / million)
  writer.message(field, mark)
}

const writeOpaque = (writer: WireWriter, { kind, raw }: Entity.Opaque, path: string): void => {
  const mark = writer.written
  if (kind === "geoPoint" && isGeoPoint(raw)) {
    writer.double(2, raw.longitude)
    writer.double(1, raw.latitude)
    return writer.message(8, mark)
  }
  if (kind === "key" && isForeignKey(raw)) return writeForeignKey(writer, 5, raw)
  if (kind === "value" && isBytes(raw)) return writer.fields(raw)
  throw new UnencodableError(path, `this backend has not read an Opaque of kind ${JSON.stringify(kind)}`)
}

const has = <const Name extends string>(raw: unknown, type: string, ...names: ReadonlyArray<Name>): boolean =>
  typeof raw === "object" && raw !== null && names.every((name) => typeof (raw as Record<Name, unknown>)[name] === type)

const isGeoPoint = (raw: unknown): raw is GeoPoint => has(raw, "number", "latitude", "longitude")

const isForeignKey = (raw: unknown): raw is ForeignKey =>
  has(raw, "string", "projectId", "databaseId", "namespace") && has(raw, "object", "path")

// ---------------------------------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------------------------------

interface Reading {
  readonly reader: WireReader
  readonly partition: Partition
  /** Paths without an index, and how many values have one. */
  readonly unindexed: Array<string>
  indexed: number
}

/** Reads an `Entity` message whose key is known. */
export const readEntity = (bytes: Uint8Array, partition: Partition, key: Key.Key): Entity.Entity => {
  const from: Reading = { reader: new WireReader(bytes), partition, unindexed: [], indexed: 0 }
  const properties = readProperties(from, "")
  const all = from.indexed === 0 && from.unindexed.length > 0
  return { key, properties, unindexed: all ? "all" : new Set(from.unindexed) }
}

/** Reads the rest of an `Entity` message; the key of a nested one is dropped. */
const readProperties = (from: Reading, above: string): Entity.Properties => {
  const { reader } = from
  const properties: Record<string, Entity.Value> = {}
  while (reader.next()) {
    if (reader.field === 3) readProperty(from, above, properties)
    else reader.skip()
  }
  return properties
}

/**
 * Reads an entry of the `properties` map. Name and value may come in any order; the value needs the name for its path.
 */
const readProperty = (from: Reading, above: string, into: Record<string, Entity.Value>): void => {
  const { reader } = from
  let name = ""
  let value: number | undefined
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 1) {
      name = reader.name()
      continue
    }
    if (reader.field === 2) value = reader.position
    reader.skip()
  }
  if (value !== undefined) {
    reader.seek(value)
    into[name] = readValue(from, above === "" ? name : `${above}.${name}`)
  }
  reader.leave(outer)
}

const readValue = (from: Reading, path: string): Entity.Value => {
  const { reader } = from
  const before = { indexed: from.indexed, unindexed: from.unindexed.length }
  let value: Entity.Value | undefined
  let excluded = false
  let meaning = false
  const outer = reader.enter()
  const start = reader.position
  while (reader.next()) {
    if (reader.field === 19) {
      excluded = reader.boolean()
    } else if (reader.field === 14) {
      meaning = reader.boolean()
    } else {
      const content = readContent(from, path)
      if (content !== undefined) value = content
    }
  }
  // A vector is an array with a meaning, which must not get lost.
  if (value === undefined || (meaning && Array.isArray(value))) {
    value = new Entity.Opaque("value", withoutFlag(reader.since(start)))
  }
  reader.leave(outer)
  if (excluded || !(Array.isArray(value) || Entity.isRecord(value))) {
    from.indexed = before.indexed + (excluded ? 0 : 1)
    from.unindexed.length = before.unindexed
    if (excluded) from.unindexed.push(path)
  }
  return value
}

/** Reads the field of a `Value` that holds its content; `undefined` for a field that has no form here. */
const readContent = (from: Reading, path: string): Entity.Value | undefined => {
  const { reader } = from
  switch (reader.field) {
    case 1:
      return reader.boolean()
    case 2:
      return reader.integer()
    case 3:
      return Entity.canonicalScalar(new Entity.Double(reader.double()))
    case 5:
      return readReference(from)
    case 6:
      return readRecord(from, path)
    case 8:
      return new Entity.Opaque("geoPoint", readGeoPoint(reader))
    case 9:
      return readArray(from, path)
    case 10:
      return new Entity.TimestampValue(readTimestamp(reader))
    case 11:
      reader.skip()
      return null
    case 17:
      return reader.string()
    case 18:
      return reader.bytes()
    default:
      reader.skip()
      return undefined
  }
}

const readReference = ({ partition, reader }: Reading): Entity.Value | undefined => {
  const key = readKeyValue(reader, partition)
  return key === undefined || Key.isKey(key) ? key : new Entity.Opaque("key", key)
}

const readRecord = (from: Reading, path: string): Entity.Properties => {
  const outer = from.reader.enter()
  const record = readProperties(from, path)
  from.reader.leave(outer)
  return record
}

const readArray = (from: Reading, path: string): ReadonlyArray<Entity.Value> => {
  const { reader } = from
  const elements: Array<Entity.Value> = []
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 1) elements.push(readValue(from, path))
    else reader.skip()
  }
  reader.leave(outer)
  return elements
}

const readGeoPoint = (reader: WireReader): GeoPoint => {
  const point = { latitude: 0, longitude: 0 }
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 1) point.latitude = reader.double()
    else if (reader.field === 2) point.longitude = reader.double()
    else reader.skip()
  }
  reader.leave(outer)
  return point
}

/** Reads a `google.protobuf.Timestamp` as microseconds; what is smaller is cut off, as Datastore itself does. */
export const readTimestamp = (reader: WireReader): bigint => {
  let seconds: number | bigint = 0
  let micros = 0
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 1) seconds = reader.integer()
    else if (reader.field === 2) micros = Math.floor(Number(reader.integer()) / 1_000)
    else reader.skip()
  }
  reader.leave(outer)
  const sum = Number(seconds) * 1_000_000 + micros
  return Number.isSafeInteger(sum) ? BigInt(sum) : BigInt(seconds) * million + BigInt(micros)
}

/** The fields of a `Value` but the index flag. */
const withoutFlag = (fields: Uint8Array): Uint8Array => {
  const reader = new WireReader(fields)
  const parts: Array<Uint8Array> = []
  for (let start = 0; reader.next(); start = reader.position) {
    reader.skip()
    if (reader.field !== 19) parts.push(reader.since(start))
  }
  return new Uint8Array(Buffer.concat(parts))
}
