/**
 * Laws that a processor must keep, and a check that looks for a small example of one that it breaks.
 *
 * The library promises that nothing is lost and nothing doubled, as long as processors do their part: they only decide,
 * they decide the same when they see the same, they use the events of their batch and no others, what their side
 * effects write to one entity adds up, and those that overlap agree on what is garbage. {@link check} puts a processor
 * through generated events, batches and interleavings on a store in memory, and reports the first law that is broken
 * with the smallest example that it finds.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type { Datastore } from "../Datastore.ts"
import type { StoreError } from "../EventboxError.ts"
import type { Processor, Recipient, ServiceClass } from "../Processor.ts"
import { type Broken, type Name, names } from "./laws/broken.ts"
import { arbitrary, type Draw, fromSchema } from "./laws/case.ts"
import type { Subject } from "./laws/rig.ts"
import { runCase } from "./laws/run.ts"
import { formatCount as count } from "./text/table.ts"

/**
 * A law by its name.
 *
 * **Details**
 *
 * | law | says |
 * |---|---|
 * | `Schema` | A generated event encodes and decodes. The state that `loadState` returns, and every `transitionTo`, encoded by the state schema and decoded again, is equal to what it was (`Equal.equals`). |
 * | `Pure` | `loadState`, `prepareMutation` and `fetchEVersion` write nothing; reading is allowed. What must happen belongs into transitions. |
 * | `Input` | `prepareMutation` leaves the state and the values of the events as they are. A state that is changed in place looks unchanged to the library, which then dies (`entity`) or does not save it. |
 * | `Success` | No function of the processor, and no side effect, fails or dies: not without events either. `mayFail` says which failures may be; a defect never may. |
 * | `Batch` | A decision consumes or declares garbage only events of its batch, and each of them once. The library dies otherwise. |
 * | `Decision` | Asked twice with the same input at the same time, the processor decides the same: the same events consumed by transitions to the same states, effects in the same places, the same garbage. While the same is stored, `loadState` returns the same. |
 * | `Save` | After `saveState(state, eversion)`, `loadState` returns an equal state and that version. `fetchEVersion` returns the version that `loadState` does. |
 * | `Updates` | An entity that the side effects of one batch write more than once holds in the end what the same events leave there in batches of one event each, in one order or the other. A side effect must read what it changes. |
 * | `Garbage` | What batches of one state do to the garbage of each other when they overlap, batches one after another do as well; see {@link check}. (E6) |
 * | `Concurrency` | The same, seen on the library itself: two workers that run `Eventbox.processBatch`, with a third process that emits meanwhile, and workers that crash at their commits. |
 *
 * @category models
 * @since 0.1.0
 */
export type Law = Name

/**
 * All laws, in the order in which they are looked at.
 *
 * @category models
 * @since 0.1.0
 */
export const laws: ReadonlyArray<Law> = names

/**
 * What to check with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in out Self, S, A, E, RS = never> {
  /**
   * Events; made from the event schema of the box unless given, without lone surrogates. About as many equal events are
   * drawn as different ones.
   */
  readonly events?: Arbitrary.Arbitrary<A> | undefined
  /** Whose state and events; the recipient with the id `laws` unless given. */
  readonly recipient?: Recipient<Self> | undefined
  /** Runs before each case, on its empty store: writes the entities that the processor reads. */
  readonly setup?: Effect.Effect<unknown, unknown, Datastore | RS> | undefined
  /**
   * Whether two states are as good as each other where a law compares states, beside those that are equal: for states
   * that keep what depends on the order or the cut of batches, or an id that is drawn at random.
   */
  readonly equivalent?: ((self: S, that: S) => boolean) | undefined
  /** Which typed failures may be; none unless given. Such a batch commits nothing, and its garbage is deleted. */
  readonly mayFail?: boolean | ((error: E | StoreError) => boolean) | undefined
  /** Laws that are left out. `Batch` cannot be. */
  readonly except?: ReadonlyArray<Law> | undefined
  /** Generated cases: 100 unless given. */
  readonly runs?: number | undefined
  /** Events that wait in one case at most, 1 to 6; 4 unless given. The cost grows exponentially with it. */
  readonly maxEvents?: number | undefined
  /** Histories of the library per case, chosen at random: 2 unless given. */
  readonly histories?: number | undefined
  /** The same seed, the same cases; drawn from `Random` unless given. */
  readonly seed?: string | number | undefined
  /** Repeats one case, by the text that a {@link LawViolation} named. */
  readonly replay?: string | undefined
}

/**
 * What a check covered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** Generated cases. */
  readonly runs: number
  /** Batches that the processor was asked about, twice each. */
  readonly batches: number
  /** Pairs of a batch and what other batches did meanwhile. */
  readonly pairs: number
  /** Histories of the library; 0 for a processor that waits for something other than the database and time. */
  readonly histories: number
  /** Cases that come to too many ends for the law `Garbage` to be decided; the others were. */
  readonly undecided: number
}

/**
 * A law that is broken, with the smallest example found.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawViolation extends Schema.TaggedError<LawViolation>("eventbox/testing/LawViolation")("LawViolation", {
  law: Schema.Literals(names),
  /** Id of the box. */
  box: Schema.String,
  /** What is wrong. */
  summary: Schema.String,
  /** What shows it, line by line. */
  detail: Schema.Array(Schema.String),
  /** The state in which it was seen, as text; absent when it was seen before there was one. */
  state: Schema.optionalKey(Schema.String),
  /** The events of the example, their values as JSON text. */
  events: Schema.Array(Schema.Struct({ id: Schema.String, text: Schema.String })),
  seed: Schema.Union([Schema.String, Schema.Finite]),
  /** Repeats the example. */
  replay: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    const events = this.events.map(({ id, text }, index) => `  ${index === 0 ? "events" : "      "}  ${id} ${text}`)
    return [
      `${this.box} breaks the law ${this.law}: ${this.summary}.`,
      "",
      ...(this.state === undefined ? [] : [`  state   ${this.state}`]),
      ...events,
      ...(this.state === undefined && events.length === 0 ? [] : [""]),
      ...this.detail.map((line) => `  ${line}`.trimEnd()),
      ...(this.detail.length === 0 ? [] : [""]),
      `Seed ${JSON.stringify(this.seed)}; this example alone: replay: ${JSON.stringify(this.replay)}`
    ].join("\n")
  }
  /** The stack alone: it begins with the message, which says all that the fields do. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.stack ?? this.message
  }
}

/**
 * Checks the laws of a processor, over its own layer and stores that the check makes.
 *
 * **When to use**
 *
 * In one test per processor, beside the tests of what it decides.
 *
 * **Details**
 *
 * A case is: batches of events that lead to a state, and up to `maxEvents` events that wait then. In that state the
 * processor is asked about every subset of the waiting events, and later once more; transitions are committed with
 * their side effects, post-process effects are not run. Time stands still, and sleeping takes none; random numbers are
 * others when the processor is asked again, ids are not.
 *
 * **Garbage.** Garbage is deleted outside the transaction, whatever becomes of the commit. If one worker deletes A and
 * means to consume B in its stead, while another deletes B and means to consume A, both are lost when neither commits.
 * LUCI therefore asks that two concurrent invocations choose the same garbage. Taken literally that would blame sound
 * processors: one that keeps the first of equal events calls B garbage beside A, and consumes B where it sees B alone.
 * What the rule is for is that overlapping does no harm, and that is what is checked. A worker decides on some of the
 * events. Meanwhile others finish up to two batches, on any of the events, each in one of three ways: it lands; it
 * stops between its commit and the deletion of its garbage; or it stops before its commit, its garbage deleted. Then
 * the first worker does one of the three, where a commit in between makes its own impossible. What this comes to must
 * be explained by batches that run one after another, and stop in the same ways: either some of them come to the same,
 * that is the same events consumed, the same deleted, and a state that is equal or `equivalent`; or, once all that
 * still waits has been processed, some of them come to an equal or `equivalent` state and delete at least the same
 * events. All of this is tried, not sampled.
 *
 * So a processor without garbage keeps the law. So does one that keeps the first, the last or the greatest of what
 * belongs together, or throws away what its state has made worthless. One whose choice depends on what else is in the
 * batch breaks it; and so does one that throws away two events because they cancel each other, as another worker may
 * consume one of them. A state that counts what was thrown away, or what was not, may need `equivalent`.
 *
 * Fails with {@link LawViolation}: fix the processor, or leave the law out with `except` where it is broken on purpose.
 * Of several broken laws the first one found is reported. Dies when `setup` fails, for options out of range, for a
 * schema that no events can be made from, and for a `replay` that fails no more. Cost: about 20 ms per case with four
 * events, of which a history of the library takes 5; exponential in `maxEvents`.
 *
 * **Gotchas**
 *
 * The store is turned back between calls. A processor that remembers what it read, and does not ask the store whether
 * it is still true, breaks `Decision`; with several workers it would be wrong anyway. What a processor throws away by
 * itself is its own business: the law `Garbage` compares it with nothing but itself.
 *
 * **Example** (A processor that keeps the laws)
 *
 * ```ts
 * import { Processor } from "effect-eventbox"
 * import { ProcessorLaws } from "effect-eventbox/testing"
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
 *       Effect.succeed({
 *         transitions: [{ events, transitionTo: events.reduce((sum, { value }) => sum + value.amount, total) }]
 *       })
 *   }))
 * }
 *
 * const report = await Effect.runPromise(
 *   ProcessorLaws.check(Counter, { seed: 1, runs: 20 }).pipe(Effect.provide(Counter.layer))
 * )
 * report.runs // => 20
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const check = <Self, S, A, E, RS = never>(
  box: ServiceClass<Self, any, S, A, E>,
  options: Options<Self, S, A, E, RS> = {}
): Effect.Effect<Report, LawViolation, Self | Exclude<RS, Datastore>> =>
  Effect.gen(function*() {
    const { except = [], histories = 2, maxEvents = 4, mayFail = false, runs = 100 } = options
    yield* inRange("runs", runs, 1, Number.MAX_SAFE_INTEGER)
    yield* inRange("maxEvents", maxEvents, 1, 6)
    yield* inRange("histories", histories, 0, Number.MAX_SAFE_INTEGER)
    const subject: Subject = {
      box,
      processor: (yield* box) as Processor<Self, any, any, any>,
      recipient: options.recipient ?? box.recipient("laws"),
      equivalent: (options.equivalent ?? (() => false)) as Subject["equivalent"],
      mayFail: (error: unknown) => typeof mayFail === "boolean" ? mayFail : mayFail(error as E | StoreError),
      isLaw: (law: Law) => !except.includes(law),
      encode: Schema.encodeEffect(box.stateCodec) as Subject["encode"],
      decode: Schema.decodeEffect(box.stateCodec)
    }
    let law: Law | undefined
    const tally = { runs: 0, batches: 0, pairs: 0, histories: 0, undecided: 0 }
    const run = (draw: Draw<A>, isLast: boolean) =>
      runCase({
        subject,
        setup: options.setup ?? Effect.void,
        // A smaller example is worth a search.
        histories: law === "Concurrency" ? Math.max(histories, shrinkingHistories) : histories,
        isLast,
        tally
      }, draw) as Effect.Effect<void, Broken, Self | Exclude<RS, Datastore>>
    const property = (draw: Draw<A>) =>
      run(draw, false).pipe(
        Effect.as(true),
        Effect.catch((broken) => {
          law ??= broken.law
          // While an example shrinks, it is one of the same law.
          return broken.law === law ? Effect.fail(broken) : Effect.succeed(true)
        })
      )
    const events = options.events ?? (yield* fromBox(box))
    const seed = options.seed ?? (yield* Random.nextInt)
    const { replay } = options
    const result = yield* Arbitrary.checkEffect(arbitrary(events, maxEvents), property, {
      runs,
      seed,
      replay,
      maxShrinks: 500
    })
    if (result._tag === "Passed") return tally satisfies Report
    if (result._tag !== "Falsified") {
      return yield* Effect.die(new Error(`ProcessorLaws.check: ${Arbitrary.formatCheckFailure(result)}`))
    }
    const seen = (result.failure as Arbitrary.PropertyError<Broken>).error
    const shown = yield* Effect.flip(Effect.andThen(run(result.shrunkInput, true), Effect.fail(seen)))
    // A processor with a memory may go another way when it is run again.
    return yield* violation(shown.law === seen.law ? shown : seen, box.key, seed, result.replay)
  })

/** Histories of the library per case, while an example shrinks that was found in one. */
const shrinkingHistories = 20

/**
 * A report as one line of text.
 *
 * @category string form
 * @since 0.1.0
 */
export const format = ({ batches, histories, pairs, runs, undecided }: Report): string =>
  [
    `${count(runs)} cases`,
    `${count(batches)} batches`,
    `${count(pairs)} overlapping pairs`,
    `${count(histories)} histories`,
    ...(undecided === 0 ? [] : [`${count(undecided)} cases with too many ends to decide on garbage`])
  ].join(", ")

const inRange = (name: string, value: number, least: number, most: number): Effect.Effect<void> =>
  Number.isSafeInteger(value) && value >= least && value <= most
    ? Effect.void
    : Effect.die(new Error(`ProcessorLaws.check: ${name} is an integer from ${least} to ${most}, got ${value}`))

const fromBox = <A>(box: ServiceClass<any, any, any, A, any>): Effect.Effect<Arbitrary.Arbitrary<A>> =>
  Effect.orDie(Effect.try({
    try: () => fromSchema(box.eventSchema),
    catch: (cause) =>
      new Error(`ProcessorLaws.check: no events can be made from the event schema of ${box.key}; give \`events\``, {
        cause
      })
  }))

const violation = (broken: Broken, box: string, seed: string | number, replay: string): LawViolation =>
  new LawViolation({
    law: broken.law,
    box,
    summary: broken.summary,
    detail: broken.detail,
    ...(broken.state === undefined ? {} : { state: broken.state }),
    events: (broken.events ?? []).map(({ id, text }) => ({ id, text })),
    seed,
    replay,
    ...(broken.cause === undefined ? {} : { cause: broken.cause })
  })
