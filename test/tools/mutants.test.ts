import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { formatVerdict, type Hunt, hunt, readFrom, UnusableError } from "../../scripts/mutants/hunt.ts"
import { type Mutant, mutate, problemsOf } from "../../scripts/mutants/mutant.ts"
import { BadOptionError, parseOptions } from "../../scripts/mutants/options.ts"
import { isLong, longTests, mutants } from "../../scripts/mutants/table.ts"
import { listFiles, projectRoot } from "../../scripts/source.ts"

const mutant = (fields: Partial<Mutant> = {}): Mutant => ({
  name: "sum-is-difference",
  file: "src/sum.ts",
  what: "A sum is a sum.",
  find: "a + b",
  replace: "a - b",
  tests: ["test/sum.test.ts"],
  ...fields
})

describe("the mutants of this library", () => {
  it("all apply to today's sources, still parse, and name tests that exist", () => {
    assert.deepStrictEqual(problemsOf(mutants, readFrom(projectRoot)), [])
  })

  it("are faults of src, seen first by tests that are not long", () => {
    for (const { file, name, tests } of mutants) {
      assert.match(file, /^src\//, name)
      for (const test of tests) assert.isFalse(isLong(test), `${name}: ${test}`)
    }
  })

  it("are at least forty", () => {
    assert.isAtLeast(mutants.length, 40)
  })

  it("meet every test in the end, but for those that are named as long, which exist", () => {
    for (const test of longTests) assert.include(listFiles(projectRoot, "test"), test)
  })
})

describe("a mutant", () => {
  it("replaces the one place that it names", () => {
    assert.strictEqual(mutate(mutant(), "const sum = a + b\n"), "const sum = a - b\n")
  })

  it("no longer applies when its place is gone, is there twice, or would not change", () => {
    assert.throws(() => mutate(mutant(), "const sum = b + a\n"), /sum-is-difference no longer applies: "a \+ b" is not/)
    assert.throws(() => mutate(mutant(), "a + b; a + b\n"), /no longer applies: .* is more than once in src\/sum.ts/)
    assert.throws(() => mutate(mutant({ replace: "a + b" }), "a + b\n"), /no longer applies: .* is no change/)
  })

  const problems = (...mutants: ReadonlyArray<Mutant>): ReadonlyArray<string> => {
    const files: Readonly<Record<string, string>> = {
      "src/sum.ts": "export const sum = (a: number, b: number) => a + b\n",
      "test/sum.test.ts": `it("adds", () => {})\n`
    }
    return problemsOf(mutants, (path) => files[path])
  }

  it("is fine when everything that it names is there", () => {
    assert.deepStrictEqual(problems(mutant({ only: "adds" })), [])
  })

  it.each<readonly [string, Partial<Mutant>, RegExp]>([
    ["a module that is gone", { file: "src/gone.ts" }, /no longer applies: there is no src\/gone.ts/],
    ["a place that is gone", { find: "a * b" }, /no longer applies/],
    ["a fault that does not parse", { replace: "a - )" }, /src\/sum.ts does not parse/],
    ["a test file that is gone", { tests: ["test/gone.test.ts"] }, /there is no test\/gone.test.ts/],
    ["no test file", { tests: [] }, /no test file is named/],
    ["tests that no file has", { only: "subtracts" }, /no test of test\/sum.test.ts is named subtracts/],
    ["a name of another form", { name: "Sum is wrong" }, /a name is lower case with hyphens/],
    ["no sentence", { what: "sums" }, /what it breaks is one sentence/]
  ])("is reported for %s", (_, fields, message) => {
    const found = problems(mutant(fields))

    assert.strictEqual(found.length, 1)
    assert.match(found[0]!, message)
  })

  it("is reported when another one has its name", () => {
    assert.deepStrictEqual(problems(mutant(), mutant()), ["mutant sum-is-difference: another one has this name"])
  })
})

describe("the options of npm run mutants", () => {
  const all = [mutant(), mutant({ name: "other" })]

  it("are all mutants, or those that are named, in the order of the table", () => {
    assert.deepStrictEqual(parseOptions([], all)?.mutants, all)
    assert.deepStrictEqual(parseOptions(["--only", "other, sum-is-difference"], all)?.mutants, all)
    assert.deepStrictEqual(parseOptions(["--only=other"], all)?.mutants, [all[1]!])
  })

  it("are jobs, a list, and help", () => {
    assert.strictEqual(parseOptions(["--jobs", "3"], all)?.jobs, 3)
    assert.isTrue(parseOptions(["--list"], all)?.list)
    assert.isUndefined(parseOptions(["--help"], all))
  })

  it.each([
    [["--only", "nobody"]],
    [["--only", ""]],
    [["--jobs", "0"]],
    [["--jobs", "many"]],
    [["--fast"]],
    [["more"]]
  ])("are refused: %j", (args) => {
    assert.throws(() => parseOptions(args, all), BadOptionError)
  })
})

describe("the hunt", { timeout: 240_000 }, () => {
  let temporary = ""
  const before = process.env["TMPDIR"]
  beforeAll(() => {
    temporary = realpathSync(mkdtempSync(join(tmpdir(), "eventbox-hunt-")))
    process.env["TMPDIR"] = temporary
  })
  afterAll(() => {
    if (before === undefined) delete process.env["TMPDIR"]
    else process.env["TMPDIR"] = before
    rmSync(temporary, { recursive: true })
  })

  const files: Readonly<Record<string, string>> = {
    "package.json": JSON.stringify({ name: "prey", type: "module", exports: { "./sum": "./src/sum.ts" } }),
    "src/sum.ts": "export const sum = (a: number, b: number): number => {\n" +
      "  for (let left = 0; left > 0; left--);\n  return a + b // sum\n}\n",
    "test/sum.test.ts": `import { expect, it } from "vitest"\nimport { sum } from "prey/sum"\n` +
      `it("of nothing is nothing", () => expect(sum(0, 0)).toBe(0))\n` +
      `it("is a sum", () => expect(sum(1, 2)).toBe(3))\n`,
    "test/more.test.ts": `import { expect, it } from "vitest"\nimport { sum } from "prey/sum"\n` +
      `it("is a sum of negative numbers too", () => expect(sum(-1, -2)).toBe(-3))\n`
  }

  /** A project of one module, as far away from ours as it gets. */
  const makeProject = (changes: Readonly<Record<string, string>> = {}): string => {
    const root = mkdtempSync(join(temporary, "prey-"))
    for (const folder of ["src", "test"]) mkdirSync(join(root, folder))
    for (const [path, text] of Object.entries({ ...files, ...changes })) writeFileSync(join(root, path), text)
    symlinkSync(join(projectRoot, "node_modules"), join(root, "node_modules"))
    return root
  }

  const copies = (): ReadonlyArray<string> => readdirSync(temporary).filter((name) => !name.startsWith("prey-"))

  /** Processes that work in a copy, where the system tells. */
  const left = (): ReadonlyArray<string> =>
    (existsSync("/proc/self/cwd") ? readdirSync("/proc") : []).filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(join(temporary, "eventbox-mutants-"))
      } catch {
        return false
      }
    })

  const run = async (root: string, mutants: ReadonlyArray<Mutant>, options: Partial<Hunt> = {}) => {
    const said: Array<string> = []
    const verdicts = await hunt({
      root,
      mutants,
      jobs: 2,
      suite: ["test/more.test.ts"],
      timeoutMillis: 60_000,
      say: (line) => said.push(line),
      ...options
    })
    return { verdicts: verdicts.map(({ by, killed, mutant }) => [mutant.name, killed, by]), said }
  }

  it("tells what killed a mutant, which one lives, and leaves project and disk as they were", async () => {
    const root = makeProject()

    const { said, verdicts } = await run(root, [
      mutant(),
      mutant({ name: "for-ever", find: "left > 0; left--", replace: "left === 0; left *= 2" }),
      mutant({ name: "small-sums-only", find: "a + b", replace: "a < 0 ? 0 : a + b" }),
      mutant({ name: "sum-is-gone", find: "export const sum", replace: "const sum", only: "nothing" }),
      mutant({ name: "sums-come-the-other-way-round", find: "a + b", replace: "b + a" })
    ], { timeoutMillis: 20_000 })

    assert.deepStrictEqual(verdicts, [
      ["sum-is-difference", true, "test/sum.test.ts > is a sum"],
      ["for-ever", true, "time-out: the tests did not end"],
      [
        "small-sums-only",
        true,
        "test/more.test.ts > is a sum of negative numbers too (not by the tests that it names)"
      ],
      ["sum-is-gone", true, "test/sum.test.ts > of nothing is nothing"],
      ["sums-come-the-other-way-round", false, "A sum is a sum."]
    ])
    assert.match(said.join("\n"), /^5 mutants, 2 copies\nbaseline .* 1 test files pass without a fault\n/)
    assert.strictEqual(readFileSync(join(root, "src/sum.ts"), "utf8"), files["src/sum.ts"])
    assert.deepStrictEqual([copies(), left()], [[], []])
  })

  const failure = async (root: string, ...mutants: ReadonlyArray<Mutant>): Promise<string> => {
    const error = await run(root, mutants).then(() => undefined, (error: unknown) => error)
    assert.instanceOf(error, UnusableError)
    return error.message
  }

  it("is refused when the tests fail without a fault", async () => {
    const root = makeProject({ "src/sum.ts": "export const sum = (a: number, b: number) => a + b + 1\n" })

    assert.match(await failure(root, mutant()), /the tests fail without a fault: test\/sum.test.ts > of nothing/)
  })

  it("is refused when the tests do not reach the sources of the copy", async () => {
    const root = makeProject()
    writeFileSync(
      join(root, "test/sum.test.ts"),
      files["test/sum.test.ts"]!.replace("prey/sum", join(root, "src/sum.ts"))
    )

    assert.match(await failure(root, mutant()), /do not reach the copy's own src\/sum.ts/)
  })

  it("is refused when a mutant no longer applies", async () => {
    const root = makeProject()

    assert.match(
      await failure(root, mutant(), mutant({ name: "gone", find: "a * b" })),
      /mutant gone no longer applies/
    )
  })

  it("leaves neither copies nor processes behind when it is stopped", async () => {
    const args = ["scripts/mutants.ts", "--only", mutants[0]!.name]
    const child = spawn(process.execPath, args, { cwd: projectRoot, stdio: ["ignore", "pipe", "ignore"] })
    const seen: Array<ReadonlyArray<string>> = []
    child.stdout.once("data", () => {
      seen.push(copies())
      child.kill("SIGINT")
    })

    const code = await new Promise((resolve) => child.on("exit", resolve))

    assert.strictEqual(code, 2)
    assert.lengthOf(seen[0]!, 1)
    assert.deepStrictEqual([copies(), left()], [[], []])
  })

  it("says in one line what became of a mutant", () => {
    const verdict = { mutant: mutant(), by: "test/sum.test.ts > is a sum", seconds: 2.345 }
    assert.strictEqual(
      formatVerdict({ ...verdict, killed: true }),
      "killed      2.3 s  sum-is-difference: test/sum.test.ts > is a sum"
    )
    assert.match(formatVerdict({ ...verdict, killed: false }), /^SURVIVED    2\.3 s {2}sum-is-difference/)
  })
})
