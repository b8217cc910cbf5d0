import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Fiber, Schedule } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import { lockCount } from "../../src/dsset/memory.ts"
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
  Refused,
  saved,
  withJournal,
  withMock
} from "../utils/boxJournal.ts"
import { inTime, makeGate, otherProcess, settle, world, writesHead } from "../utils/boxWorld.ts"

const process = Eventbox.process(Journal, journal)
const nothing = {
  batches: 0,
  consumed: 0,
  garbage: 0,
  transitions: 0,
  retries: 0,
  postProcessed: 0,
  postProcessFailures: [],
  truncated: false,
  skipped: false
}

/** Consumes all, with post-process effects. */
const consumeWith = (...postProcess: ReadonlyArray<Effect.Effect<unknown, Refused, Datastore.Datastore>>) =>
  withJournal((events, state) => ({
    transitions: [
      ...consumeAll(events, state).transitions,
      ...postProcess.map((effect) => ({
        transitionTo: consumeAll(events, state).transitions[0]!.transitionTo,
        postProcess: effect
      }))
    ]
  }))

describe("process", () => {
  it.effect("runs one batch and says what it did", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      const summary = yield* process.pipe(withJournal())

      assert.deepStrictEqual(summary, { ...nothing, batches: 1, consumed: 2, transitions: 1 })
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("says nothing of a batch that found nothing to do", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* process.pipe(withJournal()), nothing)
    }).pipe(Effect.provide(world)))

  it.effect("takes at most maxEvents, and says that there may be more", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "c"])

      const { consumed, truncated } = yield* Eventbox.process(Journal, journal, { maxEvents: 2 }).pipe(withJournal())

      assert.deepStrictEqual([consumed, truncated], [2, true])
    }).pipe(Effect.provide(world)))

  it.effect("runs a batch again after contention, from loading the state, and counts it", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"])
      for (let n = 0; n < 3; n++) yield* faulty.inject("commit", Faulty.contention)
      let runs = 0

      const summary = yield* inTime(process.pipe(withJournal((events, state) => {
        runs++
        return consumeAll(events, state)
      })))

      assert.strictEqual(runs, 4)
      assert.deepStrictEqual(summary, { ...nothing, batches: 1, consumed: 1, transitions: 1, retries: 3 })
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("runs a batch again after a read that failed", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"])
      yield* faulty.inject("query", Faulty.readFailure)
      yield* faulty.inject("lookup", Faulty.readFailure, { nth: 2 })

      const { consumed, retries } = yield* inTime(process.pipe(withJournal()))

      assert.deepStrictEqual([consumed, retries], [1, 2])
    }).pipe(Effect.provide(world)))

  it.effect("gives up after ten retries, with pauses that grow to two seconds, and fails as the batch does", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"])
      yield* faulty.setRates({ contention: 1 })
      let runs = 0

      const error = yield* Effect.flip(inTime(process.pipe(withJournal((events, state) => {
        runs++
        return consumeAll(events, state)
      }))))

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(runs, 11)
      // 20 ms doubling to 2 s: 8.5 seconds, each pause times 0.8 to 1.2, and a quarter second per step of the clock.
      const now = yield* Clock.currentTimeMillis
      assert.isAtLeast(now, 6_500)
      assert.isAtMost(now, 13_500)
    }).pipe(Effect.provide(world)))

  it.effect("follows another schedule when it is given one", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"])
      yield* faulty.setRates({ contention: 1 })
      let runs = 0
      const twice = Eventbox.process(Journal, journal, { retry: Schedule.recurs(2) })

      yield* Effect.flip(twice.pipe(withJournal((events, state) => {
        runs++
        return consumeAll(events, state)
      })))

      assert.strictEqual(runs, 3)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }).pipe(Effect.provide(world)))

  it.effect("does not run a batch again after the processor's own failure", () =>
    Effect.gen(function*() {
      let runs = 0

      const error = yield* Effect.flip(process.pipe(withMock({
        prepareMutation: () => {
          runs++
          return new Refused({ why: "no" })
        }
      })))

      assert.strictEqual((error as Refused).why, "no")
      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(world)))

  // Its post-process effects would be lost: the batch may have landed.
  it.effect("does not run a batch again after an unknown outcome", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"])
      yield* faulty.inject("commit", Faulty.responseLost, { where: writesHead })
      for (let n = 0; n < 8; n++) yield* faulty.inject("lookup", Faulty.readFailure, { nth: 2 })
      let runs = 0

      const error = yield* Effect.flip(inTime(process.pipe(withJournal((events, state) => {
        runs++
        return consumeAll(events, state)
      }))))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(world)))
})

describe("post-process effects", () => {
  const note = (list: Array<string>, name: string) =>
    Effect.sync(() => {
      list.push(name)
    })

  it.effect("run in order, after the batch has landed", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      yield* emit(["a"])
      const look = (name: string) =>
        Effect.map(Effect.orDie(saved()), (now) => {
          seen.push([name, now?.state])
        })

      const { postProcessed } = yield* process.pipe(consumeWith(look("one"), look("two")))

      assert.strictEqual(postProcessed, 2)
      assert.deepStrictEqual(seen, [["one", ["a"]], ["two", ["a"]]])
    }).pipe(Effect.provide(world)))

  it.effect("of an attempt that did not land do not run", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const seen: Array<string> = []
      yield* emit(["a"])
      yield* faulty.inject("commit", Faulty.contention)

      yield* inTime(process.pipe(consumeWith(note(seen, "one"))))

      assert.deepStrictEqual(seen, ["one"])
    }).pipe(Effect.provide(world)))

  it.effect("that fail or die are in the summary, and the others run: the batch has landed", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* emit(["a"])

      const summary = yield* process.pipe(
        consumeWith(new Refused({ why: "later" }), note(seen, "second"), Effect.die("bug"), note(seen, "fourth"))
      )

      assert.deepStrictEqual(seen, ["second", "fourth"])
      assert.deepStrictEqual([summary.batches, summary.consumed, summary.postProcessed], [1, 1, 2])
      const [failed, died] = summary.postProcessFailures
      assert.lengthOf(summary.postProcessFailures, 2)
      assert.strictEqual((Cause.squash(failed!) as Refused).why, "later")
      assert.strictEqual(Cause.squash(died!), "bug")
    }).pipe(Effect.provide(world)))

  it.effect("are retried by their own schedule, each", () =>
    Effect.gen(function*() {
      let [first, second] = [0, 0]
      yield* emit(["a"])
      const flaky = Eventbox.process(Journal, journal, {
        postProcess: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 }))
      })

      const summary = yield* inTime(flaky.pipe(consumeWith(
        Effect.suspend(() => ++first < 3 ? Effect.fail(new Refused({ why: "not yet" })) : Effect.void),
        Effect.suspend(() => {
          second++
          return Effect.fail(new Refused({ why: "never" }))
        })
      )))

      assert.deepStrictEqual([first, second], [3, 4])
      assert.deepStrictEqual([summary.postProcessed, summary.postProcessFailures.length, summary.retries], [1, 1, 0])
    }).pipe(Effect.provide(world)))

  it.effect("are not retried unless a schedule is given", () =>
    Effect.gen(function*() {
      let runs = 0
      yield* emit(["a"])

      yield* process.pipe(consumeWith(Effect.suspend(() => {
        runs++
        return Effect.fail(new Refused({ why: "no" }))
      })))

      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(world)))

  it.effect("may process the same recipient again", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      const again = Effect.orDie(Effect.andThen(emit(["b"]), process.pipe(withJournal())))

      yield* process.pipe(consumeWith(again))

      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 2 })
    }).pipe(Effect.provide(world)))

  it.effect("do not hold up other batches of their recipient", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      yield* emit(["a"])
      const first = yield* Effect.forkChild(process.pipe(consumeWith(gate.wait)))
      yield* settle
      yield* emit(["b"])

      yield* process.pipe(withJournal())

      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 2 })
      assert.isUndefined(first.pollUnsafe())
      yield* gate.open
      yield* Fiber.join(first)
    }).pipe(Effect.provide(world)))
})

describe("the lock of a recipient", () => {
  it.effect("keeps the batches of one process apart: none of many at once meets contention", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const workers = Array.from({ length: 8 }, (_, n) => Effect.andThen(emit([`v${n}`]), process.pipe(withJournal())))

      const summaries = yield* Effect.all(workers, { concurrency: "unbounded" })

      assert.strictEqual(summaries.reduce((sum, { retries }) => sum + retries, 0), 0)
      assert.strictEqual(summaries.reduce((sum, { consumed }) => sum + consumed, 0), 8)
      const outcomes = (yield* recorder.report).operations.map(({ outcome }) => outcome)
      assert.notInclude(outcomes, "ContentionError")
      assert.deepStrictEqual([...(yield* saved())!.state].toSorted(), workers.map((_, n) => `v${n}`))
    }).pipe(Effect.provide(world)))

  // The same eight without the lock: the test above could not fail otherwise.
  it.effect("is what keeps them apart: processBatch has none", () =>
    Effect.gen(function*() {
      const workers = Array.from({ length: 8 }, (_, n) =>
        Effect.andThen(emit([`v${n}`]), Effect.exit(Eventbox.processBatch(Journal, journal).pipe(withJournal()))))

      const exits = yield* Effect.all(workers, { concurrency: "unbounded" })

      assert.isTrue(exits.some(Exit.isFailure))
    }).pipe(Effect.provide(world)))

  it.effect("is one per recipient: another one is not held up", () =>
    Effect.gen(function*() {
      const other = Journal.recipient("other")
      yield* emit(["a"])
      yield* emit(["b"], other)
      const first = yield* Effect.forkChild(process.pipe(withMock({ loadState: () => Effect.never })))
      yield* settle

      yield* Eventbox.process(Journal, other).pipe(withJournal())

      assert.deepStrictEqual(yield* saved(other), { state: ["b"], eversion: 1 })
      yield* Fiber.interrupt(first)
    }).pipe(Effect.provide(world)))

  it.effect("is one per layer: two processes fight, and neither loses an event", () =>
    Effect.gen(function*() {
      const other = yield* otherProcess
      const faulty = yield* Faulty.Faulty
      yield* emit(["a", "b", "c"])
      const there = process.pipe(withJournal(), Effect.provideService(Datastore.Datastore, other), Effect.orDie)
      const [sent, gate] = [yield* makeGate, yield* makeGate]
      yield* faulty.inject("commit", Faulty.around({ before: Effect.andThen(sent.open, gate.wait) }))

      const here = yield* Effect.forkChild(process.pipe(withJournal()))
      yield* sent.wait
      yield* there
      yield* gate.open
      const { retries } = yield* inTime(Fiber.join(here))

      assert.strictEqual(retries, 1)
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b", "c"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("is given back by a batch that fails, dies or is interrupted", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* Effect.exit(process.pipe(withMock({ prepareMutation: () => new Refused({ why: "no" }) })))
      yield* Effect.exit(process.pipe(withMock({ prepareMutation: () => Effect.die("bug") })))
      const fiber = yield* Effect.forkChild(process.pipe(withMock({ prepareMutation: () => Effect.never })))
      yield* settle
      yield* Fiber.interrupt(fiber)

      const { consumed } = yield* process.pipe(withJournal())

      assert.strictEqual(consumed, 1)
    }).pipe(Effect.provide(world)))

  it.effect("is forgotten once nobody holds it or waits for it", () =>
    Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      const waiting = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 3 }, () => process), {
          concurrency: "unbounded"
        }).pipe(withMock({ prepareMutation: () => Effect.never }))
      )
      yield* settle
      assert.strictEqual(lockCount(datastore), 1)

      yield* Fiber.interrupt(waiting)

      assert.strictEqual(lockCount(datastore), 0)
    }).pipe(Effect.provide(world)))
})

describe("drain", () => {
  const drain = (maxEvents?: number) => Eventbox.drain(Journal, journal, { maxEvents })
  const consumeIf =
    (test: (value: string) => boolean) => (events: JournalEvents, state: ReadonlyArray<string>): JournalMutation => {
      const chosen = events.filter(({ value }) => test(value))
      return chosen.length === 0 ? { transitions: [] } : consumeAll(chosen, state)
    }

  it.effect("repeats until nothing is left, and returns the sums", () =>
    Effect.gen(function*() {
      yield* emit(Array.from({ length: 25 }, (_, n) => `v${n}`))

      const summary = yield* drain(10).pipe(withJournal())

      assert.deepStrictEqual(summary, { ...nothing, batches: 3, consumed: 25, transitions: 3 })
      assert.lengthOf((yield* saved())!.state, 25)
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  it.effect("of nothing is one look", () =>
    Effect.gen(function*() {
      let runs = 0

      const summary = yield* drain().pipe(withMock({
        prepareMutation: () => {
          runs++
          return Effect.succeed({ transitions: [] })
        }
      }))

      assert.deepStrictEqual(summary, nothing)
      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(world)))

  it.effect("consumes what its own side effects emit", () =>
    Effect.gen(function*() {
      yield* emit(["3"])

      yield* drain().pipe(withJournal((events, state) => {
        const next = Number(events[0]?.value ?? 0) - 1
        const step = consumeAll(events, state).transitions[0]!
        return {
          transitions: [next > 0 ? { ...step, sideEffect: Eventbox.emit(Journal, journal, String(next)) } : step]
        }
      }))

      assert.deepStrictEqual((yield* saved())!.state, ["3", "2", "1"])
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  // With every relation of what stays to the size of a page: fewer, a multiple, more.
  it.effect.each([
    [1, 10],
    [3, 3],
    [6, 3],
    [7, 3],
    [2, 1],
    [9, 4]
  ])("leaves alone what the processor leaves, and ends: %s", ([left, maxEvents]) =>
    Effect.gen(function*() {
      const stays = Array.from({ length: left! }, (_, n) => `stays ${n}`)
      yield* emit(stays)
      yield* emit(["a", "b", "c", "d", "e"])
      let runs = 0
      const decide = consumeIf((value) => !value.startsWith("stays"))

      const summary = yield* drain(maxEvents!).pipe(withJournal((events, state) => {
        if (++runs > 100) throw new Error("does not end")
        return decide(events, state)
      }))

      assert.strictEqual(summary.consumed, 5)
      assert.isFalse(summary.truncated)
      assert.deepStrictEqual([...(yield* saved())!.state].toSorted(), ["a", "b", "c", "d", "e"])
      assert.deepStrictEqual(yield* pending(), stays)
    }).pipe(Effect.provide(world)))

  it.effect("goes on while garbage is found, and counts it", () =>
    Effect.gen(function*() {
      yield* emit(Array.from({ length: 6 }, () => "junk"))

      const summary = yield* drain(2).pipe(withJournal((events) => ({ transitions: [], garbage: events })))

      assert.deepStrictEqual(summary, { ...nothing, garbage: 6 })
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  it.effect("makes another pass after one that found garbage: the processor may decide otherwise without it", () =>
    Effect.gen(function*() {
      yield* emit(["junk", "a"])

      const summary = yield* drain().pipe(withJournal((events, state) => {
        const junk = events.filter(({ value }) => value === "junk")
        return junk.length > 0 ? { transitions: [], garbage: junk } : consumeAll(events, state)
      }))

      assert.deepStrictEqual([summary.garbage, summary.consumed], [1, 1])
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  it.effect("goes on where the process is, and comes around to what lies before", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "c", "d"])
      // The process remembers that it has seen "a" to "c".
      yield* Eventbox.processBatch(Journal, journal, { maxEvents: 3 }).pipe(withJournal(() => ({ transitions: [] })))

      const { consumed } = yield* drain(3).pipe(withJournal())

      assert.strictEqual(consumed, 4)
      assert.deepStrictEqual((yield* saved())!.state, ["d", "a", "b", "c"])
    }).pipe(Effect.provide(world)))

  it.effect("retries each batch, and runs the post-process effects of each", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const seen: Array<string> = []
      yield* emit(["a", "b", "c"])
      for (let n = 0; n < 2; n++) yield* faulty.inject("commit", Faulty.contention, { where: writesHead })

      const summary = yield* inTime(
        drain(1).pipe(withJournal((events, state) => ({
          transitions: events.map((event) => ({
            events: [event],
            transitionTo: [...state, event.value],
            postProcess: Effect.suspend(() => {
              seen.push(event.value)
              return event.value === "b" ? Effect.fail(new Refused({ why: "b" })) : Effect.void
            })
          }))
        })))
      )

      assert.deepStrictEqual(seen, ["a", "b", "c"])
      assert.deepStrictEqual([summary.batches, summary.retries, summary.postProcessed], [3, 2, 2])
      assert.lengthOf(summary.postProcessFailures, 1)
    }).pipe(Effect.provide(world)))

  it.effect("fails with the event that failed alone, and what landed stays", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      const error = yield* Effect.flip(
        drain(1).pipe(withJournal((events, state) => {
          const [event] = events
          if (event === undefined) return { transitions: [] }
          return {
            transitions: [{
              events,
              transitionTo: [...state, event.value],
              sideEffect: event.value === "b" ? new Refused({ why: "b" }) : undefined
            }]
          }
        }))
      )

      assert.strictEqual(error._tag === "EventFailed" && (error.cause as Refused).why, "b")
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
    }).pipe(Effect.provide(world)))
})
