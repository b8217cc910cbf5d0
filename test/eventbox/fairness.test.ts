import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { holds, plain, type Settings, vary } from "../utils/fairWorld.ts"

/** Histories that were seen to starve somebody, and their neighbours. */
const cases: Record<string, Partial<Settings>> = {
  "ids that the library draws": {},
  "ids at random, the backlog as well": { first: ["random"], styles: ["random"] },
  "one that sorts last, behind ids at random": { first: ["after"], backlog: 1, styles: ["random", "random", "rising"] },
  "a backlog that sorts last, behind drawn ids": { first: ["after"], styles: ["drawn"] },
  "a backlog that sorts first, before rising ids": { first: ["before"], styles: ["rising"] },
  "a backlog that sorts last, behind rising ids": { first: ["after"], backlog: 50, styles: ["rising"] },
  "a backlog behind falling ids": { first: ["drawn"], styles: ["falling"] },
  "rising ids alone": { first: ["rising"], styles: ["rising"] },
  "falling ids alone": { first: ["falling"], styles: ["falling"] },
  "all styles at once": {
    first: ["drawn", "before", "after", "between", "random", "rising", "falling"],
    styles: ["drawn", "before", "after", "between", "random", "rising", "falling"]
  },
  "a service that is down for a moment": { outage: 0.05, backlog: 15, batch: 10 },
  "a service that is down for a moment, on a recipient with pages": {
    outage: 0.05,
    backlog: 15,
    batch: 10,
    maxHeadBytes: 1_000
  },
  "a service that is down for a moment, with ids at random": {
    outage: 0.05,
    backlog: 15,
    batch: 10,
    first: ["random"],
    styles: ["random"]
  },
  "a state that cannot be loaded at times": { loadFailure: 0.1, first: ["random"], styles: ["random"] },
  "lost races and lost responses": { transient: 0.2 },
  "a drain that never gets to the end": { modes: ["drain"], drainBatches: 250, defers: 0.1 },
  "a drain that never gets to the end, with ids at random": {
    modes: ["drain"],
    drainBatches: 250,
    first: ["random"],
    styles: ["random"]
  },
  "drains that are cut short": { modes: ["drain"], drainBatches: 3, first: ["random"], styles: ["random"] },
  "some that are left, first in order": { first: ["before"], styles: ["drawn"], later: 20, defers: 0.2 },
  "some that are left, among all others": { first: ["random"], styles: ["random"], later: 20, defers: 0.2 },
  "three processes in turn": { processes: 3, first: ["random", "after"], styles: ["random"] },
  "three processes at the same time": { processes: 3, concurrent: true, first: ["random", "after"], styles: ["random"] }
}

describe("whatever waits is offered in time, with arrivals as fast as batches", () => {
  for (const [name, settings] of Object.entries(cases)) {
    it.effect(name, () => holds({ ...plain, ...settings }))
  }

  for (let seed = 1; seed <= 5; seed++) {
    it.effect(`anything at all, seed ${seed}`, () => holds(vary(seed)))
  }

  for (const modes of [["process"], ["processBatch"], ["drain"]] as const) {
    it.effect(`ids that the library draws stay oldest first: ${modes}`, () =>
      Effect.gen(function*() {
        const { consumed } = yield* holds({ ...plain, modes, drainBatches: 100, backlog: 60, listings: 200 })
        const times = consumed.map((id) => id.slice(0, 13))
        assert.isAtLeast(times.length, 200)
        // But for what a leap over arrivals takes early: a listing in a sweep at most.
        const early = times.filter((time, index) => index > 0 && time < times[index - 1]!)
        assert.isAtMost(early.length, 4)
      }))
  }
})
