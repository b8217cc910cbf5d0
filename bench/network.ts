/**
 * A network between this process and the emulator: with a delay, and with a count of the bytes that go over it.
 */
import { Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"

/** Bytes since the network was made, those of HTTP/2 and of its headers included. */
export interface Bytes {
  readonly toServer: number
  readonly toClient: number
}

/** A network that leads to one host. */
export interface Network {
  /** Where clients connect to. */
  readonly host: string
  /** Delays everything from now on, each way. */
  readonly delay: (millis: number) => Effect.Effect<void>
  readonly bytes: Effect.Effect<Bytes>
}

/** What the process is told; it answers each with a {@link Reply}. */
export interface Order {
  readonly id: number
  readonly delayMillis?: number
}

/** What the process answers. */
export interface Reply extends Bytes {
  readonly id: number
  readonly host: string
}

/** Arguments of Node for the processes of the benchmark: sources are reached without a build. */
export const nodeArguments: ReadonlyArray<string> = [
  "--conditions=effect-eventbox:source",
  "--disable-warning=ExperimentalWarning"
]

/** Makes a network to `target`, and ends its process with the scope. */
export const makeNetwork = (target: string): Effect.Effect<Network, never, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(join(import.meta.dirname, "networkProcess.ts"), [target], { execArgv: [...nodeArguments] })
      ),
      (started) =>
        Effect.sync(() => {
          started.kill()
        })
    )
    const { host } = yield* Effect.promise(() => answerOf(child, 0))
    let orders = 0
    const ask = (order: Omit<Order, "id">) =>
      Effect.promise(() => {
        const id = ++orders
        const answer = answerOf(child, id)
        child.send({ ...order, id })
        return answer
      })
    return {
      host,
      delay: (delayMillis) => Effect.asVoid(ask({ delayMillis })),
      bytes: Effect.map(ask({}), ({ toClient, toServer }) => ({ toServer, toClient }))
    }
  })

const answerOf = (child: ChildProcess, id: number): Promise<Reply> =>
  new Promise((done, fail) => {
    const listen = (reply: Reply) => {
      if (reply.id !== id) return
      child.off("message", listen)
      child.off("exit", gone)
      done(reply)
    }
    const gone = (code: number | null) => fail(new Error(`the network of the benchmark ended with code ${code}`))
    child.on("message", listen)
    child.on("exit", gone)
  })
