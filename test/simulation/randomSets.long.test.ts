import { assert, describe, it } from "@effect/vitest"
import { Effect, References } from "effect"
import * as Explore from "../../src/testing/Explore.ts"
import { isLong } from "../utils/explore.ts"
import { makeRandomSet } from "../utils/exploreRandomSet.ts"
import { withMinute } from "../utils/exploreSet.ts"

describe("Random programs on a set", () => {
  // Windows that nobody thought of: each seed is another scenario, explored as far as the limit goes.
  it.effect("consume every item once, whatever they do and lose", () =>
    Effect.gen(function*() {
      const [seeds, maxHistories] = isLong ? [400, 5_000] : [25, 200]
      const total = { histories: 0, complete: 0, contended: 0, faulty: 0 }
      for (let seed = 0; seed < seeds; seed++) {
        const report = yield* Explore.explore({ ...makeRandomSet(seed), maxHistories })
        total.histories += report.histories
        total.contended += report.contended
        total.faulty += report.faulty
        if (report.isComplete) total.complete++
      }
      const { complete, contended, faulty, histories } = total
      console.log(
        `random sets: ${histories} histories of ${seeds} scenarios, ${complete} of them to the end, ` +
          `${contended} with contention, ${faulty} with faults`
      )

      assert.isAbove(complete, seeds / 10)
      assert.isAbove(contended, histories / 10)
      assert.isAbove(faulty, histories / 10)
    }).pipe(withMinute, Effect.provideService(References.MinimumLogLevel, "None")), 1_800_000)
})
