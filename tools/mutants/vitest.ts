/**
 * Runs test files of a copy of the project, and says which test failed first.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync, rmSync } from "node:fs"
import { join } from "node:path"

/** How a run of test files ended. */
export type Outcome =
  | { readonly _tag: "Passed" }
  /** `test` is `file > full name`, or what went wrong when it was no test. */
  | { readonly _tag: "Failed"; readonly test: string; readonly file: string | undefined }
  | { readonly _tag: "TimedOut" }

/** What to run. */
export interface Run {
  readonly files: ReadonlyArray<string>
  readonly only?: string | undefined
  readonly timeoutMillis: number
}

interface Report {
  readonly numPassedTests: number
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly assertionResults: ReadonlyArray<{
      readonly status: string
      readonly ancestorTitles: ReadonlyArray<string>
      readonly title: string
    }>
  }>
}

const running = new Set<ChildProcess>()

/** Ends all that is running, at once. */
export const killAll = (): void => {
  for (const child of running) killGroup(child)
}

/** Vitest runs tests in processes of its own, which a fault may keep busy for ever: the whole group has to go. */
const killGroup = ({ pid }: ChildProcess): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // It has ended meanwhile.
  }
}

/** Runs test files below `folder` until the first failure. */
export const runTests = async (folder: string, { files, only, timeoutMillis }: Run): Promise<Outcome> => {
  const output = join(folder, ".mutants-report.json")
  rmSync(output, { force: true })
  const args = [
    join(folder, "node_modules/vitest/vitest.mjs"),
    "run",
    ...files,
    "--bail=1",
    "--maxWorkers=1",
    "--reporter=json",
    `--outputFile=${output}`,
    ...(only === undefined ? [] : ["-t", only])
  ]
  const { code, isTimedOut, said } = await spawnGroup(args, folder, timeoutMillis)
  if (isTimedOut) return { _tag: "TimedOut" }
  if (code === null) throw new Error(`vitest was ended from outside:\n${said}`)
  return read(folder, readReport(output), code, said)
}

const spawnGroup = (args: ReadonlyArray<string>, cwd: string, timeoutMillis: number) =>
  new Promise<{ readonly code: number | null; readonly isTimedOut: boolean; readonly said: string }>(
    (resolve, reject) => {
      const child = spawn(process.execPath, args, {
        cwd,
        // Not as a part of the test run that this may be started by.
        env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|NODE_OPT)/.test(name))),
        stdio: ["ignore", "pipe", "pipe"],
        detached: true
      })
      running.add(child)
      let said = ""
      let isTimedOut = false
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          said = (said + text).slice(-maxSaid)
        })
      }
      const timer = setTimeout(() => {
        isTimedOut = true
        killGroup(child)
      }, timeoutMillis)
      const end = () => {
        clearTimeout(timer)
        running.delete(child)
      }
      // A test may leave a process behind, which would keep the output open.
      child.on("exit", () => killGroup(child))
      child.on("error", (error) => {
        end()
        reject(error)
      })
      child.on("close", (code) => {
        end()
        resolve({ code, isTimedOut, said })
      })
    }
  )

const maxSaid = 20_000

const readReport = (path: string): Report | undefined => {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch {
    return undefined
  }
}

const read = (folder: string, report: Report | undefined, code: number, said: string): Outcome => {
  const results = report?.testResults ?? []
  const fileOf = ({ name }: { readonly name: string }): string =>
    name.startsWith(folder) ? name.slice(folder.length + 1) : name
  for (const result of results) {
    const file = fileOf(result)
    const failed = result.assertionResults.find((one) => one.status === "failed")
    if (failed !== undefined) {
      const test = [file, ...failed.ancestorTitles, failed.title].join(" > ")
      return { _tag: "Failed", test, file }
    }
  }
  // Only now: files that were not run any more after the first failure look the same.
  const unloaded = results.find(({ status }) => status === "failed")
  if (unloaded !== undefined) {
    const file = fileOf(unloaded)
    return { _tag: "Failed", test: `${file}, which cannot be loaded`, file }
  }
  if (code !== 0) return { _tag: "Failed", test: "the run itself, outside of any test", file: undefined }
  if (report === undefined || report.numPassedTests === 0) throw new Error(`vitest ran no test:\n${said}`)
  return { _tag: "Passed" }
}
