/**
 * The Datastore emulator for tests: the one that runs already, or one that this layer starts and stops.
 *
 * It is the Firestore emulator of the Google Cloud SDK in Datastore mode. It needs Java, the SDK's component
 * `cloud-firestore-emulator`, and the package `@google-cloud/datastore`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Datastore from "../Datastore.ts"
import { type DatastoreError, EmulatorError } from "../EventboxError.ts"
import { messageOf } from "../ground/foreign.ts"
import { answers, answersWithin, EmulatorProblem, findJar, findJava, reset, startProcess } from "./emulator/process.ts"
import { formatAddress, parseEmulatorHost } from "./google/address.ts"
import { parseLimit } from "./google/durations.ts"
import * as GoogleDatastore from "./GoogleDatastore.ts"

/**
 * How to find or start the emulator. Everything is optional.
 *
 * @category models
 * @since 0.1.0
 */
export interface StartOptions {
  /**
   * Host and port of an emulator that runs already; empty to start one whatever the environment says. Blanks around
   * it, `http://` and a trailing `/` do no harm. Default: `DATASTORE_EMULATOR_HOST` of the environment.
   */
  readonly host?: string | undefined
  /** Path of the emulator's jar. Default: `EVENTBOX_EMULATOR_JAR`, else that of the installed Google Cloud SDK. */
  readonly jar?: string | undefined
  /** The Java to start. Default: that of `JAVA_HOME`, else the one on the path. */
  readonly java?: string | undefined
  /** Memory that Java may use, in MiB. Default: 1,536, the least with which long test runs are known to work. */
  readonly heapMegabytes?: number | undefined
  /**
   * How long to wait for its first answer, up to 24 days. Default: 60 seconds; one that runs already is asked only
   * once, with 10 seconds to answer.
   */
  readonly startTimeout?: Duration.Input | undefined
}

/**
 * An emulator that answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running {
  /** Host and port, such as `127.0.0.1:8081`: what `DATASTORE_EMULATOR_HOST` holds. */
  readonly host: string
  /** Makes it forget everything of every project: entities, transactions, locks. Takes some milliseconds. */
  readonly reset: Effect.Effect<void, EmulatorError>
}

/**
 * The emulator behind {@link layer}.
 *
 * @category services
 * @since 0.1.0
 */
export class Emulator extends Context.Service<Emulator, Running>()("eventbox/layers/Emulator") {}

/**
 * Finds a running emulator, or starts one on a free port of the loopback interface and stops it with the scope.
 *
 * **Details**
 *
 * Starts Java directly, which takes 1 to 4 s, and waits until the emulator answers. When the scope closes it ends the
 * process (0.3 s; SIGKILL after 5 s); a small guard process does so when this process dies without closing it. An
 * emulator that ran already is left running.
 *
 * Fails with `EmulatorError` when the host or another option cannot be meant, when none answers at the given host, when
 * Java or the emulator is not installed, or when it does not start; the message says what to install or set.
 *
 * @category constructors
 * @since 0.1.0
 */
export const start = (options: StartOptions = {}): Effect.Effect<Running, EmulatorError, Scope.Scope> =>
  Effect.gen(function*() {
    const address = yield* valid(parseEmulatorHost(options.host ?? process.env["DATASTORE_EMULATOR_HOST"]))
    const timeoutMillis = yield* valid(parseLimit("`startTimeout`", options.startTimeout, "60 seconds"))
    if (address === undefined) return yield* launch(options, timeoutMillis)
    return yield* use(formatAddress(address), options.startTimeout === undefined ? undefined : timeoutMillis)
  })

/**
 * How to find or start the emulator, and how to treat its database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends
  StartOptions,
  Pick<
    GoogleDatastore.Options,
    | "projectId"
    | "databaseId"
    | "namespace"
    | "readDeadline"
    | "commitDeadline"
    | "unwrittenExpectations"
    | "onRpc"
  >
{}

/**
 * Provides `Datastore` on an emulator, and the emulator itself as {@link Emulator}.
 *
 * **Details**
 *
 * See {@link start} for how the emulator is found or started. `projectId` defaults to a fresh one for each time the
 * layer is built, so that tests which share an emulator share neither data nor locks.
 *
 * **Gotchas**
 *
 * The emulator (1.19 at least) shows a commit to reads beside it entity by entity, also in its read-only transactions:
 * one lookup or query may see a part of a commit. The service is documented to read as of one moment. Commits are not
 * affected, since they check what they expect, but a test that compares entities under load does so when all writers
 * are done.
 *
 * **Example** (A test on the emulator)
 *
 * ```ts
 * import { layer } from "@effect/vitest"
 * import { Datastore, Entity, Key } from "effect-eventbox"
 * import * as Emulator from "effect-eventbox/layers/Emulator"
 *
 * layer(Emulator.layer(), { excludeTestServices: true })("on the emulator", (it) => {
 *   it.effect("writes", () => Datastore.put([Entity.make(Key.make("Greeting", "a"), { text: "hello" })]))
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Datastore.Datastore | Emulator, EmulatorError | DatastoreError> =>
  Layer.provideMerge(
    Datastore.layer(Effect.flatMap(Emulator, ({ host }) =>
      GoogleDatastore.makeBackend({
        ...options,
        emulatorHost: host,
        projectId: options.projectId ?? freshProjectId()
      }))),
    Layer.effect(Emulator, start(options))
  )

const freshProjectId = (): string => `eventbox-${crypto.randomUUID().slice(0, 13)}`

const use = (host: string, timeoutMillis: number | undefined): Effect.Effect<Running, EmulatorError> =>
  Effect.flatMap(
    attempt((signal) =>
      timeoutMillis === undefined
        ? answers(host, 10_000)
        : answersWithin(host, timeoutMillis, () => signal.throwIfAborted())
    ),
    (healthy) => {
      if (healthy) return Effect.succeed(running(host))
      const waited = timeoutMillis === undefined ? "" : ` within ${timeoutMillis / 1_000} s`
      const detail = `none answers at ${host}${waited}. Start it there, or unset DATASTORE_EMULATOR_HOST to have one ` +
        "started."
      return Effect.fail(new EmulatorError({ detail }))
    }
  )

const launch = (options: StartOptions, timeoutMillis: number): Effect.Effect<Running, EmulatorError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      attempt(async (signal) =>
        startProcess({
          jar: await findJar(options.jar, process.env),
          java: findJava(options.java, process.env),
          heapMegabytes: checkHeap(options.heapMegabytes ?? 1_536),
          timeoutMillis,
          signal
        })
      ),
      (emulator) => Effect.promise(emulator.stop),
      { interruptible: true }
    ),
    ({ port }) => running(`127.0.0.1:${port}`)
  )

const checkHeap = (megabytes: number): number => {
  if (Number.isSafeInteger(megabytes) && megabytes > 0) return megabytes
  throw new EmulatorProblem(`\`heapMegabytes\` is a positive integer, got ${megabytes}`)
}

const valid = <A>(parsed: Result.Result<A, string>): Effect.Effect<A, EmulatorError> =>
  Effect.fromResult(Result.mapError(parsed, (detail) => new EmulatorError({ detail })))

const running = (host: string): Running => ({ host, reset: attempt(() => reset(host)) })

const attempt = <A>(evaluate: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, EmulatorError> =>
  Effect.tryPromise({
    try: (signal) => evaluate(signal),
    catch: (cause) =>
      new EmulatorError({
        detail: messageOf(cause),
        ...(cause instanceof EmulatorProblem ? {} : { cause })
      })
  })
