/**
 * A model checker for programs over a database: it runs every order in which their operations can reach it.
 *
 * Programs run as fibers over one store in memory, each in a process of its own. Each lookup, query and commit is one
 * step, the deletes of garbage in the background included; between steps everything waits, so a history is a sequence
 * of choices, and all of them are tried. Lost responses, lost requests, late commits, crashes and jumps of time can be
 * among the choices. Time is virtual, ids and random numbers repeat: the same programs have the same histories.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Datastore } from "../Datastore.ts"
import * as InMemory from "../layers/InMemory.ts"
import { type Ending, Search } from "./explore/search.ts"
import { type FaultKind, Probe, type Scenario, World } from "./explore/world.ts"
import type { Call } from "./Recorder.ts"
import { formatRows } from "./text/table.ts"
import { quiet, runAlone } from "./virtual/process.ts"
import { startMillis } from "./virtual/time.ts"

/**
 * Programs by name. Each runs as one fiber.
 *
 * @category models
 * @since 0.1.0
 */
export type Programs = Readonly<Record<string, Effect.Effect<any, any, any>>>

/**
 * What can go wrong with commits in a history.
 *
 * **Details**
 *
 * Each kind that is true is tried at every commit, deletes of garbage included, up to `max` faults in one history.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults {
  /** The commit lands or meets contention, and its caller gets `OutcomeUnknown`. */
  readonly responseLost?: boolean | undefined
  /** The commit never lands, and its caller gets `OutcomeUnknown`. */
  readonly requestLost?: boolean | undefined
  /** The caller gets `OutcomeUnknown`, and the commit reaches the store at any later step. */
  readonly late?: boolean | undefined
  /** The process stops for good, just before the commit or just after it. */
  readonly crash?: boolean | undefined
  /** Faults in one history; 1 unless given. */
  readonly max?: number | undefined
  /** Which commits they may hit; all of them unless given. */
  readonly where?: ((call: Call & { readonly operation: "commit" }, process: string) => boolean) | undefined
}

/**
 * What a program told the history with {@link note}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Note {
  readonly program: string
  readonly note: unknown
}

/**
 * One history at its end, for a check.
 *
 * @category models
 * @since 0.1.0
 */
export interface History<P extends Programs> {
  /** How each program ended; `None` for one that crashed. */
  readonly exits: { readonly [K in keyof P]: Option.Option<Exit.Exit<Effect.Success<P[K]>, Effect.Error<P[K]>>> }
  /** In the order in which they were made; that of one program is the same with and without pruning. */
  readonly notes: ReadonlyArray<Note>
  /** Commits that met contention. */
  readonly contentions: number
  /** Faults that happened. */
  readonly faults: number
  /** The steps as text; made when it is asked for. */
  readonly table: () => string
  /** Repeats this history in {@link replay}. */
  readonly token: string
}

/**
 * What to explore.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<P extends Programs, RS, EC, RC> {
  /** Runs once, alone, before all histories; each of them starts from what it left in the store and on the clock. */
  readonly setup?: Effect.Effect<unknown, unknown, Datastore | RS> | undefined
  readonly programs: P
  /**
   * Judges a history at its end, alone, as a process of its own that sees the store: a failure or a defect, such as a
   * failed assertion, is a finding. Sleeping takes no time.
   */
  readonly check: (history: History<P>) => Effect.Effect<unknown, EC, Datastore | RC>
  /** Programs that share a process, by the name of their process; each has its own unless named here. */
  readonly processes?: { readonly [K in keyof P]?: string } | undefined
  /** None unless given. */
  readonly faults?: Faults | undefined
  /** Time that may pass at any step, in this order; each may also not happen. */
  readonly jumps?: ReadonlyArray<Duration.Input> | undefined
  /**
   * Whether the start of a program and the answer to an operation are steps of their own, so that others act between
   * the effect of an operation and its answer. Without it only time and the memory of a process could tell the
   * difference: so it is true when there are jumps, and false otherwise, unless given.
   */
  readonly separateAnswers?: boolean | undefined
  /** Whether to leave out histories that differ only in the order of independent steps; true unless given. */
  readonly prune?: boolean | undefined
  /** Where to stop, abandoned histories included. Then `isComplete` is false, and nothing is proved. */
  readonly maxHistories?: number | undefined
  /** Steps that one history may take, as a finding beyond: 1,000 unless given. */
  readonly maxSteps?: number | undefined
}

/**
 * What an exploration covered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** Histories run to their end and checked. */
  readonly histories: number
  /** Histories abandoned on the way, because another one differs from them only in the order of independent steps. */
  readonly pruned: number
  /** Whether there are no others: false when `maxHistories` cut it off. */
  readonly isComplete: boolean
  /** Checked histories in which a commit met contention. */
  readonly contended: number
  /** Checked histories with a fault. */
  readonly faulty: number
  /** Steps of the longest history. */
  readonly longest: number
}

/**
 * A history that should not be: a check failed, a program died, waits for ever, or never ends.
 *
 * **Details**
 *
 * Of the histories found the one with the fewest faults, then the fewest steps. `token` repeats it with {@link replay}.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExploreFailure
  extends Schema.TaggedError<ExploreFailure>("eventbox/testing/ExploreFailure")("ExploreFailure", {
    reason: Schema.Literals(["CheckFailed", "ProgramDied", "Stuck", "TooLong", "TooMany"]),
    detail: Schema.String,
    table: Schema.String,
    token: Schema.String,
    /** Histories run until then. */
    histories: Schema.Int,
    cause: Schema.optionalKey(Schema.Defect())
  })
{
  override get message(): string {
    return `${this.detail}\n\n${this.table}\n\nFound among ${this.histories} histories. Replay: ${this.token}`
  }
  /** The stack alone: it begins with the message, which says all that the fields do. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.stack ?? this.message
  }
}

/** Where an exploration without `maxHistories` gives up. */
const defaultMaxHistories = 1_000_000

/** Histories run after the first finding, in search of a shorter one. */
const keepLooking = 2_000

/**
 * Runs every history of some programs, and checks each.
 *
 * **Details**
 *
 * Each history replays the programs from the start; nothing but the store of `setup` is carried over. So programs keep
 * what they remember in local variables or tell it with {@link note}, and wait for nothing but the database and time: a
 * promise or a real timer is a finding, `Stuck`. A defect of a program is a finding too; its typed failures are up to
 * the check.
 *
 * Steps are: operations, the waking of sleepers (in any order between processes; time moves on with them), late
 * landings, and jumps. A crash drops what the process had asked for. Of histories that differ only in the order of
 * independent steps one is run, unless `prune` is false. That takes for granted that programs share nothing but the
 * store, that versions are compared for one key only (limited listings compare those of several, but all that depends
 * on it is where the next listing begins), and that the answers to reads which a process asks for in one go may come in
 * either order, as long as it does nothing on the first.
 *
 * Fails with {@link ExploreFailure} for a finding, and with `TooMany` after 1,000,000 histories unless `maxHistories`
 * is given. Dies when `setup` fails. Logs what was covered. Cost: 0.2 to 1 ms per history; the number of histories
 * grows exponentially with the number of steps.
 *
 * **Example** (Two writers)
 *
 * ```ts
 * import { Datastore, Entity, Key } from "effect-eventbox"
 * import * as Explore from "effect-eventbox/testing/Explore"
 * import { Effect, Option } from "effect"
 *
 * const key = Key.make("Counter", "visits")
 * const count = Effect.map(
 *   Datastore.get(key),
 *   (found) => Option.isSome(found) ? Number(found.value.properties["n"]) : 0
 * )
 * const increment = Datastore.withTransaction(
 *   Effect.flatMap(count, (n) => Datastore.put([Entity.make(key, { n: n + 1 })]))
 * )
 *
 * const program = Explore.explore({
 *   programs: { one: increment, two: increment },
 *   check: ({ contentions }) =>
 *     Effect.flatMap(count, (n) => n + contentions === 2 ? Effect.void : Effect.fail("a write was lost"))
 * })
 * ```
 *
 * @see {@link replay} for looking at one history again
 *
 * @category running
 * @since 0.1.0
 */
export const explore = <P extends Programs, RS = never, EC = never, RC = never>(
  options: Options<P, RS, EC, RC>
): Effect.Effect<Report, ExploreFailure, Exclude<RS | RC | Effect.Services<P[keyof P]>, Datastore>> =>
  Effect.gen(function*() {
    const scenario = yield* prepare(options)
    const { maxHistories = defaultMaxHistories, maxSteps = 1_000 } = options
    const search = new Search(options.prune ?? true)
    const tally = { histories: 0, pruned: 0, contended: 0, faulty: 0, longest: 0 }
    let found: Finding | undefined
    let left = maxHistories
    do {
      if (left-- === 0) break
      if (left % 100 === 0) yield* Effect.yieldNow
      const world = new World(scenario, false)
      const ending = search.run(world, found === undefined ? maxSteps : found.world.taken.length - 1)
      if (ending === "pruned" || (ending === "too long" && found !== undefined)) {
        tally.pruned++
        continue
      }
      tally.histories++
      tally.longest = Math.max(tally.longest, world.taken.length)
      if (world.contentions > 0) tally.contended++
      if (world.faults > 0) tally.faulty++
      const finding = judge(options, scenario, world, ending, false)
      if (finding === undefined || (found !== undefined && !isSimpler(world, found.world))) continue
      if (found === undefined) left = Math.min(left, keepLooking)
      found = finding
    } while (search.next())
    if (found !== undefined) return yield* fail(found, scenario, tally.histories)
    const report: Report = { ...tally, isComplete: left >= 0 }
    if (!report.isComplete && options.maxHistories === undefined) return yield* tooMany(report)
    yield* (report.isComplete ? Effect.logInfo(format(report)) : Effect.logWarning(format(report)))
    return report
  })

/**
 * Runs one history again, by the token that a finding or a {@link History} named; with its logs, and checked as before.
 *
 * **Details**
 *
 * Returns the history as text. `options` must be those that the token came from. Once the token is used up, the first
 * choice is taken at every step. Fails with {@link ExploreFailure} when the history is a finding; dies when a step of
 * the token cannot be taken.
 *
 * @category running
 * @since 0.1.0
 */
export const replay = <P extends Programs, RS = never, EC = never, RC = never>(
  options: Options<P, RS, EC, RC>,
  token: string
): Effect.Effect<string, ExploreFailure, Exclude<RS | RC | Effect.Services<P[keyof P]>, Datastore>> =>
  Effect.gen(function*() {
    const scenario = yield* prepare(options)
    const world = new World(scenario, true)
    const ids = token.trim() === "" ? [] : token.trim().split(/\s+/)
    let ending: Ending = "complete"
    while (true) {
      const choices = world.choices()
      if (choices.length === 0 && ids.length <= world.taken.length) break
      if (world.taken.length >= (options.maxSteps ?? 1_000)) {
        ending = "too long"
        break
      }
      const wanted = ids[world.taken.length]
      const choice = wanted === undefined ? choices[0] : choices.find(({ id }) => id === wanted)
      if (choice === undefined) {
        const possible = choices.map(({ id }) => id).join(" ")
        const message = `Explore.replay: step ${
          world.taken.length + 1
        }, ${wanted}, cannot be taken here; possible: ${possible}`
        return yield* Effect.die(new Error(message))
      }
      world.take(choice)
    }
    const finding = judge(options, scenario, world, ending, true)
    return finding === undefined ? formatRows(world.rows, scenario.startMillis) : yield* fail(finding, scenario, 1)
  })

/**
 * Tells the history something: for its check and its table. Outside of an exploration it does nothing.
 *
 * @category inside programs
 * @since 0.1.0
 */
export const note = (value: unknown): Effect.Effect<void> =>
  Effect.flatMap(Probe, (probe) => Effect.sync(() => probe.note(value)))

/**
 * A step of its own, with no effect: others may act before the program goes on. Outside of an exploration it does
 * nothing.
 *
 * **When to use**
 *
 * Between things that a program does by itself, such as reading the clock twice.
 *
 * @category inside programs
 * @since 0.1.0
 */
export const step = (label: string): Effect.Effect<void> => Effect.flatMap(Probe, (probe) => probe.step(label))

/**
 * A report as one line of text.
 *
 * @category string form
 * @since 0.1.0
 */
export const format = ({ contended, faulty, histories, isComplete, longest, pruned }: Report): string => {
  const parts = [
    `${isComplete ? "all" : "CUT OFF, nothing is proved, after"} ${histories.toLocaleString("en")} histories`,
    `${contended.toLocaleString("en")} with contention`,
    ...(faulty === 0 ? [] : [`${faulty.toLocaleString("en")} with faults`]),
    ...(pruned === 0 ? [] : [`${pruned.toLocaleString("en")} abandoned as equal to others`]),
    `at most ${longest} steps`
  ]
  return parts.join(", ")
}

interface Finding {
  readonly world: World
  readonly reason: ExploreFailure["reason"]
  readonly detail: string
  readonly cause?: unknown
}

const prepare = <P extends Programs, RS, EC, RC>(options: Options<P, RS, EC, RC>) =>
  Effect.gen(function*() {
    const { faults = {}, jumps = [], processes = {} } = options
    const context = yield* Effect.context<never>()
    const store = yield* InMemory.makeStore
    const setup = runAlone(options.setup ?? Effect.void, {
      context: quiet(context, true),
      backend: store.backend,
      seed: "setup",
      nowMillis: startMillis
    })
    yield* Effect.orDie(setup.exit)
    const kinds: ReadonlyArray<readonly [boolean | undefined, ReadonlyArray<FaultKind>]> = [
      [faults.responseLost, ["response-lost"]],
      [faults.requestLost, ["request-lost"]],
      [faults.late, ["late"]],
      [faults.crash, ["crash-before", "crash-after"]]
    ]
    const scenario: Scenario = {
      store,
      stored: yield* store.snapshot,
      context,
      programs: Object.entries(options.programs).map(([name, effect]) => ({
        name,
        process: (processes as Record<string, string | undefined>)[name] ?? name,
        effect
      })),
      startMillis: setup.nowMillis,
      jumpsMillis: jumps.map((jump) => Duration.toMillis(Duration.fromInputUnsafe(jump))),
      faults: kinds.flatMap(([isOn, names]) => isOn === true ? names : []),
      maxFaults: faults.max ?? 1,
      mayFail: (call, process) => call.operation === "commit" && (faults.where?.(call, process) ?? true),
      isSeparate: options.separateAnswers ?? jumps.length > 0
    }
    return scenario
  })

/** What is wrong with a history that has ended, if anything. */
const judge = <P extends Programs, RS, EC, RC>(
  { check }: Options<P, RS, EC, RC>,
  scenario: Scenario,
  world: World,
  ending: Ending,
  isLoud: boolean
): Finding | undefined => {
  if (ending === "too long") {
    return { world, reason: "TooLong", detail: `The history did not end in ${world.taken.length} steps.` }
  }
  for (const [name, exit] of world.exits) {
    if (Exit.isFailure(exit) && exit.cause.reasons.some(({ _tag }) => _tag === "Die")) {
      return { world, reason: "ProgramDied", detail: `Program ${name} died: ${Cause.pretty(exit.cause)}` }
    }
  }
  const unfinished = world.unfinished()
  if (unfinished.length > 0) {
    const detail = `Waits for ever, or for something other than the database and time: ${unfinished.join(", ")}.`
    return { world, reason: "Stuck", detail }
  }
  const history: History<P> = {
    exits: Object.fromEntries(
      scenario.programs.map(({ name }) => [name, Option.fromUndefinedOr(world.exits.get(name))])
    ) as History<P>["exits"],
    notes: world.notes,
    contentions: world.contentions,
    faults: world.faults,
    table: () => formatRows(world.rows, scenario.startMillis),
    token: world.taken.join(" ")
  }
  const { exit } = runAlone(Effect.suspend(() => check(history)), {
    context: quiet(scenario.context, isLoud),
    backend: scenario.store.backend,
    seed: "check",
    nowMillis: world.now
  })
  if (Exit.isSuccess(exit)) return undefined
  return {
    world,
    reason: "CheckFailed",
    detail: `The check failed: ${Cause.pretty(exit.cause)}`,
    cause: Cause.squash(exit.cause)
  }
}

const isSimpler = (self: World, that: World): boolean =>
  self.faults - that.faults < 0 ||
  (self.faults === that.faults && (self.taken.length - that.taken.length || self.switches - that.switches) < 0)

const fail = ({ cause, detail, reason, world }: Finding, scenario: Scenario, histories: number): ExploreFailure =>
  new ExploreFailure({
    reason,
    detail,
    table: formatRows(world.rows, scenario.startMillis),
    token: world.taken.join(" "),
    histories,
    ...(cause === undefined ? {} : { cause })
  })

const tooMany = (report: Report): ExploreFailure =>
  new ExploreFailure({
    reason: "TooMany",
    detail: `Gave up: ${
      format(report)
    }. Use fewer programs, steps or faults, or give maxHistories and settle for less.`,
    table: "",
    token: "",
    histories: report.histories
  })
