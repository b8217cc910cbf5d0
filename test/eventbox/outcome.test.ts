import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import {
  consumeAll,
  emit,
  Journal,
  journal,
  type JournalEvents,
  type JournalMutation,
  pending,
  saved,
  withJournal
} from "../utils/boxJournal.ts"
import { inTime, settle, storedItems, world, writesHead } from "../utils/boxWorld.ts"

const other = Journal.recipient("other")

/** Consumes all events, with an emit to another recipient and a post-process effect that notes what it was for. */
const decide = (noted: Array<string>, changes: boolean) =>
(
  events: JournalEvents,
  state: ReadonlyArray<string>
): JournalMutation => {
  if (events.length === 0) return { transitions: [] }
  const values = events.map(({ value }) => value).join("+")
  return {
    transitions: [{
      events,
      transitionTo: changes ? consumeAll(events, state).transitions[0]!.transitionTo : state,
      sideEffect: Eventbox.emit(Journal, other, values),
      postProcess: Effect.sync(() => {
        noted.push(values)
      })
    }]
  }
}

const lose = (fault: Faulty.CommitFault, times = 1) =>
  Effect.gen(function*() {
    const faulty = yield* Faulty.Faulty
    for (let n = 0; n < times; n++) yield* faulty.inject("commit", fault, { where: writesHead })
    return faulty
  })

const readsHeadAlone = (call: Recorder.Call) =>
  call.operation === "lookup" && Recorder.kindsOf(call).join() === "dsset.Tombstones"

// P5, for a transition that changes the state and for one that keeps it: then nothing but the head tells what happened.
describe.each([["changes", true], ["keeps", false]] as const)(
  "a batch that %s the state, whose commit has no response",
  (_, changes) => {
    const setUp = Effect.gen(function*() {
      const noted: Array<string> = []
      yield* emit(["a", "b"])
      return {
        noted,
        batch: inTime(Eventbox.processBatch(Journal, journal).pipe(withJournal(decide(noted, changes)))),
        process: inTime(Eventbox.process(Journal, journal).pipe(withJournal(decide(noted, changes))))
      }
    })
    const before = { state: undefined, events: ["a", "b"], emitted: [], stored: 2 }
    const after = { state: changes ? ["a", "b"] : undefined, events: [], emitted: ["a+b"], stored: 0 }
    const look = Effect.gen(function*() {
      yield* settle
      return {
        state: (yield* saved())?.state,
        events: yield* pending(),
        emitted: yield* pending(other),
        stored: (yield* storedItems(journal.key)).length
      }
    })

    it.effect("is a success when it landed, with its post-process effects", () =>
      Effect.gen(function*() {
        const { batch, noted } = yield* setUp
        yield* lose(Faulty.responseLost)

        const result = yield* batch
        yield* Effect.all(result.postProcess)

        assert.deepStrictEqual([result.consumed, result.transitions, result.postProcess.length], [2, 1, 1])
        assert.deepStrictEqual(yield* look, after)
        assert.deepStrictEqual(noted, ["a+b"])
      }).pipe(Effect.provide(world)))

    it.effect("is contention when it was lost on its way, and names its recipient", () =>
      Effect.gen(function*() {
        const { batch } = yield* setUp
        yield* lose(Faulty.requestLost)

        const error = yield* Effect.flip(batch)

        assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Fenced")
        assert.include(
          error.message,
          "Contention on Journal,\"one\": the response of the commit was lost; it did not land"
        )
        assert.deepStrictEqual(yield* look, before)
      }).pipe(Effect.provide(world)))

    it.effect("is run again by process, once, when it was lost on its way", () =>
      Effect.gen(function*() {
        const { noted, process } = yield* setUp
        yield* lose(Faulty.requestLost)

        const { consumed, retries } = yield* process

        assert.deepStrictEqual([consumed, retries], [2, 1])
        assert.deepStrictEqual(yield* look, after)
        assert.deepStrictEqual(noted, ["a+b"])
      }).pipe(Effect.provide(world)))

    it.effect("is run again by process, and never lands, when it comes late", () =>
      Effect.gen(function*() {
        const { noted, process } = yield* setUp
        const faulty = yield* lose(Faulty.late())

        const { consumed, retries } = yield* process
        const landed = (yield* faulty.releaseLate).map(Exit.isSuccess)

        assert.deepStrictEqual([consumed, retries, landed], [2, 1, [false]])
        assert.deepStrictEqual(yield* look, after)
        assert.deepStrictEqual(noted, ["a+b"])
      }).pipe(Effect.provide(world)))

    it.effect("is a success when it lands while it is looked for", () =>
      Effect.gen(function*() {
        const { noted, process } = yield* setUp
        const faulty = yield* lose(Faulty.late())
        yield* lose(Faulty.around({ before: Effect.asVoid(faulty.releaseLate) }))

        const { consumed, retries } = yield* process

        assert.deepStrictEqual([consumed, retries], [2, 0])
        assert.deepStrictEqual(yield* look, after)
        assert.deepStrictEqual(noted, ["a+b"])
      }).pipe(Effect.provide(world)))

    it.effect("is OutcomeUnknown when nothing can be found out, and doing it again after loading doubles nothing", () =>
      Effect.gen(function*() {
        const { noted, process } = yield* setUp
        const faulty = yield* lose(Faulty.responseLost)
        for (let n = 0; n < 8; n++) yield* faulty.inject("lookup", Faulty.readFailure, { where: readsHeadAlone })

        const error = yield* Effect.flip(process)
        assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
        assert.isFalse((error as { readonly isRetryable: boolean }).isRetryable)
        yield* process

        // It had landed: its events are garbage for this process, and its post-process effect is lost, as documented.
        assert.deepStrictEqual(yield* look, after)
        assert.deepStrictEqual(noted, [])
      }).pipe(Effect.provide(world)))
  }
)
