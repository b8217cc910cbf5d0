/**
 * The options of the ledger: what they are called, what they may be, what they are unless given.
 */
import { Effect } from "effect"
import { Flag } from "effect/cli"
import { command, count, countOr, refuse, type Refused, text } from "../../src/cli/command.ts"
import type { Sabotage } from "./sabotage.ts"

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

const description = `\
A bank on effect-eventbox: senders emit transfers, workers fight over the accounts, and at the end the books must \
balance.

emulator uses the one that DATASTORE_EMULATOR_HOST names, or starts one from the installed Google Cloud SDK. google \
needs application default credentials (gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS), and \
the project in DATASTORE_PROJECT_ID unless the credentials name one. It writes below a key of kind Ledger that no other \
run uses, removes it again when the books balance, and is billed as any use of the database.

Exit code: 0 the books balance, 1 they do not or the run failed, 2 bad options, 130 stopped by Ctrl-C.`

const unlessGiven = Flag.withDefault(undefined)

const flags = {
  accounts: count(
    "accounts",
    2,
    1_000,
    10,
    "accounts; every eighth is never opened, so that transfers to it come back"
  ),
  transfers: unlessGiven(
    countOr("transfers", 1, 1_000_000, "2000 in memory, else 500", "transfers between them")
  ),
  workers: count("workers", 1, 256, 8, "workers, each of which takes batches from all accounts"),
  senders: count("senders", 1, 256, 4, "senders, each of which emits its part of the transfers"),
  maxEvents: count("max-events", 1, 1_000, 100, "events in one batch at most"),
  seed: text("seed", "TEXT", "any text; decides what is transferred [1]").pipe(Flag.withDefault("1")),
  datastore: Flag.Literals("datastore", ["memory", "emulator", "google"]).pipe(
    Flag.withMetavar("WHAT"),
    Flag.withDescription("where it runs; google is a real database [memory]"),
    Flag.withDefault("memory")
  ),
  processes: unlessGiven(countOr(
    "processes",
    1,
    64,
    "1 in memory, else up to 4",
    "OS processes that share the workers; more than 1 needs emulator or google"
  )),
  sabotage: Flag.Literals("sabotage", ["lose", "double"]).pipe(
    Flag.withMetavar("HOW"),
    Flag.withDescription("breaks one deposit in the books before the check, which must notice [none]"),
    unlessGiven
  )
}

/** `npm start`. */
export const ledgerCommand = command({
  name: "ledger",
  description,
  flags,
  check: (given): Effect.Effect<Options, Refused> => {
    const isMemory = given.datastore === "memory"
    const processes = given.processes ?? (isMemory ? 1 : Math.min(given.workers, 4))
    if (processes > 1 && isMemory) {
      return refuse("--processes needs --datastore emulator or google: memory belongs to one process")
    }
    if (processes > given.workers) {
      return refuse(`--processes is at most --workers: ${processes} processes would share ${given.workers} workers`)
    }
    return Effect.succeed({ ...given, processes, transfers: given.transfers ?? (isMemory ? 2_000 : 500) })
  }
})
