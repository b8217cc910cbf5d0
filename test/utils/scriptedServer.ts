/**
 * A gRPC server that answers as a script says: for what the emulator never does, such as unfinished query batches,
 * deferred keys, and failures by code. It speaks through the generated message classes, so it also checks our wire
 * format.
 */
import { protos } from "@google-cloud/datastore-api"
import { Metadata, type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall } from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"

/** The generated message classes. */
export const messages = protos.google.datastore.v1

export type Method = "Lookup" | "RunQuery" | "Commit" | "BeginTransaction" | "Rollback"

/** One request as it came: integers and enums as strings, absent fields absent. */
export interface Call {
  readonly method: Method
  // The shape is that of the generated class; tests assert on parts of it.
  readonly request: any
  /** The request as it came. */
  readonly bytes: Uint8Array
  readonly headers: Readonly<Record<string, unknown>>
  /** How long the client waits for an answer. */
  readonly timeoutMillis: number
  /** Whether the client gave up on it before it was answered. */
  cancelled: boolean
}

/** An answer: a response, a status, or none at all. */
export type Answer =
  | { readonly response: object }
  /** A response in wire form. */
  | { readonly bytes: Uint8Array }
  | { readonly code: number; readonly details?: string }
  | "never"

export interface ScriptedServer {
  readonly host: string
  /** Every request, in the order of arrival. */
  readonly calls: ReadonlyArray<Call>
  /** The requests of one method. */
  readonly of: (method: Method) => ReadonlyArray<Call>
}

/** Answers the n-th request (from 0) of a method. */
export type Script = Partial<Record<Method, (call: Call, nth: number) => Answer | Promise<Answer>>>

/** Starts a server on a free port of the loopback interface; a method without a script fails as unimplemented. */
export const makeScriptedServer = (script: Script): Effect.Effect<ScriptedServer, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => start(script)),
      ({ server }) => Effect.sync(() => server.forceShutdown())
    ),
    ({ calls, port }) => ({
      host: `127.0.0.1:${port}`,
      calls,
      of: (method) => calls.filter((call) => call.method === method)
    })
  )

const methods: ReadonlyArray<Method> = ["Lookup", "RunQuery", "Commit", "BeginTransaction", "Rollback"]

const start = async (script: Script) => {
  const calls: Array<Call> = []
  const server = new Server({ "grpc.max_receive_message_length": -1 })
  server.addService(
    Object.fromEntries(methods.map((method) => [method, definition(method)])),
    Object.fromEntries(methods.map((method) => [method, handler(method, script, calls)]))
  )
  const port = await new Promise<number>((done, fail) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) done(bound)
      else fail(error)
    })
  })
  return { server, calls, port }
}

const definition = (method: Method) => ({
  path: `/google.datastore.v1.Datastore/${method}`,
  requestStream: false,
  responseStream: false,
  requestSerialize: (value: Buffer) => value,
  responseDeserialize: (bytes: Buffer) => bytes,
  requestDeserialize: (bytes: Buffer) => bytes,
  responseSerialize: (bytes: Buffer) => bytes
})

interface MessageType {
  readonly decode: (bytes: Uint8Array) => object
  readonly toObject: (message: object, options: object) => object
  readonly fromObject: (value: object) => object
  readonly encode: (message: object) => { readonly finish: () => Uint8Array }
}

/** A message in wire form as a value: integers and enums as strings, absent fields absent. */
export const decodeWith = (type: unknown, bytes: Uint8Array): object => {
  const { decode, toObject } = type as MessageType
  return toObject(decode(bytes), { longs: String, enums: String })
}

/** A message of the generated form in wire form. */
export const encodeWith = (type: unknown, value: object): Buffer => {
  const { encode, fromObject } = type as MessageType
  return Buffer.from(encode(fromObject(value)).finish())
}

const handler =
  (method: Method, script: Script, calls: Array<Call>) =>
  (grpc: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
    const request = decodeWith(messages[`${method}Request`], grpc.request)
    const call: Call = {
      method,
      request,
      bytes: grpc.request,
      headers: grpc.metadata.getMap(),
      timeoutMillis: Number(grpc.getDeadline()) - Date.now(),
      cancelled: false
    }
    const nth = calls.filter((earlier) => earlier.method === method).length
    calls.push(call)
    let answered = false
    // The event also comes with the end of an answered call.
    grpc.on("cancelled", () => {
      call.cancelled = !answered
    })
    const answer = script[method]?.(call, nth) ?? { code: 12 }
    void Promise.resolve(answer).then((given) => {
      if (given === "never") return
      answered = true
      if ("bytes" in given) return reply(null, Buffer.from(given.bytes))
      if ("response" in given) {
        return reply(null, encodeWith(messages[`${method}Response`], timed(method, given.response)))
      }
      reply({ code: given.code, details: given.details ?? "scripted", metadata: new Metadata() })
    })
  }

/** Reads are answered with a time, as every server does but the older emulator; `readTime: null` leaves it out. */
const timed = (method: Method, response: object): object => {
  const withTime = (message: object) => ({ readTime: timestamp(1), ...message })
  if (method === "Lookup") return withTime(response)
  return method === "RunQuery" && "batch" in response && typeof response.batch === "object" && response.batch !== null
    ? { ...response, batch: withTime(response.batch) }
    : response
}

const seconds = 1_700_000_000

/** A `Timestamp` so many microseconds after the beginning of all scripts. */
export const timestamp = (micros: number) => ({ seconds, nanos: micros * 1_000 })

/** The answer to a commit that landed: one result for each of its mutations. */
export const landed = ({ request }: Call): Answer => ({
  response: { mutationResults: (request.mutations ?? []).map(() => ({ version: 1 })) }
})

/** A key of the generated form, from kinds and names in turn. */
export const wireKey = (...parts: ReadonlyArray<string>) => ({
  partitionId: { projectId: "scripted" },
  path: parts.flatMap((kind, index) => index % 2 === 0 ? [{ kind, name: parts[index + 1]! }] : [])
})

/** An `EntityResult` with one property `value`. */
export const entityResult = (key: object, value: string, version: number) => ({
  entity: { key, properties: { value: { stringValue: value, excludeFromIndexes: true } } },
  version
})

/** An `EntityResult` of a missing entity. */
export const missingResult = (key: object, version: number) => ({ entity: { key }, version })
