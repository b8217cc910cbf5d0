/**
 * `npm run doctest`: type-checks every `ts` fence of doc comments and pages against the sources, and runs those that
 * say what they give (`// => value`) or print (`// Output:`). A fence marked `continued` goes on with the one before,
 * one marked `no-check` is left out and counted. One that begins with `// name.ts` is that file to the others of its
 * page.
 *
 * Why by hand: the well-kept ones (`typescript-docs-verifier`, `twoslash`) need an API that TypeScript 7 does not have.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { Script } from "node:vm"
import { compile, listFiles, type Problem, projectRoot, readText, report, run } from "./source.ts"

/** A program of a page: as many lines as the page, those outside of its fences blank, so that line numbers agree. */
interface Program {
  readonly file: string
  readonly line: number
  readonly code: Array<string>
}

const blank = (code: string): string => code.replace(/[^\n]+/g, "")

/** The text of a page; of a module the text of its doc comments, on the lines where they stand. */
const pageOf = (file: string, text: string): string => {
  if (file.endsWith(".md")) return text
  let page = ""
  let at = 0
  for (const { 0: comment, index } of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    page += blank(text.slice(at, index)) + comment.replace(/^\s*\* ?/gm, "")
    at = index + comment.length
  }
  return page
}

/** The programs of a file, and how many fences opted out. */
export const extract = (file: string, text: string) => {
  const lines = pageOf(file, text).split("\n")
  const programs: Array<Program> = []
  let skipped = 0
  let into: Array<string> | undefined
  let margin = ""
  let isOpen = false
  lines.forEach((line, index) => {
    const fence = /^(\s*)```(.*)$/.exec(line)
    if (fence === null) {
      if (into !== undefined) into[index] = line.startsWith(margin) ? line.slice(margin.length) : line.trimStart()
      return
    }
    isOpen = !isOpen
    into = undefined
    margin = fence[1]!
    const [language, mark] = fence[2]!.trim().split(/\s+/)
    if (!isOpen || language !== "ts") return
    if (mark === "no-check") skipped++
    else if (mark === "continued" && programs.length > 0) into = programs.at(-1)!.code
    else if (mark === undefined) programs.push({ file, line: index + 1, code: into = lines.map(() => "") })
    else throw new Error(`${file}:${index + 1}: unknown fence: ts ${mark}`)
  })
  return { programs: programs.map((program) => withFiles(program, programs)), skipped }
}

const nameOf = ({ file, line }: Program): string => `${file.replaceAll("/", "__")}.L${line}`

/** The program with its imports of `./name.ts` leading to the program that says it is that file. */
const withFiles = (program: Program, programs: ReadonlyArray<Program>): Program => ({
  ...program,
  code: program.code.map((line) =>
    line.replace(/"\.\/([\w.]+)"/, (given, name: string) => {
      const found = programs.find(({ code }) => code.find((one) => one !== "") === `// ${name}`)
      return found === undefined ? given : `"./${nameOf(found)}.ts"`
    })
  )
})

/** What a program prints, by its `// Output:` comment: the rest of that line, or the comment lines that follow. */
const outputOf = (code: ReadonlyArray<string>): string | undefined => {
  const at = code.findIndex((line) => /^\s*\/\/ Output:/.test(line))
  if (at === -1) return undefined
  const [, sameLine] = /Output: ?(.*)$/.exec(code[at]!)!
  if (sameLine !== "") return sameLine
  const rest = code.slice(at + 1)
  const end = rest.findIndex((line) => !/^\s*\/\//.test(line))
  return rest.slice(0, end).map((line) => line.replace(/^\s*\/\/ ?/, "").trimEnd()).join("\n")
}

const isExpression = (text: string): boolean => {
  try {
    void new Script(`(${text})`)
    return true
  } catch {
    return false
  }
}

const prelude = `import { equals as __equals } from "effect/Equal"; import { isDeepStrictEqual as __same, inspect as \
__inspect } from "node:util"; const __check = (line: number, value: unknown, expected: () => unknown, text: string) => { \
const printed = __inspect(value, { breakLength: Infinity, depth: 10 }); \
if (printed === text || String(value) === text || __equals(value, expected()) || __same(value, expected())) return; \
throw new Error(\`line \${line}: // => \${text}, but it is \${printed}\`) };`

/** The program with its `// =>` comments as checks; each stands behind an expression or a constant of one line. */
const instrument = (code: ReadonlyArray<string>): string =>
  prelude + code.map((line, index) => {
    const [, indent, shown, expected] = /^(\s*)(.*?)\s*\/\/ => (.*)$/.exec(line) ?? []
    if (expected === undefined) return line
    const name = /^const (\w+)\b/.exec(shown!)?.[1]
    const value = name ?? /^console\.log\((.*)\)$/.exec(shown!)?.[1] ?? shown
    const wanted = isExpression(expected) ? `(${expected})` : `Symbol()`
    return `${indent}${name === undefined ? "" : shown};__check(${index + 1}, ${value}, () => ${wanted}, ${
      JSON.stringify(expected)
    })`
  }).join("\n")

/** Runs a program that says what it gives; `undefined` when it says nothing. */
const runProgram = async (program: Program, folder: string): Promise<ReadonlyArray<Problem> | undefined> => {
  const { code, file, line } = program
  const output = outputOf(code)
  if (output === undefined && !code.some((one) => one.includes("// => "))) return undefined
  const path = join(folder, `${nameOf(program)}.run.ts`)
  writeFileSync(path, instrument(code))
  const finished = await run(process.execPath, ["--conditions=effect-eventbox:source", path], { cwd: folder })
  const said = finished.stdout.trim()
  if (finished.code !== 0) return [{ file, line, message: `the example failed: ${finished.stderr.trim()}` }]
  if (output === undefined || said === output) return []
  return [{ file, line, message: `the example says it prints\n${output}\nbut it prints\n${said}` }]
}

/** Checks the examples of files, given as path and text; `folder` lies in the project, so that its name resolves. */
export const doctest = async (files: ReadonlyMap<string, string>, folder: string) => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const extracted = [...files].map(([path, text]) => extract(path, text))
  const programs = extracted.flatMap((one) => one.programs)
  for (const program of programs) {
    writeFileSync(join(folder, `${nameOf(program)}.ts`), `${program.code.join("\n")}\nexport {}\n`)
  }
  const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false }
  const config = { extends: join(projectRoot, "tsconfig.json"), compilerOptions, include: ["*.ts"] }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
  const types = await compile(folder)
  const problems: Array<Problem> = types === "" ? [] : [{ file: "types", line: 0, message: types }]
  const waiting = programs.values()
  let ran = 0
  await Promise.all(Array.from({ length: availableParallelism() }, async () => {
    for (const program of waiting) {
      const found = await runProgram(program, folder)
      if (found === undefined) continue
      ran++
      problems.push(...found)
    }
  }))
  const skipped = extracted.reduce((sum, one) => sum + one.skipped, 0)
  return { problems, programs: programs.length, ran, skipped }
}

const isDocumented = (path: string): boolean => /^(README\.md|ARCHITECTURE\.md|docs\/.*\.md|src\/.*\.ts)$/.test(path)

if (import.meta.main) {
  const paths = [...listFiles(".md"), ...listFiles(".ts")].filter(isDocumented)
  const files = new Map(paths.map((path) => [path, readText(path)]))
  const { problems, programs, ran, skipped } = await doctest(files, join(projectRoot, ".cache/doctest"))
  report("doctest", problems, `${programs} examples type-checked, ${ran} run, ${skipped} opted out`)
}
