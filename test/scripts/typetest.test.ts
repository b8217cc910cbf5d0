import { assert, describe, it } from "@effect/vitest"
import { compare, expectationsOf, guardsOf, removeGuard } from "../../scripts/typetest.ts"

const text = "const a = 1\n// @ts-expect-error string\nconst b: string = 1\n"

const said = (line: number, message: string) => ({ file: "a.tst.ts", line, text: message })

const messagesOf = (test: string, ...diagnostics: ReadonlyArray<ReturnType<typeof said>>): ReadonlyArray<string> =>
  compare("a.tst.ts", expectationsOf(test).expected, diagnostics).map(({ line, message }) => `${line}: ${message}`)

describe("typetest", () => {
  it("takes the directives out and keeps the lines", () => {
    assert.deepStrictEqual(expectationsOf(text), {
      expected: [{ line: 3, reason: "string" }],
      bare: "const a = 1\n\nconst b: string = 1\n"
    })
  })

  it("is content when the compiler refuses the line for the reason", () => {
    assert.deepStrictEqual(messagesOf(text, said(3, "number is no string")), [])
  })

  it("reports a line that compiles, another reason, a missing reason, and any other message", () => {
    assert.deepStrictEqual(messagesOf(text), ["3: this compiles, but should not: string"])
    assert.match(messagesOf(text, said(3, "not a bigint")).join(), /^3: should be refused for "string"/)
    assert.match(messagesOf("// @ts-expect-error\nx\n", said(2, "any")).join(), /^1: @ts-expect-error needs the reason/)
    assert.deepStrictEqual(messagesOf(text, said(3, "no string"), said(1, "unused")), ["1: unused"])
  })

  const guard = "// guard: src/A.ts emit: R | Transaction => R"

  it("removes a guard from the export that it names, and nowhere else", () => {
    const [found] = guardsOf("typetest/a.tst.ts", guard)
    const source = "export const list: R | Transaction = 1\nexport const emit: R | Transaction = 2\n"

    assert.strictEqual(
      removeGuard(found!, source),
      "export const list: R | Transaction = 1\nexport const emit: R = 2\n"
    )
  })

  it("refuses a guard that is not there, and one that it cannot read", () => {
    const [found] = guardsOf("typetest/a.tst.ts", guard)
    assert.throws(
      () => removeGuard(found!, "export const emit: R = 2\nexport const other: R | Transaction = 1\n"),
      /has no/
    )
    assert.throws(() => removeGuard(found!, "export const list: R | Transaction = 1\n"), /has no/)
    assert.throws(() => guardsOf("typetest/a.tst.ts", "// guard: emit"), /write \/\/ guard/)
  })
})
