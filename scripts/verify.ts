/**
 * `npm run verify`: whether a database does what the design leans on, and what to do where it does not. See
 * `docs/guides/verify.md`.
 */
import { Cause, Effect, Exit, Fiber, type Scope } from "effect"
import type { DatastoreError, EmulatorError } from "../src/EventboxError.ts"
import * as Emulator from "../src/layers/Emulator.ts"
import { exitCodeOf, formatVerdict } from "./verify/finding.ts"
import { type Address, freshNamespace } from "./verify/namespace.ts"
import { BadOptionError, help, type Options, parseOptions } from "./verify/options.ts"
import { describe, formatPlan, formatSpent } from "./verify/plan.ts"
import { cleanUp, messageOf, type Terminal, verify } from "./verify/run.ts"
import { adviceFor } from "./verify/unreachable.ts"

const isLive = process.stderr.isTTY === true

/** Findings go to the output; what is going on, to the error output: on a terminal one line that is rewritten. */
const terminal: Terminal = {
  say: (text) => {
    if (isLive) process.stderr.write("\r\x1b[K")
    console.log(text)
  },
  progress: (text) => {
    if (isLive) process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`)
    else console.error(text)
  }
}

const addressOf = (
  { databaseId, datastore, endpoint, projectId, unwrittenExpectations }: Options
): Effect.Effect<Address, EmulatorError, Scope.Scope> => {
  const both = { databaseId, endpoint, unwrittenExpectations }
  if (datastore === "google") return Effect.succeed({ ...both, projectId: projectId! })
  return Effect.map(Emulator.start(), ({ host }) => ({
    ...both,
    projectId: projectId ?? `eventbox-${crypto.randomUUID().slice(0, 13)}`,
    emulatorHost: host
  }))
}

/** What would empty the namespace of this run, once the process is gone. */
let leftOver: string | undefined

/** What to do about a database that could not be used. */
let advice: string | undefined

const program = (options: Options): Effect.Effect<number, DatastoreError | EmulatorError> =>
  Effect.scoped(Effect.gen(function*() {
    if (options.datastore === "emulator") terminal.progress("looking for the emulator")
    const address = yield* addressOf(options)
    if (options.clean !== undefined) {
      terminal.say(`Emptying ${options.clean} of ${describe(address)}`)
      return "problem" in (yield* cleanUp(address, options.clean, terminal)) ? 2 : 0
    }
    const ownsEmulator = options.datastore === "emulator" && (process.env["DATASTORE_EMULATOR_HOST"] ?? "") === ""
    const plan = { address, namespace: freshNamespace(), parts: options.parts, ownsEmulator }
    terminal.say(formatPlan(plan))
    if (options.dryRun) return 0
    leftOver = `npm run verify -- ${cleanOptions(options, address)} --clean ${plan.namespace}`
    const verdict = yield* Effect.tapError(verify(plan, terminal), (error) =>
      Effect.sync(() => {
        advice = adviceFor(error, address)
      }))
    terminal.say(formatSpent(verdict.spent, verdict.medianMillis))
    terminal.say(`\n${formatVerdict(verdict)}`)
    if ("problem" in verdict.cleaned) terminal.say(`To empty the namespace: ${leftOver}`)
    return exitCodeOf(verdict)
  }))

const cleanOptions = ({ databaseId, datastore, endpoint }: Options, { projectId }: Address): string =>
  [
    `--datastore ${datastore} --project ${projectId}`,
    ...(databaseId === undefined ? [] : [`--database ${databaseId}`]),
    ...(endpoint === undefined ? [] : [`--endpoint ${endpoint}`])
  ].join(" ")

/** Runs to the end. The first signal stops the run and lets it clean up, a second one ends the process at once. */
const runMain = (main: Effect.Effect<number, DatastoreError | EmulatorError>): void => {
  const fiber = Effect.runFork(main)
  // A fiber that waits for another one keeps no process alive.
  const keepAlive = setInterval(() => undefined, 1 << 30)
  let isStopping = false
  const stop = (): void => {
    if (isStopping) {
      console.error(leftOver === undefined ? "verify: stopped" : `verify: stopped; to clean up: ${leftOver}`)
      process.exit(2)
    }
    isStopping = true
    console.error("verify: stopping and cleaning up; once more to leave everything as it is")
    Effect.runFork(Fiber.interrupt(fiber))
  }
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  for (const signal of signals) process.on(signal, stop)
  fiber.addObserver((exit) => {
    clearInterval(keepAlive)
    for (const signal of signals) process.off(signal, stop)
    if (Exit.isSuccess(exit)) {
      process.exitCode = exit.value
      return
    }
    process.exitCode = 2
    console.error(
      Cause.hasInterruptsOnly(exit.cause) ? "verify: stopped before the end" : `verify: ${messageOf(exit.cause)}`
    )
    if (advice !== undefined) console.error(`verify: ${advice}`)
  })
}

const main = (args: ReadonlyArray<string>): void => {
  try {
    const options = parseOptions(args, process.env)
    if (options === undefined) console.log(help)
    else runMain(program(options))
  } catch (error) {
    if (!(error instanceof BadOptionError)) throw error
    console.error(`verify: ${error.message}\nverify: --help shows the options`)
    process.exitCode = 2
  }
}

main(process.argv.slice(2))
