/**
 * The options of `npm run bench`.
 */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { command, countOr, refuse, type Refused } from "../src/cli/command.ts"
import type { Effort } from "./setting.ts"

/** What was asked for. */
export interface Options {
  /** Names of tables; all of them when none is named. */
  readonly tables: ReadonlyArray<string>
  /** Whether tables were named, so that a missing emulator is an error. */
  readonly named: boolean
  readonly sizes: ReadonlyArray<number>
  readonly samples: number | undefined
  readonly effort: Effort
  /** Whether to keep the answers in the project's record. */
  readonly record: boolean
  /** Whether to write the page and the plots from the record, and measure nothing. */
  readonly render: boolean
}

const description = `\
Measures the library beside the same work done without it, one table for each question, and prints medians with the \
least and the greatest sample. bench/README.md says what is measured, and what is not.

Tables:
`

const listOf = <A>(name: string, help: string, must: string, read: (text: string) => A | undefined) =>
  Flag.String(name).pipe(
    Flag.filterMap((given) => {
      const items = given.split(",").map((item) => read(item.trim()))
      return items.every((item) => item !== undefined) ? Option.some(items as ReadonlyArray<A>) : Option.none()
    }, () => must),
    Flag.withMetavar("LIST"),
    Flag.withDescription(help),
    Flag.withDefault(undefined)
  )

const isOn = (name: string, help: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(help), Flag.withDefault(false))

const flagsFor = (tables: ReadonlyArray<string>) => ({
  table: listOf(
    "table",
    "one or more of the tables, with commas [all]",
    `one of ${tables.join(", ")}`,
    (name) => tables.find((one) => one === name)
  ),
  full: isOn("full", "longer, with more sizes; the default takes some minutes"),
  smoke: isOn("smoke", "a run of some seconds that shows that it works; its times mean nothing"),
  sizes: listOf("sizes", "events per batch [1,10,100,1000]", "whole numbers from 1 to 5000", (item) => {
    const value = /^\d+$/.test(item) ? Number(item) : 0
    return value >= 1 && value <= 5_000 ? value : undefined
  }),
  samples: countOr("samples", 1, 1_000, "as the table has it", "samples of each competitor").pipe(
    Flag.withDefault(undefined)
  ),
  record: isOn("record", "keeps the answers in bench/results, and writes the pages there and the plots from them"),
  render: isOn("render", "writes those from what is recorded, and measures nothing")
})

/** `npm run bench`, with these tables. */
export const benchCommand = (tables: ReadonlyArray<{ readonly name: string; readonly question: string }>) => {
  const names = tables.map(({ name }) => name)
  return command({
    name: "bench",
    description: description + tables.map(({ name, question }) => `${name}: ${question}`).join("\n"),
    flags: flagsFor(names),
    check: ({ full, record, render, samples, sizes, smoke, table }): Effect.Effect<Options, Refused> => {
      if (smoke && full) return refuse("--smoke or --full, not both")
      if (smoke && record) {
        return refuse("--record keeps figures that mean something: not with --smoke")
      }
      return Effect.succeed({
        tables: names.filter((name) => table === undefined || table.includes(name)),
        named: table !== undefined,
        sizes: Array.from(new Set(sizes ?? (smoke ? [1, 10] : [1, 10, 100, 1_000]))).toSorted((a, b) => a - b),
        samples,
        effort: smoke ? "smoke" : full ? "full" : "ordinary",
        record,
        render
      })
    }
  })
}
