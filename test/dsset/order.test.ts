import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import { placeOf, recall } from "../../src/dsset/memory.ts"
import type { Cursor } from "../../src/dsset/sweep.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { Faulty } from "../../src/testing/index.ts"
import { add, list, pop, set, shown } from "../utils/boxSet.ts"
import { world } from "../utils/boxWorld.ts"

/** A UUIDv7 of a time. */
const uuid = (millis: number) => {
  const time = millis.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`
}

interface Load {
  /** Makes one more id, given a number that grows and the last id that was listed. */
  readonly nextId: (n: number, last: string) => Effect.Effect<string>
  readonly waiting: number
  /** Ids that wait from the beginning on as well. */
  readonly beside?: ReadonlyArray<string>
  readonly batch: number
  readonly listings: number
  /** What becomes of a listing: all of it is popped, unless told otherwise. */
  readonly consume?: (listing: DsSet.Listing, n: number) => ReadonlyArray<string> | "rewind"
  readonly cursor?: Cursor
}

/**
 * As many arrive as are consumed. Whatever waits must be offered within 4 times as many listings as would have emptied
 * the set when it came, and 20. Returns the ids that wait in the end.
 */
const run = (load: Load) =>
  Effect.gen(function*() {
    const { batch, consume = shownItems, cursor } = load
    const dueAt = new Map<string, number>()
    const waiting = new Set<string>()
    let [made, last] = [0, ""]
    const arrive = (ids: ReadonlyArray<string>, n: number) =>
      Effect.gen(function*() {
        yield* add(ids)
        for (const id of ids) waiting.add(id)
        for (const id of ids) dueAt.set(id, n + 4 * waiting.size / batch + 20)
      })
    const make = (count: number) => Effect.replicateEffect(Effect.suspend(() => load.nextId(made++, last)), count)
    yield* arrive([...load.beside ?? [], ...yield* make(load.waiting)], 0)
    for (let n = 1; n <= load.listings; n++) {
      const listing = yield* DsSet.list(set, { maxItems: batch, cursor })
      last = listing.items[listing.items.length - 1]?.id ?? last
      for (const { id } of listing.items) dueAt.delete(id)
      for (const [id, due] of dueAt) assert.isAtMost(n, due, `${id} was not offered`)
      const consumed = consume(listing, n)
      if (consumed === "rewind") listing.rewind()
      else for (const id of yield* pop(listing, consumed)) waiting.delete(id)
      yield* arrive(yield* make(consumed === "rewind" ? 0 : consumed.length), n)
    }
    return waiting
  }).pipe(Random.withSeed("order"), Effect.provide(InMemory.layer))

const shownItems = (listing: DsSet.Listing) => shown(listing).items

const idsBy: Record<string, Load["nextId"]> = {
  "of the library": (n) => Effect.succeed(uuid(1_700_000_000_000 + n)),
  "that callers count": (n) => Effect.succeed(`order-${String(n).padStart(9, "0")}`),
  "that callers count, without zeros": (n) => Effect.succeed(`order-${n}`),
  "at random": () => Effect.map(Random.nextIntBetween(0, 2 ** 40), (n) => `order-${n.toString(36)}`),
  "in descending order": (n) => Effect.succeed(`order-${String(999_999_999 - n)}`),
  "just ahead of the position": (n, last) =>
    Effect.succeed(last.length > 1_400 ? `x${n}` : `${last}.${String(n).padStart(9, "0")}`)
}

/** Before and behind all others. */
const ends = ["!first", "zzz-last"]

describe("fair order: whatever waits is offered in its turn, with arrivals as fast as batches", () => {
  for (const [name, nextId] of Object.entries(idsBy)) {
    it.effect(`of ids ${name}`, () =>
      Effect.gen(function*() {
        const waiting = yield* run({ nextId, waiting: 200, beside: ends, batch: 20, listings: 100 })

        for (const id of ends) assert.isFalse(waiting.has(id), id)
      }))

    it.effect(`of ids ${name}, of which some are left where they are`, () =>
      run({
        nextId,
        waiting: 100,
        beside: [...ends, ...Array.from({ length: 60 }, (_, n) => `${n}-stays`)],
        batch: 20,
        listings: 100,
        consume: (listing) => shownItems(listing).filter((id, n) => !id.endsWith("stays") && n % 3 > 0)
      }))

    it.effect(`of ids ${name}, after failures that are tried again and others that are not`, () =>
      run({
        nextId,
        waiting: 100,
        beside: ends,
        batch: 20,
        listings: 100,
        consume: (listing, n) => n % 7 === 0 ? "rewind" : n % 5 === 0 ? [] : shownItems(listing)
      }))

    it.effect(`of ids ${name}, to whoever has a cursor of its own`, () =>
      run({ nextId, waiting: 200, beside: ends, batch: 20, listings: 100, cursor: { sweep: undefined } }))
  }

  it.effect("of a set that nothing was ever popped from, while more arrives in front of what waits", () =>
    Effect.gen(function*() {
      yield* add(Array.from({ length: 100 }, (_, n) => `b${String(n).padStart(3, "0")}`))
      const seen = new Set<string>()
      for (let n = 0; n < 100; n++) {
        yield* add(Array.from({ length: 5 }, (_, more) => `a${String(n * 5 + more).padStart(3, "0")}`))
        for (const id of shown(yield* list(5)).items) seen.add(id)
      }

      assert.strictEqual(Array.from(seen).filter((id) => id.startsWith("b")).length, 100)
    }).pipe(Effect.provide(InMemory.layer)))
})

describe("the position of a set", () => {
  const items = Effect.map(list(2), (listing) => shown(listing).items.join(""))

  it.effect("is neither used nor moved by a cursor of its own, which does not wrap around", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])
      const cursor: Cursor = { sweep: undefined }
      const own = Effect.map(DsSet.list(set, { maxItems: 2, cursor }), ({ items, reachedEnd, truncated }) => [
        items.map(({ id }) => id).join(""),
        reachedEnd,
        truncated
      ])

      assert.strictEqual(yield* items, "ab")
      assert.deepStrictEqual(yield* Effect.replicateEffect(own, 3), [["ab", false, true], ["cd", false, true], [
        "e",
        true,
        true
      ]])
      assert.strictEqual(yield* items, "cd")
      assert.deepStrictEqual(yield* own, ["ab", false, true], "the next sweep")
      yield* DsSet.remove(set, ["e"])
      assert.deepStrictEqual(yield* Effect.replicateEffect(own, 3), [["cd", false, true], ["", true, true], [
        "ab",
        false,
        true
      ]])
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("is neither used nor moved by a listing of a range", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])
      const range = (after: string | undefined, upTo: string | undefined, maxItems = 2) =>
        Effect.map(
          DsSet.list(set, { maxItems, range: { after, upTo } }),
          ({ items, reachedEnd, truncated }) => [items.map(({ id }) => id).join(""), reachedEnd, truncated]
        )

      assert.strictEqual(yield* items, "ab")
      assert.deepStrictEqual(yield* range(undefined, "d"), ["ab", false, true])
      assert.deepStrictEqual(yield* range("b", "d"), ["cd", false, true])
      assert.deepStrictEqual(yield* range("b", "d", 3), ["cd", true, false])
      assert.deepStrictEqual(yield* range("d", undefined), ["e", true, false])
      assert.deepStrictEqual(yield* range("e", undefined), ["", true, false], "no wrapping around")
      assert.strictEqual(yield* items, "cd")
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("goes back to where a listing began by its `rewind`, unless another listing has moved it since", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c", "d", "e"])
      yield* list(2)
      const second = yield* list(2)
      second.rewind()
      assert.strictEqual(yield* items, "cd")

      second.rewind()
      assert.strictEqual(yield* items, "e", "it was moved since")
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("goes back to the beginning by the `rewind` of a first listing, and nothing is remembered then", () =>
    Effect.gen(function*() {
      yield* add(["a", "b", "c"])
      const first = yield* list(2)
      first.rewind()

      assert.isUndefined(recall(placeOf(yield* Datastore.Datastore, set.parent)).sweep)
      assert.strictEqual(yield* items, "ab")
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("is not moved by a listing that fails", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a", "b", "c", "d", "e"])
      yield* list(2)
      yield* faulty.inject("lookup", Faulty.readFailure)
      yield* Effect.flip(list(2))

      assert.strictEqual(yield* items, "cd")
    }).pipe(Effect.provide(world)))
})
