/**
 * The way between bytes and values, without a network: the plain API and this library, each with everything that it
 * does to a request and a response, answered from memory.
 */
import { Datastore as PlainDatastore } from "@google-cloud/datastore"
import { Effect, Layer, Scope } from "effect"
import { type Backend, Datastore, Entity, Key } from "effect-eventbox"
import type { Client } from "../../src/layers/google/client.ts"
import { commit } from "../../src/layers/google/commit.ts"
import { makePartition } from "../../src/layers/google/key.ts"
import { type Connection, lookup, runQuery } from "../../src/layers/google/reads.ts"
import { encodeWith, messages, timestamp } from "../../test/utils/scriptedServer.ts"

/** Entities of one request. */
export interface Load {
  readonly items: number
  readonly payloadBytes: number
}

/** What is done with them. */
export type Operation = "runQuery" | "get" | "save"

/** Does one operation on all entities, and gives the bytes of their payloads that it saw, or sent. */
export type Codec = (operation: Operation) => Promise<number>

const kind = "dsset.Item"
const parent = Key.make("BenchCounter", "codec")
const at = 1_764_000_000_000

const nameOf = (index: number): string =>
  `0193${String(index).padStart(4, "0")}-7abc-7def-8123-${String(index).padStart(12, "0")}`

const payloadOf = ({ payloadBytes }: Load, index: number): Uint8Array =>
  Uint8Array.from({ length: payloadBytes }, (_, byte) => (byte * 31 + index) & 0xff)

const wireEntity = (load: Load, index: number) => ({
  entity: {
    key: {
      partitionId: { projectId: "codec" },
      path: [{ kind: "BenchCounter", name: "codec" }, { kind, name: nameOf(index) }]
    },
    properties: {
      Value: { blobValue: payloadOf(load, index), excludeFromIndexes: true },
      At: { integerValue: at + index, excludeFromIndexes: true }
    }
  },
  version: 1_764_000_000_000_000 + index,
  createTime: timestamp(index),
  updateTime: timestamp(index),
  cursor: Uint8Array.from([1, 2, 3, 4])
})

/** Responses in wire form, as a server would send them; a lookup has at most 1,000 keys. */
export interface Answers {
  readonly runQuery: Uint8Array
  readonly lookups: ReadonlyArray<Uint8Array>
  readonly lookup: Uint8Array
  readonly commit: Uint8Array
}

const lookupOf = (found: ReadonlyArray<object>): Uint8Array =>
  encodeWith(messages.LookupResponse, { found, readTime: timestamp(0) })

/** Encodes all answers. */
export const makeAnswers = (load: Load): Answers => {
  const results = Array.from({ length: load.items }, (_, index) => wireEntity(load, index))
  const batch = {
    entityResultType: "FULL",
    entityResults: results,
    moreResults: "NO_MORE_RESULTS",
    endCursor: Uint8Array.from([1]),
    readTime: timestamp(0)
  }
  return {
    runQuery: encodeWith(messages.RunQueryResponse, { batch }),
    lookups: Array.from(
      { length: Math.ceil(load.items / 1_000) },
      (_, part) => lookupOf(results.slice(part * 1_000, (part + 1) * 1_000))
    ),
    lookup: lookupOf(results),
    commit: encodeWith(messages.CommitResponse, {
      mutationResults: results.map(({ version }) => ({ version })),
      indexUpdates: 0
    })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// This library
// ---------------------------------------------------------------------------------------------------------------------

const bytesOf = (entity: Entity.Entity): number => (entity.properties["Value"] as Uint8Array).length

/** This library from `Datastore.query`, `getAll` and `put` down to the bytes. */
export const makeLibraryCodec = (load: Load, answers: Answers): Codec => {
  let lookups = 0
  const answer: Client["call"] = (method) => {
    if (method === "lookup") return Effect.succeed(answers.lookups[lookups++ % answers.lookups.length]!)
    return Effect.succeed(method === "runQuery" ? answers.runQuery : answers.commit)
  }
  const connection: Connection = {
    client: { projectId: "codec", call: answer, callToEnd: answer },
    partition: makePartition({ projectId: "codec", databaseId: "", namespace: "" }),
    readDeadlineMillis: 30_000,
    commitDeadlineMillis: 10_000,
    maxRequestBytes: Number.MAX_SAFE_INTEGER
  }
  const backend: Backend.Backend = {
    lookup: (keys) => lookup(connection, keys),
    query: (query) => runQuery(connection, query),
    commit: (request) => commit(connection, request, "noop"),
    limits: { commitBytes: Number.MAX_SAFE_INTEGER }
  }
  const keys = Array.from({ length: load.items }, (_, index) => Key.child(parent, kind, nameOf(index)))
  const entities = keys.map((key, index) =>
    Entity.make(key, { Value: payloadOf(load, index), At: at + index }, { unindexed: "all" })
  )
  const run = {
    runQuery: Effect.map(Datastore.query({ kind, ancestor: parent, limit: load.items }), ({ results }) => {
      let bytes = 0
      for (const { entity } of results) if (entity._tag === "Some") bytes += bytesOf(entity.value)
      return bytes
    }),
    get: Effect.map(Datastore.getAll(keys), (found) => {
      let bytes = 0
      for (const entity of found) if (entity._tag === "Some") bytes += bytesOf(entity.value)
      return bytes
    }),
    save: Effect.as(Datastore.put(entities), load.items * load.payloadBytes)
  }
  // Open for as long as the process lives, as the plain API's client.
  const context = Effect.runSync(
    Effect.flatMap(Scope.make(), (scope) => Scope.provide(Layer.build(Datastore.layer(Effect.succeed(backend))), scope))
  )
  return (operation) => Effect.runPromise(Effect.provideContext(run[operation], context))
}

// ---------------------------------------------------------------------------------------------------------------------
// The plain API
// ---------------------------------------------------------------------------------------------------------------------

interface MethodDefinition {
  readonly requestSerialize: (request: object) => Uint8Array
  readonly responseDeserialize: (bytes: Uint8Array) => object
}

type Inner = (request: object, options: object, callback: (error: null, response: object) => void) => void

interface Generated {
  readonly initialize: () => Promise<{ readonly constructor: { readonly service: Record<string, MethodDefinition> } }>
  readonly innerApiCalls: Record<string, Inner>
}

const bytesIn = (found: ReadonlyArray<Record<string, Buffer>>): number =>
  found.reduce((sum, { Value }) => sum + Value!.length, 0)

/** The plain API from `runQuery`, `get` and `save` down to the bytes, through the (de)serializers of its own stub. */
export const makePlainCodec = async (load: Load, answers: Answers): Promise<Codec> => {
  const datastore = new PlainDatastore({
    projectId: "codec",
    apiEndpoint: "127.0.0.1:1",
    universeDomain: "googleapis.com"
  } as object)
  const keys = Array.from(
    { length: load.items },
    (_, index) => datastore.key(["BenchCounter", "codec", kind, nameOf(index)])
  )
  const entities = keys.map((key, index) => ({
    key,
    data: { Value: Buffer.from(payloadOf(load, index)), At: at + index },
    excludeFromIndexes: ["Value", "At"]
  }))
  await answerFrom(datastore, answers)
  const query = datastore.createQuery(kind).hasAncestor(datastore.key(["BenchCounter", "codec"])).limit(load.items)
  return async (operation) => {
    if (operation === "runQuery") return bytesIn((await datastore.runQuery(query))[0])
    if (operation === "get") return bytesIn((await datastore.get(keys))[0])
    await datastore.save(entities)
    return load.items * load.payloadBytes
  }
}

/** Puts the answers in the place of the network, below everything that the client does itself. */
const answerFrom = async (datastore: PlainDatastore, answers: Answers): Promise<void> => {
  // The generated client is made by the first request, which finds nobody.
  await datastore.get(datastore.key(["None", 1]), { gaxOptions: { retry: null, timeout: 100 } } as object).catch(
    () => {}
  )
  const generated = (datastore as unknown as { readonly clients_: Map<string, Generated> }).clients_.get(
    "DatastoreClient"
  )!
  const { service } = (await generated.initialize()).constructor
  const answer = (method: string, bytes: Uint8Array) => {
    const { requestSerialize, responseDeserialize } = service[method] ??
      service[`${method[0]!.toUpperCase()}${method.slice(1)}`]!
    generated.innerApiCalls[method] = (request, _options, callback) => {
      requestSerialize(request)
      callback(null, responseDeserialize(bytes))
    }
  }
  answer("runQuery", answers.runQuery)
  answer("lookup", answers.lookup)
  answer("commit", answers.commit)
}
