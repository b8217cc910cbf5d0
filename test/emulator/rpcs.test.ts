/**
 * What a batch asks of the network: its RPCs, counted where they are handed to gRPC, and its round trips, on the wire.
 */
import { assert } from "@effect/vitest"
import { Effect, Fiber, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import { client, countBy, freshProjectId, storedIds, upTo } from "../utils/emuClients.ts"
import { onEmulator } from "../utils/emulator.ts"
import { isLookup, isQuery, makeWire } from "../utils/emuWire.ts"

const projectId = freshProjectId()

/** Sums up numbers; a zero keeps the sum, and a negative one is copied to ten other recipients. */
class Sum extends Processor.Service<Sum>()("test/Sum", { kind: "Sum", state: Schema.Int, event: Schema.Int }) {}

const decide = (events: ReadonlyArray<Processor.Event<number>>, state: number) => ({
  transitions: events.length === 0 ? [] : [{
    events,
    transitionTo: events.reduce((sum, { value }) => sum + Math.max(0, value), state),
    sideEffect: Processor.Chain(...events.map(({ value }) => value < 0 ? emitTen(value) : undefined))
  }]
})

const emitTen = (value: number) =>
  Effect.forEach(upTo(10), (n) => Eventbox.emit(Sum, Sum.recipient(`other${n}`), value), { discard: true })

const sums = Sum.toLayer(Sum.entity({
  initial: () => 0,
  prepareMutation: (events, state) => Effect.succeed(decide(events, state))
}))

/** The same with a state of its own making and `fetchEVersion`. */
const sumsWithFetch = Sum.toLayer(Effect.sync(() => {
  const load = ({ key }: Processor.Recipient<Sum>) =>
    Effect.map(Datastore.get(key), (found) => {
      const { properties } = Option.getOrElse(found, () => Entity.make(key, { sum: 0, version: 0 }))
      return { state: Number(properties["sum"]), eversion: Processor.EVersion.make(Number(properties["version"])) }
    })
  return Sum.of({
    loadState: load,
    prepareMutation: (events, state) => Effect.succeed(decide(events, state)),
    fetchEVersion: (recipient) => Effect.map(load(recipient), ({ eversion }) => eversion),
    saveState: (sum, version, { key }) => Datastore.put([Entity.make(key, { sum, version })])
  })
}))

/** Runs an effect on a client of its own: the RPCs until it returned, and until its background work was done. */
const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const rpcs: Array<string> = []
    const [value, atReturn] = yield* effect.pipe(
      Effect.map((result) => [result, countBy(rpcs)] as const),
      Effect.provide(sums),
      Effect.provide(client(projectId, { onRpc: (method) => rpcs.push(method) }))
    )
    return { value, atReturn, total: countBy(rpcs) }
  })

const emitAll = (recipient: Processor.Recipient<Sum>, values: ReadonlyArray<number>) =>
  Eventbox.emitAll(Sum, recipient, values)

const onlyBatch = { RunQuery: 1, Lookup: 1, Commit: 1 }

onEmulator("RPCs", (it) => {
  for (
    const [name, values] of [
      ["the first batch ever", [1, 2, 3]],
      ["a batch that changes the state", [1, 2, 3]],
      ["a batch that keeps the state", [0, 0]],
      ["a batch that emits ten events", [-1]]
    ] as const
  ) {
    it.effect(`${name}: one query, one lookup, one commit`, () =>
      Effect.gen(function*() {
        const recipient = Sum.recipient(name)
        if (name !== "the first batch ever") {
          yield* emitAll(recipient, [7])
          yield* counted(Eventbox.processBatch(Sum, recipient))
        }
        yield* emitAll(recipient, values)

        const { total, value } = yield* counted(Eventbox.processBatch(Sum, recipient))

        assert.strictEqual(value.consumed, values.length)
        assert.deepStrictEqual(total, onlyBatch)
        assert.deepStrictEqual(yield* storedIds(recipient.key), [])
      }))
  }

  it.effect("a processor with fetchEVersion needs no more", () =>
    Effect.gen(function*() {
      const recipient = Sum.recipient("fetch")
      for (const values of [[1], [2], [0]]) {
        yield* emitAll(recipient, values)

        const { total } = yield* counted(Effect.provide(Eventbox.processBatch(Sum, recipient), sumsWithFetch))

        assert.deepStrictEqual(total, onlyBatch)
      }
    }))

  it.effect("a batch without events: one query and one lookup", () =>
    Effect.gen(function*() {
      const { total } = yield* counted(Eventbox.processBatch(Sum, Sum.recipient("idle")))

      assert.deepStrictEqual(total, { RunQuery: 1, Lookup: 1 })
    }))

  it.effect("ten batches back to back on one recipient need no more than ten alone", () =>
    Effect.gen(function*() {
      const recipient = Sum.recipient("back to back")
      yield* emitAll(recipient, Array.from({ length: 100 }, () => 1))
      const batch = Eventbox.processBatch(Sum, recipient, { maxEvents: 10 })

      const { total, value } = yield* counted(Effect.forEach(upTo(10), () => batch))

      assert.deepStrictEqual(value.map(({ consumed }) => consumed), Array.from({ length: 10 }, () => 10))
      assert.deepStrictEqual(total, { RunQuery: 10, Lookup: 10, Commit: 10 })
    }))

  it.effect("a batch of 1,200 events is emitted by 3 commits, and lands by one", () =>
    Effect.gen(function*() {
      const recipient = Sum.recipient("large")

      const emitted = yield* counted(emitAll(recipient, Array.from({ length: 1_200 }, () => 1)))
      const processed = yield* counted(Eventbox.processBatch(Sum, recipient, { maxEvents: 2_000 }))

      assert.deepStrictEqual(emitted.total, { Commit: 3 })
      assert.strictEqual(processed.value.consumed, 1_200)
      // The first listing of a layer asks for 100: it does not know how large these events are.
      assert.deepStrictEqual(processed.total, { ...onlyBatch, RunQuery: 2 })
      assert.deepStrictEqual(yield* storedIds(recipient.key), [])
    }))
  // In all they are more than the 4 MiB that the emulator takes in one commit.
  it.effect("1,300 events with ids of 1,500 bytes are listed and consumed by a few batches", () =>
    Effect.gen(function*() {
      const recipient = Sum.recipient("long ids")
      const ids = upTo(1_300).map((n) => `${n}`.padEnd(1_500, "x"))
      yield* counted(Eventbox.emitAll(Sum, recipient, ids.map(() => 1), { id: (_, n) => ids[n]! }))
      const batch = Eventbox.processBatch(Sum, recipient, { maxEvents: 2_000 })

      const { value } = yield* counted(Effect.forEach(upTo(4), () => batch))

      const consumed = value.map((one) => one.consumed)
      assert.strictEqual(consumed.reduce((sum, one) => sum + one, 0), 1_300)
      assert.deepStrictEqual(yield* storedIds(recipient.key), [])
    }))
}, { projectId })

onEmulator("round trips", (it) => {
  it.effect("query and lookup are both under way before either is answered", () =>
    Effect.gen(function*() {
      const recipient = Sum.recipient("parallel")
      yield* emitAll(recipient, [1, 0])
      const wire = yield* makeWire
      const query = yield* wire.arm("holdRequest", isQuery)
      const lookup = yield* wire.arm("holdRequest", isLookup)
      const batch = yield* Eventbox.processBatch(Sum, recipient).pipe(
        Effect.provide(sums),
        Effect.provide(client(projectId, { emulatorHost: wire.host })),
        Effect.forkChild
      )

      yield* query.struck
      yield* lookup.struck

      yield* query.release(2)
      yield* lookup.release(0)
      assert.strictEqual((yield* Fiber.join(batch)).consumed, 2)
    }))

  it.effect("nothing is under way once the result of a batch is there: its events are gone with its commit", () =>
    Effect.gen(function*() {
      const recipient = Sum.recipient("nothing after")
      yield* emitAll(recipient, [1, 2])

      const { atReturn, total } = yield* counted(
        Effect.andThen(Eventbox.processBatch(Sum, recipient), storedIds(recipient.key))
      )

      assert.deepStrictEqual(atReturn, { RunQuery: 2, Lookup: 1, Commit: 1 })
      assert.deepStrictEqual(total, atReturn)
    }))
}, { projectId })
