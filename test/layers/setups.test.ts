// What a bad set-up says: typed, when the layer is built, naming the setting and what to do, and never a secret.
// docs/reference/errors.md has the same rows.
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Duration, Effect, Exit, Layer, Redacted } from "effect"
import { generateKeyPairSync } from "node:crypto"
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import * as Datastore from "../../src/Datastore.ts"
import type { DatastoreError, EmulatorError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Emulator from "../../src/layers/Emulator.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { makeScriptedServer, missingResult, timestamp, wireKey } from "../utils/scriptedServer.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Secrets, and everything that can be printed of an error
// ---------------------------------------------------------------------------------------------------------------------

const pemOf = (encoding: object = {}): string =>
  generateKeyPairSync("rsa", {
    modulusLength: 2_048,
    privateKeyEncoding: { type: "pkcs8", format: "pem", ...encoding },
    publicKeyEncoding: { type: "spki", format: "pem" }
  }).privateKey

const pem = pemOf()
const encrypted = pemOf({ cipher: "aes-256-cbc", passphrase: "x" })
const account = {
  type: "service_account",
  project_id: "p",
  private_key_id: "0123456789abcdef0123456789abcdef01234567",
  private_key: pem,
  client_email: "mailer@secret-project.iam.gserviceaccount.com"
}
const json = JSON.stringify(account, undefined, 2)
const oneLine = JSON.stringify(account)
const base64 = Buffer.from(oneLine).toString("base64")
const token = "ya29.a0AfB_byC-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"

/** Pieces of secrets, ten characters long, and what only a text that holds one says. */
const pieces = [pem, encrypted, base64, token, account.private_key_id].flatMap((secret) =>
  secret.split("\n").filter((line) => !line.startsWith("-----")).flatMap((line) =>
    Array.from({ length: Math.max(0, line.length - 9) }, (_, at) => line.slice(at, at + 10))
  )
).concat("service_account", "secret-project")

/** All that a log may make of an error. */
const everything = (error: unknown): string =>
  [
    (error as Error).message,
    String(error),
    JSON.stringify(error),
    JSON.stringify((error as Error).cause ?? null),
    inspect(error, { depth: 20, showHidden: true }),
    Cause.pretty(Cause.fail(error))
  ].join("\n")

const leaked = (error: unknown): ReadonlyArray<string> => {
  const text = everything(error)
  return pieces.filter((piece) => text.includes(piece))
}

// ---------------------------------------------------------------------------------------------------------------------
// Set-ups
// ---------------------------------------------------------------------------------------------------------------------

type SetupError = DatastoreError | EmulatorError

/** A set-up by its name in the documentation. */
interface Row {
  readonly name: string
  readonly says: "EmulatorError" | DatastoreError["reason"]["_tag"]
  readonly phrases: ReadonlyArray<string>
  /** Set-ups of this kind; each fails with the error. */
  readonly setups: Readonly<Record<string, Effect.Effect<SetupError, unknown>>>
}

/** Without a login of the machine, and with these variables. */
const within = <A, E>(
  variables: Readonly<Record<string, string>>,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const names = ["GOOGLE_APPLICATION_CREDENTIALS", "DATASTORE_EMULATOR_HOST", ...Object.keys(variables)]
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = names.map((name) => [name, process.env[name]] as const)
      for (const name of names) delete process.env[name]
      Object.assign(process.env, variables)
      return before
    }),
    () => effect,
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )
}

const built = (options: GoogleDatastore.Options, variables: Readonly<Record<string, string>> = {}) =>
  Effect.flip(
    within(variables, Effect.scoped(Effect.asVoid(GoogleDatastore.makeBackend({ projectId: "p", ...options }))))
  )

const production = (options: GoogleDatastore.Options, variables?: Readonly<Record<string, string>>) =>
  built({ endpoint: "localhost:1", ...options }, variables)

const configured = (variables: Readonly<Record<string, string>>) =>
  Effect.flip(within(
    {},
    Effect.scoped(Effect.asVoid(Layer.build(GoogleDatastore.layerConfig))).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables)),
      Effect.catchTag("ConfigError", Effect.die)
    )
  ))

const started = (options: Emulator.StartOptions, variables: Readonly<Record<string, string>> = {}) =>
  Effect.flip(within(variables, Effect.scoped(Effect.asVoid(Emulator.start(options)))))

const folder = mkdtempSync(join(tmpdir(), "eventbox-"))
const fileWith = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const login = (privateKey: unknown, clientEmail: unknown = account.client_email) =>
  production({ credentials: { clientEmail, privateKey } as never })

const cut = pem.slice(0, pem.length / 2)
const keyFile = (fields: object) => fileWith("account.json", JSON.stringify({ ...account, ...fields }))

/** Something in place of Java. */
const notRunnable = (): string => {
  const path = fileWith("java", "")
  chmodSync(path, 0o644)
  return path
}

const key = Key.make("K", "a")

/** The first read on a server that answers like this. */
const read = (answer: { readonly response: object } | { readonly code: number; readonly details: string }) =>
  Effect.scoped(Effect.gen(function*() {
    const { host } = yield* makeScriptedServer({ Lookup: () => answer })
    const layer = GoogleDatastore.layer({ projectId: "p", emulatorHost: host, readDeadline: "1 second" })
    return yield* Effect.flip(Effect.provide(Datastore.get(key), layer))
  }))

const badHosts: Readonly<Record<string, string>> = {
  "no port": "localhost",
  "an empty port": "localhost:",
  "port 0": "localhost:0",
  "port 65536": "localhost:65536",
  "a port that is none": "localhost:eighty",
  "a path": "http://localhost:8081/v1",
  "a query": "localhost:8081?x=1",
  "double quotes": "\"localhost:8081\"",
  "single quotes": "'localhost:8081'",
  "a list": "localhost:8081,localhost:8082",
  "an inner blank": "local host:8081",
  "a bare IPv6 address": "::1:8081",
  "an open bracket": "[::1:8081",
  "https": "https://localhost:8081",
  "another scheme": "grpc://localhost:8081",
  "a login": `user:${token}@localhost:8081`,
  "a key": oneLine
}

const badEndpoints: Readonly<Record<string, string>> = {
  "a path": "https://datastore.example.com/v1",
  "http": "http://datastore.example.com",
  "quotes": "\"datastore.example.com\"",
  "a list": "a.example.com,b.example.com",
  "port 0": "datastore.example.com:0"
}

const badTimes: Readonly<Record<string, Duration.Input>> = {
  "Infinity": Duration.infinity,
  "-Infinity": Duration.negativeInfinity,
  "NaN": Number.NaN,
  "zero": 0,
  "below a millisecond": Duration.nanos(BigInt(1_000)),
  "negative": -5,
  "longer than a timer waits": Duration.days(25),
  "words": "soon" as never,
  "an object": { hours: "x" } as never
}

const each = <A, B>(values: Readonly<Record<string, A>>, make: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, make(value)]))

const prefixed = <A>(prefix: string, setups: Readonly<Record<string, A>>): Record<string, A> =>
  Object.fromEntries(Object.entries(setups).map(([name, setup]) => [`${prefix}: ${name}`, setup]))

const keyTexts = { "JSON": json, "JSON in one line": oneLine, "JSON in base64": base64, "PEM": pem, "a token": token }

const logins: ReadonlyArray<Row> = [
  {
    name: "`GOOGLE_APPLICATION_CREDENTIALS` holds a key, not the path of its file",
    says: "Unauthenticated",
    phrases: ["GOOGLE_APPLICATION_CREDENTIALS does not hold the path of a key file", "write the key to a file"],
    setups: each(keyTexts, (text) => production({}, { GOOGLE_APPLICATION_CREDENTIALS: text }))
  },
  {
    name: "`keyFilename` or `DATASTORE_KEY_FILENAME` holds a key, not the path of its file",
    says: "Unauthenticated",
    phrases: ["DATASTORE_KEY_FILENAME (option `keyFilename`) does not hold the path of a key file"],
    setups: {
      ...prefixed("option", each(keyTexts, (text) => production({ keyFilename: text }))),
      ...prefixed("variable", each(keyTexts, (text) => configured({ DATASTORE_KEY_FILENAME: text })))
    }
  },
  {
    name: "`clientOptions.keyFilename` or `clientOptions.keyFile` holds a key",
    says: "Unauthenticated",
    phrases: ["`clientOptions.key", "does not hold the path of a key file"],
    setups: {
      ...prefixed("keyFilename", each(keyTexts, (text) => production({ clientOptions: { keyFilename: text } }))),
      ...prefixed("keyFile", each(keyTexts, (text) => production({ clientOptions: { keyFile: text } })))
    }
  },
  {
    name: "the key file is not there, or may not be read",
    says: "Unauthenticated",
    phrases: ["/nowhere/key.json, which cannot be read (ENOENT)", "correct the path"],
    setups: {
      option: production({ keyFilename: "/nowhere/key.json" }),
      variable: production({}, { GOOGLE_APPLICATION_CREDENTIALS: "/nowhere/key.json" }),
      clientOptions: production({ clientOptions: { keyFilename: "/nowhere/key.json" } })
    }
  },
  {
    name: "the key file holds no JSON object",
    says: "Unauthenticated",
    phrases: ["which is no key file"],
    setups: each(
      {
        "broken JSON, option": { keyFilename: fileWith("broken.json", json.slice(0, -20)) },
        "PEM, option": { keyFilename: fileWith("key.pem", pem) },
        "a token, option": { keyFilename: fileWith("token.json", JSON.stringify(token)) },
        "null, option": { keyFilename: fileWith("null.json", "null") }
      },
      (options) => production(options)
    )
  },
  {
    name: "`GOOGLE_APPLICATION_CREDENTIALS` names a file that holds no JSON object",
    says: "Unauthenticated",
    phrases: ["GOOGLE_APPLICATION_CREDENTIALS names", "which is no key file"],
    setups: each(
      { "broken JSON": json.slice(0, -20), "PEM": pem, "a token": token },
      (text) =>
        Effect.suspend(() => production({}, { GOOGLE_APPLICATION_CREDENTIALS: fileWith("variable.json", text) }))
    )
  },
  {
    name: "`private_key` of the key file is cut off, or is none",
    says: "Unauthenticated",
    phrases: ["`private_key` of the file that DATASTORE_KEY_FILENAME (option `keyFilename`) names"],
    setups: each(
      { "cut off": cut, "a token": token, "missing": undefined },
      (text) => Effect.suspend(() => production({ keyFilename: keyFile({ private_key: text }) }))
    )
  },
  {
    name: "`credentials.privateKey` is undefined or empty",
    says: "Unauthenticated",
    phrases: ["`credentials.privateKey` is", "give `private_key` of the key file"],
    setups: each(
      { undefined, "empty": "", "blank": " ", "redacted": Redacted.make(undefined), "a number": 5 },
      (privateKey) => login(privateKey)
    )
  },
  {
    name: "`credentials.privateKey` is no private key in PEM form",
    says: "Unauthenticated",
    phrases: ["`credentials.privateKey`", "give `private_key` of the key file as it stands there"],
    setups: each(
      {
        "cut off": cut,
        "without line breaks": pem.replaceAll("\n", ""),
        "quoted": JSON.stringify(pem),
        "the whole key file": json,
        "in base64": base64,
        "a token": token,
        "a redacted token": Redacted.make(token),
        encrypted
      },
      (privateKey) => login(privateKey)
    )
  },
  {
    name: "`credentials.clientEmail` is missing",
    says: "Unauthenticated",
    phrases: ["`credentials.clientEmail` is", "give `client_email` of the key file"],
    setups: { "missing": login(pem, null), "empty": login(pem, "") }
  },
  {
    name: "the login flow fails with a message that quotes an answer",
    says: "Unauthenticated",
    phrases: ["no valid credentials", "gcloud auth application-default login"],
    setups: each(
      {
        "a token": new Error(`the answer was {"access_token":"${token}"}`),
        "broken JSON": Object.assign(new SyntaxError(`Unexpected token 'y', "${token}" is not valid JSON`), {}),
        "a request": Object.assign(new Error("invalid_grant"), {
          config: { body: oneLine },
          response: { data: token }
        }),
        "a code": Object.assign(new Error(pem), { code: token }),
        "no error": json,
        "nothing": undefined
      },
      (thrown) => production({ clientOptions: { authClient: { getRequestHeaders: () => Promise.reject(thrown) } } })
    )
  },
  {
    name: "a login in `clientOptions` cannot be used",
    says: "Unauthenticated",
    phrases: ["no valid credentials", "gcloud auth application-default login"],
    setups: each(
      {
        "a cut key": { credentials: { client_email: "a@b", private_key: cut } },
        "a token as the key": { credentials: { client_email: "a@b", private_key: token } },
        "the file as the key": { credentials: { client_email: "a@b", private_key: json } },
        "a person without a secret": { credentials: { type: "authorized_user", client_id: token } }
      },
      (clientOptions) => production({ clientOptions })
    )
  }
]

const places: ReadonlyArray<Row> = [
  {
    name: "`DATASTORE_EMULATOR_HOST` or `emulatorHost` is no host and port",
    says: "InvalidArgument",
    phrases: ["DATASTORE_EMULATOR_HOST (option `emulatorHost` or `host`) is", "write 127.0.0.1:8081"],
    setups: {
      ...prefixed("option", each(badHosts, (emulatorHost) => built({ emulatorHost }))),
      ...prefixed("variable", each(badHosts, (host) => built({}, { DATASTORE_EMULATOR_HOST: host }))),
      ...prefixed("config", each(badHosts, (host) => configured({ DATASTORE_EMULATOR_HOST: host })))
    }
  },
  {
    name: "`host` of the emulator's layer, or its variable, is no host and port",
    says: "EmulatorError",
    phrases: ["DATASTORE_EMULATOR_HOST (option `emulatorHost` or `host`) is", "write 127.0.0.1:8081"],
    setups: {
      ...prefixed("option", each(badHosts, (host) => started({ host }))),
      ...prefixed("variable", each(badHosts, (host) => started({}, { DATASTORE_EMULATOR_HOST: host })))
    }
  },
  {
    name: "`DATASTORE_ENDPOINT` or `endpoint` is no host",
    says: "InvalidArgument",
    phrases: ["DATASTORE_ENDPOINT (option `endpoint`) is", "write datastore.example.com"],
    setups: {
      ...prefixed("option", each(badEndpoints, (endpoint) => built({ endpoint }))),
      ...prefixed("config", each(badEndpoints, (endpoint) => configured({ DATASTORE_ENDPOINT: endpoint })))
    }
  },
  {
    name: "`readDeadline` is not between a millisecond and 24 days",
    says: "InvalidArgument",
    phrases: ["DATASTORE_READ_DEADLINE (option `readDeadline`) is a time between 1 millisecond and 24 days"],
    setups: {
      ...each(badTimes, (readDeadline) => built({ emulatorHost: "localhost:1", readDeadline })),
      "variable": configured({ DATASTORE_EMULATOR_HOST: "localhost:1", DATASTORE_READ_DEADLINE: "Infinity" })
    }
  },
  {
    name: "`commitDeadline` is not between a millisecond and 24 days",
    says: "InvalidArgument",
    phrases: ["DATASTORE_COMMIT_DEADLINE (option `commitDeadline`) is a time between 1 millisecond and 24 days"],
    setups: {
      ...each(badTimes, (commitDeadline) => built({ emulatorHost: "localhost:1", commitDeadline })),
      "variable": configured({ DATASTORE_EMULATOR_HOST: "localhost:1", DATASTORE_COMMIT_DEADLINE: "0 seconds" })
    }
  }
]

const emulators: ReadonlyArray<Row> = [
  {
    name: "`startTimeout` is not between a millisecond and 24 days",
    says: "EmulatorError",
    phrases: ["`startTimeout` is a time between 1 millisecond and 24 days"],
    setups: each(badTimes, (startTimeout) => started({ host: "", startTimeout }))
  },
  {
    name: "`heapMegabytes` is no positive integer",
    says: "EmulatorError",
    phrases: ["`heapMegabytes` is a positive integer"],
    setups: each(
      { "zero": 0, "a fraction": 1.5, "NaN": Number.NaN },
      (heapMegabytes) => started({ host: "", jar: process.execPath, java: "java", heapMegabytes })
    )
  },
  {
    name: "none answers at the host of the emulator",
    says: "EmulatorError",
    phrases: ["none answers at 127.0.0.1:1", "DATASTORE_EMULATOR_HOST"],
    setups: {
      "at once": started({ host: "127.0.0.1:1" }),
      "in time": started({ host: "127.0.0.1:1", startTimeout: "100 millis" }),
      "variable": started({}, { DATASTORE_EMULATOR_HOST: " http://127.0.0.1:1/ " })
    }
  },
  {
    name: "`JAVA_HOME` is a file",
    says: "EmulatorError",
    phrases: ["JAVA_HOME is", "which is a file", "the folder of a Java runtime"],
    setups: { "a program": started({ host: "", jar: process.execPath }, { JAVA_HOME: process.execPath }) }
  },
  {
    name: "there is no Java",
    says: "EmulatorError",
    phrases: ["the emulator needs Java, and there is no", "Install a Java runtime"],
    setups: {
      "option": started({ host: "", jar: process.execPath, java: "/nowhere/java" }),
      "below a file": started({ host: "", jar: process.execPath, java: `${process.execPath}/bin/java` }),
      "JAVA_HOME": started({ host: "", jar: process.execPath }, { JAVA_HOME: "/nowhere" })
    }
  },
  {
    name: "the Java may not be run",
    says: "EmulatorError",
    phrases: ["Java could not be started", "a program that may be run"],
    setups: { "a file": Effect.suspend(() => started({ host: "", jar: process.execPath, java: notRunnable() })) }
  },
  {
    name: "the older Datastore emulator answers",
    says: "FailedPrecondition",
    phrases: ["the older Datastore emulator", "--database-mode=datastore-mode"],
    setups: {
      "a lookup": read({ response: { missing: [missingResult(wireKey("K", "a"), 1)], readTime: null } }),
      "a query": Effect.scoped(Effect.gen(function*() {
        const batch = { entityResults: [], moreResults: "MORE_RESULTS_AFTER_LIMIT", readTime: null }
        const { host } = yield* makeScriptedServer({ RunQuery: () => ({ response: { batch } }) })
        const backend = yield* GoogleDatastore.makeBackend({ projectId: "p", emulatorHost: host })
        return yield* Effect.flip(backend.query({ kind: "K" }))
      }))
    }
  },
  {
    name: "the emulator is out of memory",
    says: "Internal",
    phrases: ["most likely the emulator is out of memory", "heapMegabytes"],
    setups: { "a lookup": read({ code: 2, details: "Application error processing RPC" }) }
  }
]

const tagOf = (error: SetupError): string => error._tag === "DatastoreError" ? error.reason._tag : error._tag

const documented = readFileSync(join(import.meta.dirname, "../../docs/reference/errors.md"), "utf8")

for (const [title, rows] of Object.entries({ "the login": logins, "the place": places, emulators })) {
  describe(`A bad set-up of ${title}`, () => {
    for (const { name, phrases, says, setups } of rows) {
      it.live(name, () =>
        Effect.gen(function*() {
          for (const [setup, failing] of Object.entries(setups)) {
            const error = yield* failing as Effect.Effect<SetupError>
            assert.strictEqual(tagOf(error), says, `${setup}: ${error.message}`)
            for (const phrase of phrases) assert.include(error.message, phrase, setup)
            assert.deepStrictEqual(leaked(error), [], setup)
            if (title === "the login" || title === "the place") {
              assert.strictEqual((error as Partial<DatastoreError>).operation ?? "connect", "connect", setup)
            }
          }
          const row = documented.split("\n").find((line) => line.startsWith(`| ${name} `))
          assert.include(row ?? "", `\`${says}\``, "in docs/reference/errors.md")
        }))
    }
  })
}

describe("A good set-up", () => {
  it.live("the search for secrets finds them", () =>
    Effect.sync(() => {
      for (const secret of [pem, json, oneLine, base64, token, cut]) {
        assert.isAbove(leaked(new Error(`said ${secret}`)).length, 0)
        assert.isAbove(leaked(new Error("x", { cause: new Error(secret) })).length, 0)
      }
      rmSync(folder, { recursive: true })
    }))

  it.live("a private key may have its line breaks as \\n, and blanks around it", () =>
    Effect.gen(function*() {
      for (const privateKey of [pem.replaceAll("\n", "\\n"), ` ${pem} `, Redacted.make(pem)]) {
        const opened = GoogleDatastore.makeBackend({
          endpoint: "localhost:1",
          projectId: "p",
          credentials: { clientEmail: " a@b ", privateKey }
        })
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(within({}, Effect.scoped(Effect.asVoid(opened))))))
      }
    }))

  const lookups = makeScriptedServer({
    Lookup: () => ({ response: { missing: [missingResult(wireKey("K", "a"), 1)], readTime: timestamp(1) } })
  })

  it.live("a host may have blanks around it, http:// and a trailing /, in every place", () =>
    Effect.gen(function*() {
      const server = yield* lookups
      const port = server.host.slice(server.host.indexOf(":") + 1)
      for (
        const host of [` ${server.host}\n`, `http://${server.host}`, `HTTP://${server.host}/`, `localhost:${port}`]
      ) {
        for (const given of [{ emulatorHost: host }, {}]) {
          const opened = Effect.provide(Datastore.get(key), GoogleDatastore.layer({ projectId: "p", ...given }))
          yield* within({ DATASTORE_EMULATOR_HOST: host }, opened)
        }
      }
      assert.strictEqual(server.calls.length, 8)
    }))

  it.live("(default) is the default database", () =>
    Effect.gen(function*() {
      const server = yield* lookups
      const layer = GoogleDatastore.layer({ projectId: "p", databaseId: "(default)", emulatorHost: server.host })

      yield* Effect.provide(Datastore.get(key), layer)

      assert.isUndefined(server.calls[0]?.request.databaseId)
      assert.notInclude(JSON.stringify(server.calls[0]?.headers), "default")
    }))

  it.live("an emulator that is about to start is waited for, as long as startTimeout says", () =>
    Effect.gen(function*() {
      const { host, requests } = yield* Effect.acquireRelease(
        Effect.promise(() =>
          new Promise<{ readonly host: string; readonly requests: () => number; readonly close: () => void }>(
            (done) => {
              let requests = 0
              const server = createServer((_, response) => {
                response.statusCode = ++requests < 3 ? 503 : 200
                response.end("Ok")
              })
              server.listen(0, "127.0.0.1", () =>
                done({
                  host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
                  requests: () => requests,
                  close: () => server.close()
                }))
            }
          )
        ),
        ({ close }) => Effect.sync(close)
      )

      const running = yield* Effect.scoped(Emulator.start({ host: ` http://${host}/ `, startTimeout: "1 minute" }))

      assert.strictEqual(running.host, host)
      assert.strictEqual(requests(), 3)
    }))
})
