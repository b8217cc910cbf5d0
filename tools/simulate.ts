/**
 * `npm run simulate`: the simulator at length, one seed after the other, each with settings of its own, until so many
 * events were emitted or one history fails.
 */
import { Effect, Exit, References } from "effect"
import { type Command, Flag } from "effect/cli"
import { availableParallelism } from "node:os"
import { isMainThread, parentPort, Worker } from "node:worker_threads"
import { command, count, runCommand, text } from "../src/cli/command.ts"
import * as Simulate from "../test/simulation/self/simulate.ts"

/** What one history came to, as a thread tells it. */
type Result =
  | { readonly _tag: "Held"; readonly report: Simulate.Report }
  | { readonly _tag: "Failed"; readonly message: string; readonly settings: Simulate.Settings | undefined }

const play = async (options: Simulate.Options): Promise<Result> => {
  const exit = await Effect.runPromiseExit(
    Effect.result(Simulate.run(options)).pipe(Effect.provideService(References.MinimumLogLevel, "Warn"))
  )
  if (Exit.isFailure(exit)) return { _tag: "Failed", message: String(exit.cause), settings: undefined }
  if (exit.value._tag === "Success") return { _tag: "Held", report: exit.value.success }
  const { message, settings } = exit.value.failure
  return { _tag: "Failed", message, settings }
}

const most = Number.MAX_SAFE_INTEGER

const flags = {
  events: count("events", 1, most, 1_000_000, "events to simulate in all"),
  seed: count("seed", 1, most, 1, "the first seed"),
  history: count("history", 1, most, 20_000, "events of one history"),
  jobs: count("jobs", 1, 256, availableParallelism(), "histories at a time"),
  settings: text("settings", "JSON", "replays one history, as a failure prints it; nothing else then counts").pipe(
    Flag.withDefault(undefined)
  )
}

type Options = Command.Command.Config.Infer<typeof flags>

const simulateCommand = command({
  name: "simulate",
  description: "Simulates seeded histories until so many events were emitted or one history fails.\n\n" +
    "Exit code: 0 when everything held, 1 when a history failed, 2 for bad options.",
  flags,

  check: (options: Options) => Effect.succeed(options)
})

/** Sums of many reports. */
class Total {
  readonly _tag = "Total"
  histories = 0
  hash = 0n
  largestTombstonesBytes = 0
  readonly sums = new Map<string, number>()

  add(report: Simulate.Report): void {
    const { deleteFaults, faults, hash, largestTombstonesBytes, seed: _, ...counts } = report
    this.histories++
    this.hash ^= BigInt(`0x${hash}`)
    this.largestTombstonesBytes = Math.max(this.largestTombstonesBytes, largestTombstonesBytes)
    for (const [name, times] of [counts, faults, deleteFaults].flatMap(Object.entries<number>)) {
      this.sums.set(name, (this.sums.get(name) ?? 0) + times)
    }
  }

  toString(): string {
    const sums = Array.from(this.sums, ([name, times]) => `${name} ${times.toLocaleString("en")}`)
    return `${this.histories} histories: ${sums.join(", ")}; tombstones up to ` +
      `${this.largestTombstonesBytes.toLocaleString("en")} bytes; hash ${this.hash.toString(16).padStart(16, "0")}`
  }
}

/** Runs seeds on threads until enough events were emitted; the first failure ends it. */
const runAll = (options: Options): Promise<Total | Result & { readonly _tag: "Failed" }> =>
  new Promise((resolve, reject) => {
    const total = new Total()
    const seeds = Math.ceil(options.events / options.history)
    const started = performance.now()
    const seconds = () => Math.round((performance.now() - started) / 1_000)
    const progress = setInterval(() => {
      console.log(
        `${seconds()} s: ${
          (total.sums.get("emitted") ?? 0).toLocaleString("en")
        } events in ${total.histories} histories`
      )
    }, 30_000)
    let next = 0
    let isOver = false
    // Histories leave much garbage of short life: room for it saves most of the time that collecting it takes.
    const workers = Array.from(
      { length: Math.min(options.jobs, seeds) },
      () => new Worker(new URL(import.meta.url), { resourceLimits: { maxYoungGenerationSizeMb: 64 } })
    )
    const end = (): void => {
      isOver = true
      clearInterval(progress)
      for (const worker of workers) void worker.terminate()
    }
    const give = (worker: Worker): void => {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      if (next < seeds) worker.postMessage(Simulate.vary(options.seed + next++, options.history))
    }
    for (const worker of workers) {
      worker.on("error", (error) => {
        end()
        reject(error)
      })
      worker.on("message", (result: Result) => {
        if (isOver) return
        if (result._tag === "Failed") {
          end()
          resolve(result)
          return
        }
        total.add(result.report)
        if (total.histories === seeds) {
          end()
          console.log(`${seconds()} s`)
          resolve(total)
        } else give(worker)
      })
      give(worker)
    }
  })

const fail = ({ message, settings }: Result & { readonly _tag: "Failed" }): number => {
  console.log(message)
  if (settings !== undefined) console.log(`or: npm run simulate -- --settings '${JSON.stringify(settings)}'`)
  return 1
}

const main = async (options: Options): Promise<number> => {
  const settings: Simulate.Settings | undefined = options.settings && JSON.parse(options.settings)
  console.log(`SEED=${settings?.seed ?? options.seed}`)
  const result = settings === undefined ? await runAll(options) : await play({ ...settings, shrink: false })
  if (result._tag === "Failed") return fail(result)
  console.log(result instanceof Total ? `simulate: ok, ${result}` : Simulate.format(result.report))
  return 0
}

if (isMainThread) {
  const program = simulateCommand((options) => Effect.promise(() => main(options)))
  process.exitCode = await Effect.runPromise(runCommand(program, process.argv.slice(2)))
} else {
  // Thousands of injected failures need no traces; the replay of a history shows them.
  Error.stackTraceLimit = 0
  parentPort!.on("message", (settings: Simulate.Settings) => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    void play(settings).then((result) => parentPort!.postMessage(result))
  })
}
