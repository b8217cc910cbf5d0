import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Datastore from "../src/Datastore.ts"
import { remembering } from "../src/datastore/reads.ts"
import * as DsSet from "../src/DsSet.ts"
import { placeOf, recall } from "../src/dsset/memory.ts"
import * as Transaction from "../src/ground/transaction.ts"
import * as Key from "../src/Key.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { add, list, pop, set, shown, values } from "./utils/boxSet.ts"
import { defectOf, entity, operationsOf, otherProcess, read, storedItems, world, writesHead } from "./utils/boxWorld.ts"

const headKey = Key.make("Parent", "parent", "dsset.Tombstones", 1)
const itemKey = (id: string) => Key.make("Parent", "parent", "dsset.Item", id)

const isPatient = Effect.map(Datastore.Datastore, (datastore) => recall(placeOf(datastore, set.parent)).isPatient)

/** Loses a race for all that is visible, against an addition that replaces the first of these ids. */
const loseToItems = (...ids: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const listing = yield* list()
    yield* add(ids.slice(0, 1), { value: "replaced" })
    const error = yield* Effect.flip(pop(listing, ids))
    assert.strictEqual(error._tag, "ContentionError")
  })

/** The commit of a report that writes the head. */
const commitOf = ({ operations }: Recorder.Report) => {
  const calls = operations.map(({ call }) => call).filter(writesHead)
  assert.lengthOf(calls, 1)
  const [call] = calls
  return call?.operation === "commit" ? call.request : assert.fail("no commit")
}

/** What an effect does in another process, once, just before a call gets to the database. */
const elsewhere = <A, E>(effect: Effect.Effect<A, E, Datastore.Datastore>) =>
  Effect.map(otherProcess, (other) =>
    Effect.orDie(effect).pipe(
      Effect.provideService(Datastore.Datastore, other),
      Transaction.outside,
      Effect.asVoid
    ))

const popAll = Effect.flatMap(list(), (listing) => pop(listing))

describe("P2: a popped item dies in the commit", () => {
  it.effect("which deletes it, and expects it and the head as the listing saw them", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a", "b", "c"])
      const listing = yield* list()

      const [, report] = yield* recorder.during(pop(listing, ["a", "c"]))

      const { expected, mutations } = commitOf(report)
      const deleted = mutations.filter(({ _tag }) => _tag === "Delete").map((one) =>
        String(one._tag === "Delete" && one.key)
      )
      assert.sameMembers(deleted, [itemKey("a"), itemKey("c")].map(String))
      assert.sameMembers(expected.map(({ key }) => String(key)), [headKey, itemKey("a"), itemKey("c")].map(String))
      assert.deepStrictEqual(expected.find(({ key }) => key.id === "a"), listing.snapshots.get("a"))
      assert.lengthOf(report.operations, 1, "nothing follows")
      assert.deepStrictEqual(yield* storedItems(set.parent), ["b"])
    }).pipe(Effect.provide(world)))

  it.effect("also when nothing tells any longer that it was popped: it is not there", () =>
    Effect.gen(function*() {
      yield* add(["a"])
      yield* popAll
      yield* Datastore.remove([headKey])

      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(Effect.provide(world)))

  it.effect("one that was replaced between listing and commit is contention, and the next listing sees the new value", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"], { value: "old" })
      const listing = yield* list()
      yield* add(["a"], { value: "new" })

      const error = yield* Effect.flip(pop(listing))

      assert.strictEqual(error._tag, "ContentionError")
      const next = yield* list()
      assert.deepStrictEqual(values(next), ["a=new", "b=old"])
      assert.deepStrictEqual(yield* pop(next), ["a", "b"])
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(Effect.provide(world)))

  it.effect("one that is not popped may be replaced meanwhile", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"], { value: "old" })
      const listing = yield* list()
      yield* add(["a"], { value: "new" })

      assert.deepStrictEqual(yield* pop(listing, ["b"]), ["b"])
      assert.deepStrictEqual(values(yield* list()), ["a=new"])
    }).pipe(Effect.provide(world)))

  it.effect("one that `remove` took between listing and commit is contention, and nothing of its pop is written", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      const listing = yield* list()
      yield* DsSet.remove(set, ["a"])

      const error = yield* Effect.flip(pop(listing))

      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(shown(yield* list()), { items: ["b"], garbage: [] })
    }).pipe(Effect.provide(world)))
})

describe("a race that was lost to items alone makes the next listing patient", () => {
  it.effect("it reads the head before the items, and its pop expects the head and no item", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a", "b"])
      yield* loseToItems("a", "b")

      const [listing, read] = yield* recorder.during(list())
      const [popped, report] = yield* recorder.during(pop(listing))

      assert.deepStrictEqual(operationsOf(read), ["lookup", "query"])
      assert.strictEqual(read.rounds, 2)
      assert.deepStrictEqual(popped, ["a", "b"])
      assert.deepStrictEqual(commitOf(report).expected.map(({ key }) => String(key)), [String(headKey)])
      assert.deepStrictEqual(yield* storedItems(set.parent), [])
    }).pipe(Effect.provide(world)))

  // The load that starved 216 others: an id that is added again and again while it waits.
  it.effect("so that an id which is added again before every commit does not keep the others from being popped", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["hot", "a", "b"])
      let times = 0
      const again = yield* elsewhere(Effect.suspend(() => add(["hot"], { value: `${times++}` })))
      for (let n = 0; n < 5; n++) {
        yield* faulty.inject("commit", Faulty.around({ before: again }), { where: writesHead })
      }

      const first = yield* Effect.flip(popAll)
      const second = yield* popAll

      assert.strictEqual(first._tag, "ContentionError")
      assert.deepStrictEqual(second, ["a", "b", "hot"])
    }).pipe(Effect.provide(world)))

  it.effect("also where the transaction has finished a pop of another set before, whose items stay as they are", () =>
    Effect.gen(function*() {
      const other = DsSet.make({ parent: Key.make("Parent", "other") })
      yield* DsSet.add(other, [{ id: "x", value: new Uint8Array(1) }])
      yield* add(["a"])
      const listings = [yield* DsSet.list(other, { maxItems: 10 }), yield* list()]
      yield* add(["a"], { value: "replaced" })

      yield* Effect.flip(Datastore.withTransaction(Effect.forEach(listings, (listing) =>
        Effect.gen(function*() {
          const op = yield* DsSet.beginPop(listing.set, listing)
          for (const { id } of listing.items) op.pop(id)
          yield* DsSet.finishPop(op)
        }))))

      assert.isTrue(yield* isPatient)
    }).pipe(Effect.provide(world)))

  it.effect("until one of its pops has landed: then both are read at once again", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a"])
      yield* loseToItems("a")
      assert.isTrue(yield* isPatient)
      yield* list()
      assert.isTrue(yield* isPatient, "a listing alone changes nothing")

      yield* popAll

      assert.isFalse(yield* isPatient)
      const [, { rounds }] = yield* recorder.during(list())
      assert.strictEqual(rounds, 1)
    }).pipe(Effect.provide(world)))

  it.effect("and stays so when that pop loses its race to another", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a", "b"])
      yield* loseToItems("a")
      yield* faulty.inject("commit", Faulty.around({ before: yield* elsewhere(popAll) }), { where: writesHead })

      const error = yield* Effect.flip(popAll)

      assert.strictEqual(error._tag, "ContentionError", "the head tells")
      assert.isTrue(yield* isPatient)
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(Effect.provide(world)))

  // P2: the head is what a patient pop expects, so it must be older than the items.
  for (const operation of ["lookup", "query"] as const) {
    it.effect(`and a pop by another process just before its ${operation} pops nothing twice`, () =>
      Effect.gen(function*() {
        const faulty = yield* Faulty.Faulty
        yield* add(["a", "b"])
        yield* loseToItems("a")
        const other = yield* elsewhere(Effect.flatMap(list(), (listing) => pop(listing, ["a"])))
        yield* faulty.inject(operation, Faulty.around({ before: other }))

        const listing = yield* list()
        const result = yield* Effect.result(pop(listing))

        assert.deepStrictEqual(shown(listing).items, ["b"])
        // Before the query is after the head: what was read of that is no longer true.
        assert.strictEqual(result._tag, operation === "query" ? "Failure" : "Success")
      }).pipe(Effect.provide(world)))
  }

  it.effect("but not when the head had changed as well", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      const listing = yield* list()
      yield* yield* elsewhere(Effect.flatMap(list(), (one) => pop(one, ["b"])))
      yield* add(["a"], { value: "new" })

      yield* Effect.flip(pop(listing))

      assert.isFalse(yield* isPatient)
    }).pipe(Effect.provide(world)))

  it.effect("but not when something else had changed as well that the transaction read", () =>
    Effect.gen(function*() {
      const state = Key.make("K", 1)
      yield* add(["a"])
      const listing = yield* list()

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* read(state)
        yield* yield* elsewhere(Effect.andThen(add(["a"], { value: "new" }), Datastore.put([entity(state, 1)])))
        const op = yield* DsSet.beginPop(set, listing)
        op.pop("a")
        yield* DsSet.finishPop(op)
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.include((error as Error).message, "K,1")
      assert.isFalse(yield* isPatient)
    }).pipe(Effect.provide(world)))

  it.effect("but not when nothing was popped", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      yield* faulty.inject("commit", Faulty.contention, { where: writesHead })

      yield* Effect.flip(Effect.flatMap(list(), (listing) => pop(listing, [])))

      assert.isFalse(yield* isPatient)
    }).pipe(Effect.provide(world)))

  it.effect("and hides what was popped before, by any process", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      yield* loseToItems("a")
      yield* yield* elsewhere(Effect.flatMap(list(), (listing) => pop(listing, ["b"])))
      yield* add(["b"])

      assert.deepStrictEqual(shown(yield* list()), { items: ["a"], garbage: ["b"] })
    }).pipe(Effect.provide(world)))
})

describe("after a lost race", () => {
  it.effect("the error names what changed, the head and the state first, and no item beside them", () =>
    Effect.gen(function*() {
      const state = Key.make("K", 1)
      yield* add(Array.from({ length: 20 }, (_, n) => `id${n}`))
      const listing = yield* list()

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* Effect.forEach([1, 2, 3, 4, 5], (n) => Datastore.get(Key.make("Same", n)))
        yield* read(state)
        const op = yield* DsSet.beginPop(set, listing)
        for (const { id } of listing.items) op.pop(id)
        yield* DsSet.finishPop(op)
        yield* yield* elsewhere(Effect.andThen(popAll, Datastore.put([entity(state, 1)])))
      })))

      assert.deepStrictEqual(
        error._tag === "ContentionError" && error.reason._tag === "EntityChanged" &&
          error.reason.keys.map(String).toSorted(),
        ["K,1", String(headKey)]
      )
    }).pipe(Effect.provide(world)))

  it.effect("the error names three entities at most", () =>
    Effect.gen(function*() {
      const keys = Array.from({ length: 9 }, (_, n) => Key.make("K", n + 1))
      yield* add(["a"])
      const listing = yield* list()

      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.getAll(keys)
        yield* DsSet.finishPop(yield* DsSet.beginPop(set, listing))
        yield* yield* elsewhere(Effect.forEach(keys, (key) => Datastore.put([entity(key, 1)])))
      })))

      assert.lengthOf(
        error._tag === "ContentionError" && error.reason._tag === "EntityChanged" ? error.reason.keys : [],
        3
      )
    }).pipe(Effect.provide(world)))

  // A proxy sends a request again: the second one is refused, and that is what the client hears.
  it.effect("a commit that was delivered twice is told as landed, and what follows a commit runs once", () =>
    Effect.gen(function*() {
      const { backend } = yield* Datastore.Datastore
      const twice = yield* Datastore.make({
        ...backend,
        commit: (request) =>
          request.expected.length === 0
            ? backend.commit(request)
            : Effect.andThen(Effect.ignore(backend.commit(request)), backend.commit(request))
      })
      let noted = 0
      yield* add(["a"])

      yield* Effect.gen(function*() {
        const listing = yield* list()
        yield* Datastore.withTransaction(Effect.gen(function*() {
          const op = yield* DsSet.beginPop(set, listing)
          op.pop("a")
          yield* Datastore.put([entity(Key.make("K", 1), 1)])
          yield* DsSet.finishPop(op)
          yield* Datastore.afterCommit(Effect.sync(() => noted++))
        }))
      }).pipe(Effect.provideService(Datastore.Datastore, twice))

      assert.strictEqual(noted, 1)
      assert.strictEqual(yield* read(Key.make("K", 1)), 1)
      assert.deepStrictEqual(shown(yield* list()), { items: [], garbage: [] })
    }).pipe(Effect.provide(world)))

  it.effect("costs one lookup, of all that was expected but the items", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* add(["a", "b"])
      const listing = yield* list()
      yield* add(["a"], { value: "new" })

      const [, { operations }] = yield* recorder.during(Effect.flip(pop(listing)))

      assert.deepStrictEqual(
        operations.map((
          { call }
        ) => [call.operation, call.operation === "lookup" ? Recorder.keysOf(call).map(String) : []]),
        [["commit", []], ["lookup", [String(headKey)]]]
      )
    }).pipe(Effect.provide(world)))

  it.effect("a look that fails leaves doubt: the search goes on, and a fence settles it", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* add(["a"])
      const listing = yield* list()
      yield* add(["a"], { value: "new" })
      yield* faulty.inject("lookup", Faulty.readFailure)

      const error = yield* Effect.flip(pop(listing))

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Fenced")
      assert.deepStrictEqual(shown(yield* list()).items, ["a"])
    }).pipe(Effect.provide(world)))
})

describe("B9: a transaction does not add an id that it pops", () => {
  const message = "DsSet: the transaction that pops Parent,\"parent\"/dsset.Item,\"a\" adds the same id: it would be " +
    "swallowed as a repetition. Add another id, or leave the item where it is."
  const popping = (
    body: (op: DsSet.PopOp) => Effect.Effect<unknown, unknown, Datastore.Datastore | Transaction.Transaction>
  ) =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      const listing = yield* list()
      return yield* defectOf(Datastore.withTransaction(Effect.gen(function*() {
        const op = yield* DsSet.beginPop(set, listing)
        op.pop("a")
        yield* body(op)
      })))
    })

  it.effect("it dies when it adds before finishPop, and nothing is written", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* popping((op) => Effect.andThen(add(["a"]), DsSet.finishPop(op))), message)
      assert.deepStrictEqual(shown(yield* list()), { items: ["a", "b"], garbage: [] })
    }).pipe(Effect.provide(world)))

  it.effect("it dies when it adds after finishPop, and nothing is written", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* popping((op) => Effect.andThen(DsSet.finishPop(op), add(["x", "a"]))), message)
      assert.deepStrictEqual(shown(yield* list()), { items: ["a", "b"], garbage: [] })
    }).pipe(Effect.provide(world)))

  it.effect("it may add any other id, also one of the listing that it does not pop", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      const listing = yield* list()

      yield* Datastore.withTransaction(Effect.gen(function*() {
        const op = yield* DsSet.beginPop(set, listing)
        op.pop("a")
        yield* add(["b", "c"], { value: "new" })
        yield* DsSet.finishPop(op)
        yield* add(["d"], { value: "new" })
      }))

      assert.deepStrictEqual(values(yield* list()), ["b=new", "c=new", "d=new"])
    }).pipe(Effect.provide(world)))

  it.effect("it may add the same id to another set", () =>
    Effect.gen(function*() {
      const other = DsSet.make({ parent: Key.make("Parent", "other") })
      yield* add(["a"])
      const listing = yield* list()

      yield* Datastore.withTransaction(Effect.gen(function*() {
        const op = yield* DsSet.beginPop(set, listing)
        op.pop("a")
        yield* DsSet.finishPop(op)
        yield* DsSet.add(other, [{ id: "a", value: new Uint8Array(1) }])
      }))

      assert.deepStrictEqual(shown(yield* DsSet.list(other, { maxItems: 9 })).items, ["a"])
    }).pipe(Effect.provide(world)))
})

describe("a listing of a fiber whose reads are remembered", () => {
  it.effect("reads the head anew: what another process popped meanwhile is no contention for ever", () =>
    Effect.gen(function*() {
      const other = yield* elsewhere(popAll)

      const [popped] = yield* remembering(Effect.gen(function*() {
        yield* add(["a"])
        yield* list()
        yield* other
        yield* add(["b"])
        return yield* popAll
      }))

      assert.deepStrictEqual(popped, ["b"])
    }).pipe(Effect.provide(world)))
})
