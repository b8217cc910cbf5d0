import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schema } from "effect"
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

  it.effect("a recipient of another kind, and what is none, dies with the call, and nothing is written", () =>
    Effect.gen(function*() {
      class Other extends Processor.Service<Other>()("test/misuse/Other", {
        kind: "Other",
        state: Schema.Int,
        event: Schema.String
      }) {}
      const other = Other.recipient("o") as Processor.Recipient<any>
      type Call = (recipient: Processor.Recipient<any>) => Effect.Effect<unknown, unknown, Datastore.Datastore | Notes>
      const calls: Readonly<Record<string, Call>> = {
        emit: (recipient) => Eventbox.emit(Notes, recipient, "a"),
        process: (recipient) => Eventbox.process(Notes, recipient),
        processBatch: (recipient) => Eventbox.processBatch(Notes, recipient),
        drain: (recipient) => Eventbox.drain(Notes, recipient),
        list: (recipient) => Eventbox.list(Notes, recipient),
        loadState: (recipient) => Eventbox.loadState(Notes, recipient)
      }
      for (const [name, call] of Object.entries(calls)) {
        assert.strictEqual(
          yield* deathOf(call(other)),
          `Eventbox.${name}: Other,"o" is no recipient of the box test/misuse/Notes, whose kind is Notes`
        )
        for (const none of ["n", notes.key, undefined]) {
          assert.strictEqual(
            yield* deathOf(call(none as any)),
            `Eventbox.${name} takes a recipient of the box test/misuse/Notes second: make it with its \`recipient\``
          )
        }
      }
      assert.strictEqual(
        yield* deathOf(Eventbox.emit(notes as any, Notes as any, "a")),
        "Eventbox.emit takes a box first: a class made with Processor.Service"
      )
      assert.deepStrictEqual(yield* Eventbox.list(Other, other), [])
    }).pipe(Effect.provide([Notes.layer, InMemory.layer])))

  const decisions: ReadonlyArray<readonly [string, (events: ReadonlyArray<unknown>) => unknown, string]> = [
    [
      "a misspelt side effect",
      (events) => ({ transitions: [{ events, transitionTo: { count: 1 }, sideEffects: Effect.void }] }),
      "transition 0 has \"sideEffects\", and knows transitionTo, events, sideEffect, touch, postProcess"
    ],
    [
      "misspelt garbage",
      (garbages) => ({ transitions: [], garbages }),
      "the decision has \"garbages\", and knows transitions, garbage"
    ],
    [
      "a side effect that is a function",
      (events) => ({ transitions: [{ events, transitionTo: { count: 1 }, sideEffect: () => Effect.void }] }),
      "the sideEffect of transition 0 is an Effect, got a value of type function"
    ],
    [
      "a post-process effect that is a promise",
      (events) => ({ transitions: [{ events, transitionTo: { count: 1 }, postProcess: Promise.resolve() }] }),
      "the postProcess of transition 0 is an Effect, got a promise"
    ],
    [
      "one event in place of a list",
      ([event]) => ({ transitions: [{ events: event, transitionTo: { count: 1 } }] }),
      "transition 0 has an object where an array of events was due"
    ],
    [
      "no list of transitions",
      () => [],
      "gave an array where { transitions: [ … ] } was due"
    ],
    ["a transition that is none", () => ({ transitions: [undefined] }), "transition 0 is undefined"]
  ]
  for (const [name, decide, problem] of decisions) {
    it.effect(`a decision with ${name} dies, and nothing is consumed`, () =>
      Effect.gen(function*() {
        const layer = Notes.toLayer(Notes.entity({
          initial: () => ({ count: 0 }),
          prepareMutation: (events) => Effect.sync(() => decide(events) as Processor.Mutation<any, any>)
        }))
        yield* Eventbox.emit(Notes, notes, "a")

        const message = yield* Effect.provide(deathOf(Eventbox.processBatch(Notes, notes)), layer)

        assert.strictEqual(
          message,
          `The processor of test/misuse/Notes is broken: prepareMutation of Notes,"n": ${problem}`
        )
        assert.strictEqual((yield* Eventbox.list(Notes, notes)).length, 1)
      }).pipe(Effect.provide(InMemory.layer)))
  }

  const version = Processor.EVersion.make(0)
  const sound: Processor.Processor<Notes, { readonly count: number }, string> = {
    loadState: () => Effect.succeed({ state: { count: 0 }, eversion: version }),
    fetchEVersion: () => Effect.succeed(version),
    prepareMutation: (events) => Effect.succeed({ transitions: [{ events, transitionTo: { count: 1 } }] }),
    saveState: () => Effect.void
  }
  for (const callback of ["loadState", "prepareMutation", "fetchEVersion", "saveState"] as const) {
    it.effect(`a ${callback} that returns no effect dies by name, and keeps no lock of the recipient`, () =>
      Effect.gen(function*() {
        yield* Eventbox.emit(Notes, notes, "a")
        const process = Eventbox.process(Notes, notes)
        for (
          const [returned, name] of [[Promise.resolve(), "a promise"], [{}, "an object"], [undefined, "undefined"]]
        ) {
          // In a fiber of its own: what is no effect would end this one without a word.
          const fiber = yield* Effect.forkChild(
            Effect.provideService(Effect.exit(process), Notes, { ...sound, [callback]: () => returned })
          )
          const exit = yield* Effect.flatten(Fiber.await(fiber))

          assert.include(
            Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "(no failure)",
            `${callback} of Notes,"n": gave ${String(name)} where an Effect was due; see Effect.succeed`
          )
        }
        const { consumed } = yield* Effect.provideService(process, Notes, sound)

        assert.strictEqual(consumed, 1)
      }).pipe(Effect.provide(InMemory.layer)))
  }

  const options: Readonly<Record<string, Eventbox.ProcessOptions>> = {
    "maxFailures is a positive integer or Infinity, got NaN": { maxFailures: Number.NaN },
    "whenBusy is \"wait\" or \"skip\", got never": { whenBusy: "never" as any },
    "retry is a Schedule of Effect; see defaultRetry": { retry: { times: 3 } as any },
    "postProcess is a Schedule of Effect": { postProcess: 3 as any },
    "postProcessGrace is a time from 0 on, such as \"10 seconds\", got NaN": { postProcessGrace: Number.NaN },
    "postProcessGrace is a time from 0 on, such as \"10 seconds\", got -1": { postProcessGrace: -1 },
    "postProcessGrace is a time from 0 on, such as \"10 seconds\", got soon": { postProcessGrace: "soon" as any }
  }
  for (const [problem, wrong] of Object.entries(options)) {
    it.effect(`an option of process and drain that cannot be meant dies at once: ${problem}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* deathOf(Eventbox.process(Notes, notes, wrong)), `Eventbox: ${problem}`)
        assert.strictEqual(yield* deathOf(Eventbox.drain(Notes, notes, wrong)), `Eventbox: ${problem}`)
      }).pipe(Effect.provide([Notes.layer, InMemory.layer])))
  }

  it.effect("a grace without time and one without end are options", () =>
    Effect.gen(function*() {
      for (const postProcessGrace of [0, "0 seconds", Infinity] as const) {
        const { batches } = yield* Eventbox.process(Notes, notes, { postProcessGrace })
        assert.strictEqual(batches, 0)
      }
    }).pipe(Effect.provide([Notes.layer, InMemory.layer])))

  it("a kind that breaks the rules is refused when the box is declared", () => {
    assert.throws(
      () => Processor.Service<Notes>()("test/misuse/Bad", { kind: "", state: Schema.Int, event: Schema.Int }),
      "Invalid Datastore key \"\": a kind is not empty (the box test/misuse/Bad)"
    )
  })
})
