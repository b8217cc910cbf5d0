// Opening and closing: the package, the login, the settings, and the end of the process.
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Redacted, Scope } from "effect"
import { generateKeyPairSync } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import * as Datastore from "../../src/Datastore.ts"
import * as Key from "../../src/Key.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { runModule } from "../utils/child.ts"
import { makeScriptedServer, missingResult, timestamp, wireKey } from "../utils/scriptedServer.ts"

const key = Key.make("K", "a")

const lookups = () =>
  makeScriptedServer({
    Lookup: () => ({ response: { missing: [missingResult(wireKey("K", "a"), 1)], readTime: timestamp(1) } })
  })

/** In place of the metadata server, which takes seconds where there is none. */
const metadataServer = Effect.acquireRelease(
  Effect.promise(() =>
    new Promise<{ readonly server: Server; readonly host: string; readonly connections: () => number }>((done) => {
      let connections = 0
      const server = createServer((socket) => {
        connections++
        socket.destroy()
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        done({ server, host: `127.0.0.1:${port}`, connections: () => connections })
      })
    })
  ),
  ({ server }) => Effect.sync(() => server.close())
)

/** An option that keeps an emulator of the environment out of the game. */
const production = { endpoint: "localhost:1", projectId: "p" }

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "eventbox-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const openError = (options: GoogleDatastore.Options) =>
  Effect.flip(Effect.scoped(GoogleDatastore.makeBackend({ ...production, ...options })))

describe("GoogleDatastore: the package", () => {
  it.live("importing the module loads neither the client nor gRPC", () =>
    Effect.gen(function*() {
      const { stderr, stdout } = yield* runModule(`
        import { createRequire } from "node:module"
        await import("./src/layers/GoogleDatastore.ts")
        const { cache } = createRequire(import.meta.url)
        console.log(Object.keys(cache).filter((path) => /google-cloud|grpc|google-gax/.test(path)).length, "loaded")
      `)

      assert.strictEqual(stdout.trim(), "0 loaded", stderr)
    }))

  it.live("a missing package is one typed error that says what to install", () =>
    Effect.gen(function*() {
      const { stderr, stdout } = yield* runModule(`
        import { registerHooks } from "node:module"
        import { Effect, Layer } from "effect"
        registerHooks({
          resolve: (name, context, next) => {
            if (name !== "@google-cloud/datastore") return next(name, context)
            throw Object.assign(new Error("Cannot find package '" + name + "' imported from x"), {
              code: "ERR_MODULE_NOT_FOUND"
            })
          }
        })
        const GoogleDatastore = await import("./src/layers/GoogleDatastore.ts")
        const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(GoogleDatastore.layer()))))
        console.log(error._tag, error.reason._tag, error.message)
      `)

      assert.match(stdout, /^DatastoreError FailedPrecondition .*npm install @google-cloud\/datastore/, stderr)
    }))
})

describe("GoogleDatastore: settings", () => {
  it.effect("configuration has the names that its documentation lists", () =>
    Effect.gen(function*() {
      const provider = ConfigProvider.fromUnknown({
        DATASTORE_PROJECT_ID: "p",
        DATASTORE_DATABASE_ID: "d",
        DATASTORE_NAMESPACE: "n",
        DATASTORE_ENDPOINT: "e:1",
        DATASTORE_EMULATOR_HOST: "h:2",
        DATASTORE_KEY_FILENAME: "k.json",
        DATASTORE_READ_DEADLINE: "2 seconds",
        DATASTORE_COMMIT_DEADLINE: "1 second",
        DATASTORE_UNWRITTEN_EXPECTATIONS: "interactive"
      })

      const options = yield* GoogleDatastore.config.parse(provider)

      assert.deepStrictEqual({
        ...options,
        readDeadline: String(options.readDeadline),
        commitDeadline: String(options.commitDeadline)
      }, {
        projectId: "p",
        databaseId: "d",
        namespace: "n",
        endpoint: "e:1",
        emulatorHost: "h:2",
        keyFilename: "k.json",
        readDeadline: "2000 millis",
        commitDeadline: "1000 millis",
        unwrittenExpectations: "interactive"
      })
    }))

  it.effect("every setting is optional, and a wrong one is a ConfigError", () =>
    Effect.gen(function*() {
      const none = yield* GoogleDatastore.config.parse(ConfigProvider.fromUnknown({}))
      const wrong = yield* Effect.flip(
        GoogleDatastore.config.parse(ConfigProvider.fromUnknown({ DATASTORE_UNWRITTEN_EXPECTATIONS: "maybe" }))
      )

      assert.deepStrictEqual(Object.values(none).filter((value) => value !== undefined), [])
      assert.instanceOf(wrong, Config.ConfigError)
    }))

  it.effect("layerConfig reads them", () =>
    Effect.gen(function*() {
      const server = yield* lookups()
      const provider = ConfigProvider.fromUnknown({ DATASTORE_PROJECT_ID: "p", DATASTORE_EMULATOR_HOST: server.host })

      yield* Datastore.get(key).pipe(
        Effect.provide(GoogleDatastore.layerConfig),
        Effect.provideService(ConfigProvider.ConfigProvider, provider)
      )

      assert.deepStrictEqual(server.calls.map(({ request }) => request.projectId), ["p"])
    }))

  it.effect.each(["", "http://"])(
    "a host may be written with the scheme %j",
    (scheme) =>
      Effect.gen(function*() {
        const server = yield* lookups()

        yield* Effect.provide(
          Datastore.get(key),
          GoogleDatastore.layer({ emulatorHost: `${scheme}${server.host}`, projectId: "p" })
        )

        assert.strictEqual(server.calls.length, 1)
      })
  )
})

describe("GoogleDatastore: the login", () => {
  it.effect("a key file that is not there is Unauthenticated, with what to do", () =>
    Effect.gen(function*() {
      const error = yield* openError({ keyFilename: "/nowhere/key.json" })

      assert.strictEqual(error.reason._tag, "Unauthenticated")
      assert.include(error.message, "/nowhere/key.json")
      assert.include(error.message, "gcloud auth application-default login")
    }))

  it.effect("a service account's key file is enough: it names the project, and needs no network", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "key.json")
      const { privateKey } = generateKeyPairSync("rsa", {
        modulusLength: 2_048,
        privateKeyEncoding: { type: "pkcs8", format: "pem" },
        publicKeyEncoding: { type: "spki", format: "pem" }
      })
      writeFileSync(
        path,
        JSON.stringify({ type: "service_account", client_email: "a@b", private_key: privateKey, project_id: "of-file" })
      )
      const { stderr, stdout } = yield* runModule(
        `
        import { Effect } from "effect"
        import * as GoogleDatastore from "./src/layers/GoogleDatastore.ts"
        import { connect } from "./src/layers/google/client.ts"
        const open = (options) => Effect.runPromise(Effect.scoped(GoogleDatastore.makeBackend(options)))
        const keyFilename = ${JSON.stringify(path)}
        await open({ keyFilename })
        await open({ credentials: { clientEmail: "a@b", privateKey: ${JSON.stringify(privateKey)} }, projectId: "p" })
        const client = connect({ keyFilename, maxRequestBytes: 1 })
        console.log((await Effect.runPromise(Effect.scoped(client))).projectId)
      `,
        { HOME: "/nowhere", METADATA_SERVER_DETECTION: "none" }
      )

      assert.strictEqual(stdout, "of-file\n")
      assert.strictEqual(stderr, "")
    }))

  it.effect("no part of a secret is in any error", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "key.json")
      writeFileSync(path, "SECRET-in-broken-json")
      const inFile = yield* openError({ keyFilename: path })
      const account = { type: "service_account", client_email: "a@b", private_key: "SECRET-key", project_id: "p" }
      writeFileSync(path, JSON.stringify(account))
      const inKey = yield* openError({ keyFilename: path })
      const given = yield* openError({ credentials: { clientEmail: "a@b", privateKey: Redacted.make("SECRET-key") } })

      for (const error of [inFile, inKey, given]) {
        assert.strictEqual(error.reason._tag, "Unauthenticated")
        assert.notMatch(
          `${error} ${JSON.stringify(error)} ${inspect(error, { depth: 20, showHidden: true })}`,
          /SECRET/
        )
      }
    }))

  // What the login flow throws holds its request, and that holds the refresh token.
  it.effect("an expired login is Unauthenticated, and its error drops the request", () =>
    Effect.gen(function*() {
      const authClient = {
        getRequestHeaders: () =>
          Promise.reject(Object.assign(new Error("invalid_grant"), { code: "400", config: { body: "SECRET" } }))
      }
      const error = yield* openError({ clientOptions: { authClient } })

      assert.strictEqual(error.reason._tag, "Unauthenticated")
      assert.include(error.message, "invalid_grant")
      assert.notMatch(inspect(error, { depth: 20, showHidden: true }), /SECRET/)
    }))

  it.effect("a token server that cannot be reached is Unavailable", () =>
    Effect.gen(function*() {
      const authClient = {
        getRequestHeaders: () => Promise.reject(Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND" }))
      }
      const error = yield* openError({ clientOptions: { authClient } })

      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.isTrue(error.isRetryable)
    }))

  it.live("without any login there is one typed error, and no unhandled rejection", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* runModule(
        `
        import { Effect, Layer } from "effect"
        import * as GoogleDatastore from "./src/layers/GoogleDatastore.ts"
        const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(GoogleDatastore.layer()))))
        console.log(error._tag, error.reason._tag)
        console.log("done")
      `,
        { HOME: "/nowhere", METADATA_SERVER_DETECTION: "none" }
      )

      assert.strictEqual(stdout, "DatastoreError Unauthenticated\ndone\n", stderr)
      assert.strictEqual(code, 0)
    }))
})

describe("GoogleDatastore: the end", () => {
  it.live("a script on the emulator that its environment names ends by itself at once", () =>
    Effect.gen(function*() {
      const server = yield* lookups()
      const metadata = yield* metadataServer
      const { code, stderr, stdout } = yield* runModule(
        `
        import { Effect } from "effect"
        import { Datastore, Key } from "./src/index.ts"
        import * as GoogleDatastore from "./src/layers/GoogleDatastore.ts"
        await Effect.runPromise(Effect.provide(Datastore.get(Key.make("K", "a")), GoogleDatastore.layer()))
        console.log("done")
      `,
        {
          DATASTORE_EMULATOR_HOST: server.host,
          DATASTORE_PROJECT_ID: "from-environment",
          GCE_METADATA_HOST: metadata.host
        }
      )

      assert.strictEqual(stdout, "done\n", stderr)
      assert.strictEqual(code, 0, "killed, since it did not end by itself")
      assert.strictEqual(stderr, "")
      assert.deepStrictEqual(server.calls.map(({ request }) => request.projectId), ["from-environment"])
      assert.strictEqual(metadata.connections(), 0, "asked the metadata server")
    }))

  it.effect("after the scope is closed nothing is sent, and no outcome is in doubt", () =>
    Effect.gen(function*() {
      const server = yield* lookups()
      const scope = yield* Scope.make()
      const backend = yield* Scope.provide(GoogleDatastore.makeBackend({ emulatorHost: server.host }), scope)
      yield* Scope.close(scope, Exit.void)

      const read = yield* Effect.flip(backend.lookup([key]))
      const write = yield* Effect.flip(backend.commit({ mutations: [{ _tag: "Delete", key }], expected: [] }))

      assert.strictEqual(read.reason._tag, "Internal")
      assert.strictEqual(write.reason._tag, "Internal")
      assert.strictEqual(server.calls.length, 0)
    }))
})
