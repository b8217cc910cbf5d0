// Tokens that cannot be had after the layer was built: nothing is sent then, and no outcome is in doubt.
import { assert, describe, it } from "@effect/vitest"
import { credentials, Metadata } from "@grpc/grpc-js"
import { Effect } from "effect"
import { inspect } from "node:util"
import type { Backend } from "../../src/Backend.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { withoutPauses } from "../utils/scriptedBackend.ts"
import { entityResult, landed, makeScriptedServer, wireKey } from "../utils/scriptedServer.ts"

const key = Key.make("K", "a")

/** A login whose tokens come, or do not come, as a test says. */
class Login {
  next: () => Promise<unknown> = () => Promise.resolve(new Headers({ authorization: "Bearer t" }))
  /** So that the one of the prototype is replaced as well as one of the instance. */
  getRequestHeaders(): Promise<unknown> {
    return this.next()
  }
}

/** Credentials of a channel without TLS that ask a login for each call, as the client's own do over TLS. */
const withTokens = (login: Login) => {
  const tokens = credentials.createFromMetadataGenerator((_, done) => {
    login.getRequestHeaders().then(
      () => done(null, new Metadata()),
      (error: Error) => done(error)
    )
  })
  const channel = credentials.createInsecure() as any
  const original = channel._createSecureConnector
  channel._createSecureConnector = (...args: ReadonlyArray<unknown>) =>
    Object.assign(original.apply(channel, args), { getCallCredentials: () => tokens })
  return channel
}

const setUp = (options: GoogleDatastore.Options = {}) =>
  Effect.gen(function*() {
    const server = yield* makeScriptedServer({
      Lookup: () => ({ response: { found: [entityResult(wireKey("K", "a"), "x", 7)] } }),
      Commit: landed
    })
    const login = new Login()
    const backend = yield* GoogleDatastore.makeBackend({
      projectId: "scripted",
      endpoint: server.host,
      clientOptions: { authClient: login, sslCreds: withTokens(login), universeDomain: "googleapis.com" },
      ...options
    })
    return { backend, login, server }
  })

const put = (backend: Backend) =>
  backend.commit({ mutations: [{ _tag: "Upsert", entity: Entity.make(key, { n: 1 }) }], expected: [] })

const rejecting = (fields: object) => () =>
  Promise.reject(Object.assign(new Error("the login said no"), { config: { secret: "s3cret" }, ...fields }))

const down: ReadonlyArray<readonly [what: string, fields: object]> = [
  ["is busy", { status: 429, code: 429 }],
  ["has a failure of its own", { response: { status: 500 }, code: "500" }],
  ["is not there for now", { status: 503 }],
  ["says so by its code alone", { code: 503 }],
  ["cannot be reached", { code: "ECONNREFUSED" }],
  ["has no address", { cause: { code: "ENOTFOUND" } }],
  ["takes too long", { code: "TimeoutError" }]
]

const refused: ReadonlyArray<readonly [what: string, fields: object]> = [
  ["has expired", { status: 400, code: 400, message: "invalid_grant" }],
  ["is not known", { response: { status: 401 }, code: 401 }],
  // Taken for a number of gRPC, it would be an expectation that does not hold.
  ["has a number as its code", { code: 9 }],
  ["is not a login", {}]
]

describe("GoogleDatastore: a token that cannot be had", () => {
  it.effect.each(down)(
    "when the token server %s, a commit is Unavailable and not sent",
    ([, fields]) =>
      Effect.gen(function*() {
        const { backend, login, server } = yield* setUp()
        login.next = rejecting(fields)

        const error = yield* Effect.flip(put(backend))

        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.isTrue(error.isRetryable)
        assert.include(error.message, "nothing was sent")
        assert.notInclude(inspect(error, { depth: 20 }), "s3cret")
        assert.strictEqual(server.of("Commit").length, 0)
      })
  )

  it.effect.each(down)("when the token server %s, a read is tried again", ([, fields]) =>
    Effect.gen(function*() {
      const { backend, login } = yield* setUp()
      const { next } = login
      let failures = 0
      login.next = () => ++failures > 3 ? next() : rejecting(fields)()

      assert.lengthOf(yield* withoutPauses(backend.lookup([key])), 1)
    }))

  it.effect.each(refused)(
    "when the login %s, reads and commits are Unauthenticated, and not sent",
    ([, fields]) =>
      Effect.gen(function*() {
        const { backend, login, server } = yield* setUp()
        login.next = rejecting(fields)

        const errors = [yield* Effect.flip(backend.lookup([key])), yield* Effect.flip(put(backend))]

        for (const error of errors) {
          assert.strictEqual(error.reason._tag, "Unauthenticated")
          assert.isFalse(error.isRetryable)
          assert.notInclude(inspect(error, { depth: 20 }), "s3cret")
        }
        assert.strictEqual(server.calls.length, 0)
      })
  )

  it.effect("of a login that several layers share, it is the same", () =>
    Effect.gen(function*() {
      const { backend, login, server } = yield* setUp()
      yield* GoogleDatastore.makeBackend({
        projectId: "scripted",
        endpoint: server.host,
        clientOptions: { authClient: login, sslCreds: withTokens(login), universeDomain: "googleapis.com" }
      })
      login.next = rejecting({ status: 503 })

      const error = yield* Effect.flip(put(backend))

      assert.strictEqual(error.reason._tag, "Unavailable")
    }))

  it.effect("when the token server is down while the layer is built, that is Unavailable", () =>
    Effect.gen(function*() {
      const authClient = { getRequestHeaders: rejecting({ status: 503 }) }

      const error = yield* Effect.flip(
        GoogleDatastore.makeBackend({ projectId: "p", endpoint: "localhost:1", clientOptions: { authClient } })
      )

      assert.strictEqual(error.reason._tag, "Unavailable")
    }))

  it.live("when a token does not come in time, a commit is Unavailable and not sent", () =>
    Effect.gen(function*() {
      const { backend, login, server } = yield* setUp({ commitDeadline: 200 })
      login.next = () => new Promise(() => {})

      const error = yield* Effect.flip(put(backend))

      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.include(error.message, "no token in time")
      assert.strictEqual(server.calls.length, 0)
    }))

  it.effect("when it comes, commits are sent", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* setUp()

      yield* put(backend)

      assert.strictEqual(server.of("Commit").length, 1)
    }))
})
