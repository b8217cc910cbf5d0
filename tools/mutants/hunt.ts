/**
 * The hunt: puts one mutant after another into copies of a project, and runs the tests that should kill it.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { readText } from "../source.ts"
import { makeCopy, removeCopies } from "./copy.ts"
import { type Mutant, mutate, problemsOf } from "./mutant.ts"
import { killAll, type Outcome, runTests } from "./vitest.ts"

/** How one mutant ended. */
export interface Verdict {
  readonly mutant: Mutant
  readonly killed: boolean
  /** What killed it. */
  readonly by: string
  readonly seconds: number
}

/** What to hunt, and where. */
export interface Hunt {
  readonly root: string
  readonly mutants: ReadonlyArray<Mutant>
  /** Copies that are worked on at once. */
  readonly jobs: number
  /** The rest of the tests, for a mutant that the tests named by it let live. */
  readonly suite: ReadonlyArray<string>
  /** How long the tests that a mutant names may take. */
  readonly timeoutMillis?: number | undefined
  readonly say: (line: string) => void
}

/** The hunt cannot be trusted: a mutant no longer applies, or the tests fail without one or do not see the copy. */
export class UnusableError extends Error {
  override readonly name = "UnusableError"
}

const suiteTimeoutMillis = 900_000

/**
 * Hunts all mutants. The tests must pass in a copy without a fault, and each copy must notice a module that throws; a
 * kill by a test that the mutant does not name counts only if that test passes without the mutant.
 */
export const hunt = async (options: Hunt): Promise<ReadonlyArray<Verdict>> => {
  const { jobs, mutants, root, say } = options
  const verdicts: Array<Verdict> = []
  try {
    const problems = problemsOf(mutants, readFrom(root))
    if (problems.length > 0) throw new UnusableError(problems.join("\n"))
    const waiting = mutants.values()
    const copies = Array.from({ length: Math.max(1, Math.min(jobs, mutants.length)) }, () => makeCopy(root))
    say(`${mutants.length} mutants, ${copies.length} copies`)
    await Promise.all([
      checkBaseline(options, copies[0]!),
      ...copies.slice(1).map((folder) => checkLethal(options, folder))
    ])
    await checkLethal(options, copies[0]!)
    await Promise.all(copies.map(async (folder) => {
      for (const mutant of waiting) {
        const verdict = await judge(options, mutant, folder)
        verdicts.push(verdict)
        say(formatVerdict(verdict))
      }
    }))
  } finally {
    killAll()
    removeCopies()
  }
  return mutants.map((mutant) => verdicts.find((verdict) => verdict.mutant === mutant)!)
}

/** Reads files of a project by their path in it. */
export const readFrom = (root: string) => (path: string): string | undefined =>
  existsSync(join(root, path)) ? readText(root, path) : undefined

/** One line about a mutant. */
export const formatVerdict = ({ by, killed, mutant, seconds }: Verdict): string =>
  `${killed ? "killed  " : "SURVIVED"} ${seconds.toFixed(1).padStart(6)} s  ${mutant.name}: ${by}`

const named = (mutants: ReadonlyArray<Mutant>): ReadonlyArray<string> => [
  ...new Set(mutants.flatMap(({ tests }) => tests))
]

const checkBaseline = async ({ mutants, say }: Hunt, folder: string): Promise<void> => {
  const files = named(mutants)
  const start = performance.now()
  const outcome = await runTests(folder, { files, timeoutMillis: suiteTimeoutMillis })
  if (outcome._tag !== "Passed") throw new UnusableError(`the tests fail without a fault: ${describe(outcome)}`)
  say(`baseline ${secondsSince(start).toFixed(1).padStart(6)} s  ${files.length} test files pass without a fault`)
}

const lethal = "mutants: this module was replaced"

/** A copy whose tests do not notice that a module is gone would let every mutant live, or look at the wrong sources. */
const checkLethal = async ({ mutants, timeoutMillis }: Hunt, folder: string): Promise<void> => {
  const { file, tests } = mutants[0]!
  const outcome = await withText(
    folder,
    file,
    () => `throw new Error(${JSON.stringify(lethal)})\nexport {}\n`,
    () => runTests(folder, { files: tests, timeoutMillis: timeoutMillis ?? namedTimeoutMillis })
  )
  if (outcome._tag === "Failed" && /cannot be loaded|the run itself/.test(outcome.test)) return
  throw new UnusableError(`${tests.join(", ")} do not reach the copy's own ${file}: ${describe(outcome)}`)
}

const namedTimeoutMillis = 90_000

const withText = async <A>(
  folder: string,
  file: string,
  change: (text: string) => string,
  run: () => Promise<A>
): Promise<A> => {
  const path = join(folder, file)
  const text = readFileSync(path, "utf8")
  writeFileSync(path, change(text))
  try {
    return await run()
  } finally {
    writeFileSync(path, text)
  }
}

const judge = async (options: Hunt, mutant: Mutant, folder: string): Promise<Verdict> => {
  const start = performance.now()
  const { suite, timeoutMillis = namedTimeoutMillis } = options
  const { file, only, tests } = mutant
  const inMutant = (run: () => Promise<Outcome>) => withText(folder, file, (text) => mutate(mutant, text), run)
  const verdict = (killed: boolean, by: string) => ({ mutant, killed, by, seconds: secondsSince(start) })

  const first = await inMutant(() => runTests(folder, { files: tests, only, timeoutMillis }))
  if (first._tag !== "Passed") return verdict(true, describe(first))
  if (suite.length === 0) return verdict(false, mutant.what)
  const second = await inMutant(() => runTests(folder, { files: suite, timeoutMillis: suiteTimeoutMillis }))
  if (second._tag === "Passed") return verdict(false, mutant.what)
  const file_ = second._tag === "Failed" ? second.file : undefined
  const files = file_ === undefined ? suite : [file_]
  const without = await runTests(folder, { files, timeoutMillis: suiteTimeoutMillis })
  if (without._tag !== "Passed") throw new UnusableError(`a test fails without a fault: ${describe(without)}`)
  return verdict(true, `${describe(second)} (not by the tests that it names)`)
}

/** How a run of tests ended, for a person. */
const describe = (outcome: Outcome): string => {
  switch (outcome._tag) {
    case "Passed":
      return "they pass"
    case "TimedOut":
      return "time-out: the tests did not end"
    case "Failed":
      return outcome.test
  }
}

const secondsSince = (start: number): number => (performance.now() - start) / 1_000
