import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Result, Schema } from "effect"
import * as Datastore from "../src/Datastore.ts"
import * as Entity from "../src/Entity.ts"
import * as Eventbox from "../src/Eventbox.ts"
import { isChanged, misuse, withoutNoops } from "../src/eventbox/decision.ts"
import * as Key from "../src/Key.ts"
import * as Processor from "../src/Processor.ts"
import * as Outstanding from "../src/testing/Outstanding.ts"
import { consumeAll, emit, Journal, journal, saved, withJournal } from "./utils/boxJournal.ts"
import { defectOf, world } from "./utils/boxWorld.ts"

describe("Chain", () => {
  const ops: Array<string> = []
  const note = (name: string) =>
    Effect.gen(function*() {
      ops.push(name)
      yield* Effect.yieldNow
      ops.push(`end of ${name}`)
    })

  it("of nothing is undefined", () => {
    assert.isUndefined(Processor.Chain())
    assert.isUndefined(Processor.Chain(undefined))
    assert.isUndefined(Processor.Chain(undefined, undefined))
  })

  it.effect("keeps the order, and runs an effect as often as it stands there", () =>
    Effect.gen(function*() {
      ops.length = 0
      const [one, two] = [note("one"), note("two")]

      yield* Processor.Chain(undefined, two, undefined, one, two, one, undefined)!

      assert.deepStrictEqual(ops, ["two", "one", "two", "one"].flatMap((name) => [name, `end of ${name}`]))
    }))

  it.effect("stops at the first failure, which is its own", () =>
    Effect.gen(function*() {
      ops.length = 0

      const chain = Processor.Chain(
        note("one"),
        undefined,
        Effect.andThen(note("broken"), Effect.fail("no")),
        note("two")
      )!
      const error = yield* Effect.flip(chain)

      assert.strictEqual(error, "no")
      assert.deepStrictEqual(ops, ["one", "end of one", "broken", "end of broken"])
    }))

  it.effect("runs nothing before it is run", () =>
    Effect.sync(() => {
      ops.length = 0

      Processor.Chain(note("one"))

      assert.deepStrictEqual(ops, [])
    }))
})

describe("a transition that does nothing", () => {
  const effect = Effect.void
  const isNoop = (transition: Partial<Processor.Transition<number, string>>) =>
    withoutNoops([{ transitionTo: 99, ...transition }], 99).length === 0

  it("has no events, no effects, and leads to the state that is there", () => {
    assert.isTrue(isNoop({}))
    assert.isTrue(isNoop({ events: [], sideEffect: undefined, postProcess: undefined }))
    assert.isFalse(isNoop({ transitionTo: 100 }))
    assert.isFalse(isNoop({ events: [{ id: "a", value: "" }] }))
    assert.isFalse(isNoop({ sideEffect: effect }))
    assert.isFalse(isNoop({ postProcess: effect }))
  })

  it("is judged by the state that the transitions before it led to", () => {
    const steps = [{ transitionTo: 1 }, { transitionTo: 1 }, { transitionTo: 0 }, { transitionTo: 0 }]

    assert.deepStrictEqual(withoutNoops(steps, 0), [steps[0]!, steps[2]!])
  })
})

describe("a state", () => {
  it("has changed when it is another value, not when it is another object", () => {
    const state = { n: 1, list: [{ a: "x" }] }

    assert.isFalse(isChanged(state, state))
    assert.isFalse(isChanged(state, { n: 1, list: [{ a: "x" }] }))
    assert.isTrue(isChanged(state, { n: 1, list: [{ a: "y" }] }))
    assert.isFalse(isChanged(Number.NaN, Number.NaN))
    assert.isFalse(isChanged(Option.some(1), Option.some(1)))
    assert.isTrue(isChanged(Option.some(1), Option.none()))
  })
})

describe("the events that a decision names", () => {
  const batch = new Set(["a", "b"])
  const event = (id: string) => ({ id, value: "" })
  const transition = (...ids: ReadonlyArray<string>) => ({ transitionTo: 0, events: ids.map(event) })

  it("are of the batch, each once", () => {
    assert.isUndefined(misuse({ transitions: [transition("a"), transition("b")] }, batch))
    assert.isUndefined(misuse({ transitions: [transition("a")], garbage: [event("b")] }, batch))
    assert.isUndefined(misuse({ transitions: [{ transitionTo: 1 }], garbage: undefined }, batch))
  })

  it("are told apart when they are not", () => {
    assert.strictEqual(
      misuse({ transitions: [transition("a"), transition("c")] }, batch),
      "transition 1 names event \"c\", which is not in this batch"
    )
    assert.strictEqual(
      misuse({ transitions: [transition("a"), transition("a")] }, batch),
      "transition 1 names event \"a\", which was used before"
    )
    assert.strictEqual(
      misuse({ transitions: [transition("a")], garbage: [event("a")] }, batch),
      "garbage names event \"a\", which was used before"
    )
    assert.strictEqual(
      misuse({ transitions: [], garbage: [event("c")] }, batch),
      "garbage names event \"c\", which is not in this batch"
    )
  })
})

describe("a recipient", () => {
  it("has a key of its box's kind, and the kind for a label unless another is given", () => {
    const byName = Journal.recipient("r1")
    const byNumber = Journal.recipient(7, "few")
    const byKey = Journal.recipient(Key.make("Tenant", 1, "Journal", "r2"))

    assert.deepStrictEqual([String(byName.key), byName.monitoringString], ["Journal,\"r1\"", "Journal"])
    assert.deepStrictEqual([String(byNumber.key), byNumber.monitoringString], ["Journal,7", "few"])
    assert.deepStrictEqual([String(byKey.key), byKey.monitoringString], ["Tenant,1/Journal,\"r2\"", "Journal"])
  })

  it("of a key of another kind is refused, naming box and kinds", () => {
    assert.throws(
      () => Journal.recipient(Key.make("Run", "r1")),
      "test/Journal.recipient: the key is of kind Run (Run,\"r1\"), this box is for kind Journal"
    )
  })

  it("with an id that breaks the rules is refused with a KeyError", () => {
    for (const id of ["", "__x__", 0, -1, 1.5]) assert.throws(() => Journal.recipient(id), Key.KeyError)
  })

  it("of an id that breaks the rules of keys is a failure of recipientResult, which may come from outside", () => {
    for (const id of ["", "__x__", 0, -1, 1.5]) {
      const refused = Journal.recipientResult(id)
      assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "KeyError")
    }
    const made = Result.getOrThrow(Journal.recipientResult("r1", "few"))
    assert.strictEqual(String(made.key), "Journal,\"r1\"")
    assert.strictEqual(made.monitoringString, "few")
  })
})

describe("a box", () => {
  it("of a kind that breaks the rules is refused when it is declared", () => {
    const declare = (kind: string) =>
      Processor.Service<Journal>()("test/Bad", { kind, state: Schema.Int, event: Schema.Int })

    for (const kind of ["", "__kind__", "\uD800"]) assert.throws(() => declare(kind), Key.KeyError)
  })

  it.effect("has a layer that is built once, with what it needs", () =>
    Effect.gen(function*() {
      let builds = 0
      const layer = Journal.toLayer(Effect.gen(function*() {
        builds++
        return yield* Journal.entity({
          initial: () => [],
          prepareMutation: (events, state) => Effect.succeed(consumeAll(events, state))
        })
      }))
      yield* emit(["a"])

      const twice = Effect.andThen(Eventbox.processBatch(Journal, journal), Eventbox.processBatch(Journal, journal))
      yield* Effect.provide(twice, layer)

      assert.strictEqual(builds, 1)
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("cannot be processed when its layer is missing, and says which", () =>
    Effect.gen(function*() {
      const batch = Eventbox.processBatch(Journal, journal) as Effect.Effect<unknown, unknown, Datastore.Datastore>

      assert.include(yield* defectOf(batch), "test/Journal")
    }).pipe(Effect.provide(world)))
})

describe("a state in the recipient's own entity", () => {
  it.effect("begins as `initial` with version 0, and grows by 1 with every save", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const process = Eventbox.processBatch(Journal, journal).pipe(withJournal((events, state) => {
        seen.push(state)
        return consumeAll(events, state)
      }))

      assert.isUndefined(yield* saved())
      yield* emit(["a"])
      yield* process
      yield* emit(["b"])
      yield* process

      assert.deepStrictEqual(seen, [[], ["a"]])
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 2 })
    }).pipe(Effect.provide(world)))

  it.effect("is stored as JSON text, without an index, beside other properties that stay as they are", () =>
    Effect.gen(function*() {
      yield* Datastore.put([
        Entity.make(journal.key, { owner: "ann", notes: "x".repeat(2_000) }, { unindexed: ["notes"] })
      ])
      yield* emit(["a"])

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())

      const { properties, unindexed } = Option.getOrThrow(yield* Datastore.get(journal.key))
      assert.deepStrictEqual(properties, { owner: "ann", notes: "x".repeat(2_000), State: "[\"a\"]", EVersion: 1 })
      assert.deepStrictEqual(unindexed, new Set(["notes", "State", "EVersion"]))
    }).pipe(Effect.provide(world)))

  it.effect("keeps an entity without any index as it is", () =>
    Effect.gen(function*() {
      yield* Datastore.put([Entity.make(journal.key, { owner: "ann" }, { unindexed: "all" })])
      yield* emit(["a"])

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())

      const { unindexed } = Option.getOrThrow(yield* Datastore.get(journal.key))
      assert.isTrue(["owner", "State", "EVersion"].every((name) => unindexed === "all" || unindexed.has(name)))
    }).pipe(Effect.provide(world)))

  it.effect("of any size up to that of an entity is stored: no index limits it to 1,500 bytes", () =>
    Effect.gen(function*() {
      yield* emit(["x".repeat(100_000)])

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())

      assert.strictEqual((yield* saved())?.state[0]?.length, 100_000)
    }).pipe(Effect.provide(world)))

  it.effect("that does not decode is StateDecodeError, naming the recipient and the problem", () =>
    Effect.gen(function*() {
      const broken: ReadonlyArray<readonly [Entity.Properties, string]> = [
        [{ State: "not JSON", EVersion: 1 }, "JSON"],
        [{ State: "{\"a\":1}", EVersion: 1 }, "Expected array"],
        [{ EVersion: 1 }, "Expected string"],
        [{ State: "[]", EVersion: -1 }, "greater than or equal to 0"],
        [{ State: "[]", EVersion: "1" }, "Expected number"],
        // Another program's: it would be overwritten.
        [{ State: "CA" }, "no EVersion"],
        [{ State: "[]" }, "no EVersion"]
      ]
      for (const [properties, says] of broken) {
        yield* Datastore.put([Entity.make(journal.key, properties)])
        const error = yield* Effect.flip(Eventbox.processBatch(Journal, journal).pipe(withJournal()))
        assert.strictEqual(error._tag, "StateDecodeError")
        assert.include(error.message, "State of Journal,\"one\" does not decode: ")
        assert.include(error.message, says)
        assert.isFalse((error as { readonly isRetryable: boolean }).isRetryable)
      }
    }).pipe(Effect.provide(world)))

  it.effect("that does not fit its own schema is a defect of the processor, and nothing is written", () =>
    Effect.gen(function*() {
      yield* emit(["a"])

      const message = yield* defectOf(
        Eventbox.processBatch(Journal, journal).pipe(
          withJournal((events) => ({ transitions: [{ events, transitionTo: [7 as unknown as string] }] }))
        )
      )

      assert.include(message, "Expected string")
      assert.isUndefined(yield* saved())
    }).pipe(Effect.provide(world)))

  it.effect("is that of its recipient alone", () =>
    Effect.gen(function*() {
      const other = Journal.recipient("other")
      yield* emit(["a"])
      yield* emit(["b"], other)

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())

      assert.deepStrictEqual([yield* saved(), yield* saved(other)], [{ state: ["a"], eversion: 1 }, undefined])
    }).pipe(Effect.provide(world)))
})

describe("events and states", () => {
  class Rich extends Processor.Service<Rich>()("test/Rich", {
    kind: "Rich",
    state: Schema.Struct({ last: Schema.OptionFromNullOr(Schema.Date), sum: Schema.BigInt }),
    event: Schema.TaggedUnion({ Add: { n: Schema.BigInt, at: Schema.Date, blob: Schema.Uint8Array }, Reset: {} })
  }) {
    static readonly layer = this.toLayer(this.entity({
      initial: () => ({ last: Option.none(), sum: BigInt(0) }),
      prepareMutation: (events, state) =>
        Effect.succeed({
          transitions: [{
            events,
            transitionTo: events.reduce((before, { value }) =>
              value._tag === "Reset"
                ? { last: Option.none(), sum: BigInt(0) }
                : { last: Option.some(value.at), sum: before.sum + value.n + BigInt(value.blob.length) }, state)
          }]
        })
    }))
  }

  it.effect("of rich types survive storage", () =>
    Effect.gen(function*() {
      const recipient = Rich.recipient(1)
      const at = new Date(86_400_000)
      yield* Eventbox.emit(Rich, recipient, { _tag: "Reset" })
      yield* Eventbox.emit(Rich, recipient, { _tag: "Add", n: BigInt("9007199254740993"), at, blob: new Uint8Array(2) })

      const [first, second] = yield* Outstanding.events(Rich, recipient)
      yield* Eventbox.processBatch(Rich, recipient)
      const loaded = yield* Effect.flatMap(Rich, (rich) => rich.loadState(recipient))

      assert.strictEqual(first!.value._tag, "Reset")
      assert.deepStrictEqual(second!.value, { _tag: "Add", n: BigInt("9007199254740993"), at, blob: new Uint8Array(2) })
      assert.strictEqual(loaded.state.sum, BigInt("9007199254740995"))
      assert.deepStrictEqual(loaded.state.last, Option.some(at))
      assert.strictEqual(loaded.eversion, Processor.EVersion.make(1))
    }).pipe(Effect.provide(Layer.provideMerge(Rich.layer, world))))
})
