import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { Recorder } from "../../src/testing/index.ts"
import { emit, Journal, journal, pending, version, withMock } from "../utils/boxJournal.ts"
import { entity, operationsOf, read, world } from "../utils/boxWorld.ts"

const limit = Key.make("Limit", "l")
const batch = Eventbox.processBatch(Journal, journal)

/** Another process writes. */
const elsewhere = (at: Key.Key, n: number) =>
  Effect.flatMap(
    InMemory.InMemory,
    ({ backend }) =>
      Effect.orDie(backend.commit({ mutations: [{ _tag: "Upsert", entity: entity(at, n) }], expected: [] }))
  )

/** Consumes all; its state is the number that `loadState` reads, and `meanwhile` runs between load and commit. */
const withLoad = (
  load: Effect.Effect<unknown, any, Datastore.Datastore>,
  meanwhile: Effect.Effect<void> = Effect.void
) =>
  withMock({
    loadState: () => Effect.map(load, (n) => ({ state: [String(n)], eversion: version(1) })),
    prepareMutation: (events, state) =>
      Effect.as(meanwhile, { transitions: [{ events, transitionTo: [...state, "more"] }] }),
    fetchEVersion: undefined,
    saveState: (state, _, { key }) => Datastore.put([Entity.make(key, { state: state.join() })])
  })

const reads: Readonly<Record<string, Effect.Effect<unknown, any, Datastore.Datastore>>> = {
  get: read(limit),
  "a transaction": Datastore.withTransaction(read(limit)),
  "a transaction of two reads, one after the other": Datastore.withTransaction(
    Effect.andThen(read(journal.key), read(limit))
  ),
  "a transaction that fails by what it read, which is the state": Effect.flip(
    Datastore.withTransaction(Effect.flatMap(read(limit), (n) => Effect.fail(n)))
  ),
  "a transaction in a fiber of its own": Effect.flatMap(
    Effect.forkChild(Datastore.withTransaction(read(limit))),
    Fiber.join
  ),
  "a transaction that also writes what it reads": Datastore.withTransaction(
    Effect.tap(read(limit), (n) => Datastore.put([entity(limit, Number(n) + 1)]))
  ),
  "a read before a write of its own": Effect.tap(read(limit), Datastore.patch(limit, { n: 5 }))
}

describe("E1: what loadState has read", () => {
  it.effect.each(Object.keys(reads))("with %s is expected unchanged by the commit", (how) =>
    Effect.gen(function*() {
      const context = yield* Effect.context<InMemory.InMemory>()
      yield* Datastore.put([entity(limit, 1)])
      yield* emit(["a"])
      const meanwhile = Effect.provideContext(elsewhere(limit, 0), context)

      const error = yield* Effect.flip(batch.pipe(withLoad(reads[how]!, meanwhile)))

      assert.strictEqual(error._tag, "ContentionError")
      assert.isTrue(Option.isNone(yield* Datastore.get(journal.key)))
      assert.deepStrictEqual(yield* pending(), ["a"])
    }).pipe(Effect.provide(world)))

  it.effect.each(Object.keys(reads))("with %s, and nobody changed, lands", (how) =>
    Effect.gen(function*() {
      yield* Datastore.put([entity(limit, 1)])
      yield* emit(["a"])

      yield* batch.pipe(withLoad(reads[how]!))

      assert.deepStrictEqual(Option.getOrThrow(yield* Datastore.get(journal.key)).properties, { state: "1,more" })
    }).pipe(Effect.provide(world)))

  it.effect("in a transaction of one lookup costs nothing more, and saves the read inside the batch's own", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Datastore.put([entity(limit, 1)])
      yield* emit(["a"])
      yield* recorder.reset

      yield* batch.pipe(withMock({
        loadState: () =>
          Effect.as(Datastore.withTransaction(Datastore.getAll([limit, journal.key])), {
            state: [],
            eversion: version(1)
          }),
        prepareMutation: (events) => Effect.succeed({ transitions: [{ events, transitionTo: ["a"] }] }),
        fetchEVersion: () => Effect.as(Datastore.getAll([limit, journal.key]), version(1)),
        saveState: () => Datastore.put([entity(journal.key, 2)])
      }))

      assert.deepStrictEqual(operationsOf(yield* recorder.report).toSorted(), ["commit", "lookup", "query"])
    }).pipe(Effect.provide(world)))
})
