import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import { idsOf } from "../../src/dsset/format/tombstones.ts"
import { placeOf, recall, setCount } from "../../src/dsset/memory.ts"
import * as Key from "../../src/Key.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { add, list, pop, popAndRepeat, set, shown, withMinute } from "../utils/boxSet.ts"
import { inTime, operationsOf, otherProcess, settle, storedItems, world } from "../utils/boxWorld.ts"

const value = new Uint8Array(1)

/** Items that were popped and added again: garbage of the next listing. */
const makeGarbage = (ids: ReadonlyArray<string>) => Effect.andThen(add(ids, { atMillis: 0 }), popAndRepeat(ids))

const queries = (report: Recorder.Report) => operationsOf(report).filter((name) => name === "query").length

describe("a listing", () => {
  it.effect("is one query beside one lookup, in one round", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a", "b"])

      const [, report] = yield* recorder.during(list())

      assert.sameMembers([...operationsOf(report)], ["query", "lookup"])
      assert.strictEqual(report.rounds, 1)
    }).pipe(Effect.provide(world)))

  it.effect("comes in key order and holds at most maxItems", () =>
    Effect.gen(function*() {
      yield* add(["ghi", "abc", "def"])

      const some = yield* list(2)
      const all = yield* DsSet.list(set, { maxItems: 10, cursor: { sweep: undefined } })

      assert.deepStrictEqual([shown(some).items, some.truncated], [["abc", "def"], true])
      assert.deepStrictEqual([shown(all).items, all.truncated], [["abc", "def", "ghi"], false])
    }).pipe(Effect.provide(world)))

  it.effect("of a set that was never used is empty", () =>
    Effect.gen(function*() {
      const listing = yield* list()

      assert.deepStrictEqual(shown(listing), { items: [], garbage: [] })
      assert.isFalse(listing.truncated)
    }).pipe(Effect.provide(world)))

  it.effect("fails when either of its reads fails", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      for (const operation of ["query", "lookup"] as const) {
        yield* faulty.inject(operation, Faulty.readFailure)
        const error = yield* Effect.flip(list())
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.include(error.message, `Datastore ${operation} of Parent,"parent"`)
      }
    }).pipe(Effect.provide(world)))

  it.effect("does not mix the sets of keys that contain each other or look alike", () =>
    Effect.gen(function*() {
      const parents = [
        Key.make("P", "1"),
        Key.make("P", "1", "Q", "2"),
        Key.make("P", "1", "dsset.Tombstones", 1),
        Key.make("P", "1", "dsset.Ite", "x"),
        Key.make("P", "1", "dsset.Item ", "x"),
        Key.make("P", "10"),
        Key.make("P", 1)
      ]
      const sets = parents.map((parent) => DsSet.make({ parent }))
      for (const [n, one] of sets.entries()) yield* DsSet.add(one, [{ id: `of ${n}`, value }, { id: "same", value }])

      const listings = yield* Effect.forEach(sets, (one) => DsSet.list(one, { maxItems: 10 }))
      assert.deepStrictEqual(
        listings.map(({ items }) => items.map(({ id }) => id)),
        sets.map((_, n) => [`of ${n}`, "same"])
      )

      yield* pop(listings[0]!)
      yield* settle
      const left = yield* Effect.forEach(sets, (one) => DsSet.list(one, { maxItems: 10 }))
      assert.deepStrictEqual(left.map(({ items }) => items.length), [0, 2, 2, 2, 2, 2, 2])
    }).pipe(Effect.provide(world)))

  it("cannot be asked of a key that is an item or lies below one", () => {
    for (const parent of [Key.make("P", 1, "dsset.Item", "x"), Key.make("P", 1, "dsset.Item", "x", "Q", 1)]) {
      assert.throws(
        () => DsSet.make({ parent }),
        `DsSet.make: ${parent} is or lies below a dsset.Item, a kind that belongs to the library`
      )
    }
  })
})

// P2: whatever happens between the two reads of a listing, its pop expects the head that it saw.
describe("a pop by another process between the reads of a listing", () => {
  const elsewhere = (what: Effect.Effect<unknown, unknown, Datastore.Datastore>) =>
    Effect.map(
      otherProcess,
      (other) => Effect.asVoid(Effect.provideService(Effect.orDie(what), Datastore.Datastore, other))
    )
  const popAll = Effect.flatMap(list(), (listing) => pop(listing))

  it.effect("after that of the head is contention", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      yield* faulty.inject("query", Faulty.around({ after: Effect.andThen(settle, yield* elsewhere(popAll)) }))

      const listing = yield* list()

      assert.deepStrictEqual(shown(listing).items, ["a"])
      assert.strictEqual((yield* Effect.flip(pop(listing)))._tag, "ContentionError")
    }).pipe(Effect.provide(world)))

  // The slow reader saw "a", and reads a head from which its tombstone has been erased since.
  it.effect("after that of the items is contention, although nothing tells that they were popped", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      const meanwhile = Effect.gen(function*() {
        yield* popAll
        yield* TestClock.adjust("61 seconds")
        yield* popAll
      }).pipe(withMinute)
      yield* faulty.inject("lookup", Faulty.around({ before: yield* elsewhere(meanwhile) }))

      const listing = yield* list()

      assert.deepStrictEqual(listing.tombstones.pops.map(idsOf), [[]], "the tombstone has been erased")
      assert.deepStrictEqual(shown(listing).items, ["a"])
      const error = yield* Effect.flip(pop(listing, ["a"]))
      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(withMinute, Effect.provide(world)))
})

describe("a truncated listing", () => {
  it.effect("is continued after its last key by the next one, and wraps around", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])

      const seen = yield* Effect.replicateEffect(Effect.map(list(2), (one) => shown(one).items.join("")), 5)

      assert.deepStrictEqual(seen, ["ab", "cd", "e", "ab", "cd"])
    }).pipe(Effect.provide(world)))

  it.effect("wraps around at once when nothing is left behind it", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d"])

      const seen = yield* Effect.replicateEffect(Effect.map(list(2), (one) => shown(one).items.join("")), 3)

      assert.deepStrictEqual(seen, ["ab", "cd", "ab"])
    }).pipe(Effect.provide(world)))

  it.effect("does not let an id starve behind items that nobody pops", () =>
    Effect.gen(function*() {
      yield* add(["stays 1", "stays 2", "stays 3", "zzz"])
      const popped: Array<string> = []

      for (let n = 0; n < 5 && !popped.includes("zzz"); n++) {
        const listing = yield* list(2)
        popped.push(...yield* pop(listing, shown(listing).items.filter((id) => !id.startsWith("stays"))))
        yield* settle
      }

      assert.include(popped, "zzz")
    }).pipe(Effect.provide(world)))

  // E4: what lies in front of it was not read.
  it.effect("is continued by one that erases nothing in front of it: what is left there does not come back", () =>
    Effect.gen(function*() {
      yield* makeGarbage(["a"])
      yield* add(["b", "c", "d"])
      yield* TestClock.adjust("2 minutes")
      yield* list(2)

      const listing = yield* list(2)
      yield* pop(listing)
      yield* settle

      assert.deepStrictEqual(shown(listing), { items: ["d"], garbage: [] })
      assert.deepStrictEqual(shown(yield* list()), { items: ["b", "c"], garbage: ["a"] })
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("some of whose items were left is continued behind them", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])

      yield* pop(yield* list(2), ["a"])

      assert.deepStrictEqual(shown(yield* list(2)).items, ["c", "d"])
    }).pipe(Effect.provide(world)))

  it.effect("says so, also when it begins in the middle and gets to the end", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c"])

      const truncated = yield* Effect.replicateEffect(Effect.map(list(2), (one) => one.truncated), 2)

      assert.deepStrictEqual(truncated, [true, true])
      assert.isFalse((yield* list(5)).truncated)
    }).pipe(Effect.provide(world)))

  it.effect("is not known to another process", () =>
    Effect.gen(function*() {
      const other = yield* otherProcess
      yield* add(["a", "b", "c"])
      yield* list(2)

      const there = yield* Effect.provideService(list(2), Datastore.Datastore, other)
      const here = yield* list(2)

      assert.deepStrictEqual([shown(there).items, shown(here).items], [["a", "b"], ["c"]])
    }).pipe(Effect.provide(world)))

  it.effect("whose sweep is one listing leaves nothing in the memory of the process", () =>
    Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      yield* add(["a", "b", "c"])

      yield* pop(yield* list())
      yield* list()
      assert.strictEqual(setCount(datastore), 0)

      yield* add(["a 1", "b 1", "c 1"])
      yield* list(2)
      assert.strictEqual(recall(placeOf(datastore, set.parent)).sweep?.after, "b 1")
    }).pipe(Effect.provide(world)))
})

describe("garbage in a listing", () => {
  it.effect("does not use up maxItems: the listing goes on behind it", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* makeGarbage(["a", "b", "c", "d", "e"])
      yield* add(["f", "g", "h"])

      const [listing, report] = yield* recorder.during(list(2))

      assert.deepStrictEqual(shown(listing), { items: ["f", "g"], garbage: ["a", "b", "c", "d", "e"] })
      assert.isTrue(listing.truncated)
      assert.strictEqual(queries(report), 4)
    }).pipe(Effect.provide(world)))

  it.effect("is all that there is: the listing is empty and complete", () =>
    Effect.gen(function*() {
      yield* makeGarbage(["a", "b", "c", "d"])

      const listing = yield* list(2)

      assert.deepStrictEqual(shown(listing), { items: [], garbage: ["a", "b", "c", "d"] })
      assert.isFalse(listing.truncated)
    }).pipe(Effect.provide(world)))

  it.effect("is named once, also when the listing begins behind it and wraps around", () =>
    Effect.gen(function*() {
      yield* makeGarbage(["m", "n"])
      yield* add(["a", "b"])
      yield* list(2)

      const listing = yield* list(9)

      assert.deepStrictEqual(shown(listing), { items: ["a", "b"], garbage: ["m", "n"] })
      yield* inTime(DsSet.cleanupGarbage(listing.garbage))
      assert.deepStrictEqual(yield* storedItems(set.parent), ["a", "b"])
    }).pipe(Effect.provide(world)))
})
