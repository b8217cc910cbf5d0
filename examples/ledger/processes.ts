/**
 * Workers in OS processes of their own: how they are started, told, heard and stopped.
 */
import { Data, Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import type { Options } from "./options.ts"
import type { Assignment, Crew } from "./run.ts"
import { Lead } from "./stores.ts"
import { addTallies, emptyTally, type Tally } from "./tally.ts"

/** What a process is told at its start, as the JSON text of its one argument. */
export interface Orders extends Omit<Assignment, "bank"> {
  /** String form of the bank's key. */
  readonly bank: string
  readonly datastore: Options["datastore"]
  /** Seeds what the workers draw, such as the order in which they look at accounts; their ids stay random. */
  readonly seed?: string | undefined
}

/** What a process says: how far it is, or why it cannot go on. */
export type Report = { readonly tally: Tally } | { readonly failure: string }

/** Tells the process that started this one. */
export const say = (report: Report): Effect.Effect<void> =>
  Effect.callback((resume) => {
    // Nobody listens any more: whoever started it is gone, and this process will be told to end too.
    if (process.send === undefined || !process.connected) return resume(Effect.void)
    process.send(report, undefined, undefined, () => resume(Effect.void))
  })

/** Tells a tally ten times a second until the scope closes. */
export const sayOften = (tally: () => Tally): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.forkScoped(Effect.forever(
    Effect.andThen(Effect.sleep("100 millis"), Effect.suspend(() => say({ tally: tally() })))
  )))

/** What a process is told later. */
export const sendersAreDone = "sendersAreDone"

/** A process of workers ended before its work was done. */
export class ProcessError extends Data.TaggedError("ProcessError")<{ readonly message: string }> {}

/** A crew whose workers are dealt out among processes. */
export const processCrew = (options: Options) => (assignment: Assignment): Crew<ProcessError, Lead> => {
  const tallies = new Map<number, Tally>()
  const running = new Set<ChildProcess>()
  let done = false
  const tell = (child: ChildProcess): void => {
    // A process that ends meanwhile is heard of by its exit.
    if (done && child.connected) child.send(sendersAreDone, () => undefined)
  }
  const one = (index: number) =>
    Effect.flatMap(Lead, (lead) => {
      const share = Math.floor(assignment.workers / options.processes)
      const workers = share + (index < assignment.workers % options.processes ? 1 : 0)
      const orders: Orders = {
        ...assignment,
        bank: assignment.bank.toString(),
        workers,
        datastore: options.datastore
      }
      return Effect.acquireUseRelease(
        Effect.sync(() => {
          const child = start(orders, lead)
          running.add(child)
          tell(child)
          return child
        }),
        (child) => ended(child, (tally) => tallies.set(index, tally)),
        (child) => Effect.promise(() => stop(child)).pipe(Effect.andThen(Effect.sync(() => running.delete(child))))
      )
    })
  return {
    tally: () => addTallies([emptyTally(), ...tallies.values()]),
    sendersAreDone: () => {
      done = true
      for (const child of running) tell(child)
    },
    work: Effect.forEach(Array.from({ length: options.processes }, (_, index) => index), one, {
      concurrency: "unbounded",
      discard: true
    })
  }
}

const start = (orders: Orders, lead: Readonly<Record<string, string>>): ChildProcess =>
  fork(join(import.meta.dirname, "child.ts"), [JSON.stringify(orders)], {
    execArgv: ["--conditions=effect-eventbox:source"],
    env: { ...process.env, ...lead },
    stdio: ["ignore", "inherit", "inherit", "ipc"]
  })

/** Listens to a process until it ends. */
const ended = (child: ChildProcess, heard: (tally: Tally) => void): Effect.Effect<void, ProcessError> =>
  Effect.callback((resume) => {
    let failure: string | undefined
    child.on("message", (report: Report) => {
      if ("tally" in report) heard(report.tally)
      else failure = report.failure
    })
    child.once("error", (error) => {
      resume(Effect.fail(new ProcessError({ message: `a process of workers cannot be started: ${error.message}` })))
    })
    child.once("exit", (code, signal) => {
      const message = failure ?? `a process of workers ended with ${signal ?? `exit code ${code}`}`
      resume(code === 0 ? Effect.void : Effect.fail(new ProcessError({ message })))
    })
  })

const patienceMillis = 15_000

/** Asks a process to stop, waits for it, and ends it when it does not. */
const stop = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return resolve()
    const timer = setTimeout(() => child.kill("SIGKILL"), patienceMillis)
    child.once("exit", () => {
      clearTimeout(timer)
      resolve()
    })
    child.kill("SIGTERM")
  })
