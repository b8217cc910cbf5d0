/**
 * The options of `npm run chaos`.
 */
import { Effect } from "effect"
import { type Command, Flag } from "effect/cli"
import { command, count, text } from "../src/cli/command.ts"

const description = `\
The bank of examples/ledger on the emulator, while its processes are killed and their connections are cut. When it has \
been enough, the rest is done in peace, and the stored books are checked: not a cent lost or made, every transfer \
applied once, no event left, no account with two pasts.

The seed replays the decisions, not what they meet: processes, the network and the emulator keep no seed. The emulator \
is the one that DATASTORE_EMULATOR_HOST names, or one that is started and stopped.

Exit code: 0 the books balance, 1 they do not or the run failed, 2 bad options, 130 stopped by Ctrl-C. \
docs/guides/chaos.md says more.`

const flags = {
  seed: text("seed", "TEXT", "decides the transfers, the kills and the cuts [random]").pipe(
    Flag.withDefault(Effect.sync(() => crypto.randomUUID().slice(0, 8)))
  ),
  kills: count("kills", 0, 100_000, 200, "kills of processes, at least"),
  cuts: count("cuts", 0, 100_000, 200, "cuts of connections, at least"),
  workers: count("workers", 1, 32, 4, "processes of workers"),
  senders: count("senders", 1, 32, 2, "processes that emit transfers"),
  accounts: count("accounts", 2, 1_000, 10, "accounts, of which every eighth is never opened"),
  transfers: count("transfers", 1, 1_000_000, 4_000, "transfers between them, spread over the kills and cuts"),
  minutes: count("minutes", 1, 1_440, 45, "after so long no more is killed or cut, which is then a failure")
}

export type Options = Command.Command.Config.Infer<typeof flags>

/** `npm run chaos`. */
export const chaosCommand = command({
  name: "chaos",
  description,
  flags,
  check: (options: Options) => Effect.succeed(options)
})
