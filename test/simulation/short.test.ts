import { assert, describe, it } from "@effect/vitest"
import { Effect, References } from "effect"
import * as Explore from "../../src/testing/Explore.ts"
import { boxes, emit, exactlyOnce, layer, work } from "../utils/exploreBox.ts"
import * as Self from "./self/simulate.ts"
import { dense, wrong } from "./self/wrong.ts"

/*
 * A sample of what `npm run test:long` does at length: every interleaving of two workers, with one fault and without,
 * and one seeded history of each kind of trouble.
 */
for (const { box, name, stateAfter } of boxes) {
  describe(`Two workers of one recipient, ${name}`, () => {
    const setup = Effect.andThen(emit(box, "a"), emit(box, "b"))
    const check = exactlyOnce(box, stateAfter, ["a", "b"])
    const programs = { one: work(box), two: work(box) }

    it.effect("consume each event once, in every interleaving", () =>
      Effect.gen(function*() {
        const report = yield* Explore.explore({ setup, programs, check })

        assert.isTrue(report.isComplete)
        assert.isAbove(report.contended, 0)
      }).pipe(Effect.provide(layer)))

    it.effect("come out right with a commit of either lost, late, or without response", () =>
      Effect.gen(function*() {
        const faults = { responseLost: true, requestLost: true, late: true }
        const report = yield* Explore.explore({ setup, programs, check, faults })

        assert.isTrue(report.isComplete)
        assert.isAbove(report.faulty, 0)
      }).pipe(Effect.provide(layer)))
  })
}

describe("The library, simulated for a short time", () => {
  it.effect("keeps every promise, in crashes, pauses, lost and late requests", () =>
    Effect.gen(function*() {
      const report = yield* Self.run(Self.vary(3, 1_500))

      // That nothing was found means nothing unless there was trouble.
      assert.isAbove(report.consumed, 1_000)
      assert.isAbove(report.refused, 0)
      assert.isAbove(report.crashes + report.pauses, 0)
      assert.isAbove(report.faults.ResponseLost + report.faults.RequestLost + report.faults.Late, 0)
    }), 60_000)

  const [{ options = dense, what, wrap }] = wrong as [(typeof wrong)[number]]

  it.effect(`finds out a database that ${what.replace(/,$/, "")}`, () =>
    Effect.gen(function*() {
      const { rule } = yield* Effect.flip(Self.run({ ...options, wrap, shrink: false }))

      // By whichever promise it breaks first, and not because it stops.
      assert.notInclude(["Died", "Stuck"], rule)
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")), 60_000)
})
