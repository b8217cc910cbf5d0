/**
 * One history of the library itself: all that it can do, in all trouble, before a checker that watches what lands.
 *
 * Every process has its own `Datastore`, clock and memory over one store in memory. Clients emit alone, in bursts, in
 * transactions and as side effects, with ids of their own and drawn ones, and repeat them; workers run `processBatch`,
 * `process` and `drain` of recipients at random, some of which many want at once. The checker sees what was emitted and
 * every commit as it lands: nothing is lost, nothing doubled, ids are idempotent, versions linear, callers are told the
 * truth, no entity grows beyond its limit, and everything settles.
 *
 * What does not depend on clocks is checked however far they are off; that one emit is one event, where they agree to a
 * quarter of `tombstonesDelay`; and that a repeated id stays hidden, where no clock can have taken its window for over.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { MaxHeadBytes } from "../../../src/dsset/format/nextHead.ts"
import type { Happened } from "../../../src/testing/simulate/history.ts"
import { resolve } from "../../../src/testing/simulate/settings.ts"
import { failuresOf, tableOf, tryHistory } from "../../../src/testing/simulate/trial.ts"
import { formatCount as count } from "../../../src/testing/text/table.ts"
import { SelfTest } from "./box.ts"
import { kinds, rules } from "./ledger.ts"
import { aspects, counts, defaults, durations, gapsOf, type Options, type Settings, vary } from "./settings.ts"

export { type Options, type Settings, vary }

/** What a history came to. */
export interface Report extends Happened {
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
  /** Bytes of the largest entity that held tombstones. */
  readonly largestTombstonesBytes: number
}

/**
 * A history in which something happened that must not; `ledger.ts` says what the rules mean.
 *
 * `settings` are those of the smallest history found, and repeat it; `table` is its end, as far as it concerns the
 * recipient.
 */
export class SelfTestFailure extends Schema.TaggedError<SelfTestFailure>("test/simulation/SelfTestFailure")(
  "SelfTestFailure",
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
    return `SEED=${settings.seed} ${rule}: ${detail}\n\n${table}\n\n` +
      `The smallest of ${histories} histories. Its settings: ${JSON.stringify(settings)}`
  }
}

/** Simulates one history, and checks it; fails after a search for a smaller one. Logs `SEED=` before it begins. */
export const run = (options: Options = {}): Effect.Effect<Report, SelfTestFailure> =>
  Effect.gen(function*() {
    const settings = yield* resolve<Settings>(defaults, options, { counts, durations })
    const { shrink, wrap } = options
    return yield* tryHistory({
      settings,
      context: yield* Effect.context<never>(),
      adjust: (context, { maxHeadBytes }) => Context.add(context, MaxHeadBytes, maxHeadBytes),
      gapsOf,
      lengthOf: ({ events }) => events,
      makeJob: (trial, own) => new SelfTest(own, trial),
      aspects,
      shrink,
      wrap
    }).pipe(
      Effect.map(({ happened, hash, job }): Report => {
        const { landed: _, largestTombstones: largestTombstonesBytes, ...counted } = job.ledger.counts
        return { seed: settings.seed, hash, ...counted, largestTombstonesBytes, ...happened }
      }),
      Effect.mapError(({ histories, rows, settings: smallest, violation: { about, detail, rule } }) => {
        const own = new RegExp(`${kinds.box},${about}(?![0-9])`)
        const table = tableOf(rows, about === undefined ? undefined : (keys) => own.test(keys))
        return new SelfTestFailure({
          rule: rule as SelfTestFailure["rule"],
          detail,
          table,
          settings: smallest,
          histories
        })
      })
    )
  })

/** A report as one line of text. */
export const format = (report: Report): string => {
  const parts = [
    `seed ${report.seed}: ${count(report.emitted)} events emitted (${count(report.repeated)} repeated)`,
    `${count(report.followed)} as side effects`,
    `${count(report.consumed)} consumed by ${count(report.batches)} batches`,
    `${count(report.garbage)} garbage`,
    `${count(report.refused)} of ${count(report.attempts)} attempts refused`,
    `${count(failuresOf(report))} faults`,
    `${count(report.crashes)} crashes`,
    `${count(report.pauses)} pauses`,
    `${count(Math.round(report.virtualMillis / 1_000))} s`,
    `hash ${report.hash}`
  ]
  return parts.join(", ")
}
