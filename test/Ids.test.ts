import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import * as Ids from "../src/Ids.ts"

const draw = (count: number) =>
  Effect.flatMap(Ids.Ids, (ids) => Effect.all(Array.from({ length: count }, () => ids.next)))

/** The random bytes at the end of an id. */
const tail = (id: string): string => id.slice(-8)

describe("the ids in use", () => {
  // More of them than one pool of random bytes has room for; the clock stands still, so that a counter keeps the order.
  it.effect("are UUIDs of version 7 that ascend, each with random bytes of its own", () =>
    Effect.gen(function*() {
      const ids = yield* draw(1_000)

      for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.deepStrictEqual(ids, [...new Set(ids)].toSorted())
      // Of a thousand random numbers of 32 bits three are equal once in 20 million times.
      assert.isAtLeast(new Set(ids.map(tail)).size, 998)
    }))
})

describe("a seeded source", () => {
  const seeded = (seed: string) =>
    draw(20).pipe(
      Effect.provideServiceEffect(Ids.Ids, Ids.makeSeeded),
      Random.withSeed(seed)
    )

  it.effect("repeats itself under the same seed, and under no other", () =>
    Effect.gen(function*() {
      const [one, again, other] = yield* Effect.all([seeded("a"), seeded("a"), seeded("b")])

      assert.deepStrictEqual(one, again)
      assert.strictEqual(new Set([...one, ...other].map(tail)).size, 40)
    }))
})
