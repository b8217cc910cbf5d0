/**
 * The benchmark at smoke size: that it works and does what it says. How long anything takes is never asserted.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, type Scope } from "effect"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { type BatchCounts, countBatches } from "../bench/counts.ts"
import { alternate, noUsage, type Sample, spreadOf } from "../bench/measure.ts"
import { makeNetwork } from "../bench/network.ts"
import { benchCommand } from "../bench/options.ts"
import { drawFigure } from "../bench/plot.ts"
import { plotBatches, plotMinutes } from "../bench/plots.ts"
import { pagesOf } from "../bench/record.ts"
import type { Table } from "../bench/setting.ts"
import { formatNumber, formatTable } from "../bench/table.ts"
import { tables } from "../bench/tables.ts"
import { backlog, drainBacklog } from "../bench/tables/backlog.ts"
import { batches } from "../bench/tables/batches.ts"
import { codec } from "../bench/tables/codec.ts"
import { hot } from "../bench/tables/hot.ts"
import { imports } from "../bench/tables/imports.ts"
import { many } from "../bench/tables/many.ts"
import { memory } from "../bench/tables/memory.ts"
import { minutes } from "../bench/tables/minutes.ts"
import { roundTrips } from "../bench/tables/roundTrips.ts"
import { makeAnswers, makeLibraryCodec, makePlainCodec } from "../bench/workloads/codecs.ts"
import { checkMailboxes, checkTotal, Counter, totalOf } from "../bench/workloads/counter.ts"
import { serviceLatency } from "../bench/workloads/deepStore.ts"
import { luci } from "../bench/workloads/luci.ts"
import { naive } from "../bench/workloads/naive.ts"
import { drainVirtual } from "../bench/workloads/virtualDrainer.ts"
import { emulatorHost, isMissing } from "./utils/emulator.ts"
import { readOptions } from "./utils/options.ts"
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
  // The events, the state and the tombstones; written by the emits and by the batch.
  reads: batchSize + 2,
  writes: batchSize + 2,
  deletes: batchSize,
  unwrittenExpectations: 0
})

const smoke = <Data>(table: Table<Data>): Effect.Effect<Data, unknown, Scope.Scope> =>
  table.measure({ effort: "smoke", sizes, samples: undefined, emulatorHost })

describe("bench in memory", () => {
  it.live("every competitor does the work that it is measured for", () =>
    Effect.gen(function*() {
      const data = yield* smoke(memory)

      assert.deepStrictEqual(data.rows.map(({ batchSize }) => batchSize), sizes)
      // Two samples of five competitors with 20 events each; each sample was compared with its total.
      const singles = 10 * totalOf(2).sum
      const tens = totalOf(20).sum
      assert.deepStrictEqual(data.proof, { samples: 10, count: 200, sum: 4 * singles + 6 * tens })
      const text = memory.report(data)
      assert.include(text, "batches of 10")
      assert.include(text, "CHECKED: 10 samples left 200 events")
    }))

  it.live("a sample ends where batches leave pages of tombstones behind, beyond an entity and a head", () =>
    Effect.gen(function*() {
      const data = yield* memory.measure({ effort: "smoke", sizes: [1_000], samples: 1, emulatorHost })

      // Two samples each of the library and of its replay, of two batches, and of the work without a mailbox.
      assert.deepStrictEqual(data.proof.samples, 6)
      assert.deepStrictEqual(data.proof.count, 2 * (2 * 2_000 + 20))
    }))

  it.live("a backlog is drained as a whole, and its table says what it took", () =>
    Effect.gen(function*() {
      const data = yield* smoke(backlog)

      assert.strictEqual(data.proof.count, 2 * (40 + 80))
      assert.deepStrictEqual(data.rows.map(({ batches: count }) => count), [4, 8, 2, 4])
      assert.include(backlog.report(data), "CHECKED: 4 samples left 240 events")
    }))

  it.live("an ordinary batch takes two round trips, and is billed for its events, state and tombstones", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* countBatches(InMemory.layer, [1, 10]), [countsOf(1), countsOf(10)])
      assert.deepStrictEqual(yield* countBatches(InMemory.layer, [1_000]), [
        // 500 mutations in a commit; the ids of so many events do not fit into the head, and go to a page.
        { ...countsOf(1_000), emitCommits: 2, writes: countsOf(1_000).writes + 1 }
      ])
    }))

  // Must catch: losers that try again at once (15 lost races per batch), or that keep the winner from going on.
  it.live("16 workers that share only the database get as much done as one: those who lose get out of the way", () =>
    Effect.gen(function*() {
      const load = { maxEvents: 50, events: 2_000, senders: 16, eventsPerEmit: 10, latency: serviceLatency, seed: "x" }
      const alone = yield* drainVirtual({ ...load, workers: 1 })
      const together = yield* drainVirtual({ ...load, workers: 16 })

      assert.strictEqual(together.total.count, 2_000)
      assert.isAtMost(together.seconds, 1.1 * alone.seconds)
      assert.isAtLeast(together.drained.contended, 1)
      assert.isAtMost(together.drained.contended, 4 * together.drained.batches)
    }))

  it.live(
    "200,000 outstanding events: a drain reads each of them once, although commits are slow",
    () =>
      Effect.gen(function*() {
        for (const maxEvents of [1_000, 10_000]) {
          const { row, total } = yield* drainBacklog(
            { events: 200_000, maxEvents, weighed: false },
            { lookup: 0, query: 0, commit: 5 }
          )

          assert.strictEqual(total.count, 200_000)
          assert.strictEqual(row.batches, 200_000 / maxEvents)
          assert.strictEqual(row.mostRead, maxEvents)
          assert.isAtMost(row.read, 1.05 * 200_000)
        }
      }),
    { timeout: 120_000 }
  )

  it.live("minutes of load: every batch consumes its events, for both ways of remembering", () =>
    Effect.gen(function*() {
      const data = yield* smoke(minutes)

      const [load] = data.loads
      for (const endured of [load!.library, load!.oneEntity]) {
        assert.strictEqual(endured.events, 600)
        assert.isUndefined(endured.stopped)
        assert.deepStrictEqual(endured.minutes.map(({ minute }) => minute), [1, 2])
      }
      // One entity with 600 ids of 56 characters and their times, at least.
      assert.isAbove(load!.oneEntity.minutes[1]!.largestBytes, 600 * (56 + 8))
      assert.include(minutes.report(data), "LUCI's one entity")
    }))

  it.live("both codecs see every payload and send every payload", () =>
    Effect.gen(function*() {
      const load = { items: 1_500, payloadBytes: 10 }
      const answers = makeAnswers(load)
      const codecs = [makeLibraryCodec(load, answers), yield* Effect.promise(() => makePlainCodec(load, answers))]

      for (const one of codecs) {
        for (const operation of ["runQuery", "get", "save"] as const) {
          assert.strictEqual(yield* Effect.promise(() => one(operation)), 15_000)
        }
      }
      assert.include(codec.report(yield* smoke(codec)), "runQuery")
    }))

  it.live(
    "loading the memory path loads no module of Google's, and the Google path does",
    () =>
      Effect.gen(function*() {
        const { rows } = yield* smoke(imports)

        const modules = (name: string) => rows.find((row) => row.name === name)!.modules
        assert.strictEqual(modules("nothing"), 0)
        assert.isAbove(modules("memory path"), modules("one module: Eventbox"))
        assert.isAbove(modules("Google path"), modules("memory path") + modules("plain API alone") / 2)
      }),
    120_000
  )

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

describe.skipIf(isMissing)("bench on the emulator", () => {
  it.live(
    "each competitor takes the RPCs, round trips and bills that it should",
    () =>
      Effect.gen(function*() {
        const data = yield* smoke(batches)

        for (const { batchSize, counted } of data.rows) {
          const { library, luci: original, naive: plain } = counted
          const n = batchSize
          assert.deepStrictEqual(library.rpcs, { RunQuery: 1, Lookup: 1, Commit: 2 })
          assert.deepStrictEqual(library.bill, { reads: n + 2, writes: n + 2, deletes: n })
          assert.strictEqual(library.rounds, 2)
          assert.deepStrictEqual(original.rpcs, { RunQuery: 1, Lookup: 4, BeginTransaction: 1, Commit: 3 })
          // State and tombstones, before the transaction and inside.
          assert.deepStrictEqual(original.bill, { reads: n + 4, writes: n + 2, deletes: n })
          assert.strictEqual(original.rounds, 6)
          assert.deepStrictEqual(plain.rpcs, { BeginTransaction: n, Lookup: n, Commit: n })
          assert.deepStrictEqual(plain.bill, { reads: n, writes: n, deletes: 0 })
          for (const { bytesReceived, bytesSent } of [library, original, plain]) {
            assert.isAbove(bytesSent, n * 40)
            assert.isAbove(bytesReceived, n * 10)
          }
        }
        assert.strictEqual(data.proof.samples, 5 * 2 + 5)
        assert.include(batches.report(data), "BATCHES OF 10")
        assert.include(batches.losses!(data).join("\n"), "batches of 1, RPCs per batch: 4, naive 3")
        assert.include(drawFigure("costs", plotBatches(data)), "this library")
      }),
    120_000
  )

  it.live(
    "LUCI's batch consumes nothing twice when it runs alone, whatever the number of batches",
    () =>
      Effect.gen(function*() {
        const address = { host: emulatorHost, projectId: `bench-luci-${crypto.randomUUID().slice(0, 8)}` }

        const sample = yield* luci(address, { batchSize: 7, batches: 3 })
        const plain = yield* naive(address, 4)

        assert.deepStrictEqual(sample.total, totalOf(21))
        assert.deepStrictEqual(plain.total, totalOf(4))
      }),
    60_000
  )

  it.live(
    "round trips: with the delay a batch takes two of them at least",
    () =>
      Effect.gen(function*() {
        const data = yield* smoke(roundTrips)

        for (const { millis } of data.rows) assert.isAbove(millis.min, 40 - 2)
        assert.include(roundTrips.report(data), "round trips")
      }),
    120_000
  )

  it.live(
    "a hot recipient and many recipients lose no event, wherever their workers are",
    () =>
      Effect.gen(function*() {
        const data = yield* smoke(hot)
        const others = yield* smoke(many)

        assert.deepStrictEqual({ samples: data.proof.samples, count: data.proof.count }, { samples: 7, count: 7 * 40 })
        assert.strictEqual(others.proof.count, 3 * (2 * 20 + 2 * 5))
        for (const { how, rpcsPerRecipient } of others.rows) {
          assert.strictEqual(rpcsPerRecipient["RunQuery"], how === "drain" ? 2 : 1)
          assert.strictEqual(rpcsPerRecipient["Commit"], 1)
          assert.isAtMost(rpcsPerRecipient["Lookup"]!, how === "drain" ? 2 : 1)
        }
        assert.strictEqual(Object.keys(others.grown.bytes).length, 5)
      }),
    120_000
  )

  it.live("the network of the benchmark counts what goes over it", () =>
    Effect.scoped(Effect.gen(function*() {
      const network = yield* makeNetwork(emulatorHost)
      const proxy = yield* makeTcpProxy(network.host)
      const before = yield* network.bytes

      yield* naive({ host: proxy.host, projectId: "bench-network" }, 2)

      const counted = Effect.map(network.bytes, ({ toClient, toServer }) => ({
        toServer: toServer - before.toServer,
        toClient: toClient - before.toClient
      }))
      // Frames that nobody waits for are still under way from the one proxy to the other.
      const settled = Effect.map(counted, ({ toServer }) => toServer === proxy.bytes().toServer)
      yield* Effect.repeat(Effect.delay(settled, "50 millis"), { until: (equal) => equal, times: 100 })
      assert.deepStrictEqual(yield* counted, proxy.bytes())
      assert.isAbove(proxy.bytes().toServer, 500)
    })), 60_000)
})

describe("bench options", () => {
  const names = tables.map(({ name }) => name)

  const read = (...args: ReadonlyArray<string>) => readOptions(benchCommand(tables), args)

  it("all tables and four sizes are the default, small sizes that of a smoke run", () => {
    assert.deepStrictEqual(read().options, {
      tables: names,
      named: false,
      sizes: [1, 10, 100, 1_000],
      samples: undefined,
      effort: "ordinary",
      record: false,
      render: false
    })
    assert.deepStrictEqual(read("--smoke").options?.sizes, [1, 10])
    assert.deepStrictEqual(read("--sizes", "100, 5,5", "--smoke").options?.sizes, [5, 100])
    // In the order of the tables, whatever that of the names.
    assert.deepStrictEqual(read("--table", "memory,batches").options?.tables, ["batches", "memory"])
  })

  it.each([
    [["--table", "redis"], "one of batches, "],
    [["--sizes", "0"], "whole numbers from 1 to 5000"],
    [["--sizes", "1,,2"], "whole numbers from 1 to 5000"],
    [["--samples", "many"], "an integer from 1 to 1000"],
    [["--smoke", "--record"], "not with --smoke"],
    [["--smoke", "--full"], "--smoke or --full"],
    [["--fast"], "--fast"]
  ])("refuses %j", (args, message) => {
    const { code, said } = read(...args)

    assert.include(said, message)
    assert.strictEqual(code, 2)
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

describe("bench record", () => {
  const endured = (stopped: string | undefined) => ({
    minutes: [1, 2].map((minute) => ({
      minute,
      bytesPerBatch: 1_024 * minute,
      entitiesPerBatch: 4,
      operationsPerBatch: 5,
      largestBytes: 2_048
    })),
    events: 120,
    stopped
  })
  const data = {
    loads: [{ eventsPerSecond: 1, minutes: 2, library: endured(undefined), oneEntity: endured("it was full & <done>") }]
  }

  it("each recorded table has a page with its machine, and what is worse has one for all", () => {
    const answer = {
      date: "2026-11-25",
      machine: {
        node: "v24",
        effect: "4.1.0",
        googleClient: "11.1.0",
        system: "linux",
        processor: "one",
        cores: 2,
        load: 1,
        loadAfter: 2
      },
      emulator: undefined,
      effort: "ordinary" as const
    }
    const stopped = { loads: [{ ...data.loads[0]!, library: endured("it was full") }] }

    const pages = pagesOf({ minutes: { ...answer, data: stopped } })

    assert.deepStrictEqual([...pages.keys()], ["worse", "minutes"])
    assert.include(pages.get("minutes"), `# ${minutes.question}`)
    assert.include(pages.get("minutes"), "npm run bench -- --table minutes")
    assert.include(pages.get("minutes"), "2026-11-25, node v24")
    assert.include(pages.get("worse"), "end after 120 events: it was full")
    assert.include(pagesOf({ minutes: { ...answer, data } }).get("worse"), "Nowhere in what is recorded")
  })

  it("a plot names its lines and axes, crosses out what stopped, and is one picture on light and dark pages", () => {
    const svg = drawFigure("Bytes & minutes", plotMinutes(data))

    for (const part of ["<title>Bytes &amp; minutes</title>", "this library", "LUCI's entity", "minutes of load"]) {
      assert.include(svg, part)
    }
    assert.include(svg, "prefers-color-scheme: dark")
    assert.strictEqual(svg.match(/<path/g)?.length, 3)
    assert.notInclude(svg, "NaN")
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
    const { status, stderr, stdout } = run("--smoke", "--sizes", "3", "--table", "memory,minutes")

    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 0)
    assert.include(stdout, `node ${process.version}`)
    assert.include(stdout, "batches of 3")
    assert.match(stdout, /CHECKED: 6 samples left \d+ events/)
    assert.include(run("--help").stdout, "--table LIST")
  }, 60_000)

  it(
    "without an emulator says so and measures the rest, but fails where a table was asked for or an option is bad",
    () => {
      const rest = run("--smoke", "--sizes", "3")
      const missing = run("--smoke", "--table", "batches")
      const bad = run("--table", "redis")

      assert.include(rest.stdout, "SKIPPED: everything on the emulator. Datastore emulator: there is no file")
      assert.include(rest.stdout, "CODEC")
      assert.strictEqual(missing.status, 1)
      assert.include(missing.stderr, "Datastore emulator: there is no file")
      assert.strictEqual(bad.status, 2)
      assert.include(bad.stderr, `--table: "redis"`)
    },
    120_000
  )
})
