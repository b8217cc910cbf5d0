import { assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import { doctest } from "../../scripts/doctest.ts"
import { check } from "../../scripts/doctest/check.ts"
import { expectedOutput, extract } from "../../scripts/doctest/extract.ts"
import { projectRoot } from "../../scripts/source.ts"

const fence = (code: string, info = "ts"): string => `\`\`\`${info}\n${code}\n\`\`\`\n`

/** Inside the project, so that the examples can import it by name. */
const run = (name: string, files: Readonly<Record<string, string>>) =>
  doctest(new Map(Object.entries(files)), join(projectRoot, `.cache/doctest-${name}`))

describe("doctest: extract", () => {
  it("keeps the line numbers of a page", () => {
    const { programs } = extract("page.md", `# Page\n\n${fence("const x = 1")}`)
    assert.deepStrictEqual(programs, [{ file: "page.md", line: 3, code: "\n\n\nconst x = 1\n\n" }])
  })

  it("finds fences in doc comments only, without their margin", () => {
    const source =
      `const text =\n//${"```"}ts\n"no"\n//${"```"}\n/**\n * Doc.\n *\n * ${"```"}ts\n * if (a)\n *   b()\n * ${"```"}\n */\n`
    const { programs } = extract("src/a.ts", source)
    assert.strictEqual(programs.length, 1)
    assert.strictEqual(programs[0]!.line, 8)
    assert.strictEqual(programs[0]!.code.trim(), "if (a)\n  b()")
  })

  it("joins a continued fence to the one before, and counts those that opted out", () => {
    const page = [fence("const x = 1"), fence("skip", "ts no-check"), fence("x + 1", "ts continued"), fence("x", "sh")]
    const { programs, skipped } = extract("page.md", page.join(""))
    assert.strictEqual(programs.length, 1)
    assert.strictEqual(programs[0]!.code, "\nconst x = 1\n\n\n\n\n\nx + 1\n\n\n\n\n")
    assert.strictEqual(skipped, 1)
  })

  it("refuses a fence that it does not know", () => {
    assert.throws(() => extract("page.md", fence("x", "ts nocheck")), /page.md:1: unknown fence/)
  })

  it("reads the output of one line and of several", () => {
    assert.strictEqual(expectedOutput("f()\n// Output: { a: 1 }\n"), "{ a: 1 }")
    assert.strictEqual(expectedOutput("f()\n// Output:\n// one\n//  two\n\n// three\n"), "one\n two")
    assert.isUndefined(expectedOutput("f()"))
  })
})

describe("doctest: check", () => {
  it("compares by value, or as Node prints", () => {
    check(1, { a: [1] }, () => ({ a: [1] }), "{ a: [1] }")
    check(1, new Map([[1, 2]]), undefined, "Map(1) { 1 => 2 }")
    assert.throws(() => check(7, 1, () => 2, "2"), /line 7: \/\/ => 2\n {2}but the value is 1/)
    assert.throws(() => check(7, "1", () => 1, "2"), /but the value is '1'/)
  })
})

describe("doctest", () => {
  it("runs true examples against the sources", async () => {
    const page = [
      `import { Key } from "effect-eventbox"`,
      `Key.make("Run", 1).toString() // => "Run,1"`,
      `const key = Key.make("Run", "x")`,
      `key.id // => "x"`,
      `const pair = [1, 2].map((n) => {`,
      `  const twice = 2 * n // => 2 * n`,
      `  return twice`,
      `}) // => [2, 4]`,
      `console.log(pair) // => [ 2, 4 ]`
    ]
    const summary = await run("true", {
      "page.md": fence(page.join("\n")),
      "other.md": fence("console.log(1 + 1)\n// Output: 2") + fence("export const unchecked = 1")
    })
    assert.deepStrictEqual(summary, { problems: [], programs: 3, ran: 2, skipped: 0 })
  })

  it("reports a wrong value, a wrong output, a crash and a type error at their places", async () => {
    const { problems } = await run("false", {
      "value.md": `# V\n\n${fence("\n1 + 1 // => 3")}`,
      "output.md": fence("console.log(1)\n// Output: 2"),
      "crash.md": fence(`throw new Error("no")\n// Output: 2`),
      "types.md": fence(`import { Key } from "effect-eventbox"\nKey.make(1)`)
    })
    const seen = problems.map(({ file, line, message }) => `${file}:${line} ${message.split("\n")[0]}`).toSorted()
    assert.strictEqual(seen.length, 4, seen.join("\n"))
    assert.match(seen[0]!, /^crash.md:1 the example failed: no/)
    assert.match(seen[1]!, /^output.md:1 the example says it prints/)
    assert.match(seen[2]!, /^types.md:3 error TS/)
    assert.match(seen[3]!, /^value.md:3 the example failed: line 5: \/\/ => 3/)
  })
})
