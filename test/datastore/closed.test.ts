import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Scope } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { emit, Journal, journal, pending, withJournal } from "../utils/boxJournal.ts"
import { entity, makeGate, settle, world } from "../utils/boxWorld.ts"

const key = Key.make("Thing", 1)

/** A layer over a store in memory, or over another backend, that can be closed. */
const closable = (change: (backend: Backend) => Backend = (backend) => backend) =>
  Effect.gen(function*() {
    const store = yield* InMemory.makeStore
    const scope = yield* Scope.make()
    const datastore = yield* Effect.provideService(Datastore.make(change(store.backend)), Scope.Scope, scope)
    return {
      datastore,
      close: Scope.close(scope, Exit.void),
      use: Effect.provideService(Datastore.Datastore, datastore)
    }
  })

const operations: Readonly<Record<string, Effect.Effect<unknown, unknown, Datastore.Datastore>>> = {
  get: Datastore.get(key),
  query: Datastore.query({ kind: "Thing" }),
  put: Datastore.put([entity(key, 1)]),
  withTransaction: Datastore.withTransaction(
    Effect.andThen(Datastore.get(key), Datastore.put([entity(key, 1)]))
  ),
  emit: emit(["a"]),
  list: Eventbox.list(Journal, journal),
  processBatch: Eventbox.processBatch(Journal, journal).pipe(withJournal()),
  process: Eventbox.process(Journal, journal).pipe(withJournal()),
  drain: Eventbox.drain(Journal, journal).pipe(withJournal())
}

const isClosed = (exit: Exit.Exit<unknown, unknown>) =>
  assert.match(String(exit), /DatastoreError.*the layer is closed/)

describe("a layer that is closed", () => {
  it.effect.each(Object.keys(operations))("fails at once, and says so: %s", (name) =>
    Effect.gen(function*() {
      const { close, use } = yield* closable()
      yield* emit(["before"]).pipe(use)
      yield* close

      const exit = yield* Effect.exit(operations[name]!.pipe(use))

      isClosed(exit)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }))

  it.effect("runs nothing in the background, and says so", () =>
    Effect.gen(function*() {
      const { close, datastore } = yield* closable()
      assert.isTrue(yield* datastore.background(Effect.void))
      yield* close

      assert.isFalse(yield* datastore.background(Effect.die("ran")))
    }))

  it.effect("asks its backend nothing more, whatever that is", () =>
    Effect.gen(function*() {
      let calls = 0
      const counting = <A>(effect: A): A => {
        calls++
        return effect
      }
      const { close, use } = yield* closable((backend) => ({
        ...backend,
        lookup: (keys) => counting(backend.lookup(keys)),
        query: (query) => counting(backend.query(query)),
        commit: (request) => counting(backend.commit(request))
      }))
      yield* close

      for (const operation of Object.values(operations)) yield* Effect.exit(operation.pipe(use))

      assert.strictEqual(calls, 0)
    }))

  it.effect("ends merged lookups that are under way or about to begin, though the backend never answers", () =>
    Effect.gen(function*() {
      const { close, use } = yield* closable((backend) => ({ ...backend, lookup: () => Effect.never }))
      const sent = [
        yield* Effect.forkChild(Datastore.get(key).pipe(use)),
        yield* Effect.forkChild(Datastore.get(Key.make("Thing", 2)).pipe(use))
      ]
      yield* settle
      const begun = yield* Effect.forkChild(Datastore.get(Key.make("Thing", 3)).pipe(use), { startImmediately: true })

      yield* close

      for (const fiber of [...sent, begun]) isClosed(yield* Fiber.await(fiber))
    }))

  it.effect("lets batches that wait for their turn fail, when the one before them ends", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const { close, use } = yield* closable()
      yield* emit(["a"]).pipe(use)
      const batch = Eventbox.process(Journal, journal)
      const first = yield* batch.pipe(
        Effect.provideServiceEffect(
          Journal,
          Journal.entity({ initial: () => [], prepareMutation: () => Effect.as(gate.wait, { transitions: [] }) })
        ),
        use,
        Effect.forkChild
      )
      yield* settle
      const waiting = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 3 }, () => Effect.exit(batch)), { concurrency: "unbounded" }).pipe(
          withJournal(),
          use
        )
      )
      yield* settle

      yield* close
      yield* gate.open
      yield* Fiber.await(first)

      for (const exit of yield* Fiber.join(waiting)) isClosed(exit)
    }).pipe(Effect.provide(world)))

  it.effect("is still open to background work that its closing waits for", () =>
    Effect.gen(function*() {
      const { close, datastore, use } = yield* closable()
      yield* emit(["a"]).pipe(use)
      const gate = yield* makeGate
      let seen: unknown
      yield* datastore.background(
        Effect.andThen(gate.wait, pending()).pipe(
          use,
          Effect.orDie,
          Effect.map((events) => {
            seen = events
          })
        )
      )

      const closing = yield* Effect.forkChild(close)
      yield* settle
      yield* gate.open
      yield* Fiber.join(closing)

      assert.deepStrictEqual(seen, ["a"])
    }).pipe(Effect.provide(world)))
})
