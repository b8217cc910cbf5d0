// Webhooks: a sender repeats a delivery until it gets an answer, for days if need be.
// Run: node --conditions=effect-eventbox:source examples/recipes/webhooks.ts
// #region box
import { Clock, Effect, Schema } from "effect"
import { Datastore, Entity, Eventbox, Key, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { TestClock } from "effect/testing"

class Account extends Processor.Service<Account>()("pay/Account", {
  kind: "Account",
  state: Schema.Int,
  event: Schema.Struct({ cents: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, total) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: events.reduce((sum, { value }) => sum + value.cents, total) }]
      })
  }))
}

interface Delivery {
  readonly id: string
  readonly account: string
  readonly cents: number
}
// #endregion

// #region short
/** Enough for repetitions within minutes. */
const accept = ({ account, cents, id }: Delivery) =>
  Eventbox.emit(Account, Account.recipient(account), { cents }, { id })
// #endregion

// #region receipt
/** For repetitions at any time: a receipt and the event in one commit, so that there are both or none. */
const acceptOnce = (delivery: Delivery) =>
  Effect.gen(function*() {
    const receipt = Key.make("Receipt", delivery.id)
    // A TTL policy of Datastore deletes receipts by it. Not indexed: times that grow make an index hot.
    const expires = Entity.TimestampValue.fromMillis((yield* Clock.currentTimeMillis) + 30 * 24 * 3_600_000)
    yield* Datastore.withTransaction(Effect.gen(function*() {
      yield* Datastore.insert([Entity.make(receipt, { expires }, { unindexed: "all" })])
      yield* accept(delivery)
    }))
    return "accepted"
  }).pipe(
    Effect.catchReason("DatastoreError", "AlreadyExists", () => Effect.succeed("repeated"))
  )
// #endregion

// #region program
const ada = Account.recipient("ada")
const delivery = { id: "evt_123", account: "ada", cents: 500 }

const balance = Effect.gen(function*() {
  yield* Eventbox.process(Account, ada)
  return (yield* Eventbox.loadState(Account, ada)).state
})

const program = Effect.gen(function*() {
  yield* accept(delivery)
  console.log("by id:", yield* balance)
  yield* TestClock.adjust("4 minutes")
  yield* accept(delivery)
  console.log("4 minutes later:", yield* balance)
  yield* TestClock.adjust("2 minutes")
  yield* accept(delivery)
  console.log("6 minutes after it was consumed:", yield* balance)

  const other = { ...delivery, id: "evt_456" }
  console.log("with a receipt:", yield* acceptOnce(other), yield* balance)
  yield* TestClock.adjust("2 days")
  console.log("2 days later:", yield* acceptOnce(other), yield* balance)
})

await Effect.runPromise(program.pipe(Effect.provide([Account.layer, InMemory.layer, TestClock.layer()])))
// Output:
// by id: 500
// 4 minutes later: 500
// 6 minutes after it was consumed: 1000
// with a receipt: accepted 1500
// 2 days later: repeated 1500
// #endregion
