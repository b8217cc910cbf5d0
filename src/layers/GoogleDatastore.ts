/**
 * Firestore in Datastore mode, over the generated client of `@google-cloud/datastore`.
 *
 * Every write is one conditional commit: mode TRANSACTIONAL with a transaction of its own, expectations as versions on
 * its mutations. So a batch costs no RPC to begin a transaction, and no lock outlives a commit. Reads are retried here
 * within a bound, commits are sent once. The package is an optional peer dependency, loaded when the layer is built.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Backend } from "../Backend.ts"
import * as Datastore from "../Datastore.ts"
import { type DatastoreError, InvalidArgument } from "../EventboxError.ts"
import { formatAddress, parseEmulatorHost, parseEndpoint } from "./google/address.ts"
import { connect } from "./google/client.ts"
import { commit } from "./google/commit.ts"
import { parseLimit } from "./google/durations.ts"
import { onEmulator } from "./google/emulatorClient.ts"
import { makeError } from "./google/errors.ts"
import { makePartition } from "./google/key.ts"
import { type Connection, lookup, runQuery } from "./google/reads.ts"

/**
 * How to reach a database, and how to treat it. Everything is optional.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Project of the database. Default: `DATASTORE_PROJECT_ID`, `GOOGLE_CLOUD_PROJECT` or `GCLOUD_PROJECT` of the
   * environment, else that of the credentials; `eventbox-emulator` on an emulator.
   */
  readonly projectId?: string | undefined
  /** Default: the default database of the project, which may also be given as `(default)`. */
  readonly databaseId?: string | undefined
  /** Namespace of every key. Default: the default namespace. */
  readonly namespace?: string | undefined
  /**
   * Host, with an optional port, of a service that is reached with TLS and credentials; blanks around it, `https://`
   * and a trailing `/` do no harm. Default: Google's.
   */
  readonly endpoint?: string | undefined
  /**
   * Host and port of an emulator, which is reached without TLS, credentials and proxies; blanks around it, `http://`
   * and a trailing `/` do no harm. Default: `DATASTORE_EMULATOR_HOST` of the environment, unless `endpoint` is given.
   */
  readonly emulatorHost?: string | undefined
  /** Path of a service account's key file. Default: Google's application default credentials. */
  readonly keyFilename?: string | undefined
  /**
   * A service account's login, in place of a key file: its `client_email` and `private_key`, the latter in PEM form.
   * Line breaks may be written as `\n`, as environments often have them.
   */
  readonly credentials?:
    | { readonly clientEmail: string; readonly privateKey: string | Redacted.Redacted<string> }
    | undefined
  /** How long a lookup or query may take in all, its retries included: up to 24 days. Default: 30 seconds. */
  readonly readDeadline?: Duration.Input | undefined
  /**
   * How long the answer to a commit is awaited, up to 24 days; then its outcome is unknown. One millisecond more is
   * given for each of its mutations: the emulator takes 0.3 ms for one. Default: 10 seconds.
   */
  readonly commitDeadline?: Duration.Input | undefined
  /**
   * How a commit checks what it expects of an entity that it does not write. `noop`, the default, adds a mutation that
   * changes nothing to the one RPC, billed as a write or delete. `interactive` uses a transaction of the server: three
   * RPCs, locks until its end, one billed read; mixed with other commits it stalls on the emulator.
   */
  readonly unwrittenExpectations?: "noop" | "interactive" | undefined
  /** Called with the name of each RPC, such as `Lookup` or `Commit`, when its request is handed to gRPC. */
  readonly onRpc?: ((method: string) => void) | undefined
  /**
   * Further options of the generated client, such as `authClient` or `universeDomain`, given to it as they are. They
   * stand above those that this layer sets: while calls are under way a connection is pinged every 30 seconds
   * (`grpc.keepalive_time_ms`, 0 for never) and closed when that is not answered within 10
   * (`grpc.keepalive_timeout_ms`; raise it with `commitDeadline` for commits that take longer than that to send).
   * Google's service allows no shorter interval.
   */
  readonly clientOptions?: Readonly<Record<string, unknown>> | undefined
}

/** Bytes of a request that the emulator takes: 4 MiB. Production takes 10 MiB. Source: Datastore limits. */
const maxEmulatorBytes = 4 * 1_024 * 1_024
const maxRequestBytes = 10 * 1_024 * 1_024

/** What keys, versions and tags of a commit may take beside its entities. */
const envelopeBytes = 256 * 1_024

/**
 * Opens a client and makes a backend of it.
 *
 * **Details**
 *
 * Loads `@google-cloud/datastore`, checks the credentials by asking for a token, and closes the client with the scope.
 * On an emulator nothing is asked for, and nothing is sent before the first operation.
 *
 * Fails with `DatastoreError`, operation `connect`: `InvalidArgument` for a host or deadline that cannot be meant,
 * before anything is loaded; `FailedPrecondition` when the package is not installed, was bundled, or no project is
 * known; `Unauthenticated` when there is no login that works; `Unavailable` when the token server cannot be reached.
 * Each says what to change. Secrets are in no message and no cause.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeBackend = (options: Options = {}): Effect.Effect<Backend, DatastoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const environment = process.env
    const endpoint = yield* valid(parseEndpoint(options.endpoint))
    const emulator = (yield* valid(parseEmulatorHost(options.emulatorHost))) ??
      (endpoint === undefined ? yield* valid(parseEmulatorHost(environment["DATASTORE_EMULATOR_HOST"])) : undefined)
    const { commitDeadline, readDeadline } = options
    const readDeadlineMillis = yield* valid(
      parseLimit("DATASTORE_READ_DEADLINE (option `readDeadline`)", readDeadline, "30 seconds")
    )
    const commitDeadlineMillis = yield* valid(
      parseLimit("DATASTORE_COMMIT_DEADLINE (option `commitDeadline`)", commitDeadline, "10 seconds")
    )
    const projectId = nonEmpty(options.projectId) ?? nonEmpty(environment["DATASTORE_PROJECT_ID"]) ??
      nonEmpty(environment["GOOGLE_CLOUD_PROJECT"]) ?? nonEmpty(environment["GCLOUD_PROJECT"])
    // The service knows its default database by no name, consoles and other tools call it this.
    const databaseId = options.databaseId === "(default)" ? undefined : nonEmpty(options.databaseId)
    const requestBytes = emulator === undefined ? maxRequestBytes : maxEmulatorBytes
    const opened = yield* connect({
      projectId,
      databaseId,
      endpoint: endpoint === undefined ? undefined : formatAddress(endpoint),
      emulatorHost: emulator === undefined ? undefined : formatAddress(emulator),
      keyFilename: nonEmpty(options.keyFilename),
      credentials: options.credentials,
      clientOptions: options.clientOptions,
      onRpc: options.onRpc,
      maxRequestBytes: requestBytes
    })
    const client = emulator === undefined ? opened : onEmulator(opened)
    const connection: Connection = {
      client,
      partition: makePartition({
        projectId: client.projectId,
        databaseId: databaseId ?? "",
        namespace: options.namespace ?? ""
      }),
      readDeadlineMillis,
      commitDeadlineMillis,
      maxRequestBytes: requestBytes
    }
    return {
      lookup: (keys) => lookup(connection, keys),
      query: (query) => runQuery(connection, query),
      commit: (request) => commit(connection, request, options.unwrittenExpectations ?? "noop"),
      limits: { commitBytes: requestBytes - envelopeBytes }
    }
  })

/**
 * Provides `Datastore` on Google's service, or on the emulator that `DATASTORE_EMULATOR_HOST` names.
 *
 * **Details**
 *
 * The client is opened while the layer is built, see {@link makeBackend} for what that does and its errors. Each
 * operation keeps to the deadlines of the options. A commit under way is never cancelled: its outcome would be unknown.
 *
 * **Example** (A database of one's own)
 *
 * ```ts
 * import * as GoogleDatastore from "effect-eventbox/layers/GoogleDatastore"
 *
 * export const DatastoreLive = GoogleDatastore.layer({ projectId: "my-project", databaseId: "mailboxes" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Datastore.Datastore, DatastoreError> =>
  Datastore.layer(makeBackend(options))

/**
 * The options as configuration, all optional.
 *
 * **Details**
 *
 * | name | option |
 * |---|---|
 * | `DATASTORE_PROJECT_ID` | `projectId` |
 * | `DATASTORE_DATABASE_ID` | `databaseId` |
 * | `DATASTORE_NAMESPACE` | `namespace` |
 * | `DATASTORE_ENDPOINT` | `endpoint` |
 * | `DATASTORE_EMULATOR_HOST` | `emulatorHost` |
 * | `DATASTORE_KEY_FILENAME` | `keyFilename` |
 * | `DATASTORE_READ_DEADLINE` | `readDeadline`, such as `30 seconds` |
 * | `DATASTORE_COMMIT_DEADLINE` | `commitDeadline`, such as `10 seconds` |
 * | `DATASTORE_UNWRITTEN_EXPECTATIONS` | `unwrittenExpectations`: `noop` or `interactive` |
 *
 * @category configuration
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.all({
  projectId: Config.option(Config.String("DATASTORE_PROJECT_ID")),
  databaseId: Config.option(Config.String("DATASTORE_DATABASE_ID")),
  namespace: Config.option(Config.String("DATASTORE_NAMESPACE")),
  endpoint: Config.option(Config.String("DATASTORE_ENDPOINT")),
  emulatorHost: Config.option(Config.String("DATASTORE_EMULATOR_HOST")),
  keyFilename: Config.option(Config.String("DATASTORE_KEY_FILENAME")),
  readDeadline: Config.option(Config.Duration("DATASTORE_READ_DEADLINE")),
  commitDeadline: Config.option(Config.Duration("DATASTORE_COMMIT_DEADLINE")),
  unwrittenExpectations: Config.option(Config.Literals(["noop", "interactive"], "DATASTORE_UNWRITTEN_EXPECTATIONS"))
}).pipe(
  Config.map((found): Options => ({
    projectId: Option.getOrUndefined(found.projectId),
    databaseId: Option.getOrUndefined(found.databaseId),
    namespace: Option.getOrUndefined(found.namespace),
    endpoint: Option.getOrUndefined(found.endpoint),
    emulatorHost: Option.getOrUndefined(found.emulatorHost),
    keyFilename: Option.getOrUndefined(found.keyFilename),
    readDeadline: Option.getOrUndefined(found.readDeadline),
    commitDeadline: Option.getOrUndefined(found.commitDeadline),
    unwrittenExpectations: Option.getOrUndefined(found.unwrittenExpectations)
  }))
)

/**
 * Provides `Datastore` as {@link layer} does, with the options that {@link config} reads from the `ConfigProvider`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<Datastore.Datastore, DatastoreError | Config.ConfigError> = Layer.unwrap(
  Effect.map(config, layer)
)

const valid = <A>(parsed: Result.Result<A, string>): Effect.Effect<A, DatastoreError> =>
  Effect.fromResult(Result.mapError(parsed, (detail) => makeError("connect", new InvalidArgument({ detail }))))

const nonEmpty = (text: string | undefined): string | undefined => text === undefined || text === "" ? undefined : text
