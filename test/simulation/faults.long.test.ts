import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { allApplied, isLong, printed } from "../utils/explore.ts"
import { boxes, emit, exactlyOnce, layer, recipient, work } from "../utils/exploreBox.ts"
import {
  add,
  appliedInTheEnd,
  cleanUp,
  consume,
  delayMillis,
  endings,
  layouts,
  withMinute
} from "../utils/exploreSet.ts"

/*
 * Commits whose response is lost after they landed, whose request is lost, that land at any later moment, and workers
 * that stop for good, at every commit of a batch, the fence and the deletions included, while another worker works on:
 * state, events and post-process effects come out right in every history, and no caller is left with an unknown
 * outcome.
 */
const lossy = { responseLost: true, requestLost: true, late: true }

const faced = (report: Explore.Report, faulty: number) => {
  assert.isTrue(report.isComplete)
  assert.isAtLeast(report.faulty, faulty)
  assert.isAbove(report.contended, 0)
}

const cases = boxes.flatMap((one) =>
  layouts.map(({ layout, withLayout }) => ({
    ...one,
    name: `${one.name}, ${layout}`,
    withLayout
  }))
)

for (const { box, name, stateAfter, withLayout } of cases) {
  describe(`Faults, ${name}`, () => {
    // An earlier batch has left a head: to rewrite that with nothing new in it would change nothing.
    const setup = Effect.gen(function*() {
      yield* Effect.andThen(emit(box, "earlier"), work(box))
      yield* Effect.andThen(emit(box, "a"), emit(box, "b"))
    })
    const check = exactlyOnce(box, stateAfter, ["a", "b"], { earlier: ["earlier"] })
    const workers = { one: work(box), two: work(box) }
    const explore = (title: string, faults: Explore.Faults, programs: Explore.Programs = workers) =>
      printed(`${title}, ${name}`, Explore.explore({ setup, programs, check, faults }))

    // Kills: no fence, but "never landed" assumed; a fence without a fresh mark; a fence that expects nothing; the same
    // token for all commits; a token that is not looked for; an unknown outcome given to the caller.
    it.effect("a lost or late commit of either worker comes out right", () =>
      Effect.gen(function*() {
        faced(yield* explore("one fault of either worker", lossy), 60)
      }).pipe(withLayout, Effect.provide(layer)))

    it.effect("a lost or late commit comes out right in the first batches of all", () =>
      Effect.gen(function*() {
        const report = yield* printed(
          `one fault, no head yet, ${name}`,
          Explore.explore({
            setup: emit(box, "a"),
            programs: workers,
            check: exactlyOnce(box, stateAfter, ["a"]),
            faults: { ...lossy, where: (_, process) => process === "one" }
          })
        )

        faced(report, 30)
      }).pipe(withLayout, Effect.provide(layer)))

    it.effect("a lost or late commit of one of three workers comes out right", () =>
      Effect.gen(function*() {
        const programs = { one: work(box), two: work(box), three: work(box) }
        const faults = { ...lossy, where: (_: unknown, process: string) => process === "one" }
        faced(yield* explore("one fault of one of three workers", faults, programs), 270)
      }).pipe(Effect.provide(layer)), 300_000)

    it.effect("a crash of one of three workers comes out right", () =>
      Effect.gen(function*() {
        const report = yield* printed(
          `a crash of any of three workers, ${name}`,
          Explore.explore({
            setup,
            programs: { one: work(box), two: work(box), three: work(box) },
            check: exactlyOnce(box, stateAfter, ["a", "b"], { mayOwe: true, earlier: ["earlier"] }),
            faults: { crash: true }
          })
        )

        faced(report, 140)
      }).pipe(Effect.provide(layer)), 300_000)

    it.effect("two lost or late commits of one worker come out right, the fence included", () =>
      Effect.gen(function*() {
        faced(yield* explore("two faults", { ...lossy, max: 2, where: (_, process) => process === "one" }), 170)
      }).pipe(withLayout, Effect.provide(layer)))

    it.effect("a worker that tries again after a lost or late commit consumes nothing twice", () =>
      Effect.gen(function*() {
        const programs = { one: work(box, { tries: 2 }), two: work(box) }
        faced(yield* explore("one fault, two tries", lossy, programs), 100)
      }).pipe(withLayout, Effect.provide(layer)))

    // Kills: side effects in a commit of their own; pops in a commit of their own.
    it.effect("a worker that stops for good loses at most its post-process effects", () =>
      Effect.gen(function*() {
        const report = yield* printed(
          `crashes, ${name}`,
          Explore.explore({
            setup,
            programs: workers,
            check: exactlyOnce(box, stateAfter, ["a", "b"], { mayOwe: true, earlier: ["earlier"] }),
            faults: { crash: true, max: 2 }
          })
        )

        faced(report, 25)
      }).pipe(withLayout, Effect.provide(layer)))

    it.effect("three faults of one worker come out right", () =>
      Effect.gen(function*() {
        faced(yield* explore("three faults", { ...lossy, max: 3, where: (_, process) => process === "one" }), 300)
      }).pipe(withLayout, Effect.provide(layer)), 600_000)
  })
}

describe("Faults of an emit", () => {
  const { box, stateAfter } = boxes[0]

  // The retry of a lost emit meets the workers at every step. Kills: a new id for each try.
  it.effect("an emit that is lost or late is one event", () =>
    Effect.gen(function*() {
      const report = yield* printed(
        "faults of an emit without id",
        Explore.explore({
          setup: emit(box, "a"),
          programs: {
            one: work(box),
            two: isLong ? work(box) : Effect.void,
            emitter: Eventbox.emit(box, recipient(box), {})
          },
          check: () =>
            Effect.gen(function*() {
              yield* Eventbox.drain(box, recipient(box))
              assert.strictEqual((yield* allApplied).length, 2)
            }),
          faults: { ...lossy, max: 2, where: (_, process) => process === "emitter" }
        })
      )

      assert.isTrue(report.isComplete)
      assert.isAtLeast(report.faulty, 100)
    }).pipe(Effect.provide(layer)), 600_000)

  it.effect("an emit of a pending id that is lost or late changes nothing", () =>
    Effect.gen(function*() {
      const report = yield* printed(
        "faults of an emit of a pending id",
        Explore.explore({
          setup: Effect.andThen(emit(box, "a"), emit(box, "b")),
          programs: { one: work(box), again: emit(box, "b") },
          check: exactlyOnce(box, stateAfter, ["a", "b"]),
          faults: { ...lossy, max: 2, where: (_, process) => process === "again" }
        })
      )

      assert.isTrue(report.isComplete)
      assert.isAtLeast(report.faulty, 100)
    }).pipe(Effect.provide(layer)))
})

for (const { layout, withLayout } of layouts) {
  describe(`Known outcomes, ${layout}`, () => {
    // The landed commit's token has been erased with its tombstones when the worker looks for it. Kills: no
    // `giveUpAtMillis`.
    it.effect("an outcome is unknown once the token may have been erased, and otherwise true", () =>
      Effect.gen(function*() {
        const ended = { landed: 0, contention: 0, unknown: 0 }
        const report = yield* printed(
          `outcomes over a jump of time, ${layout}`,
          Explore.explore({
            setup: add("e"),
            programs: {
              one: Effect.ignore(consume()),
              eraser: Effect.andThen(cleanUp, Effect.ignore(consume({ always: true })))
            },
            jumps: [delayMillis + 1],
            faults: {
              responseLost: true,
              requestLost: true,
              where: ({ request }, process) =>
                process === "one" && request.mutations.some(({ _tag }) => _tag !== "Delete")
            },
            check: (history) =>
              Effect.gen(function*() {
                const landed = (yield* allApplied).map(({ attempt }) => attempt)
                for (const { attempt, ended: how } of endings(history, "one")) {
                  ended[how]++
                  if (how === "landed") assert.include(landed, attempt)
                  if (how === "contention") assert.notInclude(landed, attempt)
                }
                assert.deepStrictEqual(yield* appliedInTheEnd(["e"]), [1])
              })
          })
        )

        assert.isTrue(report.isComplete)
        for (const how of ["landed", "contention", "unknown"] as const) assert.isAbove(ended[how], 0)
      }).pipe(withLayout, withMinute))
  })
}
