/**
 * Seeded histories at scale: many processes over one database that crash, stand still and disagree about the time, on a
 * network that loses and delays, until the trouble stops and everything has to settle.
 *
 * Time is virtual and everything happens on one thread, so a seed has one history, hours of it in seconds. The library
 * is tried in the same way, by a workload that uses all of it.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Backend } from "../Backend.ts"
import type { Datastore } from "../Datastore.ts"
import type { Rates } from "./Faulty.ts"
import type { Ended, Happened, Job } from "./simulate/history.ts"
import { defaults, resolve, type Trouble } from "./simulate/settings.ts"
import { type Aspect, lower, off, without } from "./simulate/shrink.ts"
import { failuresOf, tableOf, tryHistory } from "./simulate/trial.ts"
import { formatCount as count } from "./text/table.ts"

/**
 * What a history is made of.
 *
 * **Details**
 *
 * Durations are of virtual time and cost nothing. `0` turns off what comes at a rate or in intervals.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Decides everything that is left to chance; drawn from `Random` unless given. */
  readonly seed?: number | undefined
  /** Calls of the client until the trouble stops; 1,000 unless given. */
  readonly clientCalls?: number | undefined
  /** Processes, each of which runs the client and two workers; 10 unless given. */
  readonly processes?: number | undefined
  /** Time between two calls of the client in a process, on average; 300 milliseconds unless given. */
  readonly clientEvery?: Duration.Input | undefined
  /** Time between two calls of a worker, on average; 800 milliseconds unless given. */
  readonly workerEvery?: Duration.Input | undefined
  /** `Eventbox.TombstonesDelay`; 10 seconds unless given. Pauses are as long as that, more or less. */
  readonly tombstonesDelay?: Duration.Input | undefined
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
  /** Stands between the network and the database: for a database that is wrong on purpose, or a record of its calls. */
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
export interface Settings extends Trouble {
  readonly clientCalls: number
  readonly clientEvery: number
  readonly workerEvery: number
}

/**
 * The programs of a history. They wait for nothing but the database and time.
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
 * **Details**
 *
 * That nothing was found means little unless there was trouble: assert that there were contentions, crashes and faults.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report extends Happened {
  readonly seed: number
  /** The same for the same history: seed, options and programs. */
  readonly hash: string
  /** Calls of the client, and of workers. */
  readonly clientCalls: number
  readonly workerCalls: number
}

/**
 * What a history broke.
 *
 * **Details**
 *
 * | rule | means |
 * |---|---|
 * | `Check` | the check of the workload failed |
 * | `Died` | a client, a worker or the check died |
 * | `Stuck` | a process waits for something other than the database and time, or never comes to rest |
 *
 * @category errors
 * @since 0.1.0
 */
export type Rule = typeof rules[number]

const rules = ["Check", "Died", "Stuck"] as const

/**
 * A history in which something happened that must not.
 *
 * **Details**
 *
 * `settings` are those of the smallest history found, and repeat it as the options of {@link run}; `table` is its end.
 *
 * @category errors
 * @since 0.1.0
 */
export class SimulationFailure extends Schema.TaggedError<SimulationFailure>("eventbox/testing/SimulationFailure")(
  "SimulationFailure",
  {
    rule: Schema.Literals(rules),
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
      `The smallest of ${histories} histories. Replay: Simulate.run(…, ${replay})`
  }
}

/**
 * Simulates one history of programs, and checks its end.
 *
 * **When to use**
 *
 * For what is too large to explore: whether everything still adds up after a bad hour with many processes. What one
 * order of a few operations can break, `Explore` finds for sure.
 *
 * **Details**
 *
 * Every process has its own `Datastore`, clock and memory over one store in memory, and what the caller provides; it
 * runs `client` and two of `worker` again and again. Processes crash, are stopped, stand still and are started again;
 * commits are lost, late or in doubt. After `clientCalls` calls of the client the trouble stops, everything comes to
 * rest, and `check` runs. The workload is made anew for every history, so it may remember things in variables, also
 * what a crash must not lose. `Clock`, `Random` and `Ids` repeat with the seed.
 *
 * Logs `SEED=` before it begins. Fails with {@link SimulationFailure}, after a search for a smaller history: repeat
 * that with its settings, and fix what it shows. Dies for `clientCalls` or `processes` that are not positive integers,
 * and for a `wrap` or a workload that throws when it is made. Cost: about 0.1 ms per commit.
 *
 * **Gotchas**
 *
 * A promise or a real timer in a program is a finding, `Stuck`. `effect/testing/TestClock` is not needed, and an
 * `Effect.sleep` takes no time.
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { Eventbox, Processor } from "effect-eventbox"
 * import { Outstanding, Simulate } from "effect-eventbox/testing"
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
 * const program = Simulate.run(() => ({
 *   client: Eventbox.emit(Counter, visits, { amount: 1 }),
 *   worker: Eventbox.process(Counter, visits),
 *   check: Effect.andThen(Eventbox.drain(Counter, visits), Outstanding.assertNone(Counter, visits))
 * }), { seed: 1, clientCalls: 100 }).pipe(Effect.provide(Counter.layer))
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <R = never>(
  makeWorkload: () => Workload<R>,
  options: Options = {}
): Effect.Effect<Report, SimulationFailure, Exclude<R, Datastore>> =>
  Effect.gen(function*() {
    const settings = yield* resolve<Settings>(ownDefaults, options, { counts, durations })
    const { shrink, wrap } = options
    return yield* tryHistory({
      settings,
      context: yield* Effect.context<Exclude<R, Datastore>>(),
      gapsOf: ({ clientEvery, workerEvery }) => ({ client: clientEvery, worker: workerEvery }),
      lengthOf: ({ clientCalls }) => clientCalls,
      makeJob: (_, own) => jobOf(makeWorkload(), own),
      aspects,
      shrink,
      wrap
    }).pipe(
      Effect.map(({ happened, hash, job }): Report => ({ seed: settings.seed, hash, ...job.calls, ...happened })),
      Effect.mapError(({ histories, rows, settings: smallest, violation: { detail, rule } }) =>
        new SimulationFailure({
          rule: rule as Rule,
          detail,
          table: tableOf(rows),
          settings: smallest,
          histories
        })
      )
    )
  })

/** A workload whose calls are counted. */
interface Counted extends Job {
  readonly calls: { clientCalls: number; workerCalls: number }
}

const jobOf = <R>({ check, client, worker }: Workload<R>, { clientCalls }: Settings): Counted => {
  const calls = { clientCalls: 0, workerCalls: 0 }
  const counted = (name: keyof typeof calls, effect: Effect.Effect<unknown, unknown, Datastore | R>) =>
    Effect.suspend(() => {
      calls[name]++
      return effect
    })
  return {
    calls,
    client: () => counted("clientCalls", client),
    worker: () => counted("workerCalls", worker),
    settle: () => check,
    isEnough: () => calls.clientCalls >= clientCalls
  }
}

const ownDefaults: Omit<Settings, "seed"> = {
  ...defaults,
  processes: 10,
  clientCalls: 1_000,
  clientEvery: 300,
  workerEvery: 800
}

const counts = ["clientCalls", "processes"] as const
const durations = [
  "clientEvery",
  "workerEvery",
  "tombstonesDelay",
  "maxSkew",
  "maxDelay",
  "maxLateness",
  "maxDeleteDelay",
  "lifetime",
  "pauseEvery"
] as const

const callsOf = ({ job }: Ended<Counted>): number => job.calls.clientCalls

const aspects: ReadonlyArray<Aspect<Settings, Ended<Counted>>> = [
  // The same history as far as it failed.
  {
    changes: (settings, ended) =>
      callsOf(ended) < settings.clientCalls ? [{ clientCalls: Math.max(1, callsOf(ended)) }] : []
  },
  lower("clientCalls"),
  lower("processes"),
  off("lifetime"),
  off("pauseEvery"),
  off("maxSkew"),
  without("deleteFaults"),
  without("faults")
]

/**
 * A report as one line of text.
 *
 * @category string form
 * @since 0.1.0
 */
export const format = (report: Report): string =>
  [
    `seed ${report.seed}: ${count(report.clientCalls)} calls of clients, ${count(report.workerCalls)} of workers`,
    `${count(report.commits)} commits`,
    `${count(report.contentions)} met contention`,
    `${count(failuresOf(report))} faults`,
    `${count(report.crashes)} crashes`,
    `${count(report.pauses)} pauses`,
    `${count(Math.round(report.virtualMillis / 1_000))} s`,
    `hash ${report.hash}`
  ].join(", ")
