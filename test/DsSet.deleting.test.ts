import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as DsSet from "../src/DsSet.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { add, list, pop, set, shown } from "./utils/boxSet.ts"
import { isAboutItems, makeGate, settle, world } from "./utils/boxWorld.ts"

/** Holds the next commits that are about items; the gate lets them go on. */
const holdCommits = (count: number) =>
  Effect.gen(function*() {
    const faulty = yield* Faulty.Faulty
    const gate = yield* makeGate
    for (let n = 0; n < count; n++) {
      yield* faulty.inject("commit", Faulty.around({ before: gate.wait }), { where: isAboutItems })
    }
    return gate
  })

/** Keeps commits that are about items from landing. */
const loseCommits = (count: number) =>
  Effect.gen(function*() {
    const faulty = yield* Faulty.Faulty
    for (let n = 0; n < count; n++) yield* faulty.inject("commit", Faulty.requestLost, { where: isAboutItems })
  })

const ids = (count: number) => Array.from({ length: count }, (_, n) => `id${String(n).padStart(5, "0")}`)

/** Consumes the first items; their deletion takes so many commits. */
const popFirst = (count: number, deletes: number) =>
  Effect.gen(function*() {
    const listing = yield* list(count)
    const gate = yield* holdCommits(deletes)
    yield* pop(listing)
    yield* settle
    return gate
  })

describe("items that are being deleted, which a listing reads once more", () => {
  it.effect("are 1,000 at most beside a small listing: it waits for the deletion of more", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(ids(1_003))
      const gate = yield* popFirst(1_001, 3)

      const listing = yield* Effect.forkChild(list(10))
      yield* settle
      assert.isUndefined(listing.pollUnsafe())

      yield* gate.open
      const [found, { billed }] = yield* recorder.during(Fiber.join(listing))
      assert.deepStrictEqual(shown(found).items, ["id01001", "id01002"])
      // They are gone: it reads these two and the head.
      assert.isAtMost(billed.reads, 3)
    }).pipe(Effect.provide(world)))

  it.effect("are no reason to wait while they are fewer, nor beside a listing of as many", () =>
    Effect.gen(function*() {
      yield* add(ids(2_300))
      yield* popFirst(1_000, 2)
      assert.deepStrictEqual(shown(yield* list(10)).items, ids(1_010).slice(1_000))

      yield* popFirst(100, 1)
      assert.lengthOf((yield* list(1_100)).items, 1_100)
    }).pipe(Effect.provide(world)))

  it.effect("have 16 MiB at most beside any listing", () =>
    Effect.gen(function*() {
      const big = new Uint8Array(900_000)
      yield* DsSet.add(set, ids(21).map((id) => ({ id, value: big })))
      // 18 of them fit into 16 MiB.
      const first = yield* popFirst(18, 1)
      const second = yield* popFirst(2, 1)

      const listing = yield* Effect.forkChild(list(10))
      yield* settle
      assert.isUndefined(listing.pollUnsafe())

      yield* second.open
      yield* settle
      assert.deepStrictEqual(shown(yield* Fiber.join(listing)).items, ["id00020"])
      yield* first.open
    }).pipe(Effect.provide(world)))

  it.effect("hold up a listing until their deletion has failed for good, unless it is interrupted", () =>
    Effect.gen(function*() {
      yield* add(ids(1_102))
      const popped = yield* list(1_001)
      yield* loseCommits(15)
      yield* pop(popped)
      yield* settle

      const interrupted = yield* Effect.forkChild(list(10))
      const listing = yield* Effect.forkChild(list(10))
      yield* settle
      yield* Fiber.interrupt(interrupted)
      assert.isUndefined(listing.pollUnsafe())

      for (let n = 0; n < 5; n++) {
        yield* settle
        yield* TestClock.adjust("2 seconds")
      }
      const { garbage, items } = shown(yield* Fiber.join(listing))
      assert.lengthOf(items, 10)
      assert.lengthOf(garbage, 1_001)
    }).pipe(Effect.provide(world)))
})
