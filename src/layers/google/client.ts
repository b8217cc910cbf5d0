/**
 * The generated client `v1.DatastoreClient` of `@google-cloud/datastore`: loading it, connecting it, calling it,
 * closing it.
 *
 * The client brings the channel, the credentials and the headers. Its retries are turned off, since commits must be
 * sent once and reads are retried by us, and requests and responses pass through it as bytes (see `protoWire.ts` for
 * why): the methods of its gRPC stub are replaced by ones that neither encode nor decode.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DatastoreError, FailedPrecondition } from "../../EventboxError.ts"
import { codeOf, messageOf } from "../../ground/foreign.ts"
import { Code, makeError, type RpcFailure, toFailure, unsent } from "./errors.ts"
import { type AuthLibrary, checkLogin, detectProject, type Login, type LoginSettings, makeLogin } from "./login.ts"
import { type Channel, makeReady, type Ready } from "./ready.ts"
import { plainWords } from "./secrets.ts"
import { type AuthClient, markTokenFailures } from "./token.ts"

/** Names of the RPCs, as the stub and as `datastore.proto` spell them. */
const rpcNames = {
  lookup: "Lookup",
  runQuery: "RunQuery",
  commit: "Commit",
  beginTransaction: "BeginTransaction",
  rollback: "Rollback"
} as const

/** An RPC, as the stub spells it. */
export type Method = keyof typeof rpcNames

/** Where to connect to, as whom, and how. */
export interface ClientSettings extends LoginSettings {
  readonly projectId: string | undefined
  readonly databaseId: string | undefined
  /** A service that is reached with TLS and credentials: host, with an optional port. */
  readonly endpoint: string | undefined
  /** An emulator, reached without either: host and port. */
  readonly emulatorHost: string | undefined
  readonly onRpc: ((method: string) => void) | undefined
  /** Larger requests are refused before they are sent. */
  readonly maxRequestBytes: number
}

/** An open client. */
export interface Client {
  readonly projectId: string
  /** Sends a request once; an interrupted call is cancelled at once. */
  readonly call: (method: Method, request: Uint8Array, timeoutMillis: number) => Effect.Effect<Uint8Array, RpcFailure>
  /**
   * Sends a request once, when there is a connection and a token for it: what is missing of these fails as `unsent`.
   * From then on interruption waits for the result.
   */
  readonly callToEnd: (
    method: Method,
    request: Uint8Array,
    timeoutMillis: number
  ) => Effect.Effect<Uint8Array, RpcFailure>
}

// The parts of the generated client and its stub that are used here.
type Callback = (error: unknown, response?: Uint8Array) => void
type StubMethod = ((request: Request, metadata: unknown, options: unknown, callback: Callback) => unknown) & {
  readonly path: string
}
type Stub = { [Name in Method]: StubMethod } & {
  readonly getChannel: () => Channel
  readonly makeUnaryRequest: (
    path: string,
    serialize: (request: Request) => Uint8Array,
    deserialize: (response: Uint8Array) => Uint8Array,
    request: Request,
    metadata: unknown,
    options: unknown,
    callback: Callback
  ) => unknown
}
type GeneratedClient =
  & {
    readonly [Name in Method]: (request: Request, options: unknown, callback: Callback) => void
  }
  & {
    readonly auth: { readonly getClient: () => Promise<AuthClient> }
    readonly getProjectId: () => Promise<string>
    readonly initialize: () => Promise<unknown>
    readonly close: () => Promise<void>
  }
type ClientConstructor = new(options: object) => GeneratedClient & { readonly _gaxModule?: Gax }

/** What the generated client makes its routing headers from, and the bytes that are sent. */
class Request {
  readonly projectId: string
  readonly databaseId: string | undefined
  readonly bytes: Uint8Array
  constructor(projectId: string, databaseId: string | undefined, bytes: Uint8Array) {
    this.projectId = projectId
    this.databaseId = databaseId
    this.bytes = bytes
  }
  /** The client's debug log prints requests as JSON. */
  toJSON(): object {
    return { projectId: this.projectId, databaseId: this.databaseId, sizeBytes: this.bytes.length }
  }
}

/** The project of an emulator when none is named. */
const emulatorProjectId = "eventbox-emulator"

/**
 * Opens a client; credentials are checked here, so that a missing login is one typed error. Closes it with the scope.
 */
export const connect = (settings: ClientSettings): Effect.Effect<Client, DatastoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const Constructor = yield* load
    const onEmulator = settings.emulatorHost !== undefined
    const gax = yield* attempt(() => gaxOf(Constructor))
    const login = onEmulator ? noLogin : yield* makeLogin(settings, gax)
    const client = yield* attempt(() => new Constructor(optionsOf(settings, login, gax)))
    if (!onEmulator) yield* checkLogin(client)
    const projectId = settings.projectId ?? login.projectId ??
      (onEmulator ? emulatorProjectId : yield* detectProject(client))
    const stub = yield* attempt(() => client.initialize() as Promise<Stub>)
    const state = { closed: false }
    yield* Effect.addFinalizer(() =>
      Effect.promise(() => {
        state.closed = true
        return client.close()
      })
    )
    passBytes(stub, settings.onRpc)
    const auth = onEmulator ? undefined : yield* attempt(() => client.auth.getClient())
    if (auth !== undefined) markTokenFailures(auth)
    const ready = makeReady(stub.getChannel(), auth)
    return makeClient({ client, projectId, settings, state, ready })
  })

const load: Effect.Effect<ClientConstructor, DatastoreError> = Effect.tryPromise({
  try: async () => {
    const loaded = await import("@google-cloud/datastore")
    // A bundler may leave the names of a CommonJS module below `default`.
    const { v1 } = loaded.v1 === undefined ? (loaded as unknown as { readonly default: typeof loaded }).default : loaded
    return v1.DatastoreClient as unknown as ClientConstructor
  },
  catch: (cause) => makeError("connect", new FailedPrecondition({ detail: explainLoading(cause), cause }))
})

/** Only when that very package was not found it helps to install it; the loader has no field that names it. */
const explainLoading = (cause: unknown): string => {
  const code = codeOf(cause)
  const [said = ""] = messageOf(cause).split("\n")
  const isMissing = (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") &&
    /["'`]@google-cloud\/datastore["'`]/.test(said)
  return isMissing
    ? "the package @google-cloud/datastore is not installed: npm install @google-cloud/datastore; a bundled program " +
      "needs it installed beside the bundle"
    : `the package @google-cloud/datastore cannot be loaded: ${said}; install it anew; ${bundling}`
}

const bundling = "if the program is bundled, leave @google-cloud/datastore out of the bundle, as `--external` of " +
  "esbuild or `externals` of webpack does, and install it beside the bundle (docs/guides/bundling.md)"

const noLogin: Login = { clientOptions: {}, projectId: undefined }

/**
 * How a connection is found out that is dead without being closed, as when a NAT forgot it: by pings while calls are
 * under way. Without them every call on it waits for its deadline until TCP gives up, which takes a quarter of an hour.
 *
 * 30 s is the least that Google's front ends allow (googleapis/java-bigtable#528), and what Google's clients for
 * Bigtable and, on Android, for Firestore set. A ping has 10 s to be answered, as with Bigtable, and as long as a
 * commit: what holds it up for longer fails commits anyway. There are no pings between calls, which servers forbid
 * unless they are told otherwise; the first call after a pause of 30 s brings one along.
 */
const pings = { "grpc.keepalive_time_ms": 30_000, "grpc.keepalive_timeout_ms": 10_000 }

const optionsOf = (settings: ClientSettings, login: Login, gax: Gax): object => {
  const { emulatorHost, endpoint, projectId } = settings
  const address = emulatorHost ?? endpoint
  return {
    // Only what is set: the client takes an undefined option for a given one.
    ...(projectId === undefined ? {} : { projectId }),
    ...(address === undefined ? {} : splitAddress(address)),
    ...login.clientOptions,
    ...(emulatorHost === undefined ? {} : emulatorOptions(gax)),
    fallback: false,
    // Node's default of 64 KiB makes a large response wait for one round trip per window.
    "grpc-node.flow_control_window": 8 * 1_024 * 1_024,
    ...pings,
    ...settings.clientOptions
  }
}

const emulatorOptions = (gax: Gax): object => ({
  sslCreds: gax.grpc.credentials.createInsecure(),
  // Without its universe the client asks the metadata server for it, for up to 3 s.
  universeDomain: "googleapis.com",
  // A proxy of the environment is for the way out, and mostly does not know the host of an emulator.
  "grpc.enable_http_proxy": 0
})

/** Host and port of `host`, `host:port`, or `[::1]:port`. */
const splitAddress = (address: string): { readonly apiEndpoint: string; readonly port?: number } => {
  const found = /^(.*):(\d+)$/.exec(address)
  return found === null ? { apiEndpoint: address } : { apiEndpoint: found[1]!, port: Number(found[2]) }
}

interface Gax extends AuthLibrary {
  readonly grpc: { readonly credentials: { readonly createInsecure: () => unknown } }
}

/**
 * The client's own copy of `google-gax`: credentials must be made by the copy of gRPC that uses them. A client that is
 * made only to be asked costs about a millisecond. To look for the package in the file system would need to know where
 * this module is, which it does not in a bundle.
 */
const gaxOf = (Constructor: ClientConstructor): Gax => {
  const gax = new Constructor({ fallback: false, universeDomain: "googleapis.com" })._gaxModule
  if (gax === undefined) throw new Error("this release of the client is not known")
  return gax
}

const attempt = <A>(evaluate: () => A | Promise<A>): Effect.Effect<A, DatastoreError> =>
  Effect.tryPromise({
    try: async () => evaluate(),
    catch: (cause) => {
      // The client was given credentials, and might quote them.
      const said = plainWords(messageOf(cause)) ?? "it does not say why in words"
      return makeError("connect", new FailedPrecondition({ detail: `cannot set up the client (${said}); ${bundling}` }))
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// Calls
// ---------------------------------------------------------------------------------------------------------------------

const passBytes = (stub: Stub, onRpc: ((method: string) => void) | undefined): void => {
  for (const method of Object.keys(rpcNames) as Array<Method>) {
    const { path } = stub[method]
    stub[method] = Object.assign<StubMethod, object>(
      ((request, metadata, options, callback) => {
        onRpc?.(rpcNames[method])
        return stub.makeUnaryRequest(path, bytesOf, same, request, metadata, options, callback)
      }) as StubMethod,
      { path }
    )
  }
}

const bytesOf = (request: Request): Uint8Array => request.bytes
const same = (response: Uint8Array): Uint8Array => response

const makeClient = ({ client, projectId, ready, settings, state }: {
  readonly client: GeneratedClient
  readonly projectId: string
  readonly settings: ClientSettings
  readonly state: { readonly closed: boolean }
  readonly ready: Ready
}): Client => {
  const send = (
    method: Method,
    bytes: Uint8Array,
    timeoutMillis: number,
    signal: AbortSignal | undefined,
    resume: (result: Effect.Effect<Uint8Array, RpcFailure>) => void
  ): void => {
    const refused = refuse(bytes, settings.maxRequestBytes, state.closed)
    if (refused !== undefined) return resume(Effect.fail(refused))
    const request = new Request(projectId, settings.databaseId, bytes)
    const options = { timeout: timeoutMillis, retry: null, ...(signal === undefined ? {} : { signal }) }
    client[method](request, options, (error, response) => {
      resume(response !== undefined && response !== null ? Effect.succeed(response) : Effect.fail(toFailure(error)))
    })
  }
  const sendToEnd = (method: Method, request: Uint8Array, timeoutMillis: number) =>
    Effect.uninterruptible(
      Effect.callback<Uint8Array, RpcFailure>((resume) => send(method, request, timeoutMillis, undefined, resume))
    )
  return {
    projectId,
    call: (method, request, timeoutMillis) =>
      Effect.callback((resume, signal) => send(method, request, timeoutMillis, signal, resume)),
    callToEnd: (method, request, timeoutMillis) =>
      Effect.suspend(() =>
        state.closed || ready.isSo()
          ? sendToEnd(method, request, timeoutMillis)
          : Effect.flatMap(ready.wait(timeoutMillis), (leftMillis) => sendToEnd(method, request, leftMillis))
      )
  }
}

const refuse = (request: Uint8Array, maxBytes: number, closed: boolean): RpcFailure | undefined => {
  if (closed) return unsent(undefined, "the layer is closed")
  if (request.length <= maxBytes) return undefined
  const detail = `a request has at most ${maxBytes} bytes, this one has ${request.length}; send less at once`
  return unsent(Code.invalidArgument, detail)
}
