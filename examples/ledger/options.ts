/**
 * The options of the ledger: what they are called, what they may be, what they are unless given.
 */
import { Option, Schema } from "effect"
import { Sabotage } from "./sabotage.ts"

export interface Options {
  readonly accounts: number
  readonly transfers: number
  readonly workers: number
  readonly senders: number
  readonly seed: string
  readonly datastore: "memory" | "emulator" | "google"
  readonly processes: number
  readonly maxEvents: number
  readonly sabotage: Sabotage | undefined
}

/** What a command line asks for. */
export type Request =
  | { readonly _tag: "Run"; readonly options: Options }
  | { readonly _tag: "Help"; readonly text: string }
  | { readonly _tag: "Invalid"; readonly problems: ReadonlyArray<string> }

interface Flag<A> {
  readonly name: string
  readonly help: string
  readonly schema: Schema.Codec<A, string>
  /** What a value must be, to go on after "is". */
  readonly must: string
  readonly fallback: A
  /** How the fallback is shown; `fallback` itself when absent. */
  readonly shown?: string
}

const count = (name: string, min: number, max: number, fallback: number, help: string): Flag<number> => ({
  name,
  help,
  schema: Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: min, maximum: max })),
  must: `an integer from ${min} to ${max}`,
  fallback
})

const accounts = count(
  "accounts",
  2,
  1_000,
  10,
  "accounts; every eighth is never opened, so that transfers to it come back"
)
// Here and for processes, 0 stands for "not given".
const transfers: Flag<number> = {
  ...count("transfers", 1, 1_000_000, 0, "transfers between them"),
  shown: "2000 in memory, else 500"
}
const workers = count("workers", 1, 256, 8, "workers, each of which takes batches from all accounts")
const senders = count("senders", 1, 256, 4, "senders, each of which emits its part of the transfers")
const maxEvents = count("max-events", 1, 1_000, 100, "events in one batch at most")
const seed: Flag<string> = {
  name: "seed",
  help: "any text; decides what is transferred",
  schema: Schema.NonEmptyString,
  must: "a text that is not empty",
  fallback: "1"
}
const datastore: Flag<Options["datastore"]> = {
  name: "datastore",
  help: "memory, emulator (Firestore emulator in Datastore mode) or google (a real database)",
  schema: Schema.Literals(["memory", "emulator", "google"]),
  must: "memory, emulator or google",
  fallback: "memory"
}
const processes: Flag<number> = {
  ...count("processes", 1, 64, 0, "OS processes that share the workers; more than 1 needs emulator or google"),
  shown: "1 in memory, else up to 4"
}

const sabotage: Flag<Sabotage | undefined> = {
  name: "sabotage",
  help: "lose or double: breaks one deposit in the stored books before the check, which must notice",
  schema: Sabotage,
  must: "lose or double",
  fallback: undefined,
  shown: "none"
}

const flags = [accounts, transfers, workers, senders, maxEvents, seed, datastore, processes, sabotage]

export const help =
  `A bank on effect-eventbox: senders emit transfers, workers fight over the accounts, and at the end the books must balance.

Usage: npm start -- [options]

${
    [...flags.map((flag) => [`--${flag.name}`, `${flag.help} [${flag.shown ?? flag.fallback}]`]), [
      "--help",
      "this text"
    ]]
      .map(([name, text]) => `  ${name!.padEnd(14)}${text}`).join("\n")
  }

emulator uses the one that DATASTORE_EMULATOR_HOST names, or starts one from the installed Google Cloud SDK.
google needs application default credentials (gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS),
and the project in DATASTORE_PROJECT_ID unless the credentials name one. It writes below a key of kind Ledger that no
other run uses, removes it again when the books balance, and is billed as any use of the database.

Exit code: 0 the books balance, 1 they do not or the run failed, 2 bad options, 130 stopped by Ctrl-C.`

/** Reads a command line; all problems at once. */
export const parse = (args: ReadonlyArray<string>): Request => {
  if (args.includes("--help") || args.includes("-h")) return { _tag: "Help", text: help }
  const problems: Array<string> = []
  const values = readValues(args, problems)
  const read = <A>(flag: Flag<A>): A => {
    const text = values.get(flag.name)
    if (text === undefined) return flag.fallback
    const decoded = Schema.decodeUnknownOption(flag.schema)(text)
    if (Option.isSome(decoded)) return decoded.value
    problems.push(`--${flag.name} is ${flag.must}, got ${JSON.stringify(text)}`)
    return flag.fallback
  }
  const options = {
    accounts: read(accounts),
    transfers: read(transfers),
    workers: read(workers),
    senders: read(senders),
    seed: read(seed),
    datastore: read(datastore),
    maxEvents: read(maxEvents),
    processes: read(processes),
    sabotage: read(sabotage)
  }
  const isMemory = options.datastore === "memory"
  if (options.processes > 1 && isMemory) {
    problems.push("--processes needs --datastore emulator or google: memory belongs to one process")
  } else if (options.processes > options.workers) {
    problems.push(
      `--processes is at most --workers, and ${options.processes} processes would share ${options.workers} workers`
    )
  }
  if (problems.length > 0) return { _tag: "Invalid", problems }
  return {
    _tag: "Run",
    options: {
      ...options,
      transfers: options.transfers || (isMemory ? 2_000 : 500),
      processes: options.processes || (isMemory ? 1 : Math.min(options.workers, 4))
    }
  }
}

/** The texts that were given, by name of the flag. */
const readValues = (args: ReadonlyArray<string>, problems: Array<string>): ReadonlyMap<string, string> => {
  const known = new Set(flags.map((flag) => flag.name))
  const values = new Map<string, string>()
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!
    const [, name, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(arg) ?? []
    if (name === undefined) {
      problems.push(`unexpected argument ${JSON.stringify(arg)}`)
      continue
    }
    const next = args[index + 1]
    const value = inline ?? (next === undefined || next.startsWith("--") ? undefined : next)
    if (inline === undefined && value !== undefined) index++
    if (!known.has(name)) problems.push(`there is no option --${name}`)
    else if (value === undefined) problems.push(`--${name} needs a value`)
    else if (values.has(name)) problems.push(`--${name} is given twice`)
    else values.set(name, value)
  }
  return values
}
