import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import * as Datastore from "../src/Datastore.ts"
import type * as Entity from "../src/Entity.ts"
import * as Eventbox from "../src/Eventbox.ts"
import * as Key from "../src/Key.ts"
import * as Processor from "../src/Processor.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import { defectOf, operationsOf, otherProcess, settle, world } from "./utils/boxWorld.ts"

const Amount = Schema.Struct({ amount: Schema.Int })

/** Sums amounts. */
class Credits extends Processor.Service<Credits>()("test/Credits", {
  kind: "User",
  state: Schema.Int,
  event: Amount
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, sum) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: events.reduce((total, { value }) => total + value.amount, sum) }]
      })
  }))
}

/** Another box of the same kind, whose events and states look just like those of the first. */
class Visits extends Processor.Service<Visits>()("test/Visits", { kind: "User", state: Schema.Int, event: Amount }) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, count) =>
      Effect.succeed({ transitions: [{ events, transitionTo: count + events.length }] })
  }))
}

/** A third one, which can read neither. */
class Names extends Processor.Service<Names>()("test/Names", {
  kind: "User",
  state: Schema.String,
  event: Schema.Struct({ name: Schema.String })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => "",
    prepareMutation: (events, name) =>
      Effect.succeed({ transitions: [{ events, transitionTo: events.at(-1)?.value.name ?? name }] })
  }))
}

const boxes = Layer.provideMerge(Layer.mergeAll(Credits.layer, Visits.layer, Names.layer), world)
const ada = "ada"

describe("a mailbox belongs to the box whose batch was the first there", () => {
  it.effect("and a batch of another box is refused: both are named, nothing is consumed, and there is no commit", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Eventbox.emit(Credits, Credits.recipient(ada), { amount: 1_000 })
      yield* Eventbox.process(Credits, Credits.recipient(ada))
      yield* Eventbox.emit(Credits, Credits.recipient(ada), { amount: 1 })
      yield* settle

      for (
        const foreign of [
          Eventbox.processBatch(Visits, Visits.recipient(ada)),
          Eventbox.process(Visits, Visits.recipient(ada)),
          Eventbox.drain(Names, Names.recipient(ada)),
          // Its own state would not load either, but whose mailbox it is says more.
          Eventbox.processBatch(Names, Names.recipient(ada))
        ]
      ) {
        const [error, report] = yield* recorder.during(
          Effect.flip(foreign as Effect.Effect<unknown, { message: string }, any>)
        )
        assert.match(
          error.message,
          /^The mailbox of User,"ada" belongs to the box test\/Credits, not to test\/(Visits|Names): nothing was consumed/
        )
        assert.notInclude(operationsOf(report), "commit")
      }
      assert.deepStrictEqual((yield* Eventbox.process(Credits, Credits.recipient(ada))).consumed, 1)
      assert.strictEqual((yield* Eventbox.loadState(Credits, Credits.recipient(ada))).state, 1_001)
    }).pipe(Effect.provide(boxes)) as Effect.Effect<void>)

  it.effect("also when an event of the other one came first, and in another process", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Visits, Visits.recipient(ada), { amount: 1 })
      yield* Eventbox.process(Credits, Credits.recipient(ada))
      const other = yield* otherProcess

      const error = yield* Effect.flip(Eventbox.process(Visits, Visits.recipient(ada))).pipe(
        Effect.provideService(Datastore.Datastore, other)
      )

      if (error._tag !== "MailboxOwned") return assert.fail(error._tag)
      assert.deepStrictEqual([error.recipient.toString(), error.owner, error.box], [
        "User,\"ada\"",
        "test/Credits",
        "test/Visits"
      ])
      assert.isFalse(error.isRetryable)
    }).pipe(Effect.scoped, Effect.provide(boxes)))

  it.effect("of two that race for a new mailbox one gets it, and the other is told", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Credits, Credits.recipient(ada), { amount: 1 })

      const [credits, visits] = yield* Effect.all([
        Effect.result(Eventbox.processBatch(Credits, Credits.recipient(ada))),
        Effect.result(Eventbox.processBatch(Visits, Visits.recipient(ada)))
      ], { concurrency: "unbounded" })
      const loser = credits._tag === "Failure"
        ? credits.failure
        : visits._tag === "Failure"
        ? visits.failure
        : undefined
      assert.strictEqual(loser?._tag, "ContentionError")

      const again = credits._tag === "Failure"
        ? Eventbox.processBatch(Credits, Credits.recipient(ada))
        : Eventbox.processBatch(Visits, Visits.recipient(ada))
      assert.strictEqual(
        (yield* Effect.flip(again as Effect.Effect<unknown, { _tag: string }, any>))._tag,
        "MailboxOwned"
      )
    }).pipe(Effect.provide(boxes)) as Effect.Effect<void>)

  it.effect("also of the halves of a batch that failed, when the other box was the first meanwhile", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      yield* Eventbox.emitAll(Credits, Credits.recipient(ada), [1, 2, 3].map((amount) => ({ amount })))
      const first = Eventbox.processBatch(Visits, Visits.recipient(ada), { maxEvents: 1 }).pipe(
        Effect.provideService(Datastore.Datastore, other),
        Effect.orDie,
        Effect.provide(Visits.layer)
      )
      // Before the first half looks at the head.
      yield* faulty.inject("lookup", Faulty.around({ before: Effect.asVoid(first) }), { nth: 2 })
      const failing = Effect.provideServiceEffect(
        Credits,
        Credits.entity({
          initial: () => 0,
          prepareMutation: (events) =>
            events.length > 1
              ? Effect.die(new Error("a defect"))
              : Effect.succeed({ transitions: [{ events, transitionTo: 7 }] })
        })
      )

      const error = yield* Effect.flip(Eventbox.process(Credits, Credits.recipient(ada)).pipe(failing))

      assert.strictEqual(error._tag, "MailboxOwned")
      assert.lengthOf(yield* Eventbox.list(Visits, Visits.recipient(ada)), 2)
    }).pipe(Effect.scoped, Effect.provide(boxes)))

  it.effect("also after a batch whose response was lost, and one that consumed nothing", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      class Idle extends Processor.Service<Idle>()("test/Idle", { kind: "User", state: Schema.Int, event: Amount }) {
        static readonly layer = this.toLayer(this.entity({
          initial: () => 0,
          prepareMutation: (_, state) => Effect.succeed({ transitions: [{ transitionTo: state, touch: true }] })
        }))
      }
      yield* faulty.inject("commit", Faulty.responseLost)
      yield* Eventbox.processBatch(Idle, Idle.recipient(ada)).pipe(Effect.provide(Idle.layer))

      const error = yield* Effect.flip(Eventbox.processBatch(Visits, Visits.recipient(ada)))

      assert.strictEqual(error._tag, "MailboxOwned")
    }).pipe(Effect.provide(boxes)))

  it.effect("while a child key is a mailbox of its own, and `list` shows any", () =>
    Effect.gen(function*() {
      const child = Visits.recipient(Key.child(Key.make("User", ada), "User", "visits"))
      yield* Eventbox.emit(Credits, Credits.recipient(ada), { amount: 5 })
      yield* Eventbox.process(Credits, Credits.recipient(ada))
      yield* Eventbox.emit(Credits, Credits.recipient(ada), { amount: 6 })
      yield* Eventbox.emit(Visits, child, { amount: 1 })

      assert.strictEqual((yield* Eventbox.process(Visits, child)).consumed, 1)
      assert.lengthOf(yield* Eventbox.list(Visits, Visits.recipient(ada)), 1)
    }).pipe(Effect.provide(boxes)))
})

describe("an implementation of another declaration", () => {
  const twin = () => {
    class Twin extends Processor.Service<Twin>()("test/Twin", { kind: "Twin", state: Schema.Int, event: Amount }) {}
    const layer = Twin.toLayer(Twin.entity({
      initial: () => 0,
      prepareMutation: (events, state) => Effect.succeed({ transitions: [{ events, transitionTo: state + 1 }] })
    }))
    return { Twin, layer }
  }

  it.effect("of the same id dies when it is used, also one that no `entity` made, and says what to do", () =>
    Effect.gen(function*() {
      const [one, two] = [twin(), twin()]
      const recipient = one.Twin.recipient("a")
      const custom = two.Twin.toLayer(Effect.succeed({
        loadState: () => Effect.succeed({ state: 0, eversion: Processor.EVersion.make(0) }),
        prepareMutation: () => Effect.succeed({ transitions: [] }),
        saveState: () => Effect.void
      }))

      for (const layer of [two.layer, custom]) {
        for (const use of [Eventbox.processBatch(one.Twin, recipient), Eventbox.loadState(one.Twin, recipient)]) {
          const used = (use as Effect.Effect<unknown, unknown, any>).pipe(Effect.provide(layer))
          const message = yield* defectOf(used as Effect.Effect<unknown, unknown, Datastore.Datastore>)
          assert.include(message, "Two boxes are declared with the id test/Twin")
          assert.include(message, "give each declaration an id of its own")
        }
      }
      yield* Eventbox.processBatch(one.Twin, recipient).pipe(Effect.provide(one.layer))
    }).pipe(Effect.provide(world)))

  it.effect("of another id dies too, when its layer is built or when it is used", () =>
    Effect.gen(function*() {
      const visits = yield* Visits.entity({
        initial: () => 0,
        prepareMutation: () => Effect.succeed({ transitions: [] })
      })
      const forced: any = visits
      const use = Eventbox.processBatch(Credits, Credits.recipient(ada))

      for (
        const provided of [
          Effect.scoped(Layer.build(Credits.toLayer(Effect.succeed(forced)))),
          Effect.provideService(use, Credits, forced),
          Effect.provideService(use, Credits, { ...forced })
        ]
      ) {
        const message = yield* defectOf(provided as Effect.Effect<unknown, unknown, Datastore.Datastore>)
        assert.include(
          message,
          "The implementation that is provided for the box test/Credits is that of the box test/Visits"
        )
      }
    }).pipe(Effect.provide(world)))

  it.effect("may be shared by boxes that take it each by a layer of their own, or provided by a test", () =>
    Effect.gen(function*() {
      const shared: any = {
        loadState: () => Effect.succeed({ state: 0, eversion: Processor.EVersion.make(0) }),
        prepareMutation: () => Effect.succeed({ transitions: [] }),
        saveState: () => Effect.void
      }
      yield* Eventbox.processBatch(Credits, Credits.recipient(ada)).pipe(
        Effect.andThen(Eventbox.processBatch(Visits, Visits.recipient(ada))),
        Effect.provide([Credits.toLayer(Effect.succeed(shared)), Visits.toLayer(Effect.succeed(shared))])
      )
      yield* Eventbox.processBatch(Credits, Credits.recipient(ada)).pipe(Effect.provideService(Credits, { ...shared }))
    }).pipe(Effect.provide(world)))
})

describe("the head", () => {
  it.effect("holds the id of the box", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Credits, Credits.recipient(ada), { amount: 5 })
      yield* Eventbox.process(Credits, Credits.recipient(ada))

      const head = yield* Datastore.get(Key.child(Key.make("User", ada), "dsset.Tombstones", 1))
      assert.strictEqual(Option.getOrThrow(head as Option.Option<Entity.Entity>).properties["Owner"], "test/Credits")
    }).pipe(Effect.provide(boxes)))
})
