// The commit as the server sees it, and what each of its answers means.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { type AddressInfo, createServer, type Server } from "node:net"
import type { Backend, CommitRequest, Mutation } from "../../src/Backend.ts"
import * as Entity from "../../src/Entity.ts"
import type { ContentionError, DatastoreError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import { Code } from "../../src/layers/google/errors.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { scripted } from "../utils/scriptedBackend.ts"
import {
  type Answer,
  type Call,
  entityResult,
  landed,
  missingResult,
  type Script,
  timestamp,
  wireKey
} from "../utils/scriptedServer.ts"

const there = Key.make("K", "there")
const missing = Key.make("K", "missing")
const other = Key.make("K", "other")
const box = Key.make("Box", "b")
const entity = (key: Key.Key) => Entity.make(key, { value: "new" })
const upsertOther: Mutation = { _tag: "Upsert", entity: entity(other) }

/** One entity is there at version 7, all others are missing at version 777: in production missing ones have one too. */
const lookupAll = ({ request }: Call): Answer => {
  const isThere = (key: any) => key.path[0].name === "there"
  return {
    response: {
      found: request.keys.filter(isThere).map(() => entityResult(wireKey("K", "there"), "old", 7)),
      missing: request.keys.filter((key: any) => !isThere(key)).map((key: object) => missingResult(key, 777)),
      readTime: timestamp(777)
    }
  }
}

const commits: Script = { Lookup: lookupAll, Commit: landed }

/** Writes of a megabyte each. */
const blobs = (count: number): ReadonlyArray<Mutation> =>
  Array.from({ length: count }, (_, index) => ({
    _tag: "Upsert",
    entity: Entity.make(Key.make("K", index + 1), { blob: new Uint8Array(1_000_000) }, { unindexed: "all" })
  }))

const snapshotOf = (backend: Backend, key: Key.Key) => Effect.map(backend.lookup([key]), ([snapshot]) => snapshot!)

const reasonOf = (error: ContentionError | DatastoreError) => `${error._tag}/${error.reason._tag}`

const failing = (code: number, request: CommitRequest, lookup = lookupAll) =>
  Effect.gen(function*() {
    const { backend, server } = yield* scripted({ Lookup: lookup, Commit: () => ({ code, details: "scripted" }) })
    const error = yield* Effect.flip(backend.commit(request))
    assert.strictEqual(server.of("Commit").length, 1)
    return { error, lookups: server.of("Lookup").length }
  })

describe("GoogleDatastore: the requests of a commit", () => {
  const sent = "wire form of each pair"
  const unusedName = "eventbox_expects_no_change"
  const stored = { value: { stringValue: "new" } }
  const at = (baseVersion: string) => ({ baseVersion, conflictResolutionStrategy: "FAIL" })
  const written = (name: string) => ({ key: { path: [{ kind: "K", name }] }, properties: stored })
  const pairs: ReadonlyArray<readonly [name: string, Mutation["_tag"] | "None", Key.Key, boolean, object]> = [
    ["Insert", "Insert", there, false, { insert: written("there") }],
    ["Insert, expected absent", "Insert", missing, true, { insert: written("missing") }],
    ["Upsert", "Upsert", there, false, { upsert: written("there") }],
    ["Upsert, expected present", "Upsert", there, true, { upsert: written("there"), ...at("7") }],
    ["Upsert, expected absent", "Upsert", missing, true, { insert: written("missing") }],
    ["Patch", "Patch", there, false, { upsert: written("there"), propertyMask: { paths: ["value"] } }],
    ["Patch, expected present", "Patch", there, true, {
      upsert: written("there"),
      propertyMask: { paths: ["value"] },
      ...at("7")
    }],
    ["Patch, expected absent", "Patch", missing, true, { insert: written("missing") }],
    ["Delete", "Delete", there, false, { delete: { path: [{ kind: "K", name: "there" }] } }],
    ["Delete, expected present", "Delete", there, true, {
      delete: { path: [{ kind: "K", name: "there" }] },
      ...at("7")
    }],
    ["Delete, expected absent", "Delete", missing, true, {
      delete: { path: [{ kind: "K", name: "missing" }] },
      ...at("777")
    }],
    ["not written, expected present", "None", there, true, {
      update: { key: { path: [{ kind: "K", name: "there" }] } },
      propertyMask: { paths: [unusedName] },
      ...at("7")
    }],
    ["not written, expected absent", "None", missing, true, {
      delete: { path: [{ kind: "K", name: "missing" }] },
      ...at("777")
    }]
  ]
  it.effect.each(pairs)(`${sent}: %s`, ([, tag, key, expected, mutation]) =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(commits)
      const snapshot = yield* snapshotOf(backend, key)
      const own: ReadonlyArray<Mutation> = tag === "None"
        ? []
        : [tag === "Delete" ? { _tag: tag, key } : { _tag: tag, entity: entity(key) }]

      yield* backend.commit({ mutations: [...own, upsertOther], expected: expected ? [snapshot] : [] })

      const upsert = { upsert: written("other") }
      assert.deepStrictEqual(server.of("Commit").map(({ request }) => request), [{
        projectId: "scripted",
        mode: "TRANSACTIONAL",
        singleUseTransaction: { readWrite: {} },
        mutations: tag === "None" ? [upsert, mutation] : [mutation, upsert]
      }])
      assert.strictEqual(server.of("BeginTransaction").length, 0)
    }))

  it.effect("a commit that cannot succeed is never sent: it inserts what is expected to be there", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(commits)
      const expected = [yield* snapshotOf(backend, there)]

      const error = yield* Effect.flip(
        backend.commit({ mutations: [{ _tag: "Insert", entity: entity(there) }], expected })
      )

      assert.strictEqual(reasonOf(error), "DatastoreError/AlreadyExists")
      assert.deepStrictEqual("keys" in error && error.keys?.map(String), [there.toString()])
      assert.strictEqual(server.of("Commit").length, 0)
    }))

  it.effect("the mask of an expectation names a property that the entity does not have", () =>
    Effect.gen(function*() {
      const properties = {
        [unusedName]: { stringValue: "" },
        nested: { entityValue: { properties: { [`${unusedName}1`]: { stringValue: "" } } } },
        text: { stringValue: `${unusedName}2`, excludeFromIndexes: true }
      }
      const found = [{ entity: { key: wireKey("K", "there"), properties }, version: 7 }]
      const { backend, server } = yield* scripted({ ...commits, Lookup: () => ({ response: { found } }) })
      const expected = [yield* snapshotOf(backend, there)]

      yield* backend.commit({ mutations: [], expected })

      assert.deepStrictEqual(server.of("Commit")[0]!.request.mutations, [{
        update: { key: { path: [{ kind: "K", name: "there" }] } },
        propertyMask: { paths: [`${unusedName}3`] },
        ...at("7")
      }])
    }))

  it.effect("names that are no plain words stand in backticks in the mask of a patch", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(commits)
      const patch = Entity.make(there, { _a1: 0, "a.b": 1, "c\\`d": 2, "1": 3, "é": 4 })

      yield* backend.commit({ mutations: [{ _tag: "Patch", entity: patch }], expected: [] })

      assert.deepStrictEqual(
        new Set(server.of("Commit")[0]!.request.mutations[0].propertyMask.paths),
        new Set(["_a1", "`a.b`", "`c\\\\\\`d`", "`1`", "`é`"])
      )
    }))

  // The emulator takes 3 s for 10,000 deletes.
  it.effect("a commit has a millisecond more for each of its mutations", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(commits)
      const deletes = (count: number) =>
        Array.from({ length: count }, (_, index): Mutation => ({ _tag: "Delete", key: Key.make("K", index + 1) }))

      yield* backend.commit({ mutations: deletes(1), expected: [] })
      yield* backend.commit({ mutations: deletes(20_000), expected: [] })

      const [one, many] = server.of("Commit").map(({ timeoutMillis }) => timeoutMillis)
      assert.isAtMost(one!, 10_001)
      assert.isAbove(many!, 20_000)
      assert.isAtMost(many!, 30_000)
    }))

  it.effect("a commit of nothing sends nothing", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({})

      yield* backend.commit({ mutations: [], expected: [] })

      assert.strictEqual(server.calls.length, 0)
    }))

  const path = Array.from({ length: 5 }, (_, index) => ["K", `${index}${"é".repeat(700)}`]).flat()
  it.effect.each([
    ["two mutations of one key", [upsertOther, { _tag: "Delete", key: other }]],
    ["a value without a stored form", [{ _tag: "Upsert", entity: Entity.make(other, { at: new Date(0) as never }) }]],
    ["a lone surrogate", [{ _tag: "Upsert", entity: Entity.make(other, { text: "\ud800" }) }]],
    ["a patch of nothing", [{ _tag: "Patch", entity: Entity.make(other, {}) }]],
    ["a key of more than 6 KiB", [{
      _tag: "Delete",
      key: Key.fromPathUnsafe(
        path.flatMap((kind, index) => index % 2 === 0 ? [{ kind, id: path[index + 1]! }] : []) as never
      )
    }]]
  ] as ReadonlyArray<readonly [string, ReadonlyArray<Mutation>]>)(
    "%s: InvalidArgument, before anything is sent",
    ([, mutations]) =>
      Effect.gen(function*() {
        const { backend, server } = yield* scripted({})

        const error = yield* Effect.flip(backend.commit({ mutations, expected: [] }))

        assert.strictEqual(reasonOf(error), "DatastoreError/InvalidArgument")
        assert.strictEqual(server.calls.length, 0)
      })
  )

  for (const unwrittenExpectations of ["noop", "interactive"] as const) {
    it.effect(`more than 4 MiB for the emulator: TooLarge, before anything is sent (${unwrittenExpectations})`, () =>
      Effect.gen(function*() {
        const { backend, server } = yield* scripted(commits, { unwrittenExpectations })
        const expected = [yield* snapshotOf(backend, there)]

        const error = yield* Effect.flip(backend.commit({ mutations: blobs(5), expected }))

        assert.strictEqual(reasonOf(error), "DatastoreError/TooLarge")
        assert.isFalse(error.isRetryable)
        assert.deepStrictEqual(server.calls.map(({ method }) => method), ["Lookup"])
      }))
  }

  it.effect("two expectations of one key are refused", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted(commits)
      const snapshot = yield* snapshotOf(backend, there)

      const error = yield* Effect.flip(backend.commit({ mutations: [upsertOther], expected: [snapshot, snapshot] }))

      assert.strictEqual(reasonOf(error), "DatastoreError/InvalidArgument")
    }))

  it.effect("a snapshot of another backend cannot be expected", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(commits)
      const foreign = yield* snapshotOf(yield* InMemory.makeBackend, there)

      const exit = yield* Effect.exit(backend.commit({ mutations: [upsertOther], expected: [foreign] }))

      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(server.of("Commit").length, 0)
    }))
})

/** A host that takes connections and never says a word: gRPC waits for its first one. */
const silentHost = Effect.map(
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1", () => {
        resume(Effect.succeed(server))
      })
    }),
    (server) => Effect.sync(() => server.close())
  ),
  (server) => `127.0.0.1:${(server.address() as AddressInfo).port}`
)

describe("GoogleDatastore: the answers to a commit", () => {
  const blind: CommitRequest = { mutations: [upsertOther], expected: [] }

  // None of these tells whether the commit landed; a second one might land twice.
  it.effect.each(
    [
      ["UNAVAILABLE", Code.unavailable],
      ["DEADLINE_EXCEEDED", Code.deadlineExceeded],
      ["INTERNAL", Code.internal],
      ["UNKNOWN", Code.unknown],
      ["CANCELLED", Code.cancelled],
      ["DATA_LOSS", Code.dataLoss],
      // The client makes it of a success without a message, and the headers are then the server's.
      ["UNIMPLEMENTED", Code.unimplemented]
    ] as const
  )("%s leaves the outcome unknown, and the commit is sent once", ([, code]) =>
    Effect.gen(function*() {
      const { error } = yield* failing(code, blind)

      assert.strictEqual(reasonOf(error), "DatastoreError/OutcomeUnknown")
      assert.isFalse(error.isRetryable)
      assert.include(error.message, other.toString())
    }))

  it.effect.each(
    [
      ["InvalidArgument", Code.invalidArgument],
      ["PermissionDenied", Code.permissionDenied],
      ["ResourceExhausted", Code.resourceExhausted],
      ["Unauthenticated", Code.unauthenticated],
      ["FailedPrecondition", Code.failedPrecondition],
      ["NotFound", Code.notFound]
    ] as const
  )(
    "%s means that nothing was written, and the commit is sent once (code %s)",
    ([tag, code]) =>
      Effect.gen(function*() {
        const { error, lookups } = yield* failing(code, blind)

        assert.strictEqual(reasonOf(error), `DatastoreError/${tag}`)
        assert.strictEqual(lookups, 0)
      })
  )

  it.effect("ABORTED is contention", () =>
    Effect.gen(function*() {
      const { error } = yield* failing(Code.aborted, blind)

      assert.strictEqual(reasonOf(error), "ContentionError/Aborted")
    }))

  it.effect("FAILED_PRECONDITION is contention when a version was expected, and names what was expected", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ ...commits, Commit: () => ({ code: Code.failedPrecondition }) })
      const expected = yield* backend.lookup([there, missing])

      const error = yield* Effect.flip(backend.commit({ mutations: [upsertOther], expected }))

      assert.strictEqual(reasonOf(error), "ContentionError/EntityChanged")
      assert.include(error.message, `one of ${there}, ${missing} was changed`)
    }))

  it.effect("contention names three keys at most: the first that were expected", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ ...commits, Commit: () => ({ code: Code.failedPrecondition }) })
      const items = Array.from({ length: 200 }, (_, index) => Key.child(box, "dsset.Item", `i${index}`))
      const head = Key.child(box, "dsset.Tombstones", 1)
      const expected = yield* backend.lookup([there, head, ...items])

      const error = yield* Effect.flip(backend.commit({ mutations: [upsertOther], expected }))

      assert.include(error.message, `one of ${there}, ${head}, ${items[0]} and 199 more was changed`)
      const keys = error.reason._tag === "EntityChanged" ? error.reason.keys : []
      assert.deepStrictEqual(keys.map(String), [there, head, items[0]].map(String))
    }))

  it.effect("ALREADY_EXISTS on an expected absence is contention, without a lookup", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ ...commits, Commit: () => ({ code: Code.alreadyExists }) })
      const expected = [yield* snapshotOf(backend, missing)]
      const commit = (tag: "Insert" | "Upsert") =>
        Effect.flip(backend.commit({ mutations: [{ _tag: tag, entity: entity(missing) }], expected }))

      assert.strictEqual(reasonOf(yield* commit("Insert")), "ContentionError/EntityChanged")
      assert.strictEqual(reasonOf(yield* commit("Upsert")), "ContentionError/EntityChanged")
      assert.strictEqual(server.of("Lookup").length, 1)
    }))

  const insert = (key: Key.Key): Mutation => ({ _tag: "Insert", entity: entity(key) })

  it.effect("ALREADY_EXISTS on an insert is AlreadyExists, and a lookup tells which", () =>
    Effect.gen(function*() {
      const { error, lookups } = yield* failing(Code.alreadyExists, {
        mutations: [insert(missing), insert(there)],
        expected: []
      })

      assert.strictEqual(reasonOf(error), "DatastoreError/AlreadyExists")
      assert.deepStrictEqual("keys" in error && error.keys?.map(String), [there.toString()])
      assert.strictEqual(lookups, 1)
    }))

  it.effect("ALREADY_EXISTS on an insert of what is gone again is contention", () =>
    Effect.gen(function*() {
      const { error } = yield* failing(Code.alreadyExists, { mutations: [insert(missing)], expected: [] })

      assert.strictEqual(reasonOf(error), "ContentionError/Aborted")
    }))

  // The caller's mistake is one only while everything that it rests on is true.
  it.effect("ALREADY_EXISTS on an insert is contention when an expected entity changed as well", () =>
    Effect.gen(function*() {
      let version = 6
      const lookup = ({ request }: Call): Answer => ({
        response: {
          found: request.keys.map((key: any) => entityResult(wireKey("K", key.path[0].name), "x", ++version)),
          readTime: timestamp(100)
        }
      })
      const { backend } = yield* scripted({ Lookup: lookup, Commit: () => ({ code: Code.alreadyExists }) })
      const expected = [yield* snapshotOf(backend, there)]

      const error = yield* Effect.flip(backend.commit({ mutations: [insert(other)], expected }))

      assert.strictEqual(reasonOf(error), "ContentionError/EntityChanged")
    }))

  const notFound = (lookup: (call: Call, nth: number) => Answer) =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ Lookup: lookup, Commit: () => ({ code: Code.notFound }) })
      const expected = [yield* snapshotOf(backend, there)]
      return yield* Effect.flip(backend.commit({ mutations: [upsertOther], expected }))
    })

  it.effect("NOT_FOUND because there is no such database is NotFound", () =>
    Effect.gen(function*() {
      const error = yield* notFound((call, nth) =>
        nth === 0 ? lookupAll(call) : { code: Code.notFound, details: "no such database" }
      )

      assert.strictEqual(reasonOf(error), "DatastoreError/NotFound")
      assert.include(error.message, "no such database")
    }))

  it.effect("NOT_FOUND of an entity that was expected to be there is contention", () =>
    Effect.gen(function*() {
      const error = yield* notFound((call, nth) =>
        nth === 0 ? lookupAll(call) : { response: { missing: [missingResult(wireKey("K", "there"), 900)] } }
      )

      assert.strictEqual(reasonOf(error), "ContentionError/EntityChanged")
    }))

  it.effect("a refused insert looks up the inserted keys and what is expected, and of the deleted a hundred", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ ...commits, Commit: () => ({ code: Code.alreadyExists }) })
      const items = Array.from({ length: 500 }, (_, index) => Key.child(box, "dsset.Item", `i${index}`))
      const expected = yield* backend.lookup([...items, other])

      const mutations: ReadonlyArray<Mutation> = [
        insert(there),
        ...items.map((key) => ({ _tag: "Delete" as const, key }))
      ]
      const error = yield* Effect.flip(backend.commit({ mutations, expected }))

      assert.strictEqual(reasonOf(error), "DatastoreError/AlreadyExists")
      assert.deepStrictEqual(
        server.of("Lookup")[1]!.request.keys.map((key: any) => key.path.at(-1).name),
        ["there", ...items.slice(0, 100).map(({ id }) => id), "other"]
      )
    }))

  it.effect.each(
    [
      ["INVALID_ARGUMENT", Code.invalidArgument, "InvalidArgument"],
      ["RESOURCE_EXHAUSTED", Code.resourceExhausted, "ResourceExhausted"]
    ] as const
  )("%s is TooLarge for a commit of more than half the limit", ([, code, reason]) =>
    Effect.gen(function*() {
      for (const [count, tag] of [[3, "TooLarge"], [1, reason]] as const) {
        const { error } = yield* failing(code, { mutations: blobs(count), expected: [] })

        assert.strictEqual(reasonOf(error), `DatastoreError/${tag}`)
      }
    }))

  // A transaction that deletes counts what it deletes; the request holds only the keys.
  it.effect("INVALID_ARGUMENT is TooLarge for a commit that deletes more than half the limit", () =>
    Effect.gen(function*() {
      const found = Array.from({ length: 3 }, (_, index) => entityResult(wireKey("K", `${index}`), "x".repeat(1e6), 7))
      const { backend } = yield* scripted({
        Lookup: () => ({ response: { found } }),
        Commit: () => ({ code: Code.invalidArgument })
      })
      const expected = yield* backend.lookup(found.map((_, index) => Key.make("K", `${index}`)))
      const mutations = expected.map(({ key }): Mutation => ({ _tag: "Delete", key }))

      const error = yield* Effect.flip(backend.commit({ mutations, expected }))

      assert.strictEqual(reasonOf(error), "DatastoreError/TooLarge")
    }))

  it.effect("a conflict that the answer tells of is contention, and names the entity", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({
        Lookup: lookupAll,
        Commit: () => ({ response: { mutationResults: [{ version: 8 }, { version: 7, conflictDetected: true }] } })
      })
      const expected = [yield* snapshotOf(backend, there)]

      const error = yield* Effect.flip(
        backend.commit({ mutations: [upsertOther, { _tag: "Delete", key: there }], expected })
      )

      assert.strictEqual(reasonOf(error), "ContentionError/EntityChanged")
      assert.include(error.message, `${there} was changed`)
    }))

  // A success that is not whole is no proof that nothing landed.
  it.effect.each(
    [
      ["an answer without results", { response: {} }],
      ["an answer with fewer results than mutations", { response: { mutationResults: [{ version: 8 }] } }],
      ["an answer that is cut short", { bytes: Buffer.from([0x1a, 0x04, 0x20]) }],
      ["an answer that is no message", { bytes: Buffer.alloc(20, 0xff) }]
    ] as ReadonlyArray<readonly [string, Answer]>
  )("%s leaves the outcome unknown", ([, answer]) =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({ Commit: () => answer })

      const error = yield* Effect.flip(
        backend.commit({ mutations: [upsertOther, { _tag: "Delete", key: there }], expected: [] })
      )

      assert.strictEqual(reasonOf(error), "DatastoreError/OutcomeUnknown")
    }))

  it.live("no answer within the commit deadline leaves the outcome unknown", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ Commit: () => "never" }, { commitDeadline: 100 })

      const error = yield* Effect.flip(backend.commit(blind))

      assert.strictEqual(reasonOf(error), "DatastoreError/OutcomeUnknown")
      assert.strictEqual(server.calls.length, 1)
    }))

  it.effect("a commit to a server that cannot be reached is not sent, and not in doubt", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({}, { emulatorHost: "127.0.0.1:1" })

      const error = yield* Effect.flip(backend.commit(blind))

      assert.strictEqual(reasonOf(error), "DatastoreError/Unavailable")
      assert.isTrue(error.isRetryable)
      assert.include(error.message, "nothing was sent to 127.0.0.1:1")
    }))

  it.live("a commit whose time is over before there is a connection is not sent, and not in doubt", () =>
    Effect.gen(function*() {
      const host = yield* silentHost
      const { backend } = yield* scripted({}, { emulatorHost: host, commitDeadline: 100 })

      const error = yield* Effect.flip(backend.commit(blind))

      assert.strictEqual(reasonOf(error), "DatastoreError/Unavailable")
      assert.include(error.message, "no connection in time")
    }))

  it.live("a commit that waits for a connection can be interrupted at once", () =>
    Effect.gen(function*() {
      const { backend } = yield* scripted({}, { emulatorHost: yield* silentHost, commitDeadline: "1 hour" })

      const exit = yield* Effect.exit(Effect.timeout(backend.commit(blind), 50))

      assert.isTrue(Exit.isFailure(exit))
    }))

  it.live("interruption waits for the result of a commit under way, which is not cancelled", () =>
    Effect.gen(function*() {
      const { promise, resolve } = Promise.withResolvers<Answer>()
      const { backend, server } = yield* scripted({ Commit: () => promise })
      const log: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Effect.onExit(backend.commit(blind), () => Effect.sync(() => log.push("commit over")))
      )
      while (server.calls.length === 0) yield* Effect.sleep(1)

      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* Effect.sleep(20)
      log.push("answered")
      resolve({ response: {} })
      yield* Fiber.join(interrupting)

      assert.deepStrictEqual(log, ["answered", "commit over"])
      assert.isFalse(server.calls[0]!.cancelled)
    }))
})

describe("GoogleDatastore: unwritten expectations with a transaction of the server", () => {
  const transaction = Buffer.from("tx")
  const interactive: Script = {
    ...commits,
    BeginTransaction: () => ({ response: { transaction } }),
    Rollback: () => ({ response: {} })
  }
  const options = { unwrittenExpectations: "interactive" } as const
  const methodsOf = (calls: ReadonlyArray<Call>) => calls.map(({ method }) => method)

  it.effect("the unwritten keys are read in it, written ones keep their versions, and it commits", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(interactive, options)
      const expected = yield* backend.lookup([there, missing])

      yield* backend.commit({ mutations: [{ _tag: "Upsert", entity: entity(there) }], expected })

      const [, begin, lookup, commit] = server.calls
      assert.deepStrictEqual(methodsOf(server.calls), ["Lookup", "BeginTransaction", "Lookup", "Commit"])
      assert.deepStrictEqual(begin!.request, { projectId: "scripted", transactionOptions: { readWrite: {} } })
      assert.deepStrictEqual(lookup!.request, {
        projectId: "scripted",
        readOptions: { transaction },
        keys: [{ path: [{ kind: "K", name: "missing" }] }]
      })
      assert.deepInclude(commit!.request, { mode: "TRANSACTIONAL", transaction })
      assert.notProperty(commit!.request, "singleUseTransaction")
      assert.deepStrictEqual(
        commit!.request.mutations.map(({ baseVersion }: any) => baseVersion),
        ["7"]
      )
    }))

  it.effect("it is not used when every expected key is written", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(interactive, options)
      const expected = yield* backend.lookup([there])

      yield* backend.commit({ mutations: [{ _tag: "Delete", key: there }], expected })

      assert.deepStrictEqual(methodsOf(server.calls), ["Lookup", "Commit"])
    }))

  const endings: ReadonlyArray<
    readonly [what: string, script: Script, reason: string, methods: ReadonlyArray<string>]
  > = [
    [
      "an entity that changed",
      {
        Lookup: (_, nth) => ({
          response: { found: [entityResult(wireKey("K", "there"), "x", 7 + nth)], readTime: timestamp(100) }
        })
      },
      "ContentionError/EntityChanged",
      ["BeginTransaction", "Lookup", "Rollback"]
    ],
    [
      "an aborted lookup",
      {
        Lookup: (call, nth) => nth === 0 ? lookupAll(call) : { code: Code.aborted }
      },
      "ContentionError/Aborted",
      ["BeginTransaction", "Lookup", "Rollback"]
    ],
    [
      "a failed lookup",
      {
        Lookup: (call, nth) => nth === 0 ? lookupAll(call) : { code: Code.permissionDenied }
      },
      "DatastoreError/PermissionDenied",
      ["BeginTransaction", "Lookup", "Rollback"]
    ],
    ["an aborted commit", { Commit: () => ({ code: Code.aborted }) }, "ContentionError/Aborted", [
      "BeginTransaction",
      "Lookup",
      "Commit",
      "Rollback"
    ]],
    [
      "a commit without a known outcome",
      { Commit: () => ({ code: Code.unavailable }) },
      "DatastoreError/OutcomeUnknown",
      [
        "BeginTransaction",
        "Lookup",
        "Commit",
        "Rollback"
      ]
    ],
    [
      "a failed rollback",
      {
        Commit: () => ({ code: Code.aborted }),
        Rollback: () => ({ code: Code.unavailable })
      },
      "ContentionError/Aborted",
      ["BeginTransaction", "Lookup", "Commit", "Rollback"]
    ]
  ]
  it.effect.each(endings)("it is rolled back after %s", ([, script, reason, methods]) =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({ ...interactive, ...script }, options)
      const expected = yield* backend.lookup([there])

      const error = yield* Effect.flip(backend.commit({ mutations: [upsertOther], expected }))

      assert.strictEqual(reasonOf(error), reason)
      assert.deepStrictEqual(methodsOf(server.calls).slice(1), methods)
      const rollback = server.of("Rollback")[0]!
      assert.deepStrictEqual(rollback.request, { projectId: "scripted", transaction })
    }))

  it.live("it is rolled back when it is interrupted before its commit", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted({
        ...interactive,
        Lookup: (call, nth) => nth === 0 ? lookupAll(call) : "never"
      }, options)
      const expected = yield* backend.lookup([there])
      const fiber = yield* Effect.forkChild(backend.commit({ mutations: [upsertOther], expected }))
      while (server.calls.length < 3) yield* Effect.sleep(1)

      yield* Fiber.interrupt(fiber)

      assert.deepStrictEqual(methodsOf(server.calls), ["Lookup", "BeginTransaction", "Lookup", "Rollback"])
    }))

  it.effect("a transaction that cannot begin means that nothing was written", () =>
    Effect.gen(function*() {
      const { backend, server } = yield* scripted(
        { ...interactive, BeginTransaction: () => ({ code: Code.permissionDenied }) },
        options
      )
      const expected = yield* backend.lookup([there])

      const error = yield* Effect.flip(backend.commit({ mutations: [upsertOther], expected }))

      assert.strictEqual(reasonOf(error), "DatastoreError/PermissionDenied")
      assert.deepStrictEqual(methodsOf(server.calls), ["Lookup", "BeginTransaction"])
    }))
})
