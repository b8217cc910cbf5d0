import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { isLong } from "../utils/explore.ts"
import { Counter, counter, makeMetered, type Metered, second } from "../utils/minutes.ts"

/*
 * One recipient at a high rate for a long time, in virtual time: what a batch costs does not grow with the minutes.
 * The short run has a tombstones delay of 20 seconds in place of five minutes, and as many delays.
 */
const run = (options: {
  readonly seconds: number
  readonly delay: Duration.Input
  readonly perSecond: number
  readonly maxEvents: number
}) =>
  Effect.gen(function*() {
    const { maxEvents, perSecond, seconds } = options
    const { datastore, take } = yield* makeMetered
    const bySecond: Array<Metered> = []
    yield* Effect.gen(function*() {
      for (let at = 0; at < seconds; at++) {
        yield* second(at * perSecond, perSecond, maxEvents)
        bySecond.push(yield* take)
        yield* TestClock.adjust("1 second")
      }
      // A batch of as many events as there are may leave some to the next one.
      yield* Eventbox.drain(Counter, counter)
      const { state } = yield* Eventbox.loadState(Counter, counter)
      const total = seconds * perSecond
      assert.deepStrictEqual(state, { count: total, sum: total * (total - 1) / 2 }, "nothing lost, nothing doubled")
      assert.deepStrictEqual(yield* Eventbox.list(Counter, counter), [])
      yield* TestClock.adjust(Duration.sum(Duration.fromInputUnsafe(options.delay), Duration.seconds(1)))
      for (let n = 0; n < 1 + seconds * perSecond / 16_000 / 200; n++) {
        // A listing that is complete shows that the items of all pages are gone.
        yield* second(0, 1, 2)
      }
      const pages = yield* Datastore.query({ kind: "dsset.TombstonesPage", keysOnly: true })
      assert.isAtMost(pages.results.length, 1, "pages disappear after their time")
    }).pipe(
      Effect.provideService(Datastore.Datastore, datastore),
      Effect.provideService(DsSet.TombstonesDelay, Duration.fromInputUnsafe(options.delay)),
      Effect.provide(Counter.layer)
    )
    return bySecond
  })

/** Mean overhead of a second in a part of a run, in bytes. */
const overhead = (seconds: ReadonlyArray<Metered>) =>
  seconds.reduce((sum, { overheadBytes }) => sum + overheadBytes, 0) / seconds.length

const largest = (seconds: ReadonlyArray<Metered>, name: "largestHeadBytes" | "largestBytes") =>
  Math.max(...seconds.map((one) => one[name]))

const delays = { short: { delay: "20 seconds", unit: 4 }, long: { delay: "5 minutes", unit: 60 } } as const

for (const maxEvents of [1_000, 50]) {
  describe(`one recipient at 1,000 events per second, in batches of ${maxEvents}`, () => {
    const { delay, unit } = isLong ? delays.long : delays.short

    // A minute is a fifth of the delay. Kills: pops that never move; pages that are never erased.
    it.effect(
      "costs in minute 15 what it cost in minute 3, and no entity comes near 900 KiB",
      () =>
        Effect.gen(function*() {
          const seconds = yield* run({ seconds: 15 * unit, delay, perSecond: 1_000, maxEvents })
          const minute = (number: number) => overhead(seconds.slice((number - 1) * unit, number * unit))

          const ratio = minute(15) / minute(3)
          console.log(
            `tombstones in batches of ${maxEvents}: ${Math.round(minute(3))} bytes per second in minute 3, ` +
              `${Math.round(minute(15))} in minute 15, ratio ${ratio.toFixed(2)}; head up to ` +
              `${largest(seconds, "largestHeadBytes")} bytes`
          )
          assert.isAtMost(ratio, 1.2)
          // 16 KiB of pops and directory, and the tokens of the last 32 commits with the owner.
          assert.isAtMost(largest(seconds, "largestHeadBytes"), 17 * 1_024)
          assert.isAtMost(largest(seconds, "largestBytes"), 100_000)
        }),
      1_200_000
    )
  })
}

describe("the layout of LUCI's eventbox", () => {
  // All tombstones of the last five minutes in one entity, about 65 bytes each: a text id and a time.
  it.effect("fails after about 16,000 events in five minutes, and every batch costs more than the one before", () =>
    Effect.gen(function*() {
      const key = Key.make("LuciTombstones", 1)
      const popped: Array<Entity.Value> = []
      const sizes: Array<number> = []
      const attempt = Effect.gen(function*() {
        for (let n = 0; n < 200; n++) {
          popped.push(
            `${String(popped.length).padStart(8, "0")}-0000-4000-8000-000000000000 2026-11-25T00:00:00.000000Z`
          )
        }
        const entity = Entity.make(key, { Tombstones: [...popped] }, { unindexed: "all" })
        sizes.push(Entity.sizeBytes(entity))
        yield* Datastore.put([entity])
      })

      const error = yield* Effect.flip(Effect.forever(attempt))

      assert.strictEqual(error.reason._tag, "InvalidArgument")
      assert.isAtLeast(popped.length, 14_000)
      assert.isAtMost(popped.length, 18_000)
      assert.isAbove(sizes[sizes.length - 1]! / sizes[0]!, 60)
      assert.isTrue(
        Option.isSome(yield* Datastore.get(key)),
        "what was there before stays, and no batch lands any more"
      )
    }).pipe(Effect.provide(InMemory.layer)))
})
