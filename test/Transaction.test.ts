import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Result } from "effect"
import type { Mutation, Snapshot } from "../src/Backend.ts"
import * as Datastore from "../src/Datastore.ts"
import * as Key from "../src/Key.ts"
import { Faulty } from "../src/testing/index.ts"
import * as Transaction from "../src/Transaction.ts"
import { entity, makeGate, read, settle, world } from "./utils/boxWorld.ts"

const key = Key.make("K", "a")
const other = Key.make("K", "b")

type Tag = "Insert" | "Upsert" | "Delete"

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
      ["Insert", "Delete", "InvalidArgument"]
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

describe("reads that are remembered", () => {
  it.effect("cost no RPC in the transaction, and the commit expects them", () =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(key, 1)])
      const [seen, memory] = yield* Datastore.remembering(read(key))
      yield* Datastore.put([entity(key, 2)])
      let inside: unknown

      const error = yield* Effect.flip(Datastore.transact(
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

  it.effect("are the same for all reads that are remembered together", () =>
    Effect.gen(function*() {
      const [seen] = yield* Datastore.remembering(Effect.gen(function*() {
        const before = yield* read(key)
        yield* Datastore.put([entity(key, 2)])
        return [before, yield* read(key)]
      }))

      assert.deepStrictEqual(seen, [undefined, undefined])
      assert.strictEqual(yield* read(key), 2)
    }).pipe(Effect.provide(world)))

  // Else the state would come from one snapshot, and the commit would expect another one.
  it.effect("are the same also when they overlap and the entity changes between them", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const answer = yield* makeGate
      yield* Datastore.put([entity(key, 1)])
      yield* faulty.inject("lookup", Faulty.around({ after: answer.wait }))

      const [seen, memory] = yield* Datastore.remembering(Effect.gen(function*() {
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
