// Emitting the same id again changes nothing: the caller's request id makes a retried request harmless.
// Run: node --conditions=effect-eventbox:source examples/02-idempotent-emit.ts
import { Effect, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class Donations extends Processor.Service<Donations>()("app/Donations", {
  kind: "Fund",
  state: Schema.Struct({ cents: Schema.Int, gifts: Schema.Int }),
  event: Schema.Struct({ cents: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => ({ cents: 0, gifts: 0 }),
    prepareMutation: (events, fund) =>
      Effect.succeed({
        transitions: [{
          events,
          transitionTo: {
            cents: events.reduce((sum, event) => sum + event.value.cents, fund.cents),
            gifts: fund.gifts + events.length
          }
        }]
      })
  }))
}

const roof = Donations.recipient("roof")
const give = (requestId: string, cents: number) => Eventbox.emit(Donations, roof, { cents }, { id: requestId })
const show = (when: string) =>
  Effect.map(Eventbox.loadState(Donations, roof), ({ state }) => console.log(`${when}:`, state))

const program = Effect.gen(function*() {
  yield* give("request-1", 500)
  yield* give("request-2", 700)
  yield* give("request-1", 500) // the client saw no answer and sent its request again
  yield* Eventbox.process(Donations, roof)
  yield* show("after the first batch")

  yield* give("request-2", 700) // a retry that arrives after the event was consumed
  console.log("waiting:", (yield* Eventbox.list(Donations, roof)).length)
  yield* Eventbox.process(Donations, roof)
  yield* show("after the second batch")
})

// Consumed ids are remembered for `Eventbox.TombstonesDelay`, five minutes unless overridden.
await Effect.runPromise(program.pipe(Effect.provide([Donations.layer, InMemory.layer])))
// Output:
// after the first batch: { cents: 1200, gifts: 2 }
// waiting: 0
// after the second batch: { cents: 1200, gifts: 2 }
