/**
 * Senders and workers: fibers that stand for the servers of a bank.
 *
 * Each has a `Datastore` of its own over the shared database, as a process would. So they merge no lookups and know
 * nothing of each other, and workers that meet at an account really fight. Each is also recorded by itself, which tells
 * how many round trips its batches take.
 */
import { Effect, Exit, Layer, Random, Schedule } from "effect"
import { type Datastore, Eventbox, EventboxError, type Key } from "effect-eventbox"
import { Recorder } from "effect-eventbox/testing"
import { Account, accountOf, type Transfer } from "./bank.ts"
import { isBackground, type Tally } from "./tally.ts"

/** A connection of one's own to the database, with a record of what goes over it. */
export const ownConnection = Layer.fresh(Recorder.layer)

/** Gives an order to pay; its id is that of the transfer, so giving it again changes nothing. */
export const order = (
  bank: Key.Key,
  transfer: Transfer
): Effect.Effect<string, EventboxError.DatastoreError | EventboxError.EventRejected, Datastore.Datastore> =>
  Eventbox.emit(Account, accountOf(bank, transfer.from), { _tag: "Withdraw", transfer }, { id: transfer.id })

/** Emits transfers one after another; every twentieth twice, which must change nothing. */
export const sender = (options: {
  readonly bank: Key.Key
  readonly transfers: ReadonlyArray<Transfer>
  readonly tally: Tally
}): Effect.Effect<void, EventboxError.DatastoreError | EventboxError.EventRejected, Datastore.Datastore> =>
  Effect.gen(function*() {
    const { bank, tally, transfers } = options
    const recorder = yield* Recorder.Recorder
    for (const [index, transfer] of transfers.entries()) {
      const emit = order(bank, transfer)
      yield* emit
      tally.sent++
      if (index % 20 === 0) {
        yield* emit
        tally.resent++
      }
      yield* recorder.reset
    }
  }).pipe(Effect.provide(ownConnection))

/** What a worker's batch may fail with and is then made again: `Eventbox.process` would do the same, one at a time. */
export const retryPolicy = Schedule.min([Schedule.exponential("2 millis", 1.6), Schedule.spaced("250 millis")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ duration: "60 seconds" })
)

/**
 * Takes batches from all accounts in ever new order, until the senders are done and a whole round finds nothing.
 *
 * Whoever commits the last batch makes one more round after it, so no event is left behind when all workers have ended.
 */
export const worker = (options: {
  readonly bank: Key.Key
  readonly accounts: ReadonlyArray<string>
  readonly maxEvents: number
  readonly restMillis?: number | undefined
  readonly tally: Tally
  readonly sendersAreDone: () => boolean
}): Effect.Effect<
  void,
  | EventboxError.ContentionError
  | EventboxError.EventDecodeError
  | EventboxError.MailboxOwned
  | EventboxError.StoreError,
  Account | Datastore.Datastore
> =>
  Effect.gen(function*() {
    const { accounts, bank, maxEvents, restMillis = 10, tally } = options
    const recorder = yield* Recorder.Recorder

    const batch = (account: string) =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Eventbox.processBatch(Account, accountOf(bank, account), { maxEvents }))
        count(tally, exit, yield* recorder.report)
        yield* recorder.reset
        return yield* exit
      }).pipe(
        Effect.retry({ while: isWorthRetrying, schedule: retryPolicy }),
        // The commit has landed: what is to be done after it is done here, and never twice.
        Effect.tap(({ postProcess }) => Effect.forEach(postProcess, (effect) => effect, { discard: true }))
      )

    while (true) {
      const isLastRound = options.sendersAreDone()
      let isQuiet = true
      for (const account of yield* Random.shuffle(accounts)) {
        const { transitions, truncated } = yield* batch(account)
        if (transitions > 0 || truncated) isQuiet = false
      }
      if (isQuiet && isLastRound) return
      if (isQuiet) yield* Effect.sleep(restMillis * (yield* Random.nextBetween(0.5, 1.5)))
    }
  }).pipe(Effect.provide(ownConnection))

/** After an unknown outcome too: a batch that is made again lists and loads again, so it repeats nothing blindly. */
export const isWorthRetrying = (error: { readonly isRetryable: boolean }): boolean =>
  error.isRetryable || EventboxError.isUnknownOutcome(error)

const count = (
  tally: Tally,
  exit: Exit.Exit<Eventbox.BatchResult, { readonly _tag: string; readonly reason?: { readonly _tag: string } }>,
  { operations }: Recorder.Report
): void => {
  const own = operations.filter(({ call }) => !isBackground(call))
  tally.deletes += operations.length - own.length
  tally.unanswered += operations.filter(isUnanswered).length
  if (own.some(isUnanswered)) tally[outcomeOf(exit)]++
  if (Exit.isFailure(exit)) {
    const lost = exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error._tag === "ContentionError")
    tally[lost ? "contention" : "transient"]++
  } else if (exit.value.transitions === 0) {
    tally.idle++
  } else {
    tally.batches++
    tally.events += exit.value.consumed
    tally.rpcs += own.length
    tally.rounds += Recorder.rounds(own)
  }
}

/** Whether an operation was a commit without an answer. */
export const isUnanswered = ({ outcome }: Recorder.Operation): boolean => outcome === "OutcomeUnknown"

/** What was found out about the commit of a batch that had no answer. */
const outcomeOf = (exit: Parameters<typeof count>[1]) => {
  if (Exit.isSuccess(exit)) return "foundLanded"
  const errors = exit.cause.reasons.flatMap((reason) => reason._tag === "Fail" ? [reason.error] : [])
  if (errors.some(({ reason }) => reason?._tag === "Fenced")) return "foundFenced"
  return errors.some(({ _tag }) => _tag === "ContentionError") ? "foundLost" : "notFound"
}
