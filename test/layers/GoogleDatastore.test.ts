// What only a scripted server can show: the requests themselves, batches, deferred keys, and failures by code.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option } from "effect"
import type { Snapshot } from "../../src/Backend.ts"
import * as Key from "../../src/Key.ts"
import { Code } from "../../src/layers/google/errors.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { faults, makeH2Proxy } from "../utils/h2Proxy.ts"
import { scripted, withoutPauses } from "../utils/scriptedBackend.ts"
import {
  type Answer,
  entityResult,
  landed,
  makeScriptedServer,
  missingResult,
  timestamp,
  wireKey
} from "../utils/scriptedServer.ts"

const a = Key.make("K", "a")
const b = Key.make("K", "b")
const c = Key.make("K", "c")

const found = (...results: ReadonlyArray<object>): Answer => ({
  response: { found: results, readTime: timestamp(100) }
})

const valueOf = (snapshot: Snapshot) => Option.getOrUndefined(snapshot.entity)?.properties["value"]

const batch = (results: ReadonlyArray<object>, more: string, endCursor = ""): Answer => ({
  response: {
    batch: {
      entityResultType: "FULL",
      entityResults: results,
      moreResults: more,
      endCursor: Buffer.from(endCursor)
    }
  }
})

describe("GoogleDatastore: lookups", () => {
  it.effect("keys go out in one strongly consistent lookup, outside of any transaction", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Lookup: () => found(entityResult(wireKey("K", "a"), "x", 7)) })

      const [snapshot] = yield* backend.lookup([a])

      assert.deepStrictEqual(server.calls.map(({ method, request }) => ({ method, request })), [{
        method: "Lookup",
        request: { projectId: "scripted", keys: [{ path: [{ kind: "K", name: "a" }] }] }
      }])
      assert.strictEqual(server.calls[0]!.headers["x-goog-request-params"], "project_id=scripted")
      assert.strictEqual(valueOf(snapshot!), "x")
      assert.strictEqual(snapshot!.version, BigInt(7))
    }))

  it.effect("database and namespace go with the request, its routing header and every key", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        Lookup: () => found(entityResult(wireKey("K", "a"), "x", 7)),
        RunQuery: () => batch([], "NO_MORE_RESULTS")
      }, { databaseId: "db", namespace: "ns" })
      const partitionId = { projectId: "scripted", databaseId: "db", namespaceId: "ns" }

      yield* backend.lookup([a])
      yield* backend.query({ kind: "K", ancestor: b })

      const [lookup, query] = server.calls
      assert.deepInclude(lookup!.request, { databaseId: "db" })
      assert.deepStrictEqual(lookup!.request.keys, [{ partitionId, path: [{ kind: "K", name: "a" }] }])
      assert.strictEqual(lookup!.headers["x-goog-request-params"], "project_id=scripted&database_id=db")
      assert.deepInclude(query!.request, { databaseId: "db", partitionId })
    }))

  it.effect("snapshots stand in the order of the keys, missing ones with the version that the server reported", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({
        Lookup: () => ({
          response: {
            found: [entityResult(wireKey("K", "c"), "z", 3), entityResult(wireKey("K", "a"), "x", 1)],
            missing: [missingResult(wireKey("K", "b"), 777)],
            readTime: timestamp(9)
          }
        })
      })

      const snapshots = yield* backend.lookup([a, b, c])

      assert.deepStrictEqual(snapshots.map(valueOf), ["x", undefined, "z"])
      assert.deepStrictEqual(snapshots.map(({ version }) => version), [1, 777, 3].map(BigInt))
    }))

  it.effect("results in the order of the keys come back with the very keys that were asked for", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({
        Lookup: () => ({
          response: {
            found: [entityResult(wireKey("K", "a"), "x", 1), entityResult(wireKey("K", "c"), "z", 3)],
            missing: [missingResult(wireKey("K", "b"), 777)],
            readTime: timestamp(9)
          }
        })
      })

      const snapshots = yield* backend.lookup([a, b, c])

      assert.deepStrictEqual(snapshots.map(valueOf), ["x", undefined, "z"])
      for (const [index, key] of [a, b, c].entries()) assert.strictEqual(snapshots[index]!.key, key)
    }))

  it.effect("a response that says one key twice and another not at all cannot be used", () =>
    Effect.gen(function*() {
      const twice = { found: [entityResult(wireKey("K", "a"), "x", 1), entityResult(wireKey("K", "a"), "x", 1)] }
      const { backend } = yield* scripted({ Lookup: () => ({ response: { ...twice, readTime: timestamp(9) } }) })

      for (const keys of [[a, b], [b, a]]) {
        const error = yield* Effect.flip(backend.lookup(keys))

        assert.include(error.message, "it said nothing about K,\"b\"")
      }
    }))

  // One call is one consistent read, so what was deferred is read as of the moment of the rest.
  it.effect("deferred keys are read as of the time of the first response", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        Lookup: (_, nth) => ({
          response: [
            {
              found: [entityResult(wireKey("K", "b"), "y", 2)],
              deferred: [wireKey("K", "a"), wireKey("K", "c")],
              readTime: timestamp(50)
            },
            { missing: [missingResult(wireKey("K", "c"), 5)], deferred: [wireKey("K", "a")], readTime: timestamp(50) },
            { found: [entityResult(wireKey("K", "a"), "x", 1)], readTime: timestamp(50) }
          ][nth]!
        })
      })

      const snapshots = yield* backend.lookup([a, b, c])

      assert.deepStrictEqual(snapshots.map(valueOf), ["x", "y", undefined])
      assert.deepStrictEqual(server.calls.map(({ request }) => request.readOptions), [
        undefined,
        { readTime: { seconds: "1700000000", nanos: 50_000 } },
        { readTime: { seconds: "1700000000", nanos: 50_000 } }
      ])
      assert.deepStrictEqual(
        server.calls.map(({ request }) => request.keys.map((key: any) => key.path[0].name).join("")),
        ["abc", "ac", "a"]
      )
    }))

  it.effect("more than 1,000 keys are read in several lookups, and none without a lookup", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        Lookup: ({ request }) => ({
          response: { missing: request.keys.map((key: object) => missingResult(key, 1)), readTime: timestamp(1) }
        })
      })
      const keys = Array.from({ length: 2_001 }, (_, index) => Key.make("K", index + 1))

      const snapshots = yield* backend.lookup(keys)
      const none = yield* backend.lookup([])

      assert.deepStrictEqual(snapshots.map(({ key }) => key.id), keys.map(({ id }) => id))
      assert.deepStrictEqual(server.calls.map(({ request }) => request.keys.length).toSorted(), [1, 1_000, 1_000])
      assert.deepStrictEqual(none, [])
    }))

  const unusable: ReadonlyArray<readonly [what: string, response: object]> = [
    ["that says nothing about a key", { found: [], readTime: timestamp(1) }],
    ["that defers every key", { deferred: [wireKey("K", "a")], readTime: timestamp(1) }],
    ["without the version of the entity", { found: [{ ...entityResult(wireKey("K", "a"), "x", 1), version: 0 }] }]
  ]
  it.effect.each(unusable)("a response %s is an Internal error", ([, response]) =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ Lookup: () => ({ response }) })

      const error = yield* Effect.flip(backend.lookup([a]))

      assert.strictEqual(error.reason._tag, "Internal")
    }))

  it.effect("a response that is no message is an Internal error", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ Lookup: () => ({ bytes: Buffer.from("0affff", "hex") }) })

      const error = yield* Effect.flip(backend.lookup([a]))

      assert.strictEqual(error.reason._tag, "Internal")
    }))
})

describe("GoogleDatastore: queries", () => {
  it.effect("a query asks for its kind, range and limit in ascending key order", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ RunQuery: () => batch([], "NO_MORE_RESULTS") })

      yield* backend.query({
        kind: "K",
        ancestor: Key.make("P", 1),
        from: { key: a, inclusive: false },
        to: { key: b, inclusive: true },
        limit: 5,
        keysOnly: true
      })
      yield* backend.query({ kind: "K", from: { key: a, inclusive: true }, to: { key: b, inclusive: false } })
      yield* backend.query({ kind: "K" })

      const keyFilter = (op: string, path: object) => ({
        propertyFilter: { property: { name: "__key__" }, op, value: { keyValue: { path: [path] } } }
      })
      const order = [{ property: { name: "__key__" }, direction: "ASCENDING" }]
      assert.deepStrictEqual(server.calls.map(({ request }) => request.query), [
        {
          kind: [{ name: "K" }],
          projection: [{ property: { name: "__key__" } }],
          filter: {
            compositeFilter: {
              op: "AND",
              filters: [
                keyFilter("HAS_ANCESTOR", { kind: "P", id: "1" }),
                keyFilter("GREATER_THAN", { kind: "K", name: "a" }),
                keyFilter("LESS_THAN_OR_EQUAL", { kind: "K", name: "b" })
              ]
            }
          },
          order,
          limit: { value: 5 }
        },
        {
          kind: [{ name: "K" }],
          filter: {
            compositeFilter: {
              op: "AND",
              filters: [
                keyFilter("GREATER_THAN_OR_EQUAL", { kind: "K", name: "a" }),
                keyFilter("LESS_THAN", { kind: "K", name: "b" })
              ]
            }
          },
          order
        },
        { kind: [{ name: "K" }], order }
      ])
    }))

  it.effect("unfinished batches are followed to the end, with a lower limit each", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        RunQuery: (_, nth) =>
          [
            batch([entityResult(wireKey("K", "a"), "x", 1)], "NOT_FINISHED", "one"),
            batch([], "NOT_FINISHED", "two"),
            batch([entityResult(wireKey("K", "b"), "y", 2)], "NOT_FINISHED", "three"),
            batch([entityResult(wireKey("K", "c"), "z", 3)], "MORE_RESULTS_AFTER_LIMIT", "four")
          ][nth]!
      })

      const { results } = yield* backend.query({ kind: "K", limit: 3 })

      assert.deepStrictEqual(results.map(valueOf), ["x", "y", "z"])
      const asked = server.calls.map(({ request: { query } }) => [
        query.startCursor === undefined ? undefined : String(query.startCursor),
        query.limit.value
      ])
      assert.deepStrictEqual(asked, [[undefined, 3], ["one", 2], ["two", 2], ["three", 1]])
    }))

  it.effect("unfinished batches are not followed beyond `maxBytes`, and the result says so", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        RunQuery: (_, call) =>
          [
            batch([], "NOT_FINISHED", "one"),
            batch([entityResult(wireKey("K", "a"), "x".repeat(500), 1)], "NOT_FINISHED", "two"),
            batch([entityResult(wireKey("K", "b"), "x".repeat(500), 1)], "NOT_FINISHED", "three"),
            batch([entityResult(wireKey("K", "c"), "x", 1)], "NO_MORE_RESULTS")
          ][call]!
      })

      const bounded = yield* backend.query({ kind: "K", maxBytes: 900 })
      assert.deepStrictEqual(bounded.results.map(({ key }) => key.id), ["a", "b"])
      assert.isTrue(bounded.isCutOff)
      assert.lengthOf(server.calls, 3)
    }))

  it.effect("a query that came to its end within `maxBytes` or not is not cut off", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({
        RunQuery: () => batch([entityResult(wireKey("K", "a"), "x".repeat(500), 1)], "NO_MORE_RESULTS")
      })

      assert.isUndefined((yield* backend.query({ kind: "K", maxBytes: 10 })).isCutOff)
    }))

  it.effect("an unfinished batch that fills the limit is the last", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        RunQuery: () => batch([entityResult(wireKey("K", "a"), "x", 1)], "NOT_FINISHED", "one")
      })

      const { results } = yield* backend.query({ kind: "K", limit: 1 })

      assert.strictEqual(results.length, 1)
      assert.strictEqual(server.calls.length, 1)
    }))

  it.effect("a batch that fails after others is asked for again alone", () =>
    withoutPauses(Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        RunQuery: (_, nth) =>
          [
            batch([entityResult(wireKey("K", "a"), "x", 1)], "NOT_FINISHED", "one"),
            { code: Code.unavailable },
            batch([entityResult(wireKey("K", "b"), "y", 2)], "NO_MORE_RESULTS")
          ][nth]!
      })

      const { results } = yield* backend.query({ kind: "K" })

      assert.deepStrictEqual(results.map(valueOf), ["x", "y"])
      assert.deepStrictEqual(
        server.calls.map(({ request: { query } }) => String(query.startCursor ?? "")),
        ["", "one", "one"]
      )
    })))

  const unusable: ReadonlyArray<readonly [what: string, answer: Answer]> = [
    ["that is unfinished and has no cursor", batch([entityResult(wireKey("K", "a"), "x", 1)], "NOT_FINISHED")],
    ["that is unfinished and does not advance", batch([], "NOT_FINISHED", "same")],
    ["that does not say whether it is complete", { response: { batch: { entityResults: [] } } }],
    ["that says it in a word of its own", { bytes: Buffer.from([0x0a, 0x04, 0x28, 0x63, 0x42, 0x00]) }],
    ["that is cut short", { bytes: Buffer.from([0x0a, 0x05, 0x28, 0x03]) }],
    ["that is missing", { response: {} }]
  ]
  it.effect.each(unusable)("a batch %s is an Internal error", ([, answer]) =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ RunQuery: () => answer })

      const error = yield* Effect.flip(backend.query({ kind: "K" }))

      assert.strictEqual(error.reason._tag, "Internal")
    }))

  it.effect.each([0, -1, 1.5, NaN])(
    "a limit of %s is refused before anything is sent",
    (limit) =>
      Effect.gen(function*() {
        const { backend, server } = yield* scripted({})

        const error = yield* Effect.flip(backend.query({ kind: "K", limit }))

        assert.strictEqual(error.reason._tag, "InvalidArgument")
        assert.strictEqual(server.calls.length, 0)
      })
  )

  // Production reports no versions for keys alone, the emulator does; and a no-op write of one would empty the entity.
  it.effect("the snapshot of a query for keys cannot be expected", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        RunQuery: () => batch([{ entity: { key: wireKey("K", "a") } }], "NO_MORE_RESULTS")
      })
      const { results } = yield* backend.query({ kind: "K", keysOnly: true })

      const exit = yield* Effect.exit(backend.commit({ mutations: [{ _tag: "Delete", key: a }], expected: results }))

      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(server.of("Commit").length, 0)
    }))
})

describe("GoogleDatastore: retries of reads", () => {
  const fine = found(entityResult(wireKey("K", "a"), "x", 1))

  it.effect.each(
    [
      ["UNAVAILABLE", Code.unavailable],
      ["DEADLINE_EXCEEDED", Code.deadlineExceeded],
      ["RESOURCE_EXHAUSTED", Code.resourceExhausted],
      ["ABORTED", Code.aborted],
      ["CANCELLED", Code.cancelled]
    ] as const
  )("%s is tried again until it succeeds", ([, code]) =>
    withoutPauses(Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Lookup: (_, nth) => nth < 3 ? { code } : fine })

      const [snapshot] = yield* backend.lookup([a])

      assert.strictEqual(valueOf(snapshot!), "x")
      assert.strictEqual(server.calls.length, 4)
    })))

  it.effect("INTERNAL is tried again once", () =>
    withoutPauses(Effect.gen(function*() {
      const once = yield* scripted({ Lookup: (_, nth) => nth < 1 ? { code: Code.internal } : fine })
      const twice = yield* scripted({ Lookup: (_, nth) => nth < 2 ? { code: Code.internal } : fine })

      assert.strictEqual(valueOf((yield* once.backend.lookup([a]))[0]!), "x")
      assert.strictEqual((yield* Effect.flip(twice.backend.lookup([a]))).reason._tag, "Internal")
      assert.strictEqual(twice.server.calls.length, 2)
    })))

  it.effect.each(
    [
      ["InvalidArgument", Code.invalidArgument],
      ["NotFound", Code.notFound],
      ["PermissionDenied", Code.permissionDenied],
      ["FailedPrecondition", Code.failedPrecondition],
      ["Unauthenticated", Code.unauthenticated],
      ["Internal", Code.unknown]
    ] as const
  )("%s is final, and carries what the server said", ([tag, code]) =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Lookup: () => ({ code, details: "said so" }) })

      const error = yield* Effect.flip(backend.lookup([a]))

      assert.strictEqual(error.reason._tag, tag)
      assert.include(error.message, "said so")
      assert.include(error.message, a.toString())
      assert.isFalse(error.isRetryable)
      assert.strictEqual(server.calls.length, 1)
    }))

  it.effect("tries end within the read deadline, with the last failure and not a new one", () =>
    withoutPauses(Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Lookup: () => ({ code: Code.unavailable }) }, {
        readDeadline: 3_000
      })

      const error = yield* Effect.flip(backend.lookup([a]))

      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.isTrue(error.isRetryable)
      // Pauses of 50, 100, … 800 ms are 1,550 ms before jitter; another of 1,600 would not end in time.
      assert.strictEqual(server.calls.length, 6)
    })))

  it.live("a try without an answer ends in time for another one", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Lookup: (_, nth) => nth === 0 ? "never" : fine }, {
        readDeadline: 1_000
      })

      const [snapshot] = yield* backend.lookup([a])

      assert.strictEqual(valueOf(snapshot!), "x")
      assert.strictEqual(server.calls.length, 2)
    }))

  it.live("a read whose tries are not answered ends with its deadline, and not so long after its first failure", () =>
    Effect.gen(function*() {
      const rpcs: Array<string> = []
      const { backend } = yield* scripted({ Lookup: () => "never" }, {
        readDeadline: 1_000,
        onRpc: (method) => rpcs.push(method)
      })

      const error = yield* Effect.flip(backend.lookup([a]))

      assert.strictEqual(error.reason._tag, "DeadlineExceeded")
      // Each has half of the time; there is none left for a third.
      assert.isAtMost(rpcs.length, 2)
    }))

  it.live("an interrupted read is cancelled at the server", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Lookup: () => "never" })
      const fiber = yield* Effect.forkChild(backend.lookup([a]))
      while (server.calls.length === 0) yield* Effect.sleep(1)

      yield* Fiber.interrupt(fiber)

      while (!server.calls[0]!.cancelled) yield* Effect.sleep(1)
      assert.strictEqual(server.calls.length, 1)
    }))

  // What only a proxy has said may pass, as while a service is being moved; but it is not waited for all the time.
  it.effect("a read that a proxy refuses again and again is Unavailable after six tries, not refused by Datastore", () =>
    withoutPauses(Effect.gen(function*() {
      const server = yield* makeScriptedServer({ Lookup: () => fine })
      const proxy = yield* makeH2Proxy(server.host)
      const backend = yield* GoogleDatastore.makeBackend({ projectId: "scripted", emulatorHost: proxy.host })
      for (const status of [401, 403, 404]) {
        const fault = faults.find(({ name }) => name === `HTTP ${status} with a page`)!
        const tries = Array.from({ length: 7 }, () => proxy.arm("Lookup", fault, "before"))

        const error = yield* Effect.flip(backend.lookup([a]))

        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.deepStrictEqual(tries.map((has) => has()), [true, true, true, true, true, true, false])
        assert.lengthOf(server.calls, 0)
        proxy.disarm()
      }
      assert.lengthOf(yield* backend.lookup([a]), 1)
    })))

  it.effect("every try is reported to onRpc", () =>
    withoutPauses(Effect.gen(function*() {
      const rpcs: Array<string> = []
      const { backend } = yield* scripted({
        Lookup: (_, nth) => nth < 2 ? { code: Code.unavailable } : fine,
        RunQuery: () => batch([], "NO_MORE_RESULTS"),
        Commit: landed
      }, { onRpc: (method) => rpcs.push(method) })

      const expected = yield* backend.lookup([a])
      yield* backend.query({ kind: "K" })
      yield* backend.commit({ mutations: [{ _tag: "Delete", key: b }], expected })

      assert.deepStrictEqual(rpcs, ["Lookup", "Lookup", "Lookup", "RunQuery", "Commit"])
    })))
})
