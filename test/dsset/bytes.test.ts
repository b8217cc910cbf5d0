import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import { CommitTooLarge, DatastoreError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { list, pop, set, shown } from "../utils/boxSet.ts"
import { entity } from "../utils/boxWorld.ts"

const mebibyte = 1_024 * 1_024

/** A store whose commits take so many bytes, also of what they delete. */
const storeOf = (commitBytes: number) => {
  const { backend } = Effect.runSync(InMemory.makeStore)
  return Datastore.layer(Effect.succeed<Backend>({ ...backend, limits: { commitBytes } }))
}

const addBig = (ids: ReadonlyArray<string>, bytes: number, trace?: string) =>
  DsSet.add(set, ids.map((id) => ({ id, value: new Uint8Array(bytes), trace })))

const numbered = (count: number, make: (n: number) => string = (n) => `id${String(n).padStart(5, "0")}`) =>
  Array.from({ length: count }, (_, n) => make(n))

/** Lists and pops, until nothing is left: how many items each listing held. */
const drain = Effect.gen(function*() {
  const sizes: Array<number> = []
  while (true) {
    const listing = yield* list(10_000)
    if (listing.items.length === 0) return sizes
    assert.lengthOf(yield* pop(listing), listing.items.length)
    sizes.push(listing.items.length)
  }
})

describe("what an item counts", () => {
  it.effect("is its stored size, its key and its ids, within a few bytes", () =>
    Effect.gen(function*() {
      for (const [id, bytes] of [["a", 1_000], ["ü".repeat(700), 10], ["x".repeat(1_500), 5_000]] as const) {
        const stored = Entity.sizeBytes(Entity.make(
          Key.child(set.parent, "dsset.Item", id),
          { Value: new Uint8Array(bytes), At: 0, Trace: "t".repeat(55) },
          { unindexed: "all" }
        ))
        const idBytes = Buffer.byteLength(id)
        yield* addBig([id, `${id.slice(1)}2`], bytes, "t".repeat(55))
        // Room for one, and for all of two but so many bytes.
        const room = 2 * (stored + 2 * idBytes + Key.sizeBytes(set.parent))
        const seen = (maxBytes: number) =>
          Effect.map(
            DsSet.list(set, { maxItems: 9, maxBytes, range: { after: undefined, upTo: undefined } }),
            ({ items }) => items.length
          )

        assert.strictEqual(yield* seen(room - 250), 1)
        assert.strictEqual(yield* seen(room + 250), 2)
        yield* pop(yield* list())
      }
    }).pipe(Effect.provide(storeOf(10 * mebibyte))))

  it.effect("is bounded by 4 MiB unless given, and always by three quarters of a commit", () =>
    Effect.gen(function*() {
      const count = (maxBytes: number | undefined) =>
        Effect.map(
          DsSet.list(set, { maxItems: 1_000, maxBytes, cursor: { sweep: undefined } }),
          ({ items, truncated }) => [items.length, truncated]
        )
      yield* addBig(numbered(100), 100_000)

      assert.deepStrictEqual(
        [yield* count(undefined), yield* count(1_000_000), yield* count(1), yield* count(Number.POSITIVE_INFINITY)],
        [[41, true], [9, true], [1, true], [78, true]]
      )
    }).pipe(Effect.provide(storeOf(10 * mebibyte))))

  it.effect("never keeps a single item from being listed and popped", () =>
    Effect.gen(function*() {
      yield* addBig(["a", "b"], 800_000)

      assert.deepStrictEqual(yield* drain, [1, 1])
    }).pipe(Effect.provide(storeOf(mebibyte))))
})

describe("a listing is cut to what one commit takes", () => {
  const table: ReadonlyArray<readonly [string, number, ReadonlyArray<string>, number]> = [
    ["1,300 ids of 1,500 bytes", 10 * mebibyte, numbered(1_300, (n) => `${n}`.padEnd(1_500, "x")), 100],
    ["1,300 ids of 1,500 bytes, on the emulator", 4 * mebibyte, numbered(1_300, (n) => `${n}`.padEnd(1_500, "x")), 100],
    ["ids that need escapes as text", 4 * mebibyte, numbered(900, (n) => `${n}`.padEnd(1_500, "\u0001")), 1],
    ["ids of few characters and many bytes", 4 * mebibyte, numbered(900, (n) => `${n}`.padEnd(498, "\u20AC")), 1],
    ["10,000 small ones", 4 * mebibyte, numbered(10_000), 1],
    ["large values", 4 * mebibyte, numbered(30), 800_000]
  ]
  for (const [name, commitBytes, ids, bytes] of table) {
    it.effect(`${name}: all are popped, in a few commits`, () =>
      Effect.gen(function*() {
        yield* addBig(ids, bytes)

        const sizes = yield* drain

        assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), ids.length)
        const all = ids.reduce((sum, id) => sum + bytes + 4 * Buffer.byteLength(id) + 300, 0)
        assert.isAtMost(sizes.length, Math.ceil(all / (commitBytes / 2)) + 1)
      }).pipe(Effect.provide(storeOf(commitBytes))))
  }
})

describe("the stored bytes of what is popped", () => {
  it.effect("count against the limit of the commit: beside them a side effect may be too much", () =>
    Effect.gen(function*() {
      yield* addBig(numbered(8), 90_000)
      const write = (bytes: number) =>
        Effect.gen(function*() {
          const listing = yield* list()
          return yield* Datastore.withTransaction(Effect.gen(function*() {
            const op = yield* DsSet.beginPop(set, listing)
            for (const { id } of listing.items) op.pop(id)
            yield* Datastore.put([entity(Key.make("K", 1), new Uint8Array(bytes))])
            yield* DsSet.finishPop(op)
          }))
        })

      const error = yield* Effect.flip(write(330_000))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "TooLarge")
      assert.lengthOf(shown(yield* list()).items, 8)
      yield* write(300_000)
      assert.lengthOf(shown(yield* list()).items, 0)
    }).pipe(Effect.provide(storeOf(mebibyte))))

  it.effect("count once, and only those of items that are popped", () =>
    Effect.gen(function*() {
      yield* addBig(numbered(10), 70_000)
      const listing = yield* list()

      yield* Datastore.withTransaction(Effect.gen(function*() {
        const op = yield* DsSet.beginPop(set, listing)
        op.pop("id00003")
        op.pop("id00003")
        yield* Datastore.put([entity(Key.make("K", 1), new Uint8Array(900_000))])
        yield* DsSet.finishPop(op)
      }))

      assert.lengthOf(shown(yield* list()).items, 9)
    }).pipe(Effect.provide(storeOf(mebibyte))))
})

describe("ids to be removed, whose stored size nobody knows", () => {
  it.effect("are removed by as many commits as the database makes of them", () =>
    Effect.gen(function*() {
      const { backend } = yield* InMemory.makeStore
      const landed: Array<number> = []
      // Counts what a commit deletes, as Datastore does.
      const counting: Backend = {
        ...backend,
        commit: (request) =>
          Effect.gen(function*() {
            const deleted = request.mutations.flatMap((one) => one._tag === "Delete" ? [one.key] : [])
            const stored = yield* backend.lookup(deleted)
            const bytes = stored.reduce(
              (sum, { entity }) => sum + (entity._tag === "None" ? 0 : Entity.sizeBytes(entity.value)),
              0
            )
            if (bytes > mebibyte) {
              return yield* new DatastoreError({
                operation: "commit",
                reason: new CommitTooLarge({ detail: "too big" })
              })
            }
            if (deleted.length > 0) landed.push(deleted.length)
            yield* backend.commit(request)
          })
      }
      yield* Effect.gen(function*() {
        yield* addBig(numbered(10), 300_000)
        yield* DsSet.remove(set, numbered(10))

        assert.deepStrictEqual(shown(yield* list()).items, [])
        assert.deepStrictEqual(landed, [2, 3, 2, 3])
      }).pipe(Effect.provide(Datastore.layer(Effect.succeed(counting))))
    }))
})

describe("garbage", () => {
  it.effect("of more stored bytes than one commit may delete is deleted by several", () =>
    Effect.gen(function*() {
      const { backend } = yield* InMemory.makeStore
      const deleted: Array<number> = []
      const watched: Backend = {
        ...backend,
        limits: { commitBytes: mebibyte },
        commit: (request) => {
          if (request.mutations.every(({ _tag }) => _tag === "Delete")) deleted.push(request.mutations.length)
          return backend.commit(request)
        }
      }
      yield* Effect.gen(function*() {
        yield* addBig(numbered(10), 300_000)
        assert.deepStrictEqual(yield* drain, [2, 2, 2, 2, 2])
        yield* addBig(numbered(10), 300_000)

        const { garbage } = yield* list()
        yield* DsSet.cleanupGarbage(garbage)

        assert.lengthOf(garbage.ids, 10)
        assert.deepStrictEqual(deleted.toSorted(), [1, 3, 3, 3])
        assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
      }).pipe(Effect.provide(Datastore.layer(Effect.succeed(watched))))
    }))
})
