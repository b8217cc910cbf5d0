import { describe, it } from "@effect/vitest"
import { holds, vary } from "../utils/fairWorld.ts"

describe("whatever waits is offered in time, with arrivals as fast as batches", () => {
  for (let seed = 6; seed <= 60; seed++) {
    it.effect(`anything at all, seed ${seed}`, () => holds(vary(seed)))
  }
})
