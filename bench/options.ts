/**
 * The options of `npm run bench`.
 */
import { parseArgs } from "node:util"

/** Where to measure. */
export type Place = "memory" | "emulator"

/** What was asked for. */
export interface Options {
  readonly places: ReadonlyArray<Place>
  /** Whether the places were named, so that a missing emulator is an error. */
  readonly placesNamed: boolean
  readonly sizes: ReadonlyArray<number>
  readonly samples: number | undefined
  readonly smoke: boolean
  readonly json: string | undefined
}

/** What `--help` prints. */
export const help = `Usage: npm run bench -- [options]

Measures the library in memory and on the Datastore emulator, beside the same work
done without it, and prints medians with the least and the greatest sample.

  --datastore LIST   where: memory, emulator, or both with a comma   (memory,emulator)
  --sizes LIST       events per batch, 1 to 5000                     (1,10,100,1000)
  --samples N        samples of each competitor, 1 to 1000           (15 in memory, 7 and 5 on the emulator)
  --smoke            a run of some seconds that shows that it works; its times mean nothing
  --json FILE        writes every sample to FILE as well
  --help             prints this

Takes 1 to 3 minutes. bench/README.md says what is measured, and what is not.`

/** An option that cannot be used; its message is for the user. */
export class BadOptionError extends Error {
  override readonly name = "BadOptionError"
}

/** Reads the command line; `undefined` when help was asked for. Throws a {@link BadOptionError}. */
export const parseOptions = (args: ReadonlyArray<string>): Options | undefined => {
  const values = parse(args)
  if (values.help === true) return undefined
  const places = (values.datastore ?? "memory,emulator").split(",").map((name) => name.trim())
  for (const place of places) {
    if (!isPlace(place)) {
      throw new BadOptionError(`--datastore is memory, emulator or both, got ${JSON.stringify(place)}`)
    }
  }
  const smoke = values.smoke === true
  const sizes = values.sizes === undefined
    ? smoke ? [1, 10] : [1, 10, 100, 1_000]
    : values.sizes.split(",").map((text) => integer("--sizes", text, 5_000))
  return {
    places: Array.from(new Set(places.filter(isPlace))),
    placesNamed: values.datastore !== undefined,
    sizes: Array.from(new Set(sizes)).toSorted((a, b) => a - b),
    samples: values.samples === undefined ? undefined : integer("--samples", values.samples, 1_000),
    smoke,
    json: values.json
  }
}

const parse = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        datastore: { type: "string" },
        sizes: { type: "string" },
        samples: { type: "string" },
        smoke: { type: "boolean" },
        json: { type: "string" },
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    throw new BadOptionError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

const isPlace = (name: string): name is Place => name === "memory" || name === "emulator"

const integer = (name: string, text: string, most: number): number => {
  const value = Number(text.trim() || "none")
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new BadOptionError(`${name} takes whole numbers from 1 to ${most}, got ${JSON.stringify(text)}`)
}
