/**
 * The options of `npm run mutants`.
 */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import type { Mutant } from "./mutant.ts"

/** What to do. */
export interface Options {
  readonly mutants: ReadonlyArray<Mutant>
  readonly jobs: number
  /** Only print the mutants. */
  readonly list: boolean
}

/** What `--help` prints. */
export const help = `Usage: npm run mutants -- [options]

Puts named faults into copies of the sources, one at a time, and runs the tests: each fault must make a test fail.

  --only LIST   names of mutants, with commas                    (all)
  --jobs N      copies that are worked on at once                (one per core, 4 at most)
  --list        only print the mutants: name, module, and the rule that each breaks
  --help        print this

Exit code: 0 every mutant was killed; 1 one survived, or one no longer applies, or the tests fail without any; 2 bad
options, or stopped. scripts/mutants/table.ts says how to add a mutant.`

/** An option that cannot be used; its message is for the user. */
export class BadOptionError extends Error {
  override readonly name = "BadOptionError"
}

/** Reads the command line; `undefined` when help was asked for. Throws a {@link BadOptionError}. */
export const parseOptions = (args: ReadonlyArray<string>, all: ReadonlyArray<Mutant>): Options | undefined => {
  const values = parse(args)
  if (values.help === true) return undefined
  return { mutants: chosen(values.only, all), jobs: jobsOf(values.jobs), list: values.list === true }
}

const parse = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: "string" },
        jobs: { type: "string" },
        list: { type: "boolean" },
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    throw new BadOptionError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

const chosen = (only: string | undefined, all: ReadonlyArray<Mutant>): ReadonlyArray<Mutant> => {
  if (only === undefined) return all
  const names = new Set(only.split(",").map((name) => name.trim()))
  for (const name of names) {
    if (!all.some((mutant) => mutant.name === name)) {
      throw new BadOptionError(`--only: there is no mutant ${JSON.stringify(name)}; --list prints them`)
    }
  }
  return all.filter(({ name }) => names.has(name))
}

const jobsOf = (jobs: string | undefined): number => {
  if (jobs === undefined) return Math.min(4, availableParallelism())
  if (/^[1-9]\d?$/.test(jobs)) return Number(jobs)
  throw new BadOptionError(`--jobs is a number from 1 to 99, got ${JSON.stringify(jobs)}`)
}
