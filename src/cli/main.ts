#!/usr/bin/env node
/**
 * The program `effect-eventbox`.
 */
import { Console, Effect, Fiber } from "effect"
import { Command } from "effect/cli"
import { readFileSync } from "node:fs"
import { runCommand } from "./command.ts"
import { verify } from "./verify.ts"

const main = Command.make("effect-eventbox").pipe(
  Command.withDescription("Transactional, batched mailboxes for single Datastore entities, on Effect 4."),
  Command.withSubcommands([
    Command.withShortDescription(verify, "Asks a database whether it does what eventbox relies on")
  ])
)

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))

// A fiber that waits for another one keeps no process alive.
const awake = Effect.forever(Effect.sleep("1 hour"))

const fiber = Effect.runFork(Effect.raceFirst(runCommand(main, process.argv.slice(2), version), awake))

/** The first signal stops the run and lets it clean up, a second one ends the process at once. */
let isStopping = false
const stop = (): void => {
  if (isStopping) process.exit(2)
  isStopping = true
  Effect.runFork(Effect.andThen(
    Console.error("stopping and cleaning up; once more to leave everything as it is"),
    Fiber.interrupt(fiber)
  ))
}
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
for (const signal of signals) process.on(signal, stop)

fiber.addObserver((exit) => {
  for (const signal of signals) process.off(signal, stop)
  process.exitCode = exit._tag === "Success" ? exit.value : 2
})
