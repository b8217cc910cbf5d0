import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import { MaxHeadBytes } from "../../src/dsset/format/nextHead.ts"
import { readPageBytes } from "../../src/dsset/format/stored.ts"
import { decode, idsOf } from "../../src/dsset/format/tombstones.ts"
import { forgetPage, placeOf, recall } from "../../src/dsset/memory.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { add, list, pop, popAndRepeat, set, shown, withMinute } from "../utils/boxSet.ts"
import { inTime, otherProcess, settle, world, writesHead } from "../utils/boxWorld.ts"

/** Every pop moves to a page of its own. */
const inPages = Effect.provideService(MaxHeadBytes, 1)

const pageKey = (number: number) => Key.child(set.parent, "dsset.TombstonesPage", number)

/** The pages that are stored: the ids of each, by its number. */
const storedPages = Effect.map(
  Datastore.query({ kind: "dsset.TombstonesPage", ancestor: set.parent }),
  ({ results }) =>
    Object.fromEntries(results.map((page) => [String(page.key.id), decode(readPageBytes(page)!)!.flatMap(idsOf)]))
)

/** The pages that are stored, which must be those that the head names. */
const pages = Effect.gen(function*() {
  const { tombstones } = yield* list()
  const stored = yield* storedPages
  assert.deepStrictEqual(Object.keys(stored), tombstones.pages.map(({ number }) => String(number)), "named and stored")
  return stored
})

/** Adds ids and pops them; their items are deleted. */
const consume = (...ids: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    yield* add(ids)
    assert.deepStrictEqual(yield* pop(yield* list(), ids), [...ids])
    yield* settle
  })

/** A UUIDv7 of a time. */
const uuid = (millis: number, last = 0) => {
  const time = millis.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${last.toString(16).padStart(12, "0")}`
}

/** Reads of pages in a report. */
const pageReads = ({ operations }: Recorder.Report) =>
  operations.flatMap(({ call }) =>
    call.operation === "lookup" ? Recorder.keysOf(call).filter(({ kind }) => kind === "dsset.TombstonesPage") : []
  ).length

/** The bytes of every stored entity of the set but its items. */
const sizes = Effect.gen(function*() {
  const found = yield* Effect.forEach(
    ["dsset.Tombstones", "dsset.TombstonesPage"],
    (kind) => Datastore.query({ kind, ancestor: set.parent })
  )
  const [[head], all] = found.map(({ results }) =>
    results.map(({ entity }) => Entity.sizeBytes(Option.getOrThrow(entity)))
  ) as [[number], Array<number>]
  return { head, pages: all }
})

describe("pops that do not fit into the head", () => {
  it.effect("move to a page, the older ones first, and the head stays below 16 KiB", () =>
    Effect.gen(function*() {
      let largest = 0
      for (let batch = 0; batch < 40; batch++) {
        yield* consume(...Array.from({ length: 60 }, (_, n) => uuid(batch * 1_000, n)))
        largest = Math.max(largest, (yield* sizes).head)
      }

      const { tombstones } = yield* list()
      const kept = tombstones.pops.flatMap(idsOf)
      const moved = Object.values(yield* pages).flat()
      assert.isAtMost(largest, 16 * 1_024 + 200)
      assert.isAtLeast(largest, 14 * 1_024)
      assert.deepStrictEqual(
        [...moved, ...kept],
        Array.from({ length: 2_400 }, (_, n) => uuid(Math.floor(n / 60) * 1_000, n % 60))
      )
      // What stays are the newest, a quarter of the room at least when they were left.
      assert.isAtLeast(kept.length, 200)
      assert.isAtMost(Object.keys(yield* pages).length, 4)
    }).pipe(Effect.provide(world)))

  it.effect("move at once when they are many, and to several pages below 900 KiB when they are very many", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 1_300 }, (_, n) => `${n}${"x".repeat(1_400)}`)
      yield* add(ids)
      yield* pop(yield* DsSet.list(set, { maxItems: 2_000, maxBytes: 10_000_000 }), ids)

      const { head, pages: found } = yield* sizes

      assert.isAtMost(head, 1_024)
      assert.lengthOf(found, 3)
      for (const bytes of found) assert.isAtMost(bytes, DsSet.maxEntityBytes)
      const stored = Object.values(yield* storedPages)
      assert.deepStrictEqual(stored.flat(), ids)
    }).pipe(Effect.provide(world)))

  it.effect("land with their page, or not at all", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      const first = yield* list()
      yield* pop(yield* list(), [])
      const before = yield* pages

      const error = yield* Effect.flip(pop(first, ["a"]))

      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(yield* pages, before)
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
    }).pipe(inPages, Effect.provide(world)))
})

describe("an id whose tombstone is in a page", () => {
  for (const [title, id] of [["of a caller", "transfer-7"], ["drawn by the library", uuid(1_000)]] as const) {
    it.effect(`is hidden when it is added again, ${title}`, () =>
      Effect.gen(function*() {
        yield* consume(id)
        yield* add([id, "new"])

        assert.deepStrictEqual(shown(yield* list()), { items: ["new"], garbage: [id] })

        const other = yield* otherProcess
        const elsewhere = yield* Effect.provideService(list(), Datastore.Datastore, other)
        assert.deepStrictEqual(shown(elsewhere), { items: ["new"], garbage: [id] })
      }).pipe(inPages, Effect.provide(world)))
  }

  it.effect("is a new item when it is added after the window, although its page is still there", () =>
    Effect.gen(function*() {
      yield* consume("a")
      yield* TestClock.adjust("61 seconds")
      yield* add(["a"])

      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
      assert.deepStrictEqual(yield* pages, { 1: ["a"] })
      assert.deepStrictEqual(yield* pop(yield* list(), ["a"]), ["a"])
    }).pipe(withMinute, inPages, Effect.provide(world)))
})

describe("the reads of a listing", () => {
  it.effect("are no pages, by any process, when what waits is newer than what was consumed", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 5; n++) yield* consume(uuid(n * 1_000), uuid(n * 1_000 + 500))
      yield* add([uuid(9_000), uuid(9_001)])
      const recorder = yield* Recorder.Recorder

      const [listing, report] = yield* recorder.during(Effect.andThen(forgetPages, list()))

      assert.lengthOf(listing.tombstones.pages, 5)
      assert.lengthOf(listing.items, 2)
      assert.strictEqual(pageReads(report), 0)
      assert.strictEqual(Recorder.rounds(report.operations), 1)
    }).pipe(inPages, Effect.provide(world)))

  it.effect("are the one page that may know an id, once", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 5; n++) yield* consume(uuid(n * 1_000), uuid(n * 1_000 + 500))
      yield* add([uuid(2_200)])
      const recorder = yield* Recorder.Recorder
      yield* forgetPages

      const [first, report] = yield* recorder.during(list())
      const [, again] = yield* recorder.during(list())

      assert.deepStrictEqual(shown(first).items, [uuid(2_200)])
      assert.strictEqual(pageReads(report), 1)
      assert.strictEqual(Recorder.rounds(report.operations), 2)
      assert.strictEqual(pageReads(again), 0)
    }).pipe(inPages, Effect.provide(world)))

  it.effect("are no pages that this process wrote", () =>
    Effect.gen(function*() {
      yield* consume("a", "c")
      yield* add(["b"])
      const recorder = yield* Recorder.Recorder

      const [listing, report] = yield* recorder.during(list())

      assert.deepStrictEqual(shown(listing).items, ["b"])
      assert.strictEqual(pageReads(report), 0)
    }).pipe(inPages, Effect.provide(world)))
})

/** Makes this process forget all pages: as if it had just been started. */
const forgetPages = Effect.map(Datastore.Datastore, (datastore) => {
  for (const number of recall(placeOf(datastore, set.parent)).pages.keys()) {
    forgetPage(placeOf(datastore, set.parent), number)
  }
})

describe("E4: a page is deleted", () => {
  it.effect("by the pop after all of it has expired, and not before", () =>
    Effect.gen(function*() {
      yield* consume("a")
      yield* TestClock.adjust("30 seconds")
      yield* consume("b")
      yield* TestClock.adjust("30 seconds")
      yield* pop(yield* list(), [])
      assert.deepStrictEqual(yield* pages, { 1: ["a"], 2: ["b"], 3: [] }, "at the very end of its time")

      yield* TestClock.adjust("1 millis")
      yield* pop(yield* list(), [])

      assert.deepStrictEqual(yield* pages, { 2: ["b"], 3: [], 4: [] })
    }).pipe(withMinute, inPages, Effect.provide(world)))

  it.effect("after its items were seen to be gone, and not while one of them is stored", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* popAndRepeat(["a", "b"])
      yield* TestClock.adjust("2 minutes")

      yield* pop(yield* list(), [])
      const listing = yield* list()
      assert.deepStrictEqual(shown(listing), { items: [], garbage: ["a", "b"] })
      assert.deepStrictEqual((yield* pages)["1"], ["a", "b"])

      yield* DsSet.cleanupGarbage(listing.garbage)
      yield* pop(yield* list(), [])
      assert.isUndefined((yield* pages)["1"])
    }).pipe(withMinute, inPages, Effect.provide(world)))

  it.effect("of drawn ids without being read, when the listing looked where they were", () =>
    Effect.gen(function*() {
      yield* consume(uuid(1_000), uuid(2_000))
      yield* add([uuid(500), uuid(2_500), uuid(2_600)])
      yield* TestClock.adjust("2 minutes")
      yield* forgetPages
      const recorder = yield* Recorder.Recorder

      const [, report] = yield* recorder.during(Effect.flatMap(list(2), (listing) => pop(listing, [])))

      assert.strictEqual(pageReads(report), 0)
      assert.deepStrictEqual(Object.keys(yield* pages), ["2"])
    }).pipe(withMinute, inPages, Effect.provide(world)))

  it.effect("but not when the listing ends before them", () =>
    Effect.gen(function*() {
      yield* consume(uuid(1_000), uuid(2_000))
      yield* add([uuid(500), uuid(1_500)])
      yield* TestClock.adjust("2 minutes")

      yield* pop(yield* list(1), [])

      assert.deepStrictEqual(Object.keys(yield* pages), ["1", "2"])
    }).pipe(withMinute, inPages, Effect.provide(world)))

  it.effect("when several listings have seen its items to be gone, each a part", () =>
    Effect.gen(function*() {
      yield* consume("a", "e", "i")
      yield* add(["b", "d", "f", "h"])
      yield* TestClock.adjust("2 minutes")

      const seen = []
      for (let n = 0; n < 3; n++) {
        yield* pop(yield* list(2), [])
        seen.push("1" in (yield* storedPages))
      }

      assert.deepStrictEqual(seen, [true, true, false])
    }).pipe(withMinute, inPages, Effect.provide(world)))

  it.effect("but not when one of its ids was added again after it was seen to be gone", () =>
    Effect.gen(function*() {
      yield* consume("a", "i")
      yield* add(["b", "d", "f"])
      yield* TestClock.adjust("2 minutes")
      yield* pop(yield* list(1), []) // saw that `a` is gone
      yield* add(["a"], { atMillis: 0 }) // a late retry, hidden by its tombstone
      yield* list(1).pipe(Effect.repeat({ times: 3 }))

      yield* pop(yield* list(), [])

      assert.deepStrictEqual((yield* storedPages)["1"], ["a", "i"])
      assert.notInclude(shown(yield* list()).items, "a")
    }).pipe(withMinute, inPages, Effect.provide(world)))

  it.effect("at most 200 in one commit, and the rest in the next ones", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 230; n++) {
        yield* consume(...["a", "b", "c", "d", "e", "f"].map((id) => `${id}${n}${"x".repeat(1_400)}`))
      }
      assert.lengthOf(Object.keys(yield* pages), 230)
      yield* TestClock.adjust("2 minutes")

      yield* pop(yield* list(), [])
      assert.lengthOf(Object.keys(yield* pages), 30)
      yield* pop(yield* list(), [])
      assert.lengthOf(Object.keys(yield* pages), 0)
    }).pipe(withMinute, Effect.provideService(MaxHeadBytes, 8_000), Effect.provide(world)))
})

describe("expired pages", () => {
  // Each of 60 pages has an id that waits again, so that it cannot go: the listing looks into 20 of them.
  it.effect("do not pile up behind others that cannot go yet", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 60 }, (_, n) => [`waits-${n}`, `b-${n}`] as const)
      for (const both of ids) yield* consume(...both)
      yield* TestClock.adjust("61 seconds")
      yield* add(ids.map(([waits]) => waits))
      const counts: Array<number> = []
      for (let n = 0; n < 60; n++) {
        yield* add([`c-${n}`])
        yield* pop(yield* list(), [`c-${n}`])
        yield* TestClock.adjust("61 seconds")
        counts.push(Object.keys(yield* storedPages).length)
      }

      // Those that live, those that cannot go, and what a round of looking leaves.
      assert.isAtMost(Math.max(...counts.slice(30)), 60 + 2 * 4)
    }).pipe(withMinute, inPages, Effect.provide(world)))
})

describe("a page that is not what the head said", () => {
  // The head has changed since it was read: another pop has deleted the page.
  it.effect("makes the listing begin again, and then see the truth", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      const other = yield* otherProcess
      yield* consume("a")
      yield* add(["a"], { atMillis: 0 })
      yield* TestClock.adjust("2 minutes")
      yield* forgetPages
      const elsewhere = Effect.gen(function*() {
        yield* DsSet.cleanupGarbage((yield* list()).garbage)
        yield* pop(yield* list(), [])
        yield* add(["b"])
      }).pipe(Effect.provideService(Datastore.Datastore, other), Effect.orDie)
      yield* faulty.inject("lookup", Faulty.around({ before: elsewhere }), {
        where: (call) => Recorder.keysOf(call).some(({ kind }) => kind === "dsset.TombstonesPage")
      })

      const [listing, report] = yield* recorder.during(list())

      assert.deepStrictEqual(shown(listing), { items: ["b"], garbage: [] })
      assert.strictEqual(pageReads(report), 1)
      assert.deepStrictEqual(Object.keys(yield* pages), ["2"])
    }).pipe(withMinute, inPages, Effect.provide(world)))

  for (
    const [title, damage] of [
      ["was deleted", Datastore.remove([pageKey(1)])],
      ["was changed", Datastore.put([Entity.make(pageKey(1), { Pops: new Uint8Array([1]) }, { unindexed: "all" })])],
      ["is something else", Datastore.put([Entity.make(pageKey(1), { Pops: "x" })])]
    ] as const
  ) {
    it.effect(`for good, because it ${title} by somebody else, is Internal and names it`, () =>
      Effect.gen(function*() {
        yield* consume("a")
        yield* damage
        yield* forgetPages
        yield* add(["a"])

        const error = yield* Effect.flip(list())

        assert.strictEqual(error.reason._tag, "Internal")
        assert.match(error.message, /dsset\.TombstonesPage,1.*a page of tombstones is not what the head says/)
      }).pipe(inPages, Effect.provide(world)))
  }

  it.effect("is not taken from the memory of the process either", () =>
    Effect.gen(function*() {
      yield* consume("a")
      yield* Datastore.remove([pageKey(1), Key.child(set.parent, "dsset.Tombstones", 1)])
      yield* Effect.provideService(consume("b"), Datastore.Datastore, yield* otherProcess)
      yield* add(["a", "b"])

      assert.deepStrictEqual(shown(yield* list()), { items: ["a"], garbage: ["b"] })
    }).pipe(inPages, Effect.provide(world)))
})

describe("a lost response", () => {
  it.effect("of a pop that went to a page is found there", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      yield* faulty.inject("commit", Faulty.responseLost, { where: writesHead })

      assert.deepStrictEqual(yield* inTime(pop(yield* list(), ["a"])), ["a"])
      yield* settle
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(inPages, Effect.provide(world)))

  it.effect("of a pop that another one followed is found in its page, among younger ones", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      yield* add(["a"])
      const follow = Effect.flatMap(list(), (listing) => pop(listing, [])).pipe(
        Effect.provideService(Datastore.Datastore, other),
        Effect.orDie
      )
      const listing = yield* list()
      yield* faulty.inject("lookup", Faulty.around({ before: Effect.andThen(follow, follow) }))
      yield* faulty.inject("commit", Faulty.responseLost, { where: writesHead })

      assert.deepStrictEqual(yield* inTime(pop(listing, ["a"])), ["a"])
      assert.deepStrictEqual(Object.keys(yield* pages), ["1", "2", "3"])
    }).pipe(inPages, Effect.provide(world)))

  it.effect("of a pop that lost is contention, although there are younger pages", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      yield* add(["a"])
      const listing = yield* list()
      yield* Effect.flatMap(list(), (before) => pop(before, [])).pipe(
        Effect.provideService(Datastore.Datastore, other)
      )
      yield* faulty.inject("commit", Faulty.requestLost, { where: writesHead })

      const error = yield* Effect.flip(inTime(pop(listing, ["a"])))

      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
    }).pipe(inPages, Effect.provide(world)))

  it.effect("of a pop that did not land is fenced, and the pages stay", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* consume("a")
      yield* add(["b"])
      yield* faulty.inject("commit", Faulty.requestLost, { where: writesHead })

      const error = yield* Effect.flip(inTime(pop(yield* list(), ["b"])))

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Fenced")
      assert.deepStrictEqual(yield* pages, { 1: ["a"] })
    }).pipe(inPages, Effect.provide(world)))
})
