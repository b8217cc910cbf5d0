/**
 * The options of `npm run chaos`.
 */
import { parseArgs } from "node:util"

export interface Options {
  readonly seed: string
  readonly kills: number
  readonly cuts: number
  readonly workers: number
  readonly senders: number
  readonly accounts: number
  readonly transfers: number
  readonly minutes: number
}

type Counted = Exclude<keyof Options, "seed">

interface Range {
  readonly fallback: number
  readonly min: number
  readonly max: number
  readonly help: string
}

const ranges: Readonly<Record<Counted, Range>> = {
  kills: { fallback: 200, min: 0, max: 100_000, help: "kills of processes, at least" },
  cuts: { fallback: 200, min: 0, max: 100_000, help: "cuts of connections, at least" },
  workers: { fallback: 4, min: 1, max: 32, help: "processes of workers" },
  senders: { fallback: 2, min: 1, max: 32, help: "processes that emit transfers" },
  accounts: { fallback: 10, min: 2, max: 1_000, help: "accounts, of which every eighth is never opened" },
  transfers: {
    fallback: 4_000,
    min: 1,
    max: 1_000_000,
    help: "transfers between them, spread over the kills and cuts"
  },
  minutes: { fallback: 45, min: 1, max: 1_440, help: "after so long no more is killed or cut, which is then a failure" }
}

const names = Object.keys(ranges) as Array<Counted>

/** What `--help` prints. */
export const help = `Usage: npm run chaos -- [options]

The bank of examples/ledger on the emulator, while its processes are killed and their connections are cut. When it has
been enough, the rest is done in peace, and the stored books are checked: not a cent lost or made, every transfer
applied once, no event left, no account with two pasts.

  --seed TEXT      decides the transfers, the kills and the cuts; any text (random)
${names.map((name) => `  ${`--${name} N`.padEnd(17)}${ranges[name].help} (${ranges[name].fallback})`).join("\n")}
  --help           print this

The seed replays the decisions, not what they meet: processes, the network and the emulator keep no seed. The emulator
is the one that DATASTORE_EMULATOR_HOST names, or one that is started and stopped.

Exit code: 0 the books balance, 1 they do not or the run failed, 2 bad options, 130 stopped by Ctrl-C.
docs/guides/chaos.md says more.`

/** An option that cannot be used; its message is for the user. */
export class BadOptionError extends Error {
  override readonly name = "BadOptionError"
}

/** Reads the command line; `undefined` when help was asked for. Throws a {@link BadOptionError}. */
export const parseOptions = (args: ReadonlyArray<string>): Options | undefined => {
  const values = parse(args)
  if (values["help"] === true) return undefined
  const seed = values["seed"] ?? crypto.randomUUID().slice(0, 8)
  if (typeof seed !== "string" || seed === "") throw new BadOptionError("--seed needs a value")
  const counts = Object.fromEntries(names.map((name) => [name, count(name, values[name])]))
  return { seed, ...counts as Readonly<Record<Counted, number>> }
}

const parse = (args: ReadonlyArray<string>): Readonly<Record<string, string | boolean | undefined>> => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: "string" },
        ...Object.fromEntries(names.map((name) => [name, { type: "string" as const }])),
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    throw new BadOptionError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

const count = (name: Counted, text: string | boolean | undefined): number => {
  const { fallback, max, min } = ranges[name]
  if (text === undefined) return fallback
  const value = typeof text === "string" && /^\d+$/.test(text) ? Number(text) : NaN
  if (value >= min && value <= max) return value
  throw new BadOptionError(`--${name} is an integer from ${min} to ${max}, got ${JSON.stringify(text)}`)
}
