// A side effect lands with the state change or not at all: here an order reserves stock and writes an audit record.
// Run: node --conditions=effect-eventbox:source examples/03-side-effects.ts
import { Array, Effect, Option, Schema } from "effect"
import { Datastore, Entity, Eventbox, Key, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class Stock extends Processor.Service<Stock>()("app/Stock", {
  kind: "Stock",
  state: Schema.Int,
  event: Schema.TaggedUnion({ Delivered: { pieces: Schema.Int }, Reserved: { pieces: Schema.Int } })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, pieces) =>
      Effect.succeed({
        transitions: [{
          events,
          transitionTo: events.reduce(
            (left, { value }) => value._tag === "Delivered" ? left + value.pieces : left - value.pieces,
            pieces
          )
        }]
      })
  }))
}

const auditKey = Key.make("Audit", "o1")

class Order extends Processor.Service<Order>()("app/Order", {
  kind: "Order",
  state: Schema.Literals(["new", "placed"]),
  event: Schema.Struct({ item: Schema.String, pieces: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => "new",
    prepareMutation: (events) =>
      Effect.succeed({
        // One transition per event; `Chain` runs effects in order and skips what is undefined.
        transitions: events.map((event) => ({
          events: [event],
          transitionTo: "placed" as const,
          sideEffect: Processor.Chain(
            Eventbox.emit(Stock, Stock.recipient(event.value.item), { _tag: "Reserved", pieces: event.value.pieces }),
            Datastore.put([Entity.make(auditKey, { pieces: event.value.pieces })]),
            event.value.pieces > 100 ? Effect.log("a large order") : undefined
          )
        }))
      })
  }))
}

const bolts = Stock.recipient("bolts")
const order = Order.recipient("o1")

const program = Effect.gen(function*() {
  yield* Eventbox.emit(Stock, bolts, { _tag: "Delivered", pieces: 10 })
  yield* Eventbox.emit(Order, order, { item: "bolts", pieces: 4 })

  yield* Eventbox.process(Order, order)
  console.log("audit:", Option.getOrThrow(yield* Datastore.get(auditKey)).properties)
  console.log("waiting for bolts:", Array.getSuccesses(yield* Eventbox.list(Stock, bolts)).map(({ value }) => value))

  yield* Eventbox.process(Stock, bolts)
  console.log("bolts:", (yield* Eventbox.loadState(Stock, bolts)).state)
})

await Effect.runPromise(program.pipe(Effect.provide([Order.layer, Stock.layer, InMemory.layer])))
// Output:
// audit: { pieces: 4 }
// waiting for bolts: [ { _tag: 'Delivered', pieces: 10 }, { _tag: 'Reserved', pieces: 4 } ]
// bolts: 6
