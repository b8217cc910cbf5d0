/**
 * `npm run chaos`: the ledger on the emulator while its processes are killed and their connections are cut. See
 * `docs/guides/chaos.md`.
 */
import { Cause, Effect } from "effect"
import { showLine } from "../examples/ledger/report.ts"
import { messageOf, runMain, stoppedCode } from "../examples/ledger/runMain.ts"
import { runCommand } from "../src/cli/command.ts"
import { cutsOf, noStrikes } from "./nemesis.ts"
import { chaosCommand, type Options } from "./options.ts"
import { formatHead, formatResult, progressLine } from "./report.ts"
import { chaos, type Progress } from "./run.ts"

const program = (options: Options): Effect.Effect<number> =>
  Effect.suspend(() => {
    console.log(`SEED=${options.seed}`)
    console.log(`${formatHead(options)}\n`)
    let strikes = noStrikes()
    const sofar = () => `after ${strikes.kills.total} kills and ${cutsOf(strikes)} cuts`
    const watch = (progress: () => Progress) => {
      strikes = progress().strikes
      return showLine(process.stderr, (seconds) => progressLine(progress(), options, seconds))
    }
    return chaos(options, watch).pipe(
      Effect.map((result) => {
        console.log(formatResult(options, result))
        return result.verdict.problems.length === 0 ? 0 : 1
      }),
      Effect.onInterrupt(() => Effect.sync(() => console.error(`chaos: stopped ${sofar()}`))),
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(stoppedCode)
        console.error(`chaos: failed ${sofar()}: ${messageOf(cause)}`)
        return Effect.succeed(1)
      })
    )
  })

runMain(runCommand(chaosCommand(program), process.argv.slice(2)), { signals: ["SIGINT", "SIGTERM", "SIGHUP"] })
