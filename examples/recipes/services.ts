// A processor that asks another service and sends mail.
// Run: node --conditions=effect-eventbox:source examples/recipes/services.ts
// #region box
import { Context, Effect, Layer, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class PricesDown extends Schema.TaggedError<PricesDown>()("PricesDown", {}) {}

class Prices extends Context.Service<Prices, {
  readonly of: (items: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, number>, PricesDown>
}>()("shop/Prices") {}

class Mailer extends Context.Service<Mailer, {
  readonly send: (to: string, text: string) => Effect.Effect<void>
}>()("shop/Mailer") {}

class Basket extends Processor.Service<Basket>()("shop/Basket", {
  kind: "Basket",
  state: Schema.Struct({ cents: Schema.Int }),
  event: Schema.Struct({ item: Schema.String }),
  error: PricesDown
}) {
  static readonly layer = this.toLayer(Effect.gen({ self: this }, function*() {
    // Services are taken here, once. The functions of a processor have no room for more in their types.
    const prices = yield* Prices
    const mailer = yield* Mailer

    return yield* this.entity({
      initial: () => ({ cents: 0 }),
      prepareMutation: Effect.fnUntraced(function*(events, basket, { key }) {
        // A worker may find nothing waiting. Then there is nothing to ask, and no mail to send.
        if (events.length === 0) return { transitions: [] }
        // A question that changes nothing may be asked here: once for the whole batch, not once for each event.
        const known = yield* prices.of(events.map(({ value }) => value.item))
        const cents = events.reduce((sum, { value }) => sum + (known.get(value.item) ?? 0), basket.cents)
        return {
          transitions: [{
            events,
            transitionTo: { cents },
            postProcess: mailer.send(String(key.id), `your basket is now ${cents} cents`)
          }]
        }
      })
    })
  }))
}
// #endregion

// #region layers
const prices = Layer.succeed(Prices, {
  of: (items) => Effect.succeed(new Map(items.map((item) => [item, 100 * item.length])))
})
const mailer = Layer.succeed(Mailer, {
  send: (to, text) => Effect.sync(() => console.log(`mail to ${to}: ${text}`))
})
const app = Layer.mergeAll(Basket.layer.pipe(Layer.provide([prices, mailer])), InMemory.layer)

const ada = Basket.recipient("ada")

const program = Effect.gen(function*() {
  yield* Eventbox.emit(Basket, ada, { item: "tea" })
  yield* Eventbox.emit(Basket, ada, { item: "milk" })
  const { batches } = yield* Eventbox.process(Basket, ada)
  console.log("batches:", batches)
})

await Effect.runPromise(program.pipe(Effect.provide(app)))
// Output:
// mail to ada: your basket is now 700 cents
// batches: 1
// #endregion
