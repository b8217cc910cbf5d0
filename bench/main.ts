/**
 * `npm run bench`: what the library costs, beside the same work done without it. See `bench/README.md`.
 */
import { Cause, Effect, Exit } from "effect"
import { EventboxError } from "effect-eventbox"
import * as Emulator from "effect-eventbox/layers/Emulator"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { accessSync, constants, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { makeTcpProxy } from "../test/utils/tcpProxy.ts"
import { countBatches } from "./counts.ts"
import { type Delay, type EmulatorResult, measureEmulator } from "./emulator.ts"
import { describeMachine, emulatorVersion } from "./machine.ts"
import { measureMemory, type MemoryResult } from "./memory.ts"
import { BadOptionError, help, type Options, parseOptions } from "./options.ts"
import { reportEmulator, reportMachine, reportMemory, reportProof } from "./report.ts"
import { emulatorEfforts, memoryEffort } from "./suite.ts"

const say = (text: string): Effect.Effect<void> => Effect.sync(() => console.log(`${text}\n`))

const delay: Delay = (host, delayMillis) =>
  Effect.map(makeTcpProxy(host), (proxy) => {
    proxy.delay(delayMillis, delayMillis)
    return proxy.host
  })

const inMemory = ({ samples, sizes, smoke }: Options) =>
  Effect.gen(function*() {
    yield* say("Measuring in memory ...")
    const measured = yield* measureMemory(sizes, memoryEffort(smoke, samples))
    const counts = yield* countBatches(InMemory.layer, sizes)
    yield* say(reportMemory(measured, counts))
    return { ...measured, counts }
  })

const onEmulator = ({ samples, sizes, smoke }: Options, countedBefore: boolean) =>
  Effect.gen(function*() {
    const { host } = yield* Emulator.start()
    yield* say(`Measuring on the emulator: ${yield* Effect.promise(emulatorVersion)} ...`)
    const measured = yield* measureEmulator(host, delay, sizes, emulatorEfforts(smoke, samples))
    yield* say(reportEmulator(measured, countedBefore))
    return measured
  }).pipe(Effect.scoped)

const program = (options: Options) =>
  Effect.gen(function*() {
    const machine = describeMachine()
    yield* say(reportMachine(machine))
    if (options.smoke) yield* say("A smoke run: the times below mean nothing.")
    let memory: MemoryResult | undefined
    let emulator: EmulatorResult | undefined
    if (options.places.includes("memory")) memory = yield* inMemory(options)
    if (options.places.includes("emulator")) {
      emulator = yield* onEmulator(options, memory !== undefined).pipe(
        Effect.catch((error) => {
          // A missing emulator is no reason to lose what was measured, unless it was asked for.
          if (options.placesNamed || !isMissing(error)) return Effect.fail(error)
          return Effect.as(say(`SKIPPED: everything on the emulator. ${error.message}`), undefined)
        })
      )
    }
    yield* say(reportProof(memory, emulator))
    yield* say(`load of the minute before the end: ${describeMachine().load.toFixed(2)}`)
    if (options.json !== undefined) {
      const text = JSON.stringify({ machine, options, memory, emulator }, undefined, 2)
      writeFileSync(options.json, `${text}\n`)
    }
  })

const isMissing = (error: unknown): error is EventboxError.EmulatorError => error instanceof EventboxError.EmulatorError

/** A file that cannot be written is better known before some minutes of measuring than after. */
const checkFolder = (file: string): void => {
  try {
    accessSync(dirname(file), constants.W_OK)
  } catch (error) {
    throw new BadOptionError(`--json: cannot write to ${dirname(file)}`, { cause: error })
  }
}

const main = async (args: ReadonlyArray<string>): Promise<number> => {
  let options: Options | undefined
  try {
    options = parseOptions(args)
    if (options?.json !== undefined) checkFolder(options.json)
  } catch (error) {
    if (!(error instanceof BadOptionError)) throw error
    console.error(`${error.message}\nTry: npm run bench -- --help`)
    return 2
  }
  if (options === undefined) {
    console.log(help)
    return 0
  }
  const exit = await Effect.runPromiseExit(program(options))
  if (Exit.isSuccess(exit)) return 0
  console.error(Cause.pretty(exit.cause))
  return 1
}

process.exitCode = await main(process.argv.slice(2))
