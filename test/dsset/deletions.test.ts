import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import { deleteUnchanged } from "../../src/dsset/deletions.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"

/** How many deletes each commit has that deletes entities of these sizes. */
const partsOf = (sizes: ReadonlyArray<number>, commitBytes: number) =>
  Effect.gen(function*() {
    const store = yield* InMemory.makeStore
    const parts: Array<number> = []
    const backend: Backend = {
      ...store.backend,
      limits: { commitBytes },
      commit: (request) => {
        if (request.expected.length > 0) parts.push(request.mutations.length)
        return store.backend.commit(request)
      }
    }
    const keys = sizes.map((_, n) => Key.make("K", n + 1))
    yield* Effect.gen(function*() {
      for (const [n, key] of keys.entries()) {
        yield* Datastore.put([Entity.make(key, { x: new Uint8Array(sizes[n]!) }, { unindexed: "all" })])
      }
      yield* deleteUnchanged(yield* Datastore.Datastore, yield* backend.lookup(keys))
    }).pipe(Effect.provide(Datastore.layer(Effect.succeed(backend))))
    assert.strictEqual(yield* store.size, 0)
    return parts.toSorted((x, y) => y - x)
  })

describe("deletions", () => {
  // A database counts what it deletes against the limit of a transaction, although the request holds keys alone.
  it.effect("are split so that no commit deletes more stored bytes than one may", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* partsOf(Array.from({ length: 10 }, () => 9_000), 30_000), [3, 3, 3, 1])
      assert.deepStrictEqual(yield* partsOf([29_000, 10, 10, 29_000, 10], 30_000), [3, 2])
    }))

  it.effect("of one entity that is larger than that are tried alone", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* partsOf([10, 29_900, 10], 30_000), [1, 1, 1])
    }))

  it.effect("are 500 in a commit at most, and none at all when there is nothing to delete", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* partsOf(Array.from({ length: 1_001 }, () => 1), 10_000_000), [500, 500, 1])
      assert.deepStrictEqual(yield* partsOf([], 10_000_000), [])
    }))
})
