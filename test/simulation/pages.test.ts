import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { printed } from "../utils/explore.ts"
import { boxes, emit, exactlyOnce, layer, work } from "../utils/exploreBox.ts"
import { add, appliedInTheEnd, cleanUp, consume, delayMillis, layouts, withMinute } from "../utils/exploreSet.ts"

/*
 * Tombstones in pages, every pop in one of its own: workers in every order of their backend operations, while pages are
 * written, read, deleted, and vanish under the hands of those who are about to read them.
 */
const { withLayout } = layouts[1]!

const raced = (report: Explore.Report, histories: number) => {
  assert.isTrue(report.isComplete)
  assert.isAtLeast(report.histories, histories)
  assert.isAbove(report.contended, 0)
}

describe("Pages of tombstones", () => {
  for (const { box, name, stateAfter } of boxes) {
    it.effect(`workers of one recipient consume each event once, ${name}`, () =>
      Effect.gen(function*() {
        const again = work(box, { tries: 2 })
        const report = yield* printed(
          `two workers and an emitter, tombstones in pages, ${name}`,
          Explore.explore({
            setup: Effect.andThen(emit(box, "a"), emit(box, "b")),
            programs: { one: again, two: again, again: emit(box, "a") },
            check: exactlyOnce(box, stateAfter, ["a", "b"])
          })
        )

        raced(report, 40)
      }).pipe(withLayout, Effect.provide(layer)), 120_000)
  }

  it.effect("a page that vanishes before it is read makes the listing begin again", () =>
    Effect.gen(function*() {
      let vanished = 0
      const report = yield* printed(
        "a page vanishes",
        Explore.explore({
          setup: Effect.gen(function*() {
            const first = yield* Clock.currentTimeMillis
            yield* add("e", first)
            yield* consume()
            yield* add("e", first)
            yield* Effect.sleep(2 * delayMillis)
          }),
          programs: {
            slow: consume(),
            eraser: Effect.andThen(cleanUp, consume({ always: true }))
          },
          check: () =>
            Effect.gen(function*() {
              const { results } = yield* Datastore.query({ kind: "dsset.TombstonesPage", keysOnly: true })
              if (!results.some(({ key }) => key.id === 1)) vanished++
              assert.deepStrictEqual(yield* appliedInTheEnd(["e"]), [1])
            })
        })
      )

      assert.isTrue(report.isComplete)
      assert.isAtLeast(report.histories, 5)
      assert.isAbove(vanished, 0)
    }).pipe(withLayout, withMinute), 120_000)

  // Two processes consume and erase over a jump of time, ids are emitted again, and commits are lost.
  it.effect("are erased in time, and no consumed id comes back before, whatever is lost", () =>
    Effect.gen(function*() {
      const report = yield* printed(
        "pages expire under faults",
        Explore.explore({
          setup: Effect.andThen(add("a", 1), add("b", 1)),
          programs: {
            one: Effect.ignore(consume({ maxItems: 1 })),
            two: Effect.ignore(consume({ always: true }))
          },
          jumps: [delayMillis + 1],
          faults: {
            responseLost: true,
            requestLost: true,
            where: ({ request }, process) =>
              process === "two" && request.mutations.some(({ _tag }) => _tag !== "Delete")
          },
          check: () => Effect.map(appliedInTheEnd(["a", "b"]), (counts) => assert.deepStrictEqual(counts, [1, 1]))
        })
      )

      raced(report, 50)
    }).pipe(withLayout, withMinute), 120_000)
})
