/**
 * One worker in a process of its own. It connects, says so, starts when it is told to, and ends when it is told to.
 */
import { Effect } from "effect"
import * as GoogleDatastore from "effect-eventbox/layers/GoogleDatastore"
import { Counter } from "./workloads/counter.ts"
import { drainers } from "./workloads/drainer.ts"

const [host = "", projectId = "", name = "", maxEvents = "0"] = process.argv.slice(2)
const recipient = Counter.recipient(name)

let over = false
const started = Promise.withResolvers<void>()
process.on("message", (message) => {
  if (message === "start") started.resolve()
  else over = true
})

const program = Effect.gen(function*() {
  yield* Effect.flatMap(Counter, (counter) => counter.loadState(recipient))
  process.send?.("ready")
  yield* Effect.promise(() => started.promise)
  return yield* drainers({
    recipient,
    workers: 1,
    maxEvents: Number(maxEvents),
    manner: "turns",
    // Between two looks at an empty mailbox.
    done: Effect.delay(Effect.sync(() => over), 5)
  })
})

const drained = await Effect.runPromise(
  Effect.provide(program, [Counter.layer, GoogleDatastore.layer({ emulatorHost: host, projectId })])
)
process.send?.(drained, () => process.disconnect())
