import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { add, list, pop } from "../utils/boxSet.ts"

describe("deletions", () => {
  it.effect("are so few in a commit that keys of the greatest size would fit", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const sizes: Array<number> = []
      const backend: Backend = {
        ...store.backend,
        limits: { commitBytes: 30_000 },
        commit: (request) => {
          if (request.mutations.every(({ _tag }) => _tag === "Delete")) sizes.push(request.mutations.length)
          return store.backend.commit(request)
        }
      }

      yield* Effect.gen(function*() {
        yield* add(Array.from({ length: 10 }, (_, n) => `${n}`))
        yield* pop(yield* list())
      }).pipe(Effect.provide(Datastore.layer(Effect.succeed(backend))))

      assert.deepStrictEqual(sizes.toSorted((x, y) => x - y), [2, 4, 4])
    }))
})
