import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, type Layer, Option, Tracer } from "effect"
import type { Backend, Snapshot } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import { DatastoreError, InvalidArgument, Unavailable } from "../../src/EventboxError.ts"
import * as Transaction from "../../src/ground/transaction.ts"
import * as Key from "../../src/Key.ts"
import { entity, read, settle } from "../utils/boxWorld.ts"

const keyOf = (n: number) => Key.make("K", n + 1)
const keysOf = (count: number, from = 0) => Array.from({ length: count }, (_, n) => keyOf(from + n))

const nothing = (key: Key.Key): Snapshot => ({
  key,
  entity: Option.none(),
  version: BigInt(0)
})

/** A backend that only looks up, whose answers a test writes. */
const lookupsOnly = (
  lookup: (keys: ReadonlyArray<Key.Key>) => Effect.Effect<ReadonlyArray<Snapshot>, DatastoreError>
): Layer.Layer<Datastore.Datastore> => {
  const backend: Backend = {
    lookup,
    query: () => Effect.die("not in this test"),
    commit: () => Effect.void,
    limits: { commitBytes: 1_000_000 }
  }
  return Datastore.layer(Effect.succeed(backend))
}

/** Counts the keys of each RPC; every entity is missing. */
const counting = () => {
  const sizes: Array<number> = []
  const layer = lookupsOnly((keys) =>
    Effect.sync(() => {
      sizes.push(keys.length)
      return keys.map(nothing)
    })
  )
  return { sizes, layer }
}

const concurrently = <const Effects extends ReadonlyArray<Effect.Effect<any, any, any>>>(effects: Effects) =>
  Effect.all(effects, { concurrency: "unbounded" })

class Secret extends Context.Service<Secret, string>()("test/Secret") {}

describe("merged lookups", () => {
  it.effect("concurrent reads are one RPC, in which each key is asked for once", () => {
    const { layer, sizes } = counting()
    return Effect.gen(function*() {
      yield* concurrently([
        Datastore.get(keyOf(0)),
        Datastore.getAll([keyOf(1), keyOf(0)]),
        Effect.andThen(Effect.yieldNow, Datastore.get(keyOf(2)))
      ])

      assert.deepStrictEqual(sizes, [3])
    }).pipe(Effect.provide(layer))
  })

  it.effect("each requester gets its own keys, in its own order", () =>
    Effect.gen(function*() {
      const [first, second] = yield* concurrently([
        Datastore.getAll([keyOf(0), keyOf(1)]),
        Datastore.getAll([keyOf(2), keyOf(1)])
      ])

      const numbers = (found: ReadonlyArray<Option.Option<{ readonly key: Key.Key }>>) =>
        found.map((one) => Option.getOrThrow(one).key.id)
      assert.deepStrictEqual([numbers(first), numbers(second)], [[1, 2], [3, 2]])
    }).pipe(Effect.provide(lookupsOnly((keys) =>
      Effect.succeed(keys.map((key) => ({ ...nothing(key), entity: Option.some(entity(key, 1)) })))
    ))))

  it.effect("reads one after another are not held back for each other", () => {
    const { layer, sizes } = counting()
    return Effect.gen(function*() {
      yield* Datastore.get(keyOf(0))
      yield* Datastore.get(keyOf(1))

      assert.deepStrictEqual(sizes, [1, 1])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a thousand keys are one RPC, and more are several", () => {
    const { layer, sizes } = counting()
    return Effect.gen(function*() {
      yield* Datastore.getAll(keysOf(1_000))
      assert.deepStrictEqual(sizes.splice(0), [1_000])

      assert.lengthOf(yield* Datastore.getAll(keysOf(2_001)), 2_001)
      assert.deepStrictEqual(sizes.splice(0).toSorted((x, y) => x - y), [1, 1_000, 1_000])
    }).pipe(Effect.provide(layer))
  })

  it.effect("the keys of one call stay together when requests are put into RPCs", () => {
    const { layer, sizes } = counting()
    return Effect.gen(function*() {
      yield* concurrently([
        Datastore.getAll(keysOf(600)),
        Datastore.getAll(keysOf(500, 600)),
        Datastore.getAll(keysOf(400, 1_100))
      ])

      assert.deepStrictEqual(sizes.toSorted((x, y) => x - y), [600, 900])
    }).pipe(Effect.provide(layer))
  })

  it.effect("more than a thousand requests of one key each are RPCs of a thousand at most", () => {
    const { layer, sizes } = counting()
    return Effect.gen(function*() {
      yield* concurrently(keysOf(1_500).map((key) => Datastore.get(key)))

      assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), 1_500)
      assert.isTrue(sizes.every((size) => size <= 1_000))
      assert.lengthOf(sizes, 2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("an RPC runs in the context of the layer: not in a requester's transaction, span or services", () => {
    const seen: Array<unknown> = []
    const layer = lookupsOnly((keys) =>
      Effect.gen(function*() {
        const transaction = yield* Effect.serviceOption(Transaction.Transaction)
        const span = yield* Effect.option(Effect.currentSpan)
        const parent = yield* Effect.serviceOption(Tracer.ParentSpan)
        const secret = yield* Effect.serviceOption(Secret)
        seen.push([transaction, span, parent, secret].map(({ _tag }) => _tag))
        return keys.map(nothing)
      })
    )
    return Effect.gen(function*() {
      yield* Datastore.withTransaction(Datastore.get(keyOf(0))).pipe(
        Effect.withSpan("requester"),
        Effect.provideService(Secret, "of the requester")
      )

      assert.deepStrictEqual(seen, [["None", "None", "None", "None"]])
    }).pipe(Effect.provide(layer))
  })

  it.effect("an RPC runs in the layer's context even when the layer is built inside a transaction", () => {
    const seen: Array<boolean> = []
    const inner = lookupsOnly((keys) =>
      Effect.map(Effect.serviceOption(Transaction.Transaction), (found) => {
        seen.push(Option.isSome(found))
        return keys.map(nothing)
      })
    )
    return Effect.gen(function*() {
      yield* Datastore.withTransaction(
        Effect.provide(Transaction.outside(Datastore.get(keyOf(0))), inner, { local: true })
      )

      assert.deepStrictEqual(seen, [false])
    }).pipe(Effect.provide(counting().layer))
  })

  it.effect("one bad request does not fail the others", () => {
    const rpcs: Array<number> = []
    const layer = lookupsOnly((keys) =>
      Effect.suspend(() => {
        rpcs.push(keys.length)
        const bad = keys.find(({ id }) => id === 2)
        return bad === undefined ? Effect.succeed(keys.map(nothing)) : Effect.fail(
          new DatastoreError({ operation: "lookup", keys: [bad], reason: new InvalidArgument({ detail: "bad key" }) })
        )
      })
    )
    return Effect.gen(function*() {
      const exits = yield* concurrently([0, 1, 2].map((n) => Effect.exit(Datastore.get(keyOf(n)))))

      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assert.include(String(exits[1]), "bad key")
      assert.deepStrictEqual(rpcs, [3, 1, 1, 1])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a request that makes the backend die does not fail the others", () => {
    const layer = lookupsOnly((keys) =>
      keys.some(({ id }) => id === 2) ? Effect.die(new Error("bug")) : Effect.succeed(keys.map(nothing))
    )
    return Effect.gen(function*() {
      const exits = yield* concurrently([0, 1, 2].map((n) => Effect.exit(Datastore.get(keyOf(n)))))

      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a transient failure is the failure of all, and is not multiplied", () => {
    let rpcs = 0
    const layer = lookupsOnly(() =>
      Effect.suspend(() => {
        rpcs++
        return Effect.fail(new DatastoreError({ operation: "lookup", reason: new Unavailable({ detail: "down" }) }))
      })
    )
    return Effect.gen(function*() {
      const exits = yield* concurrently([0, 1, 2].map((n) => Effect.exit(Datastore.get(keyOf(n)))))

      assert.isTrue(exits.every(Exit.isFailure))
      assert.strictEqual(rpcs, 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("a requester that is interrupted drops out alone", () => {
    const gate = Deferred.makeUnsafe<void>()
    let rpcs = 0
    const layer = lookupsOnly((keys) =>
      Effect.sync(() => {
        rpcs++
      }).pipe(Effect.andThen(Deferred.await(gate)), Effect.as(keys.map(nothing)))
    )
    return Effect.gen(function*() {
      const first = yield* Effect.forkChild(Datastore.get(keyOf(0)))
      const second = yield* Effect.forkChild(Datastore.get(keyOf(1)))
      yield* settle

      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)

      assert.isTrue(Option.isNone(yield* Fiber.join(second)))
      assert.strictEqual(rpcs, 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("a requester that is interrupted before the RPC is sent is left out of it", () => {
    const { layer, sizes } = counting()
    return Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      const gone = yield* Effect.forkChild(datastore.lookup([keyOf(0)]), { startImmediately: true })
      const stays = yield* Effect.forkChild(datastore.lookup([keyOf(1)]), { startImmediately: true })
      gone.interruptUnsafe()
      yield* Fiber.join(stays)
      const alone = yield* Effect.forkChild(datastore.lookup([keyOf(2)]), { startImmediately: true })
      alone.interruptUnsafe()
      yield* settle

      assert.deepStrictEqual(sizes, [1])
    }).pipe(Effect.provide(layer))
  })

  it.effect("two layers never share an RPC", () => {
    const [one, two] = [counting(), counting()]
    return Effect.gen(function*() {
      yield* concurrently([
        Effect.provide(read(keyOf(0)), one.layer),
        Effect.provide(read(keyOf(1)), two.layer)
      ])

      assert.deepStrictEqual([one.sizes, two.sizes], [[1], [1]])
    })
  })
})
