/**
 * What the benchmark is made of: options, figures, and the check that the work was done.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { alternate, noUsage, type Sample, spreadOf } from "../../bench/measure.ts"
import { benchCommand } from "../../bench/options.ts"
import { drawFigure } from "../../bench/plot.ts"
import { plotMinutes } from "../../bench/plots.ts"
import { pagesOf } from "../../bench/record.ts"
import { formatNumber, formatTable } from "../../bench/table.ts"
import { tables } from "../../bench/tables.ts"
import { minutes } from "../../bench/tables/minutes.ts"
import { checkMailboxes, checkTotal, Counter, totalOf } from "../../bench/workloads/counter.ts"
import { readOptions } from "../utils/options.ts"

describe("the work of a sample", () => {
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
