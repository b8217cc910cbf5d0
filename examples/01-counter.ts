// A counter that many requests increment and one worker writes: a hundred events, one write of the entity.
// Run: node --conditions=effect-eventbox:source examples/01-counter.ts
import { Effect, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class Counter extends Processor.Service<Counter>()("app/Counter", {
  kind: "Counter",
  state: Schema.Int,
  event: Schema.Struct({ amount: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, total) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: events.reduce((sum, event) => sum + event.value.amount, total) }]
      })
  }))
}

const visits = Counter.recipient("visits")

const program = Effect.gen(function*() {
  const visit = Eventbox.emit(Counter, visits, { amount: 1 })
  yield* Effect.all(Array.from({ length: 100 }, () => visit), { concurrency: "unbounded", discard: true })
  console.log("waiting:", (yield* Eventbox.list(Counter, visits)).length)

  const { consumed, transitions } = yield* Eventbox.processBatch(Counter, visits)
  console.log("batch:", { consumed, transitions })

  console.log("waiting:", (yield* Eventbox.list(Counter, visits)).length)
  console.log("loaded:", yield* Eventbox.loadState(Counter, visits))
})

await Effect.runPromise(program.pipe(Effect.provide([Counter.layer, InMemory.layer])))
// Output:
// waiting: 100
// batch: { consumed: 100, transitions: 1 }
// waiting: 0
// loaded: { state: 100, eversion: 1 }
