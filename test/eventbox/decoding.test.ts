import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, SchemaGetter } from "effect"
import * as DsSet from "../../src/DsSet.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import { Faulty } from "../../src/testing/index.ts"
import { emit, Journal, journal, Refused, saved, withJournal, withMock } from "../utils/boxJournal.ts"
import { storedItems, world } from "../utils/boxWorld.ts"

const batch = Eventbox.processBatch(Journal, journal)

/** A word of the dictionary takes a while to be looked up. */
const Word = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transformEffect((text: string) =>
    text.startsWith("look up") ? Effect.as(Effect.yieldNow, `${text}: found`) : Effect.succeed(text)
  ),
  encode: SchemaGetter.passthrough()
}))

class Words extends Processor.Service<Words>()("test/Words", {
  kind: "Words",
  state: Schema.Array(Schema.String),
  event: Word
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => [],
    prepareMutation: (events, state) =>
      Effect.succeed({ transitions: [{ events, transitionTo: [...state, ...events.map(({ value }) => value)] }] })
  }))
}

describe("events whose decoding takes time", () => {
  // Must catch: going on from the first of them, or in another order.
  it.effect("come to the processor once each and in order, those before and behind them too", () =>
    Effect.gen(function*() {
      const words = Words.recipient("one")
      const texts = ["a", "b", "look up c", "d", "look up e"]
      for (const text of texts) yield* Eventbox.emit(Words, words, text)

      yield* Eventbox.processBatch(Words, words)

      const { state } = yield* Eventbox.loadState(Words, words)
      assert.deepStrictEqual(state, ["a", "b", "look up c: found", "d", "look up e: found"])
    }).pipe(Effect.provide([world, Words.layer])))
})

describe("events and states that do not decode", () => {
  const poison = DsSet.add(DsSet.make({ parent: journal.key }), [
    { id: "poison", value: new TextEncoder().encode("7"), atMillis: 0 }
  ])

  it.effect("make the batch fail with EventDecodeError, naming event and recipient, and nothing is consumed", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* poison

      const error = yield* Effect.flip(batch.pipe(withMock({})))

      assert.strictEqual(error._tag, "EventDecodeError")
      assert.include(error.message, "Event \"poison\" of Journal,\"one\" does not decode: Expected string")
      assert.lengthOf(yield* storedItems(journal.key), 2)
    }).pipe(Effect.provide(world)))

  it.effect("can be removed by id, and then the batch goes through", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* poison
      const error = yield* Effect.flip(batch.pipe(withJournal()))

      yield* DsSet.remove(DsSet.make({ parent: journal.key }), [error._tag === "EventDecodeError" ? error.eventId : ""])
      yield* batch.pipe(withJournal())

      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("do not block those behind them for ever: the next batch goes on after the one that failed", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Journal, journal, "first", { id: "a" })
      yield* poison
      yield* Eventbox.emit(Journal, journal, "last", { id: "zzz" })
      const small = Eventbox.processBatch(Journal, journal, { maxEvents: 2 }).pipe(withJournal())

      yield* Effect.flip(small)
      yield* small

      assert.deepStrictEqual(yield* saved(), { state: ["last"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  const failures = {
    prepareMutation: withMock({ prepareMutation: () => new Refused({ why: "no" }) }),
    "a side effect": withJournal((events) => ({
      transitions: [{ events, transitionTo: [], sideEffect: new Refused({ why: "no" }) }]
    }))
  }
  it.effect.each(["prepareMutation", "a side effect"] as const)(
    "nor do events on which %s fails",
    (where) =>
      Effect.gen(function*() {
        yield* emit(["bad", "good"])
        const small = Eventbox.processBatch(Journal, journal, { maxEvents: 1 })

        yield* Effect.flip(failures[where](small))
        yield* small.pipe(withJournal())

        assert.deepStrictEqual(yield* saved(), { state: ["good"], eversion: 1 })
      }).pipe(Effect.provide(world))
  )

  it.effect("but a batch that met contention is tried again with the same events", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a", "b", "c"])
      const small = Eventbox.processBatch(Journal, journal, { maxEvents: 2 }).pipe(withJournal())
      yield* faulty.inject("commit", Faulty.contention)

      yield* Effect.flip(small)
      yield* small

      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 1 })
    }).pipe(Effect.provide(world)))
})
