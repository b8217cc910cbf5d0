import { assert, describe, it } from "@effect/vitest"
import { checkCode, checkLeftovers } from "../../scripts/tidy.ts"
import { bans } from "../../scripts/tidy/code.ts"
import { checkPage } from "../../scripts/tidy/markdown.ts"
import { wrapComments } from "../../scripts/tidy/wrap.ts"

const header = "/**\n * A module.\n *\n * @since 0.1.0\n */\n"

const messagesOf = (code: string, path = "src/Some.ts"): ReadonlyArray<string> =>
  checkCode(path, header + code).map(({ message }) => message)

const doc = (...parts: ReadonlyArray<string>): string => `/**\n${parts.map((part) => ` * ${part}`).join("\n")}\n */\n`

const wellDocumented = doc("Adds.", "", "@category math", "@since 0.1.0")

const pageMessages = (text: string, files: Readonly<Record<string, string>> = {}): ReadonlyArray<string> => {
  const all: Readonly<Record<string, string>> = { ...files, "docs/page.md": text }
  return checkPage("docs/page.md", text, { has: (path) => path in all, read: (path) => all[path]! })
    .map(({ message }) => message)
}

describe("tidy: code", () => {
  const uses: Readonly<Record<string, string>> = {
    "Date": "new Date()",
    "performance.*": "performance.now()",
    "Math.random": "Math.random()",
    "crypto.randomUUID": "crypto.randomUUID()",
    "crypto.getRandomValues": "globalThis.crypto.getRandomValues(new Uint8Array(1))",
    "setTimeout": "setTimeout(() => 0, 1)",
    "setInterval": "globalThis.setInterval(() => 0, 1)",
    "setImmediate": "setImmediate(() => 0)",
    "console.*": "console.log(1)",
    "process.*": `process.env["HOME"]`
  }

  it.each(bans)("bans $word and names what to use", ({ instead, word }) => {
    const messages = messagesOf(`const used = () => ${uses[word]}\n`)
    assert.deepStrictEqual(messages, [`${word} is banned here: use ${instead}`])
  })

  it("bans Date also as a value, as a type and by its functions", () => {
    for (
      const code of [
        "const now = Date.now()",
        "const C = Date",
        "let d: Date",
        "const is = (x: object) => x instanceof Date"
      ]
    ) {
      assert.strictEqual(messagesOf(code).length, 1, code)
    }
  })

  it("lets a layer use what only layers may", () => {
    const code = "const d = new Date()\nsetTimeout(() => 0, Math.random())\n"
    assert.deepStrictEqual(messagesOf(code, "src/layers/Some.ts"), [])
    assert.strictEqual(messagesOf("console.log(1)", "src/layers/Some.ts").length, 1)
  })

  it("does not mistake own names and properties for the globals", () => {
    const code = `const process = { run: () => 0 }\nconst x = { Date: 1 }\nconst y = [process.run(), x.Date]\n`
    assert.deepStrictEqual(messagesOf(code), [])
  })

  it("does not ban anything in comments and strings, or outside src", () => {
    assert.deepStrictEqual(messagesOf(`// console.log(new Date())\nconst text = "Math.random()"\n`), [])
    assert.deepStrictEqual(checkCode("scripts/a.ts", "console.log(new Date())\n"), [])
  })

  it("refuses a file of more than 800 lines", () => {
    const lines = (count: number): string => "\n".repeat(count - 5)
    assert.deepStrictEqual(messagesOf(lines(800)), [])
    assert.deepStrictEqual(messagesOf(lines(801)), ["file of 801 lines, at most 800"])
  })

  it("refuses a function of more than 70 lines, except in tests", () => {
    const body = (lines: number): string => `const f = () => {\n${"  f()\n".repeat(lines - 2)}}\n`
    assert.deepStrictEqual(messagesOf(body(70)), [])
    assert.deepStrictEqual(messagesOf(body(71)), ["function of 71 lines, at most 70"])
    assert.deepStrictEqual(messagesOf(`class A {\n  run() {\n${"\n".repeat(70)}  }\n}\n`).length, 1)
    assert.deepStrictEqual(checkCode("test/a.test.ts", body(71)), [])
  })

  it("refuses a comment of more than 120 columns, unless it is a table or an address", () => {
    assert.deepStrictEqual(messagesOf(`// ${"x".repeat(117)}\n`), [])
    assert.deepStrictEqual(messagesOf(`// ${"x".repeat(118)}\n`), ["comment of 121 columns, at most 120"])
    assert.deepStrictEqual(messagesOf(`// | ${"x".repeat(120)} |\n// https://${"x".repeat(120)}\n`), [])
  })

  it("lets the output of an example be as wide as it is", () => {
    const output = `// Output:\n// ${"x".repeat(130)}\n`
    assert.deepStrictEqual(messagesOf(output), [])
    assert.strictEqual(messagesOf(`${output}const y = 1\n// ${"x".repeat(130)}\n`).length, 1)
  })

  it("finds leftover markers", () => {
    const marker = ["TO", "DO"].join("")
    assert.deepStrictEqual(checkLeftovers("a.md", `one\n${marker}: two\n`).map(({ line }) => line), [2])
    assert.deepStrictEqual(checkLeftovers("a.md", `one ${marker.toLowerCase()} two`), [])
  })
})

describe("tidy: wrap", () => {
  const wide = `${"x".repeat(60)} ${"y".repeat(60)} zz`

  it("moves what sticks out to the next line of the paragraph", () => {
    const source = `/**\n * ${wide}\n * and more.\n *\n * Other.\n */\n`
    const wrapped = `/**\n * ${"x".repeat(60)}\n * ${"y".repeat(60)} zz and more.\n *\n * Other.\n */\n`
    assert.strictEqual(wrapComments(source), wrapped)
  })

  it("opens a line of its own before anything that does not go on", () => {
    for (const after of [" *", " * @since 0.1.0", " * - item", " * **Details**", " */"]) {
      const wrapped = ` * ${"x".repeat(60)}\n * ${"y".repeat(60)} zz\n${after}\n`
      assert.strictEqual(wrapComments(` * ${wide}\n${after}\n`), wrapped)
    }
  })

  it("keeps the hang of list items, and opens comments of one line", () => {
    assert.strictEqual(wrapComments(` * - ${wide}\n`), ` * - ${"x".repeat(60)}\n *   ${"y".repeat(60)} zz\n`)
    const opened = `/**\n * ${"x".repeat(60)}\n * ${"y".repeat(60)} zz\n */\n`
    assert.strictEqual(wrapComments(`/** ${wide} */\n`), opened)
  })

  it("does not break a code span", () => {
    const span = `\`${"y".repeat(55)} z\``
    assert.strictEqual(wrapComments(`// ${"x".repeat(60)} ${span}\n`), `// ${"x".repeat(60)}\n// ${span}\n`)
  })

  it("leaves code, tables, fences, outputs and long words alone", () => {
    const kept = [
      `// Output: ${wide}\n// ${wide}`,
      `const text = "${wide}"`,
      ` * | ${wide} |`,
      ` * \`\`\`ts\n * ${wide}\n * \`\`\``,
      `// ${"x".repeat(130)}`,
      `// short`
    ]
    for (const source of kept) assert.strictEqual(wrapComments(source), source)
  })
})

describe("tidy: doc comments", () => {
  it("accepts the house grammar", () => {
    const full = doc(
      "Adds.",
      "",
      "**When to use**",
      "",
      "**Details**",
      "",
      "**Gotchas**",
      "",
      "**Example** (Title)",
      "",
      "```ts",
      "// @since in a fence is code",
      "```",
      "",
      "@see {@link x}",
      "@category math",
      "@since 0.1.0"
    )
    assert.deepStrictEqual(messagesOf(`${full}export const x = 1\n`), [])
  })

  it("wants a doc comment on every kind of export", () => {
    const exported = [
      "export const x = 1",
      "export class X {}",
      "export function x() {}",
      "export type X = 1",
      "export interface X {}",
      "export declare namespace X {}",
      `export * as X from "./X.ts"`,
      `export { X } from "./X.ts"`,
      "const X = 1\nexport { X }"
    ]
    for (const code of exported) {
      const messages = messagesOf(code)
      assert.strictEqual(messages.length, 1, code)
      assert.match(messages[0]!, /^[xX] has no doc comment$/)
    }
  })

  it("does not take a distant or an ordinary comment for a doc comment", () => {
    assert.deepStrictEqual(messagesOf(`${wellDocumented}const y = 1\nexport const x = y\n`), ["x has no doc comment"])
    assert.deepStrictEqual(messagesOf("// Adds.\nexport const x = 1\n"), ["x has no doc comment"])
  })

  it("wants one doc comment for all overloads", () => {
    const overloads = "export function x(a: 1): 1\nexport function x(a: 2): 2\nexport function x(a: any) { return a }\n"
    assert.deepStrictEqual(messagesOf(wellDocumented + overloads), [])
  })

  it("wants @since and, unless it is internal, @category", () => {
    const messages = messagesOf(`${doc("Adds.")}export const x = 1\n`)
    assert.deepStrictEqual(messages, [
      "doc of x: no @since with a version",
      "doc of x: no @category (nor @internal)"
    ])
    assert.deepStrictEqual(messagesOf(`${doc("Adds.", "", "@internal")}export const x = 1\n`), [])
    assert.deepStrictEqual(messagesOf(`${doc("Adds.")}export const x = 1\n`, "src/dsset/some.ts"), [])
  })

  it("refuses parts out of order and a first sentence without an end", () => {
    const disordered = doc("Adds.", "", "**Gotchas**", "", "**Details**", "", "@category math", "@since 0.1.0")
    assert.match(messagesOf(`${disordered}export const x = 1\n`).join(), /not in order/)
    const endless = doc("Adds", "", "@category math", "@since 0.1.0")
    assert.match(messagesOf(`${endless}export const x = 1\n`).join(), /first sentence does not end/)
  })

  it("wants a module comment", () => {
    const messages = checkCode("src/Some.ts", "const x = 1\n").map(({ message }) => message)
    assert.deepStrictEqual(messages, ["no module comment at the top"])
  })
})

describe("tidy: pages", () => {
  it("wants exactly one title", () => {
    assert.deepStrictEqual(pageMessages("# One\n\n## Two\n\n```sh\n# not a title\n```\n"), [])
    assert.deepStrictEqual(pageMessages("## None\n"), ["0 titles (# …), must be one"])
    assert.deepStrictEqual(pageMessages("# One\n\n# Two\n"), ["2 titles (# …), must be one"])
  })

  it("follows relative links to files, folders and headings", () => {
    const files = { "README.md": "# Read me\n\n## What it's for, `now`\n\n## Same\n\n## Same\n", "src": "" }
    const good = [
      "[a](../README.md)",
      "[b](../README.md#what-its-for-now)",
      "[c](../README.md#same-1)",
      "[d](#page)",
      "[e](../src/)",
      "[f](https://example.com/none)",
      "`[g](none.md)`",
      "[h]: ../README.md"
    ]
    assert.deepStrictEqual(pageMessages(`# Page\n\n${good.join("\n\n")}\n`, files), [])
    for (const bad of ["[a](none.md)", "![b](../none.png)", "[c](../README.md#none)", "[d](#none)", "[e]: ./none.md"]) {
      assert.strictEqual(pageMessages(`# Page\n\n${bad}\n`, files).length, 1, bad)
    }
  })
})
