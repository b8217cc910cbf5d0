import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Simulate from "../simulation/self/simulate.ts"
import { runProgram } from "../utils/program.ts"

const simulate = (...args: ReadonlyArray<string>) =>
  Effect.promise(() => runProgram("scripts/simulate.ts", args, { timeoutMillis: 120_000 }))

describe("npm run simulate", () => {
  it.effect(
    "prints the seed first, then what all histories came to, the same whenever it is run",
    () =>
      Effect.gen(function*() {
        const args = ["--seed", "3", "--events", "600", "--history", "300"]
        const one = yield* simulate(...args, "--jobs", "1")
        const two = yield* simulate(...args, "--jobs", "2")

        assert.match(one.stdout, /^SEED=3\n/)
        const [, sum] = /^simulate: ok, (2 histories, \d+ events emitted .*; hash [0-9a-f]{16})$/m.exec(one.stdout)!
        assert.include(two.stdout, sum!)
        assert.deepStrictEqual([one.code, two.code], [0, 0])
      }),
    240_000
  )

  it.effect("replays one history from its settings", () =>
    Effect.gen(function*() {
      const settings = Simulate.vary(4, 300)
      const report = yield* Simulate.run(settings)

      const { code, stdout } = yield* simulate("--settings", JSON.stringify(settings))

      assert.strictEqual(stdout, `SEED=4\n${Simulate.format(report)}\n`)
      assert.strictEqual(code, 0)
    }), 240_000)

  it.effect("fails with the message of a history that fails", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* simulate("--settings", JSON.stringify({ ...Simulate.vary(4, 10), processes: 0 }))

      assert.match(stdout, /^SEED=4\n.*processes/)
      assert.strictEqual(code, 1)
    }), 240_000)

  it.effect("refuses bad options, and helps", () =>
    Effect.gen(function*() {
      const [bad, unknown, help] = yield* Effect.all([
        simulate("--events", "0"),
        simulate("--what"),
        simulate("--help")
      ])

      assert.match(bad.stderr, /^--events is a positive integer, got "0"\n\nUsage: npm run simulate/)
      assert.match(unknown.stderr, /--what/)
      assert.match(help.stdout, /^Usage: npm run simulate -- \[options\]\n/)
      assert.deepStrictEqual([bad.code, unknown.code, help.code], [2, 2, 0])
    }), 240_000)
})
