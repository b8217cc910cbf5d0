import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { Backend, Mutation } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import type { ContentionError, DatastoreError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as DatastoreSuite from "../../src/testing/DatastoreSuite.ts"
import * as Faulty from "../../src/testing/Faulty.ts"
import * as Recorder from "../../src/testing/Recorder.ts"

DatastoreSuite.suite("InMemory behind a Faulty without faults", Layer.provide(Faulty.layer(), InMemory.layer))

const key = Key.make("Leaf", 1)
const upsert = (value: number, at = key): Mutation => ({ _tag: "Upsert", entity: Entity.make(at, { value }) })
const commit = (backend: Backend, value: number, at = key) =>
  backend.commit({ mutations: [upsert(value, at)], expected: [] })
const stored = (backend: Backend, at = key) =>
  Effect.map(backend.lookup([at]), ([snapshot]) => Option.getOrUndefined(snapshot!.entity)?.properties["value"])

const setup = (options?: Faulty.Options) =>
  Effect.gen(function*() {
    const inner = yield* InMemory.makeBackend
    return { inner, ...(yield* Faulty.make(inner, options)) }
  })

const tagOf = <R>(effect: Effect.Effect<unknown, ContentionError | DatastoreError, R>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return "Success"
    const [reason] = exit.cause.reasons
    if (reason?._tag !== "Fail") return reason!._tag
    return reason.error._tag === "ContentionError" ? "ContentionError" : reason.error.reason._tag
  })

describe("Faulty commits", () => {
  it.effect("a lost request reports OutcomeUnknown and never lands", () =>
    Effect.gen(function*() {
      const { backend, counts, inject, inner } = yield* setup()
      yield* inject("commit", Faulty.requestLost)

      const error = yield* Effect.flip(commit(backend, 1))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
      assert.include(error.message, "Leaf,1")
      assert.isUndefined(yield* stored(inner))
      assert.strictEqual((yield* counts).RequestLost, 1)
      assert.strictEqual(yield* tagOf(commit(backend, 2)), "Success")
    }))

  it.effect("a lost response reports OutcomeUnknown after the commit landed", () =>
    Effect.gen(function*() {
      const { backend, counts, inject, inner } = yield* setup()
      yield* inject("commit", Faulty.responseLost)

      assert.strictEqual(yield* tagOf(commit(backend, 1)), "OutcomeUnknown")

      assert.strictEqual(yield* stored(inner), 1)
      assert.strictEqual((yield* counts).ResponseLost, 1)
    }))

  it.effect("a lost response hides contention too", () =>
    Effect.gen(function*() {
      const { backend, inject, inner } = yield* setup()
      const expected = yield* backend.lookup([key])
      yield* commit(inner, 1)
      yield* inject("commit", Faulty.responseLost)

      assert.strictEqual(yield* tagOf(backend.commit({ mutations: [upsert(2)], expected })), "OutcomeUnknown")

      assert.strictEqual(yield* stored(inner), 1)
    }))

  it.effect("a late commit lands when the test lets it, judged by what is stored then", () =>
    Effect.gen(function*() {
      const { backend, counts, held, inject, inner, releaseLate } = yield* setup()
      const other = Key.make("Leaf", 2)
      const expected = yield* backend.lookup([key])
      for (let n = 0; n < 3; n++) yield* inject("commit", Faulty.late())
      const late = [
        commit(backend, 1, other),
        backend.commit({ mutations: [upsert(2)], expected }),
        backend.commit({ mutations: [upsert(3)], expected })
      ]
      assert.deepStrictEqual(yield* Effect.forEach(late, tagOf), ["OutcomeUnknown", "OutcomeUnknown", "OutcomeUnknown"])
      assert.isUndefined(yield* stored(inner))
      assert.strictEqual((yield* held).length, 3)
      yield* TestClock.adjust("1 day")
      assert.isUndefined(yield* stored(inner, other))

      const landed = yield* releaseLate

      assert.deepStrictEqual(landed.map(Exit.isSuccess), [true, true, false])
      assert.strictEqual(yield* stored(inner, other), 1)
      assert.strictEqual(yield* stored(inner), 2)
      assert.deepStrictEqual(yield* held, [])
      assert.deepStrictEqual(yield* releaseLate, [])
      assert.strictEqual((yield* counts).Late, 3)
    }))

  it.effect("a late commit with a lateness lands when that has passed, once", () =>
    Effect.gen(function*() {
      const { backend, held, inject, inner, releaseLate } = yield* setup()
      yield* inject("commit", Faulty.late("5 seconds"))
      assert.strictEqual(yield* tagOf(commit(backend, 1)), "OutcomeUnknown")

      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(yield* stored(inner))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* stored(inner), 1)
      assert.deepStrictEqual(yield* held, [])

      yield* inject("commit", Faulty.late("5 seconds"))
      yield* commit(backend, 2).pipe(Effect.exit)
      assert.strictEqual((yield* releaseLate).length, 1)
      yield* commit(inner, 3)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* stored(inner), 3)
    }))

  it.effect("late commits that are held when the scope closes never land", () =>
    Effect.gen(function*() {
      const inner = yield* InMemory.makeBackend
      const scope = yield* Scope.make()
      const { backend, inject } = yield* Scope.provide(Faulty.make(inner), scope)
      yield* inject("commit", Faulty.late("5 seconds"))
      yield* Effect.exit(commit(backend, 1))

      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 minute")

      assert.isUndefined(yield* stored(inner))
    }))

  it.effect("contention is reported and nothing is written", () =>
    Effect.gen(function*() {
      const { backend, counts, inject, inner } = yield* setup()
      yield* inject("commit", Faulty.contention)

      assert.strictEqual(yield* tagOf(commit(backend, 1)), "ContentionError")

      assert.isUndefined(yield* stored(inner))
      assert.strictEqual((yield* counts).Contention, 1)
    }))
})

describe("Faulty reads", () => {
  it.effect("a lookup and a query fail with Unavailable, which is worth a retry", () =>
    Effect.gen(function*() {
      const { backend, counts, inject } = yield* setup()
      yield* inject("lookup", Faulty.readFailure)
      yield* inject("query", Faulty.readFailure)

      const errors = [yield* Effect.flip(backend.lookup([key])), yield* Effect.flip(backend.query({ kind: "Leaf" }))]

      assert.deepStrictEqual(errors.map(({ reason }) => reason._tag), ["Unavailable", "Unavailable"])
      assert.isTrue(errors.every(({ isRetryable }) => isRetryable))
      assert.deepStrictEqual(errors.map(({ operation }) => operation), ["lookup", "query"])
      assert.strictEqual((yield* counts).ReadFailure, 2)
      yield* Effect.all([backend.lookup([key]), backend.query({ kind: "Leaf" })])
    }))
})

describe("Faulty around", () => {
  it.effect("another writer can come just before a commit", () =>
    Effect.gen(function*() {
      const { backend, counts, inject, inner } = yield* setup()
      const expected = yield* backend.lookup([key])
      yield* inject("commit", Faulty.around({ before: Effect.orDie(commit(inner, 7)) }))

      assert.strictEqual(yield* tagOf(backend.commit({ mutations: [upsert(1)], expected })), "ContentionError")

      assert.strictEqual(yield* stored(inner), 7)
      assert.strictEqual((yield* counts).Around, 1)
    }))

  it.effect("an answer can be held back after the read saw its snapshot", () =>
    Effect.gen(function*() {
      const { backend, inject, inner } = yield* setup()
      const gate = yield* Deferred.make<void>()
      yield* inject("lookup", Faulty.around({ after: Deferred.await(gate) }))
      const slow = yield* Effect.forkChild(stored(backend), { startImmediately: true })
      yield* commit(inner, 1)
      yield* Deferred.succeed(gate, undefined)

      assert.isUndefined(yield* Fiber.join(slow))
      assert.strictEqual(yield* stored(backend), 1)
    }))

  it.effect("a delay runs on the clock, on the way there and on the way back", () =>
    Effect.gen(function*() {
      const { backend, inject, inner } = yield* setup()
      yield* inject("commit", Faulty.delay({ before: "2 seconds", after: "3 seconds" }))
      const fiber = yield* Effect.forkChild(commit(backend, 1), { startImmediately: true })

      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(yield* stored(inner))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* stored(inner), 1)
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
    }))
})

describe("Faulty targets", () => {
  const failing = (backend: Backend, times: number) =>
    Effect.forEach(
      Array.from({ length: times }),
      () => Effect.map(tagOf(backend.lookup([key])), (tag) => tag !== "Success")
    )

  it.effect("a planned fault happens once, to the nth call of its operation", () =>
    Effect.gen(function*() {
      const { backend, inject, planned } = yield* setup()
      yield* inject("lookup", Faulty.readFailure, { nth: 3 })
      yield* inject("commit", Faulty.requestLost)

      assert.deepStrictEqual(yield* failing(backend, 5), [false, false, true, false, false])
      assert.strictEqual(yield* planned, 1)
      assert.strictEqual(yield* tagOf(commit(backend, 1)), "OutcomeUnknown")
      assert.strictEqual(yield* planned, 0)
    }))

  it.effect("faults that are due together happen one after the other, in the order of planning", () =>
    Effect.gen(function*() {
      const { backend, inject } = yield* setup()
      yield* inject("lookup", Faulty.readFailure, { nth: 4 })
      yield* inject("lookup", Faulty.readFailure)
      yield* inject("lookup", Faulty.readFailure)
      yield* inject("commit", Faulty.contention)
      yield* inject("commit", Faulty.requestLost)

      assert.deepStrictEqual(yield* failing(backend, 5), [true, true, false, true, false])
      assert.strictEqual(yield* tagOf(commit(backend, 1)), "ContentionError")
      assert.strictEqual(yield* tagOf(commit(backend, 1)), "OutcomeUnknown")
    }))

  it.effect("a target counts only the calls that it wants", () =>
    Effect.gen(function*() {
      const { backend, inject } = yield* setup()
      const other = Key.make("Other", 1)
      yield* inject("commit", Faulty.requestLost, { nth: 2, where: (call) => Recorder.kindsOf(call).includes("Other") })

      const tags = yield* Effect.forEach([key, other, key, other, other], (at) => tagOf(commit(backend, 1, at)))

      assert.deepStrictEqual(tags, ["Success", "Success", "Success", "OutcomeUnknown", "Success"])
    }))

  it.effect("heal ends all faults, and leaves late commits where they are", () =>
    Effect.gen(function*() {
      const { backend, heal, held, inject, planned } = yield* setup({ rates: { readFailure: 1, requestLost: 1 } })
      yield* inject("lookup", Faulty.readFailure, { nth: 2 })
      yield* inject("commit", Faulty.late())
      yield* Effect.exit(commit(backend, 1))
      assert.deepStrictEqual(yield* failing(backend, 1), [true])

      yield* heal

      assert.deepStrictEqual(yield* failing(backend, 5), [false, false, false, false, false])
      assert.strictEqual(yield* tagOf(commit(backend, 1)), "Success")
      assert.strictEqual(yield* planned, 0)
      assert.strictEqual((yield* held).length, 1)
    }))
})

describe("Faulty rates", () => {
  const rates: Faulty.Rates = { readFailure: 0.2, requestLost: 0.1, responseLost: 0.2, late: 0.1, contention: 0.3 }

  /** Outcomes of 400 lookups and 400 commits in turn. */
  const history = (options: Faulty.Options) =>
    Effect.gen(function*() {
      const { backend, counts } = yield* setup(options)
      const outcomes: Array<string> = []
      for (let n = 0; n < 400; n++) outcomes.push(yield* tagOf(backend.lookup([key])), yield* tagOf(commit(backend, n)))
      return { outcomes, counts: yield* counts }
    })

  it.effect("faults happen about as often as asked", () =>
    Effect.gen(function*() {
      const { counts, outcomes } = yield* history({ rates })

      for (
        const [tag, rate] of [
          ["ReadFailure", 0.2],
          ["RequestLost", 0.1],
          ["ResponseLost", 0.2],
          ["Late", 0.1],
          ["Contention", 0.3]
        ] as const
      ) {
        // Five standard deviations.
        assert.closeTo(counts[tag] / 400, rate, 5 * Math.sqrt(rate * (1 - rate) / 400), tag)
      }
      const seen = (tag: string) => outcomes.filter((one) => one === tag).length
      assert.strictEqual(seen("Unavailable"), counts.ReadFailure)
      assert.strictEqual(seen("OutcomeUnknown"), counts.RequestLost + counts.ResponseLost + counts.Late)
      assert.strictEqual(seen("ContentionError"), counts.Contention)
    }).pipe(Random.withSeed("rates")))

  it.effect("one seed is one history", () =>
    Effect.gen(function*() {
      const first = yield* Random.withSeed(history({ rates }), "one")
      const again = yield* Random.withSeed(history({ rates }), "one")
      const other = yield* Random.withSeed(history({ rates }), "two")

      assert.deepStrictEqual(again, first)
      assert.notDeepEqual(other, first)
    }))

  it.effect("the seed also reaches lookups that Datastore merges", () =>
    Effect.gen(function*() {
      const reads = Effect.forEach(Array.from({ length: 100 }), () =>
        Effect.map(Effect.exit(Datastore.get(key)), Exit.isSuccess))
      const run = (seed: string) =>
        reads.pipe(
          Effect.provide(Layer.provide(Faulty.layer({ rates: { readFailure: 0.5 } }), Layer.fresh(InMemory.layer))),
          Random.withSeed(seed)
        )

      const first = yield* run("one")

      assert.sameMembers(Array.from(new Set(first)), [true, false])
      assert.deepStrictEqual(yield* run("one"), first)
      assert.notDeepEqual(yield* run("two"), first)
    }))

  it.effect("delays by chance stay within their bound, on both ways", () =>
    Effect.gen(function*() {
      const { backend, counts, inner } = yield* setup({ rates: { delay: 1 }, maxDelay: "10 seconds" })
      const fiber = yield* Effect.forkChild(commit(backend, 1), { startImmediately: true })
      assert.isUndefined(yield* stored(inner))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* stored(inner), 1)
      yield* TestClock.adjust("10 seconds")

      assert.isTrue(Exit.isSuccess(fiber.pollUnsafe()!))
      assert.strictEqual((yield* counts).Delay, 2)
    }).pipe(Random.withSeed("delays")))

  it.effect("late commits by chance land within their bound", () =>
    Effect.gen(function*() {
      const { backend, held, inner } = yield* setup({ rates: { late: 1 }, maxLateness: "3 seconds" })
      for (let n = 1; n <= 20; n++) yield* Effect.exit(commit(backend, n, Key.make("Leaf", n)))
      assert.strictEqual((yield* held).length, 20)
      yield* TestClock.adjust("1500 millis")
      const halfway = (yield* held).length
      yield* TestClock.adjust("1500 millis")

      assert.isAbove(halfway, 0)
      assert.isBelow(halfway, 20)
      assert.deepStrictEqual(yield* held, [])
      assert.strictEqual((yield* inner.query({ kind: "Leaf" })).results.length, 20)
    }).pipe(Random.withSeed("late")))

  it.effect("no rates, no faults, until they are set", () =>
    Effect.gen(function*() {
      const { backend, setRates } = yield* setup()
      assert.strictEqual(yield* tagOf(commit(backend, 1)), "Success")

      yield* setRates({ contention: 1 })

      assert.strictEqual(yield* tagOf(commit(backend, 1)), "ContentionError")
    }))
})

describe("Faulty.layer", () => {
  it.effect("stands between Datastore and its backend", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("commit", Faulty.responseLost)

      assert.strictEqual(yield* tagOf(Datastore.put([Entity.make(key, { value: 1 })])), "OutcomeUnknown")

      assert.isTrue(Option.isSome(yield* Datastore.get(key)))
    }).pipe(Effect.provide(Layer.provide(Faulty.layer(), InMemory.layer))))
})
