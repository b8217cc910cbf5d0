// The program of the README's first screen. Run: node --conditions=effect-eventbox:source examples/00-readme.ts
import * as InMemory from "effect-eventbox/layers/InMemory"
// #region readme
import { Effect, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"

const RunState = Schema.Struct({ status: Schema.Literals(["idle", "running", "cancelled"]), note: Schema.String })
const RunEvent = Schema.TaggedUnion({ Start: {}, Cancel: { reason: Schema.String } })

// Senders need only the declaration. `kind` is the Datastore kind of the entities that own a mailbox.
class RunBox extends Processor.Service<RunBox>()("app/RunBox", { kind: "Run", state: RunState, event: RunEvent }) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => ({ status: "idle", note: "" }),
    // All waiting events become one transition: one write, however many they are. A cancellation wins.
    prepareMutation: (events, run) => {
      const cancel = events.map(({ value }) => value).find((event) => event._tag === "Cancel")
      const next: typeof RunState.Type = cancel !== undefined
        ? { status: "cancelled", note: cancel.reason }
        : run.status === "idle"
        ? { ...run, status: "running" }
        : run
      return Effect.succeed({ transitions: [{ events, transitionTo: next }] })
    }
  }))
}
const run = RunBox.recipient("r1")

// Anywhere, also inside a transaction, without touching the entity:
const start = Eventbox.emit(RunBox, run, { _tag: "Start" })
const cancel = Eventbox.emit(RunBox, run, { _tag: "Cancel", reason: "asked by the user" })
// In a worker; several at once do no harm:
const work = Eventbox.process(RunBox, run)
// #endregion

const program = Effect.gen(function*() {
  yield* Effect.all([start, cancel], { concurrency: "unbounded" })
  const { batches, consumed } = yield* work
  const { eversion, state } = yield* Eventbox.loadState(RunBox, run)
  console.log(`${consumed} events, ${batches} batch; version ${eversion} is ${state.status}: ${state.note}`)
})

await Effect.runPromise(program.pipe(Effect.provide([RunBox.layer, InMemory.layer])))
// Output: 2 events, 1 batch; version 1 is cancelled: asked by the user
