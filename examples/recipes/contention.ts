// A transaction of your own beside the batches: when it loses a race, the whole of it runs again.
// Run: node --conditions=effect-eventbox:source examples/recipes/contention.ts
// #region box
import { Effect, Layer, Option, Schema } from "effect"
import { Datastore, Entity, Eventbox, EventboxError, Key, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import * as Faulty from "effect-eventbox/testing/Faulty"

class Seats extends Processor.Service<Seats>()("hall/Seats", {
  kind: "Hall",
  state: Schema.Array(Schema.String),
  event: Schema.Struct({ ticket: Schema.String })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => [],
    prepareMutation: (events, tickets) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: [...tickets, ...events.map(({ value }) => value.ticket)] }]
      })
  }))
}

const hall = Seats.recipient("hall-1")
const budget = Key.make("Budget", "2026")
// #endregion

// #region retry
/** Runs a transaction again when another writer was first: nothing was written, so nothing is done twice. */
const retryContention = <A, E, R>(transaction: Effect.Effect<A, E, R>) =>
  Effect.retry(transaction, { while: EventboxError.isContentionError, schedule: Eventbox.defaultRetry })

const centsLeft = Effect.map(
  Datastore.get(budget),
  Option.match({ onNone: () => 1_000, onSome: ({ properties }) => Number(properties["cents"]) })
)

const buy = (ticket: string, cents: number) =>
  Datastore.withTransaction(Effect.gen(function*() {
    const left = (yield* centsLeft) - cents
    yield* Datastore.put([Entity.make(budget, { cents: left })])
    yield* Eventbox.emit(Seats, hall, { ticket })
    return left
  })).pipe(retryContention)
// #endregion

// #region unknown
/** The same for callers that may ask twice: the order is the receipt, so a repeated request changes nothing. */
const buyOnce = (ticket: string, cents: number) =>
  Datastore.withTransaction(Effect.gen(function*() {
    const order = Key.make("Order", ticket)
    if (Option.isSome(yield* Datastore.get(order))) return "bought before"
    yield* Datastore.put([Entity.make(order, { cents }), Entity.make(budget, { cents: (yield* centsLeft) - cents })])
    yield* Eventbox.emit(Seats, hall, { ticket })
    return "bought"
  })).pipe(
    Effect.retry({
      // The receipt makes it safe to repeat what may have landed.
      while: (error) => error.isRetryable || EventboxError.isUnknownOutcome(error),
      schedule: Eventbox.defaultRetry
    })
  )
// #endregion

// #region program
const program = Effect.gen(function*() {
  const faulty = yield* Faulty.Faulty

  // All read the same budget, so one lands at a time and the others run again.
  yield* Effect.forEach(["a", "b", "c", "d"], (ticket) => buy(ticket, 100), { concurrency: "unbounded" })
  console.log("left:", yield* centsLeft)

  // The commit lands, and its answer is lost.
  yield* faulty.inject("commit", Faulty.responseLost)
  console.log(yield* buyOnce("e", 100), "- left:", yield* centsLeft)

  yield* Eventbox.process(Seats, hall)
  console.log("seats:", (yield* Eventbox.loadState(Seats, hall)).state.length)
})

const database = Layer.provideMerge(Faulty.layer(), InMemory.layer)
await Effect.runPromise(program.pipe(Effect.provide([Seats.layer, database])))
// Output:
// left: 600
// bought before - left: 500
// seats: 5
// #endregion
