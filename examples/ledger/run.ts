/**
 * One run of the ledger: open the accounts, let senders and workers loose, and look at the books when all is quiet.
 */
import { Clock, Effect, Layer, type Scope } from "effect"
import { type Datastore, Eventbox, type EventboxError, Ids, Key } from "effect-eventbox"
import { Account, accountOf, makePlan, type Plan, Receipts } from "./bank.ts"
import { check, readBooks, removeBank, type Verdict } from "./check.ts"
import type { Options } from "./options.ts"
import { sabotage } from "./sabotage.ts"
import { addTallies, emptyTally, type Tally } from "./tally.ts"
import { sender, worker } from "./worker.ts"

/** The workers of a run, wherever they are. */
export interface Crew<E, R> {
  /** What they have counted so far. */
  readonly tally: () => Tally
  /** Tells them that no more transfers will come. */
  readonly sendersAreDone: () => void
  /** Ends when all of them have ended; stops them when it is interrupted. */
  readonly work: Effect.Effect<void, E, R>
}

/** What a crew has to know. */
export interface Assignment {
  readonly bank: Key.Key
  readonly accounts: ReadonlyArray<string>
  readonly workers: number
  readonly maxEvents: number
  /** How long a worker rests, about, after a round in which it found nothing to do; 10 unless given. */
  readonly restMillis?: number | undefined
}

export interface Result {
  readonly verdict: Verdict
  readonly tally: Tally
  /** From the first transfer sent until the last worker was done. */
  readonly elapsedMillis: number
}

/** Workers in this very process; counts into one tally, since nothing here runs at the same instant. */
export const localCrew = (
  assignment: Assignment
): Crew<Effect.Error<ReturnType<typeof worker>>, Datastore.Datastore> => {
  const tally = emptyTally()
  let done = false
  const one = worker({ ...assignment, tally, sendersAreDone: () => done })
  return {
    tally: () => tally,
    sendersAreDone: () => {
      done = true
    },
    work: Effect.all(Array.from({ length: assignment.workers }, () => one), {
      concurrency: "unbounded",
      discard: true
    }).pipe(Effect.provide(accountLayer(() => tally.settled++)))
  }
}

/** The accounts, with someone to tell about transfers that came to their end. */
const accountLayer = (settled: () => void): Layer.Layer<Account> =>
  Layer.provide(Account.layer, Layer.succeed(Receipts, { settled: Effect.sync(settled) }))

/** Runs the ledger; `watch` is told now and then how far it has come. */
export const run = <E, R>(
  options: Options,
  makeCrew: (assignment: Assignment) => Crew<E, R>,
  watch: (tally: () => Tally) => Effect.Effect<void, never, Scope.Scope>
) =>
  Effect.gen(function*() {
    const plan = yield* makePlan(options)
    const ids = yield* Ids.Ids
    const bank = Key.make("Ledger", yield* ids.next)
    const accounts = Array.from(plan.accounts.keys())
    yield* openAccounts(bank, plan)

    const crew = makeCrew({ bank, accounts, workers: options.workers, maxEvents: options.maxEvents })
    const sent = emptyTally()
    const tally = () => addTallies([sent, crew.tally()])
    yield* watch(tally)
    const start = yield* Clock.currentTimeMillis
    yield* Effect.all([
      Effect.andThen(sendAll(bank, plan, options.senders, sent), Effect.sync(crew.sendersAreDone)),
      crew.work
    ], { concurrency: "unbounded", discard: true })
    const elapsedMillis = (yield* Clock.currentTimeMillis) - start

    if (options.sabotage !== undefined) yield* sabotage(bank, options.sabotage)
    const verdict = check(plan, yield* readBooks(bank, plan))
    if (options.datastore === "google" && verdict.problems.length === 0) yield* removeBank(bank)
    return { verdict, tally: tally(), elapsedMillis }
  })

/** Gives every account its first money, before the first transfer. */
export const openAccounts = (bank: Key.Key, { accounts }: Plan) =>
  Effect.forEach(
    Array.from(accounts).filter(([, cents]) => cents > 0),
    ([name, cents]) =>
      Effect.andThen(
        Eventbox.emit(Account, accountOf(bank, name), { _tag: "Open", cents }),
        Eventbox.process(Account, accountOf(bank, name))
      ),
    { concurrency: 8, discard: true }
  ).pipe(Effect.provide(accountLayer(() => undefined)))

/** Emits all transfers, dealt out among the senders. */
const sendAll = (
  bank: Key.Key,
  { transfers }: Plan,
  senders: number,
  tally: Tally
): Effect.Effect<void, EventboxError.DatastoreError | EventboxError.EventRejected, Datastore.Datastore> =>
  Effect.forEach(
    Array.from({ length: senders }, (_, index) => transfers.filter((_one, n) => n % senders === index)),
    (part) => sender({ bank, transfers: part, tally }),
    { concurrency: "unbounded", discard: true }
  )
