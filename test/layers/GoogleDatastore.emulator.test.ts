// What the conformance suite does not state: costs in RPCs, what a no-op write leaves alone, locks, and the network.
import { assert } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Backend, Snapshot } from "../../src/Backend.ts"
import { Datastore } from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { emulatorHost, fastPings, onEmulator } from "../utils/emulator.ts"
import { isCommit, makeTcpProxy } from "../utils/tcpProxy.ts"

const upsert = (entity: Entity.Entity) => ({ _tag: "Upsert", entity }) as const
const numbered = (key: Key.Key, n: number) => Entity.make(key, { n }, { unindexed: "all" })
const numberOf = (snapshot: Snapshot | undefined) =>
  snapshot === undefined ? undefined : Option.getOrUndefined(snapshot.entity)?.properties["n"]
const backend = Effect.map(Datastore, (datastore) => datastore.backend)

/** A backend that counts its RPCs. */
const counting = Effect.gen(function*() {
  const rpcs: Array<string> = []
  const counted = yield* GoogleDatastore.makeBackend({
    emulatorHost,
    projectId: `counting-${crypto.randomUUID().slice(0, 13)}`,
    onRpc: (method) => rpcs.push(method)
  })
  return { rpcs, backend: counted }
})

onEmulator("GoogleDatastore on the emulator: commits", (it) => {
  it.effect("a read of a thousand keys and a commit with every sort of expectation are one RPC each", () =>
    Effect.gen(function*() {
      const { backend, rpcs } = yield* counting
      const keys = Array.from({ length: 1_000 }, (_, index) => Key.make("K", index + 1))
      yield* backend.commit({ mutations: keys.slice(0, 20).map((key) => upsert(numbered(key, 0))), expected: [] })

      const expected = yield* backend.lookup(keys)
      yield* backend.commit({
        mutations: keys.slice(10, 30).map((key) => upsert(numbered(key, 1))),
        expected: expected.slice(0, 40)
      })

      assert.deepStrictEqual(rpcs, ["Commit", "Lookup", "Commit"])
      assert.deepStrictEqual((yield* backend.lookup(keys)).map(numberOf).slice(8, 32), [
        0,
        0,
        ...Array(20).fill(1),
        undefined,
        undefined
      ])
    }))

  it.effect("an expectation on an unwritten entity changes nothing of it, not even its version or index flags", () =>
    Effect.gen(function*() {
      const { commit, lookup } = yield* backend
      const key = Key.make("Unwritten", "a")
      const properties = {
        text: "x".repeat(2_000),
        indexed: "x",
        list: [1, BigInt(2) ** BigInt(60), new Entity.Double(3), { deep: null }],
        time: new Entity.TimestampValue(BigInt(1_234_567)),
        other: Key.make("Elsewhere", 1)
      }
      yield* commit({
        mutations: [upsert(Entity.make(key, properties, { unindexed: ["text", "list.deep"] }))],
        expected: []
      })
      const absent = Key.make("Unwritten", "absent")
      const expected = yield* lookup([key, absent])

      yield* commit({ mutations: [upsert(numbered(Key.make("Unwritten", "b"), 1))], expected })

      const [after, stillAbsent] = yield* lookup([key, absent])
      assert.strictEqual(after!.version, expected[0]!.version)
      assert.deepStrictEqual(after!.entity, expected[0]!.entity)
      assert.isTrue(Option.isNone(stillAbsent!.entity))
    }))

  it.effect("commits at once that expect the same unwritten entities do not get into each other's way", () =>
    Effect.gen(function*() {
      const { commit, lookup } = yield* backend
      const shared = [Key.make("Shared", "present"), Key.make("Shared", "absent")]
      yield* commit({ mutations: [upsert(numbered(shared[0]!, 1))], expected: [] })
      const expected = yield* lookup(shared)
      const write = (index: number) =>
        commit({ mutations: [upsert(numbered(Key.make("Own", index + 1), 1))], expected })

      yield* Effect.all(Array.from({ length: 20 }, (_, index) => write(index)), { concurrency: "unbounded" })

      const own = yield* lookup(Array.from({ length: 20 }, (_, index) => Key.make("Own", index + 1)))
      assert.deepStrictEqual(own.map(numberOf), Array(20).fill(1))
    }))

  // A lock would show as `Aborted`, two seconds later.
  it.effect("8 workers on one counter lose nothing, and no lost race is a lock time-out", () =>
    Effect.gen(function*() {
      const { commit, lookup } = yield* backend
      const key = Key.make("Counter", "c")
      const lost: Array<string> = []
      const increment = Effect.gen(function*() {
        const expected = yield* lookup([key])
        const n = numberOf(expected[0]) ?? 0
        yield* commit({ mutations: [upsert(numbered(key, Number(n) + 1))], expected })
      }).pipe(Effect.retry({
        while: (error) => {
          lost.push(`${error._tag}/${error.reason._tag}`)
          return error._tag === "ContentionError"
        }
      }))

      yield* Effect.all(Array.from({ length: 8 }, () => Effect.replicateEffect(increment, 10)), { concurrency: 8 })

      assert.strictEqual(numberOf((yield* lookup([key]))[0]), 80)
      assert.isAbove(lost.length, 0)
      assert.deepStrictEqual(lost.filter((reason) => reason !== "ContentionError/EntityChanged"), [])
    }))

  it.effect("an insert that loses a race against another one is AlreadyExists, and names its key", () =>
    Effect.gen(function*() {
      const { commit } = yield* backend
      const key = Key.make("Race", "r")
      const insert = (n: number) =>
        Effect.exit(commit({ mutations: [{ _tag: "Insert", entity: numbered(key, n) }], expected: [] }))

      const exits = yield* Effect.all([1, 2, 3, 4].map(insert), { concurrency: "unbounded" })

      const failures = exits.flatMap((exit) => exit._tag === "Failure" ? [exit.cause.reasons[0]] : [])
      assert.strictEqual(failures.length, 3)
      for (const failure of failures) {
        assert.include(String(failure?._tag === "Fail" ? failure.error.message : failure), key.toString())
      }
    }))
})

onEmulator("GoogleDatastore on the emulator: the network", (it) => {
  const proxied = (options?: GoogleDatastore.Options) =>
    Effect.gen(function*() {
      const proxy = yield* makeTcpProxy(emulatorHost)
      const projectId = `network-${crypto.randomUUID().slice(0, 13)}`
      const far = yield* GoogleDatastore.makeBackend({ emulatorHost: proxy.host, projectId, ...options })
      const near = yield* GoogleDatastore.makeBackend({ emulatorHost, projectId })
      return { proxy, far, near }
    })
  const key = Key.make("K", "a")
  const write = (to: Backend) => to.commit({ mutations: [upsert(numbered(key, 1))], expected: [] })
  const unknownOutcome = (to: Backend) =>
    Effect.tap(
      Effect.flip(write(to)),
      (error) => Effect.sync(() => assert.strictEqual(error.reason._tag, "OutcomeUnknown"))
    )
  const stored = (near: Backend) => Effect.map(near.lookup([key]), ([snapshot]) => numberOf(snapshot))

  it.effect("a commit whose response is lost has an unknown outcome, and landed", () =>
    Effect.gen(function*() {
      const { far, near, proxy } = yield* proxied()
      const { struck } = proxy.arm("dropResponse", isCommit)

      yield* unknownOutcome(far)

      yield* Effect.promise(() => struck)
      assert.strictEqual(yield* stored(near), 1)
      assert.strictEqual(proxy.requests(), 1)
    }))

  it.effect("a commit that is cut off has an unknown outcome, and did not land", () =>
    Effect.gen(function*() {
      const { far, near, proxy } = yield* proxied()
      yield* far.lookup([key])
      const { struck } = proxy.arm("cutRequest", isCommit)

      yield* unknownOutcome(far)

      yield* Effect.promise(() => struck)
      assert.strictEqual(yield* stored(near), undefined)
      yield* write(far)
      assert.strictEqual(yield* stored(near), 1)
    }))

  // Why a lost commit must be fenced off before it is repeated.
  it.effect("a commit that is held up longer than its deadline has an unknown outcome, and lands later", () =>
    Effect.gen(function*() {
      // So long that it gets to the proxy in time, on its connection that is there.
      const { far, near, proxy } = yield* proxied({ commitDeadline: 1_000 })
      yield* far.lookup([key])
      const { release, struck } = proxy.arm("holdRequest", isCommit)

      yield* unknownOutcome(far)

      yield* Effect.promise(() => struck)
      assert.strictEqual(yield* stored(near), undefined)
      release()
      while ((yield* stored(near)) === undefined) yield* Effect.sleep(10)
    }))

  it.effect("a read whose response is lost, or that is cut off, is tried again", () =>
    Effect.gen(function*() {
      const { far, near, proxy } = yield* proxied()
      yield* write(near)
      proxy.arm("dropResponse")
      proxy.arm("cutRequest")

      assert.strictEqual(numberOf((yield* far.lookup([key]))[0]), 1)
      assert.strictEqual(proxy.requests(), 3)
    }))

  // A connection that is dead without being closed: what is sent on it waits in the proxy, pings as well.
  it.effect("a read on a connection that went silent is tried again on a new one", () =>
    Effect.gen(function*() {
      const { far, near, proxy } = yield* proxied({ clientOptions: fastPings })
      yield* write(near)
      yield* far.lookup([Key.make("K", "other")])
      const { release, struck } = proxy.arm("holdRequest")

      assert.strictEqual(numberOf((yield* far.lookup([key]))[0]), 1)

      yield* Effect.promise(() => struck)
      release()
    }))

  for (const fault of ["holdRequest", "holdResponse"] as const) {
    const landed = fault === "holdResponse"
    it.effect(`a commit on a connection that went silent ${landed ? "after" : "before"} it landed is in doubt`, () =>
      Effect.gen(function*() {
        const { far, near, proxy } = yield* proxied({ clientOptions: fastPings })
        yield* far.lookup([key])
        const { release, struck } = proxy.arm(fault, isCommit)

        const error = yield* unknownOutcome(far)

        yield* Effect.promise(() => struck)
        // The end of the connection, and not that of the time for the commit, which would be code 4.
        assert.include(error.message, "code 14")
        assert.strictEqual(yield* stored(near), landed ? 1 : undefined)
        assert.strictEqual(yield* stored(far), landed ? 1 : undefined)
        release()
      }))
  }

  it.effect("without pings calls wait for their deadlines, one after the other, on a connection that went silent", () =>
    Effect.gen(function*() {
      const { far, proxy } = yield* proxied({
        clientOptions: { "grpc.keepalive_time_ms": 0 },
        commitDeadline: 200,
        readDeadline: 400
      })
      yield* far.lookup([key])
      const { release } = proxy.arm("holdRequest", isCommit)

      const commit = yield* Effect.flip(write(far))
      const read = yield* Effect.flip(far.lookup([key]))

      assert.include(commit.message, "code 4")
      assert.strictEqual(read.reason._tag, "DeadlineExceeded")
      assert.strictEqual(proxy.connections(), 1)
      release()
    }))

  it.effect("a response that is held up arrives after all", () =>
    Effect.gen(function*() {
      const { far, proxy } = yield* proxied()
      const { release, struck } = proxy.arm("holdResponse")
      void struck.then(() => release())

      assert.strictEqual(numberOf((yield* far.lookup([key]))[0]), undefined)
    }))

  // With the window that Node has by itself, 64 KiB, the server would wait for the client every 64 KiB.
  it.effect("a response of 900 kB needs no word from the client on its way", () =>
    Effect.gen(function*() {
      const { far, near, proxy } = yield* proxied()
      const blob = new Uint8Array(900_000).fill(7)
      yield* near.commit({ mutations: [upsert(Entity.make(key, { blob }, { unindexed: "all" }))], expected: [] })
      yield* far.lookup([Key.make("K", "other")])
      proxy.arm("muteClient")

      const [snapshot] = yield* far.lookup([key])

      assert.deepStrictEqual(Option.getOrThrow(snapshot!.entity).properties["blob"], blob)
    }))

  it.effect("a connection with delays works, and large responses come through it", () =>
    Effect.gen(function*() {
      const { far, near, proxy } = yield* proxied()
      const blob = new Uint8Array(900_000).fill(7)
      yield* near.commit({ mutations: [upsert(Entity.make(key, { blob }, { unindexed: "all" }))], expected: [] })
      proxy.delay(10, 10)

      const [snapshot] = yield* far.lookup([key])

      assert.deepStrictEqual(Option.getOrThrow(snapshot!.entity).properties["blob"], blob)
    }))
})
