/**
 * A mutant: a small fault that is put into the sources to see whether the tests notice.
 */
import { parse } from "../source.ts"

/** One named fault. */
export interface Mutant {
  /** Lower case, words with hyphens; says what is wrong, not where. */
  readonly name: string
  /** The module that gets the fault, from the root of the project. */
  readonly file: string
  /** One sentence: which rule is broken. */
  readonly what: string
  /** A piece of the module that occurs exactly once. */
  readonly find: string
  readonly replace: string
  /** Test files that should see it first: fast ones. */
  readonly tests: ReadonlyArray<string>
  /**
   * Where those files are long: a regular expression for the full names of the tests to run, as `vitest -t` takes it.
   */
  readonly only?: string | undefined
}

/** The text of the mutant's module with the fault in it; throws when the text no longer has the place for it. */
export const mutate = (mutant: Mutant, text: string): string => {
  const parts = text.split(mutant.find)
  if (parts.length === 2 && mutant.find !== "" && mutant.find !== mutant.replace) return parts.join(mutant.replace)
  const count = parts.length === 1 ? "is not" : parts.length === 2 ? "is no change of what is" : "is more than once"
  throw new Error(`mutant ${mutant.name} no longer applies: ${JSON.stringify(mutant.find)} ${count} in ${mutant.file}`)
}

/** What is wrong with a table of mutants; `read` gives the text of a file, `undefined` for a missing one. */
export const problemsOf = (
  mutants: ReadonlyArray<Mutant>,
  read: (path: string) => string | undefined
): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const seen = new Set<string>()
  for (const mutant of mutants) {
    const { file, name, only, tests, what } = mutant
    if (seen.size === seen.add(name).size) problems.push(`mutant ${name}: another one has this name`)
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) problems.push(`mutant ${name}: a name is lower case with hyphens`)
    if (!/^[A-Z].*[^.]\.$/.test(what)) problems.push(`mutant ${name}: what it breaks is one sentence`)
    if (tests.length === 0) problems.push(`mutant ${name}: no test file is named`)
    const lost = tests.filter((test) => read(test) === undefined)
    for (const test of lost) problems.push(`mutant ${name}: there is no ${test}`)
    const texts = tests.map((test) => read(test) ?? "")
    if (only !== undefined && lost.length === 0 && !texts.some((text) => new RegExp(only).test(text))) {
      problems.push(`mutant ${name}: no test of ${tests.join(", ")} is named ${only}`)
    }
    problems.push(...faultProblems(mutant, read(file)))
  }
  return problems
}

const faultProblems = (mutant: Mutant, text: string | undefined): ReadonlyArray<string> => {
  if (text === undefined) return [`mutant ${mutant.name} no longer applies: there is no ${mutant.file}`]
  try {
    parse(mutant.file, mutate(mutant, text))
    return []
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return [message.includes(mutant.name) ? message : `mutant ${mutant.name}: ${message}`]
  }
}
