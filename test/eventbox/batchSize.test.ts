import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import { Recorder } from "../../src/testing/index.ts"
import { consumeAll, emit, Journal, journal, pending, withJournal } from "../utils/boxJournal.ts"
import { set } from "../utils/boxSet.ts"
import { defectOf, settle, world } from "../utils/boxWorld.ts"

const mebibyte = 1_024 * 1_024

/** A box of bytes, which only counts them. */
class Bulk extends Processor.Service<Bulk>()("test/Bulk", {
  kind: "Bulk",
  state: Schema.Int,
  event: Schema.String
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, count) =>
      Effect.succeed({ transitions: [{ events, transitionTo: count + events.length }] })
  }))
}
const bulk = Bulk.recipient("b")

const large = (count: number, bytes: number) => Array.from({ length: count }, () => "x".repeat(bytes))

describe("the bytes of a batch", () => {
  it.effect("are bounded: events of 900 KB are read and committed a few at a time", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Bulk, bulk, large(60, 900_000))

      const first = yield* Eventbox.processBatch(Bulk, bulk)
      const rest = yield* Eventbox.drain(Bulk, bulk)

      assert.strictEqual(first.consumed, Math.floor(4 * mebibyte / 900_002))
      assert.isTrue(first.truncated)
      assert.strictEqual(first.consumed + rest.consumed, 60)
      assert.strictEqual(rest.batches, 14)
    }).pipe(Effect.provide(Layer.provideMerge(Bulk.layer, world))), 60_000)

  it.effect("are what `maxBytes` says, but one event at least is taken", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Bulk, bulk, [...large(5, 9_800), ...large(1, 99_800), ...large(2, 9_800)], {
        id: (_, index) => `${index}`
      })
      const consumed = []
      for (let n = 0; n < 4; n++) {
        consumed.push((yield* Eventbox.process(Bulk, bulk, { maxBytes: 31_000 })).consumed)
        yield* settle
      }

      assert.deepStrictEqual(consumed, [3, 2, 1, 2])
    }).pipe(Effect.provide(Layer.provideMerge(Bulk.layer, world))))

  it.effect("are judged before they are read: what is asked for follows what was seen", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Eventbox.emitAll(Bulk, bulk, large(400, 100_000))
      yield* recorder.reset

      const summary = yield* Eventbox.drain(Bulk, bulk, { maxBytes: mebibyte })

      assert.strictEqual(summary.consumed, 400)
      const limits = (yield* recorder.report).operations.flatMap(({ call }) =>
        call.operation === "query" ? [call.query.limit!] : []
      )
      assert.strictEqual(limits[0], 100, "nothing is known yet")
      for (const limit of limits.slice(1)) assert.isAtMost(limit, 11)
    }).pipe(Effect.provide(Layer.provideMerge(Bulk.layer, world))), 60_000)

  it.effect("are those of all outstanding events for `list`, which is for inspection", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Bulk, bulk, large(30, 900_000))

      assert.lengthOf(yield* Eventbox.list(Bulk, bulk), 30)
    }).pipe(Effect.provide(Layer.provideMerge(Bulk.layer, world))), 60_000)

  it.effect("must be positive", () =>
    Effect.gen(function*() {
      for (const maxBytes of [0, -1, Number.NaN]) {
        assert.include(
          yield* defectOf(Eventbox.process(Journal, journal, { maxBytes }).pipe(withJournal())),
          `Eventbox: maxBytes is a positive number, got ${maxBytes}`
        )
        assert.include(yield* defectOf(DsSet.list(set, { maxItems: 1, maxBytes })), "DsSet.list: maxBytes is")
      }
    }).pipe(Effect.provide(world)))

  // A database that answers in parts, as the service does, and stops once there are enough bytes.
  it.effect("may end the answer of a database early; the listing then goes on, or says that there is more", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const inParts: Backend = {
        ...store.backend,
        query: (query) =>
          Effect.map(store.backend.query({ ...query, limit: Math.min(query.limit!, 2) }), (result) => ({
            ...result,
            isCutOff: query.limit! > 2 && result.results.length === 2
          }))
      }
      const items = ["a", "b", "c", "d", "e"].map((id) => ({ id, value: new Uint8Array(10_000) }))
      const list = (maxBytes: number) =>
        Effect.map(
          DsSet.list(set, { maxItems: 10, maxBytes }),
          (listing) => [listing.items.map(({ id }) => id).join(""), listing.truncated] as const
        )

      const seen = yield* Effect.gen(function*() {
        yield* DsSet.add(set, items)
        return [yield* list(100_000), yield* list(21_000), yield* list(35_000), yield* list(52_000)]
      }).pipe(Effect.provideServiceEffect(Datastore.Datastore, Datastore.make(inParts)))

      assert.deepStrictEqual(seen, [["abcde", false], ["ab", true], ["cde", true], ["abcde", false]])
    }))
})

describe("a recipient that is being processed in this process", () => {
  const held = Effect.gen(function*() {
    const [begun, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const slow = Journal.entity({
      initial: () => [],
      prepareMutation: (events, state) =>
        Deferred.succeed(begun, undefined).pipe(
          Effect.andThen(Deferred.await(goOn)),
          Effect.as(consumeAll(events, state))
        )
    })
    const fiber = yield* Effect.forkChild(
      Eventbox.process(Journal, journal).pipe(Effect.provideServiceEffect(Journal, slow))
    )
    yield* Deferred.await(begun)
    return { fiber, goOn: Deferred.succeed(goOn, undefined) }
  })

  it.effect("is left alone at once by those who skip, in one round of nothing", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* emit(["a"])
      const { fiber, goOn } = yield* held
      yield* emit(["b"])
      yield* recorder.reset

      const skipped = yield* Eventbox.process(Journal, journal, { whenBusy: "skip" })
      const drained = yield* Eventbox.drain(Journal, journal, { whenBusy: "skip" })

      assert.deepInclude(skipped, { skipped: true, truncated: true, batches: 0, consumed: 0, retries: 0 })
      assert.deepInclude(drained, { skipped: true, truncated: true, batches: 0 })
      assert.lengthOf((yield* recorder.report).operations, 0)
      yield* goOn
      assert.strictEqual((yield* Fiber.join(fiber)).consumed, 1)
      assert.deepStrictEqual(yield* pending(), ["b"])
      assert.deepInclude(yield* Eventbox.drain(Journal, journal, { whenBusy: "skip" }), { skipped: false, consumed: 1 })
    }).pipe(withJournal(), Effect.provide(world)))

  it.effect("is waited for by the others, and other recipients by none", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      const { fiber, goOn } = yield* held
      yield* emit(["b"])
      yield* emit(["c"], Journal.recipient("other"))

      const waiting = yield* Effect.forkChild(Eventbox.process(Journal, journal))
      const other = yield* Eventbox.process(Journal, Journal.recipient("other"), { whenBusy: "skip" })
      yield* settle

      assert.strictEqual(other.consumed, 1)
      assert.isUndefined(waiting.pollUnsafe())
      yield* goOn
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* Fiber.join(waiting)).consumed, 1)
    }).pipe(withJournal(), Effect.provide(world)))
})
