/**
 * Keeps the examples of the documentation true: type-checks every `ts` fence of doc comments and pages against the
 * sources, and runs those that say what they give (`// => value`) or print (`// Output:`).
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join, relative } from "node:path"
import { compile } from "./compiler.ts"
import { expectedOutput, extract, instrument, type Program } from "./doctest/extract.ts"
import { run } from "./process.ts"
import { listFiles, type Problem, projectRoot, readText, report } from "./source.ts"

const checkModule = join(import.meta.dirname, "doctest/check.ts")

const nameOf = (program: Program): string => `${program.file.replaceAll("/", "__")}.L${program.line}`

/** Type-checks the programs in one go, in files whose line numbers are those of the documentation. */
const checkTypes = async (programs: ReadonlyArray<Program>, folder: string): Promise<ReadonlyArray<Problem>> => {
  const byName = new Map(programs.map((program) => [nameOf(program), program]))
  for (const [name, { code }] of byName) writeFileSync(join(folder, `${name}.ts`), `${code}\nexport {}\n`)
  const config = {
    extends: relative(folder, join(projectRoot, "tsconfig.json")),
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ["*.ts"],
    exclude: ["*.run.ts"]
  }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
  return (await compile(folder)).map(({ file, line, text }) => {
    const program = byName.get(file.replace(/\.ts$/, ""))
    return { file: program?.file ?? file, line, message: text }
  })
}

/** Runs a program that says what it gives; `undefined` when it says nothing. */
const runProgram = async (program: Program, folder: string): Promise<ReadonlyArray<Problem> | undefined> => {
  const { checks, code } = instrument(program, checkModule)
  const output = expectedOutput(program.code)
  if (checks === 0 && output === undefined) return undefined
  const path = join(folder, `${nameOf(program)}.run.ts`)
  writeFileSync(path, code)
  const finished = await run(process.execPath, ["--conditions=effect-eventbox:source", path], { cwd: folder })
  const at = { file: program.file, line: program.line }
  if (finished.code !== 0) {
    const reason = /^Error: (.*(?:\n {2}but the value is .*)?)$/m.exec(finished.stderr)?.[1] ?? finished.stderr.trim()
    return [{ ...at, message: `the example failed: ${reason}` }]
  }
  if (output === undefined || finished.stdout.trim() === output) return []
  return [{ ...at, message: `the example says it prints\n${output}\nbut it prints\n${finished.stdout.trim()}` }]
}

/** What {@link doctest} saw. */
export interface Summary {
  readonly problems: ReadonlyArray<Problem>
  readonly programs: number
  readonly ran: number
  readonly skipped: number
}

/**
 * Checks the examples of files, given as path and text; `folder` must lie in the project, so that its name resolves.
 */
export const doctest = async (files: ReadonlyMap<string, string>, folder: string): Promise<Summary> => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const extracted = [...files].map(([path, text]) => extract(path, text))
  const programs = extracted.flatMap((one) => one.programs)
  const skipped = extracted.reduce((sum, one) => sum + one.skipped, 0)
  if (programs.length === 0) return { problems: [], programs: 0, ran: 0, skipped }

  const types = await checkTypes(programs, folder)
  const waiting = [...programs]
  const results: Array<ReadonlyArray<Problem>> = []
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      // One program per core at a time.
      const problems = await runProgram(next, folder)
      if (problems !== undefined) results.push(problems)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return { problems: [...types, ...results.flat()], programs: programs.length, ran: results.length, skipped }
}

const isDocumented = (path: string): boolean =>
  path === "README.md" || path === "ARCHITECTURE.md" || /^docs\/.*\.md$/.test(path) || /^src\/.*\.ts$/.test(path)

if (import.meta.main) {
  const files = new Map(listFiles(projectRoot).filter(isDocumented).map((path) => [path, readText(projectRoot, path)]))
  const { problems, programs, ran, skipped } = await doctest(files, join(projectRoot, ".cache/doctest"))
  report("doctest", problems, `${programs} examples type-checked, ${ran} run, ${skipped} opted out`)
}
