import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { Backend } from "../src/Backend.ts"
import * as Datastore from "../src/Datastore.ts"
import * as DsSet from "../src/DsSet.ts"
import { setMemory } from "../src/internal/setMemory.ts"
import { idsOf } from "../src/internal/tombstones.ts"
import * as Key from "../src/Key.ts"
import * as InMemory from "../src/layers/InMemory.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { add, list, pop, set, shown, withMinute } from "./utils/boxSet.ts"
import {
  inTime,
  isAboutItems,
  makeGate,
  operationsOf,
  otherProcess,
  settle,
  storedItems,
  world
} from "./utils/boxWorld.ts"

const value = new Uint8Array(1)

/** Items that were popped and are still stored: garbage of the next listing. */
const makeGarbage = (ids: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    yield* add(ids, { atMillis: 0 })
    yield* pop(yield* DsSet.list(set, { maxItems: 1_000, cursor: { after: undefined } }), ids)
    yield* settle
    yield* add(ids, { atMillis: 0 })
  })

const queries = (report: Recorder.Report) => operationsOf(report).filter((name) => name === "query").length

/** Keeps one commit that deletes items under way until the gate opens. */
const holdDelete = Effect.gen(function*() {
  const faulty = yield* Faulty.Faulty
  const gate = yield* makeGate
  yield* faulty.inject("commit", Faulty.around({ before: gate.wait }), { where: isAboutItems })
  return gate.open
})

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
      const all = yield* DsSet.list(set, { maxItems: 10, cursor: { after: undefined } })

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

describe("the read-time rule", () => {
  // Goal: a database whose times contradict each other is reported, not asked for ever.
  it.effect("a database whose queries stay behind its entities is an error, after five more queries", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      let queries = 0
      const backend: Backend = {
        ...store.backend,
        query: (query) =>
          Effect.map(store.backend.query(query), (result) => {
            queries++
            return { ...result, readTime: BigInt(1) }
          })
      }
      const error = yield* Effect.gen(function*() {
        yield* add(["a"])
        yield* pop(yield* list(), ["a"])
        queries = 0
        return yield* Effect.flip(list())
      }).pipe(Effect.provide(Datastore.layer(Effect.succeed(backend))))

      assert.strictEqual(error.reason._tag, "Internal")
      assert.include(error.message, "without comparable times a listing is not safe")
      assert.strictEqual(queries, 6)
    }))

  // Without it: the slow reader saw "a", reads a head from which its tombstone has been erased since, and pops it
  // again.
  it.effect("items that are older than the head's last change are read again", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      const other = yield* otherProcess
      yield* add(["a"])
      const meanwhile = Effect.gen(function*() {
        yield* pop(yield* list(), ["a"])
        yield* settle
        yield* TestClock.adjust("61 seconds")
        yield* pop(yield* list(), [])
      }).pipe(Effect.provideService(Datastore.Datastore, other), withMinute, Effect.orDie)
      yield* faulty.inject("lookup", Faulty.around({ before: meanwhile }))

      const [listing, report] = yield* recorder.during(list())

      assert.deepStrictEqual(listing.tombstones.pops.map(idsOf), [[]], "the tombstone has been erased")
      assert.deepStrictEqual(shown(listing), { items: [], garbage: [] })
      assert.strictEqual(queries(report), 2)
      assert.deepStrictEqual(yield* pop(listing, ["a"]), [])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("items that are too old are read again from where the listing began, also in the middle", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      yield* add(["a", "b", "c"])
      yield* list(1)
      const meanwhile = Effect.flatMap(list(), (listing) => pop(listing, [])).pipe(
        Effect.provideService(Datastore.Datastore, other),
        Effect.orDie
      )
      yield* faulty.inject("lookup", Faulty.around({ before: meanwhile }))

      const [listing, report] = yield* (yield* Recorder.Recorder).during(list(1))

      assert.strictEqual(queries(report), 2)
      assert.deepStrictEqual(shown(listing).items, ["b"])
    }).pipe(Effect.provide(world)))

  it.effect("costs no second query when the head is older than the items", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      const other = yield* otherProcess
      yield* add(["a"])
      const meanwhile = Effect.flatMap(list(), (listing) => pop(listing, [])).pipe(
        Effect.provideService(Datastore.Datastore, other),
        Effect.orDie
      )
      yield* faulty.inject("query", Faulty.around({ before: Effect.andThen(settle, meanwhile) }))

      const [listing, report] = yield* recorder.during(list())

      // The head was read before the other pop: the commit is what tells.
      assert.strictEqual(queries(report), 1)
      assert.strictEqual((yield* Effect.flip(pop(listing)))._tag, "ContentionError")
    }).pipe(Effect.provide(world)))
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

  // E4: a listing that began behind them could not tell that the popped items are gone.
  it.effect("all of whose items were popped is not continued: the next one begins where it did, and erases", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])
      yield* pop(yield* list(2))
      yield* settle
      yield* TestClock.adjust("61 seconds")
      yield* add(["a 1"])

      const listing = yield* list(2)
      yield* pop(listing)

      assert.deepStrictEqual(shown(listing).items, ["a 1", "c"])
      assert.deepStrictEqual((yield* list(2)).tombstones.pops.flatMap(idsOf), ["a 1", "c"])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("all of whose items were popped does not take the position from a listing that went on behind it", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])
      const first = yield* list(2)
      yield* list(2)

      yield* pop(first)

      assert.deepStrictEqual(shown(yield* list(2)).items, ["e"])
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

  it.effect("that has come to its end leaves nothing in the memory of the process", () =>
    Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      yield* add(["a", "b", "c"])
      yield* list(2)
      const during = setMemory(datastore, set.parent)
      assert.strictEqual(during.cursor.after, "b")

      yield* pop(yield* list(2))
      yield* settle

      assert.notStrictEqual(setMemory(datastore, set.parent), during)
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

describe("items that this process is deleting", () => {
  it.effect("are ignored, and as many more are asked for: one query is enough", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a", "b", "c", "d", "e"])
      yield* holdDelete
      yield* pop(yield* list(3))

      const [listing, report] = yield* recorder.during(list(2))

      assert.deepStrictEqual(shown(listing), { items: ["d", "e"], garbage: [] })
      assert.strictEqual(queries(report), 1)
    }).pipe(Effect.provide(world)))

  it.effect("are garbage for another process", () =>
    Effect.gen(function*() {
      const other = yield* otherProcess
      yield* add(["a", "b"])
      yield* holdDelete
      yield* pop(yield* list(), ["a"])

      const there = yield* Effect.provideService(list(), Datastore.Datastore, other)

      assert.deepStrictEqual(shown(there), { items: ["b"], garbage: ["a"] })
    }).pipe(Effect.provide(world)))

  it.effect("that are gone already make room: what was asked for too much is left for the next listing", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const gate = yield* makeGate
      yield* add(["a", "b", "c", "d", "e"])
      // Deleted in the store, while the process does not know it yet.
      yield* faulty.inject("commit", Faulty.around({ after: gate.wait }), { where: isAboutItems })
      yield* pop(yield* list(2))
      yield* settle

      const first = yield* list(2)
      const second = yield* list(2)

      assert.deepStrictEqual([shown(first).items, first.truncated], [["c", "d"], true])
      assert.deepStrictEqual(shown(second).items, ["e"])
    }).pipe(Effect.provide(world)))

  it.effect("are ignored also when their deletion ends while the listing is under way", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a", "b"])
      const release = yield* holdDelete
      yield* pop(yield* list(), ["a"])
      yield* settle
      yield* faulty.inject("query", Faulty.around({ after: Effect.andThen(release, settle) }))

      assert.deepStrictEqual(shown(yield* list()), { items: ["b"], garbage: [] })
      assert.deepStrictEqual(yield* storedItems(set.parent), ["b"])
    }).pipe(Effect.provide(world)))

  it.effect("are no longer ignored once their deletion has failed for good", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      for (let n = 0; n < 5; n++) yield* faulty.inject("commit", Faulty.requestLost, { where: isAboutItems })
      yield* pop(yield* list())
      yield* inTime(Effect.sleep("10 seconds"))

      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: ["a"] })
    }).pipe(Effect.provide(world)))
})
