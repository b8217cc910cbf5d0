/**
 * The whole run: a bank on the emulator, processes behind proxies, strikes until it is enough, peace, and the check.
 */
import { Clock, Effect, Fiber, Option, Random, type Scope } from "effect"
import { Ids, Key } from "effect-eventbox"
import * as Emulator from "effect-eventbox/layers/Emulator"
import { join } from "node:path"
import { makePlan, type Plan } from "../examples/ledger/bank.ts"
import { check, countStored, readBooks, type Verdict } from "../examples/ledger/check.ts"
import { checkHistories } from "../examples/ledger/history.ts"
import { type Orders, type ProcessError, sendersAreDone } from "../examples/ledger/processes.ts"
import { openAccounts } from "../examples/ledger/run.ts"
import { addTallies, type Tally } from "../examples/ledger/tally.ts"
import { cut, cutsOf, kill, noStrikes, type Strikes } from "./nemesis.ts"
import type { Options } from "./options.ts"
import type { Allowance, SenderOrders } from "./sender.ts"
import { makeSlot, type Slot } from "./slot.ts"

/** Workers in a process. */
const workersInProcess = 2

const maxEvents = 20

/** Not less, so that processes that wait for work leave the processor to those that start. */
const restMillis = 200

/** How long nothing may happen, once nothing is killed or cut any more. */
const patienceMinutes = 2

/** How a run stands. */
export interface Progress {
  readonly strikes: Strikes
  readonly tally: Tally
  /** Processes that were started. */
  readonly starts: number
}

/** How it ended. */
export interface Result extends Progress {
  /** All problems, of whatever check; empty when everything is as promised. */
  readonly verdict: Verdict
  /** From the first process until the last one was done. */
  readonly elapsedMillis: number
}

/** The programs of the processes. */
export interface Programs {
  readonly worker: string
  readonly sender: string
}

const programs: Programs = {
  worker: join(import.meta.dirname, "../examples/ledger/child.ts"),
  sender: join(import.meta.dirname, "sender.ts")
}

/** Runs it all; `watch` is told how to look at the progress. Tests name their emulator, and broken programs. */
export const chaos = (
  options: Options,
  watch: (progress: () => Progress) => Effect.Effect<void, never, Scope.Scope>,
  test: { readonly host?: string | undefined; readonly programs?: Partial<Programs> | undefined } = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const { host } = yield* Emulator.start({ host: test.host })
    const projectId = `chaos-${crypto.randomUUID().slice(0, 13)}`
    return yield* Effect.provide(
      fight(options, { host, projectId, programs: { ...programs, ...test.programs } }, watch),
      Emulator.layer({ host, projectId })
    )
  }))

interface Place {
  readonly host: string
  readonly projectId: string
  readonly programs: Programs
}

const fight = (options: Options, place: Place, watch: Parameters<typeof chaos>[1]) =>
  Effect.gen(function*() {
    const plan = yield* makePlan(options)
    const ids = yield* Ids.Ids
    const bank = Key.make("Ledger", yield* ids.next)
    yield* openAccounts(bank, plan)

    const crew = yield* makeCrew(options, place, bank, plan)
    const strikes = noStrikes()
    const progress = (): Progress => ({
      strikes,
      tally: addTallies(crew.all.map((slot) => slot.tally())),
      starts: crew.all.reduce((sum, slot) => sum + slot.starts(), 0)
    })
    yield* watch(progress)
    const start = yield* Clock.currentTimeMillis
    const mishaps = yield* live(options, crew, strikes)
    const elapsedMillis = (yield* Clock.currentTimeMillis) - start

    const books = yield* readBooks(bank, plan)
    const verdict = check(plan, books)
    const problems = [
      ...mishaps,
      ...verdict.problems,
      ...checkHistories(plan, books),
      ...leftOver(yield* countStored(bank), books.outstanding),
      ...receipts(progress().tally.settled, plan)
    ]
    return { ...progress(), verdict: { ...verdict, problems }, elapsedMillis } satisfies Result
  })

/** All places for processes. */
interface Crew {
  readonly workers: ReadonlyArray<Slot>
  readonly senders: ReadonlyArray<Slot>
  readonly all: ReadonlyArray<Slot>
}

const makeCrew = (options: Options, place: Place, bank: Key.Key, plan: Plan) =>
  Effect.gen(function*() {
    const { accounts, seed, senders, transfers } = options
    const workers = yield* Effect.forEach(Array.from({ length: options.workers }), (_, index) =>
      makeSlot({
        ...place,
        name: `worker process ${index + 1}`,
        program: place.programs.worker,
        orders: (start): Orders => ({
          bank: bank.toString(),
          accounts: Array.from(plan.accounts.keys()),
          workers: workersInProcess,
          maxEvents,
          restMillis,
          datastore: "google",
          seed: `${seed}/worker/${index}/${start}`
        })
      }))
    const emitters = yield* Effect.forEach(Array.from({ length: senders }), (_, sender) =>
      makeSlot({
        ...place,
        name: `sender process ${sender + 1}`,
        program: place.programs.sender,
        orders: (start, { sent }): SenderOrders => ({
          bank: bank.toString(),
          plan: { accounts, transfers, seed },
          sender,
          senders,
          done: sent,
          seed: `${seed}/sender/${sender}/${start}`
        })
      }))
    return { workers, senders: emitters, all: [...workers, ...emitters] } satisfies Crew
  })

/** Lets the processes live until all is done, with strikes at first; returns what was not as it should be. */
const live = (
  options: Options,
  { all, senders: emitters, workers }: Crew,
  strikes: Strikes
): Effect.Effect<ReadonlyArray<string>, ProcessError> =>
  Effect.scoped(Effect.gen(function*() {
    const working = yield* Effect.forkScoped(runAll(workers))
    const sending = yield* Effect.forkScoped(runAll(emitters))
    // Fails as soon as a process ends by itself that should not.
    const whileAlive = <A>(effect: Effect.Effect<A>): Effect.Effect<A, ProcessError> =>
      Effect.raceFirst(
        effect,
        Effect.andThen(Effect.all([Fiber.join(working), Fiber.join(sending)], { concurrency: 2 }), Effect.never)
      )

    const allow = (allowed: number) => {
      const allowance: Allowance = { allowed }
      for (const slot of emitters) slot.tell(allowance)
    }
    const isEnough = () => strikes.kills.total >= options.kills && cutsOf(strikes) >= options.cuts
    const finished = yield* whileAlive(Effect.timeoutOption(
      Effect.raceFirst(
        Effect.all([
          ...all.map((slot) => Random.withSeed(kill(slot, strikes, isEnough), `${options.seed}/kills/${slot.name}`)),
          Random.withSeed(cut(all, strikes, isEnough), `${options.seed}/cuts`)
        ], { concurrency: "unbounded", discard: true }),
        feed(options, strikes, allow)
      ),
      options.minutes * 60_000
    ))

    for (const { proxy } of all) proxy.delay(0, 0)
    allow(options.transfers)
    const rest = Effect.gen(function*() {
      yield* Effect.raceFirst(Fiber.join(sending), Effect.andThen(Fiber.join(working), Effect.never))
      for (const slot of workers) slot.tell(sendersAreDone)
      yield* Fiber.join(working)
      return true
    })
    const inPeace = yield* Effect.raceFirst(rest, Effect.as(stall(all), false))
    return [
      ...(Option.isSome(finished) ? [] : [
        `only ${strikes.kills.total} of ${options.kills} kills and ${cutsOf(strikes)} of ${options.cuts} cuts within ` +
        `${options.minutes} minutes`
      ]),
      ...(inPeace ? [] : [`no event was emitted or consumed for ${patienceMinutes} minutes, and the processes go on`])
    ]
  }))

const runAll = (slots: ReadonlyArray<Slot>): Effect.Effect<void, ProcessError> =>
  Effect.forEach(slots, (slot) => slot.run, { concurrency: "unbounded", discard: true })

/** Ends when no event was emitted or consumed for so long that there is no hope. */
export const stall = (slots: ReadonlyArray<Slot>): Effect.Effect<void> =>
  Effect.gen(function*() {
    let [last, since] = [-1, 0]
    while (true) {
      const { batches, sent } = addTallies(slots.map((slot) => slot.tally()))
      const now = yield* Clock.currentTimeMillis
      if (batches + sent !== last) [last, since] = [batches + sent, now]
      if (now - since > patienceMinutes * 60_000) return
      yield* Effect.sleep("500 millis")
    }
  })

/** Lets transfers be emitted as the strikes go on, so that there is work for all of them; never the last transfer. */
const feed = (
  { cuts, kills, transfers }: Options,
  strikes: Strikes,
  allow: (transfers: number) => void
): Effect.Effect<never> => {
  let last = 0
  const step = Effect.sync(() => {
    const done = Math.min(strikes.kills.total / Math.max(kills, 1), cutsOf(strikes) / Math.max(cuts, 1))
    const allowed = Math.floor(Math.min(1, done + headStart) * (transfers - 1))
    if (allowed > last) allow(allowed)
    last = Math.max(last, allowed)
  })
  return Effect.forever(Effect.andThen(step, Effect.sleep("50 millis")))
}

/** Part of the transfers that may be emitted before the first strike. */
const headStart = 0.05

const leftOver = (stored: number, outstanding: ReadonlyMap<string, number>): ReadonlyArray<string> =>
  stored === 0 || outstanding.size > 0 ? [] : [`${stored} events that were consumed are still stored`]

/** A receipt may be lost with its process, but none is written twice. */
const receipts = (settled: number, { transfers }: Plan): ReadonlyArray<string> =>
  settled <= transfers.length ? [] : [`${settled} receipts for ${transfers.length} transfers`]
