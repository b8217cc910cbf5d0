/**
 * `npm run simulate`: the simulator at length, one seed after the other, each with settings of its own, until so many
 * events were emitted or one history fails.
 */
import { Effect, Exit, References } from "effect"
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker } from "node:worker_threads"
import * as Simulate from "../test/simulation/self/simulate.ts"

const help = `Usage: npm run simulate -- [options]

  --events N       events to simulate in all                          (1000000)
  --seed N         the first seed                                     (1)
  --history N      events of one history                              (20000)
  --jobs N         histories at a time                                (as many as there are cores)
  --settings JSON  replays one history, as a failure prints it; nothing else then counts
  --help           prints this

Exit code: 0 when everything held, 1 when a history failed, 2 for bad options.`

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

interface Options {
  readonly events: number
  readonly seed: number
  readonly history: number
  readonly jobs: number
  readonly settings: Simulate.Settings | undefined
}

const readOptions = (): Options | undefined => {
  const value = { type: "string" } as const
  const { values } = parseArgs({
    options: { events: value, seed: value, history: value, jobs: value, settings: value, help: { type: "boolean" } }
  })
  if (values.help === true) return undefined
  const integer = (name: "events" | "seed" | "history" | "jobs", fallback: number): number => {
    const text = values[name]
    const given = text === undefined ? fallback : Number(text)
    if (Number.isSafeInteger(given) && given > 0) return given
    throw new Error(`--${name} is a positive integer, got ${JSON.stringify(text)}`)
  }
  const { settings } = values
  return {
    events: integer("events", 1_000_000),
    seed: integer("seed", 1),
    history: integer("history", 20_000),
    jobs: integer("jobs", availableParallelism()),
    settings: settings === undefined ? undefined : JSON.parse(settings) as Simulate.Settings
  }
}

/** Sums of many reports. */
class Total {
  histories = 0
  hash = 0n
  largestTombstonesBytes = 0
  readonly sums = new Map<string, number>()

  add(report: Simulate.Report): void {
    const { deleteFaults, faults, hash, largestTombstonesBytes, seed: _, ...counts } = report
    this.histories++
    this.hash ^= BigInt(`0x${hash}`)
    this.largestTombstonesBytes = Math.max(this.largestTombstonesBytes, largestTombstonesBytes)
    for (const [name, count] of [counts, faults, deleteFaults].flatMap(Object.entries<number>)) {
      this.sums.set(name, (this.sums.get(name) ?? 0) + count)
    }
  }

  sum(name: string): number {
    return this.sums.get(name) ?? 0
  }

  toString(): string {
    const count = (name: string): string => this.sum(name).toLocaleString("en")
    const faults = ["ReadFailure", "RequestLost", "ResponseLost", "Late", "Contention"]
    const sum = faults.reduce((total, name) => total + this.sum(name), 0).toLocaleString("en")
    return [
      `${this.histories.toLocaleString("en")} histories, ${count("emitted")} events emitted (${
        count("repeated")
      } of them`,
      `repeated) and ${count("followed")} as side effects; ${count("consumed")} consumed by ${
        count("batches")
      } batches,`,
      `${count("garbage")} garbage; ${sum} faults, ${count("crashes")} crashes, ${count("pauses")} pauses;`,
      `${Math.round(this.sum("virtualMillis") / 3_600_000).toLocaleString("en")} hours of virtual time,`,
      `${count("pages")} pages of tombstones written and ${count("deletedPages")} deleted,`,
      `tombstones up to ${this.largestTombstonesBytes.toLocaleString("en")} bytes; hash ${
        this.hash.toString(16).padStart(16, "0")
      }`
    ].join(" ")
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
      console.log(`${seconds()} s: ${total.sum("emitted").toLocaleString("en")} events in ${total.histories} histories`)
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

const fail = ({ message, settings }: Result & { readonly _tag: "Failed" }): void => {
  console.log(message)
  if (settings !== undefined) console.log(`or: npm run simulate -- --settings '${JSON.stringify(settings)}'`)
  process.exitCode = 1
}

const main = async (): Promise<void> => {
  let options: Options | undefined
  try {
    options = readOptions()
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${help}`)
    process.exitCode = 2
    return
  }
  if (options === undefined) return console.log(help)
  console.log(`SEED=${options.settings?.seed ?? options.seed}`)
  if (options.settings !== undefined) {
    const result = await play({ ...options.settings, shrink: false })
    if (result._tag === "Failed") return fail(result)
    return console.log(Simulate.format(result.report))
  }
  const result = await runAll(options)
  if (result instanceof Total) console.log(`simulate: ok, ${result}`)
  else fail(result)
}

if (isMainThread) await main()
else {
  // Thousands of injected failures need no traces; the replay of a history shows them.
  Error.stackTraceLimit = 0
  parentPort!.on("message", (settings: Simulate.Settings) => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    void play(settings).then((result) => parentPort!.postMessage(result))
  })
}
