import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../src/Datastore.ts"
import * as Entity from "../src/Entity.ts"
import * as Key from "../src/Key.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { defectOf, entity, makeGate, operationsOf, read, settle, world } from "./utils/boxWorld.ts"

const a = Key.make("K", "a")
const b = Key.make("K", "b")
const c = Key.make("K", "c")

/** Runs an effect as another writer would: outside of the transaction that the fiber is in. */
const elsewhere = <A, E>(effect: Effect.Effect<A, E, Datastore.Datastore>) =>
  Effect.gen(function*() {
    const datastore = yield* Datastore.Datastore
    return yield* Effect.promise(() => Effect.runPromise(Effect.provideService(effect, Datastore.Datastore, datastore)))
  })

describe("transactions", () => {
  it.effect("writes land together, in one commit, when the body ends", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      let during: unknown

      yield* Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(a, 1)])
        yield* Datastore.put([entity(b, 2)])
        during = yield* elsewhere(Effect.all([read(a), read(b)]))
      }))

      const { operations } = yield* recorder.report
      assert.deepStrictEqual(during, [undefined, undefined])
      assert.deepStrictEqual(yield* Effect.all([read(a), read(b)]), [1, 2])
      assert.deepStrictEqual(
        operations.filter(({ call }) => call.operation === "commit").map(({ call }) => Recorder.keysOf(call).length),
        [2]
      )
    }).pipe(Effect.provide(world)))

  it.effect("a body that fails writes nothing, and its error is the result", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Datastore.withTransaction(
        Effect.andThen(Datastore.put([entity(a, 1)]), Effect.fail("no"))
      ))

      assert.strictEqual(error, "no")
      assert.strictEqual(yield* read(a), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("a body that dies writes nothing", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(Datastore.withTransaction(
        Effect.andThen(Datastore.put([entity(a, 1)]), Effect.die(new Error("bug")))
      ))

      assert.strictEqual(message, "bug")
      assert.strictEqual(yield* read(a), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("a body that is interrupted writes nothing", () =>
    Effect.gen(function*() {
      const reached = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(a, 1)])
        yield* Deferred.succeed(reached, undefined)
        yield* Effect.never
      })))
      yield* Deferred.await(reached)

      yield* Fiber.interrupt(fiber)

      assert.strictEqual(yield* read(a), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("an interruption during the commit waits for it, and what it wrote stays", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const [sent, answer] = [yield* makeGate, yield* makeGate]
      yield* faulty.inject("commit", Faulty.around({ before: Effect.andThen(sent.open, answer.wait) }))
      let after = false
      const fiber = yield* Effect.forkChild(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(a, 1)])
        yield* Datastore.afterCommit(Effect.sync(() => {
          after = true
        }))
      })))
      yield* sent.wait
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* settle
      const endedEarly = interruption.pollUnsafe() !== undefined

      yield* answer.open
      yield* Fiber.join(interruption)

      assert.isFalse(endedEarly)
      assert.strictEqual(yield* read(a), 1)
      assert.isTrue(after)
    }).pipe(Effect.provide(world)))

  it.effect("a write to an entity that another writer changed since it was read is contention, and nothing lands", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1)])

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        const seen = yield* read(a)
        yield* elsewhere(Datastore.put([entity(a, 10)]))
        yield* Datastore.put([entity(a, Number(seen) + 1), entity(b, 1)])
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.include(error.message, "K,\"a\" was changed by another writer")
      assert.include(error.message, "Nothing was written; run it again")
      assert.deepStrictEqual(yield* Effect.all([read(a), read(b)]), [10, undefined])
    }).pipe(Effect.provide(world)))

  it.effect("an entity that was only read is expected unchanged as well", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1)])

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* read(a)
        yield* elsewhere(Datastore.put([entity(a, 2)]))
        yield* Datastore.put([entity(b, 1)])
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(yield* read(b), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("an entity that was read as missing is expected to be missing still", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        assert.isTrue(Option.isNone(yield* Datastore.get(a)))
        yield* elsewhere(Datastore.put([entity(a, 7)]))
        yield* Datastore.put([entity(a, 1)])
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(yield* read(a), 7)
    }).pipe(Effect.provide(world)))

  it.effect("the first read of a key counts: later reads return the same, and the commit expects it", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Datastore.put([entity(a, 1)])
      yield* recorder.reset
      let seen: ReadonlyArray<unknown> = []

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        const first = yield* read(a)
        yield* elsewhere(Datastore.put([entity(a, 2)]))
        seen = [first, yield* read(a)]
        yield* Datastore.put([entity(b, 1)])
      })))

      assert.deepStrictEqual(seen, [1, 1])
      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(operationsOf(yield* recorder.report), ["lookup", "commit", "commit"])
    }).pipe(Effect.provide(world)))

  it.effect("the body runs once: contention is not retried here", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("commit", Faulty.contention)
      let runs = 0

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        runs++
        yield* Datastore.put([entity(a, 1)])
      })))

      assert.strictEqual(runs, 1)
      assert.strictEqual(error.message, "Contention: Datastore aborted the commit. Nothing was written; run it again.")
      assert.isTrue(error.isRetryable)
    }).pipe(Effect.provide(world)))

  it.effect("a lost response is OutcomeUnknown, and the caller is told to load again", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("commit", Faulty.responseLost)

      const error = yield* Effect.flip(Datastore.withTransaction(Datastore.put([entity(a, 1)])))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
      assert.isFalse(error.isRetryable)
      assert.include(error.message, "Datastore commit of K,\"a\" failed")
      assert.include(error.message, "load again before repeating anything")
      assert.strictEqual(yield* read(a), 1)
    }).pipe(Effect.provide(world)))

  it.effect("a transaction that only reads, in one RPC, costs nothing more", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [, report] = yield* recorder.during(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.getAll([a, b])
        yield* elsewhere(Datastore.put([entity(a, 2)]))
      })))

      assert.deepStrictEqual(operationsOf(report), ["lookup", "commit"])
    }).pipe(Effect.provide(world)))

  it.effect("a transaction that only reads, in several RPCs, validates them all by one lookup", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Datastore.put([entity(a, 1)])

      const [seen, report] = yield* recorder.during(Datastore.withTransaction(Effect.gen(function*() {
        return [yield* read(a), yield* read(b)]
      })))

      assert.deepStrictEqual(seen, [1, undefined])
      assert.deepStrictEqual(report.operations.map(({ call }) => Recorder.keysOf(call).length), [1, 1, 2])
    }).pipe(Effect.provide(world)))

  it.effect("a transaction that only reads and saw two moments is contention that names what changed", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1), entity(b, 1)])

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* read(a)
        yield* elsewhere(Datastore.put([entity(a, 2), entity(b, 2)]))
        yield* read(b)
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.include(error.message, "K,\"a\" was changed")
      assert.notInclude(error.message, "K,\"b\"")
    }).pipe(Effect.provide(world)))

  it.effect("an entity that vanished and one that appeared both fail the validation of reads", () =>
    Effect.gen(function*() {
      for (
        const [before, during] of [[Datastore.put([entity(a, 1)]), Datastore.remove([a])], [
          Datastore.remove([a]),
          Datastore.put([entity(a, 1)])
        ]] as const
      ) {
        yield* before
        const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
          yield* read(a)
          yield* elsewhere(during)
          yield* read(b)
        })))
        assert.strictEqual(error._tag, "ContentionError")
      }
    }).pipe(Effect.provide(world)))

  it.effect("a nested transaction dies", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(Datastore.withTransaction(Datastore.withTransaction(Effect.void)))

      assert.strictEqual(
        message,
        "withTransaction cannot be used inside a transaction: transactions do not nest; call the body directly"
      )
    }).pipe(Effect.provide(world)))

  it.effect("a query inside a transaction dies, since no commit could validate it", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(Datastore.withTransaction(Datastore.query({ kind: "K" })))

      assert.strictEqual(
        message,
        "Datastore.query cannot be used inside a transaction: query before it, then read by key inside"
      )
    }).pipe(Effect.provide(world)))

  it.effect("an insert of an existing entity fails with AlreadyExists, from the commit", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1)])
      let bodyEnded = false

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(b, 1)])
        yield* Datastore.insert([entity(a, 2)])
        bodyEnded = true
      })))

      assert.isTrue(bodyEnded)
      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "AlreadyExists")
      assert.include(error.message, "of K,\"a\" failed: the entity already exists")
      assert.deepStrictEqual(yield* Effect.all([read(a), read(b)]), [1, undefined])
    }).pipe(Effect.provide(world)))
})

describe("a transaction that has ended", () => {
  const forked = (use: Effect.Effect<unknown, unknown, Datastore.Datastore>) =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const fiber = yield* Datastore.withTransaction(
        Effect.forkDetach(Effect.andThen(Deferred.await(ended), defectOf(use)))
      )
      yield* Deferred.succeed(ended, undefined)
      return yield* Fiber.join(fiber)
    })
  const message = "The transaction has ended: this fiber was forked inside it and outlived it. " +
    "Wait for such fibers inside the transaction, or do the work in `afterCommit`."

  it.effect("makes a read by a fiber that outlived it die", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* forked(Datastore.get(a)), message)
    }).pipe(Effect.provide(world)))

  it.effect("makes a write by a fiber that outlived it die, and nothing is written", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* forked(Datastore.put([entity(a, 1)])), message)
      assert.strictEqual(yield* forked(Datastore.remove([a])), message)
      assert.strictEqual(yield* read(a), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("makes a late afterCommit die, and it does not run", () =>
    Effect.gen(function*() {
      let ran = false
      const late = Datastore.afterCommit(Effect.sync(() => {
        ran = true
      }))

      assert.strictEqual(yield* forked(late), message)
      assert.isFalse(ran)
    }).pipe(Effect.provide(world)))

  it.effect("makes a read die that was under way when it ended", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const answer = yield* makeGate
      yield* faulty.inject("lookup", Faulty.around({ before: answer.wait }))

      const fiber = yield* Datastore.withTransaction(
        Effect.forkDetach(defectOf(Datastore.get(a)), { startImmediately: true })
      )
      yield* answer.open

      assert.strictEqual(yield* Fiber.join(fiber), message)
    }).pipe(Effect.provide(world)))

  it.effect("made the same of a body that failed", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      let fiber: Fiber.Fiber<string> | undefined
      yield* Effect.exit(Datastore.withTransaction(Effect.gen(function*() {
        fiber = yield* Effect.forkDetach(Effect.andThen(Deferred.await(ended), defectOf(Datastore.put([entity(a, 1)]))))
        return yield* Effect.fail("no")
      })))
      yield* Deferred.succeed(ended, undefined)

      assert.strictEqual(yield* Fiber.join(fiber!), message)
    }).pipe(Effect.provide(world)))
})

describe("reads and writes outside of a transaction", () => {
  it.effect("reads come in the order of the keys, also of repeated ones", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Datastore.put([entity(a, 1), entity(b, 2)])

      const [found, report] = yield* recorder.during(Datastore.getAll([b, c, a, b]))

      assert.deepStrictEqual(found.map((one) => Option.getOrUndefined(one)?.properties["n"]), [2, undefined, 1, 2])
      assert.deepStrictEqual(report.operations.map(({ call }) => Recorder.keysOf(call).length), [3])
      assert.deepStrictEqual(yield* Datastore.getAll([]), [])
    }).pipe(Effect.provide(world)))

  it.effect("a put is one commit of all its entities without expectations", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [, report] = yield* recorder.during(Datastore.put([entity(a, 1), entity(b, 2)]))

      assert.strictEqual(report.operations.length, 1)
      const { call } = report.operations[0]!
      assert.strictEqual(call.operation === "commit" && call.request.mutations.length, 2)
      assert.deepStrictEqual(call.operation === "commit" && call.request.expected, [])
    }).pipe(Effect.provide(world)))

  it.effect("no entities and no keys are no RPC", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [, report] = yield* recorder.during(Effect.all([
        Datastore.put([]),
        Datastore.insert([]),
        Datastore.remove([])
      ]))

      assert.deepStrictEqual(report.operations, [])
    }).pipe(Effect.provide(world)))

  it.effect("an insert fails with AlreadyExists when one of them exists, and writes none", () =>
    Effect.gen(function*() {
      yield* Datastore.insert([entity(a, 1)])

      const error = yield* Effect.flip(Datastore.insert([entity(b, 2), entity(a, 2)]))

      assert.strictEqual(error.reason._tag, "AlreadyExists")
      assert.deepStrictEqual(yield* Effect.all([read(a), read(b)]), [1, undefined])
    }).pipe(Effect.provide(world)))

  it.effect("removing what does not exist is no failure", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1)])

      yield* Datastore.remove([a, b])

      assert.strictEqual(yield* read(a), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("a write that breaks a limit is refused before any RPC, naming entity, property and limit", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const indexed = Entity.make(a, { text: "x".repeat(1_501) })
      const inTransaction = Datastore.withTransaction(Datastore.put([entity(b, 1), indexed]))

      for (const write of [Datastore.put([entity(b, 1), indexed]), Datastore.insert([indexed]), inTransaction]) {
        const [error, report] = yield* recorder.during(Effect.flip(write))
        assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "InvalidArgument")
        assert.include(error.message, "of K,\"a\" failed: invalid argument (property text: an indexed string")
        assert.include(error.message, "1500 bytes, this one has 1501")
        assert.isFalse(error.isRetryable)
        assert.deepStrictEqual(report.operations, [])
      }
    }).pipe(Effect.provide(world)))

  it.effect("an entity above the limit of the service is refused before any RPC", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const half = new Uint8Array(600_000)

      const [error, report] = yield* recorder.during(Effect.flip(
        Datastore.put([Entity.make(a, { x: half, y: half }, { unindexed: "all" })])
      ))

      assert.include(error.message, "an entity has at most 1048572 bytes")
      assert.deepStrictEqual(report.operations, [])
    }).pipe(Effect.provide(world)))

  it.effect("a commit above the limit of the backend is refused before any RPC", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const big = Array.from({ length: 11 }, (_, n) => entity(Key.make("K", n + 1), new Uint8Array(1_000_000)))

      for (const write of [Datastore.put(big), Datastore.withTransaction(Datastore.put(big))]) {
        const [error, report] = yield* recorder.during(Effect.flip(write))
        assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "TooLarge")
        assert.match(error.message, /the commit has 110\d+ bytes, the limit is 10485760; write less in one transaction/)
        assert.deepStrictEqual(report.operations, [])
      }
    }).pipe(Effect.provide(world)))

  it.effect("an aborted put is sent again, with pauses, and lands", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      for (let n = 0; n < 4; n++) yield* faulty.inject("commit", Faulty.contention)
      const fiber = yield* Effect.forkChild(Datastore.put([entity(a, 1)]))
      yield* settle
      const before = operationsOf(yield* recorder.report).length

      for (let n = 0; n < 4; n++) {
        yield* TestClock.adjust("1 second")
        yield* settle
      }
      yield* Fiber.join(fiber)

      assert.strictEqual(before, 1)
      assert.strictEqual(operationsOf(yield* recorder.report).length, 5)
      assert.strictEqual(yield* read(a), 1)
    }).pipe(Effect.provide(world)))

  it.effect("a put that is aborted five times is Unavailable, and nothing was written", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      for (let n = 0; n < 6; n++) yield* faulty.inject("commit", Faulty.contention)
      const fiber = yield* Effect.forkChild(Effect.flip(Datastore.put([entity(a, 1)])))
      for (let n = 0; n < 5; n++) {
        yield* settle
        yield* TestClock.adjust("1 second")
      }

      const error = yield* Fiber.join(fiber)

      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.isTrue(error.isRetryable)
      assert.include(
        error.message,
        "Datastore put failed: the service is unavailable (Datastore aborted the commit each time"
      )
      assert.strictEqual((error.cause as { readonly _tag: string })._tag, "ContentionError")
      assert.strictEqual(operationsOf(yield* recorder.report).length, 5)
      assert.strictEqual(yield* read(a), undefined)
    }).pipe(Effect.provide(world)))

  it.effect("an interruption during a put waits for it", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const [sent, answer] = [yield* makeGate, yield* makeGate]
      yield* faulty.inject("commit", Faulty.around({ before: Effect.andThen(sent.open, answer.wait) }))
      const fiber = yield* Effect.forkChild(Datastore.put([entity(a, 1)]))
      yield* sent.wait
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* settle
      const endedEarly = interruption.pollUnsafe() !== undefined

      yield* answer.open
      yield* Fiber.join(interruption)

      assert.isFalse(endedEarly)
      assert.strictEqual(yield* read(a), 1)
    }).pipe(Effect.provide(world)))

  it.effect("a put whose response is lost is not repeated", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      yield* faulty.inject("commit", Faulty.responseLost)

      const error = yield* Effect.flip(Datastore.put([entity(a, 1)]))

      assert.strictEqual(error.reason._tag, "OutcomeUnknown")
      assert.deepStrictEqual(operationsOf(yield* recorder.report), ["commit"])
    }).pipe(Effect.provide(world)))

  it.effect("a failed read is Unavailable, and retryable", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("lookup", Faulty.readFailure)

      const error = yield* Effect.flip(Datastore.get(a))

      assert.strictEqual(error.message, "Datastore lookup of K,\"a\" failed: the service is unavailable (injected)")
      assert.isTrue(error.isRetryable)
    }).pipe(Effect.provide(world)))

  it.effect("a query returns a kind below an ancestor in key order, up to its limit", () =>
    Effect.gen(function*() {
      const ids = ["b", "a", "c"]
      yield* Datastore.put(ids.map((id) => entity(Key.make("P", 1, "K", id), id)))
      yield* Datastore.put([entity(Key.make("P", 2, "K", "d"), 1), entity(Key.make("P", 1, "L", "e"), 1)])

      const { results } = yield* Datastore.query({ kind: "K", ancestor: Key.make("P", 1), limit: 2 })

      assert.deepStrictEqual(results.map(({ key }) => key.id), ["a", "b"])
    }).pipe(Effect.provide(world)))

  it.effect("a query whose limit is not a positive integer dies", () =>
    Effect.gen(function*() {
      for (const limit of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.strictEqual(
          yield* defectOf(Datastore.query({ kind: "K", limit })),
          `Datastore.query: limit is a positive integer, got ${limit}`
        )
      }
    }).pipe(Effect.provide(world)))
})
