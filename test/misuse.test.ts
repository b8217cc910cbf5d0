import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import * as Datastore from "../src/Datastore.ts"
import * as Entity from "../src/Entity.ts"
import * as Eventbox from "../src/Eventbox.ts"
import * as Key from "../src/Key.ts"
import * as InMemory from "../src/layers/InMemory.ts"
import * as Processor from "../src/Processor.ts"

class Notes extends Processor.Service<Notes>()("test/misuse/Notes", {
  kind: "Notes",
  state: Schema.Struct({ count: Schema.Int }),
  event: Schema.String
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => ({ count: 0 }),
    prepareMutation: (events) =>
      Effect.succeed({ transitions: events.length === 0 ? [] : [{ events, transitionTo: { count: 0.5 } }] })
  }))
}

const notes = Notes.recipient("n")

/** What a reader of the log would see of a program that dies. */
const deathOf = <E, R>(effect: Effect.Effect<unknown, E, R>): Effect.Effect<string, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const dead = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Die") : undefined
    return dead?._tag === "Die" && dead.defect instanceof Error ? dead.defect.message : "(did not die)"
  })

describe("misuse says what is wrong and what to do", () => {
  it.effect("two values of one emitAll with the same id are refused before anything is sent", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Eventbox.emitAll(Notes, notes, ["a", "b"], { id: () => "same" }))

      assert.strictEqual(
        error.message,
        "Event for Notes,\"n\" rejected: its id \"same\" is not valid " +
          "(given twice in one call, where the second would replace the first)"
      )
      assert.deepStrictEqual(yield* Eventbox.list(Notes, notes), [])
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("listing events inside a transaction dies", () =>
    Effect.gen(function*() {
      const message = yield* deathOf(Datastore.withTransaction(Eventbox.list(Notes, notes)))

      assert.strictEqual(
        message,
        "Eventbox.list cannot be used inside a transaction: list before or after it"
      )
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("what is not a key, and what is not an array, dies with the name of the function", () =>
    Effect.gen(function*() {
      const text = "Notes/1" as unknown as Key.Key
      const one = Entity.make(Key.make("Notes", 1), {}) as unknown as ReadonlyArray<Entity.Entity>

      assert.strictEqual(yield* deathOf(Datastore.get(text)), "Datastore.get: Notes/1 is not a Key; see Key.make")
      assert.strictEqual(
        yield* deathOf(Datastore.remove([text])),
        "Datastore.remove: Notes/1 is not a Key; see Key.make"
      )
      assert.strictEqual(yield* deathOf(Datastore.put(one)), "Datastore.put takes an array")
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("a new state that does not fit its schema dies with the recipient and the place", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Notes, notes, "a")
      const message = yield* deathOf(Eventbox.processBatch(Notes, notes))

      assert.strictEqual(
        message,
        "The new state of Notes,\"n\" does not fit the state schema of test/misuse/Notes: Expected an integer\n  at [\"count\"]"
      )
      assert.strictEqual((yield* Eventbox.list(Notes, notes)).length, 1)
    }).pipe(Effect.provide([Notes.layer, InMemory.layer])))

  it("a kind that breaks the rules is refused when the box is declared", () => {
    assert.throws(
      () => Processor.Service<Notes>()("test/misuse/Bad", { kind: "", state: Schema.Int, event: Schema.Int }),
      "a kind is not empty"
    )
  })
})
