/**
 * The options of `npm run bench`.
 */
import { parseArgs } from "node:util"
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

/** What `--help` prints. */
export const help = (tables: ReadonlyArray<{ readonly name: string; readonly question: string }>): string =>
  `Usage: npm run bench -- [options]

Measures the library beside the same work done without it, one table for each question,
and prints medians with the least and the greatest sample.

  --table LIST     one or more of these, with commas between them (all)
${tables.map(({ name, question }) => `                     ${name.padEnd(12)} ${question}`).join("\n")}
  --full           longer, with more sizes; the default takes some minutes
  --smoke          a run of some seconds that shows that it works; its times mean nothing
  --sizes LIST     events per batch, 1 to 5000 (1,10,100,1000)
  --samples N      samples of each competitor, 1 to 1000
  --record         keeps the answers in bench/results.json, and writes bench/README.md and the plots from it
  --render         writes those from what is recorded, and measures nothing
  --help           prints this

bench/README.md says what is measured, and what is not.`

/** An option that cannot be used; its message is for the user. */
export class BadOptionError extends Error {
  override readonly name = "BadOptionError"
}

/** Reads the command line; `undefined` when help was asked for. Throws a {@link BadOptionError}. */
export const parseOptions = (args: ReadonlyArray<string>, tables: ReadonlyArray<string>): Options | undefined => {
  const values = parse(args)
  if (values.help === true) return undefined
  const named = (values.table ?? "").split(",").map((name) => name.trim()).filter((name) => name !== "")
  for (const name of named) {
    if (!tables.includes(name)) {
      throw new BadOptionError(`--table is one of ${tables.join(", ")}, got ${JSON.stringify(name)}`)
    }
  }
  if (values.smoke === true && values.full === true) throw new BadOptionError("--smoke or --full, not both")
  if (values.smoke === true && values.record === true) {
    throw new BadOptionError("--record keeps figures that mean something: not with --smoke")
  }
  const effort: Effort = values.smoke === true ? "smoke" : values.full === true ? "full" : "ordinary"
  const sizes = values.sizes === undefined
    ? effort === "smoke" ? [1, 10] : [1, 10, 100, 1_000]
    : values.sizes.split(",").map((text) => integer("--sizes", text, 5_000))
  return {
    tables: named.length === 0 ? tables : tables.filter((name) => named.includes(name)),
    named: named.length > 0,
    sizes: Array.from(new Set(sizes)).toSorted((a, b) => a - b),
    samples: values.samples === undefined ? undefined : integer("--samples", values.samples, 1_000),
    effort,
    record: values.record === true,
    render: values.render === true
  }
}

const parse = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        table: { type: "string" },
        sizes: { type: "string" },
        samples: { type: "string" },
        smoke: { type: "boolean" },
        full: { type: "boolean" },
        record: { type: "boolean" },
        render: { type: "boolean" },
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    throw new BadOptionError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

const integer = (name: string, text: string, most: number): number => {
  const value = Number(text.trim() || "none")
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new BadOptionError(`${name} takes whole numbers from 1 to ${most}, got ${JSON.stringify(text)}`)
}
