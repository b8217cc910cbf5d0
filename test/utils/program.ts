import { spawn } from "node:child_process"
import { join } from "node:path"

/** The folder of the project. */
export const root: string = join(import.meta.dirname, "../..")

/** How a program ended and what it said. */
export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of the project by its path, to its end, as the README says it is run. */
export const runProgram = (
  path: string,
  args: ReadonlyArray<string> = [],
  options: {
    readonly env?: Readonly<Record<string, string>>
    /** Sent as soon as the program says something on its standard error. */
    readonly signal?: NodeJS.Signals
    readonly timeoutMillis?: number
  } = {}
): Promise<Finished> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--conditions=effect-eventbox:source", join(root, path), ...args], {
      cwd: root,
      // No colours, wherever the tests run.
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: options.timeoutMillis ?? 25_000
    })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr === "" && options.signal !== undefined) child.kill(options.signal)
      stderr += text
    })
    child.on("error", reject).on("close", (code) => resolve({ code, stdout, stderr }))
  })
