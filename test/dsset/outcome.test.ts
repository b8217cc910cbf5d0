import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Key from "../../src/Key.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { add, list, pop, set, shown } from "../utils/boxSet.ts"
import { entity, inTime, otherProcess, read, settle, storedItems, world, writesHead } from "../utils/boxWorld.ts"

const state = Key.make("K", "state")

/** One consumer: pops all of a listing, writes beside it, and notes that its commit has landed. */
const consume = (listing: DsSet.Listing) =>
  Effect.gen(function*() {
    let noted = false
    const exit = yield* Effect.exit(inTime(Datastore.withTransaction(Effect.gen(function*() {
      const before = yield* read(state)
      const op = yield* DsSet.beginPop(set, listing)
      const popped = listing.items.filter(({ id }) => op.pop(id)).length
      yield* Datastore.put([entity(state, Number(before ?? 0) + popped)])
      yield* DsSet.finishPop(op)
      yield* Datastore.afterCommit(Effect.sync(() => {
        noted = true
      }))
    }))))
    yield* settle
    return { exit, noted }
  })

type Consumed = Effect.Success<ReturnType<typeof consume>>

/** What is there in the end: the state, the visible items, the stored items. */
const finalState = Effect.gen(function*() {
  const listing = yield* DsSet.list(set, { maxItems: 100, cursor: { sweep: undefined } })
  return { state: yield* read(state), items: shown(listing).items, stored: yield* storedItems(set.parent) }
})

const landed = { state: 2, items: [], stored: [] }
const untouched = { state: undefined, items: ["a", "b"], stored: ["a", "b"] }

const assertLanded = ({ exit, noted }: Consumed) =>
  Effect.gen(function*() {
    assert.isTrue(Exit.isSuccess(exit), String(exit))
    assert.isTrue(noted)
    assert.deepStrictEqual(yield* finalState, landed)
  })

/** The error of a consumer whose commit did not land. */
const errorOf = ({ exit, noted }: Consumed) =>
  Effect.gen(function*() {
    assert.isFalse(noted)
    return yield* Effect.flip(exit)
  })

const assertFenced = (consumed: Consumed) =>
  Effect.gen(function*() {
    const error = yield* errorOf(consumed)
    assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Fenced")
    assert.include(error.message, "it did not land, and a later write keeps it from landing")
    assert.strictEqual((error.cause as { readonly _tag: string })._tag, "DatastoreError")
    assert.deepStrictEqual(yield* finalState, untouched)
  })

const assertOutcomeUnknown = (consumed: Consumed) =>
  Effect.gen(function*() {
    const error = yield* errorOf(consumed)
    assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
    assert.include(error.message, "load again before repeating anything")
  })

/** A pop of what another process sees. */
const otherPop = (ids?: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const other = yield* otherProcess
    return Effect.flatMap(list(), (listing) => pop(listing, ids)).pipe(
      Effect.provideService(Datastore.Datastore, other),
      Effect.orDie,
      Effect.asVoid
    )
  })

const readsHead = (call: Recorder.Call) =>
  call.operation === "lookup" && Recorder.kindsOf(call).includes("dsset.Tombstones")

// Each of the following with a set that has no head yet, where absence is what the commit expects, and with one that
// has.
describe.each([["that was never popped from", false], ["with a head", true]] as const)(
  "a commit without a response, on a set %s",
  (_, hasHead) => {
    const setUp = Effect.gen(function*() {
      if (hasHead) yield* pop(yield* list(), [])
      yield* add(["a", "b"])
      return { faulty: yield* Faulty.Faulty, listing: yield* list() }
    })
    const loseCommit = (faulty: Faulty.Faulty["Service"], fault: Faulty.CommitFault) =>
      faulty.inject("commit", fault, { where: writesHead })

    it.effect("that landed is a success, with all its effects", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.responseLost)

        yield* assertLanded(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("that was lost on its way is contention, once a fence has made sure that it never lands", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.requestLost)

        yield* assertFenced(yield* consume(listing))
        yield* assertLanded(yield* consume(yield* list()))
      }).pipe(Effect.provide(world)))

    it.effect("that is late does not land after its fence", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.late())
        const consumed = yield* consume(listing)

        const [late] = yield* faulty.releaseLate

        assert.isTrue(Exit.isFailure(late!))
        assert.include(String(late), "ContentionError")
        yield* assertFenced(consumed)
      }).pipe(Effect.provide(world)))

    it.effect("that lands while it is looked for is a success", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.late())
        // The second commit that writes the head is the fence.
        yield* loseCommit(faulty, Faulty.around({ before: Effect.asVoid(faulty.releaseLate) }))

        yield* assertLanded(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("that was late, while another consumer was first, is contention, and never lands", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.late())
        yield* faulty.inject("lookup", Faulty.around({ before: yield* otherPop(["a"]) }), { where: readsHead })

        const error = yield* errorOf(yield* consume(listing))
        const [late] = yield* faulty.releaseLate

        assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "EntityChanged")
        assert.isTrue(Exit.isFailure(late!))
        assert.deepStrictEqual(yield* finalState, { state: undefined, items: ["b"], stored: ["b"] })
      }).pipe(Effect.provide(world)))

    it.effect("that landed, while another consumer came after it, is a success: its token is still there", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.responseLost)
        yield* faulty.inject("lookup", Faulty.around({ before: yield* otherPop() }), { where: readsHead })

        yield* assertLanded(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("whose fence landed without a response is contention", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.requestLost)
        yield* loseCommit(faulty, Faulty.responseLost)

        const error = yield* errorOf(yield* consume(listing))

        assert.strictEqual(error._tag, "ContentionError")
        assert.deepStrictEqual(yield* finalState, untouched)
      }).pipe(Effect.provide(world)))

    it.effect("whose fence was lost as well is fenced again", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        for (let n = 0; n < 3; n++) yield* loseCommit(faulty, Faulty.requestLost)

        yield* assertFenced(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("whose fence met contention that was nobody's is fenced again", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.requestLost)
        for (let n = 0; n < 3; n++) yield* loseCommit(faulty, Faulty.contention)

        yield* assertFenced(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("is looked for again when the head cannot be read, with pauses", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.responseLost)
        for (let n = 0; n < 5; n++) yield* faulty.inject("lookup", Faulty.readFailure, { where: readsHead })

        yield* assertLanded(yield* consume(listing))

        // 0.1, 0.2, 0.4, 0.8 and 1.6 seconds, each times 0.5 to 1.5.
        const now = yield* Clock.currentTimeMillis
        assert.isAtLeast(now, 1_550)
        assert.isAtMost(now, 4_650 + 5 * 250)
      }).pipe(Effect.provide(world)))

    it.effect("is OutcomeUnknown when the head cannot be read at all, after eight tries", () =>
      Effect.gen(function*() {
        const recorder = yield* Recorder.Recorder
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.responseLost)
        for (let n = 0; n < 8; n++) yield* faulty.inject("lookup", Faulty.readFailure, { where: readsHead })
        yield* recorder.reset

        yield* assertOutcomeUnknown(yield* consume(listing))

        assert.strictEqual(yield* faulty.planned, 0)
        assert.strictEqual((yield* recorder.report).operations.filter(({ call }) => readsHead(call)).length, 8)
      }).pipe(Effect.provide(world)))

    it.effect("is OutcomeUnknown when the fences stay without a response, too", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        for (let n = 0; n < 9; n++) yield* loseCommit(faulty, Faulty.requestLost)

        yield* assertOutcomeUnknown(yield* consume(listing))

        assert.strictEqual(yield* faulty.planned, 0)
        assert.deepStrictEqual(yield* finalState, untouched)
      }).pipe(Effect.provide(world)))

    // Tokens are erased with their tombstones: late, an absent one could be that of a landed commit.
    it.effect("is OutcomeUnknown when another token is found after half of the tombstones delay", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.requestLost)
        yield* faulty.inject(
          "lookup",
          Faulty.around({ before: yield* otherPop(["a"]), after: Effect.sleep("151 seconds") }),
          {
            where: readsHead
          }
        )

        yield* assertOutcomeUnknown(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("is OutcomeUnknown when half of the tombstones delay is over, however few the tries were", () =>
      Effect.gen(function*() {
        const recorder = yield* Recorder.Recorder
        const { faulty, listing } = yield* setUp
        for (let n = 0; n < 9; n++) {
          yield* loseCommit(faulty, Faulty.requestLost)
          yield* faulty.inject("lookup", Faulty.delay({ before: "100 seconds" }), { where: readsHead })
        }
        yield* recorder.reset

        yield* assertOutcomeUnknown(yield* consume(listing))

        assert.lengthOf((yield* recorder.report).operations.filter(({ call }) => readsHead(call)), 2)
      }).pipe(Effect.provide(world)))

    it.effect("is contention when that is found just before", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.requestLost)
        yield* faulty.inject(
          "lookup",
          Faulty.around({ before: yield* otherPop(["a"]), after: Effect.sleep("149 seconds") }),
          {
            where: readsHead
          }
        )

        assert.strictEqual((yield* errorOf(yield* consume(listing)))._tag, "ContentionError")
      }).pipe(Effect.provide(world)))

    it.effect("is a success when its own token is found, however late", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.responseLost)
        yield* faulty.inject("lookup", Faulty.delay({ after: "200 seconds" }), { where: readsHead })

        yield* assertLanded(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("is fenced when the head is unchanged, however late that is seen", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.requestLost)
        yield* faulty.inject("lookup", Faulty.delay({ after: "200 seconds" }), { where: readsHead })

        yield* assertFenced(yield* consume(listing))
      }).pipe(Effect.provide(world)))

    it.effect("is found out although its fiber is interrupted meanwhile", () =>
      Effect.gen(function*() {
        const { faulty, listing } = yield* setUp
        yield* loseCommit(faulty, Faulty.responseLost)
        const asked = yield* Deferred.make<void>()
        yield* faulty.inject("lookup", Faulty.around({ before: Deferred.succeed(asked, undefined) }), {
          where: readsHead
        })
        const noted = yield* Ref.make(false)
        const fiber = yield* Effect.forkChild(Datastore.withTransaction(Effect.gen(function*() {
          yield* DsSet.finishPop(yield* DsSet.beginPop(set, listing))
          yield* Datastore.afterCommit(Ref.set(noted, true))
        })))

        yield* Deferred.await(asked)
        yield* Fiber.interrupt(fiber)
        yield* settle

        assert.isTrue(yield* Ref.get(noted))
      }).pipe(Effect.provide(world)))
  }
)

describe("a commit that met contention", () => {
  // It may have been delivered twice, and its token erased since.
  it.effect("is OutcomeUnknown when another token is found after half of the tombstones delay, else contention", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      for (const [after, tag] of [["149 seconds", "ContentionError"], ["151 seconds", "DatastoreError"]] as const) {
        yield* add(["a", "b"])
        const listing = yield* list()
        const other = yield* otherPop([])
        yield* faulty.inject("commit", Faulty.around({ before: other, after: Effect.sleep(after) }), {
          where: writesHead
        })

        const error = yield* errorOf(yield* consume(listing))

        assert.strictEqual(error._tag, tag)
        assert.isTrue(error._tag === "ContentionError" || error.reason._tag === "OutcomeUnknown")
      }
    }).pipe(Effect.provide(world)))

  it.effect("is contention, however late, when the head is unchanged", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      const listing = yield* list()
      yield* add(["a"], { value: "new" })
      yield* faulty.inject("commit", Faulty.delay({ after: "200 seconds" }), { where: writesHead })

      const error = yield* errorOf(yield* consume(listing))

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "EntityChanged")
    }).pipe(Effect.provide(world)))
})

describe("a commit without a response", () => {
  const two = DsSet.make({ parent: Key.make("Parent", "two") })

  const popBoth = Effect.gen(function*() {
    yield* add(["a"])
    yield* DsSet.add(two, [{ id: "b", value: new Uint8Array(1) }])
    const listings = [yield* list(), yield* DsSet.list(two, { maxItems: 9 })] as const
    return inTime(Datastore.withTransaction(Effect.gen(function*() {
      const ops = [yield* DsSet.beginPop(set, listings[0]), yield* DsSet.beginPop(two, listings[1])]
      ops[0]!.pop("a")
      ops[1]!.pop("b")
      yield* DsSet.finishPop(...ops)
    })))
  })
  const left = Effect.gen(function*() {
    yield* settle
    return [yield* storedItems(set.parent), yield* storedItems(two.parent)]
  })

  it.effect("that popped from several sets and landed is a success for all", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const both = yield* popBoth
      yield* faulty.inject("commit", Faulty.responseLost)

      yield* both

      assert.deepStrictEqual(yield* left, [[], []])
    }).pipe(Effect.provide(world)))

  it.effect("that popped from several sets and was lost is contention for all", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const both = yield* popBoth
      yield* faulty.inject("commit", Faulty.late())

      const error = yield* Effect.flip(both)
      yield* faulty.releaseLate

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Fenced")
      assert.deepStrictEqual(yield* left, [["a"], ["b"]])
    }).pipe(Effect.provide(world)))

  it.effect("is looked for by one read, and no pause, when it landed", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      yield* add(["a"])
      const listing = yield* list()
      yield* faulty.inject("commit", Faulty.responseLost)
      yield* recorder.reset

      yield* pop(listing)

      const { operations } = yield* recorder.report
      assert.strictEqual(operations.filter(({ call }) => call.operation === "lookup").length, 1)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }).pipe(Effect.provide(world)))

  it.effect("keeps the tombstones of others when it is fenced: what they hide stays hidden", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["popped before"], { atMillis: 0 })
      yield* pop(yield* list())
      yield* settle
      yield* add(["popped before"], { atMillis: 0 })
      yield* add(["a"])
      yield* faulty.inject("commit", Faulty.requestLost)

      const error = yield* Effect.flip(inTime(pop(yield* list())))

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Fenced")
      assert.deepStrictEqual(shown(yield* list()), { items: ["a"], garbage: ["popped before"] })
    }).pipe(Effect.provide(world)))

  it.effect("keeps its fence as long as a tombstone, and no longer", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      yield* faulty.inject("commit", Faulty.requestLost)
      yield* Effect.flip(inTime(pop(yield* list())))
      const { tombstones: { pops } } = yield* list()
      assert.lengthOf(pops, 1)

      yield* TestClock.setTime(pops[0]!.atMillis + 300_000)
      yield* pop(yield* list())
      assert.lengthOf((yield* list()).tombstones.pops, 2)

      yield* settle
      yield* TestClock.adjust("5 minutes")
      yield* TestClock.adjust("1 millis")
      yield* pop(yield* list(), [])
      assert.lengthOf((yield* list()).tombstones.pops, 1)
    }).pipe(Effect.provide(world)))
})
