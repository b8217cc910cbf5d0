import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as DsSet from "../../src/DsSet.ts"
import { twoProcesses } from "../utils/boxProcesses.ts"
import { add, list, pop, set, shown, withMinute } from "../utils/boxSet.ts"
import { storedItems } from "../utils/boxWorld.ts"
import { settle } from "../utils/settle.ts"

const Worker = Schema.Literals([0, 1])

const Step = Schema.TaggedUnion({
  /** Adds an item with an id of its own, before or behind all others. */
  Add: { front: Schema.Boolean },
  /**
   * Adds an id again, no later than one delay after its pop: P3. As a retry, with the time of the first addition, or
   * not.
   */
  Again: { nth: Schema.Literals([0, 1, 2]), isRetry: Schema.Boolean },
  /** Lists two items at most, or all. */
  List: { worker: Worker, all: Schema.Boolean },
  /** Pops all items of the worker's last listing, however old that is. */
  Pop: { worker: Worker },
  /** Deletes the garbage of the worker's last listing, however old that is. */
  Clean: { worker: Worker },
  /** From now on the deletes of this worker fail, or work again. */
  Deletes: { worker: Worker, work: Schema.Boolean },
  Sleep: { seconds: Schema.Literals([1, 30, 61]) }
})

interface Added {
  readonly id: string
  readonly atMillis: number
}

describe("any history of two processes over one set", () => {
  // The listings of both processes may be stale, items may be left behind, tombstones expire.
  //
  // Kills these mutants, at this size within half of the histories in every run that was tried: a `pop` that remembers
  // nothing; a head that is not expected (E7), or is written without what was popped; a listing that does not hide
  // popped items, or hides only those from before the pop; tombstones erased although their item was seen, or although
  // it lies out of the range of a truncated listing (E4). At the default size the last two live on.
  it.effect.prop("pops every item once", [Schema.Array(Step)], ([steps]) =>
    Effect.gen(function*() {
      const { observer, workers } = yield* twoProcesses
      const added: Array<Added> = []
      const popped: Array<string> = []
      const poppedAt = new Map<string, number>()
      const listings: Array<DsSet.Listing | undefined> = [undefined, undefined]
      const popListed = (worker: 0 | 1) =>
        Effect.gen(function*() {
          const listing = listings[worker]
          if (listing === undefined) return
          // Contention is the only failure there may be.
          const ids = yield* Effect.catchTag(pop(listing), "ContentionError", () => Effect.succeed([]))
          const now = yield* Clock.currentTimeMillis
          for (const id of ids) poppedAt.set(id, now)
          popped.push(...ids)
        })
      const run = Step.match({
        Add: ({ front }) =>
          Effect.gen(function*() {
            const one = {
              id: `${front ? "a" : "z"}${String(added.length).padStart(3, "0")}`,
              atMillis: yield* Clock.currentTimeMillis
            }
            added.push(one)
            yield* observer.run(add([one.id], one))
          }),
        Again: ({ isRetry, nth }) =>
          Effect.gen(function*() {
            const one = added[added.length - 1 - nth]
            if (one === undefined) return
            const isLate = (yield* Clock.currentTimeMillis) > (poppedAt.get(one.id) ?? Infinity) + 60_000
            if (!isLate) yield* observer.run(add([one.id], isRetry ? one : {}))
          }),
        List: ({ all, worker }) =>
          Effect.map(workers[worker].run(list(all ? 100 : 2)), (listing) => {
            listings[worker] = listing
          }),
        Pop: ({ worker }) => workers[worker].run(popListed(worker)),
        Clean: ({ worker }) =>
          listings[worker] === undefined ? Effect.void : Effect.forkChild(
            workers[worker].run(Effect.ignore(DsSet.cleanupGarbage(listings[worker].garbage)))
          ),
        Deletes: ({ work, worker }) =>
          Effect.sync(() => {
            workers[worker].deletes = work
          }),
        Sleep: ({ seconds }) => TestClock.adjust(seconds * 1_000)
      })

      for (const step of steps) yield* Effect.andThen(run(step), settle)
      workers[0].deletes = workers[1].deletes = true
      for (let n = 0; n < 3; n++) {
        yield* TestClock.adjust("61 seconds")
        const listing = yield* observer.run(list())
        popped.push(...yield* observer.run(pop(listing)))
        yield* observer.run(DsSet.cleanupGarbage(listing.garbage))
        yield* settle
      }

      assert.deepStrictEqual(popped.toSorted(), added.map(({ id }) => id).toSorted())
      assert.deepStrictEqual(shown(yield* observer.run(list())), { items: [], garbage: [] })
      assert.deepStrictEqual(yield* observer.run(storedItems(set.parent)), [])
    }).pipe(Effect.scoped, withMinute), { arbitrary: { runs: 250, size: 200 } })
})
