// The program of the README's first screen. Run: node --conditions=effect-eventbox:source examples/00-readme.ts
import * as InMemory from "effect-eventbox/layers/InMemory"
// #region readme
import { Effect, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"

const RunState = Schema.Literals(["idle", "running", "cancelled"])
const RunEvent = Schema.TaggedUnion({ Start: {}, Cancel: {} })

// Senders need only the declaration. `kind` is the Datastore kind of the entities that own a mailbox.
class RunBox extends Processor.Service<RunBox>()("app/RunBox", { kind: "Run", state: RunState, event: RunEvent }) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => "idle",
    // All waiting events become one transition: one write, however many they are.
    // A run only moves forward, so it ends the same whichever way events are dealt into batches.
    prepareMutation: (events, status) => {
      const has = (tag: "Start" | "Cancel") => events.some(({ value }) => value._tag === tag)
      const next = status === "cancelled" || has("Cancel") ? "cancelled" : has("Start") ? "running" : status
      return Effect.succeed({ transitions: [{ events, transitionTo: next }] })
    }
  }))
}
const run = RunBox.recipient("r1")

// Anywhere, also inside a transaction, without touching the entity:
const start = Eventbox.emit(RunBox, run, { _tag: "Start" })
// With an id of yours a retry counts once:
const cancel = Eventbox.emit(RunBox, run, { _tag: "Cancel" }, { id: "request-7" })
// In a worker; several at once do no harm:
const work = Eventbox.process(RunBox, run)
// #endregion

const program = Effect.gen(function*() {
  yield* Effect.all([start, cancel, cancel], { concurrency: "unbounded" })
  const { batches, consumed } = yield* work
  const { eversion, state } = yield* Eventbox.loadState(RunBox, run)
  console.log(`${consumed} events, ${batches} batch; version ${eversion} is ${state}`)
})

await Effect.runPromise(program.pipe(Effect.provide([RunBox.layer, InMemory.layer])))
// Output: 2 events, 1 batch; version 1 is cancelled
