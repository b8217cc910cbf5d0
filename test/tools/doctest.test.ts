import { afterAll, assert, describe, it } from "@effect/vitest"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { doctest } from "../../tools/doctest.ts"
import { projectRoot } from "../../tools/source.ts"

const folder = join(projectRoot, ".cache/doctest-test")

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const page = (...lines: ReadonlyArray<string>) => ["# Page", "", "```ts", ...lines, "```", ""].join("\n")

describe("npm run doctest", { timeout: 120_000 }, () => {
  it("notices an example that does not compile, gives something else, or prints something else", async () => {
    const files = new Map([
      ["good.md", page("import { Key } from \"effect-eventbox\"", "Key.make(\"A\", 1).toString() // => \"A,1\"")],
      [
        "files.md",
        page("// one.ts", "export const one = 1") + page("import { one } from \"./one.ts\"", "one // => 1")
      ],
      ["types.md", page("const n: number = \"no\"")],
      ["value.md", page("const n = 1 // => 2")],
      ["text.md", page("console.log([1]) // => [ 1 ]", "console.log(1) // => [ 1 ]")],
      ["prints.md", page("console.log(\"a\")", "// Output: b")],
      ["doc.ts", "/**\n * Text.\n *\n * ```ts\n * 1 + 1 // => 3\n * ```\n */\nexport const x = 1\n"]
    ])

    const { problems, programs, ran } = await doctest(files, folder)

    const found = problems.map(({ file, message }) => `${file}: ${message.slice(0, 200)}`).join("\n")
    for (const name of ["types.md", "value.md", "text.md", "prints.md", "doc.ts"]) {
      assert.include(found, name)
    }
    assert.notInclude(found, "good.md")
    // A fence that begins with the name of a file is that file to the others of its page.
    assert.notInclude(found, "files.md")
    assert.deepStrictEqual([programs, ran], [8, 6])
  })
})
