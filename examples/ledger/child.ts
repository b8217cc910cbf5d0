/**
 * A process of workers; started by the ledger, not by hand.
 */
import { Effect } from "effect"
import { Key } from "effect-eventbox"
import { type Orders, type Report, sendersAreDone } from "./processes.ts"
import { localCrew } from "./run.ts"
import { messageOf, runMain } from "./runMain.ts"
import { storeLayer } from "./stores.ts"

const say = (report: Report): Effect.Effect<void> =>
  Effect.callback((resume) => {
    // Nobody listens any more: the ledger is gone, and this process will be told to end too.
    if (process.send === undefined || !process.connected) return resume(Effect.void)
    process.send(report, undefined, undefined, () => resume(Effect.void))
  })

const program = Effect.gen(function*() {
  const orders = JSON.parse(process.argv[2] ?? "") as Orders
  const crew = localCrew({ ...orders, bank: yield* Effect.fromResult(Key.parse(orders.bank)) })
  process.on("message", (told) => {
    if (told === sendersAreDone) crew.sendersAreDone()
  })
  const tellTally = Effect.suspend(() => say({ tally: crew.tally() }))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep("100 millis"), tellTally)))
  yield* crew.work.pipe(Effect.provide(storeLayer(orders.datastore)))
  yield* tellTally
})

runMain(
  Effect.scoped(program).pipe(
    Effect.as(0),
    Effect.catchCause((cause) => Effect.as(say({ failure: messageOf(cause) }), 1))
  ),
  // Ctrl-C reaches every process of a terminal: here the ledger decides, by ending this process or leaving it.
  { signals: ["SIGTERM"], ignored: ["SIGINT"], disconnects: true }
)
