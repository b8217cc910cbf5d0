/**
 * A server that passes everything on to the emulator, and lies about it: what it changes in requests and responses, a
 * database could get wrong.
 */
import { Client, credentials, Metadata } from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"
import { emulatorHost } from "./emulator.ts"
import {
  type Answer,
  type Call,
  decodeWith,
  encodeWith,
  makeScriptedServer,
  messages,
  type Method,
  type ScriptedServer
} from "./scriptedServer.ts"

/** What is changed. The shapes are those of the generated classes, with integers and enums as strings. */
export interface Lie {
  /** Changes a request before it is passed on, or answers in place of the emulator. */
  readonly request?: (method: Method, request: any) => Answer | void
  readonly response?: (method: Method, response: any, request: any) => void
}

/** Starts the server on a free port of the loopback interface. */
export const makeLiar = (lie: Lie): Effect.Effect<ScriptedServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() =>
        new Client(emulatorHost, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 })
      ),
      (open) => Effect.sync(() => open.close())
    )
    const answer = (call: Call) => pass(client, lie, call)
    return yield* makeScriptedServer({
      Lookup: answer,
      RunQuery: answer,
      Commit: answer,
      BeginTransaction: answer,
      Rollback: answer
    })
  })

const pass = async (client: Client, lie: Lie, { bytes, headers, method, request }: Call): Promise<Answer> => {
  const instead = lie.request?.(method, request)
  if (instead !== undefined) return instead
  const sent = lie.request === undefined ? bytes : encodeWith(messages[`${method}Request`], request)
  const answer = await forward(client, method, Buffer.from(sent), headers)
  if (lie.response === undefined || !("bytes" in (answer as object))) return answer
  const type = messages[`${method}Response`]
  const response = decodeWith(type, (answer as { readonly bytes: Uint8Array }).bytes)
  lie.response(method, response, request)
  return { bytes: encodeWith(type, response) }
}

const forward = (client: Client, method: Method, request: Buffer, headers: Call["headers"]): Promise<Answer> =>
  new Promise((done) => {
    const metadata = new Metadata()
    const routing = headers["x-goog-request-params"]
    if (typeof routing === "string") metadata.set("x-goog-request-params", routing)
    client.makeUnaryRequest(
      `/google.datastore.v1.Datastore/${method}`,
      (value: Buffer) => value,
      (value: Buffer) => value,
      request,
      metadata,
      (error, response) => done(error === null ? { bytes: response! } : { code: error.code, details: error.details })
    )
  })
