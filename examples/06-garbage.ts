// Garbage: events that are worthless are deleted without a transaction, and also when the processor fails.
// Run: node --conditions=effect-eventbox:source examples/06-garbage.ts
import { Array, Effect, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class SuspiciousBid extends Schema.TaggedError<SuspiciousBid>()("SuspiciousBid", { bid: Schema.Int }) {}

class Auction extends Processor.Service<Auction>()("app/Auction", {
  kind: "Auction",
  state: Schema.Struct({ highest: Schema.Int }),
  event: Schema.Struct({ bid: Schema.Int }),
  error: SuspiciousBid
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => ({ highest: 100 }),
    prepareMutation: (events, state) => {
      // Whether a bid is worthless depends on nothing but the bid and a state that never goes down: two workers that
      // see different events never throw away what the other one needs. This is the duty of whoever names garbage.
      const garbage = events.filter(({ value }) => value.bid <= state.highest)
      const rest = events.filter(({ value }) => value.bid > state.highest)
      const highest = Math.max(state.highest, ...rest.map(({ value }) => value.bid))
      if (highest > 1_000) return Processor.failWithGarbage(new SuspiciousBid({ bid: highest }), garbage)
      return Effect.succeed({ garbage, transitions: [{ events: rest, transitionTo: { highest } }] })
    }
  }))
}

const vase = Auction.recipient("vase")
const bid = (...bids: ReadonlyArray<number>) => Eventbox.emitAll(Auction, vase, bids.map((one) => ({ bid: one })))
const waiting = Effect.map(
  Eventbox.list(Auction, vase),
  (events) => Array.getSuccesses(events).map(({ value }) => value.bid)
)

const program = Effect.gen(function*() {
  yield* bid(50, 120, 70)
  const { consumed } = yield* Eventbox.process(Auction, vase)
  console.log("consumed:", consumed, "waiting:", yield* waiting)

  yield* bid(60, 110)
  const { batches } = yield* Eventbox.process(Auction, vase)
  console.log("transactions:", batches, "waiting:", yield* waiting)

  yield* bid(80, 5_000)
  const failure = yield* Effect.flip(Eventbox.process(Auction, vase))
  console.log("failed:", failure.cause, "waiting:", yield* waiting)
})

await Effect.runPromise(program.pipe(Effect.provide([Auction.layer, InMemory.layer])))
// Output:
// consumed: 1 waiting: []
// transactions: 0 waiting: []
// failed: { _tag: 'SuspiciousBid', bid: 5000 } waiting: [ 5000 ]
