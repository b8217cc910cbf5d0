/**
 * A place for one process: the place and its proxy stay, while processes in it are killed and started again.
 */
import { Effect, type Scope } from "effect"
import { type ChildProcess, fork, type Serializable } from "node:child_process"
import { join } from "node:path"
import { ProcessError, type Report } from "../examples/ledger/processes.ts"
import { addTallies, emptyTally, type Tally } from "../examples/ledger/tally.ts"
import { makeTcpProxy, type TcpProxy } from "../test/utils/tcpProxy.ts"

export interface Slot {
  readonly name: string
  /** What its processes take for the database. */
  readonly proxy: TcpProxy
  /** What all processes that were here have counted; of one that was killed, what it had told by then. */
  readonly tally: () => Tally
  /** Processes that were started here. */
  readonly starts: () => number
  /**
   * What the process that is here now has done: batches tried, or a quarter for each emit; looks at accounts count
   * less.
   */
  readonly workDone: () => number
  /** Kills the process, and resolves when it is gone; another one is started after the pause. */
  readonly kill: (pauseMillis: number) => Promise<void>
  /** Tells the process, and those that come after it; only the last message counts. */
  readonly tell: (message: Serializable) => void
  /** Runs processes here until one ends with success; kills it when interrupted. Fails when one ends by itself. */
  readonly run: Effect.Effect<void, ProcessError>
}

/** What belongs to a slot and not to the process in it. */
interface State {
  /** By process, the last one at the end. */
  readonly tallies: Array<Tally>
  child: ChildProcess | undefined
  /** Set when the process is being killed: how long to wait before another one is started. */
  pauseMillis: number | undefined
  message: Serializable | undefined
  isDone: boolean
}

/** Makes a slot, with a proxy in front of `host`. */
export const makeSlot = (options: {
  readonly name: string
  readonly host: string
  readonly projectId: string
  /** Path of the program. */
  readonly program: string
  /** The argument of the next process, to be given as JSON; `earlier` is what those before it have counted. */
  readonly orders: (start: number, earlier: Tally) => object
}): Effect.Effect<Slot, never, Scope.Scope> =>
  Effect.map(makeTcpProxy(options.host), (proxy) => {
    const state: State = { tallies: [], child: undefined, pauseMillis: undefined, message: undefined, isDone: false }
    const tally = () => addTallies([emptyTally(), ...state.tallies])
    const tell = () => {
      // A process that ends meanwhile is heard of by its exit.
      if (state.message !== undefined && state.child?.connected === true) state.child.send(state.message, () => {})
    }
    const start = Effect.sync(() => {
      const orders = options.orders(state.tallies.length, tally())
      const env = { DATASTORE_EMULATOR_HOST: proxy.host, DATASTORE_PROJECT_ID: options.projectId }
      state.tallies.push(emptyTally())
      state.pauseMillis = undefined
      state.child = startProcess(options.program, orders, env)
      tell()
      return state.child
    })
    const one = Effect.acquireUseRelease(
      start,
      (child) => ended(options.name, child, state),
      (child) => Effect.promise(() => end(child))
    )
    return {
      name: options.name,
      proxy,
      tally,
      starts: () => state.tallies.length,
      workDone: () => {
        if (state.isDone || state.pauseMillis !== undefined) return 0
        const { batches, contention, idle, sent, transient } = state.tallies.at(-1) ?? emptyTally()
        return batches + contention + transient + sent / 4 + idle / 20
      },
      kill: (pauseMillis) => {
        state.pauseMillis = pauseMillis
        return state.child === undefined ? Promise.resolve() : end(state.child)
      },
      tell: (message) => {
        state.message = message
        tell()
      },
      run: untilDone(one, state)
    }
  })

const compileCache = join(import.meta.dirname, "../node_modules/.cache/chaos")

/** A process that is killed would not leave behind what it has compiled. */
const preload = `data:text/javascript,${
  encodeURIComponent(
    `import { flushCompileCache } from "node:module"; setInterval(flushCompileCache, 1000).unref()`
  )
}`

const startProcess = (program: string, orders: object, env: Readonly<Record<string, string>>): ChildProcess =>
  fork(program, [JSON.stringify(orders)], {
    execArgv: ["--conditions=effect-eventbox:source", `--import=${preload}`],
    // Most of the time of a run goes into starting processes.
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache, ...env },
    // What the library logs about cuts is not shown; how a process fails, its report and its error output tell.
    stdio: ["ignore", "ignore", "pipe", "ipc"]
  })

type End = "done" | "killed"

const untilDone = (one: Effect.Effect<End, ProcessError>, state: State): Effect.Effect<void, ProcessError> =>
  Effect.gen(function*() {
    while ((yield* one) === "killed") yield* Effect.sleep(state.pauseMillis ?? 0)
    state.isDone = true
  })

/** Listens to a process until it ends. */
const ended = (name: string, child: ChildProcess, state: State): Effect.Effect<End, ProcessError> =>
  Effect.callback((resume) => {
    const index = state.tallies.length - 1
    let failure: string | undefined
    let stderr = ""
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-2_000)
    })
    child.on("message", (report: Report) => {
      if ("tally" in report) state.tallies[index] = report.tally
      else failure = report.failure
    })
    child.once("error", (error) => {
      resume(Effect.fail(new ProcessError({ message: `${name} cannot be started: ${error.message}` })))
    })
    // Not "exit": what the process has told may be heard after it.
    child.once("close", (code, signal) => {
      if (code === 0) return resume(Effect.succeed("done"))
      if (signal === "SIGKILL" && state.pauseMillis !== undefined) return resume(Effect.succeed("killed"))
      const why = failure ?? (stderr.trim() || "it did not say why")
      resume(Effect.fail(new ProcessError({ message: `${name} ended with ${signal ?? `exit code ${code}`}: ${why}` })))
    })
  })

/** Kills a process, and waits until it is gone. */
const end = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return resolve()
    child.once("exit", () => resolve())
    child.kill("SIGKILL")
  })
