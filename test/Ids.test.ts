import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Ids from "../src/Ids.ts"

const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const draw = (count: number) => Effect.flatMap(Ids.Ids, (ids) => Effect.replicateEffect(ids.next, count))

describe("ids", () => {
  it.effect("are UUIDs of version 7 that never repeat", () =>
    Effect.gen(function*() {
      // Beyond the pool of random bytes, several times.
      const ids = yield* draw(2_000)

      assert.isTrue(ids.every((id) => uuidV7.test(id)))
      assert.strictEqual(new Set(ids).size, 2_000)
      // A counter alone would make them differ here; what keeps two sources apart are 32 fresh bits in each.
      assert.isAbove(new Set(ids.map((id) => id.slice(-8))).size, 1_900)
    }))

  it.effect("sort in the order in which they were drawn, within a millisecond and over time", () =>
    Effect.gen(function*() {
      const ids = [...yield* draw(300)]
      yield* TestClock.adjust("1 millis")
      ids.push(...yield* draw(300))
      yield* TestClock.adjust("300 days")
      ids.push(...yield* draw(300))

      assert.deepStrictEqual(ids.toSorted(), ids)
    }))

  it.effect("hold the time of the Clock", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)

      // The source of the process may have given later ones to other tests, behind which it does not go back.
      const [id] = yield* Effect.provideServiceEffect(draw(1), Ids.Ids, Ids.makeSeeded)

      assert.strictEqual(Number.parseInt(id!.replaceAll("-", "").slice(0, 12), 16), 1_700_000_000_000)
    }))

  it.effect("are the same again from a source with the same seed, and others with another one", () =>
    Effect.gen(function*() {
      const seeded = (seed: string) =>
        draw(5).pipe(Effect.provideServiceEffect(Ids.Ids, Random.withSeed(Ids.makeSeeded, seed)))

      const [first, again, other] = yield* Effect.all([seeded("a"), seeded("a"), seeded("b")])

      assert.deepStrictEqual(first, again)
      assert.notDeepEqual(first, other)
      assert.isTrue(first.every((id) => uuidV7.test(id)))
    }))

  it.effect("of a seeded source sort in the order in which they were drawn", () =>
    Effect.gen(function*() {
      const ids = yield* draw(200).pipe(Effect.provideServiceEffect(Ids.Ids, Ids.makeSeeded))

      assert.deepStrictEqual(ids.toSorted(), ids)
    }))
})
