/**
 * A small program as a user would write it: emits to a counter, processes, reads the state. Prints `5`.
 */
import { Console, Effect, Layer, Schema } from "effect"
import { Datastore, Eventbox, Processor } from "effect-eventbox"
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
  yield* Eventbox.emitAll(Counter, visits, [{ amount: 2 }, { amount: 3 }])
  yield* Eventbox.process(Counter, visits)
  const entity = yield* Effect.fromOption(yield* Datastore.get(visits.key))
  yield* Console.log(entity.properties["State"])
})

await Effect.runPromise(Effect.provide(program, Layer.merge(Counter.layer, InMemory.layer)))
