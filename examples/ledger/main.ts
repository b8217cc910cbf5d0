/**
 * The main program of this project: a bank ledger on effect-eventbox. `npm start -- --help` tells its options.
 */
import { Cause, Effect, type Scope } from "effect"
import { runCommand } from "../../src/cli/command.ts"
import { ledgerCommand, type Options } from "./options.ts"
import { processCrew } from "./processes.ts"
import { formatResult, showProgress } from "./report.ts"
import { localCrew, run } from "./run.ts"
import { messageOf, runMain, stoppedCode } from "./runMain.ts"
import { storeLayer } from "./stores.ts"
import { emptyTally, type Tally } from "./tally.ts"

const ledger = (options: Options): Effect.Effect<number> => {
  let tally: () => Tally = emptyTally
  const show = showProgress(process.stderr, options.transfers)
  const watch = (ofRun: () => Tally): Effect.Effect<void, never, Scope.Scope> => {
    tally = ofRun
    return show(ofRun)
  }
  const program = options.processes === 1
    ? run(options, localCrew, watch)
    : run(options, processCrew(options), watch)
  return Effect.scoped(program).pipe(
    Effect.provide(storeLayer(options.datastore)),
    Effect.map((result) => {
      console.log(formatResult(options, result))
      return result.verdict.problems.length === 0 ? 0 : 1
    }),
    Effect.onInterrupt(() =>
      Effect.sync(() =>
        console.error(`ledger: stopped, with ${tally().settled} of ${options.transfers} transfers settled`)
      )
    ),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(stoppedCode)
      console.error(`ledger: ${messageOf(cause)}`)
      return Effect.succeed(1)
    })
  )
}

runMain(runCommand(ledgerCommand(ledger), process.argv.slice(2)), { signals: ["SIGINT", "SIGTERM"] })
