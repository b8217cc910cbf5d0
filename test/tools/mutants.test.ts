import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { hunt } from "../../tools/mutants.ts"
import { declarationsOf, mutants, mutate, readRules } from "../../tools/mutants/mutant.ts"
import { projectRoot } from "../../tools/source.ts"

describe("the mutants of this library", () => {
  const declarations = declarationsOf(projectRoot)

  it.each(mutants)("$name applies to today's sources, still parses, and names tests that exist", (mutant) => {
    mutate(mutant, declarations, projectRoot)

    assert.deepStrictEqual(mutant.tests.filter((test) => !Fs.existsSync(join(projectRoot, test))), [])
  })

  it("are as many as the table has, each with a name of its own", () => {
    const table = Fs.readFileSync(join(projectRoot, "tools/mutants/rules.txt"), "utf8")

    assert.strictEqual(new Set(mutants.map(({ name }) => name)).size, table.match(/^ {2}- /gm)!.length)
  })
})

const rules = readRules(`
sum-is-difference in sum seen by sum
  A sum is a sum.
  - a+b
  + a - b
for-ever in sum seen by sum
  It ends.
  - left > 0; left--
  + left === 0; left *= 2
other-way-round in sum seen by sum
  Nothing that a test could see.
  - a + b
  + b + a
gone in sum seen by sum
  It has moved.
  - a * b
  + a / b
`)

const sum = "export const sum = (a: number, b: number): number => {\n  for (let left = 0; left > 0; left--);\n" +
  "  return a +\n    b\n}\n"

describe("the hunt", () => {
  const makeProject = Effect.acquireRelease(
    Effect.sync(() => {
      const root = Fs.mkdtempSync(join(tmpdir(), "eventbox-prey-"))
      for (const folder of ["src", "test"]) Fs.mkdirSync(join(root, folder))
      Fs.writeFileSync(join(root, "package.json"), `{ "name": "prey", "type": "module", "exports": "./src/sum.ts" }`)
      Fs.writeFileSync(join(root, "src/sum.ts"), sum)
      Fs.writeFileSync(
        join(root, "test/sum.test.ts"),
        `import { expect, it } from "vitest"\nimport { sum } from "prey"\nit("adds", () => expect(sum(1, 2)).toBe(3))\n`
      )
      Fs.symlinkSync(join(projectRoot, "node_modules"), join(root, "node_modules"))
      return root
    }),
    (root) => Effect.sync(() => Fs.rmSync(root, { recursive: true }))
  )
  // A verdict that is wrong would hide a rule that nothing tests.
  it.live("tells which mutants live, and leaves the project as it was", () =>
    Effect.gen(function*() {
      const root = yield* makeProject
      const [wrong, endless, same] = rules

      const verdicts = yield* hunt({
        root,
        mutants: [wrong!, endless!, same!],
        jobs: 1,
        say: () => {},
        timeoutSeconds: 15
      })

      assert.deepStrictEqual(verdicts.map(({ by }) => by), ["adds", "time-out", undefined])
      assert.strictEqual(Fs.readFileSync(join(root, "src/sum.ts"), "utf8"), sum)
    }), 120_000)

  it.live("is refused when a mutant does not apply, and when the tests fail without one", () =>
    Effect.gen(function*() {
      const root = yield* makeProject
      const run = (index: number) => Effect.exit(hunt({ root, mutants: [rules[index]!], jobs: 1, say: () => {} }))

      const gone = yield* run(3)
      Fs.writeFileSync(join(root, "src/sum.ts"), sum.replace("a +", "1 + a +"))
      const failing = yield* run(2)

      assert.match(Exit.isFailure(gone) ? String(gone.cause) : "", /mutant gone no longer applies/)
      assert.match(Exit.isFailure(failing) ? String(failing.cause) : "", /the tests fail without a fault: adds/)
    }), 120_000)
})
