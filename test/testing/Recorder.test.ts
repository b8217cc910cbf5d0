import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import type { Backend, Mutation } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as DatastoreSuite from "../../src/testing/DatastoreSuite.ts"
import * as Recorder from "../../src/testing/Recorder.ts"

// A recorder changes nothing but time: with it, operations really overlap.
DatastoreSuite.suite("InMemory behind a Recorder", Layer.provide(Recorder.layer, InMemory.layer))

const a = Key.make("A", 1)
const b = Key.make("B", 1)
const c = Key.make("B", 2)
const upsert = (key: Key.Key, value = 1): Mutation => ({ _tag: "Upsert", entity: Entity.make(key, { value }) })

const operation = (start: number, end: number): Recorder.Operation => ({
  call: { operation: "lookup", keys: [] },
  fiberId: 1,
  start,
  end,
  outcome: "Success",
  found: 0
})

const recorder = Effect.flatMap(InMemory.makeBackend, Recorder.make)

describe("Recorder.rounds", () => {
  it("counts the longest chain of operations that wait for each other", () => {
    const rounds = (...intervals: ReadonlyArray<readonly [number, number]>) =>
      Recorder.rounds(intervals.map(([start, end]) => operation(start, end)))

    assert.strictEqual(rounds(), 0)
    assert.strictEqual(rounds([0, 1]), 1)
    assert.strictEqual(rounds([0, 1], [2, 3]), 2)
    assert.strictEqual(rounds([0, 2], [1, 3]), 1)
    // One long operation beside two short ones that follow each other.
    assert.strictEqual(rounds([0, 5], [1, 2], [3, 4]), 2)
    // Overlapping pairwise, while the first and the last do not.
    assert.strictEqual(rounds([0, 2], [1, 4], [3, 5]), 2)
    assert.strictEqual(rounds([0, Infinity], [1, 2], [3, Infinity]), 2)
  })
})

describe("Recorder", () => {
  it.effect("operations that are sent together are one round, those that follow each other are more", () =>
    Effect.gen(function*() {
      const { backend, during } = yield* recorder
      const three = [backend.lookup([a]), backend.query({ kind: "B" }), backend.commit({ mutations: [], expected: [] })]

      const [, together] = yield* during(Effect.all(three, { concurrency: "unbounded" }))
      const [, inTurn] = yield* during(Effect.all(three))

      assert.strictEqual(together.rounds, 1)
      assert.strictEqual(together.operations.length, 3)
      assert.strictEqual(inTurn.rounds, 3)
    }))

  it.effect("merged lookups and a query beside them are one round, and a commit after them the second", () =>
    Effect.gen(function*() {
      const { during } = yield* Recorder.Recorder
      const reads = [Datastore.get(a), Datastore.get(b), Datastore.query({ kind: "B", ancestor: a })]

      const [, { operations, rounds }] = yield* during(
        Effect.andThen(Effect.all(reads, { concurrency: "unbounded" }), Datastore.put([Entity.make(c, {})]))
      )

      assert.strictEqual(rounds, 2, Recorder.format(operations))
      assert.deepStrictEqual(operations.map(({ call }) => call.operation).toSorted(), ["commit", "lookup", "query"])
      assert.strictEqual(operations.at(-1)?.call.operation, "commit")
    }).pipe(Effect.provide(Layer.provide(Recorder.layer, InMemory.layer))))

  it.effect("an operation is recorded with its fiber, its keys and kinds, what it found and how it ended", () =>
    Effect.gen(function*() {
      const { backend, report } = yield* recorder
      yield* backend.commit({ mutations: [upsert(b), upsert(c), upsert(a)], expected: [] })
      yield* backend.lookup([a, Key.make("C", 9)])
      yield* backend.query({ kind: "B", ancestor: b })
      const stale = yield* backend.lookup([a])
      yield* backend.commit({ mutations: [upsert(a, 2)], expected: [] })
      yield* Effect.exit(backend.commit({ mutations: [upsert(a)], expected: stale }))
      yield* Effect.exit(backend.commit({ mutations: [{ _tag: "Insert", entity: Entity.make(a, {}) }], expected: [] }))
      yield* Effect.exit(Effect.forkChild(backend.lookup([b])).pipe(Effect.flatMap(Fiber.join)))

      const { operations } = yield* report
      const fiberId = yield* Effect.fiberId
      assert.deepStrictEqual(
        operations.map((
          { call, found, outcome }
        ) => [call.operation, Recorder.kindsOf(call).join("+"), found, outcome]),
        [
          ["commit", "B+A", 0, "Success"],
          ["lookup", "A+C", 1, "Success"],
          ["query", "B", 1, "Success"],
          ["lookup", "A", 1, "Success"],
          ["commit", "A", 0, "Success"],
          ["commit", "A", 0, "ContentionError"],
          ["commit", "A", 0, "AlreadyExists"],
          ["lookup", "B", 1, "Success"]
        ]
      )
      assert.deepStrictEqual(operations.map((one) => one.fiberId === fiberId), [
        true,
        true,
        true,
        true,
        true,
        true,
        true,
        false
      ])
      assert.deepStrictEqual(
        operations.flatMap(({ end, start }) => [start, end]),
        operations.flatMap((_, n) => [2 * n, 2 * n + 1])
      )
      assert.deepStrictEqual(operations.map(({ call }) => Recorder.keysOf(call).length), [3, 2, 1, 1, 1, 1, 1, 1])
      assert.include(Recorder.format(operations), `10-11 fiber ${fiberId}: commit A, 1 keys, ContentionError`)
      assert.include(Recorder.format(operations), `4-5 fiber ${fiberId}: query B, 1 found, Success`)
    }))

  it.effect("an operation that is still running, was interrupted or died is recorded as such", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const hanging: Backend = {
        ...(yield* InMemory.makeBackend),
        lookup: () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.never),
        query: () => Effect.die(new Error("broken"))
      }
      const { backend, report } = yield* Recorder.make(hanging)
      const fiber = yield* Effect.forkChild(backend.lookup([a]))
      yield* Deferred.await(asked)
      const running = yield* report
      yield* Fiber.interrupt(fiber)
      yield* Effect.exit(backend.query({ kind: "A" }))

      assert.deepStrictEqual(running.operations.map(({ end, outcome }) => [end, outcome]), [[Infinity, "Running"]])
      assert.deepStrictEqual((yield* report).operations.map(({ outcome }) => outcome), ["Interrupted", "Died"])
    }))

  it.effect("an operation takes effect half-way: what is written after that is not in its answer", () =>
    Effect.gen(function*() {
      const inner = yield* InMemory.makeBackend
      const { backend, report } = yield* Recorder.make(inner)
      const fiber = yield* Effect.forkChild(backend.lookup([a]), { startImmediately: true })
      yield* Effect.repeat(Effect.yieldNow, { times: 14 })
      const { operations } = yield* report
      yield* inner.commit({ mutations: [upsert(a)], expected: [] })

      const [snapshot] = yield* Fiber.join(fiber)

      assert.deepStrictEqual(operations.map(({ outcome }) => outcome), ["Running"])
      assert.isTrue(Option.isNone(snapshot!.entity))
    }))

  it.effect("what is billed follows the price list", () =>
    Effect.gen(function*() {
      const { backend, during, report, reset } = yield* recorder
      yield* backend.commit({ mutations: [upsert(a), upsert(b), upsert(c)], expected: [] })
      yield* reset
      assert.deepStrictEqual((yield* report).operations, [])

      const [snapshots] = yield* during(backend.lookup([a, b, Key.make("C", 1)]))
      yield* backend.query({ kind: "B" })
      yield* backend.query({ kind: "None" })
      yield* backend.query({ kind: "B", keysOnly: true })
      yield* backend.commit({
        mutations: [upsert(a, 2), { _tag: "Patch", entity: Entity.make(c, { n: 1 }) }, {
          _tag: "Delete",
          key: Key.make("C", 2)
        }],
        expected: snapshots
      })
      // Contention writes nothing and costs nothing.
      yield* Effect.exit(backend.commit({ mutations: [upsert(b)], expected: snapshots }))

      assert.deepStrictEqual((yield* report).billed, {
        reads: 3 + 2 + 0 + 1,
        smallOperations: 2,
        writes: 2,
        deletes: 1,
        unwrittenExpectations: 2
      })
    }))

  it.effect("during reports only what started meanwhile, also across a reset", () =>
    Effect.gen(function*() {
      const { backend, during, report, reset } = yield* recorder
      yield* backend.lookup([a])

      const [, inner] = yield* during(Effect.andThen(backend.lookup([b]), backend.lookup([c])))
      const [, across] = yield* during(Effect.andThen(backend.lookup([b]), reset))

      assert.strictEqual(inner.operations.length, 2)
      assert.strictEqual(inner.rounds, 2)
      assert.strictEqual(across.operations.length, 1)
      assert.strictEqual((yield* report).operations.length, 0)
    }))
})
