/**
 * The throw-away namespace of a run: its name, what is in it, and how it is emptied.
 */
import { Effect, Schedule, type Scope } from "effect"
import type { Mutation } from "../../Backend.ts"
import { DatastoreError, Internal, isUnknownOutcome } from "../../EventboxError.ts"
import * as Ids from "../../Ids.ts"
import type { Key } from "../../Key.ts"
import { connect } from "../../layers/google/client.ts"
import { keyOfEntity, makePartition, type Partition } from "../../layers/google/key.ts"
import { readRunQueryResponse, type RunQueryResponse } from "../../layers/google/messages.ts"
import { type Connection, retrying } from "../../layers/google/reads.ts"
import { WireWriter } from "../../layers/google/wire.ts"
import * as GoogleDatastore from "../../layers/GoogleDatastore.ts"

/** What every namespace of this program begins with; no other is ever emptied. */
export const prefix = "eventbox-verify-"

/** A name that no other run uses. */
export const freshNamespace: Effect.Effect<string> = Effect.gen(function*() {
  const ids = yield* Ids.Ids
  return prefix + (yield* ids.next).slice(-10)
})

/** Whether a namespace is one of ours. */
export const isOurs = (namespace: string): boolean => namespace.startsWith(prefix) && /^[\w.-]{1,100}$/.test(namespace)

/** A database, without a namespace: with the project spelt out. */
export type Address = GoogleDatastore.Options & { readonly projectId: string }

/** Deletes every entity of one of our namespaces, and returns how many there were. */
export const empty = (address: Address, namespace: string): Effect.Effect<number, DatastoreError> =>
  Effect.scoped(Effect.gen(function*() {
    if (!isOurs(namespace)) return yield* Effect.die(new Error(`${namespace} is not a namespace of this program`))
    const connection = yield* open(address, namespace)
    const { commit } = yield* GoogleDatastore.makeBackend({ ...address, namespace })
    const clear = (keys: ReadonlyArray<Key>) =>
      commit({ mutations: keys.map((key): Mutation => ({ _tag: "Delete", key })), expected: [] }).pipe(
        // Deleting twice is harmless, also when the outcome of the first time is unknown.
        Effect.retry({
          schedule: Schedule.exponential("200 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 6 })),
          while: (error) => error.isRetryable || isUnknownOutcome(error)
        }),
        Effect.catchTag(
          "ContentionError",
          (error) => Effect.fail(internal(`another writer is at work in ${namespace}: ${error.message}`))
        )
      )
    let deleted = 0
    for (let pass = 1; pass <= maxPasses; pass++) {
      const found = yield* deleteAll(connection, clear)
      deleted += found
      if (found === 0) return deleted
    }
    return yield* Effect.fail(internal(`something goes on writing to ${namespace}`))
  }))

/** How many entities there are in a namespace. */
export const count = (address: Address, namespace: string): Effect.Effect<number, DatastoreError> =>
  Effect.scoped(
    Effect.flatMap(open(address, namespace), (connection) => deleteAll(connection, () => Effect.void))
  )

/** The last pass finds nothing, and shows that the namespace is empty. */
const maxPasses = 4

const deleteAll = (
  connection: Connection,
  clear: (keys: ReadonlyArray<Key>) => Effect.Effect<void, DatastoreError>
): Effect.Effect<number, DatastoreError> =>
  Effect.gen(function*() {
    let cursor: Uint8Array = new Uint8Array(0)
    let found = 0
    while (true) {
      const page = yield* readPage(connection, cursor)
      const keys = page.results.map(({ message }) => keyOfEntity(message)).filter((key) => key !== undefined)
        // The service's own statistics cannot be deleted.
        .filter(({ kind }) => !/^__.*__$/.test(kind))
      if (keys.length > 0) yield* clear(keys)
      found += keys.length
      if (page.results.length === 0 || page.endCursor.length === 0) return found
      cursor = page.endCursor
    }
  })

const pageSize = 500

const readPage = (connection: Connection, cursor: Uint8Array): Effect.Effect<RunQueryResponse, DatastoreError> =>
  Effect.flatMap(
    retrying(connection, "query", "runQuery", allKeysRequest(connection.partition, cursor)),
    (bytes) =>
      Effect.try({
        try: () => readRunQueryResponse(bytes),
        catch: (cause) => internal(`the list of entities cannot be read: ${String(cause)}`)
      })
  )

/** A query for the keys of all kinds, which the backend does not know: `RunQueryRequest`, written in reverse. */
const allKeysRequest = (partition: Partition, cursor: Uint8Array): Buffer => {
  const writer = new WireWriter(256)
  if (partition.databaseId !== "") writer.string(9, partition.databaseId)
  writer.string(8, partition.projectId)
  const query = writer.written
  const limit = writer.written
  writer.varint(1, pageSize)
  writer.message(12, limit)
  if (cursor.length > 0) writer.bytes(7, cursor)
  for (const field of [orderField, projectionField]) {
    const start = writer.written
    const reference = writer.written
    writer.string(2, "__key__")
    writer.message(1, reference)
    writer.message(field, start)
  }
  writer.message(3, query)
  writer.bytes(2, partition.bytes)
  return writer.finish()
}

const orderField = 5
const projectionField = 2

const open = (address: Address, namespace: string): Effect.Effect<Connection, DatastoreError, Scope.Scope> =>
  Effect.map(
    connect({
      projectId: address.projectId,
      databaseId: address.databaseId,
      endpoint: address.endpoint,
      emulatorHost: address.emulatorHost,
      keyFilename: address.keyFilename,
      credentials: address.credentials,
      clientOptions: address.clientOptions,
      onRpc: undefined,
      maxRequestBytes
    }),
    (client): Connection => ({
      client,
      partition: makePartition({ projectId: address.projectId, databaseId: address.databaseId ?? "", namespace }),
      readDeadlineMillis: 30_000,
      commitDeadlineMillis: 30_000,
      maxRequestBytes
    })
  )

const maxRequestBytes = 1_000_000

const internal = (detail: string): DatastoreError =>
  new DatastoreError({ operation: "clean up", reason: new Internal({ detail }) })
