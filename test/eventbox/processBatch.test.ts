import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Result } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
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
  version,
  withJournal,
  withMock
} from "../utils/boxJournal.ts"
import {
  defectOf,
  entity,
  isAboutItems,
  operationsOf,
  read,
  settle,
  storedItems,
  world,
  writesHead
} from "../utils/boxWorld.ts"

const batch = Eventbox.processBatch(Journal, journal)
const effectKey = Key.make("K", "effect")
const put = (n: number) => Datastore.put([entity(effectKey, n)])

describe("a batch", () => {
  it.effect("consumes events, saves the state and says what it did", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      const result = yield* batch.pipe(withJournal())

      assert.deepStrictEqual(
        { ...result, postProcess: result.postProcess.length },
        { postProcess: 0, consumed: 2, garbage: 0, transitions: 1, truncated: false }
      )
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 1 })
      assert.deepStrictEqual(yield* pending(), [])
      yield* settle
      assert.deepStrictEqual(yield* storedItems(journal.key), [])
    }).pipe(Effect.provide(world)))

  it.effect("gives the processor events oldest first, its state, and its recipient", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Journal, journal, "first", { id: "z" })
      yield* TestClock.adjust("1 millis")
      const ids = yield* emit(["second", "third"])
      const seen: Array<unknown> = []

      yield* batch.pipe(withMock({
        loadState: (recipient) => {
          seen.push(recipient)
          return Effect.succeed({ state: ["before"], eversion: version(3) })
        },
        prepareMutation: (events, state, recipient) => {
          seen.push(events, state, recipient)
          return Effect.succeed({ transitions: [] })
        }
      }))

      assert.deepStrictEqual(seen, [
        journal,
        [{ id: "z", value: "first" }, { id: ids[0]!, value: "second" }, { id: ids[1]!, value: "third" }],
        ["before"],
        journal
      ])
    }).pipe(Effect.provide(world)))

  it.effect("consumes only what its transitions name; the rest stays", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "c"])

      const result = yield* batch.pipe(withJournal((events, state) => consumeAll([events[1]!], state)))

      assert.strictEqual(result.consumed, 1)
      assert.deepStrictEqual(yield* pending(), ["a", "c"])
      assert.deepStrictEqual(yield* saved(), { state: ["b"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("takes at most maxEvents, and says that there may be more", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "c"])

      const first = yield* Eventbox.processBatch(Journal, journal, { maxEvents: 2 }).pipe(withJournal())
      const second = yield* Eventbox.processBatch(Journal, journal, { maxEvents: 2 }).pipe(withJournal())

      assert.deepStrictEqual([first.consumed, first.truncated], [2, true])
      assert.strictEqual(second.consumed, 1)
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b", "c"], eversion: 2 })
    }).pipe(Effect.provide(world)))

  it.effect("takes a thousand events unless told otherwise", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Journal, journal, Array.from({ length: 1_001 }, () => "x"))

      const { consumed, truncated } = yield* batch.pipe(withJournal())

      assert.deepStrictEqual([consumed, truncated], [1_000, true])
    }).pipe(Effect.provide(world)))

  it.effect("may do something without any event", () =>
    Effect.gen(function*() {
      const result = yield* batch.pipe(withJournal(() => ({ transitions: [{ transitionTo: ["born"] }] })))

      assert.deepStrictEqual([result.consumed, result.transitions], [0, 1])
      assert.deepStrictEqual(yield* saved(), { state: ["born"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("saves once, after all transitions, the last state with the next version", () =>
    Effect.gen(function*() {
      const calls: Array<unknown> = []
      const note = (name: string) =>
        Effect.sync(() => {
          calls.push(name)
        })

      yield* batch.pipe(withMock({
        loadState: () => Effect.succeed({ state: ["x"], eversion: version(7) }),
        fetchEVersion: () => Effect.as(note("fetchEVersion"), version(7)),
        prepareMutation: () =>
          Effect.succeed({
            transitions: [{ transitionTo: ["y"], sideEffect: note("one") }, {
              transitionTo: ["z"],
              sideEffect: note("two")
            }]
          }),
        saveState: (state, eversion, recipient) =>
          Effect.sync(() => {
            calls.push([state, eversion, recipient.key.toString()])
          })
      }))

      assert.deepStrictEqual(calls, ["fetchEVersion", "one", "two", [["z"], 8, "Journal,\"one\""]])
    }).pipe(Effect.provide(world)))

  it.effect("saves nothing when the state comes back to what it was", () =>
    Effect.gen(function*() {
      yield* emit(["a"])

      const result = yield* batch.pipe(withMock({
        fetchEVersion: () => Effect.succeed(version(0)),
        prepareMutation: (events) =>
          Effect.succeed({ transitions: [{ transitionTo: ["x"] }, { events, transitionTo: [] }] })
      }))

      assert.deepStrictEqual([result.consumed, result.transitions], [1, 2])
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  // E7: else two batches that consume nothing would land the same decision twice.
  it.effect("writes the head also when it consumes nothing", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* emit(["a"])

      const [, report] = yield* recorder.during(
        batch.pipe(withJournal(() => ({ transitions: [{ sideEffect: put(1), transitionTo: [] }] })))
      )

      assert.lengthOf(report.operations.filter(({ call }) => writesHead(call)), 1)
    }).pipe(Effect.provide(world)))

  it.effect("returns the post-process effects of its transitions, in order, and runs none of them", () =>
    Effect.gen(function*() {
      const called: Array<number> = []
      const call = (n: number) =>
        Effect.sync(() => {
          called.push(n)
        })

      const { postProcess, transitions } = yield* batch.pipe(withJournal(() => ({
        transitions: [
          { transitionTo: ["1"], postProcess: call(1) },
          { transitionTo: ["2"] },
          { transitionTo: ["3"], postProcess: call(3) }
        ]
      })))

      assert.deepStrictEqual(called, [])
      assert.strictEqual(transitions, 3)
      yield* Effect.all(postProcess)
      assert.deepStrictEqual(called, [1, 3])
    }).pipe(Effect.provide(world)))

  it.effect("lands side effects with the state: emits to other boxes, and entities", () =>
    Effect.gen(function*() {
      const other = Journal.recipient("other")
      yield* emit(["a"])

      yield* batch.pipe(withJournal((events, state) => ({
        transitions: [{
          events,
          transitionTo: [...state, "a"],
          sideEffect: Processor.Chain(put(1), Eventbox.emit(Journal, other, "from one"))
        }]
      })))

      assert.deepStrictEqual(yield* pending(other), ["from one"])
      assert.strictEqual(yield* read(effectKey), 1)
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("may emit to its own recipient: the event waits for the next batch", () =>
    Effect.gen(function*() {
      yield* emit(["a"])

      yield* batch.pipe(withJournal((events, state) => ({
        transitions: [{ events, transitionTo: [...state, "a"], sideEffect: Eventbox.emit(Journal, journal, "b") }]
      })))

      assert.deepStrictEqual(yield* pending(), ["b"])
    }).pipe(Effect.provide(world)))

  it.effect("of two that run at once for one recipient one is contention, and each event is consumed once", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])
      const keeping = batch.pipe(
        withJournal((events, state) => ({ transitions: [{ events, transitionTo: state, sideEffect: put(1) }] }))
      )

      const results = yield* Effect.all([Effect.result(keeping), Effect.result(keeping)], { concurrency: "unbounded" })

      const lost = results.filter(Result.isFailure).map(({ failure }) => failure)
      assert.lengthOf(lost, 1)
      assert.strictEqual(lost[0]!._tag, "ContentionError")
      assert.include(lost[0]!.message, "Contention on Journal,\"one\": ")
      assert.include(lost[0]!.message, "Journal,\"one\"/dsset.Tombstones,1")
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))
})

describe("a batch that finds nothing to do", () => {
  const untouched = (decision: (events: JournalEvents, state: ReadonlyArray<string>) => JournalMutation) =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* emit(["a"])
      yield* recorder.reset

      // fetchEVersion and saveState of this processor die.
      const result = yield* batch.pipe(withMock({
        prepareMutation: (events, state) => Effect.sync(() => decision(events, state))
      }))

      assert.deepStrictEqual([result.transitions, result.consumed, result.postProcess], [0, 0, []])
      const commits = operationsOf(yield* recorder.report).filter((name) => name === "commit").length
      return [commits, (yield* pending()).length]
    })

  it.effect("without transitions has no transaction", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* untouched(() => ({ transitions: [] })), [0, 1])
    }).pipe(Effect.provide(world)))

  it.effect("with noop transitions only has no transaction", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* untouched((_, state) => ({ transitions: [{ transitionTo: state }, { transitionTo: [], events: [] }] })),
        [0, 1]
      )
    }).pipe(Effect.provide(world)))

  it.effect("but garbage, deletes it in a commit of its own", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* untouched((events) => ({ transitions: [], garbage: events })), [1, 0])
      assert.deepStrictEqual(yield* storedItems(journal.key), [])
    }).pipe(Effect.provide(world)))

  // Without this the tests above could not fail.
  it.effect("would have died had there been a transaction", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(batch.pipe(withMock({
        prepareMutation: () => Effect.succeed({ transitions: [{ transitionTo: ["changed"] }] })
      })))

      assert.strictEqual(message, "nobody expected fetchEVersion")
    }).pipe(Effect.provide(world)))

  it.effect("and one whose state only is another object with the same value has no transaction either", () =>
    Effect.gen(function*() {
      yield* batch.pipe(withMock({
        loadState: () => Effect.succeed({ state: ["x"], eversion: version(1) }),
        prepareMutation: () => Effect.succeed({ transitions: [{ transitionTo: ["x"] }] })
      }))
    }).pipe(Effect.provide(world)))
})

describe("garbage of a processor", () => {
  it.effect("is deleted beside the transitions, before the batch returns, and is not consumed", () =>
    Effect.gen(function*() {
      yield* emit(["junk", "a", "junk", "wait"])

      const result = yield* batch.pipe(withJournal((events, state) => ({
        transitions: [{ events: [events[1]!], transitionTo: [...state, "a"] }],
        garbage: [events[0]!, events[2]!]
      })))

      assert.deepStrictEqual([result.consumed, result.garbage], [1, 2])
      assert.deepStrictEqual(yield* pending(), ["wait"])
      yield* settle
      assert.lengthOf(yield* storedItems(journal.key), 1)
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
    }).pipe(Effect.provide(world)))

  it.effect("is deleted also when prepareMutation fails with it, and the caller sees the error alone", () =>
    Effect.gen(function*() {
      yield* emit(["junk", "a"])

      const error = yield* Effect.flip(batch.pipe(withMock({
        prepareMutation: (events) => Processor.failWithGarbage(new Refused({ why: "boom" }), events.slice(0, 1))
      })))

      assert.strictEqual(error._tag, "Refused")
      assert.strictEqual((error as Refused).why, "boom")
      assert.deepStrictEqual(yield* pending(), ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("stays when prepareMutation fails without it", () =>
    Effect.gen(function*() {
      yield* emit(["junk", "a"])

      const error = yield* Effect.flip(batch.pipe(withMock({ prepareMutation: () => new Refused({ why: "oops" }) })))

      assert.strictEqual((error as Refused).why, "oops")
      assert.deepStrictEqual(yield* pending(), ["junk", "a"])
    }).pipe(Effect.provide(world)))

  it.effect("is deleted also when the transaction fails", () =>
    Effect.gen(function*() {
      yield* emit(["junk", "a"])

      yield* Effect.flip(batch.pipe(withJournal((events, state) => ({
        transitions: [{ events: [events[1]!], transitionTo: state, sideEffect: new Refused({ why: "no" }) }],
        garbage: [events[0]!]
      }))))

      assert.deepStrictEqual(yield* pending(), ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("that cannot be deleted does not fail a batch that landed", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["junk", "a"])
      yield* faulty.inject("commit", Faulty.around({ before: Effect.die("down") }), { where: isAboutItems })

      const result = yield* batch.pipe(withJournal((events, state) => ({
        transitions: [{ events: [events[1]!], transitionTo: [...state, "a"] }],
        garbage: [events[0]!]
      })))

      assert.strictEqual(result.consumed, 1)
      assert.deepStrictEqual(yield* pending(), ["junk"])
    }).pipe(Effect.provide(world)))

  it.effect("that was replaced by a newer event with the same id is left alone", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Journal, journal, "junk", { id: "mine" })

      yield* batch.pipe(withMock({
        prepareMutation: (events) =>
          Effect.as(Effect.orDie(Eventbox.emit(Journal, journal, "newer", { id: "mine" })), {
            transitions: [],
            garbage: events
          })
      }))

      assert.deepStrictEqual(yield* pending(), ["newer"])
    }).pipe(Effect.provide(world)))
})

describe("garbage of a listing", () => {
  it.effect("is deleted in the background of the batch that found it, and is not consumed", () =>
    Effect.gen(function*() {
      const emitMine = Eventbox.emit(Journal, journal, "a", { id: "mine" })
      yield* emitMine
      yield* batch.pipe(withJournal())
      yield* settle
      yield* emitMine
      assert.deepStrictEqual(yield* storedItems(journal.key), ["mine"])

      const { consumed } = yield* batch.pipe(withJournal())
      yield* settle

      assert.strictEqual(consumed, 0)
      assert.deepStrictEqual(yield* storedItems(journal.key), [])
    }).pipe(Effect.provide(world)))
})

describe("E1 and E3: what fails leaves nothing behind", () => {
  const twoSteps = (second: Effect.Effect<unknown, Refused, Datastore.Datastore>) => (events: JournalEvents) =>
    Effect.succeed<JournalMutation>({
      transitions: [
        { events: events.slice(0, 1), transitionTo: [], sideEffect: Effect.orDie(put(1)) },
        { events: events.slice(1), transitionTo: ["second"], sideEffect: second }
      ]
    })
  const assertNothing = Effect.gen(function*() {
    assert.strictEqual(yield* read(effectKey), undefined)
    assert.deepStrictEqual(yield* pending(), ["a", "b"])
    yield* settle
    assert.lengthOf(yield* storedItems(journal.key), 2)
  })
  const fine = { fetchEVersion: () => Effect.succeed(version(0)), saveState: () => Effect.void }

  it.effect("a fetchEVersion that fails: its error is the result, and no side effect runs", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])
      let ran = false

      const error = yield* Effect.flip(batch.pipe(withMock({
        fetchEVersion: () => new Refused({ why: "version error" }),
        prepareMutation: twoSteps(Effect.sync(() => {
          ran = true
        }))
      })))

      assert.strictEqual((error as Refused).why, "version error")
      assert.isFalse(ran)
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  it.effect("a fetchEVersion that differs is contention with both versions, and no side effect runs", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])
      let ran = false

      const error = yield* Effect.flip(batch.pipe(withMock({
        fetchEVersion: () => Effect.succeed(version(1)),
        prepareMutation: twoSteps(Effect.sync(() => {
          ran = true
        }))
      })))

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "EVersionChanged")
      assert.strictEqual(
        error.message,
        "Contention on Journal,\"one\": EVersion is 1, but 0 was loaded. Nothing was written; run it again."
      )
      assert.isFalse(ran)
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  it.effect("a side effect that fails: nothing is saved, nor is what an earlier one wrote", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      const error = yield* Effect.flip(batch.pipe(withMock({
        fetchEVersion: fine.fetchEVersion,
        prepareMutation: twoSteps(new Refused({ why: "2nd failed" }))
      })))

      assert.strictEqual((error as Refused).why, "2nd failed")
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  it.effect("a saveState that fails: the side effects are gone, too", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])
      let given: unknown

      const error = yield* Effect.flip(batch.pipe(withMock({
        fetchEVersion: fine.fetchEVersion,
        prepareMutation: twoSteps(Effect.void),
        saveState: (state, eversion) => {
          given = [state, eversion]
          return new Refused({ why: "save failed" })
        }
      })))

      assert.deepStrictEqual(given, [["second"], 1])
      assert.strictEqual((error as Refused).why, "save failed")
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  it.effect("a side effect that dies", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      const message = yield* defectOf(batch.pipe(withMock({ ...fine, prepareMutation: twoSteps(Effect.die("bug")) })))

      assert.strictEqual(message, "bug")
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  it.effect("a commit that meets contention", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a", "b"])
      yield* faulty.inject("commit", Faulty.contention)

      const error = yield* Effect.flip(batch.pipe(withMock({ ...fine, prepareMutation: twoSteps(Effect.void) })))

      assert.strictEqual(error._tag === "ContentionError" && error.reason._tag, "Aborted")
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  it.effect("a side effect that emits a value that is refused", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      const error = yield* Effect.flip(batch.pipe(withMock({
        ...fine,
        prepareMutation: (events) =>
          Effect.succeed({
            transitions: [
              { transitionTo: [], events, sideEffect: put(1) },
              { transitionTo: [], sideEffect: Eventbox.emit(Journal, journal, "x", { id: "__bad__" }) }
            ]
          })
      })))

      assert.strictEqual(error._tag === "EventRejected" && error.reason._tag, "InvalidId")
      yield* assertNothing
    }).pipe(Effect.provide(world)))

  // Without this the tests above could give a false sense of safety.
  it.effect("and the side effect is real when nothing fails", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b"])

      yield* batch.pipe(withMock({ ...fine, prepareMutation: twoSteps(Effect.void) }))

      assert.strictEqual(yield* read(effectKey), 1)
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  it.effect("a state that changed between loadState and the commit is contention, without fetchEVersion", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      const change = Datastore.put([{
        ...entity(journal.key, 1),
        properties: { State: "[\"intruder\"]", EVersion: 5 }
      }])

      const error = yield* Effect.flip(batch.pipe(Effect.provideServiceEffect(
        Journal,
        Journal.entity({
          initial: () => [],
          prepareMutation: (events, state) =>
            Effect.as(
              change,
              // The state is kept, so that nothing but the expectation of what was loaded can notice.
              { transitions: [{ events, transitionTo: state, sideEffect: put(1) }] }
            )
        })
      )))

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(yield* read(effectKey), undefined)
      assert.deepStrictEqual(yield* saved(), { state: ["intruder"], eversion: 5 })
      assert.deepStrictEqual(yield* pending(), ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("with fetchEVersion only what it reads is expected unchanged", () =>
    Effect.gen(function*() {
      const [stateKey, sideKey] = [Key.make("K", "state"), Key.make("K", "side")]
      const process = (changed: Key.Key) =>
        batch.pipe(withMock({
          loadState: () => Effect.as(Datastore.getAll([stateKey, sideKey]), { state: ["x"], eversion: version(0) }),
          fetchEVersion: () => Effect.as(Datastore.get(stateKey), version(0)),
          prepareMutation: () =>
            Effect.as(Effect.orDie(Datastore.put([entity(changed, 1)])), {
              transitions: [{ transitionTo: ["x"], sideEffect: put(2) }]
            })
        }))

      yield* process(sideKey)
      const error = yield* Effect.flip(process(stateKey))

      assert.strictEqual(error._tag, "ContentionError")
    }).pipe(Effect.provide(world)))
})

describe("the cause of a batch that failed", () => {
  const refused = Effect.fn("Box.callback")(function*() {
    return yield* new Refused({ why: "no" })
  })

  // Must catch: an error that is caught and raised anew.
  it.effect.each(["loadState", "saveState", "a side effect"] as const)(
    "says where: %s",
    (where) =>
      Effect.gen(function*() {
        yield* emit(["a"])
        const processor = {
          loadState: withMock({ loadState: refused }),
          saveState: withMock({
            prepareMutation: (events, state) => Effect.succeed(consumeAll(events, state)),
            fetchEVersion: () => Effect.succeed(version(0)),
            saveState: refused
          }),
          "a side effect": withJournal((events) => ({
            transitions: [{ events, transitionTo: [], sideEffect: refused() }]
          }))
        }[where]

        const exit = yield* Effect.exit(processor(batch))

        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "Box.callback")
      }).pipe(Effect.provide(world))
  )
})

describe("a batch that takes as many events as it may", () => {
  const small = Eventbox.processBatch(Journal, journal, { maxEvents: 2 })
  const emitIds = (ids: ReadonlyArray<string>) => Eventbox.emitAll(Journal, journal, ids, { id: (value) => value })

  // What arrives in front of it waits for the next sweep, or the last one could wait for ever.
  it.effect("and leaves none of them is followed by one that goes on behind them, until the sweep is over", () =>
    Effect.gen(function*() {
      yield* emitIds(["b", "junk", "y", "z"])
      yield* small.pipe(withJournal(([first, junk], state) => ({ ...consumeAll([first!], state), garbage: [junk!] })))
      yield* emitIds(["a"])

      yield* small.pipe(withJournal())
      assert.deepStrictEqual((yield* saved())!.state, ["b", "y", "z"])

      yield* small.pipe(withJournal())
      assert.deepStrictEqual((yield* saved())!.state, ["b", "y", "z", "a"])
    }).pipe(Effect.provide(world)))

  it.effect("and leaves some of them is followed by one that goes on behind them", () =>
    Effect.gen(function*() {
      yield* emitIds(["b", "c", "y", "z"])
      yield* small.pipe(withJournal(([first], state) => consumeAll([first!], state)))
      yield* emitIds(["a"])

      yield* small.pipe(withJournal())

      assert.deepStrictEqual((yield* saved())!.state, ["b", "y", "z"])
    }).pipe(Effect.provide(world)))
})

describe("misuse of a batch", () => {
  const withDecision = (decide: (events: JournalEvents) => JournalMutation) =>
    Effect.gen(function*() {
      const ids = yield* emit(["a", "b"])
      const message = yield* defectOf(batch.pipe(withMock({
        prepareMutation: (events) => Effect.sync(() => decide(events))
      })))
      assert.deepStrictEqual(yield* pending(), ["a", "b"], "nothing was consumed or deleted")
      return message.replace(ids[0]!, "ID")
    })

  it.effect("a transition that consumes an event of another batch dies, naming it", () =>
    Effect.gen(function*() {
      const message = yield* withDecision(() => ({
        transitions: [{ transitionTo: [], events: [{ id: "alien", value: "" }] }]
      }))

      assert.strictEqual(
        message,
        "The processor of test/Journal is broken: prepareMutation of Journal,\"one\": transition 0 names event \"alien\", which is not in this batch"
      )
    }).pipe(Effect.provide(world)))

  it.effect("an event that is consumed twice dies, naming it", () =>
    Effect.gen(function*() {
      const message = yield* withDecision((events) => ({
        transitions: [{ transitionTo: [], events }, { transitionTo: [], events }]
      }))

      assert.strictEqual(
        message,
        "The processor of test/Journal is broken: prepareMutation of Journal,\"one\": transition 1 names event \"ID\", which was used before"
      )
    }).pipe(Effect.provide(world)))

  it.effect("a side effect that emits the id of an event that is consumed dies, naming it, and nothing is consumed", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Journal, journal, "1", { id: "tick" })
      const again = (value: string) => Eventbox.emit(Journal, journal, value, { id: "tick" })

      const message = yield* defectOf(batch.pipe(withJournal((events, state) => ({
        transitions: [{ ...consumeAll(events, state).transitions[0]!, sideEffect: again("2") }]
      }))))

      assert.include(message, "the transaction that pops Journal,\"one\"/dsset.Item,\"tick\" adds the same id")
      assert.deepStrictEqual(yield* pending(), ["1"])
      assert.isUndefined(yield* saved())
    }).pipe(Effect.provide(world)))

  it.effect("an event that is consumed and declared garbage dies, naming it, and is not deleted", () =>
    Effect.gen(function*() {
      const message = yield* withDecision((events) => ({
        transitions: [{ transitionTo: [], events }],
        garbage: events
      }))

      assert.strictEqual(
        message,
        "The processor of test/Journal is broken: prepareMutation of Journal,\"one\": garbage names event \"ID\", which was used before"
      )
    }).pipe(Effect.provide(world)))

  it.effect("garbage of a failure that is not of the batch dies, naming it", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(batch.pipe(withMock({
        prepareMutation: () => Processor.failWithGarbage(new Refused({ why: "" }), [{ id: "alien", value: "" }])
      })))

      assert.include(message, "garbage names event \"alien\", which is not in this batch")
    }).pipe(Effect.provide(world)))

  it.effect("a maxEvents that is not a positive integer dies", () =>
    Effect.gen(function*() {
      for (const maxEvents of [0, -1, 2.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        const message = `Eventbox: maxEvents is a positive integer, got ${maxEvents}`
        assert.strictEqual(
          yield* defectOf(Eventbox.processBatch(Journal, journal, { maxEvents }).pipe(withMock({}))),
          message
        )
        assert.strictEqual(
          yield* defectOf(Eventbox.process(Journal, journal, { maxEvents }).pipe(withMock({}))),
          message
        )
        assert.strictEqual(yield* defectOf(Eventbox.drain(Journal, journal, { maxEvents }).pipe(withMock({}))), message)
      }
    }).pipe(Effect.provide(world)))

  it.effect("a batch inside a transaction dies", () =>
    Effect.gen(function*() {
      const message = (what: string) =>
        `${what} cannot be used inside a transaction: it is a transaction of its own; run it after this one`

      const inTransaction = <A, E>(one: Effect.Effect<A, E, Datastore.Datastore | Journal>) =>
        defectOf(Datastore.withTransaction(one).pipe(withMock({})))

      assert.strictEqual(yield* inTransaction(batch), message("Eventbox.processBatch"))
      assert.strictEqual(yield* inTransaction(Eventbox.process(Journal, journal)), message("Eventbox.process or drain"))
      assert.strictEqual(yield* inTransaction(Eventbox.drain(Journal, journal)), message("Eventbox.process or drain"))
    }).pipe(Effect.provide(world)))
})
