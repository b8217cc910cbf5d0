import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import { Recorder } from "../../src/testing/index.ts"
import {
  consumeAll,
  emit,
  Journal,
  journal,
  type JournalProcessor,
  saved,
  version,
  withJournal
} from "../utils/boxJournal.ts"
import { settle, storedItems, world } from "../utils/boxWorld.ts"

/**
 * What a batch asks of its database before it returns: its operations, and how many of them had to wait for another.
 */
const costOf = <A, E, R>(batch: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const recorder = yield* Recorder.Recorder
    const [value, report] = yield* recorder.during(batch)
    // What runs on after the batch has returned has no end yet.
    const before = report.operations.filter(({ end }) => end !== Number.POSITIVE_INFINITY)
    return {
      value,
      operations: before.map(({ call }) => call.operation).toSorted(),
      rounds: Recorder.rounds(before),
      text: Recorder.format(report.operations),
      commits: before.filter(({ call }) => call.operation === "commit"),
      lookups: before.filter(({ call }) => call.operation === "lookup")
    }
  })

const assertTwoRounds = (cost: Effect.Success<ReturnType<typeof costOf>>) => {
  assert.deepStrictEqual(cost.operations, ["commit", "lookup", "query"], cost.text)
  assert.strictEqual(cost.rounds, 2, cost.text)
}

const batch = Eventbox.processBatch(Journal, journal)

/** After the first batch of a process it is known how large the events of a box are. */
const firstBatch = Effect.andThen(emit(["first"]), Effect.andThen(withJournal()(batch), settle))

/** Consumes, and keeps the state as it is. */
const keep = withJournal((events, state) => ({ transitions: [{ events, transitionTo: state }] }))

const many = (count: number, from = 0) => Array.from({ length: count }, (_, n) => `v${from + n}`)

// P6. Rounds are counted, not timed: operations that overlap are one round.
describe("P6: a batch costs two round trips before its result", () => {
  it.effect("the first batch ever", () =>
    Effect.gen(function*() {
      yield* emit(["a"])

      const cost = yield* costOf(batch.pipe(withJournal()))

      assertTwoRounds(cost)
      assert.deepStrictEqual(
        cost.lookups.map(({ call }) => Recorder.keysOf(call).map(String).toSorted()),
        [["Journal,\"one\"", "Journal,\"one\"/dsset.Tombstones,1"]],
        "head and state in one lookup"
      )
    }).pipe(Effect.provide(world)))

  it.effect("one that changes the state", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* batch.pipe(withJournal())
      yield* settle
      yield* emit(["b"])

      assertTwoRounds(yield* costOf(batch.pipe(withJournal())))
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 2 })
    }).pipe(Effect.provide(world)))

  it.effect("one that keeps the state, and expects it unchanged all the same", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* batch.pipe(withJournal())
      yield* settle
      yield* emit(["b"])

      const cost = yield* costOf(batch.pipe(keep))

      assertTwoRounds(cost)
      const { call } = cost.commits[0]!
      assert.deepStrictEqual(
        call.operation === "commit" &&
          call.request.expected.map(({ key }) => String(key)).filter((key) => !key.includes("dsset.Item")).toSorted(),
        ["Journal,\"one\"", "Journal,\"one\"/dsset.Tombstones,1"]
      )
      assert.deepStrictEqual(
        call.operation === "commit" && call.request.mutations.map(({ _tag }) => _tag).toSorted(),
        ["Delete", "Upsert"],
        "the event and the head, and not the state"
      )
    }).pipe(Effect.provide(world)))

  it.effect("one whose side effects emit ten events", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      const sideEffect = Processor.Chain(
        ...many(10).map((value) => Eventbox.emit(Journal, Journal.recipient(value), value))
      )

      const cost = yield* costOf(batch.pipe(withJournal((events, state) => ({
        transitions: [{ ...consumeAll(events, state).transitions[0]!, sideEffect }]
      }))))

      assertTwoRounds(cost)
      assert.lengthOf(Recorder.keysOf(cost.commits[0]!.call), 13, "the event, head, state and ten events")
    }).pipe(Effect.provide(world)))

  it.effect("one that loads several entities, at once or one by one beside each other", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      const keys = many(3).map((id) => Journal.recipient(id).key)
      const processor: JournalProcessor = {
        loadState: () =>
          Effect.as(
            Effect.all([Datastore.get(journal.key), ...keys.map(Datastore.get)], { concurrency: "unbounded" }),
            { state: [], eversion: version(0) }
          ),
        fetchEVersion: () => Effect.as(Datastore.get(journal.key), version(0)),
        prepareMutation: (events, state) => Effect.succeed(consumeAll(events, state)),
        saveState: () => Effect.void
      }

      assertTwoRounds(yield* costOf(batch.pipe(Effect.provideService(Journal, processor))))
    }).pipe(Effect.provide(world)))

  it.effect("one round for one that finds nothing to do", () =>
    Effect.gen(function*() {
      const cost = yield* costOf(batch.pipe(withJournal()))

      assert.deepStrictEqual(cost.operations, ["lookup", "query"], cost.text)
      assert.strictEqual(cost.rounds, 1)
    }).pipe(Effect.provide(world)))

  it.effect("two for one that declares garbage beside its transitions", () =>
    Effect.gen(function*() {
      yield* emit(["a", "junk"])

      const cost = yield* costOf(batch.pipe(withJournal(([first, junk], state) => ({
        transitions: [{ events: [first!], transitionTo: state }],
        garbage: [junk!]
      }))))

      assert.strictEqual(cost.rounds, 2, cost.text)
      assert.deepStrictEqual(cost.operations, ["commit", "commit", "lookup", "query"])
    }).pipe(Effect.provide(world)))
})

describe("what a batch costs", () => {
  it.effect("is billed as documented: reads of events, head and state, writes of head and state, deletes of events", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* emit(many(3))
      yield* recorder.reset

      yield* batch.pipe(withJournal())
      yield* settle

      const { billed } = yield* recorder.report
      assert.deepStrictEqual(billed, {
        reads: 5,
        writes: 2,
        deletes: 3,
        // Each deleted item is expected by the mutation that deletes it.
        unwrittenExpectations: 0,
        smallOperations: 0
      })
    }).pipe(Effect.provide(world)))

  it.effect("is one commit, however many events it consumes, and nothing after it", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* firstBatch
      yield* Eventbox.emitAll(Journal, journal, many(1_200))
      yield* recorder.reset

      const cost = yield* costOf(Eventbox.processBatch(Journal, journal, { maxEvents: 2_000 }).pipe(withJournal()))
      yield* settle

      assertTwoRounds(cost)
      assert.strictEqual(cost.value.consumed, 1_200)
      const { billed, operations } = yield* recorder.report
      assert.lengthOf(operations, 3)
      assert.deepStrictEqual([billed.reads, billed.deletes], [1_202, 1_200])
      assert.deepStrictEqual(yield* storedItems(journal.key), [])
    }).pipe(Effect.provide(world)))

  it.effect("stays the same for batches back to back on one recipient", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 8; n++) {
        yield* emit(many(5, n * 5))
        const cost = yield* costOf(batch.pipe(withJournal()))
        assertTwoRounds(cost)
        assert.strictEqual(cost.value.consumed, 5)
      }
      assert.lengthOf((yield* saved())!.state, 40)
    }).pipe(Effect.provide(world)))

  it.effect("stays the same for batches back to back that each take a full page", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Journal, journal, many(60))

      for (let n = 0; n < 6; n++) {
        const cost = yield* costOf(Eventbox.processBatch(Journal, journal, { maxEvents: 10 }).pipe(withJournal()))
        assertTwoRounds(cost)
        assert.strictEqual(cost.value.consumed, 10, cost.text)
      }
      assert.lengthOf((yield* saved())!.state, 60)
    }).pipe(Effect.provide(world)))

  it.effect("stays the same over hours: tombstones that have expired are erased", () =>
    Effect.gen(function*() {
      const sizes: Array<number> = []
      for (let n = 0; n < 40; n++) {
        yield* emit(many(10, n * 10))
        const cost = yield* costOf(batch.pipe(keep))
        assertTwoRounds(cost)
        const [mutation] = cost.commits[0]!.call.operation === "commit" ? cost.commits[0]!.call.request.mutations : []
        sizes.push(mutation?._tag === "Upsert" ? (mutation.entity.properties["Pops"] as Uint8Array).length : 0)
        yield* settle
        yield* TestClock.adjust("1 minute")
      }
      // Five minutes' worth: at most seven batches of ten ids of 17 bytes, and 26 bytes each.
      assert.isAtMost(Math.max(...sizes), 7 * (10 * 17 + 30))
    }).pipe(Effect.provide(world)))
})
