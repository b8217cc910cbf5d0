import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import { placeOf, recall, remember, setCount } from "../../src/dsset/memory.ts"
import { DatastoreError, Unavailable } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { pop } from "../utils/boxSet.ts"
import { settle } from "../utils/settle.ts"

const setOf = (n: number) => DsSet.make({ parent: Key.make("Parent", `${n}`) })
const addTo = (set: DsSet.DsSet, ...ids: ReadonlyArray<string>) =>
  DsSet.add(set, ids.map((id) => ({ id, value: new Uint8Array(1) })))

/** A store that can be told to fail, or not to answer. */
const makeWorld = Effect.gen(function*() {
  const { backend } = yield* InMemory.makeStore
  const state: { now: "works" | "fails" | "hangs" } = { now: "works" }
  const down = new DatastoreError({ operation: "query", reason: new Unavailable({ detail: "down" }) })
  const faulty: Backend = {
    ...backend,
    query: (query) =>
      Effect.suspend(() =>
        state.now === "works" ? backend.query(query) : state.now === "fails" ? Effect.fail(down) : Effect.never
      )
  }
  return { state, datastore: yield* Datastore.make(faulty) }
})

/** How many of 50 sets are remembered after something was done with each. */
const rememberedAfter = (
  each: (
    set: DsSet.DsSet,
    state: Effect.Success<typeof makeWorld>["state"]
  ) => Effect.Effect<unknown, unknown, Datastore.Datastore>
) =>
  Effect.gen(function*() {
    const { datastore, state } = yield* makeWorld
    for (let n = 0; n < 50; n++) yield* Effect.provideService(each(setOf(n), state), Datastore.Datastore, datastore)
    return setCount(datastore)
  })

const list = (set: DsSet.DsSet, maxItems = 10) => DsSet.list(set, { maxItems })

describe("nothing is remembered of a set", () => {
  it.effect("that is empty, or whose items were all listed and popped", () =>
    Effect.gen(function*() {
      const consume = (set: DsSet.DsSet) =>
        Effect.gen(function*() {
          yield* list(set)
          yield* addTo(set, "a", "b")
          yield* pop(yield* list(set))
          yield* list(set)
        })
      assert.strictEqual(yield* rememberedAfter(consume), 0)
    }))

  it.effect("whose listing failed", () =>
    Effect.gen(function*() {
      const fail = (set: DsSet.DsSet, state: { now: string }) =>
        Effect.gen(function*() {
          state.now = "works"
          yield* addTo(set, "a", "b")
          state.now = "fails"
          yield* Effect.flip(list(set, 1))
        })
      assert.strictEqual(yield* rememberedAfter(fail), 0)
    }))

  it.effect("whose listing was interrupted", () =>
    Effect.gen(function*() {
      const interrupt = (set: DsSet.DsSet, state: { now: string }) =>
        Effect.gen(function*() {
          state.now = "hangs"
          const fiber = yield* Effect.forkChild(list(set))
          yield* settle
          yield* Fiber.interrupt(fiber)
        })
      assert.strictEqual(yield* rememberedAfter(interrupt), 0)
    }))

  it.effect("whose batch failed, and whose position went back to the beginning", () =>
    Effect.gen(function*() {
      const rewind = (set: DsSet.DsSet) =>
        Effect.gen(function*() {
          yield* addTo(set, "a", "b")
          const listing = yield* list(set, 1)
          listing.rewind()
        })
      assert.strictEqual(yield* rememberedAfter(rewind), 0)
    }))

  it.effect("that was patient, once its pop has landed", () =>
    Effect.gen(function*() {
      const race = (set: DsSet.DsSet) =>
        Effect.gen(function*() {
          yield* addTo(set, "a")
          const listing = yield* list(set)
          yield* DsSet.add(set, [{ id: "a", value: new Uint8Array(2) }])
          yield* Effect.flip(pop(listing))
          assert.isAbove(setCount(yield* Datastore.Datastore), 0)
          yield* pop(yield* list(set))
        })
      assert.strictEqual(yield* rememberedAfter(race), 0)
    }))
})

describe("a process that meets many sets", () => {
  it.effect("remembers 10,000 of them at most, those that it listed last", () =>
    Effect.gen(function*() {
      const { datastore } = yield* makeWorld
      for (let n = 0; n < 9_990; n++) {
        remember(placeOf(datastore, Key.make("Parent", `old ${n}`)), (memory) => {
          memory.isPatient = true
        })
      }
      yield* Effect.gen(function*() {
        for (let n = 0; n < 20; n++) {
          yield* addTo(setOf(n), "a", "b")
          yield* list(setOf(n), 1)
        }
      }).pipe(Effect.provideService(Datastore.Datastore, datastore))

      assert.strictEqual(setCount(datastore), 10_000)
      assert.isFalse(recall(placeOf(datastore, Key.make("Parent", "old 0"))).isPatient)
      assert.strictEqual(recall(placeOf(datastore, setOf(0).parent)).sweep?.after, "a")
    }))
})
