/**
 * The benchmark at smoke size: that it works and does what it says. How long anything takes is never asserted.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { type BatchCounts, countBatches } from "../bench/counts.ts"
import { type Delay, measureEmulator } from "../bench/emulator.ts"
import { alternate, type Measured, noUsage, type Sample, spreadOf } from "../bench/measure.ts"
import { measureMemory } from "../bench/memory.ts"
import { BadOptionError, parseOptions } from "../bench/options.ts"
import { reportEmulator, reportMemory, reportProof } from "../bench/report.ts"
import type { Rpcs } from "../bench/rpcs.ts"
import { emulatorEfforts, memoryEffort } from "../bench/suite.ts"
import { formatNumber, formatTable } from "../bench/table.ts"
import { checkMailboxes, checkTotal, Counter, totalOf } from "../bench/workloads/counter.ts"
import { emulatorHost, isMissing } from "./utils/emulator.ts"
import { makeTcpProxy } from "./utils/tcpProxy.ts"

const sizes = [1, 10]

/** What an ordinary batch costs, on every database. */
const countsOf = (batchSize: number): BatchCounts => ({
  batchSize,
  emitCommits: 1,
  queries: 1,
  lookups: 1,
  commits: 1,
  rounds: 2,
  deleteCommits: 1,
  // The events, the state and the tombstones; written by the emits and by the batch.
  reads: batchSize + 2,
  writes: batchSize + 2,
  deletes: batchSize,
  unwrittenExpectations: 0
})

const assertDone = (measured: Measured, samples: number, events: number): void => {
  assert.strictEqual(measured.samples.length, samples, measured.name)
  for (const sample of measured.samples) {
    assert.strictEqual(sample.events, events, measured.name)
    assert.strictEqual(sample.total.count, events, measured.name)
    assert.isAbove(sample.all.wallMicros, 0, measured.name)
  }
}

describe("bench in memory", () => {
  it.live("every competitor does the work that it is measured for", () =>
    Effect.gen(function*() {
      const result = yield* measureMemory(sizes, memoryEffort(true))

      const [single, tens] = result.rows
      assertDone(single!.library, 2, 20)
      assertDone(single!.storeAlone, 2, 20)
      assertDone(tens!.library, 2, 20)
      assertDone(result.direct, 2, 20)
      assert.strictEqual(single!.library.samples[0]!.batches, 20)
      assert.strictEqual(tens!.library.samples[0]!.batches, 2)
      // Two batches of one event each for ten recipients, and one recipient with two batches of ten.
      assert.strictEqual(single!.library.samples[0]!.total.sum, 10 * totalOf(2).sum)
      assert.strictEqual(tens!.library.samples[0]!.total.sum, totalOf(20).sum)
      const text = reportMemory(result, [])
      assert.include(text, "batches of 10")
      assert.include(reportProof(result, undefined), "10 samples left 200 events")
    }))

  it.live("an ordinary batch takes two round trips, and is billed for its events, state and tombstones", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* countBatches(InMemory.layer, [1, 10]), [countsOf(1), countsOf(10)])
      assert.deepStrictEqual(yield* countBatches(InMemory.layer, [1_000]), [
        // 500 mutations in a commit.
        { ...countsOf(1_000), emitCommits: 2, deleteCommits: 2 }
      ])
    }))

  it.effect("a sample whose work was not done is a defect that says so", () =>
    Effect.gen(function*() {
      const found = { count: 3, sum: totalOf(4).sum }

      const wrong = yield* Effect.exit(checkTotal("r0", found, 4))
      const idle = yield* Effect.exit(checkMailboxes([Counter.recipient("r0")], 4)).pipe(
        Effect.provide([Counter.layer, InMemory.layer])
      )

      assert.include(defectOf(wrong), "r0 holds 3 events")
      assert.include(defectOf(idle), "BenchCounter,\"r0\" holds 0 events")
      assert.deepStrictEqual(yield* checkTotal("r0", totalOf(4), 4), totalOf(4))
    }))
})

const defectOf = (exit: Exit.Exit<unknown, unknown>): string => Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "none"

const throughProxy: Delay = (host, delayMillis) =>
  Effect.map(makeTcpProxy(host), (proxy) => {
    proxy.delay(delayMillis, delayMillis)
    return proxy.host
  })

describe.skipIf(isMissing)("bench on the emulator", () => {
  it.live(
    "every competitor does the work that it is measured for, with the RPCs that it should need",
    () =>
      Effect.gen(function*() {
        const efforts = emulatorEfforts(true)

        const result = yield* measureEmulator(emulatorHost, throughProxy, sizes, efforts)

        assert.deepStrictEqual(result.counts, sizes.map(countsOf))
        assert.deepStrictEqual(result.delays.map(({ delayMillis }) => delayMillis), [0, 10])
        for (const [index, { direct, naive, rows, senders }] of result.delays.entries()) {
          const { counted, singleEvents: events } = efforts[index]!
          const batches = efforts[index]!.batches(1)
          assertDone(naive, counted, events)
          assertDone(direct, counted, events)
          for (const { rpcs } of naive.samples) {
            assert.deepStrictEqual({ ...rpcs }, { BeginTransaction: events, Lookup: events, Commit: events })
          }
          for (const { rpcs } of direct.samples) assert.deepStrictEqual({ ...rpcs }, { Lookup: events, Commit: events })
          for (const { batchSize, library } of rows) {
            assertDone(library, counted, batches * batchSize)
            // Of the commits one emits, one lands the batch, and one deletes.
            const expected: Rpcs = { Commit: 3 * batches, Lookup: batches, RunQuery: batches }
            for (const { rpcs } of library.samples) assert.deepStrictEqual({ ...rpcs }, expected)
          }
          const expected: Rpcs = { Commit: 12 * batches, Lookup: batches, RunQuery: batches }
          for (const { rpcs } of senders!.library.samples) assert.deepStrictEqual({ ...rpcs }, expected)
        }
        assert.include(reportEmulator(result, false), "WITH 10 MS MORE ON EACH WAY")
        assert.include(reportProof(undefined, result), "15 samples left")
      }),
    60_000
  )
})

describe("bench options", () => {
  it("both databases and four sizes are the default, small sizes that of a smoke run", () => {
    assert.deepStrictEqual(parseOptions([]), {
      places: ["memory", "emulator"],
      placesNamed: false,
      sizes: [1, 10, 100, 1_000],
      samples: undefined,
      smoke: false,
      json: undefined
    })
    assert.deepStrictEqual(parseOptions(["--smoke"])?.sizes, [1, 10])
    assert.deepStrictEqual(parseOptions(["--sizes", "100, 5,5", "--smoke"])?.sizes, [5, 100])
    assert.isUndefined(parseOptions(["--help"]))
  })

  it("a bad option gets a message that names it and what it takes", () => {
    const bad: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
      [["--datastore", "redis"], /--datastore is memory, emulator or both, got "redis"/],
      [["--sizes", "0"], /--sizes takes whole numbers from 1 to 5000, got "0"/],
      [["--sizes", "1,,2"], /--sizes takes .* got ""/],
      [["--samples", "many"], /--samples takes .* got "many"/],
      [["--fast"], /--fast/],
      [["fast"], /fast/]
    ]
    for (const [args, message] of bad) assert.throws(() => parseOptions(args), BadOptionError, message)
  })
})

describe("bench figures", () => {
  it("a median is the middle, or the mean of the two middle values", () => {
    assert.deepStrictEqual(spreadOf([5, 1, 3]), { median: 3, min: 1, max: 5 })
    assert.deepStrictEqual(spreadOf([10, 1, 3, 2]), { median: 2.5, min: 1, max: 10 })
  })

  it.effect("competitors take turns, begin in turn, and warm up uncounted", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const competitor = (name: string) => ({
        name,
        run: Effect.sync((): Sample => {
          order.push(name)
          return { events: order.length, batches: 1, all: noUsage, total: totalOf(0) }
        })
      })

      const measured = yield* alternate([competitor("A"), competitor("B"), competitor("C")], { warmUp: 1, counted: 2 })

      assert.strictEqual(order.join(""), "ABCBCACAB")
      assert.deepStrictEqual(measured.map(({ name, samples }) => [name, samples.map(({ events }) => events)]), [
        ["A", [6, 8]],
        ["B", [4, 9]],
        ["C", [5, 7]]
      ])
    }))

  it("numbers keep three digits that mean something, and columns line up", () => {
    assert.deepStrictEqual([0.456, 9.999, 12.34, 99.96, 1_234.5, 7].map(formatNumber), [
      "0.46",
      "10.0",
      "12.3",
      "100",
      "1,235",
      "7"
    ])
    assert.strictEqual(formatTable(["", "n"], [["a", "1"], ["bb", "10"]]), "      n\n--   --\na     1\nbb   10")
  })
})

describe("npm run bench", () => {
  const root = join(import.meta.dirname, "..")
  const run = (...args: ReadonlyArray<string>) =>
    spawnSync(process.execPath, ["--conditions=effect-eventbox:source", "bench/main.ts", ...args], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, DATASTORE_EMULATOR_HOST: undefined, EVENTBOX_EMULATOR_JAR: "/there/is/no/such.jar" }
    })

  it("prints what it measured on and the proof of the work, and goes on without an emulator", () => {
    const { status, stderr, stdout } = run("--smoke", "--sizes", "3")

    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 0)
    assert.include(stdout, `node ${process.version}`)
    assert.include(stdout, "batches of 3")
    assert.include(stdout, "SKIPPED: everything on the emulator. Datastore emulator: there is no file")
    assert.match(stdout, /CHECKED: 6 samples left \d+ events/)
  }, 60_000)

  it("fails where the emulator was asked for and is missing, and where an option is bad", () => {
    const missing = run("--smoke", "--datastore", "emulator")
    const bad = run("--datastore", "redis")

    assert.strictEqual(missing.status, 1)
    assert.include(missing.stderr, "Datastore emulator: there is no file")
    assert.strictEqual(bad.status, 2)
    assert.include(bad.stderr, "got \"redis\"")
  }, 60_000)
})
