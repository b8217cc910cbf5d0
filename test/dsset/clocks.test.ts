import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import { popTime } from "../../src/dsset/format/tombstones.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { Journal, journal } from "../utils/boxJournal.ts"
import { add, list, pop, shown, withMinute } from "../utils/boxSet.ts"
import { defectOf, inTime, otherProcess, world, writesHead } from "../utils/boxWorld.ts"

const minute = 60_000

/** Runs an effect on a machine whose clock is ahead, or behind. */
const ahead = (millis: number) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) =>
    Effect.provideService(effect, Clock.Clock, {
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + millis,
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis),
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(millis) * BigInt(1_000_000),
      currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + BigInt(millis) * BigInt(1_000_000)),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    })
  )

const popAll = Effect.flatMap(list(), (listing) => pop(listing))

/** What is popped when one addition by a clock that is off is consumed, and then lands again. */
const popsOfOne = (emitterAheadMillis: number, workerAheadMillis: number, retryAfter: Duration.Input) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(1_000 * minute)
    const atMillis = yield* ahead(emitterAheadMillis)(Clock.currentTimeMillis)
    const worker = ahead(workerAheadMillis)(popAll)
    yield* add(["a"], { atMillis })
    const first = yield* worker
    yield* TestClock.adjust(retryAfter)
    yield* add(["a"], { atMillis })
    return [...first, ...yield* worker, ...yield* worker]
  }).pipe(withMinute, Effect.provide(world))

describe("the time of a pop", () => {
  it("is that of the worker, or of the newest addition, but at most one delay ahead of the worker", () => {
    const table = [
      [100, 0, 100],
      [100, 100, 100],
      [100, 101, 101],
      [100, 110, 110],
      [100, 111, 110],
      [100, Number.MAX_SAFE_INTEGER, 110]
    ] as const
    for (const [now, newest, expected] of table) assert.strictEqual(popTime(now, newest, 10), expected)
  })
})

// P3. The response of an addition was lost, it is consumed, and then the retry lands, within the delay.
describe("an addition whose response was lost is popped once", () => {
  for (const emitterAhead of [-2, 0, 0.9, 1.1, 2]) {
    it.effect(`when the clock of whoever added it is ${emitterAhead} delays ahead`, () =>
      Effect.gen(function*() {
        for (const retryAfter of ["0 seconds", "30 seconds", "60 seconds"] as const) {
          assert.deepStrictEqual(yield* popsOfOne(emitterAhead * minute, 0, retryAfter), ["a"], retryAfter)
        }
      }))
  }

  for (const workerAhead of [-2, -1.1, -0.9, 0.9]) {
    it.effect(`when the clock of the worker is ${workerAhead} delays ahead, and that of whoever added it is right`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* popsOfOne(0, workerAhead * minute, "0 seconds"), ["a"])
      }))
  }

  // What guarantees.md says of clocks: the addition comes from beyond what the worker takes for a possible future.
  it.effect("but twice when the clock of whoever added it is more than two delays ahead of the worker's", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* popsOfOne(2.1 * minute, 0, "0 seconds"), ["a", "a"])
    }))
})

describe("a clock that is years ahead", () => {
  const years = 20 * 365 * 24 * 60 * minute

  it.effect("of whoever adds keeps its tombstones for two delays at most", () =>
    Effect.gen(function*() {
      yield* ahead(years)(add(["a"]))
      yield* popAll
      yield* TestClock.adjust("2 minutes")
      yield* TestClock.adjust("1 millis")

      yield* popAll

      assert.deepStrictEqual((yield* list()).tombstones.pops.length, 1, "only the last one, of nothing")
    }).pipe(withMinute, Effect.provide(world)))

  // The tombstones that it writes itself do stay, since they are from years ahead of all others; they hide nothing new.
  it.effect("of a worker hides no id that is new", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* ahead(years)(Effect.flatMap(list(), (listing) => pop(listing, ["a"])))
      yield* add(["c"])

      assert.deepStrictEqual(yield* popAll, ["b", "c"])
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(withMinute, Effect.provide(world)))
})

// P5. What another worker erases because its clock is ahead must not make a landed commit look lost.
describe("a commit whose response was lost is found to have landed", () => {
  const isFound = (others: number) =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      const eraser = popAll.pipe(ahead(60 * minute), Effect.provideService(Datastore.Datastore, other), Effect.orDie)
      yield* add(["a"])
      const listing = yield* list()
      yield* faulty.inject("commit", Faulty.responseLost, { where: writesHead })
      yield* faulty.inject("lookup", Faulty.around({ before: Effect.asVoid(Effect.replicateEffect(eraser, others)) }), {
        where: (call) => Recorder.kindsOf(call).includes("dsset.Tombstones")
      })
      return Exit.isSuccess(yield* Effect.exit(inTime(pop(listing, ["a"]))))
    }).pipe(withMinute, Effect.provide(world))

  it.effect("also after 31 pops by a worker that is ahead by more than the delay, and has erased its tombstone", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* isFound(3))
      assert.isTrue(yield* isFound(31))
    }))

  // What guarantees.md says of an eraser that is ahead: beyond the newest 32 a token is gone with its tombstone.
  it.effect("but not after more than these", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* isFound(32))
    }))
})

describe("a TombstonesDelay that is out of its limits", () => {
  const bad: ReadonlyArray<readonly [Duration.Duration, string]> = [
    [Duration.zero, "0 ms"],
    [Duration.millis(-1_000), "-1000 ms"],
    [Duration.millis(Number.NaN), "0 ms"],
    [Duration.infinity, "Infinity ms"],
    [Duration.millis(10), "10 ms"],
    [Duration.millis(999), "999 ms"],
    [Duration.days(31), "2678400000 ms"]
  ]

  it.effect("dies before any RPC, by list, by finishPop and by emit", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a"])
      const listing = yield* list()
      for (const [delay, says] of bad) {
        const withDelay = Effect.provideService(DsSet.TombstonesDelay, delay)
        const [messages, report] = yield* recorder.during(Effect.all([
          defectOf(withDelay(list())),
          defectOf(withDelay(pop(listing))),
          defectOf(withDelay(Eventbox.emit(Journal, journal, "x")))
        ]))

        const message = `TombstonesDelay is from 1 second to 30 days, got ${says}`
        assert.deepStrictEqual(messages, [message, message, message])
        assert.deepStrictEqual(report.operations, [])
      }
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("is not one of 1 second, nor of 30 days", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      for (const delay of [Duration.seconds(1), Duration.days(30)]) {
        const popped = Effect.flatMap(list(1), (listing) => pop(listing))
        assert.lengthOf(yield* Effect.provideService(popped, DsSet.TombstonesDelay, delay), 1)
      }
    }).pipe(Effect.provide(world)))
})

describe("the clock of a set", () => {
  it.effect("is read before the reads of a listing are sent", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* TestClock.setTime(10 * minute)
      yield* faulty.inject("query", Faulty.around({ before: Effect.asVoid(TestClock.adjust("30 seconds")) }))

      assert.strictEqual((yield* list()).expiredBefore, 9 * minute)
    }).pipe(withMinute, Effect.provide(world)))
})
