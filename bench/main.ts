/**
 * `npm run bench`: what the library costs, beside the same work done without it. See `bench/README.md`.
 */
import { Cause, Effect } from "effect"
import { EventboxError } from "effect-eventbox"
import * as Emulator from "effect-eventbox/layers/Emulator"
import { runCommand } from "../src/cli/command.ts"
import { describeMachine, emulatorVersion, reportMachine } from "./machine.ts"
import { benchCommand, type Options } from "./options.ts"
import { readRecord, render, writeRecord } from "./record.ts"
import type { Table } from "./setting.ts"
import { tables } from "./tables.ts"

const say = (text: string): Effect.Effect<void> => Effect.sync(() => console.log(`${text}\n`))

/** Measures one table and prints it; with `--record` its answer is kept at once. */
const run = (table: Table<any>, emulatorHost: string, options: Options) =>
  Effect.gen(function*() {
    const { name, question } = table
    yield* say(`${name.toUpperCase()}: ${question}`)
    const machine = describeMachine()
    const emulator = table.needsEmulator ? yield* Effect.promise(emulatorVersion) : undefined
    const { effort, samples, sizes } = options
    const data = yield* Effect.scoped(table.measure({ effort, samples, sizes, emulatorHost }))
    yield* say(table.report(data))
    if (!options.record) return
    const date = new Date().toISOString().slice(0, 10)
    const after = describeMachine().load
    yield* Effect.sync(() =>
      writeRecord(name, { date, machine: { ...machine, loadAfter: after }, emulator, effort, data })
    )
  })

const program = (options: Options) =>
  Effect.gen(function*() {
    yield* say(reportMachine(describeMachine()))
    if (options.effort === "smoke") yield* say("A smoke run: the times below mean nothing.")
    const chosen = tables.filter(({ name }) => options.tables.includes(name))
    const host = chosen.some(({ needsEmulator }) => needsEmulator)
      ? yield* Effect.map(Emulator.start(), (running) => running.host).pipe(
        Effect.catch((error) => {
          // A missing emulator is no reason not to measure the rest, unless a table was asked for.
          if (options.named || !isMissing(error)) return Effect.fail(error)
          return Effect.as(say(`SKIPPED: everything on the emulator. ${error.message}`), undefined)
        })
      )
      : ""
    for (const table of chosen) {
      if (host !== undefined) yield* run(table, host, options)
      else if (!table.needsEmulator) yield* run(table, "", options)
    }
    yield* say(`load of the minute before the end: ${describeMachine().load.toFixed(2)}`)
    if (options.record) yield* Effect.sync(() => render(readRecord()))
  }).pipe(Effect.scoped)

const isMissing = (error: unknown): error is EventboxError.EmulatorError => error instanceof EventboxError.EmulatorError

const main = (options: Options): Effect.Effect<number> => {
  if (options.render) {
    return Effect.sync(() => {
      render(readRecord())
      return 0
    })
  }
  return program(options).pipe(
    Effect.as(0),
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        console.error(Cause.pretty(cause))
        return 1
      })
    )
  )
}

process.exitCode = await Effect.runPromise(runCommand(benchCommand(tables)(main), process.argv.slice(2)))
