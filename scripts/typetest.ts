/**
 * Runs the type tests and proves that they can fail.
 *
 * A type test is a module `typetest/*.tst.ts` that must compile. In it
 *
 * - `// @ts-expect-error <text>` states that the next line does not compile, for the reason that has `<text>` in it;
 * - `// guard: <file> <export>: <old> => <new>` names a guard of the sources: the compiler must refuse the test once
 *   `<old>` is replaced by `<new>` in that export. A guard that nobody would miss is found so.
 */
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { compile, type Diagnostic } from "./compiler.ts"
import { listFiles, type Node, parse, type Problem, projectRoot, readText, report } from "./source.ts"

const directive = /^\s*\/\/ @ts-expect-error ?(.*)$/

/** A line that must not compile, and a part of the reason. */
export interface Expectation {
  readonly line: number
  readonly reason: string
}

/** The lines of a test that must not compile, and the test without its directives. */
export const expectationsOf = (
  text: string
): { readonly expected: ReadonlyArray<Expectation>; readonly bare: string } => {
  const expected: Array<Expectation> = []
  const bare = text.split("\n").map((line, index) => {
    const reason = directive.exec(line)?.[1]
    if (reason !== undefined) expected.push({ line: index + 2, reason: reason.trim() })
    return reason === undefined ? line : ""
  })
  return { expected, bare: bare.join("\n") }
}

/** Compares what the compiler said about a test without directives with what the directives promised. */
export const compare = (
  file: string,
  expected: ReadonlyArray<Expectation>,
  said: ReadonlyArray<Diagnostic>
): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  for (const { line, reason } of expected) {
    const found = said.filter((one) => one.line === line)
    if (reason === "") problems.push({ file, line: line - 1, message: "@ts-expect-error needs the reason after it" })
    else if (found.length === 0) problems.push({ file, line, message: `this compiles, but should not: ${reason}` })
    else if (!found.some((one) => one.text.includes(reason))) {
      const texts = found.map((one) => one.text).join("\n")
      problems.push({ file, line, message: `should be refused for "${reason}", but is for: ${texts}` })
    }
  }
  const lines = new Set(expected.map(({ line }) => line))
  for (const { line, text } of said) if (!lines.has(line)) problems.push({ file, line, message: text })
  return problems
}

/** A change of the sources that a type test must notice. */
export interface Guard {
  readonly test: string
  readonly line: number
  readonly file: string
  readonly name: string
  readonly from: string
  readonly to: string
}

/** The guards that a test names. */
export const guardsOf = (test: string, text: string): ReadonlyArray<Guard> =>
  text.split("\n").flatMap((line, index) => {
    if (!/^\s*\/\/ guard:/.test(line)) return []
    const [, file, name, from, to] = /^\s*\/\/ guard: (\S+) (\S+): (.+?) => (.+)$/.exec(line) ?? []
    if (to === undefined) throw new Error(`${test}:${index + 1}: write // guard: <file> <export>: <old> => <new>`)
    return [{ test, line: index + 1, file: file!, name: name!, from: from!, to }]
  })

/** The source with the guard removed; throws when the guard is not there. */
export const removeGuard = (guard: Guard, source: string): string => {
  const named = parse(guard.file, source).body.find((statement) => {
    const declaration = statement["declaration"] as Node | null | undefined
    const [declarator] = (declaration?.["declarations"] ?? []) as ReadonlyArray<Node>
    const id = (declarator ?? declaration)?.["id"] as { readonly name?: string } | null | undefined
    return id?.name === guard.name
  })
  const at = named === undefined ? -1 : source.indexOf(guard.from, named.start)
  if (named === undefined || at === -1 || at >= named.end) {
    throw new Error(`${guard.test}:${guard.line}: ${guard.file} ${guard.name} has no "${guard.from}"`)
  }
  return source.slice(0, at) + guard.to + source.slice(at + guard.from.length)
}

/** Copies the project's sources and tests to a folder of their own, in which they may be changed. */
const copyTo = (folder: string): void => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const part of ["src", "typetest", "package.json", "tsconfig.json"]) {
    cpSync(join(projectRoot, part), join(folder, part), { recursive: true })
  }
  const config = { extends: "../tsconfig.json", include: ["*.ts"] }
  writeFileSync(join(folder, "typetest/tsconfig.json"), JSON.stringify(config))
}

const checkGuard = async (guard: Guard, folder: string): Promise<ReadonlyArray<Problem>> => {
  const source = readText(folder, guard.file)
  writeFileSync(join(folder, guard.file), removeGuard(guard, source))
  const said = await compile(join(folder, "typetest"))
  writeFileSync(join(folder, guard.file), source)
  if (said.some((one) => `typetest/${one.file}` === guard.test)) return []
  const message = `nothing here notices when ${guard.name} loses its guard: ${guard.from} => ${guard.to}`
  return [{ file: guard.test, line: guard.line, message }]
}

const main = async (): Promise<void> => {
  const folder = join(projectRoot, ".cache/typetest")
  copyTo(folder)
  const tests = listFiles(projectRoot, "typetest").filter((path) => path.endsWith(".tst.ts"))
  const texts = new Map(tests.map((path) => [path, readText(projectRoot, path)]))
  const problems: Array<Problem> = []

  for (const [path, text] of texts) writeFileSync(join(folder, path), expectationsOf(text).bare)
  const said = await compile(join(folder, "typetest"))
  for (const [path, text] of texts) {
    problems.push(
      ...compare(path, expectationsOf(text).expected, said.filter((one) => `typetest/${one.file}` === path))
    )
  }
  for (const { file, line, text } of said) {
    if (!texts.has(`typetest/${file}`)) problems.push({ file, line, message: text })
  }

  for (const [path, text] of texts) writeFileSync(join(folder, path), text)
  const guards = [...texts].flatMap(([path, text]) => guardsOf(path, text))
  // One after the other: each changes the same copy.
  for (const guard of guards) problems.push(...await checkGuard(guard, folder))
  const expected = [...texts.values()].reduce((sum, text) => sum + expectationsOf(text).expected.length, 0)
  report("typetest", problems, `${tests.length} files, ${expected} refusals, ${guards.length} guards`)
}

if (import.meta.main) await main()
