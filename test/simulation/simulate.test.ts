import { assert, describe, it } from "@effect/vitest"
import { Effect, References } from "effect"
import * as Self from "./self/simulate.ts"
import { dense, wrong } from "./self/wrong.ts"

const firstSeed = Number(process.env["SEED"] ?? 1)
const events = 20_000

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

describe("The library, simulated", () => {
  /*
   * Mutants of the sources that `vary` finds, in brackets in how many of the seeds 1 to 10 with 4,000 events each:
   * nothing hidden (10), tombstones erased at half their age (10), a token that is not looked for (9), tombstones
   * erased whose items are stored (8), truncated listings that erase beyond their end (7), no expectation of the head
   * (6), ignored items not counted as present (6), everything hidden that has a tombstone (5), the oldest tombstone
   * counts (5), ids compared by UTF-16 (4), deletions that expect nothing (4), no fence (4); of the seeds 1 to 20 with
   * 8,000: a fence that expects nothing (10), the loaded state not expected (7).
   *
   * Too rare here, and left to the explorer: items older than the head, the age of a tombstone taken at the commit, and
   * an outcome looked for without end.
   */
  it.effect("every promise holds for 100,000 events in five kinds of trouble", () =>
    Effect.gen(function*() {
      console.log(`SEED=${firstSeed}`)
      const histories = [
        { seed: firstSeed, events, recipients: 300, processes: 30 },
        ...[1, 2, 3, 4].map((more) => Self.vary(firstSeed + more, events))
      ]
      const reports = yield* Effect.forEach(histories, (options) =>
        Effect.tap(Self.run(options), (report) =>
          Effect.sync(() =>
            console.log(`${options.recipients} recipients, ${options.processes} processes, ${Self.format(report)}`)
          )))

      // That nothing was found means nothing unless there was trouble.
      const sum = (count: (report: Self.Report) => number) =>
        reports.reduce((all, report) =>
          all + count(report), 0)
      assert.isAtLeast(sum(({ emitted }) => emitted), 100_000)
      const least = {
        consumed: 80_000,
        batches: 4_000,
        refused: 500,
        truncated: 200,
        followed: 2_000,
        repeated: 500,
        hidden: 50,
        garbage: 500,
        erased: 10_000,
        crashes: 100,
        stops: 30,
        pauses: 100,
        skews: 150,
        pages: 500,
        deletedPages: 300
      }
      for (const name of Object.keys(least) as Array<keyof typeof least>) {
        assert.isAtLeast(sum((report) => report[name]), least[name], name)
      }
      for (const fault of ["ReadFailure", "RequestLost", "ResponseLost", "Late", "Contention", "Delay"] as const) {
        assert.isAtLeast(sum(({ faults }) => faults[fault]), 50, fault)
        if (fault === "ReadFailure") continue
        assert.isAtLeast(sum(({ deleteFaults }) => deleteFaults[fault]), 50, `${fault} of a deletion`)
      }
    }), 900_000)

  // Whoever learns of a lost response after the window must not try again. Kills: the retries of an emit counted from
  // its first failure on (in each of the seeds 1 to 6).
  it.effect(
    "one emit is one event, also where processes stand still until its tombstone is erased",
    () =>
      Effect.gen(function*() {
        const report = yield* Self.run({
          seed: firstSeed,
          events: 2_000,
          recipients: 3,
          processes: 5,
          maxBurst: 1,
          maxEvents: 10,
          eventsPerDelay: 60,
          faults: { responseLost: 0.1, delay: 0.5 }
        })

        assert.isAbove(report.faults.ResponseLost, 100)
        assert.isAbove(report.pauses, 100)
        assert.isAbove(report.erased, 1_000)
      }),
    120_000
  )

  it.effect("a seed has one history, another seed another one", () =>
    Effect.gen(function*() {
      const [first, again, other] = yield* Effect.forEach(
        [7, 7, 8],
        (seed) => Self.run(Self.vary(seed, 500))
      )

      assert.deepStrictEqual(again, first)
      assert.notStrictEqual(other!.hash, first!.hash)
    }))

  for (const { maxEvents, options = dense, rules, what, wrap } of wrong) {
    const isShrunk = maxEvents !== undefined
    it.effect(
      `a database that ${what} is found out${isShrunk ? `, in ${maxEvents} events at most` : ""}`,
      () =>
        Effect.gen(function*() {
          const failure = yield* Effect.flip(Self.run({ ...options, wrap, shrink: isShrunk }))
          const { histories, message, rule, settings, table } = failure

          assert.include(rules, rule, message)
          if (!isShrunk) return
          console.log(`${what} ${rule}, ${settings.events} events, the smallest of ${histories} histories`)
          assert.isAtMost(settings.events, maxEvents, message)
          assert.include(message, `SEED=${settings.seed} ${rule}: `)
          assert.match(table, /^\d+ +[\d.]+ s +worker .* commit .*put SimBox,\d+\/dsset\.Tombstones,1.* landed$/m)
          // What it prints repeats it.
          const [, printed] = /Its settings: (.*)$/.exec(message)!
          const repeated = { ...JSON.parse(printed!) as Self.Settings, wrap, shrink: false }
          const again = yield* Effect.flip(Self.run(repeated))
          assert.deepStrictEqual([again.rule, again.detail, again.table], [rule, failure.detail, table])
        }).pipe(quiet),
      300_000
    )
  }
})
