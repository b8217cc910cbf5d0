import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root, runProgram } from "../utils/program.ts"

const folder = join(root, "examples")
const examples = readdirSync(folder).filter((name) => /^\d\d-.*\.ts$/.test(name)).toSorted()

/** Checking laws takes some seconds, and more on a busy machine. */
const timeoutMillis = 90_000

/** What an example says it prints: the rest of its `// Output:` line, or the comment lines that follow to the end. */
const expectedOutput = (source: string): string | undefined => {
  const found = /^\/\/ Output:(.*)\n((?:\/\/.*\n)*)$/m.exec(source)
  if (found === null) return undefined
  const [, sameLine = "", lines = ""] = found
  return [sameLine.trim(), ...lines.split("\n").map((line) => line.replace(/^\/\/ ?/, ""))].join("\n").trim()
}

/** The lines between `// #region name` and the next `// #endregion`. */
const regionOf = (source: string, name: string): string | undefined =>
  new RegExp(`^// #region ${name}\\n([\\s\\S]*?)^// #endregion$`, "m").exec(source)?.[1]?.trim()

describe("examples", () => {
  it("there are some, and they are numbered without gaps", () => {
    assert.deepStrictEqual(
      examples.map((name) => Number(name.slice(0, 2))),
      Array.from(examples, (_, index) => index)
    )
    assert.isAtLeast(examples.length, 9)
  })

  it.each(examples)("%s prints what it says", async (name) => {
    const expected = expectedOutput(readFileSync(join(folder, name), "utf8"))
    assert.isDefined(expected, "the example ends in no // Output: comment")

    const { code, stderr, stdout } = await runProgram(`examples/${name}`, [], { timeoutMillis })

    assert.strictEqual(stderr, "")
    assert.strictEqual(stdout.trim(), expected)
    assert.strictEqual(code, 0)
  }, timeoutMillis + 5_000)

  it("the README begins with the region of 00-readme.ts", () => {
    const shown = regionOf(readFileSync(join(folder, "00-readme.ts"), "utf8"), "readme")
    const [, fence] = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, "README.md"), "utf8")) ?? []

    assert.isDefined(shown)
    assert.strictEqual(fence?.trim(), shown)
  })
})
