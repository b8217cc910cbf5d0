/**
 * Keys and partitions to and from Datastore's wire form (`google/datastore/v1/entity.proto`).
 */
import type { PathElement } from "../../Key.ts"
import * as Key from "../../Key.ts"
import { WireReader, WireWriter } from "./wire.ts"

/** The three names that say where a key lives. */
export interface PartitionId {
  readonly projectId: string
  /** Empty for the default database. */
  readonly databaseId: string
  /** Empty for the default namespace. */
  readonly namespace: string
}

/** Where the keys of one backend live. */
export interface Partition extends PartitionId {
  /** The `PartitionId` message. */
  readonly bytes: Uint8Array
  /** Whether keys must name it; without database and namespace the project of the request stands for it. */
  readonly explicit: boolean
}

/** A key of another partition, as an `Entity.Opaque` of kind `key` holds it. */
export interface ForeignKey extends PartitionId {
  readonly path: ReadonlyArray<PathElement>
}

/** Makes the partition of a backend. */
export const makePartition = (id: PartitionId): Partition => {
  const writer = new WireWriter(128)
  if (id.namespace !== "") writer.string(4, id.namespace)
  if (id.databaseId !== "") writer.string(3, id.databaseId)
  writer.string(2, id.projectId)
  return { ...id, bytes: writer.finish(), explicit: id.databaseId !== "" || id.namespace !== "" }
}

/** Writes a key of the backend as a field. */
export const writeKey = (writer: WireWriter, field: number, key: Key.Key, partition: Partition): void => {
  const mark = writer.written
  writePath(writer, key.path)
  if (partition.explicit) writer.bytes(1, partition.bytes)
  writer.message(field, mark)
}

/** Writes a key of any partition as a field. */
export const writeForeignKey = (writer: WireWriter, field: number, key: ForeignKey): void => {
  const mark = writer.written
  writePath(writer, key.path)
  writer.bytes(1, makePartition(key).bytes)
  writer.message(field, mark)
}

const writePath = (writer: WireWriter, path: ReadonlyArray<PathElement>): void => {
  for (let index = path.length - 1; index >= 0; index--) {
    const { id, kind } = path[index]!
    const mark = writer.written
    if (typeof id === "string") writer.string(3, id)
    else writer.varint(2, id)
    writer.string(1, kind)
    writer.message(2, mark)
  }
}

/** Reads a key whose partition is known, such as that of an entity in a response. */
export const readKey = (reader: WireReader): Key.Key => {
  const path: Array<PathElement> = []
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 2) path.push(readElement(reader))
    else reader.skip()
  }
  reader.leave(outer)
  return toKey(path)
}

/** Reads a key that is the value of a property; `undefined` when it is not complete, which no `Key` can be. */
export const readKeyValue = (reader: WireReader, own: Partition): Key.Key | ForeignKey | undefined => {
  const path: Array<PathElement> = []
  let partition: PartitionId = own
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 2) path.push(readElement(reader))
    else if (reader.field === 1) partition = readPartition(reader.view(), own)
    else reader.skip()
  }
  reader.leave(outer)
  if (path.length === 0 || path.some(({ id }) => id === 0)) return undefined
  if (partition === own) return toKey(path)
  const { databaseId, namespace, projectId } = partition
  return { projectId, databaseId, namespace, path }
}

/** What was read of the key before: the entities of a response mostly have one parent. */
export interface Family {
  parent: Key.Key | undefined
  /** The bytes of the key up to its last element. */
  bytes: Uint8Array
}

/** A family of which nothing is known. */
export const noFamily = (): Family => ({ parent: undefined, bytes: new Uint8Array(0) })

/** The key of an `Entity` message; keys of one family share the object of their parent. */
export const keyOfEntity = (entity: Uint8Array, family: Family = noFamily()): Key.Key | undefined => {
  const reader = new WireReader(entity)
  while (reader.next()) {
    if (reader.field === 1) return readMember(reader, family)
    reader.skip()
  }
  return undefined
}

const readMember = (reader: WireReader, family: Family): Key.Key => {
  const begin = reader.position
  const outer = reader.enter()
  const start = reader.position
  let last = start
  let value = start
  for (let field = start; reader.next(); field = reader.position) {
    if (reader.field === 2) {
      last = field
      value = reader.position
    }
    reader.skip()
  }
  if (family.parent !== undefined && last - start === family.bytes.length && reader.sameAt(start, family.bytes)) {
    reader.seek(value)
    const { id, kind } = readElement(reader)
    reader.leave(outer)
    return Key.childUnsafe(family.parent, kind, id)
  }
  reader.leave(outer)
  reader.seek(begin)
  const key = readKey(reader)
  // An element may follow that is no part of the path, such as the partition: it belongs to this family all the same.
  family.parent = key.parent
  family.bytes = reader.between(start, last)
  return key
}

const toKey = (path: ReadonlyArray<PathElement>): Key.Key => Key.fromPathUnsafe(path as unknown as Key.Key["path"])

/** An id of 0 stands for a missing one. */
const readElement = (reader: WireReader): PathElement => {
  let kind = ""
  let id: Key.Id = 0
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 1) kind = reader.name()
    else if (reader.field === 2) id = reader.integer()
    else if (reader.field === 3) id = reader.string()
    else reader.skip()
  }
  reader.leave(outer)
  return { kind, id }
}

/** Reads a `PartitionId`; the backend's own one comes back as the object that was given. */
const readPartition = (bytes: Uint8Array, own: Partition): PartitionId => {
  if (sameBytes(bytes, own.bytes)) return own
  const found = { projectId: own.projectId, databaseId: "", namespace: "" }
  const reader = new WireReader(bytes)
  while (reader.next()) {
    if (reader.field === 2) found.projectId = reader.string()
    else if (reader.field === 3) found.databaseId = reader.string()
    else if (reader.field === 4) found.namespace = reader.string()
    else reader.skip()
  }
  const { databaseId, namespace, projectId } = own
  return found.projectId === projectId && found.databaseId === databaseId && found.namespace === namespace ? own : found
}

const sameBytes = (self: Uint8Array, that: Uint8Array): boolean => {
  if (self.length !== that.length) return false
  for (let index = 0; index < self.length; index++) {
    if (self[index] !== that[index]) return false
  }
  return true
}
