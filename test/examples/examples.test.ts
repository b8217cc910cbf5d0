import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root, runProgram } from "../utils/program.ts"

const folder = join(root, "examples")
const examples = readdirSync(folder).filter((name) => /^\d\d-.*\.ts$/.test(name)).toSorted()
const recipes = readdirSync(join(folder, "recipes")).toSorted()

/** Checking laws takes some seconds, and more on a busy machine. */
const timeoutMillis = 90_000

/** What an example says it prints: the rest of its `// Output:` line, or the comment lines that follow to the end. */
const expectedOutput = (source: string): string | undefined => {
  const found = /^\/\/ Output:(.*)\n((?:\/\/(?! #).*\n)*)/m.exec(source)
  if (found === null) return undefined
  const [, sameLine = "", lines = ""] = found
  return [sameLine.trim(), ...lines.split("\n").map((line) => line.replace(/^\/\/ ?/, ""))].join("\n").trim()
}

/** The lines between `// #region name` and the next `// #endregion`. */
const regionOf = (source: string, name: string): string | undefined =>
  new RegExp(`^// #region ${name}\\n([\\s\\S]*?)^// #endregion$`, "m").exec(source)?.[1]?.trim()

const regionsOf = (source: string): ReadonlyArray<string> =>
  Array.from(source.matchAll(/^\/\/ #region (\w+)$/gm), ([, name]) => regionOf(source, name!)!)

/** What stands in the fences of a page. */
const fencesOf = (page: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(/^```ts.*\n([\s\S]*?)^```$/gm), ([, code]) => code!.trim())

describe("examples", () => {
  it("there are some, and they are numbered without gaps", () => {
    assert.deepStrictEqual(
      examples.map((name) => Number(name.slice(0, 2))),
      Array.from(examples, (_, index) => index)
    )
    assert.isAtLeast(examples.length, 9)
  })

  it.each([...examples, ...recipes.map((name) => `recipes/${name}`)])("%s prints what it says", async (name) => {
    const expected = expectedOutput(readFileSync(join(folder, name), "utf8"))
    assert.isDefined(expected, "the example ends in no // Output: comment")

    const { code, stderr, stdout } = await runProgram(`examples/${name}`, [], { timeoutMillis })

    assert.strictEqual(stderr, "")
    assert.strictEqual(stdout.trim(), expected)
    assert.strictEqual(code, 0)
  }, timeoutMillis + 5_000)

  it.each(recipes)("recipes/%s has its regions on the page of its name", (name) => {
    const source = readFileSync(join(folder, "recipes", name), "utf8")
    const page = readFileSync(join(root, "docs/recipes", name.replace(/\.ts$/, ".md")), "utf8")

    const shown = regionsOf(source)
    assert.isNotEmpty(shown)
    for (const region of shown) assert.include(fencesOf(page), region)
  })

  it("the README begins with the region of 00-readme.ts", () => {
    const shown = regionOf(readFileSync(join(folder, "00-readme.ts"), "utf8"), "readme")
    const [, fence] = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, "README.md"), "utf8")) ?? []

    assert.isDefined(shown)
    assert.strictEqual(fence?.trim(), shown)
  })
})
