/**
 * `npm run mutants`: puts named faults into copies of the sources, and fails if the tests let one live.
 *
 * The faults stand in `scripts/mutants/table.ts`, which says how to add one. The project's own files are never changed.
 */
import { availableParallelism } from "node:os"
import { removeCopies } from "./mutants/copy.ts"
import { hunt, UnusableError, type Verdict } from "./mutants/hunt.ts"
import { BadOptionError, help, type Options, parseOptions } from "./mutants/options.ts"
import { isLong, mutants as all } from "./mutants/table.ts"
import { killAll } from "./mutants/vitest.ts"
import { listFiles, projectRoot } from "./source.ts"

/** The tests that a mutant meets which those that it names let live. */
const suite = (): ReadonlyArray<string> =>
  listFiles(projectRoot, "test").filter((path) => path.endsWith(".test.ts") && !isLong(path))

const summary = (verdicts: ReadonlyArray<Verdict>, seconds: number): string => {
  const survivors = verdicts.filter(({ killed }) => !killed)
  const lines = survivors.map(({ mutant }) => `  ${mutant.name} (${mutant.file}): ${mutant.what}`)
  const killed = verdicts.length - survivors.length
  return [
    ...(survivors.length === 0 ? [] : ["", "No test notices:", ...lines]),
    "",
    `mutants: ${verdicts.length} mutants, ${killed} killed, ${survivors.length} survived, ` +
    `${Math.round(seconds)} s on ${availableParallelism()} cores`
  ].join("\n")
}

const run = async ({ jobs, list, mutants }: Options): Promise<void> => {
  if (list) {
    for (const { file, name, what } of mutants) console.log(`${name} (${file}): ${what}`)
    return
  }
  const start = performance.now()
  const verdicts = await hunt({ root: projectRoot, mutants, jobs, suite: suite(), say: (line) => console.log(line) })
  console.log(summary(verdicts, (performance.now() - start) / 1_000))
  if (verdicts.some(({ killed }) => !killed)) process.exitCode = 1
}

/** What a signal leaves behind: nothing. */
const stop = (): void => {
  killAll()
  removeCopies()
  console.error("mutants: stopped before the end")
  process.exit(2)
}

const main = async (args: ReadonlyArray<string>): Promise<void> => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop)
  try {
    const options = parseOptions(args, all)
    if (options === undefined) console.log(help)
    else await run(options)
  } catch (error) {
    if (error instanceof BadOptionError) {
      console.error(`mutants: ${error.message}\nmutants: --help shows the options`)
      process.exitCode = 2
    } else if (error instanceof UnusableError) {
      console.error(`mutants: ${error.message}`)
      process.exitCode = 1
    } else throw error
  }
}

await main(process.argv.slice(2))
