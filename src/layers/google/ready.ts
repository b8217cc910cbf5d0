/**
 * Whether a commit can leave this process.
 *
 * gRPC takes a call at any time and lets it wait for a connection and a token; when it then gives up, nobody can tell
 * whether the request was sent. So a commit is handed over once it has both.
 */
import * as Effect from "effect/Effect"
import { Code, type RpcFailure, unsent } from "./errors.ts"
import { type AuthClient, tokenFailure } from "./token.ts"

/** The part of a gRPC channel that is watched. */
export interface Channel {
  readonly getTarget: () => string
  readonly getConnectivityState: (tryToConnect: boolean) => number
  readonly watchConnectivityState: (
    state: number,
    deadlineMillis: number,
    callback: (tooLate?: unknown) => void
  ) => void
}

/** Whether a request can leave at once. */
export interface Ready {
  readonly isSo: () => boolean
  /** Waits for it; the result is what is left of the time. */
  readonly wait: (timeoutMillis: number) => Effect.Effect<number, RpcFailure>
}

/** Watches a channel, and gets tokens of a login; `undefined` for a service without one. */
export const makeReady = (channel: Channel, auth: AuthClient | undefined): Ready => {
  const address = channel.getTarget().replace(/^[a-z]+:\/*/, "")
  const wait = (timeoutMillis: number) =>
    Effect.callback<number, RpcFailure>((resume) => {
      // gRPC's own deadlines are of this clock too.
      const endMillis = Date.now() + timeoutMillis
      const fail = (why: string) =>
        resume(Effect.fail(unsent(Code.unavailable, `${why}, so nothing was sent to ${address}`)))
      const done = () => resume(Effect.succeed(Math.max(1, endMillis - Date.now())))
      let timer: ReturnType<typeof setTimeout> | undefined
      const look = (tooLate?: unknown) => {
        const state = connectivity(channel)
        if (state === Connectivity.ready) return auth === undefined ? done() : login(auth)
        if (state === Connectivity.failed || state === Connectivity.closed) return fail("there is no connection")
        if (tooLate !== undefined) return fail("there was no connection in time")
        channel.watchConnectivityState(state, endMillis, look)
      }
      const login = (client: AuthClient) => {
        timer = setTimeout(() => fail("there was no token in time"), endMillis - Date.now())
        void tokenFailure(client, tokenUrl).then((failure) => {
          clearTimeout(timer)
          if (failure === undefined) done()
          else resume(Effect.fail(failure))
        })
      }
      look()
      return Effect.sync(() => clearTimeout(timer))
    })
  return { isSo: () => auth === undefined && connectivity(channel) === Connectivity.ready, wait }
}

/** The state of a channel, which connects if it has not begun to. */
const connectivity = (channel: Channel): number => {
  const state = channel.getConnectivityState(false)
  if (state !== Connectivity.idle) return state
  channel.getConnectivityState(true)
  return channel.getConnectivityState(false)
}

/** The states as gRPC numbers them; `failed` is one between two attempts, in which it refuses calls as well. */
const Connectivity = { idle: 0, ready: 2, failed: 3, closed: 4 } as const

/** What a token is for. */
const tokenUrl = "https://datastore.googleapis.com/"
