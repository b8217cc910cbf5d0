/**
 * Entities of other programs, written through the generated client: what a batch reads or patches keeps values, index
 * flags and meanings that this library has no word for.
 */
import { assert } from "@effect/vitest"
import { v1 } from "@google-cloud/datastore"
import { credentials } from "@grpc/grpc-js"
import { Effect, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import { client, freshProjectId } from "../utils/emuClients.ts"
import { emulatorHost, onEmulator } from "../utils/emulator.ts"

const projectId = freshProjectId()

/** Counts into one property of its entity; that and what else it looks at belongs to others. */
class Counter extends Processor.Service<Counter>()("test/Counter", {
  kind: "Counter",
  state: Schema.Int,
  event: Schema.Int
}) {}

const others = ["one", "two"].map((name) => Key.make("Other", name))

const counters = (changes: boolean) =>
  Counter.toLayer(Effect.succeed({
    loadState: ({ key }) =>
      Effect.gen(function*() {
        yield* Datastore.getAll([...others, key])
        return { state: 0, eversion: Processor.EVersion.make(1) }
      }),
    prepareMutation: (events, state) =>
      Effect.succeed({ transitions: [{ events, transitionTo: state + (changes ? events.length : 0) }] }),
    saveState: (count, _, { key }) => Datastore.patch(key, { count }, { unindexed: "all" })
  }))

/** The generated client, which is never told what this library would do. */
const generated = Effect.acquireRelease(
  Effect.sync(() => {
    const colon = emulatorHost.lastIndexOf(":")
    return new v1.DatastoreClient({
      projectId,
      apiEndpoint: emulatorHost.slice(0, colon),
      port: Number(emulatorHost.slice(colon + 1)),
      sslCreds: credentials.createInsecure() as never,
      universeDomain: "googleapis.com"
    })
  }),
  (open) => Effect.promise(() => open.close())
)

const wire = ({ path }: Key.Key) => ({
  partitionId: { projectId },
  path: path.map(({ id, kind }) => ({ kind, name: String(id) }))
})

/** Of values and of what stands beside them, everything that a program has set and another could lose. */
const properties = {
  compressed: { blobValue: Buffer.from([1, 2, 3]), meaning: 22, excludeFromIndexes: true },
  text: { stringValue: "long", meaning: 15, excludeFromIndexes: true },
  empty: { nullValue: "NULL_VALUE" as const },
  whole: { doubleValue: 3 },
  big: { integerValue: "9007199254740993" },
  place: { geoPointValue: { latitude: 1, longitude: 2 } },
  a: { entityValue: { properties: { zip: { stringValue: "x", excludeFromIndexes: true } } }, excludeFromIndexes: true },
  "a.zip": { stringValue: "indexed" },
  list: {
    arrayValue: {
      values: [
        { stringValue: "x", meaning: 15, excludeFromIndexes: true },
        { stringValue: "y" },
        { blobValue: Buffer.from([9]), meaning: 22, excludeFromIndexes: true }
      ]
    }
  },
  nested: {
    entityValue: {
      key: wire(Key.make("Inner", "i")),
      properties: {
        deep: { blobValue: Buffer.from([7]), meaning: 22, excludeFromIndexes: true },
        seen: { integerValue: "1" }
      }
    }
  },
  count: { stringValue: "of another type, and indexed" },
  "odd.name `\\": { timestampValue: { seconds: "1", nanos: 1_000 } }
}

const stored = (database: v1.DatastoreClient, key: Key.Key) =>
  Effect.map(
    Effect.promise(() => database.lookup({ projectId, keys: [wire(key)] })),
    ([{ found }]) => found![0]!
  )

for (const unwrittenExpectations of ["noop", "interactive"] as const) {
  onEmulator(`entities of other programs: ${unwrittenExpectations}`, (it) => {
    for (const changes of [true, false]) {
      it.effect(`stay as they are beside what a batch writes that ${changes ? "changes" : "keeps"} its state`, () =>
        Effect.gen(function*() {
          const database = yield* generated
          const counter = Counter.recipient(`${unwrittenExpectations} ${changes}`)
          const keys = [counter.key, ...others]
          yield* Effect.promise(() =>
            database.commit({
              projectId,
              mode: "NON_TRANSACTIONAL",
              mutations: keys.map((key) => ({ upsert: { key: wire(key), properties } }))
            })
          )
          const before = yield* Effect.forEach(keys, (key) => stored(database, key))
          yield* Eventbox.emitAll(Counter, counter, [1, 2, 3])

          const { consumed } = yield* Eventbox.processBatch(Counter, counter).pipe(
            Effect.provide(counters(changes)),
            Effect.provide(client(projectId, { unwrittenExpectations }))
          )

          assert.strictEqual(consumed, 3)
          const after = yield* Effect.forEach(keys, (key) => stored(database, key))
          const { count, ...rest } = after[0]!.entity!.properties!
          const { count: _, ...kept } = before[0]!.entity!.properties!
          assert.deepStrictEqual(rest, kept)
          if (changes) assert.deepInclude(count, { integerValue: "3", excludeFromIndexes: true })
          assert.deepStrictEqual(after.slice(1), before.slice(1))
          if (!changes) assert.deepStrictEqual(after, before)
        }))
    }

    // Each of them would fill a quarter of a request if it went back.
    it.effect("may be large: a batch that reads 4.5 MB of them lands", () =>
      Effect.gen(function*() {
        const tables = Array.from({ length: 5 }, (_, index) => Key.make("Table", index + 1))
        for (const key of tables) {
          yield* Datastore.put([Entity.make(key, { blob: new Uint8Array(900_000) }, { unindexed: "all" })])
        }
        const counter = Counter.recipient(`${unwrittenExpectations} tables`)
        yield* Eventbox.emit(Counter, counter, 1)

        const { consumed } = yield* Eventbox.processBatch(Counter, counter).pipe(
          Effect.provide(Counter.toLayer(Effect.succeed({
            loadState: () => Effect.as(Datastore.getAll(tables), { state: 0, eversion: Processor.EVersion.make(1) }),
            prepareMutation: (events, state) =>
              Effect.succeed({ transitions: [{ events, transitionTo: state + events.length }] }),
            saveState: (count, _, { key }) => Datastore.patch(key, { count })
          }))),
          Effect.provide(client(projectId, { unwrittenExpectations }))
        )

        assert.strictEqual(consumed, 1)
      }))
  }, { projectId })
}
