/**
 * A process that emits transfers; started by the chaos run, not by hand.
 *
 * Every transfer has an id of its own. One that failed for a reason that passes is emitted again with that id, and a
 * process that takes the place of a killed one begins with what its predecessor had not told of, though it may have
 * landed.
 */
import { Effect, Layer, Random } from "effect"
import { Datastore, type EventboxError, Key } from "effect-eventbox"
import { Recorder } from "effect-eventbox/testing"
import { makePlan, type Transfer } from "../examples/ledger/bank.ts"
import { say, sayOften } from "../examples/ledger/processes.ts"
import { asChild, reporting } from "../examples/ledger/runChild.ts"
import { runMain } from "../examples/ledger/runMain.ts"
import { storeLayer } from "../examples/ledger/stores.ts"
import { emptyTally } from "../examples/ledger/tally.ts"
import { isUnanswered, isWorthRetrying, order, ownConnection, retryPolicy } from "../examples/ledger/worker.ts"

/** What a sender is told at its start, as the JSON text of its one argument. */
export interface SenderOrders {
  /** String form of the bank's key. */
  readonly bank: string
  /** What the plan of transfers is made from. */
  readonly plan: Parameters<typeof makePlan>[0]
  /** Which sender this is, of how many: its part is every so manieth transfer. */
  readonly sender: number
  readonly senders: number
  /** Transfers of its part that its predecessors have told of. */
  readonly done: number
  readonly seed: string
}

/** What a sender is told later: how many transfers of the whole plan may be emitted by now. */
export interface Allowance {
  readonly allowed: number
}

type EmitError = EventboxError.ContentionError | EventboxError.DatastoreError | EventboxError.EventRejected

const program = Effect.gen(function*() {
  const orders = JSON.parse(process.argv[2] ?? "") as SenderOrders
  const bank = yield* Effect.fromResult(Key.parse(orders.bank))
  const plan = yield* makePlan(orders.plan)
  const tally = emptyTally()
  let allowed = 0
  process.on("message", (told: Allowance) => {
    allowed = told.allowed
  })
  yield* sayOften(() => tally)

  const turnOf = (n: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (n < allowed) return Effect.void
      tally.idle++
      return Effect.andThen(Effect.sleep("20 millis"), turnOf(n))
    })
  const send = (transfer: Transfer, n: number) =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      // Every second one goes in a transaction, which the library does not try again.
      const emit: Effect.Effect<string, EmitError, Datastore.Datastore> = n % 2 === 0
        ? order(bank, transfer)
        : Datastore.withTransaction(order(bank, transfer))
      const failed = Effect.sync(() => {
        tally.resent++
      })
      yield* emit.pipe(
        Effect.tapError(() => failed),
        Effect.retry({ while: isWorthRetrying, schedule: retryPolicy })
      )
      tally.sent++
      tally.unanswered += (yield* recorder.report).operations.filter(isUnanswered).length
      yield* recorder.reset
    })
  const work = Effect.gen(function*() {
    for (let n = orders.sender + orders.done * orders.senders; n < plan.transfers.length; n += orders.senders) {
      yield* turnOf(n)
      yield* send(plan.transfers[n]!, n)
    }
  })
  yield* Random.withSeed(work, orders.seed).pipe(
    Effect.provide(Layer.provide(ownConnection, storeLayer("google")))
  )
  yield* say({ tally })
})

runMain(reporting(program), asChild)
