/**
 * Programs in a process of their own.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"

const projectRoot = join(import.meta.dirname, "../..")

export interface Ended {
  readonly stdout: string
  readonly stderr: string
  /** `null` when it had to be killed. */
  readonly code: number | null
}

/**
 * Runs TypeScript as a module in the project's folder, with this environment alone (but for the cache of compiled
 * code), and waits until the process ends by itself; kills it when it does not within 20 s of its start, or within
 * `graceMillis` after it printed `done`.
 */
export const runModule = (
  source: string,
  environment: Readonly<Record<string, string>> = {},
  graceMillis = 1_000
): Effect.Effect<Ended> =>
  Effect.promise(() =>
    new Promise((ended) => {
      const child = spawn(process.execPath, [
        "--disable-warning=ExperimentalWarning",
        "--input-type=module-typescript",
        "-e",
        source
      ], {
        cwd: projectRoot,
        env: { NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"], ...environment }
      })
      let timer = setTimeout(() => child.kill("SIGKILL"), 20_000)
      const output = { stdout: "", stderr: "" }
      for (const name of ["stdout", "stderr"] as const) {
        child[name].on("data", (chunk: Buffer) => {
          output[name] += chunk.toString()
          if (!/^done$/m.test(output.stdout)) return
          clearTimeout(timer)
          timer = setTimeout(() => child.kill("SIGKILL"), graceMillis)
        })
      }
      child.on("close", (code) => {
        clearTimeout(timer)
        ended({ ...output, code })
      })
    })
  )
