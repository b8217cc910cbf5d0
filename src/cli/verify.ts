/**
 * `effect-eventbox verify`: whether a database does what the design leans on, and what to do where it does not.
 */
import { Cause, Console, Effect, type Scope } from "effect"
import { TerminalCapabilities } from "effect/cli"
import type { DatastoreError, EmulatorError } from "../EventboxError.ts"
import { messageOf } from "../ground/foreign.ts"
import * as Ids from "../Ids.ts"
import * as Emulator from "../layers/Emulator.ts"
import { wrap } from "./command.ts"
import { exitCodeOf, formatVerdict } from "./verify/finding.ts"
import { type Address, freshNamespace } from "./verify/namespace.ts"
import { type Options, verifyCommand } from "./verify/options.ts"
import { describe, formatPlan, formatSpent } from "./verify/plan.ts"
import { cleanUp, type Terminal, verify as run } from "./verify/run.ts"
import { adviceFor } from "./verify/unreachable.ts"

const live = (text: string) => Effect.sync(() => process.stderr.write(`\r\x1b[K${text}`))

/** Findings go to the output; what is going on, to the error output: on a terminal one line that is rewritten. */
const makeTerminal = Effect.map(TerminalCapabilities.TerminalCapabilities, ({ canColor }): Terminal => {
  const isLive = process.stderr.isTTY === true
  return {
    colors: canColor,
    say: (text) => Effect.andThen(isLive ? live("") : Effect.void, Console.log(text)),
    progress: (text) => isLive ? live(text.slice(0, (process.stderr.columns ?? 80) - 1)) : Console.error(text)
  }
})

const addressOf = (
  { databaseId, datastore, endpoint, projectId, unwrittenExpectations }: Options
): Effect.Effect<Address, EmulatorError, Scope.Scope> =>
  Effect.gen(function*() {
    const both = { databaseId, endpoint, unwrittenExpectations }
    if (datastore === "google") return { ...both, projectId: projectId! }
    const { host } = yield* Emulator.start()
    const ids = yield* Ids.Ids
    return { ...both, projectId: projectId ?? `eventbox-${(yield* ids.next).slice(-12)}`, emulatorHost: host }
  })

const program = (options: Options, terminal: Terminal): Effect.Effect<number, DatastoreError | EmulatorError> =>
  Effect.scoped(Effect.gen(function*() {
    const { progress, say } = terminal
    if (options.datastore === "emulator") yield* progress("looking for the emulator")
    const address = yield* addressOf(options)
    if (options.clean !== undefined) {
      yield* say(`Emptying ${options.clean} of ${describe(address)}`)
      return "problem" in (yield* cleanUp(address, options.clean, terminal)) ? 2 : 0
    }
    const ownsEmulator = options.datastore === "emulator" && (process.env["DATASTORE_EMULATOR_HOST"] ?? "") === ""
    const namespace = yield* freshNamespace
    const plan = { address, namespace, parts: options.parts, ownsEmulator }
    yield* say(formatPlan(plan, cleaning(options, address, namespace)))
    if (options.dryRun) return 0
    const verdict = yield* run(plan, terminal)
    yield* say(formatSpent(verdict.spent, verdict.medianMillis))
    yield* say(`\n${formatVerdict(verdict)}`)
    return exitCodeOf(verdict)
  }))

/** What empties the namespace of a run that was killed. */
const cleaning = ({ databaseId, datastore, endpoint }: Options, { projectId }: Address, namespace: string): string =>
  [
    `npx effect-eventbox verify --datastore ${datastore} --project ${projectId}`,
    ...(databaseId === undefined ? [] : [`--database ${databaseId}`]),
    ...(endpoint === undefined ? [] : [`--endpoint ${endpoint}`]),
    `--clean ${namespace}`
  ].join(" \\\n    ")

const failed = (message: string): Effect.Effect<number> => Effect.as(Console.error(wrap("verify:", message, 8)), 2)

/** The command; its exit code is 0, 1 when something differs, 2 when it could not be found out. */
export const verify = verifyCommand((options) =>
  Effect.gen(function*() {
    const terminal = yield* makeTerminal
    return yield* program(options, terminal).pipe(
      Effect.catchTag("DatastoreError", (error) => {
        const advice = adviceFor(error, options)
        const failure = failed(error.message)
        return advice === undefined ? failure : Effect.andThen(failure, failed(advice))
      }),
      Effect.onInterrupt(() => Console.error("verify: stopped before the end")),
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.succeed(2) : failed(messageOf(Cause.squash(cause)))
      )
    )
  })
)
