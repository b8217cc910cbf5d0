/**
 * What a client says more plainly when it talks to an emulator.
 */
import * as Effect from "effect/Effect"
import type { Client, Method } from "./client.ts"
import { Code, type RpcFailure } from "./errors.ts"
import { WireReader } from "./wire.ts"

/**
 * Makes a client that finds out the older Datastore emulator, and explains a failure that has no text of its own.
 *
 * The older emulator answers every call, but without read times, and does other things than the service: a write of
 * some properties drops all others. The first answer to a read tells.
 */
export const onEmulator = (client: Client): Client => {
  const state = { isKnown: false, isLegacy: false }
  const tried = (call: Client["call"]): Client["call"] => (method, request, timeoutMillis) =>
    Effect.suspend(() => {
      if (state.isLegacy) return Effect.fail(legacy("unsent"))
      const answer = Effect.mapError(call(method, request, timeoutMillis), explain)
      return state.isKnown ? answer : Effect.flatMap(answer, (response) => {
        if (method !== "lookup" && method !== "runQuery") return Effect.succeed(response)
        state.isLegacy = !hasReadTime(method, response)
        state.isKnown = true
        return state.isLegacy ? Effect.fail(legacy("answered")) : Effect.succeed(response)
      })
    })
  return { projectId: client.projectId, call: tried(client.call), callToEnd: tried(client.callToEnd) }
}

const legacy = (fate: RpcFailure["fate"]): RpcFailure => ({
  code: Code.failedPrecondition,
  detail: "this is the older Datastore emulator (`gcloud beta emulators datastore`), whose commits differ from the " +
    "service's; start the Firestore emulator in Datastore mode, `gcloud emulators firestore start " +
    "--database-mode=datastore-mode`, or let `effect-eventbox/layers/Emulator` start it",
  cause: undefined,
  fate
})

const hasReadTime = (method: Method, response: Uint8Array): boolean => {
  try {
    // `LookupResponse.read_time`, and `RunQueryResponse.batch` with `QueryResultBatch.read_time`.
    if (method === "lookup") return find(response, 7) !== undefined
    const batch = find(response, 1)
    // An answer without a batch is for whoever reads it.
    return batch === undefined || find(batch, 8) !== undefined
  } catch {
    // Whoever reads the answer says what is wrong with it.
    return true
  }
}

const find = (message: Uint8Array, field: number): Uint8Array | undefined => {
  const reader = new WireReader(message)
  while (reader.next()) {
    if (reader.field === field) return reader.view()
    reader.skip()
  }
  return undefined
}

/** The emulator says so little when it has no memory left, and hardly ever otherwise. Only words: the code stays. */
const explain = (failure: RpcFailure): RpcFailure =>
  failure.code === Code.unknown && failure.detail.includes("Application error processing RPC")
    ? {
      ...failure,
      detail: `${failure.detail}; most likely the emulator is out of memory: give it more, with \`heapMegabytes\` of ` +
        "layers/Emulator or -Xmx of Java, or reset it"
    }
    : failure
