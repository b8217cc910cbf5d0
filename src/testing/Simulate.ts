/**
 * Seeded histories at scale: many processes over one database that crash, stand still and disagree about the time, on a
 * network that loses and delays, until the trouble stops and everything has to settle.
 *
 * Time is virtual and everything happens on one thread, so a seed has one history, hours of it in seconds. {@link run}
 * tries the library itself, with a workload that uses all of it and a checker that watches what lands in the database;
 * {@link runWorkload} puts programs of your own into the same trouble.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type { Backend } from "../Backend.ts"
import type { Datastore } from "../Datastore.ts"
import type { FaultTag, Rates } from "./Faulty.ts"
import { Workload as BoxWorkload } from "./simulate/box.ts"
import { type Ended, History, type Noted, type Setting } from "./simulate/history.ts"
import { kinds } from "./simulate/ledger.ts"
import { defaults, type Settings as AllSettings, vary as varySettings } from "./simulate/settings.ts"
import { smallest } from "./simulate/shrink.ts"
import { startMillis } from "./simulate/world.ts"
import { formatRows } from "./text/table.ts"

/**
 * What a history is made of.
 *
 * **Details**
 *
 * Durations are of virtual time and cost nothing. `0` turns off what comes at a rate or in intervals. What does not
 * depend on clocks is checked however far they are off; that one emit is one event, where they agree to a quarter of
 * `tombstonesDelay`; and that a repeated id stays hidden, where no clock can have taken its window for over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Decides everything that is left to chance; drawn from `Random` unless given. */
  readonly seed?: number | undefined
  /** Events that clients emit, repeated ones included; 10,000 unless given. */
  readonly events?: number | undefined
  /** Recipients; 200 unless given. The first of them get most of the events. */
  readonly recipients?: number | undefined
  /** Processes that emit and process; 20 unless given. */
  readonly workers?: number | undefined
  /** Events of one emit; 1 to 30 unless given. */
  readonly maxBurst?: number | undefined
  /** Events of one batch; 1 to 40 unless given. */
  readonly maxEvents?: number | undefined
  /** How thick events come: events per recipient and `tombstonesDelay`, on average; 10 unless given. */
  readonly eventsPerDelay?: number | undefined
  /** `Eventbox.TombstonesDelay`; 10 seconds unless given. */
  readonly tombstonesDelay?: Duration.Input | undefined
  /** Bytes that the head of tombstones may have; 16 KiB unless given. A small one makes pages come and go. */
  readonly maxHeadBytes?: number | undefined
  /** How far the clock of a process is off, ahead or behind; 400 milliseconds unless given. */
  readonly maxSkew?: Duration.Input | undefined
  /** Greatest delay of a request or a response; 100 milliseconds unless given. `faults.delay` says how often. */
  readonly maxDelay?: Duration.Input | undefined
  /** How late a late commit lands at most; 2 seconds unless given. */
  readonly maxLateness?: Duration.Input | undefined
  /** Greatest delay of a delete of garbage; 3 seconds unless given. */
  readonly maxDeleteDelay?: Duration.Input | undefined
  /** How long a process lives on average until it crashes or is stopped; 20 seconds unless given. */
  readonly lifetime?: Duration.Input | undefined
  /** How often a process stands still for a while, or its clock is set, on average; 20 seconds unless given. */
  readonly pauseEvery?: Duration.Input | undefined
  /** Faults of reads, emits and batches; about 1 in 10 of each goes wrong unless given, and 8 in 10 are delayed. */
  readonly faults?: Rates | undefined
  /** Faults of deletes of garbage; about 1 in 3 goes wrong unless given, and half of them are delayed. */
  readonly deleteFaults?: Rates | undefined
  /** How many calls of clients repeat an id that was used before, soon after or beyond its window; 0.3 unless given. */
  readonly repeats?: number | undefined
  /** How many events make their batch emit another one; 0.15 unless given. */
  readonly sideEffects?: number | undefined
  /** How many events are garbage; 0.05 unless given. */
  readonly garbage?: number | undefined
  /** How many events leave the state as it is; 0.4 unless given. */
  readonly keeps?: number | undefined
  /** Stands between the network and the database: for a database that is wrong on purpose. */
  readonly wrap?: ((database: Backend) => Backend) | undefined
  /** Whether to look for a smaller history when one fails; true unless given. */
  readonly shrink?: boolean | undefined
}

/**
 * {@link Options} as numbers, durations in milliseconds: one line of JSON, and options again.
 *
 * @category models
 * @since 0.1.0
 */
export type Settings = AllSettings

/**
 * Programs of your own for {@link runWorkload}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Workload<R = never> {
  /**
   * One thing that a client does, such as an emit; run again and again. Its typed failures count as part of the
   * trouble.
   */
  readonly client: Effect.Effect<unknown, unknown, Datastore | R>
  /** One thing that a worker does, such as `Eventbox.process` of a recipient drawn from `Random`. */
  readonly worker: Effect.Effect<unknown, unknown, Datastore | R>
  /**
   * Runs once the faults have stopped: finishes what is left, then fails or dies if something is not as it should be.
   */
  readonly check: Effect.Effect<unknown, unknown, Datastore | R>
}

/**
 * What a history came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly seed: number
  /** The same for the same history: seed, options and sources. */
  readonly hash: string
  /** Events that clients emitted, and how many of them were repeated. */
  readonly emitted: number
  readonly repeated: number
  /** Events that were emitted as side effects. */
  readonly followed: number
  /** Events as they came out: consumed by a batch, declared garbage, kept hidden by their tombstones. */
  readonly consumed: number
  readonly garbage: number
  readonly hidden: number
  /** Batches that landed, attempts at one, and attempts whose caller was told that nothing was written. */
  readonly batches: number
  readonly attempts: number
  readonly refused: number
  /** Calls whose caller was told that nobody knows. */
  readonly unknown: number
  /** Batches that left events for the next one. */
  readonly truncated: number
  /** Tombstones that were erased once their window was over. */
  readonly erased: number
  /** Pages of tombstones that were written, and those that were deleted. */
  readonly pages: number
  readonly deletedPages: number
  readonly crashes: number
  /** Processes that were stopped as they should be. */
  readonly stops: number
  readonly pauses: number
  /** Processes whose clock was off when they started. */
  readonly skews: number
  readonly faults: Readonly<Record<FaultTag, number>>
  /** Faults of deletes of garbage. */
  readonly deleteFaults: Readonly<Record<FaultTag, number>>
  /** Bytes of the largest entity that held tombstones. */
  readonly largestTombstonesBytes: number
  readonly virtualMillis: number
  readonly steps: number
}

/**
 * A history in which something happened that must not.
 *
 * **Details**
 *
 * `settings` are those of the smallest history found, and repeat it; `table` is its end, as far as it concerns the
 * recipient. `rule` says what was broken:
 *
 * | rule | means |
 * |---|---|
 * | `Lost` | an event was deleted that nobody had consumed, or a value that nobody saw, or an emit stored nothing |
 * | `Doubled` | an event was consumed, a batch landed, or a post-process effect ran twice |
 * | `Repeated` | an event was consumed again, though its id was repeated within the window |
 * | `Invented` | an event that nobody emitted, or garbage that was consumed |
 * | `Outcome` | a caller was told something else about a commit than what happened |
 * | `Version` | a state that does not follow from the one before and its events |
 * | `Atomicity` | a part of a commit without the rest |
 * | `Erased` | a tombstone was erased before its time, or while its item was stored, or a token that is still looked for |
 * | `Window` | a tombstone with a time that is neither its worker's nor that of what it popped |
 * | `Limit` | an entity above its limit, or tombstones that pile up |
 * | `Unsettled` | events that are left long after the faults have stopped |
 * | `Stuck` | a process that never comes to rest |
 * | `Died` | a defect |
 * | `Check` | the check of a workload failed |
 *
 * @category errors
 * @since 0.1.0
 */
export class SimulationFailure extends Schema.TaggedError<SimulationFailure>("eventbox/testing/SimulationFailure")(
  "SimulationFailure",
  {
    rule: Schema.Literals([
      "Lost",
      "Doubled",
      "Repeated",
      "Invented",
      "Outcome",
      "Version",
      "Atomicity",
      "Erased",
      "Window",
      "Limit",
      "Unsettled",
      "Stuck",
      "Died",
      "Check"
    ]),
    detail: Schema.String,
    table: Schema.String,
    settings: Schema.declare((_: unknown): _ is Settings => true),
    /** Histories run in search of the smallest. */
    histories: Schema.Int
  }
) {
  override get message(): string {
    const { detail, histories, rule, settings, table } = this
    const replay = JSON.stringify({ ...settings, shrink: false })
    return `SEED=${settings.seed} ${rule}: ${detail}\n\n${table}\n\n` +
      `The smallest of ${histories} histories. Replay: Simulate.run(${replay})`
  }
}

/**
 * Simulates one history of the library itself, and checks it.
 *
 * **Details**
 *
 * Every process has its own `Datastore`, clock and memory over one store in memory. Clients emit alone, in bursts, in
 * transactions and as side effects, with ids of their own and drawn ones, and repeat them; workers run `processBatch`,
 * `process` and `drain` of recipients at random, some of which many want at once. The checker sees what was emitted and
 * every commit as it lands: nothing is lost, nothing doubled, ids are idempotent, versions linear, callers are told the
 * truth, no entity grows beyond its limit, and everything settles.
 *
 * Logs `SEED=` before it begins. Fails with {@link SimulationFailure}, after a search for a smaller history. Cost:
 * about 0.1 ms and 0.5 KiB per event.
 *
 * **Example** (One history)
 *
 * ```ts
 * import { Simulate } from "effect-eventbox/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.map(Simulate.run({ seed: 1, events: 1_000 }), Simulate.format)
 * ```
 *
 * @see {@link vary} for options that differ from seed to seed
 *
 * @category running
 * @since 0.1.0
 */
export const run = (options: Options = {}): Effect.Effect<Report, SimulationFailure> =>
  Effect.flatMap(resolve(options), (settings) =>
    simulate(settings, options, (ledger, chance, now, own) => {
      const workload = new BoxWorkload(own, ledger, chance, now)
      return {
        client: () => workload.client(),
        worker: () => workload.worker(),
        settle: () => workload.settle(),
        emitted: () => ledger.counts.emitted,
        landed: (request, process) => ledger.landed(request, process)
      }
    }))

/**
 * Simulates one history of your own programs, in the same trouble.
 *
 * **Details**
 *
 * The workload is made anew for every history, so it may remember things in variables. Each call of `client` counts as
 * one of the `events`. The programs share what the caller provides, and get a `Datastore` of their process; `Clock`,
 * `Random` and `Ids` repeat with the seed. They wait for nothing but the database and time: a
 * promise or a real timer is a finding, `Stuck`. What is checked is that nothing dies, that everything comes to rest,
 * and your `check`. The options about the built-in workload have no meaning here.
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { Eventbox, Processor } from "effect-eventbox"
 * import { Simulate } from "effect-eventbox/testing"
 * import { Effect, Schema } from "effect"
 *
 * class Counter extends Processor.Service<Counter>()("app/Counter", {
 *   kind: "Counter",
 *   state: Schema.Int,
 *   event: Schema.Struct({ amount: Schema.Int })
 * }) {
 *   static readonly layer = this.toLayer(this.entity({
 *     initial: () => 0,
 *     prepareMutation: (events, total) =>
 *       Effect.succeed({ transitions: [{ events, transitionTo: total + events.length }] })
 *   }))
 * }
 * const visits = Counter.recipient("visits")
 *
 * const program = Simulate.runWorkload(() => ({
 *   client: Eventbox.emit(Counter, visits, { amount: 1 }),
 *   worker: Eventbox.process(Counter, visits),
 *   check: Eventbox.drain(Counter, visits)
 * }), { seed: 1, events: 100 }).pipe(Effect.provide(Counter.layer))
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const runWorkload = <R = never>(
  makeWorkload: () => Workload<R>,
  options: Options = {}
): Effect.Effect<Report, SimulationFailure, Exclude<R, Datastore>> =>
  Effect.flatMap(resolve(options), (settings) =>
    simulate(settings, options, (ledger) => {
      const { check, client, worker } = makeWorkload()
      const counted = Effect.suspend(() => {
        ledger.counts.emitted++
        return client
      })
      return {
        client: () => counted,
        worker: () => worker,
        settle: () => check,
        emitted: () => ledger.counts.emitted,
        landed: (request) => ledger.observed(request)
      }
    }))

/**
 * Settings that differ from seed to seed: how many processes, how often what goes wrong, and what does not at all.
 *
 * **When to use**
 *
 * To look for what is wrong: a kind of trouble that is absent lets another one show that it would have hidden.
 *
 * @category constructors
 * @since 0.1.0
 */
export const vary = (seed: number, events?: number): Settings => varySettings(seed, events)

/**
 * A report as one line of text.
 *
 * @category string form
 * @since 0.1.0
 */
export const format = (report: Report): string => {
  const parts = [
    `seed ${report.seed}: ${count(report.emitted)} events emitted (${count(report.repeated)} repeated)`,
    `${count(report.followed)} as side effects`,
    `${count(report.consumed)} consumed by ${count(report.batches)} batches`,
    `${count(report.garbage)} garbage`,
    `${count(report.refused)} of ${count(report.attempts)} attempts refused`,
    `${count(failures(report.faults) + failures(report.deleteFaults))} faults`,
    `${count(report.crashes)} crashes`,
    `${count(report.pauses)} pauses`,
    `${count(Math.round(report.virtualMillis / 1_000))} s`,
    `hash ${report.hash}`
  ]
  return parts.join(", ")
}

const count = (value: number): string => value.toLocaleString("en")

const failures = ({ Contention, Late, ReadFailure, RequestLost, ResponseLost }: Report["faults"]): number =>
  ReadFailure + RequestLost + ResponseLost + Late + Contention

/** All options as numbers. */
const resolve = (options: Options): Effect.Effect<Settings> =>
  Effect.gen(function*() {
    const seed = options.seed ?? Math.floor((yield* Random.next) * 1_000_000_000)
    const settings: Record<string, unknown> = { ...defaults, seed }
    for (const name of Object.keys(settings)) {
      const given = options[name as keyof Options]
      if (given !== undefined) settings[name] = given
    }
    for (const name of durations) {
      settings[name] = Duration.toMillis(Duration.fromInputUnsafe(settings[name] as Duration.Input))
    }
    for (const name of counts) {
      const value = settings[name]
      if (!(Number.isSafeInteger(value) && Number(value) > 0)) {
        return yield* Effect.die(new Error(`Simulate: ${name} is a positive integer, got ${String(value)}`))
      }
    }
    return settings as unknown as Settings
  })

const durations = [
  "tombstonesDelay",
  "maxSkew",
  "maxDelay",
  "maxLateness",
  "maxDeleteDelay",
  "lifetime",
  "pauseEvery"
]
const counts = ["events", "recipients", "workers", "maxBurst", "maxEvents"]

type MakeJob = (...args: [...Parameters<Setting["makeJob"]>, settings: Settings]) => ReturnType<Setting["makeJob"]>

/** Runs a history; when it fails, looks for the smallest that does. */
const simulate = <R = never>(
  settings: Settings,
  { shrink = true, wrap = (database) => database }: Options,
  makeJob: MakeJob
): Effect.Effect<Report, SimulationFailure, R> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<R>()
    const play = (own: Settings, isTraced: boolean): Effect.Effect<Ended> =>
      Effect.suspend(() =>
        new History({
          settings: own,
          context,
          wrap,
          isTraced,
          makeJob: (ledger, chance, now) => makeJob(ledger, chance, now, own)
        }).run
      )
    yield* Effect.logInfo(`SEED=${settings.seed}`)
    const ended = yield* play(settings, false)
    if (ended.violation === undefined) return report(settings, ended)
    const found = shrink
      ? yield* smallest(settings, ended, (simpler) => play(simpler, false))
      : { settings, histories: 1 }
    const { rows, violation } = yield* play(found.settings, true)
    const { detail, recipient, rule } = violation!
    return yield* new SimulationFailure({ rule, detail, table: tableOf(rows, recipient), ...found })
  })

const report = ({ seed }: Settings, ended: Ended): Report => {
  const { landed: _, largestTombstones: largestTombstonesBytes, ...counted } = ended.ledger.counts
  const { crashes, deleteFaults, faults, hash, pauses, skews, steps, stops, virtualMillis } = ended
  const happened = { crashes, stops, pauses, skews, faults, deleteFaults }
  return { seed, hash, ...counted, ...happened, largestTombstonesBytes, virtualMillis, steps }
}

/** Rows of a table at most, and columns of a cell. */
const maxRows = 60
const maxColumns = 160

/** The end of a history, as far as it concerns one recipient and the processes that had to do with it. */
const tableOf = (rows: ReadonlyArray<Noted>, recipient: number | undefined): string => {
  const own = new RegExp(`${kinds.box},${recipient}(?![0-9])`)
  const isOwn = ({ about }: Noted): boolean => recipient === undefined || (about !== undefined && own.test(about))
  const involved = new Set(rows.filter(isOwn).map(({ who }) => who))
  const kept = rows.filter((row) =>
    isOwn(row) || (row.about === undefined && (row.who === "" || involved.has(row.who)))
  )
  const left = Math.max(0, kept.length - maxRows)
  const note = left === 0 ? "" : `(${left} steps before)\n`
  const shown = kept.slice(left).map(({ atMillis, result, what, who }, at) => ({
    number: left + at + 1,
    atMillis,
    who,
    what: cut(what),
    result
  }))
  return note + formatRows(shown, startMillis)
}

const cut = (text: string): string => text.length <= maxColumns ? text : `${text.slice(0, maxColumns)} …`
