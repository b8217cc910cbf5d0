import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Result } from "effect"
import type { Mutation, Snapshot } from "../src/Backend.ts"
import * as Datastore from "../src/Datastore.ts"
import { remembering } from "../src/datastore/reads.ts"
import { transact } from "../src/datastore/transact.ts"
import * as Entity from "../src/Entity.ts"
import * as Transaction from "../src/ground/transaction.ts"
import * as Key from "../src/Key.ts"
import * as InMemory from "../src/layers/InMemory.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { entity, makeGate, operationsOf, read, settle, world } from "./utils/boxWorld.ts"

const key = Key.make("K", "a")
const other = Key.make("K", "b")

/** Another process puts an entity. */
const elsewhere = (at: Key.Key, n: number) =>
  Effect.flatMap(
    InMemory.InMemory,
    ({ backend }) =>
      Effect.orDie(backend.commit({ mutations: [{ _tag: "Upsert", entity: entity(at, n) }], expected: [] }))
  )

type Tag = "Insert" | "Upsert" | "Patch" | "Delete"

const write = (tag: Tag, n: number): Mutation =>
  tag === "Delete" ? { _tag: tag, key } : { _tag: tag, entity: entity(key, n) }

/**
 * What a first and a second write of one key come to: the one write that says both, or the reason why there is none.
 */
const combine = (first: Tag, second: Tag): string => {
  const writes = new Map<string, Mutation>()
  Result.getOrThrow(Transaction.buffer(writes, [write(first, 1)], "put"))
  const result = Transaction.buffer(writes, [write(second, 2)], "put")
  if (Result.isFailure(result)) return result.failure.reason._tag
  const [mutation, ...more] = writes.values()
  assert.isEmpty(more)
  return mutation!._tag === "Delete" ? "Delete" : `${mutation!._tag} ${mutation!.entity.properties["n"]}`
}

describe("writes of one key in one transaction", () => {
  it.each(
    [
      ["Upsert", "Upsert", "Upsert 2"],
      ["Upsert", "Delete", "Delete"],
      ["Delete", "Upsert", "Upsert 2"],
      ["Delete", "Delete", "Delete"],
      // The entity must not have existed before the transaction, whatever is written then.
      ["Insert", "Upsert", "Insert 2"],
      // What was removed exists no more, so that an insert cannot fail: it writes, whether or not the entity existed.
      ["Delete", "Insert", "Upsert 2"],
      ["Upsert", "Insert", "AlreadyExists"],
      ["Insert", "Insert", "AlreadyExists"],
      // "It must not exist, and then do nothing": no single mutation says that.
      ["Insert", "Delete", "InvalidArgument"],
      ["Upsert", "Patch", "Upsert 2"],
      ["Insert", "Patch", "Insert 2"],
      ["Patch", "Patch", "Patch 2"],
      ["Patch", "Upsert", "Upsert 2"],
      ["Patch", "Delete", "Delete"],
      // It exists once it is patched.
      ["Patch", "Insert", "AlreadyExists"],
      // A patch of what was removed makes the entity anew: nothing of the old one is kept.
      ["Delete", "Patch", "Upsert 2"]
    ] as const
  )("%s and then %s are %s", (first, second, result) => {
    assert.strictEqual(combine(first, second), result)
  })

  it("all of one call are buffered, or none", () => {
    const writes = new Map<string, Mutation>()
    Result.getOrThrow(Transaction.buffer(writes, [write("Upsert", 1)], "put"))

    const result = Transaction.buffer(
      writes,
      [{ _tag: "Insert", entity: entity(other, 2) }, write("Insert", 2)],
      "insert"
    )

    assert.isTrue(Result.isFailure(result))
    assert.deepStrictEqual(Array.from(writes.keys()), [key.toString()])
  })

  it("one call may name a key twice, and the rules hold inside it", () => {
    const writes = new Map<string, Mutation>()

    Result.getOrThrow(Transaction.buffer(writes, [write("Delete", 1), write("Insert", 2)], "put"))
    const refused = Transaction.buffer(new Map(), [write("Insert", 1), write("Insert", 2)], "insert")

    assert.deepStrictEqual(Array.from(writes.values(), ({ _tag }) => _tag), ["Upsert"])
    assert.isTrue(Result.isFailure(refused))
  })

  it.each(
    [
      ["Upsert", [["a", "b"], ["a"]], [["b", "c"], ["c"]], ["a", "c"]],
      ["Insert", [["a", "b"], "all"], [["b"], []], ["a"]],
      ["Patch", [["a", "b"], ["b"]], [["b", "c"], []], []],
      ["Patch", [["a"], "all"], [["b"], "all"], "all"],
      ["Upsert", [["a", "b"], ["a", "b"]], [["b"], "all"], ["a", "b"]],
      ["Upsert", [["a"], ["a.deep"]], [["a"], []], []]
    ] as const
  )("a patch after %s sets the index flags of its own properties alone", (tag, first, second, flags) => {
    const entityOf = ([names, unindexed]: readonly [ReadonlyArray<string>, "all" | ReadonlyArray<string>]) =>
      Entity.make(key, Object.fromEntries(names.map((name) => [name, name])), { unindexed })
    const writes = new Map<string, Mutation>()

    Result.getOrThrow(Transaction.buffer(writes, [{ _tag: tag, entity: entityOf(first) }], "put"))
    Result.getOrThrow(Transaction.buffer(writes, [{ _tag: "Patch", entity: entityOf(second) }], "patch"))

    const [mutation] = writes.values()
    assert.strictEqual(mutation!._tag, tag)
    const { properties, unindexed } = (mutation as Exclude<Mutation, { readonly _tag: "Delete" }>).entity
    assert.deepStrictEqual(Object.keys(properties), Array.from(new Set([...first[0], ...second[0]])))
    assert.deepStrictEqual(
      unindexed === "all" ? unindexed : Array.from(unindexed).toSorted(),
      flags as Array<string> | "all"
    )
  })

  it.effect("a combination that cannot be said fails at once, names the key, and the body may go on without it", () =>
    Effect.gen(function*() {
      const errors = yield* Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.insert([entity(key, 1)])
        const twice = yield* Effect.flip(Datastore.insert([entity(key, 2)]))
        const removed = yield* Effect.flip(Datastore.remove([key]))
        return [twice.message, removed.message]
      }))

      assert.deepStrictEqual(errors, [
        "Datastore insert of K,\"a\" failed: the entity already exists (it was written before in the same transaction)",
        "Datastore remove of K,\"a\" failed: invalid argument " +
        "(one transaction cannot insert an entity and remove it again)"
      ])
      assert.strictEqual(yield* read(key), 1)
    }).pipe(Effect.provide(world)))

  it.effect("an insert after a removal replaces the entity", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(key, 1)])

      yield* Datastore.withTransaction(Effect.andThen(Datastore.remove([key]), Datastore.insert([entity(key, 2)])))

      assert.strictEqual(yield* read(key), 2)
    }).pipe(Effect.provide(world)))

  it.effect("a single put outside of a transaction may name a key twice: the last one counts", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(key, 1), entity(key, 2)])

      assert.strictEqual(yield* read(key), 2)
    }).pipe(Effect.provide(world)))
})

describe("the read set", () => {
  const snapshot = (version: number): Snapshot => ({
    key,
    entity: Option.some(entity(key, version)),
    version: BigInt(version)
  })

  it("keeps the first snapshot of a key", () => {
    const transaction = Transaction.makeUnsafe()

    const first = Transaction.recordRead(transaction, snapshot(1))
    const second = Transaction.recordRead(transaction, snapshot(2))

    assert.deepStrictEqual([first.version, second.version], [BigInt(1), BigInt(1)])
    assert.deepStrictEqual(Array.from(transaction.reads.values(), ({ version }) => version), [BigInt(1)])
  })

  it("takes what was remembered from before the transaction for the first snapshot", () => {
    const transaction = Transaction.makeUnsafe(new Map([[key.toString(), snapshot(1)]]))

    const seen = Transaction.recordRead(transaction, snapshot(2))

    assert.strictEqual(seen.version, BigInt(1))
    assert.deepStrictEqual(Array.from(transaction.reads.values(), ({ version }) => version), [BigInt(1)])
  })

  it("expects nothing of what was remembered and not read", () => {
    const transaction = Transaction.makeUnsafe(new Map([[key.toString(), snapshot(1)]]))

    assert.strictEqual(transaction.reads.size, 0)
  })
})

describe("reads inside a transaction see its own writes", () => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map((id) => Key.make("K", id)) as [Key.Key, Key.Key, Key.Key, Key.Key]

  it.effect("what was put, inserted and removed, and of what was patched the rest as well", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1), entity(c, 1), Entity.make(d, { n: 1, kept: [1, "x"] })])

      const seen = yield* Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(a, 2)])
        yield* Datastore.insert([entity(b, 2)])
        yield* Datastore.remove([c])
        yield* Datastore.patch(d, { n: 2 })
        return yield* Datastore.getAll([a, b, c, d])
      }))

      assert.deepStrictEqual(seen.map((one) => Option.getOrUndefined(one)?.properties), [
        { n: 2 },
        { n: 2 },
        undefined,
        { n: 2, kept: [1, "x"] }
      ])
    }).pipe(Effect.provide(world)))

  it.effect("so that ten increments of one entity come to ten", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 0)])
      const increment = Effect.flatMap(read(a), (n) => Datastore.put([entity(a, Number(n) + 1)]))

      yield* Datastore.withTransaction(Effect.forEach(Array.from({ length: 10 }), () => increment))

      assert.strictEqual(yield* read(a), 10)
    }).pipe(Effect.provide(world)))

  it.effect("and the commit expects what was stored, also of a key that was written before it was read", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(a, 1)])
      const error = yield* Effect.flip(Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(a, 2)])
        assert.strictEqual(yield* read(a), 2)
        yield* elsewhere(a, 7)
      })))

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(yield* read(a), 7)
    }).pipe(Effect.provide(world)))

  it.effect("while a write that nobody reads expects nothing", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      yield* Datastore.withTransaction(Datastore.put([entity(a, 2)]))

      assert.deepStrictEqual(operationsOf(yield* recorder.report), ["commit"])
      const [{ call }] = (yield* recorder.report).operations as [Recorder.Report["operations"][number]]
      assert.deepStrictEqual(call.operation === "commit" && call.request.expected, [])
    }).pipe(Effect.provide(world)))

  it.effect("what was read is a copy: changing it changes nothing of what will be written", () =>
    Effect.gen(function*() {
      yield* Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([Entity.make(a, { n: 1, blob: new Uint8Array([1]), list: [{ x: 1 }] })])
        const found = Option.getOrThrow(yield* Datastore.get(a)).properties as any
        found.n = 2
        found.blob[0] = 2
        found.list[0].x = 2
        yield* Datastore.patch(b, { list: [1] })
        const patch = Option.getOrThrow(yield* Datastore.get(b)).properties as any
        patch.list.push(2)
      }))

      const [one, two] = yield* Datastore.getAll([a, b])
      assert.deepStrictEqual(Option.getOrThrow(one!).properties, {
        n: 1,
        blob: new Uint8Array([1]),
        list: [{ x: 1 }]
      })
      assert.deepStrictEqual(Option.getOrThrow(two!).properties, { list: [1] })
    }).pipe(Effect.provide(world)))
})

describe("reads that are remembered", () => {
  it.effect("cost no RPC in the transaction, and the commit expects them", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(key, 1)])
      const [seen, memory] = yield* remembering(read(key))
      yield* Datastore.put([entity(key, 2)])
      let inside: unknown

      const error = yield* Effect.flip(transact(
        Effect.gen(function*() {
          inside = yield* read(key)
          yield* Datastore.put([entity(other, 1)])
        }),
        memory
      ))

      assert.deepStrictEqual([seen, inside], [1, 1])
      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(yield* read(other), undefined)
    }).pipe(Effect.provide(world)))

  /** Whether a transaction that expects what was remembered lands. */
  const lands = (memory: ReadonlyMap<string, Snapshot>) =>
    Effect.map(
      Effect.result(transact(
        Effect.gen(function*() {
          const transaction = yield* Transaction.Transaction
          for (const snapshot of memory.values()) Transaction.recordRead(transaction, snapshot)
          yield* Datastore.put([entity(other, 1)])
        }),
        memory
      )),
      Result.isSuccess
    )

  it.effect("are the same for all reads that are remembered together", () =>
    Effect.gen(function*() {
      const [seen] = yield* remembering(Effect.gen(function*() {
        const before = yield* read(key)
        yield* elsewhere(key, 2)
        return [before, yield* read(key)]
      }))

      assert.deepStrictEqual(seen, [undefined, undefined])
      assert.strictEqual(yield* read(key), 2)
    }).pipe(Effect.provide(world)))

  it.effect("are those of a transaction inside as well, one that fails too", () =>
    Effect.gen(function*() {
      for (const body of [read(key), Effect.andThen(read(key), Effect.fail("no"))]) {
        const [, memory] = yield* remembering(Effect.exit(Datastore.withTransaction(body)))
        assert.deepStrictEqual(Array.from(memory.keys()), [key.toString()])
        assert.isTrue(yield* lands(memory))
        yield* elsewhere(key, memory.get(key.toString())!.entity._tag === "None" ? 1 : 2)
        assert.isFalse(yield* lands(memory))
      }
    }).pipe(Effect.provide(world)))

  it.effect("are not those of a transaction that lost its race: what it read was not true together", () =>
    Effect.gen(function*() {
      const racing = Datastore.withTransaction(Effect.gen(function*() {
        yield* read(key)
        yield* elsewhere(key, 3)
        yield* read(other)
      }))

      const [error, memory] = yield* remembering(Effect.flip(racing))

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(memory.size, 0)
    }).pipe(Effect.provide(world)))

  it.effect.each(["a put", "a patch", "a transaction", "a removal"] as const)(
    "of what %s has written since are read again, and expected as written",
    (how) =>
      Effect.gen(function*() {
        yield* Datastore.put([entity(key, 1)])
        const write = {
          "a put": Datastore.put([entity(key, 2)]),
          "a patch": Datastore.patch(key, { n: 2 }),
          "a removal": Datastore.remove([key]),
          "a transaction": Datastore.withTransaction(
            Effect.flatMap(read(key), (n) => Datastore.put([entity(key, Number(n) + 1)]))
          )
        }[how]

        const [seen, memory] = yield* remembering(
          Effect.andThen(read(key), Effect.andThen(write, read(key)))
        )

        assert.strictEqual(seen, how === "a removal" ? undefined : 2)
        assert.isTrue(yield* lands(memory))
        yield* elsewhere(key, 9)
        assert.isFalse(yield* lands(memory))
      }).pipe(Effect.provide(world))
  )

  it.effect("of what somebody else has written over one's own write stay as they were, which is contention", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const [, memory] = yield* remembering(Effect.gen(function*() {
        yield* read(key)
        yield* faulty.inject(
          "commit",
          Faulty.around({ after: Effect.provideContext(elsewhere(key, 7), yield* Effect.context<InMemory.InMemory>()) })
        )
        yield* Datastore.put([entity(key, 2)])
      }))

      assert.strictEqual(yield* read(key), 7)
      assert.isFalse(yield* lands(memory))
    }).pipe(Effect.provide(world)))

  // Else the state would come from one snapshot, and the commit would expect another one.
  it.effect("are the same also when they overlap and the entity changes between them", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const answer = yield* makeGate
      yield* Datastore.put([entity(key, 1)])
      yield* faulty.inject("lookup", Faulty.around({ after: answer.wait }))

      const [seen, memory] = yield* remembering(Effect.gen(function*() {
        const slow = yield* Effect.forkChild(read(key))
        yield* settle
        yield* Datastore.put([entity(key, 2)])
        const quick = yield* read(key)
        yield* answer.open
        return [yield* Fiber.join(slow), quick]
      }))

      const expected = Option.getOrThrow(memory.get(key.toString())!.entity).properties["n"]
      assert.deepStrictEqual(seen, [expected, expected])
    }).pipe(Effect.provide(world)))
})
