import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { Recorder } from "../../src/testing/index.ts"
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
import { otherProcess, world } from "../utils/boxWorld.ts"

/** The lines that a program logs. */
const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    lines.push(`${logLevel} ${String(message)}`)
  })
  return { lines, layer: Layer.fresh(Logger.layer([logger])) }
}

/** A transition that leads to another state, as if it were for these events, and names none of them. */
const forgetful = (events: JournalEvents, state: ReadonlyArray<string>): JournalMutation => ({
  transitions: events.map(({ value }) => ({ transitionTo: [...state, value] }))
})

describe("a transition that names no events", () => {
  it.effect("lands with every batch, and the log says so once per recipient", () => {
    const { layer, lines } = logged()
    const other = Journal.recipient("two")
    return Effect.gen(function*() {
      yield* emit(["a", "b"])
      yield* emit(["a"], other)

      for (let n = 0; n < 3; n++) {
        yield* Eventbox.processBatch(Journal, journal)
        yield* Eventbox.process(Journal, other)
      }

      assert.strictEqual((yield* saved())!.eversion, 3)
      assert.lengthOf(lines, 2)
      for (const [index, key] of ["Journal,\"one\"", "Journal,\"two\""].entries()) {
        assert.include(lines[index], `Warn The transitions of a batch of ${key} landed and consumed none of its events`)
      }
    }).pipe(withJournal(forgetful), Effect.provide(world), Effect.provide(layer))
  })

  it.effect("is no reason to warn where nothing waits, or where others consume", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      let n = 0
      yield* Eventbox.process(Journal, journal).pipe(
        withJournal(() => ({ transitions: [{ transitionTo: [`${n++}`] }] }))
      )
      yield* emit(["a", "b"])
      yield* Eventbox.process(Journal, journal).pipe(withJournal((events) => ({
        transitions: [{ transitionTo: ["first"] }, { transitionTo: ["second"], events: events.slice(0, 1) }]
      })))
      yield* Eventbox.process(Journal, journal).pipe(
        withJournal((events) => ({ transitions: [{ transitionTo: ["third"] }], garbage: events }))
      )

      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(world), Effect.provide(layer))
  })

  it.effect.each([1, 2, 1_000])(
    "does not keep a drain going: one pass, with %s at a time",
    (maxEvents) =>
      Effect.gen(function*() {
        yield* emit(["a", "b", "c"])

        const summary = yield* Eventbox.drain(Journal, journal, { maxEvents })

        const batches = Math.ceil(3 / maxEvents)
        assert.deepInclude(summary, { consumed: 0, batches, truncated: false })
        assert.deepStrictEqual(yield* pending(), ["a", "b", "c"])
      }).pipe(withJournal(forgetful), Effect.provide(world))
  )
})

describe("a pass of drain", () => {
  /** Consumes all but what is to stay, and counts how often that is offered. */
  const leaving = (stays: (value: string, offered: number) => boolean) => {
    const offered = new Map<string, number>()
    const decide = (events: JournalEvents, state: ReadonlyArray<string>): JournalMutation => {
      const chosen = events.filter(({ value }) => {
        const count = (offered.get(value) ?? 0) + 1
        offered.set(value, count)
        return !stays(value, count)
      })
      return chosen.length === 0 ? { transitions: [] } : consumeAll(chosen, state)
    }
    return { offered, decide }
  }

  // Before each batch as many events arrive as it takes, all of them behind.
  it.effect("ends although events arrive as fast as it consumes them, so that what was left is offered again", () =>
    Effect.gen(function*() {
      const other = yield* otherProcess
      const { decide, offered } = leaving((value, count) => value === "second time" && count < 2)
      let [runs, arrived] = [0, 0]
      yield* emit(["second time"])
      yield* TestClock.adjust(5)
      yield* emit(Array.from({ length: 30 }, (_, n) => `old ${n}`))

      const summary = yield* Eventbox.drain(Journal, journal, { maxEvents: 10 }).pipe(
        Effect.provideServiceEffect(
          Journal,
          Journal.entity({
            initial: () => [],
            prepareMutation: (events, state) =>
              Effect.gen(function*() {
                if (++runs > 60) return yield* Effect.die(new Error("it does not end"))
                if (offered.get("second time") !== 2) {
                  yield* TestClock.adjust(1)
                  for (let n = 0; n < 10; n++) yield* Effect.orDie(Eventbox.emit(Journal, journal, `new ${arrived++}`))
                }
                return decide(events, state)
              }).pipe(Effect.provideService(Datastore.Datastore, other))
          })
        )
      )

      assert.strictEqual(offered.get("second time"), 2)
      assert.strictEqual(summary.consumed, 31 + arrived)
      assert.isAtMost(runs, 20)
    }).pipe(Effect.provide(world)))

  it.effect("offers each event that is left once, and the last pass is the one without progress", () =>
    Effect.gen(function*() {
      const { decide, offered } = leaving((value) => value.startsWith("stays"))
      yield* emit(["stays 0", "a", "b", "stays 1", "c", "stays 2"])

      yield* Eventbox.drain(Journal, journal, { maxEvents: 2 }).pipe(withJournal(decide))

      assert.deepStrictEqual(["stays 0", "stays 1", "stays 2"].map((value) => offered.get(value)), [2, 2, 2])
    }).pipe(Effect.provide(world)))

  // Emitters whose clocks are ahead: all seems to have arrived after the pass began.
  it.effect("comes to what is behind events that are left and seem to be new", () =>
    Effect.gen(function*() {
      const { decide } = leaving((value) => value.startsWith("stays"))
      yield* TestClock.adjust("1 hour")
      yield* emit(["stays 0", "stays 1", "stays 2", "stays 3", "a", "stays 4", "b"])
      yield* TestClock.setTime(0)

      const summary = yield* Eventbox.drain(Journal, journal, { maxEvents: 2 }).pipe(withJournal(decide))

      assert.strictEqual(summary.consumed, 2)
      assert.deepStrictEqual(yield* pending(), ["stays 0", "stays 1", "stays 2", "stays 3", "stays 4"])
    }).pipe(Effect.provide(world)))

  it.effect("costs one look for what is left behind by none", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* emit(["a", "b"])
      yield* recorder.reset

      yield* Eventbox.drain(Journal, journal).pipe(withJournal())

      const queries = (yield* recorder.report).operations.filter(({ call }) => call.operation === "query")
      assert.lengthOf(queries, 2)
    }).pipe(Effect.provide(world)))
})
