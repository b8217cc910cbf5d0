import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Simulate from "../simulation/self/simulate.ts"
import { runProgram } from "../utils/program.ts"

const simulate = (...args: ReadonlyArray<string>) =>
  Effect.promise(() => runProgram("tools/simulate.ts", args, { timeoutMillis: 120_000 }))

describe("npm run simulate", () => {
  it.effect("plays all histories, whatever the number of its threads", () =>
    Effect.gen(function*() {
      const args = ["--seed", "3", "--events", "600", "--history", "300"]
      const one = yield* simulate(...args, "--jobs", "1")
      const two = yield* simulate(...args, "--jobs", "2")

      const [, sum] = /^SEED=3\n[^]*simulate: ok, (2 histories: .*emitted \d+.*; hash [0-9a-f]{16})$/m
        .exec(one.stdout)!
      assert.include(two.stdout, sum!)
      assert.deepStrictEqual([one.code, two.code], [0, 0])
    }), 240_000)

  it.effect("replays one history from its settings, and fails with it", () =>
    Effect.gen(function*() {
      const settings = Simulate.vary(4, 300)
      const report = yield* Simulate.run(settings)

      const good = yield* simulate("--settings", JSON.stringify(settings))
      const bad = yield* simulate("--settings", JSON.stringify({ ...settings, processes: 0 }))

      assert.strictEqual(good.stdout, `SEED=4\n${Simulate.format(report)}\n`)
      assert.match(bad.stdout, /^SEED=4\n.*processes/)
      assert.deepStrictEqual([good.code, bad.code], [0, 1])
    }), 240_000)
})
