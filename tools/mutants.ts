/**
 * `npm run mutants`: puts named faults into copies of the sources, one at a time, and fails if the tests let one live.
 *
 * Why by hand: Stryker mutates every operator, tens of thousands of them, and knows no rule that must not break.
 */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { runMain } from "../examples/ledger/runMain.ts"
import { command, count, runCommand } from "../src/cli/command.ts"
import { declarationsOf, type Mutant, mutants, mutate } from "./mutants/mutant.ts"
import { projectRoot } from "./source.ts"

/** How one mutant ended; `by` is the test that killed it. */
export interface Verdict {
  readonly mutant: Mutant
  readonly by: string | undefined
}

/** What to hunt, and where. */
export interface Hunt {
  readonly root: string
  readonly mutants: ReadonlyArray<Mutant>
  readonly jobs: number
  readonly say: (line: string) => void
  readonly timeoutSeconds?: number
}

/** A throw-away copy of a project; its packages are links. Its own name leads to its own sources. */
const makeCopy = (root: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = Fs.realpathSync(Fs.mkdtempSync(join(tmpdir(), "eventbox-mutants-")))
      const modules = Fs.realpathSync(join(root, "node_modules"))
      for (const name of Fs.readdirSync(root).filter((one) => !/^(node_modules|dist|coverage|\..*)$/.test(one))) {
        Fs.cpSync(join(root, name), join(folder, name), { recursive: true })
      }
      // A folder of its own, since vitest writes into it.
      Fs.mkdirSync(join(folder, "node_modules"))
      for (const name of Fs.readdirSync(modules).filter((one) => !one.startsWith("."))) {
        Fs.symlinkSync(join(modules, name), join(folder, "node_modules", name))
      }
      return folder
    }),
    (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }))
  )

/** Vitest runs tests in processes of its own, which a fault may keep busy for ever: the whole group has to go. */
const killGroup = ({ pid }: ChildProcess): void => {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL")
  } catch {
    // It has ended meanwhile.
  }
}

/** Runs test files of a copy until the first failure, and names it; nothing when all pass. */
const runTests = (folder: string, files: ReadonlyArray<string>, seconds: number): Effect.Effect<string | undefined> => {
  const report = join(folder, "report.json")
  const vitest = join(folder, "node_modules/vitest/vitest.mjs")
  const args = [vitest, "run", ...files, "--bail=1", "--maxWorkers=1", "--reporter=json", `--outputFile=${report}`]
  // Not as a part of the test run that this may be started by.
  const env = Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|NODE_OPT)/.test(name))
  return Effect.callback<string | undefined>((resume) => {
    Fs.rmSync(report, { force: true })
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env: Object.fromEntries(env),
      stdio: "ignore",
      detached: true
    })
    child.on("exit", (code) => {
      killGroup(child)
      resume(Effect.sync(() => firstFailure(report, code)))
    })
    return Effect.sync(() => killGroup(child))
  }).pipe(Effect.timeoutOrElse({ duration: seconds * 1_000, orElse: () => Effect.succeed("time-out") }))
}

const firstFailure = (path: string, code: number | null): string | undefined => {
  const { numPassedTests = 0, testResults = [] } = code === null ? {} : JSON.parse(Fs.readFileSync(path, "utf8"))
  const tests: ReadonlyArray<any> = testResults.flatMap(({ assertionResults }: any) => assertionResults)
  const failed = tests.find(({ status }) => status === "failed")
  if (failed !== undefined) return failed.fullName
  if (code !== 0) return "a test file that cannot be loaded"
  if (numPassedTests === 0) throw new Error("vitest ran no test")
  return undefined
}

/** Hunts all mutants; dies when one no longer applies, or when the tests fail without any. */
export const hunt = ({ jobs, mutants: hunted, root, say, timeoutSeconds = 90 }: Hunt) =>
  Effect.scoped(Effect.gen(function*() {
    const declarations = declarationsOf(root)
    const faults = hunted.map((mutant) => ({ mutant, ...mutate(mutant, declarations, root) }))
    const copies = yield* Effect.all(Array.from({ length: Math.min(jobs, faults.length) }, () => makeCopy(root)))
    const named = [...new Set(hunted.flatMap(({ tests }) => tests))]
    const broken = yield* runTests(copies[0]!, named, 900)
    if (broken !== undefined) return yield* Effect.die(new Error(`the tests fail without a fault: ${broken}`))
    say(`${faults.length} mutants, ${copies.length} copies; ${named.length} test files pass without a fault`)
    const waiting = faults.values()
    const verdicts: Array<Verdict> = []
    yield* Effect.forEach(copies, (folder) =>
      Effect.gen(function*() {
        for (const { mutant, mutated, path, text } of waiting) {
          Fs.writeFileSync(join(folder, path), mutated)
          const by = yield* runTests(folder, mutant.tests, timeoutSeconds)
          Fs.writeFileSync(join(folder, path), text)
          verdicts.push({ mutant, by })
          say(by === undefined ? `SURVIVED  ${mutant.name}: ${mutant.what}` : `killed    ${mutant.name}: ${by}`)
        }
      }), { concurrency: "unbounded", discard: true })
    return verdicts
  }))

const mutantsCommand = command({
  name: "mutants",
  description:
    "Puts named faults into copies of the sources, one at a time, and runs the tests that should see each.\n\n" +
    "Exit code: 0 every mutant was killed; 1 one survived, or no longer applies, or the tests fail without any. " +
    "tools/mutants/rules.txt says how to add one.",
  flags: {
    only: Flag.String("only").pipe(
      Flag.withMetavar("LIST"),
      Flag.withDescription("names of mutants, with commas [all]"),
      Flag.filterMap((list) => {
        const names = list.split(",").map((name) => name.trim())
        const chosen = mutants.filter(({ name }) => names.includes(name))
        return chosen.length === names.length ? Option.some(chosen) : Option.none()
      }, () => "names that --list prints"),
      Flag.withDefault(mutants)
    ),
    jobs: count("jobs", 1, 64, Math.min(4, availableParallelism()), "copies that are worked on at once"),
    list: Flag.Boolean("list").pipe(Flag.withDescription("only print the mutants"), Flag.withDefault(false))
  },
  check: Effect.succeed
})

if (import.meta.main) {
  const program = mutantsCommand(({ jobs, list, only }) =>
    Effect.gen(function*() {
      for (const { name, what } of list ? only : []) console.log(`${name}: ${what}`)
      if (list) return 0
      const verdicts = yield* hunt({ root: projectRoot, mutants: only, jobs, say: (line) => console.log(line) })
      const survived = verdicts.filter(({ by }) => by === undefined).length
      console.log(`mutants: ${verdicts.length} mutants, ${verdicts.length - survived} killed, ${survived} survived`)
      return survived === 0 ? 0 : 1
    })
  )
  runMain(runCommand(program, process.argv.slice(2)), { signals: ["SIGINT", "SIGTERM", "SIGHUP"] })
}
