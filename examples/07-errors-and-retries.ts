// Every failure is a value with a type: what was rejected, who was first, what the processor itself refuses.
// Run: node --conditions=effect-eventbox:source examples/07-errors-and-retries.ts
import { Effect, Latch, Schedule, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class Frozen extends Schema.TaggedError<Frozen>()("Frozen", { until: Schema.String }) {
  override get message() {
    return `frozen until ${this.until}`
  }
}

// Lets the two workers below decide at the same time, so that one of them must lose.
const bothHaveLoaded = Latch.makeUnsafe(false)
let loaded = 0

class Wallet extends Processor.Service<Wallet>()("app/Wallet", {
  kind: "Wallet",
  state: Schema.Int,
  event: Schema.TaggedUnion({ Add: { cents: Schema.Int }, Freeze: { until: Schema.String } }),
  error: Frozen
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, cents) =>
      Effect.gen(function*() {
        if (++loaded === 2) yield* bothHaveLoaded.open
        yield* bothHaveLoaded.await
        let sum = cents
        for (const { value } of events) {
          if (value._tag === "Freeze") return yield* new Frozen({ until: value.until })
          sum += value.cents
        }
        return { transitions: [{ events, transitionTo: sum }] }
      })
  }))
}

const wallet = Wallet.recipient("w1")

const program = Effect.gen(function*() {
  // A bad value or id is refused before anything is sent.
  const rejected = yield* Effect.flip(Eventbox.emit(Wallet, wallet, { _tag: "Add", cents: 1 }, { id: "__reserved__" }))
  console.log(rejected.message)

  // Two workers on one recipient: the one that loses has written nothing, and runs its batch again.
  yield* Eventbox.emit(Wallet, wallet, { _tag: "Add", cents: 250 })
  let contention = 0
  const worker = Eventbox.processBatch(Wallet, wallet).pipe(
    Effect.tapError((error) => Effect.sync(() => error._tag === "ContentionError" && contention++)),
    Effect.retry({
      while: (error) => error._tag === "ContentionError" && error.isRetryable,
      schedule: Schedule.jittered(Schedule.exponential("10 millis")),
      times: 10
    })
  )
  const results = yield* Effect.all([worker, worker], { concurrency: "unbounded" })
  console.log("consumed:", results.map(({ consumed }) => consumed).toSorted(), "contention:", contention)

  // An event on which the processor fails stays where it is, and is named; the others of its batch land all the same.
  yield* Eventbox.emit(Wallet, wallet, { _tag: "Add", cents: 100 })
  yield* Eventbox.emit(Wallet, wallet, { _tag: "Freeze", until: "Monday" }, { id: "freeze-1" })
  yield* Eventbox.process(Wallet, wallet).pipe(
    Effect.catchTag(
      "EventFailed",
      ({ message, summary }) => Effect.sync(() => console.log(message, "- landed:", summary.consumed))
    )
  )
  console.log("waiting:", (yield* Eventbox.list(Wallet, wallet)).length)
})

await Effect.runPromise(program.pipe(Effect.provide([Wallet.layer, InMemory.layer])))
// Output:
// Event for Wallet,"w1" rejected: its id "__reserved__" is not valid (a name of the form __…__ is reserved by Datastore)
// consumed: [ 0, 1 ] contention: 1
// Event "freeze-1" of Wallet,"w1" fails alone: frozen until Monday - landed: 1
// waiting: 1
