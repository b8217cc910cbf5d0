import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Random } from "effect"
import { TestClock } from "effect/testing"
import type { CommitRequest, Mutation, Query } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as DatastoreSuite from "../../src/testing/DatastoreSuite.ts"

DatastoreSuite.suite("InMemory", InMemory.layer)

const root = Key.make("Root", 1)
const key = (id: Key.Id) => Key.child(root, "Leaf", id)
const leaf = (id: Key.Id, value: Entity.Value) => Entity.make(key(id), { value })
const upsert = (entity: Entity.Entity): Mutation => ({ _tag: "Upsert", entity })
const write = (store: InMemory.Store, ...entities: ReadonlyArray<Entity.Entity>) =>
  store.backend.commit({ mutations: entities.map(upsert), expected: [] })
const read = (store: InMemory.Store, id: Key.Id) =>
  Effect.map(store.backend.lookup([key(id)]), ([snapshot]) => snapshot!)

describe("InMemory versions", () => {
  it.effect("a write that changes nothing keeps the version, however it is spelled", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const keeps = (before: Entity.Entity, after: Entity.Entity) =>
        Effect.gen(function*() {
          yield* write(store, before)
          const first = yield* read(store, before.key.id)
          yield* write(store, after)
          const second = yield* read(store, before.key.id)
          return first.version === second.version
        })
      const flagged = (properties: Entity.Properties, unindexed: "all" | ReadonlyArray<string>) =>
        Entity.make(key("f"), properties, { unindexed })
      const nested = { a: 1, b: { c: [{ d: "x" }] } }

      assert.isTrue(yield* keeps(leaf("a", [1, { x: 0.5 }]), leaf("a", [1n, { x: new Entity.Double(0.5) }])))
      assert.isTrue(yield* keeps(leaf("b", new Uint8Array([1])), leaf("b", Buffer.from([1]))))
      assert.isTrue(yield* keeps(flagged(nested, "all"), flagged(nested, ["b", "a"])))
      assert.isTrue(yield* keeps(flagged(nested, ["b"]), flagged(nested, ["b.c.d", "nothing"])))
      assert.isFalse(yield* keeps(flagged(nested, ["b"]), flagged(nested, ["b.c.e"])))
      assert.isFalse(yield* keeps(flagged(nested, []), flagged(nested, ["a"])))
      assert.isFalse(yield* keeps(leaf("c", 0), leaf("c", -0)))
      assert.isFalse(yield* keeps(leaf("d", 1), leaf("d", new Entity.Double(1))))
      assert.isFalse(yield* keeps(leaf("e", new Uint8Array([1])), leaf("e", new Uint8Array([2]))))
    }))

  it.effect("a missing entity has version 0, also after a deletion", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const before = yield* read(store, "a")
      yield* write(store, leaf("a", 1))
      yield* store.backend.commit({ mutations: [{ _tag: "Delete", key: key("a") }], expected: [] })
      const after = yield* read(store, "a")

      for (const missing of [before, after]) {
        assert.isTrue(Option.isNone(missing.entity))
        assert.strictEqual(missing.version, 0n)
      }
    }))
})

describe("InMemory errors", () => {
  it.effect("contention names exactly the keys that changed", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const expected = yield* store.backend.lookup([key("a"), key("b"), key("c")])
      yield* write(store, leaf("b", 1))

      const error = yield* Effect.flip(store.backend.commit({ mutations: [], expected }))

      assert.include(error.message, "Root,1/Leaf,\"b\" was changed by another writer")
      assert.notInclude(error.message, "\"a\"")
    }))

  it.effect("a refusal names the key and, where there is one, the property", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      yield* write(store, leaf("there", 1))
      const message = (request: Partial<CommitRequest>) =>
        Effect.map(
          Effect.flip(store.backend.commit({ mutations: [], expected: [], ...request })),
          (error) => error.message
        )

      const named = (id: string) => `Datastore commit of Root,1/Leaf,"${id}" failed: `
      const long = { list: ["fine", "x".repeat(1_501)] }
      const badProperty = yield* message({ mutations: [upsert(Entity.make(key("a"), { deep: long }))] })
      assert.include(badProperty, `${named("a")}invalid argument (property deep.list[1]: an indexed string`)
      const badKey = yield* message({ mutations: [{ _tag: "Delete", key: Key.childUnsafe(root, "Leaf", "__x__") }] })
      assert.include(badKey, `${named("__x__")}invalid argument (a name of the form`)
      const exists = yield* message({ mutations: [{ _tag: "Insert", entity: leaf("there", 1) }] })
      assert.strictEqual(exists, `${named("there")}the entity already exists`)
      const nothing = yield* message({ mutations: [{ _tag: "Patch", entity: Entity.make(key("a"), {}) }] })
      assert.include(nothing, `${named("a")}invalid argument (a patch sets at least one property`)
      const twice = yield* message({ mutations: [upsert(leaf("a", 1)), { _tag: "Delete", key: key("a") }] })
      assert.include(twice, `${named("a")}invalid argument (at most one mutation per key`)
      const snapshot = yield* read(store, "there")
      const expectedTwice = yield* message({ expected: [snapshot, snapshot] })
      assert.include(expectedTwice, `${named("there")}invalid argument (at most one expectation per key`)
    }))

  it.effect("a lookup of an impossible key and a query without room are refused", () =>
    Effect.gen(function*() {
      const { backend } = yield* InMemory.makeStore

      const lookup = yield* Effect.flip(backend.lookup([Key.childUnsafe(root, "Leaf", "")]))
      const query = yield* Effect.flip(backend.query({ kind: "Leaf", ancestor: root, limit: 0 }))

      assert.include(
        lookup.message,
        "Datastore lookup of Root,1/Leaf,\"\" failed: invalid argument (a name is not empty)"
      )
      assert.include(query.message, "Datastore query of Root,1 failed: invalid argument (a limit is at least 1, got 0)")
    }))
})

describe("InMemory index", () => {
  // Against a plain array that is sorted and filtered whole. Must catch: rows lost or doubled where chunks split, empty
  // themselves or change out of order, and wrong places remembered from the change before.
  it.effect.each(["a", "b", "c", "d"])(
    "after thousands of changes every query answers as a sorted array does: seed %s",
    (seed) =>
      Effect.gen(function*() {
        const store = yield* InMemory.makeStore
        const below = (n: number) => Random.nextIntBetween(0, n, { halfOpen: true })
        const anyKey = Effect.gen(function*() {
          const parent = Key.child(root, "Mid", (yield* below(3)) + 1)
          return Key.child(parent, "Leaf", (yield* below(700)) + 1)
        })
        const model = new Map<string, Key.Key>()
        let largest = 0
        for (let round = 0; round < 60; round++) {
          // Batches in key order, as listings are, and single changes anywhere; growing first, shrinking at the end.
          const size = round % 3 === 0 ? 1 : yield* below(100)
          const some = new Map<string, Key.Key>()
          for (let n = 0; n < size; n++) {
            const one = yield* anyKey
            some.set(one.toString(), one)
          }
          const batch = Array.from(some.values())
          if (round % 2 === 0) batch.sort(Key.Order)
          const shrinks = (yield* below(60)) < round
          yield* store.backend.commit({
            mutations: batch.map((one): Mutation =>
              shrinks ? { _tag: "Delete", key: one } : upsert(Entity.make(one, { round }))
            ),
            expected: []
          })
          for (const one of batch) {
            if (shrinks) model.delete(one.toString())
            else model.set(one.toString(), one)
          }

          const [from, to, limit] = [yield* anyKey, yield* anyKey, (yield* below(300)) + 1]
          const ancestor = Key.child(root, "Mid", (yield* below(3)) + 1)
          for (
            const query of [{}, { ancestor }, { ancestor, limit }, { from: { key: from, inclusive: true }, limit }]
          ) {
            yield* sameAsModel(store, model, query)
          }
          yield* sameAsModel(store, model, {
            ancestor,
            from: { key: from, inclusive: false },
            to: { key: to, inclusive: true }
          })
          assert.strictEqual(yield* store.size, model.size)
          largest = Math.max(largest, model.size)
        }
        assert.isAbove(largest, 600)

        const all = Array.from(model.values())
        yield* store.backend.commit({ mutations: all.map((one) => ({ _tag: "Delete", key: one })), expected: [] })
        yield* sameAsModel(store, new Map(), {})
        const last = yield* anyKey
        yield* write(store, Entity.make(last, {}))
        yield* sameAsModel(store, new Map([[last.toString(), last]]), {})
      }).pipe(Random.withSeed(seed))
  )

  const sameAsModel = (store: InMemory.Store, model: ReadonlyMap<string, Key.Key>, query: Omit<Query, "kind">) =>
    Effect.gen(function*() {
      const { ancestor, from, limit, to } = query
      const { results } = yield* store.backend.query({ kind: "Leaf", ...query })
      const expected = Array.from(model.values()).toSorted(Key.Order).filter((one) =>
        (ancestor === undefined || one.toString().startsWith(`${ancestor}/`)) &&
        (from === undefined || Key.Order(one, from.key) > (from.inclusive ? -1 : 0)) &&
        (to === undefined || Key.Order(one, to.key) < (to.inclusive ? 1 : 0))
      ).slice(0, limit)
      assert.deepStrictEqual(results.map((one) => one.key.toString()), expected.map(String))
    })

  it.effect("a query and a lookup look at few keys of a large kind", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      let looks = 0
      const entities = Array.from({ length: 5_000 }, (_, index) => {
        const one = Key.make("Root", Math.floor(index / 5) + 1, "Leaf", index + 1)
        const path = one.path
        Object.defineProperty(one, "path", { get: () => (looks++, path) })
        return Entity.make(one, { value: index })
      })
      yield* write(store, ...entities)
      looks = 0

      const { results } = yield* store.backend.query({ kind: "Leaf", ancestor: Key.make("Root", 500) })
      yield* store.backend.lookup(results.map((one) => one.key))

      assert.strictEqual(results.length, 5)
      assert.isAbove(looks, 5)
      assert.isBelow(looks, 250)
    }))
})

describe("InMemory store", () => {
  it.effect("restore brings back entities, versions and time, any number of times and in any store", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      yield* TestClock.adjust("3 seconds")
      yield* write(store, leaf("a", 1), leaf("b", 1))
      const [before, dump] = [yield* read(store, "a"), yield* store.dump]
      const saved = yield* store.snapshot

      for (const one of [store, store, yield* InMemory.makeStore]) {
        yield* write(one, leaf("a", 2), leaf("c", 2))
        yield* one.backend.commit({ mutations: [{ _tag: "Delete", key: key("b") }], expected: [] })
        yield* one.restore(saved)

        assert.strictEqual(yield* one.dump, dump)
        assert.strictEqual(yield* one.size, 2)
        assert.deepStrictEqual(yield* read(one, "a"), before)
        yield* one.backend.commit({ mutations: [upsert(leaf("a", 3))], expected: [before] })
        assert.isTrue((yield* read(one, "a")).version > before.version)
      }
    }))

  it.effect("dump is one readable line per entity, in key order", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      assert.strictEqual(yield* store.dump, "")
      yield* write(store, leaf("b", [new Uint8Array([0, 255]), Buffer.from("text"), new Uint8Array(100)]))
      yield* write(store, leaf("a", { n: null, f: -0, d: new Entity.Double(1), t: new Entity.TimestampValue(5n) }))
      yield* write(
        store,
        Entity.make(root, { big: 2n ** 60n, key: key("x"), text: "a\"b", raw: new Entity.Opaque("geo", 1) })
      )

      assert.strictEqual(
        yield* store.dump,
        [
          "Root,1 v3 {big: 1152921504606846976n, key: Root,1/Leaf,\"x\", text: \"a\\\"b\", raw: opaque(geo)}",
          "Root,1/Leaf,\"a\" v2 {value: {n: null, f: -0, d: double(1), t: timestamp(5)}}",
          `Root,1/Leaf,"b" v1 {value: [blob(2) 00ff, blob(4) "text", blob(100) ${"00".repeat(60)}…]}`
        ].join("\n")
      )
    }))

  it.effect("a snapshot lists its entities in key order, and keeps them whatever happens to the store", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      yield* write(store, leaf("b", 1), leaf("a", new Uint8Array([1])))
      const snapshot = yield* store.snapshot
      const read = () =>
        InMemory.entitiesOf(snapshot).map(({ entity, key, version }) =>
          [key.id, Option.getOrThrow(entity).properties["value"], version] as const
        )
      const first = read()
      ;(first[0]![1] as Uint8Array)[0] = 9
      yield* store.backend.commit({ mutations: [{ _tag: "Delete", key: key("b") }], expected: [] })

      assert.deepStrictEqual(read(), [["a", new Uint8Array([1]), 1n], ["b", 1, 1n]])
    }))

  it.effect("diff tells what was inserted, changed and deleted, and which properties changed", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const rich = (properties: Entity.Properties, unindexed: ReadonlyArray<string> = []) =>
        Entity.make(key("rich"), properties, { unindexed })
      yield* write(store, leaf("gone", "x"), leaf("same", 1), rich({ a: 1, b: "b", blob: new Uint8Array(70), d: 4 }))
      const before = yield* store.snapshot
      const blob = new Uint8Array(70)
      blob[69] = 1
      yield* store.backend.commit({
        mutations: [
          { _tag: "Delete", key: key("gone") },
          upsert(leaf("new", null)),
          upsert(leaf("same", 1n)),
          upsert(rich({ a: 1, b: "c", blob, c: [1], d: 4 }, ["d"]))
        ],
        expected: []
      })
      const after = yield* store.snapshot

      const changes = InMemory.diff(before, after)

      assert.deepStrictEqual(
        changes.map((change) => [change._tag, change.key.id, change._tag === "Changed" ? change.properties : []]),
        [["Deleted", "gone", []], ["Inserted", "new", []], ["Changed", "rich", ["b", "blob", "c", "d"]]]
      )
      assert.strictEqual(
        InMemory.formatDiff(changes),
        [
          `deleted  Root,1/Leaf,"gone"  {value: "x"}`,
          `inserted Root,1/Leaf,"new"  {value: null}`,
          `changed  Root,1/Leaf,"rich"  b: "b" → "c", blob: changed in a part not shown, c: absent → [1], d: now not indexed`
        ].join("\n")
      )
      assert.strictEqual(
        InMemory.formatDiff(changes.slice(0, 1), (entity, name) => `${String(entity.key.id)}'s ${name}`),
        `deleted  Root,1/Leaf,"gone"  {value: gone's value}`
      )
      assert.deepStrictEqual(InMemory.diff(after, after), [])
    }))

  it.effect("two Datastore services over one store see each other's writes", () =>
    Effect.gen(function*() {
      const { backend } = yield* InMemory.makeStore
      const [first, second] = [Datastore.layer(Effect.succeed(backend)), Datastore.layer(Effect.succeed(backend))]

      yield* Effect.provide(Datastore.put([leaf("a", 7)]), first)
      const seen = yield* Effect.provide(Datastore.get(key("a")), second)

      assert.deepStrictEqual(Option.getOrThrow(seen).properties, { value: 7 })
    }))

  it.effect("a program shares the store of the layer, unless it asks for a fresh one", () =>
    Effect.gen(function*() {
      yield* Datastore.put([leaf("a", 7)])

      const nested = yield* Effect.provide(Datastore.get(key("a")), InMemory.layer)
      const apart = yield* Effect.provide(Datastore.get(key("a")), Layer.fresh(InMemory.layer))

      assert.isTrue(Option.isSome(nested))
      assert.isTrue(Option.isNone(apart))
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("the controlled layer shows and turns back what its Datastore wrote", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.InMemory
      const empty = yield* store.snapshot
      yield* Datastore.put([leaf("a", 7)])
      assert.strictEqual(yield* store.size, 1)

      yield* store.restore(empty)

      assert.isTrue(Option.isNone(yield* Datastore.get(key("a"))))
    }).pipe(Effect.provide(InMemory.layerControlled)))
})
