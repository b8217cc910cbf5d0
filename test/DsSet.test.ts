import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Option, Queue, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../src/Datastore.ts"
import * as DsSet from "../src/DsSet.ts"
import { MaxHeadBytes } from "../src/dsset/format/nextHead.ts"
import { idsOf, tokenOf } from "../src/dsset/format/tombstones.ts"
import { listAll } from "../src/dsset/list.ts"
import * as Entity from "../src/Entity.ts"
import * as Key from "../src/Key.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { add, list, pop, popAndRepeat, set, shown, values, withMinute } from "./utils/boxSet.ts"
import { defectOf, operationsOf, settle, storedItems, world, writesHead } from "./utils/boxWorld.ts"

const headKey = Key.make("Parent", "parent", "dsset.Tombstones", 1)

/** The ids that have a tombstone in the stored head. */
const remembered = Effect.map(list(), ({ tombstones }) => tombstones.pops.flatMap(idsOf))

describe("one item of a set", () => {
  // Source of the facts: luci-go dsset_test.go, "item one lifecycle". One rule is ours: the pop that comes after the
  // delay erases the tombstone by itself, without a listing that names it as garbage.
  it.effect("lives from its addition to the end of its tombstone", () =>
    Effect.gen(function*() {
      yield* add(["abc"])
      const first = yield* list()
      assert.deepStrictEqual(shown(first), { items: ["abc"], garbage: [] })
      assert.deepStrictEqual(values(first), ["abc=v"])

      assert.deepStrictEqual(yield* pop(first, ["abc"]), ["abc"])
      yield* settle
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
      assert.deepStrictEqual(yield* storedItems(set.parent), [])

      // Added again while its tombstone lives, it is garbage, and cannot be popped.
      yield* add(["abc"])
      const again = yield* list()
      assert.deepStrictEqual(shown(again), { items: [], garbage: ["abc"] })
      assert.deepStrictEqual(yield* pop(again, ["abc"]), [])
      yield* DsSet.cleanupGarbage(again.garbage)
      assert.deepStrictEqual(yield* storedItems(set.parent), [])
      assert.deepStrictEqual(yield* remembered, ["abc"])

      // The next pop after the delay erases the tombstone.
      yield* TestClock.adjust("61 seconds")
      yield* pop(yield* list(), [])
      assert.deepStrictEqual(yield* remembered, [])

      yield* add(["abc"], { value: "new" })
      const reborn = yield* list()
      assert.deepStrictEqual(values(reborn), ["abc=new"])
      assert.deepStrictEqual(yield* pop(reborn, ["abc"]), ["abc"])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("is replaced when it is added again while it waits", () =>
    Effect.gen(function*() {
      yield* add(["a"], { value: "old" })
      yield* add(["a"], { value: "new" })

      assert.deepStrictEqual(values(yield* list()), ["a=new"])
    }).pipe(Effect.provide(world)))

  it.effect("is removed by `remove`, whatever it is by then, without a tombstone", () =>
    Effect.gen(function*() {
      yield* add(["abc", "def", "ghi"])
      yield* add(["abc"], { value: "newer" })

      yield* DsSet.remove(set, ["def", "abc", "missing", "abc"])

      assert.deepStrictEqual(shown(yield* list()), { items: ["ghi"], garbage: [] })
      assert.deepStrictEqual(yield* remembered, [])
      yield* add(["abc"])
      assert.deepStrictEqual(shown(yield* list()).items, ["abc", "ghi"])
    }).pipe(Effect.provide(world)))

  it.effect("is removed together with more than 500 others, 500 per commit", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const ids = Array.from({ length: 1_001 }, (_, n) => `id${n}`)
      yield* add(ids)

      const [, report] = yield* recorder.during(DsSet.remove(set, ids))

      const sizes = report.operations.map(({ call }) => Recorder.keysOf(call).length)
      assert.deepStrictEqual(sizes.toSorted((x, y) => x - y), [1, 500, 500])
      assert.deepStrictEqual(yield* storedItems(set.parent), [])
      const [, nothing] = yield* recorder.during(DsSet.remove(set, []))
      assert.deepStrictEqual(nothing.operations, [])
    }).pipe(Effect.provide(world)))

  it.effect("added in a transaction exists if and only if the transaction commits", () =>
    Effect.gen(function*() {
      yield* Effect.flip(Datastore.withTransaction(Effect.andThen(add(["a"]), Effect.fail("no"))))
      assert.deepStrictEqual(shown(yield* list()).items, [])

      yield* Datastore.withTransaction(add(["a"]))
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("carries its value, time and trace", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("7 seconds")
      const trace = "00-11111111111111111111111111111111-2222222222222222-01"
      yield* DsSet.add(set, [
        { id: "a", value: Uint8Array.from([1, 2]), atMillis: 5, trace },
        { id: "b", value: new Uint8Array(0) }
      ])

      const { items } = yield* list()

      assert.deepStrictEqual(
        items.map(({ atMillis, id, trace, value }) => [id, Array.from(value), atMillis, trace]),
        [["a", [1, 2], 5, trace], ["b", [], 7_000, undefined]]
      )
    }).pipe(Effect.provide(world)))
})

describe("E2: an id is popped at most once while its tombstone lives", () => {
  it.effect("pop is true once, and false for what the listing does not hold", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      const listing = yield* list()

      const seen = yield* Datastore.withTransaction(Effect.gen(function*() {
        const op = yield* DsSet.beginPop(set, listing)
        const answers = [op.canPop("a"), op.pop("a"), op.canPop("a"), op.pop("a"), op.canPop("c"), op.pop("c")]
        yield* DsSet.finishPop(op)
        return [...answers, op.canPop("b")]
      }))

      assert.deepStrictEqual(seen, [true, true, false, false, false, false, false])
    }).pipe(Effect.provide(world)))

  it.effect("an item that is added again after its pop is garbage, and is not popped again", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* popAndRepeat(["a"])

      const listing = yield* list()

      assert.deepStrictEqual(shown(listing), { items: ["b"], garbage: ["a"] })
      assert.deepStrictEqual(yield* pop(listing, ["a", "b"]), ["b"])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("of two pops of one listing the second is contention, and its transaction writes nothing", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      const listing = yield* list()
      yield* pop(listing, ["a"])

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        const op = yield* DsSet.beginPop(set, listing)
        op.pop("a")
        yield* Datastore.put([Entity.make(Key.make("K", 1), {})])
        yield* DsSet.finishPop(op)
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.include(error.message, "Parent,\"parent\"/dsset.Tombstones,1 was changed by another writer")
      assert.isTrue(Option.isNone(yield* Datastore.get(Key.make("K", 1))))
    }).pipe(Effect.provide(world)))
})

describe("E7: the head is written by every pop, expecting the snapshot that the listing saw", () => {
  it.effect("a pop of nothing is contention for a listing from before it", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      const listing = yield* list()
      yield* pop(yield* list(), [])

      const error = yield* Effect.flip(pop(listing, ["a"]))

      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("the first pop of all expects that there is no head", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      const [one, two] = [yield* list(), yield* list()]

      yield* pop(one, ["a"])

      assert.strictEqual((yield* Effect.flip(pop(two, ["a"])))._tag, "ContentionError")
    }).pipe(Effect.provide(world)))

  it.effect("a transaction that read a newer head than the listing is contention at once", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      const listing = yield* list()
      yield* pop(yield* list(), ["a"])
      let began = false

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.get(headKey)
        yield* DsSet.beginPop(set, listing)
        began = true
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.isFalse(began)
    }).pipe(Effect.provide(world)))

  it.effect("every pop carries a token of its own, so that it changes the head even when it pops nothing", () =>
    Effect.gen(function*() {
      yield* pop(yield* list(), [])
      yield* pop(yield* list(), [])

      const { tombstones } = yield* list()

      assert.strictEqual(new Set(tombstones.pops.map(tokenOf)).size, 2)
    }).pipe(Effect.provide(world)))
})

describe("E4: a tombstone is erased only after its item is gone", () => {
  it.effect("one that expired stays while its item is stored", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* popAndRepeat(["a"])
      yield* TestClock.adjust("2 minutes")

      yield* pop(yield* list(), ["b"])

      assert.deepStrictEqual((yield* remembered).toSorted(), ["a", "b"])
      assert.deepStrictEqual(shown(yield* list()).items, [])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("one that expired is erased by the pop after the garbage was seen to be gone", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      yield* popAndRepeat(["a"])
      yield* TestClock.adjust("2 minutes")
      const listing = yield* list()
      yield* DsSet.cleanupGarbage(listing.garbage)

      // The listing saw the item, although it is gone by now.
      yield* pop(listing, [])
      assert.deepStrictEqual(yield* remembered, ["a"])

      yield* pop(yield* list(), [])
      assert.deepStrictEqual(yield* remembered, [])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("one out of the range of a truncated listing stays, and one inside it goes", () =>
    Effect.gen(function*() {
      yield* add(["a", "m", "z"])
      yield* pop(yield* list(), ["a", "z"])
      yield* settle
      yield* add(["b", "c", "d"])
      yield* TestClock.adjust("2 minutes")

      const listing = yield* list(2)
      assert.deepStrictEqual(shown(listing).items, ["b", "c"])
      yield* pop(listing, [])

      assert.deepStrictEqual(yield* remembered, ["z"])
    }).pipe(withMinute, Effect.provide(world)))

  // LUCI's window: the leftover item of an expired tombstone lies behind the end of a truncated listing.
  it.effect("an item behind the end of a truncated listing does not come back", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "z"])
      yield* popAndRepeat(["z"])
      yield* TestClock.adjust("2 minutes")

      yield* pop(yield* list(1), ["a"])
      yield* settle

      assert.deepStrictEqual(shown(yield* list()).garbage, ["z"])
      assert.notInclude(shown(yield* list()).items, "z")
    }).pipe(withMinute, Effect.provide(world)))

  // The age must be that of the moment before the reads are sent: a retried addition may land between them and a later
  // clock reading, unseen by the listing, and would come back once its tombstone is gone.
  it.effect("a tombstone that expires while the listing is under way stays", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      yield* pop(yield* list(), ["a"])
      yield* settle
      yield* TestClock.adjust("59 seconds")
      const lateRetry = Effect.orDie(add(["a"], { atMillis: 0 }))
      yield* faulty.inject(
        "query",
        Faulty.around({
          after: Effect.andThen(
            Effect.asVoid(TestClock.adjust("5 seconds")),
            Effect.provideContext(lateRetry, yield* Effect.context<Datastore.Datastore>())
          )
        })
      )

      const listing = yield* list()
      assert.deepStrictEqual(shown(listing), { items: [], garbage: [] })
      yield* pop(listing, [])

      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: ["a"] })
    }).pipe(withMinute, Effect.provide(world)))
})

describe("the time of an addition", () => {
  it.effect("hides a late retry: first tried before the end of the window, however late it lands", () =>
    Effect.gen(function*() {
      yield* add(["a"], { atMillis: 0 })
      yield* popAndRepeat(["a"])
      yield* TestClock.adjust("10 minutes")
      yield* add(["a"], { atMillis: 0 })

      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: ["a"] })
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("shows an id that is reused after the window as a new item, beside its old tombstone", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      yield* pop(yield* list(), ["a"])
      yield* settle
      yield* TestClock.adjust("60 seconds")
      yield* add(["a"], { value: "still a retry" })
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: ["a"] })

      yield* TestClock.adjust("1 millis")
      yield* add(["a"], { value: "new" })

      const listing = yield* list()
      assert.deepStrictEqual(values(listing), ["a=new"])
      assert.deepStrictEqual(listing.tombstones.pops.flatMap(idsOf), ["a"])
      assert.deepStrictEqual(yield* pop(listing, ["a"]), ["a"])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("is judged by the delay of the fiber that lists", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      yield* pop(yield* list(), ["a"])
      yield* settle
      yield* TestClock.adjust("2 minutes")
      yield* add(["a"])

      const short = yield* withMinute(list())
      const long = yield* list()

      assert.deepStrictEqual([shown(short).items, shown(long).items], [["a"], []])
    }).pipe(Effect.provide(world)))

  it.effect("a reused id is hidden by its newest tombstone", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      yield* pop(yield* list(), ["a"])
      yield* settle
      yield* TestClock.adjust("61 seconds")
      yield* add(["a"])
      yield* pop(yield* list(), ["a"])
      yield* settle
      yield* TestClock.adjust("30 seconds")
      yield* add(["a"])

      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: ["a"] })
    }).pipe(withMinute, Effect.provide(world)))
})

describe("a delete of garbage never removes a newer item with the same id", () => {
  it.effect("when garbage is cleaned up late", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* popAndRepeat(["a", "b"])
      const { garbage } = yield* list()
      yield* TestClock.adjust("2 minutes")
      yield* add(["a"], { value: "new" })

      yield* DsSet.cleanupGarbage(garbage)

      assert.deepStrictEqual(garbage.ids, ["a", "b"])
      assert.deepStrictEqual(yield* storedItems(set.parent), ["a"])
      assert.deepStrictEqual(values(yield* list()), ["a=new"])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("and what is gone already is no failure", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* popAndRepeat(["a", "b"])
      const { garbage } = yield* list()

      yield* DsSet.cleanupGarbage(garbage, garbage.ids.length > 5 ? garbage : { ...garbage, snapshots: [] })
      yield* DsSet.cleanupGarbage(garbage)

      assert.deepStrictEqual(yield* storedItems(set.parent), [])
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("deletes that fail are tried again, five times in all, and then stay garbage", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      yield* add(["a"])
      yield* popAndRepeat(["a"])
      const { garbage } = yield* list()
      yield* recorder.reset
      for (let n = 0; n < 5; n++) yield* faulty.inject("commit", Faulty.requestLost)

      const fiber = yield* Effect.forkChild(Effect.flip(DsSet.cleanupGarbage(garbage)))
      for (let n = 0; n < 5; n++) {
        yield* settle
        yield* TestClock.adjust("2 seconds")
      }
      const error = fiber.pollUnsafe()

      assert.isTrue(error !== undefined && Exit.isSuccess(error) && error.value.reason._tag === "OutcomeUnknown")
      assert.strictEqual(operationsOf(yield* recorder.report).filter((name) => name === "commit").length, 5)
      assert.deepStrictEqual(shown(yield* list()).garbage, ["a"])
      yield* DsSet.cleanupGarbage(garbage)
      assert.deepStrictEqual(yield* storedItems(set.parent), [])
    }).pipe(withMinute, Effect.provide(world)))
})

describe("E8: no stored entity exceeds 900 KiB", () => {
  it.effect("an item above it is refused before any RPC, with those beside it", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const value = new Uint8Array(DsSet.maxEntityBytes)

      const [error, report] = yield* recorder.during(Effect.flip(
        DsSet.add(set, [{ id: "small", value: new Uint8Array(1) }, { id: "big", value }])
      ))

      assert.strictEqual(error.reason._tag, "InvalidArgument")
      assert.match(error.message, /item "big": an item has at most 921600 bytes, this one has 9216\d\d/)
      assert.deepStrictEqual(report.operations, [])
    }).pipe(Effect.provide(world)))

  it.effect("an item just below it is stored", () =>
    Effect.gen(function*() {
      yield* DsSet.add(set, [{ id: "a", value: new Uint8Array(DsSet.maxEntityBytes - 200) }])

      assert.lengthOf((yield* list()).items, 1)
    }).pipe(Effect.provide(world)))

  it.effect("a head that would exceed it is ResourceExhausted with advice, and nothing is popped", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 400 }, (_, n) => `${n}${"x".repeat(1_400)}`)
      yield* add(ids)
      yield* pop(yield* list(), ids)
      yield* settle
      yield* add(ids.map((id) => `y${id}`))

      const error = yield* Effect.flip(pop(yield* list()))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "ResourceExhausted")
      assert.isTrue(error.isRetryable)
      assert.match(
        error.message,
        /DsSet\.finishPop of Parent,"parent"\/dsset\.Tombstones,1 failed: a quota or size limit/
      )
      assert.match(error.message, /would have 11\d{5} bytes, the limit is 921600; pop less often or less at a time/)
      assert.lengthOf((yield* list()).items, 400)
      // Once the tombstones have expired there is room again.
      yield* TestClock.adjust("61 seconds")
      assert.lengthOf(yield* pop(yield* list()), 400)
    }).pipe(withMinute, Effect.provideService(MaxHeadBytes, 10_000_000), Effect.provide(world)))

  it.effect("additions are split by bytes as well as by count", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const items = (count: number, bytes: number) =>
        Array.from({ length: count }, (_, n) => ({ id: `${bytes}-${n}`, value: new Uint8Array(bytes) }))

      const [, byCount] = yield* recorder.during(DsSet.add(set, items(1_200, 1)))
      const [, byBytes] = yield* recorder.during(DsSet.add(set, items(25, 900_000)))

      const sizes = (report: Recorder.Report) => report.operations.map(({ call }) => Recorder.keysOf(call).length)
      assert.deepStrictEqual(sizes(byCount).toSorted((x, y) => x - y), [200, 500, 500])
      assert.deepStrictEqual(sizes(byBytes).toSorted((x, y) => x - y), [3, 11, 11])
      assert.lengthOf((yield* listAll(set)).items, 1_225)
    }).pipe(Effect.provide(world)))
})

describe("ids of items", () => {
  it.effect("that break the rules are refused before any RPC, by add and by remove", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      for (
        const [id, says] of [
          ["", "item \"\""],
          ["__x__", "item \"__x__\""],
          ["x".repeat(1_501), "1500 bytes"],
          ["\uD800", "surrogate"],
          ["\u{10FFFF}a", "an id does not start with U+10FFFF"]
        ] as const
      ) {
        const [errors, report] = yield* recorder.during(Effect.all([
          Effect.flip(add(["fine", id])),
          Effect.flip(DsSet.remove(set, ["fine", id]))
        ]))
        for (const error of errors) {
          assert.strictEqual(error.reason._tag, "InvalidArgument")
          assert.include(error.message, "Parent,\"parent\"")
          assert.include(error.message, says)
        }
        assert.deepStrictEqual(report.operations, [])
      }
    }).pipe(Effect.provide(world)))

  it.effect("of 1,500 bytes and of any text are kept", () =>
    Effect.gen(function*() {
      const ids = ["x".repeat(1_500), "ü".repeat(750), "\u{10FFFE}", "\uFF5E", "\u{1F600}", "a/b,\"c\"", "1", " "]
      yield* add(ids)

      const listing = yield* list()
      assert.sameMembers(shown(listing).items, ids)
      assert.sameMembers(yield* pop(listing), ids)
      yield* settle

      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(Effect.provide(world)))
})

describe("several sets", () => {
  const [one, two] = [DsSet.make({ parent: Key.make("P", 1) }), DsSet.make({ parent: Key.make("P", 2) })]
  const value = new Uint8Array(1)
  const listBoth = Effect.all([DsSet.list(one, { maxItems: 9 }), DsSet.list(two, { maxItems: 9 })])
  const left = Effect.map(listBoth, (listings) => listings.map(({ items }) => items.length))

  const popBoth = <E>(listings: readonly [DsSet.Listing, DsSet.Listing], end: Effect.Effect<unknown, E>) =>
    Datastore.withTransaction(Effect.gen(function*() {
      const first = yield* DsSet.beginPop(one, listings[0])
      const second = yield* DsSet.beginPop(two, listings[1])
      assert.deepStrictEqual([first.pop("a"), second.pop("a")], [true, true])
      yield* DsSet.finishPop(first, second)
      yield* end
    }))

  it.effect("are popped in one transaction: all, or none", () =>
    Effect.gen(function*() {
      yield* DsSet.add(one, [{ id: "a", value }])
      yield* DsSet.add(two, [{ id: "a", value }])

      assert.strictEqual(yield* Effect.flip(popBoth(yield* listBoth, Effect.fail("no"))), "no")
      assert.deepStrictEqual(yield* left, [1, 1])

      const listings = yield* listBoth
      yield* pop(yield* DsSet.list(two, { maxItems: 9 }), [])
      const error = yield* Effect.flip(popBoth(listings, Effect.void))
      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(yield* left, [1, 1])

      yield* popBoth(yield* listBoth, Effect.void)
      yield* settle
      assert.deepStrictEqual(yield* left, [0, 0])
    }).pipe(Effect.provide(world)))
})

describe("a fight", () => {
  // Source of the facts: luci-go dsset_test.go, "stress". Every producer adds the same 100 ids, and wakes consumers so
  // that they meet; time stays inside one tombstones delay.
  it.effect("of three producers and five consumers over 100 ids pops each once, and misses none", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const wakes = yield* Queue.unbounded<"wake" | "done">()
      const consumed = yield* Ref.make<ReadonlyArray<string>>([])
      const lost = yield* Ref.make(0)
      const [producers, consumers, items] = [3, 5, 100]
      const produce = Effect.gen(function*() {
        for (let n = 0; n < items; n++) {
          yield* add([String(n)])
          yield* Queue.offerAll(wakes, ["wake", "wake", "wake"])
        }
      })
      const consume = Effect.gen(function*() {
        const listing = yield* list()
        if (listing.items.length === 0) return
        const exit = yield* Effect.exit(pop(listing))
        if (Exit.isSuccess(exit)) yield* Ref.update(consumed, (before) => [...before, ...exit.value])
        else yield* Ref.update(lost, (n) => n + 1)
        yield* Effect.ignore(DsSet.cleanupGarbage(listing.garbage))
      })
      const consumer = Effect.gen(function*() {
        while ((yield* Queue.take(wakes)) === "wake") yield* consume
        yield* consume
      })

      yield* Effect.all([
        Effect.andThen(
          Effect.all(Array.from({ length: producers }, () => produce), { concurrency: "unbounded", discard: true }),
          Queue.offerAll(wakes, Array.from({ length: consumers }, () => "done" as const))
        ),
        Effect.all(Array.from({ length: consumers }, () => consumer), { concurrency: "unbounded", discard: true })
      ], { concurrency: "unbounded", discard: true })
      // A consumer may have lost its last race: one more, alone.
      yield* consume

      const ids = yield* Ref.get(consumed)
      assert.strictEqual(ids.length, items)
      assert.strictEqual(new Set(ids).size, items)
      assert.isAbove(yield* Ref.get(lost), 0, "nobody fought")
      assert.isAbove((yield* recorder.report).operations.filter(({ call }) => writesHead(call)).length, 5)
    }).pipe(Effect.provide(world)))
})

describe("misuse of a set", () => {
  const inTransaction = <A, E>(body: Effect.Effect<A, E, Datastore.Datastore>) =>
    defectOf(Datastore.withTransaction(body))

  it.effect("list, remove and cleanupGarbage inside a transaction die", () =>
    Effect.gen(function*() {
      const { garbage } = yield* list()

      assert.deepStrictEqual(
        [
          yield* inTransaction(list()),
          yield* inTransaction(DsSet.remove(set, ["a"])),
          yield* inTransaction(DsSet.cleanupGarbage(garbage))
        ],
        [
          "DsSet.list cannot be used inside a transaction: list before it, and give the listing to `beginPop` inside",
          "DsSet.remove cannot be used inside a transaction: remove before or after it, or pop inside",
          "DsSet.cleanupGarbage cannot be used inside a transaction: clean up before or after it"
        ]
      )
    }).pipe(Effect.provide(world)))

  it.effect("a maxItems that is not a positive integer dies", () =>
    Effect.gen(function*() {
      for (const maxItems of [0, -3, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.strictEqual(
          yield* defectOf(list(maxItems)),
          `DsSet.list: maxItems is a positive integer, got ${maxItems}`
        )
      }
    }).pipe(Effect.provide(world)))

  const withPop = (use: (op: DsSet.PopOp, listing: DsSet.Listing) => ReturnType<typeof DsSet.finishPop>) =>
    Effect.gen(function*() {
      yield* add(["a"])
      const listing = yield* list()
      const message = yield* defectOf(Datastore.withTransaction(
        Effect.flatMap(DsSet.beginPop(set, listing), (op) => use(op, listing))
      ))
      // Whatever was done wrong, nothing was popped.
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
      return message
    })

  it.effect("beginPop twice, of one set in one transaction, dies, also after finishPop", () =>
    Effect.gen(function*() {
      const again = (_: DsSet.PopOp, listing: DsSet.Listing) =>
        Effect.orDie(Effect.asVoid(DsSet.beginPop(set, listing)))
      const messages = [
        yield* withPop(again),
        yield* withPop((op, listing) => Effect.andThen(DsSet.finishPop(op), again(op, listing)))
      ]

      const message = "DsSet.beginPop: Parent,\"parent\" is already being popped in this transaction"
      assert.deepStrictEqual(messages, [message, message])
    }).pipe(Effect.provide(world)))

  it.effect("a listing of another set dies, naming both", () =>
    Effect.gen(function*() {
      const listing = yield* list()
      const other = DsSet.make({ parent: Key.make("Parent", "other") })

      assert.strictEqual(
        yield* defectOf(Datastore.withTransaction(DsSet.beginPop(other, listing))),
        "DsSet.beginPop: the listing is of Parent,\"parent\", the set is of Parent,\"other\""
      )
    }).pipe(Effect.provide(world)))

  it.effect("finishPop twice dies", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* withPop((op) => Effect.andThen(DsSet.finishPop(op), DsSet.finishPop(op))),
        "DsSet.finishPop: the pop of Parent,\"parent\" was finished before"
      )
    }).pipe(Effect.provide(world)))

  it.effect("finishPop in another transaction than beginPop dies", () =>
    Effect.gen(function*() {
      let leaked: DsSet.PopOp | undefined
      yield* withPop((op) => {
        leaked = op
        return Effect.void
      })

      assert.strictEqual(
        yield* defectOf(Datastore.withTransaction(DsSet.finishPop(leaked!))),
        "DsSet.finishPop: the pop was begun in another transaction"
      )
    }).pipe(Effect.provide(world)))

  it.effect("a pop that is not finished dies at the end of the transaction, and nothing is written", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* withPop((op) => Effect.asVoid(Effect.sync(() => op.pop("a")))),
        "DsSet.beginPop of Parent,\"parent\" without DsSet.finishPop: nothing would be popped"
      )
    }).pipe(Effect.provide(world)))

  it.effect("pop after finishPop dies, naming the id", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* withPop((op) => Effect.andThen(DsSet.finishPop(op), Effect.asVoid(Effect.sync(() => op.pop("a"))))),
        "DsSet: pop of \"a\" after finishPop"
      )
    }).pipe(Effect.provide(world)))

  it.effect("beginPop and finishPop by a fiber that outlived the transaction die", () =>
    Effect.gen(function*() {
      const listing = yield* list()
      const late = yield* Datastore.withTransaction(Effect.gen(function*() {
        const context = yield* Effect.context<never>()
        return Effect.provideContext(defectOf(DsSet.beginPop(set, listing) as Effect.Effect<unknown>), context)
      }))

      assert.include(yield* late, "The transaction has ended")
    }).pipe(Effect.provide(world)))

  it.effect("a head that is not one of this library is Internal, naming it", () =>
    Effect.gen(function*() {
      for (const Pops of [Uint8Array.from([9]), "text", null]) {
        yield* Datastore.put([Entity.make(headKey, { Pops })])
        const error = yield* Effect.flip(list())
        assert.strictEqual(error.reason._tag, "Internal")
        assert.include(error.message, "of Parent,\"parent\"/dsset.Tombstones,1 failed")
        assert.include(error.message, "written by a newer version of the library, or by something else")
      }
    }).pipe(Effect.provide(world)))

  it.effect("the delay is five minutes unless overridden", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* DsSet.TombstonesDelay, Duration.minutes(5))
    }))
})
