/**
 * Requests and responses of the Datastore service in wire form (`google/datastore/v1/datastore.proto` and
 * `query.proto`).
 */
import type { Bound, Query, Version } from "../../Backend.ts"
import type { Entity } from "../../Entity.ts"
import type { Key } from "../../Key.ts"
import { estimateBytes, readTimestamp, writeEntity, writeTimestamp } from "./entity.ts"
import { type Partition, readKey, writeKey } from "./key.ts"
import { WireReader, WireWriter } from "./wire.ts"

/** How a read is done: strongly consistent and alone, inside a transaction, or as of an earlier moment. */
export type ReadOptions =
  | { readonly _tag: "Strong" }
  | { readonly _tag: "Transaction"; readonly id: Uint8Array }
  | { readonly _tag: "ReadTime"; readonly micros: bigint }

/** The read of the newest data, outside of any transaction. */
export const strong: ReadOptions = { _tag: "Strong" }

/** A mutation as the service takes it; a version makes the whole commit fail unless the entity still has it. */
export interface WireMutation {
  readonly operation:
    | { readonly _tag: "Insert" | "Upsert" | "Patch"; readonly entity: Entity }
    /** Changes nothing: an update whose mask names one property, which the entity must not have. */
    | { readonly _tag: "Confirm"; readonly key: Key; readonly property: string }
    | { readonly _tag: "Delete"; readonly key: Key }
  readonly baseVersion: Version | undefined
}

/** One entity of a response. */
export interface EntityResult {
  /** The `Entity` message, a view of the response; only its key for a missing one. */
  readonly message: Uint8Array
  readonly version: Version
}

/** The answer to a lookup; the order of its parts is that of the server. */
export interface LookupResponse {
  readonly found: ReadonlyArray<EntityResult>
  readonly missing: ReadonlyArray<EntityResult>
  readonly deferred: ReadonlyArray<Key>
  /** As of when it read, in microseconds of the server. */
  readonly readTime: bigint
}

/** One batch of the results of a query. */
export interface RunQueryResponse {
  readonly results: ReadonlyArray<EntityResult>
  readonly endCursor: Uint8Array
  /** Whether it was the last one; `undefined` when the answer does not say so. */
  readonly finished: boolean | undefined
}

/** The answer to a commit. */
export interface CommitResponse {
  /** How many mutations it speaks of. */
  readonly results: number
  /** The places of those that were not applied, because of a conflict. */
  readonly conflicts: ReadonlyArray<number>
}

// ---------------------------------------------------------------------------------------------------------------------
// Requests, written in reverse: see WireWriter
// ---------------------------------------------------------------------------------------------------------------------

/** `LookupRequest`. */
export const lookupRequest = (partition: Partition, keys: ReadonlyArray<Key>, options: ReadOptions): Buffer => {
  const writer = new WireWriter(64 + keys.length * 64)
  writeHeader(writer, partition)
  for (let index = keys.length - 1; index >= 0; index--) writeKey(writer, 3, keys[index]!, partition)
  writeReadOptions(writer, options)
  return writer.finish()
}

/** `RunQueryRequest` for what is left of a query: after the cursor, if it is not empty, and up to the limit. */
export const runQueryRequest = (
  partition: Partition,
  query: Query,
  from: { readonly cursor: Uint8Array; readonly limit: number | undefined }
): Buffer => {
  const writer = new WireWriter(512)
  writeHeader(writer, partition)
  const mark = writer.written
  if (from.limit !== undefined) {
    const wrapper = writer.written
    writer.varint(1, from.limit)
    writer.message(12, wrapper)
  }
  if (from.cursor.length > 0) writer.bytes(7, from.cursor)
  writeNamed(writer, 5, "__key__", () => writer.varint(2, ascending))
  writeFilters(writer, query, partition)
  const kind = writer.written
  writer.string(1, query.kind)
  writer.message(3, kind)
  if (query.keysOnly === true) writeNamed(writer, 2, "__key__", () => {})
  writer.message(3, mark)
  writer.bytes(2, partition.bytes)
  writeReadOptions(writer, strong)
  return writer.finish()
}

/** `CommitRequest`, with a transaction of its own or as the end of one that was begun. */
export const commitRequest = (
  partition: Partition,
  mutations: ReadonlyArray<WireMutation>,
  transaction: "own" | "begun"
): Buffer => {
  const writer = new WireWriter(128 + mutations.reduce((sum, { operation }) => sum + operationBytes(operation), 0))
  if (transaction === "own") writeReadWrite(writer)
  writeHeader(writer, partition)
  for (let index = mutations.length - 1; index >= 0; index--) writeMutation(writer, mutations[index]!, partition)
  writer.varint(5, transactional)
  return writer.finish()
}

/** A `CommitRequest` as the end of this transaction, which had not begun when the request was written. */
export const inTransaction = (request: Uint8Array, transaction: Uint8Array): Buffer => {
  const writer = new WireWriter(128)
  writer.bytes(1, transaction)
  return Buffer.concat([writer.finish(), request])
}

const operationBytes = (operation: WireMutation["operation"]): number => {
  switch (operation._tag) {
    case "Confirm":
    case "Delete":
      return 192
    default:
      return estimateBytes(operation.entity)
  }
}

/** `BeginTransactionRequest`. */
export const beginTransactionRequest = (partition: Partition): Buffer => {
  const writer = new WireWriter(128)
  writeReadWrite(writer)
  writeHeader(writer, partition)
  return writer.finish()
}

/** `RollbackRequest`. */
export const rollbackRequest = (partition: Partition, transaction: Uint8Array): Buffer => {
  const writer = new WireWriter(128)
  writeHeader(writer, partition)
  writer.bytes(1, transaction)
  return writer.finish()
}

const writeHeader = (writer: WireWriter, { databaseId, projectId }: Partition): void => {
  if (databaseId !== "") writer.string(9, databaseId)
  writer.string(8, projectId)
}

/** `TransactionOptions { read_write {} }`, for a commit and for the begin of a transaction under the same number. */
const writeReadWrite = (writer: WireWriter): void => {
  const mark = writer.written
  writer.bytes(1, empty)
  writer.message(10, mark)
}

const writeReadOptions = (writer: WireWriter, options: ReadOptions): void => {
  if (options._tag === "Strong") return
  const mark = writer.written
  if (options._tag === "Transaction") writer.bytes(2, options.id)
  else writeTimestamp(writer, 4, options.micros)
  writer.message(1, mark)
}

const writeMutation = (writer: WireWriter, { baseVersion, operation }: WireMutation, partition: Partition): void => {
  const mark = writer.written
  if (baseVersion !== undefined) {
    writer.varint(10, failOnConflict)
    writer.varint(8, baseVersion)
  }
  switch (operation._tag) {
    case "Patch":
      writeMask(writer, Object.keys(operation.entity.properties))
      writeEntity(writer, entityField.Upsert, operation.entity, partition)
      break
    case "Insert":
    case "Upsert":
      writeEntity(writer, entityField[operation._tag], operation.entity, partition)
      break
    case "Confirm":
      writeMask(writer, [operation.property])
      writeEntity(writer, entityField.Update, withoutProperties(operation.key), partition)
      break
    case "Delete":
      writeKey(writer, 7, operation.key, partition)
  }
  writer.message(6, mark)
}

const withoutProperties = (key: Key): Entity => ({ key, properties: {}, unindexed: "all" })

/**
 * `PropertyMask`. A path has names between its dots: one that is no plain word stands in backticks, in which backticks
 * and backslashes are escaped.
 */
const writeMask = (writer: WireWriter, names: ReadonlyArray<string>): void => {
  const mark = writer.written
  for (let index = names.length - 1; index >= 0; index--) {
    const name = names[index]!
    writer.string(1, plainName.test(name) ? name : `\`${name.replace(/[`\\]/g, "\\$&")}\``)
  }
  writer.message(9, mark)
}

const plainName = /^[a-zA-Z_][a-zA-Z_0-9]*$/

const entityField = { Insert: 4, Update: 5, Upsert: 6 } as const

/** A message whose field 1 is a `PropertyReference`. */
const writeNamed = (writer: WireWriter, field: number, property: string, more: () => void): void => {
  const mark = writer.written
  more()
  const reference = writer.written
  writer.string(2, property)
  writer.message(1, reference)
  writer.message(field, mark)
}

/** Ancestor and key range as one `CompositeFilter`. */
const writeFilters = (writer: WireWriter, { ancestor, from, to }: Query, partition: Partition): void => {
  if (ancestor === undefined && from === undefined && to === undefined) return
  const mark = writer.written
  const filter = (operator: number, key: Key) => {
    const start = writer.written
    writeNamed(writer, 2, "__key__", () => {
      const value = writer.written
      writeKey(writer, 5, key, partition)
      writer.message(3, value)
      writer.varint(2, operator)
    })
    writer.message(2, start)
  }
  const bound = ({ inclusive, key }: Bound, operators: { readonly open: number; readonly closed: number }) =>
    filter(inclusive ? operators.closed : operators.open, key)
  if (to !== undefined) bound(to, { open: lessThan, closed: lessThanOrEqual })
  if (from !== undefined) bound(from, { open: greaterThan, closed: greaterThanOrEqual })
  if (ancestor !== undefined) filter(hasAncestor, ancestor)
  writer.varint(1, and)
  writer.message(1, mark)
  writer.message(4, mark)
}

const empty = new Uint8Array(0)

// Numbers of enums.
const transactional = 1
const failOnConflict = 3
const ascending = 1
const and = 1
const lessThan = 1
const lessThanOrEqual = 2
const greaterThan = 3
const greaterThanOrEqual = 4
const hasAncestor = 11

/** What the values of `MoreResultsType` say; in those that are not here the answer does not say anything. */
const isLast: ReadonlyMap<number | bigint, boolean> = new Map([[1, false], [2, true], [3, true], [4, true]])

// ---------------------------------------------------------------------------------------------------------------------
// Responses
// ---------------------------------------------------------------------------------------------------------------------

/** Reads a `LookupResponse`. */
export const readLookupResponse = (bytes: Uint8Array): LookupResponse => {
  const reader = new WireReader(bytes)
  const found: Array<EntityResult> = []
  const missing: Array<EntityResult> = []
  const deferred: Array<Key> = []
  let readTime = zero
  while (reader.next()) {
    if (reader.field === 1) found.push(readResult(reader))
    else if (reader.field === 2) missing.push(readResult(reader))
    else if (reader.field === 3) deferred.push(readKey(reader))
    else if (reader.field === 7) readTime = readTimestamp(reader)
    else reader.skip()
  }
  return { found, missing, deferred, readTime }
}

/** Reads a `RunQueryResponse`. */
export const readRunQueryResponse = (bytes: Uint8Array): RunQueryResponse => {
  const reader = new WireReader(bytes)
  let batch: RunQueryResponse = { results: [], endCursor: empty, finished: undefined }
  while (reader.next()) {
    if (reader.field === 1) batch = readBatch(reader)
    else reader.skip()
  }
  return batch
}

const readBatch = (reader: WireReader): RunQueryResponse => {
  const results: Array<EntityResult> = []
  let endCursor: Uint8Array = empty
  let finished: boolean | undefined
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 2) results.push(readResult(reader))
    else if (reader.field === 4) endCursor = reader.view()
    else if (reader.field === 5) finished = isLast.get(reader.integer())
    else reader.skip()
  }
  reader.leave(outer)
  return { results, endCursor, finished }
}

/** Reads the id of the transaction from a `BeginTransactionResponse`. */
export const readBeginTransactionResponse = (bytes: Uint8Array): Uint8Array => {
  const reader = new WireReader(bytes)
  let id: Uint8Array = empty
  while (reader.next()) {
    if (reader.field === 1) id = reader.view()
    else reader.skip()
  }
  return id
}

/** Reads a `CommitResponse`. */
export const readCommitResponse = (bytes: Uint8Array): CommitResponse => {
  const reader = new WireReader(bytes)
  const conflicts: Array<number> = []
  let results = 0
  while (reader.next()) {
    if (reader.field === 3) {
      if (readConflict(reader)) conflicts.push(results)
      results++
    } else {
      reader.skip()
    }
  }
  return { results, conflicts }
}

/** Whether a `MutationResult` says that its mutation was left out. */
const readConflict = (reader: WireReader): boolean => {
  let conflict = false
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 5) conflict = reader.boolean()
    else reader.skip()
  }
  reader.leave(outer)
  return conflict
}

const readResult = (reader: WireReader): EntityResult => {
  let message: Uint8Array = empty
  let version = zero
  const outer = reader.enter()
  while (reader.next()) {
    if (reader.field === 1) message = reader.view()
    else if (reader.field === 4) version = BigInt(reader.integer())
    else reader.skip()
  }
  reader.leave(outer)
  return { message, version }
}

const zero = BigInt(0)
