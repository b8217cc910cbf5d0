import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Schedule, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { relist } from "../../src/eventbox/relist.ts"
import { DatastoreError, PermissionDenied } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { consumeAll, Journal, journal, Refused, withJournal } from "../utils/boxJournal.ts"
import {
  box,
  consumed,
  fill,
  oneShot,
  type Poison,
  Poisoned,
  poisonedWorld,
  poisons,
  processorOf,
  quietWorld,
  says,
  waiting,
  withPoisoned
} from "../utils/boxPoison.ts"
import { defectOf, inTime, makeGate, otherProcess, settle, world, writesHead } from "../utils/boxWorld.ts"

const good = (count: number) => Array.from({ length: count }, (_, n) => `good ${n}`)

/** Good values with some bad ones put in at their places. */
const mixed = (count: number, bad: { readonly [index: number]: string }) =>
  good(count).map((value, index) => bad[index] ?? value)

const isGood = (value: string) => value.startsWith("good")

const failedOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, Eventbox.EventFailed)
    return error as Eventbox.EventFailed<Refused>
  })

const idsOf = ({ failures }: Eventbox.EventFailed<Refused>) => failures.map(({ eventId }) => eventId)

/** All good events were consumed once, whatever the order. */
const assertAllGood = (values: ReadonlyArray<string>) =>
  Effect.map(consumed, (state) => assert.deepStrictEqual([...state].toSorted(), values.filter(isGood).toSorted()))

const places = [[0], [3], [6], [0, 1], [2, 5], [5, 6], [0, 3, 6]] as const
const sizes = [1, 2, 3, 1_000]

describe("an event that fails alone", () => {
  for (const way of poisons) {
    const bad = (at: ReadonlyArray<number>) =>
      mixed(7, Object.fromEntries(at.map((index) => [index, `${way} ${index}`])))

    it.effect(`(${way}) is named, and all others land in one call, wherever it is`, () =>
      Effect.forEach(places, (at) =>
        Effect.gen(function*() {
          const values = bad(at)
          const ids = yield* fill(values)
          const named = at.map((index) => ids.get(values[index]!)!)

          const error = yield* failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned()))

          assert.deepStrictEqual(idsOf(error).toSorted(), named)
          const verb = way === "garbled" ? "does not decode: " : "fails alone: "
          assert.include(error.message, `Event "${error.eventId}" of Poisoned,"p" ${verb}`)
          assert.include(error.message, says[way])
          assert.strictEqual(error.summary.consumed, 7 - at.length)
          yield* assertAllGood(values)
          assert.deepStrictEqual(yield* waiting, named)
        }).pipe(Effect.provide(Layer.fresh(poisonedWorld))), { discard: true }))

    it.effect(
      `(${way}) stops no drain, at any size of its batches`,
      () =>
        Effect.forEach(places, (at) =>
          Effect.forEach(sizes, (maxEvents) =>
            Effect.gen(function*() {
              const values = bad(at)
              const ids = yield* fill(values)

              const error = yield* failedOf(Eventbox.drain(Poisoned, box, { maxEvents }).pipe(withPoisoned()))

              assert.deepStrictEqual(idsOf(error).toSorted(), at.map((index) => ids.get(values[index]!)!))
              assert.strictEqual(error.summary.consumed, 7 - at.length)
              yield* assertAllGood(values)
            }).pipe(Effect.provide(Layer.fresh(poisonedWorld)))), { discard: true }),
      60_000
    )

    it.effect(
      `(${way}) stops no series of processes that each run one batch, at any size`,
      () =>
        Effect.forEach(places, (at) =>
          Effect.forEach(sizes, (maxEvents) =>
            Effect.gen(function*() {
              const values = bad(at)
              yield* fill(values)
              const call = Eventbox.process(Poisoned, box, { maxEvents }).pipe(withPoisoned())

              const sums = []
              for (let run = 0; run < 7; run++) {
                const exit = yield* Effect.exit(oneShot(call))
                sums.push(Exit.isSuccess(exit) ? exit.value.consumed : (yield* failedOf(exit)).summary.consumed)
              }

              yield* assertAllGood(values)
              // Each run gets something done as long as there is something to do.
              const busy = Math.ceil((7 - at.length) / Math.max(1, maxEvents - at.length))
              for (const sum of sums.slice(busy)) assert.strictEqual(sum, 0, sums.join())
            }).pipe(Effect.provide(Layer.fresh(poisonedWorld)))), { discard: true }),
      60_000
    )
  }

  it.effect("is one of many, of every kind: all are named, in the order of the events", () =>
    Effect.gen(function*() {
      const values = mixed(40, Object.fromEntries(poisons.map((way, n) => [5 * n + 3, `${way} ${n}`])))
      const ids = yield* fill(values)

      const error = yield* failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned()))

      const [garbled, ...others] = error.failures
      assert.strictEqual(garbled!.eventId, ids.get("garbled 5"))
      assert.deepStrictEqual(
        others.map(({ eventId }) => eventId),
        poisons.slice(0, 5).map((way, n) => ids.get(`${way} ${n}`)!)
      )
      for (const { cause, eventId } of error.failures) {
        const [value] = Array.from(ids).find(([, id]) => id === eventId)!
        assert.include(String(Cause.pretty(cause)), says[value.split(" ")[0] as Poison])
      }
      assert.include(error.message, "; 5 more failed alone")
      assert.isFalse(error.isRetryable)
      yield* assertAllGood(values)
    }).pipe(Effect.provide(poisonedWorld)))

  it.effect("is every one: each is named once, and nothing is consumed", () =>
    Effect.gen(function*() {
      const values = good(9).map((_, n) => `${n % 2 === 0 ? "refused" : "garbled"} ${n}`)
      const ids = yield* fill(values)

      for (const maxEvents of [1, 2, 4, 1_000]) {
        for (const call of [Eventbox.process, Eventbox.drain]) {
          const error = yield* failedOf(call(Poisoned, box, { maxEvents }).pipe(withPoisoned()))
          assert.deepStrictEqual(idsOf(error).toSorted(), Array.from(ids.values()))
          assert.strictEqual(error.summary.consumed, 0)
        }
      }
    }).pipe(Effect.provide(world)))

  it.effect("is tried alone once per call, also by drain, which makes several passes", () =>
    Effect.gen(function*() {
      const alone: Array<string> = []
      yield* fill(mixed(20, { 4: "refused a", 11: "side b" }))

      yield* failedOf(
        Eventbox.drain(Poisoned, box, { maxEvents: 6 }).pipe(withPoisoned((values) => {
          if (values.length === 1 && !isGood(values[0]!)) alone.push(values[0]!)
        }))
      )

      assert.deepStrictEqual(alone, ["refused a", "side b"])
    }).pipe(Effect.provide(world)))

  // Each half is smaller than its whole, and older events come first.
  it.effect("is found by halves, the older half first", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      yield* fill(mixed(8, { 5: "refused" }))

      yield* failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned((values) => seen.push(values.length))))

      assert.deepStrictEqual(seen, [8, 4, 4, 2, 1, 1, 2])
      assert.deepStrictEqual(yield* consumed, good(8).filter((_, index) => index !== 5))
    }).pipe(Effect.provide(world)))

  it.effect("keeps its type in the error, whose summary says what has landed", () =>
    Effect.gen(function*() {
      yield* fill(mixed(4, { 1: "refused" }))

      const error = yield* failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned()))

      const [reason] = error.failures[0]!.cause.reasons
      assert.isTrue(Cause.isFailReason(reason!) && reason.error instanceof Refused)
      assert.instanceOf(error.cause, Refused)
      assert.deepStrictEqual(error.summary, {
        batches: 2,
        consumed: 3,
        garbage: 0,
        transitions: 3,
        retries: 0,
        postProcessed: 0,
        postProcessFailures: [],
        truncated: false,
        skipped: false
      })
    }).pipe(Effect.provide(world)))

  it.effect("two events that cannot both land are not both kept: the first one lands", () =>
    Effect.gen(function*() {
      const values = ["o1", "o2", "o1", "o3"]
      yield* Eventbox.emitAll(Journal, journal, values, { id: (_, index) => `${index}` })

      const error = yield* failedOf(
        Eventbox.process(Journal, journal).pipe(withJournal((events, state) => ({
          transitions: events.map((event, index) => ({
            events: [event],
            transitionTo: [...state, ...events.slice(0, index + 1).map(({ value }) => value)],
            sideEffect: Datastore.insert([Entity.make(Key.make("Order", event.value), {})])
          }))
        })))
      )

      assert.deepStrictEqual(idsOf(error), ["2"])
      assert.include(error.message, "already exists")
    }).pipe(Effect.provide(world)))

  it.effect("post-process effects of all parts that landed run, in the order of the parts", () =>
    Effect.gen(function*() {
      const ran: Array<string> = []
      yield* Eventbox.emitAll(Journal, journal, good(6).map((value, n) => n === 2 ? "bad" : value), {
        id: (_, n) => `${n}`
      })

      const error = yield* failedOf(
        Eventbox.process(Journal, journal).pipe(withJournal((events, state) => {
          if (events.some(({ value }) => value === "bad")) throw new Error("bad")
          return {
            transitions: events.map((event, index) => ({
              events: [event],
              transitionTo: [...state, ...events.slice(0, index + 1).map(({ value }) => value)],
              postProcess: Effect.suspend(() => {
                ran.push(event.value)
                return event.value === "good 4" ? Effect.fail(new Refused({ why: "after" })) : Effect.void
              })
            }))
          }
        }))
      )

      assert.deepStrictEqual(ran, good(6).filter((_, n) => n !== 2))
      assert.strictEqual(error.summary.postProcessed, 4)
      assert.lengthOf(error.summary.postProcessFailures, 1)
    }).pipe(Effect.provide(world)))
})

describe("what isolation costs", () => {
  it.effect.each([0, 417, 999])(
    "one of 1,000 events, place %s: no event is read twice",
    (at) =>
      Effect.gen(function*() {
        const recorder = yield* Recorder.Recorder
        let runs = 0
        yield* fill(mixed(1_000, { [at]: "refused" }))
        // What is asked for first depends on what was seen of the kind.
        yield* Eventbox.processBatch(Poisoned, box, { maxEvents: 1 }).pipe(withPoisoned(), Effect.exit)
        yield* recorder.reset

        const error = yield* failedOf(Eventbox.drain(Poisoned, box).pipe(withPoisoned(() => runs++)))

        assert.isAtLeast(error.summary.consumed, 998)
        const { billed, operations } = yield* recorder.report
        const commits = operations.filter(({ call }) => call.operation === "commit")
        // One lookup of head and state each, and the last look of drain.
        assert.isAtMost(billed.reads, 1_000 + 2 * 2 * 10 + 10)
        assert.isAtMost(commits.length, 10)
        assert.isAtMost(runs, 2 * 10 + 3)
      }).pipe(Effect.provide(world))
  )

  it.effect("what does not decode costs nothing more", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* fill(mixed(50, { 7: "garbled 1", 30: "garbled 2" }))
      yield* recorder.reset

      yield* failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned()))

      const { billed, operations } = yield* recorder.report
      assert.strictEqual(billed.reads, 52)
      assert.strictEqual(operations.filter(({ call }) => call.operation === "commit").length, 1)
      yield* assertAllGood(good(50).filter((_, n) => n !== 7 && n !== 30))
    }).pipe(Effect.provide(world)))

  it.effect("is bounded where all fail: `maxFailures` in a row end the call, and the next goes on behind", () =>
    Effect.gen(function*() {
      const values = [...Array.from({ length: 250 }, (_, n) => `refused ${n}`), ...good(50)]
      yield* fill(values)
      const call = Eventbox.process(Poisoned, box, { maxEvents: 100 }).pipe(withPoisoned())

      assert.lengthOf((yield* failedOf(call)).failures, 100)
      assert.lengthOf((yield* failedOf(call)).failures, 100)
      const third = yield* failedOf(call)

      assert.lengthOf(third.failures, 50)
      assert.strictEqual(third.summary.consumed, 50)
      const drained = yield* failedOf(Eventbox.drain(Poisoned, box, { maxFailures: 7 }).pipe(withPoisoned()))
      assert.lengthOf(drained.failures, 7)
      assert.isTrue(drained.summary.truncated)
      const all = yield* failedOf(Eventbox.drain(Poisoned, box, { maxFailures: Infinity }).pipe(withPoisoned()))
      assert.lengthOf(all.failures, 250)
    }).pipe(Effect.provide(world)))

  it.effect("counts only those in a row: events that are consumed in between begin it anew", () =>
    Effect.gen(function*() {
      const values = good(40).map((value, n) => n % 2 === 0 ? `refused ${n}` : value)
      yield* fill(values)

      const error = yield* failedOf(Eventbox.process(Poisoned, box, { maxFailures: 3 }).pipe(withPoisoned()))

      assert.lengthOf(error.failures, 20)
      yield* assertAllGood(values)
    }).pipe(Effect.provide(world)))

  it.effect("`maxFailures` must be a positive integer or Infinity", () =>
    Effect.gen(function*() {
      for (const maxFailures of [0, -1, 1.5, Number.NaN]) {
        const message = yield* defectOf(Eventbox.process(Poisoned, box, { maxFailures }).pipe(withPoisoned()))
        assert.include(message, `Eventbox: maxFailures is a positive integer or Infinity, got ${maxFailures}`)
      }
    }).pipe(Effect.provide(world)))
})

/** Each event writes its body elsewhere. */
class Archive extends Processor.Service<Archive>()("test/Archive", {
  kind: "Archive",
  state: Schema.Int,
  event: Schema.String
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, count) =>
      Effect.succeed({
        transitions: events.map((event, index) => ({
          events: [event],
          transitionTo: count + index + 1,
          sideEffect: Datastore.put([
            { key: Key.make("Archived", event.id), properties: { body: event.value }, unindexed: "all" as const }
          ])
        }))
      })
  }))
}
const archive = Archive.recipient("a")

describe("a batch that is too large for one commit", () => {
  it.effect.each(["process", "drain"] as const)(
    "lands by halves, without a failure: %s",
    (name) =>
      Effect.gen(function*() {
        yield* Eventbox.emitAll(Archive, archive, Array.from({ length: 24 }, () => "x".repeat(250_000)))

        const summary = yield* Eventbox[name](Archive, archive, { maxBytes: 64 * 1_024 * 1_024 })

        // What is deleted counts against the limit as well as what is written.
        assert.deepInclude(summary, { consumed: 24, batches: 2, retries: 0 })
        assert.lengthOf((yield* Datastore.query({ kind: "Archived", keysOnly: true })).results, 24)
      }).pipe(Effect.provide(Layer.provideMerge(Archive.layer, world)))
  )

  it.effect("is one for processBatch, which names the reason and writes nothing", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Archive, archive, Array.from({ length: 60 }, () => "x".repeat(250_000)))

      const batch = Eventbox.processBatch(Archive, archive, { maxBytes: 64 * 1_024 * 1_024 })
      const error = yield* Effect.flip(batch)

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "TooLarge")
      assert.lengthOf((yield* Datastore.query({ kind: "Archived", keysOnly: true })).results, 0)
    }).pipe(Effect.provide(Layer.provideMerge(Archive.layer, world))))
})

describe("what is not the failure of an event", () => {
  const countRuns = () => {
    let runs = 0
    return { note: () => void runs++, runs: () => runs }
  }

  it.effect("a state that does not load fails the call as it is, at once", () =>
    Effect.gen(function*() {
      yield* fill(good(8))
      let loads = 0
      const broken = { ...(yield* Journal.entity({ initial: () => [], prepareMutation: () => Effect.die("asked") })) }

      for (const call of [Eventbox.process, Eventbox.drain]) {
        loads = 0
        yield* Eventbox.emit(Journal, journal, "a")
        const error = yield* Effect.flip(Effect.provideService(call(Journal, journal), Journal, {
          ...broken,
          loadState: () => {
            loads++
            return new Refused({ why: "cannot load" })
          }
        }))
        assert.instanceOf(error, Refused)
        assert.strictEqual(loads, 1)
      }
    }).pipe(Effect.provide(world)))

  it.effect("nor is what is wrong with the set-up: it is met once, and not by every event", () =>
    Effect.gen(function*() {
      const counted = countRuns()
      yield* fill(good(8))
      const { backend } = yield* Datastore.Datastore
      const refusing = yield* Datastore.make({
        ...backend,
        commit: () =>
          Effect.fail(new DatastoreError({ operation: "commit", reason: new PermissionDenied({ detail: "no role" }) }))
      })

      const error = yield* Effect.flip(
        Eventbox.process(Poisoned, box).pipe(
          withPoisoned(counted.note),
          Effect.provideService(Datastore.Datastore, refusing)
        )
      )

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "PermissionDenied")
      assert.strictEqual(counted.runs(), 1)
    }).pipe(Effect.provide(world)))

  it.effect("nor is a state that does not load when the batch is tried again", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* fill(good(8))
      const sound = yield* processorOf()
      let loads = 0
      yield* faulty.inject("commit", Faulty.contention)

      const error = yield* Effect.flip(inTime(Effect.provideService(Eventbox.process(Poisoned, box), Poisoned, {
        ...sound,
        loadState: (recipient) => ++loads === 1 ? sound.loadState(recipient) : new Refused({ why: "cannot load" })
      })))

      assert.instanceOf(error, Refused)
      assert.strictEqual(loads, 2)
    }).pipe(Effect.provide(world)))

  it.effect("nor is a mailbox that belongs to another box", () =>
    Effect.gen(function*() {
      const counted = countRuns()
      yield* fill(good(8))
      const owned = { _tag: "MailboxOwned" } as unknown as Refused

      const error = yield* Effect.flip(Effect.provideServiceEffect(
        Eventbox.process(Poisoned, box),
        Poisoned,
        Poisoned.entity({
          initial: () => [],
          prepareMutation: () => Effect.andThen(Effect.sync(counted.note), Effect.fail(owned))
        })
      ))

      assert.strictEqual(error as unknown, owned)
      assert.strictEqual(counted.runs(), 1)
    }).pipe(Effect.provide(world)))

  it.effect("nor is an interruption, from within or from without", () =>
    Effect.gen(function*() {
      const counted = countRuns()
      yield* fill(good(8))
      const with_ = (effect: Effect.Effect<never>) =>
        Effect.provideServiceEffect(
          Eventbox.process(Poisoned, box),
          Poisoned,
          Poisoned.entity({
            initial: () => [],
            prepareMutation: () => Effect.andThen(Effect.sync(counted.note), effect)
          })
        )

      const within = yield* Effect.exit(with_(Effect.interrupt))
      const fiber = yield* Effect.forkChild(with_(Effect.never))
      yield* settle
      yield* Fiber.interrupt(fiber)

      assert.isTrue(Exit.isFailure(within) && Cause.hasInterrupts(within.cause))
      assert.strictEqual(counted.runs(), 2)
    }).pipe(Effect.provide(world)))

  it.effect("nor is a failure without events", () =>
    Effect.gen(function*() {
      const nothing = Effect.provideServiceEffect(
        Journal,
        Journal.entity({ initial: () => [], prepareMutation: () => new Refused({ why: "nothing there" }) })
      )

      assert.instanceOf(yield* Effect.flip(Eventbox.process(Journal, journal).pipe(nothing)), Refused)
      assert.instanceOf(yield* Effect.flip(Eventbox.drain(Journal, journal).pipe(nothing)), Refused)
    }).pipe(Effect.provide(world)))

  it.effect("nor is contention, which is retried by the schedule and then fails the call", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const counted = countRuns()
      yield* fill(good(8))
      yield* faulty.setRates({ contention: 1 })

      const error = yield* Effect.flip(
        Eventbox.process(Poisoned, box, { retry: Schedule.recurs(2) }).pipe(withPoisoned(counted.note))
      )

      assert.strictEqual(error._tag, "ContentionError")
      assert.strictEqual(counted.runs(), 3)
    }).pipe(Effect.provide(world)))
})

describe("isolation amid other trouble", () => {
  const values = mixed(8, { 2: "refused", 5: "side" })

  it.effect(
    "contention and failed reads in a half are retried there, and nothing is lost or doubled",
    () =>
      Effect.forEach(Array.from({ length: 12 }, (_, n) => n + 1), (nth) =>
        Effect.forEach(
          [
            ["commit", Faulty.contention],
            ["commit", Faulty.responseLost],
            ["commit", Faulty.requestLost],
            ["lookup", Faulty.readFailure]
          ] as const,
          ([operation, fault]) =>
            Effect.gen(function*() {
              const faulty = yield* Faulty.Faulty
              yield* fill(values)
              yield* faulty.inject(operation, fault as Faulty.Around, { nth })

              const error = yield* inTime(failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned())))

              yield* faulty.heal
              assert.lengthOf(error.failures, 2)
              yield* assertAllGood(values)
            }).pipe(Effect.provide(Layer.fresh(quietWorld)))
        ), { discard: true }),
    60_000
  )

  it.effect("another worker that consumes the events of a half is no failure of these", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      yield* fill(values)
      const [sent, gate] = [yield* makeGate, yield* makeGate]
      // The first half that lands waits, while the other worker isolates all by itself.
      yield* faulty.inject("commit", Faulty.around({ before: Effect.andThen(sent.open, gate.wait) }), {
        where: writesHead
      })

      const here = yield* Effect.forkChild(failedOf(Eventbox.process(Poisoned, box).pipe(withPoisoned())))
      yield* sent.wait
      const there = yield* failedOf(
        Eventbox.process(Poisoned, box).pipe(withPoisoned(), Effect.provideService(Datastore.Datastore, other))
      )
      yield* gate.open
      const error = yield* inTime(Fiber.join(here))

      assert.strictEqual(there.summary.consumed, 6)
      assert.strictEqual(error.summary.consumed, 0)
      assert.isAbove(error.summary.retries, 0)
      yield* assertAllGood(values)
    }).pipe(Effect.provide(world)))

  it.effect("an event that is emitted again meanwhile is consumed with its new value, by the next batch", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const ids = yield* fill(values)
      const other = yield* otherProcess
      const again = Eventbox.emit(Poisoned, box, "good again", { id: ids.get("good 0")! }).pipe(
        Effect.provideService(Datastore.Datastore, other)
      )
      yield* faulty.inject("commit", Faulty.around({ before: Effect.asVoid(Effect.orDie(again)) }), {
        where: writesHead
      })

      const error = yield* inTime(failedOf(Eventbox.drain(Poisoned, box).pipe(withPoisoned())))

      assert.lengthOf(error.failures, 2)
      assert.deepStrictEqual(
        [...(yield* consumed)].toSorted(),
        ["good again", ...values.filter(isGood).slice(1)].toSorted()
      )
    }).pipe(Effect.provide(world)))

  it.effect("the position of limited listings goes back to what is due again", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const next = Effect.gen(function*() {
        const seen: Array<string> = []
        yield* Effect.exit(
          Eventbox.processBatch(Poisoned, box, { maxEvents: 4 }).pipe(withPoisoned((values) => seen.push(...values)))
        )
        return seen
      })
      yield* fill([...mixed(4, { 0: "refused" }), "good 4", "good 5", "good 6", "good 7"])
      yield* faulty.setRates({ contention: 1 })
      const call = Eventbox.process(Poisoned, box, { maxEvents: 4, retry: Schedule.recurs(0) }).pipe(withPoisoned())

      assert.strictEqual((yield* Effect.flip(call))._tag, "ContentionError")
      assert.deepStrictEqual((yield* next).slice(0, 4), ["refused", "good 1", "good 2", "good 3"])
      yield* faulty.heal
      // That batch failed for good, so the position went on, and comes around.
      yield* next
      assert.strictEqual((yield* failedOf(call)).summary.consumed, 3)
    }).pipe(Effect.provide(world)))

  it.effect("the position of limited listings goes on behind the halves", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const oneByOne = withJournal((events, state) => {
        seen.push(...events.map(({ value }) => value))
        if (events.length > 1) throw new Error("one by one")
        return consumeAll(events, state)
      })
      yield* Eventbox.emitAll(Journal, journal, ["b", "c", "d", "e"], { id: (value) => value })

      const { consumed } = yield* Eventbox.process(Journal, journal, { maxEvents: 2 }).pipe(oneByOne)
      yield* Eventbox.emit(Journal, journal, "a", { id: "a" })
      yield* Eventbox.process(Journal, journal, { maxEvents: 1 }).pipe(oneByOne)

      assert.strictEqual(consumed, 2)
      assert.deepStrictEqual(seen, ["b", "c", "b", "c", "d"])
    }).pipe(Effect.provide(world)))

  it.effect("what ends the call midway lets the post-process effects of what landed run", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const ran: Array<string> = []
      yield* Eventbox.emitAll(Journal, journal, ["a", "b", "bad", "c"], { id: (_, n) => `${n}` })
      for (let n = 0; n < 3; n++) yield* faulty.inject("commit", Faulty.contention, { nth: 2, where: writesHead })

      const error = yield* Effect.flip(inTime(
        Eventbox.process(Journal, journal, { retry: Schedule.recurs(2) }).pipe(withJournal((events, state) => {
          if (events.some(({ value }) => value === "bad")) throw new Error("bad")
          const names = events.map(({ value }) => value)
          return {
            transitions: [{
              events,
              transitionTo: [...state, ...names],
              postProcess: Effect.sync(() => ran.push(...names))
            }]
          }
        }))
      ))

      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(ran, ["a", "b"])
      // What is due again is offered by the next batch.
      yield* faulty.heal
      assert.strictEqual((yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())).consumed, 2)
    }).pipe(Effect.provide(world)))

  it.effect("events emitted meanwhile are left for the next batch, and the position of listings stays right", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const other = yield* otherProcess
      const late = Eventbox.emit(Poisoned, box, "good late", { id: "e00001a" }).pipe(
        Effect.provideService(Datastore.Datastore, other)
      )
      yield* fill(mixed(3, { 1: "refused" }))
      yield* faulty.inject("commit", Faulty.around({ before: Effect.orDie(Effect.asVoid(late)) }))
      const call = Eventbox.process(Poisoned, box).pipe(withPoisoned())

      yield* failedOf(call)
      assert.deepStrictEqual(yield* waiting, ["e00001", "e00001a"])
      yield* failedOf(call)

      assert.deepStrictEqual([...(yield* consumed)].toSorted(), ["good 0", "good 2", "good late"])
    }).pipe(Effect.provide(world)))
})

describe("garbage of a decision that fails", () => {
  const junk = (value: string) => value.startsWith("junk")

  it.effect("is deleted and named with the failure, and the rest lands", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Journal, journal, ["a", "junk", "b"], { id: (value) => value })

      const error = yield* failedOf(
        Eventbox.process(Journal, journal).pipe(Effect.provideServiceEffect(
          Journal,
          Journal.entity({
            initial: () => [],
            prepareMutation: (events, state) => {
              const bad = events.filter(({ value }) => junk(value))
              if (bad.length > 0) return Processor.failWithGarbage(new Refused({ why: "junk" }), bad)
              return Effect.succeed({
                transitions: [{ events, transitionTo: [...state, ...events.map(({ value }) => value)] }]
              })
            }
          })
        ))
      )

      assert.deepStrictEqual(idsOf(error), ["junk"])
      assert.strictEqual(error.summary.consumed, 2)
      assert.deepStrictEqual(yield* Eventbox.list(Journal, journal), [])
    }).pipe(Effect.provide(world)))

  it.effect("is not named when the failure is that of another event", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Journal, journal, ["a", "junk", "bad", "b"], { id: (value) => value })

      const error = yield* failedOf(
        Eventbox.process(Journal, journal).pipe(Effect.provideServiceEffect(
          Journal,
          Journal.entity({
            initial: () => [],
            prepareMutation: (events, state) => {
              const garbage = events.filter(({ value }) => junk(value))
              const rest = events.filter(({ value }) => !junk(value))
              if (rest.some(({ value }) => value === "bad")) {
                return Processor.failWithGarbage(new Refused({ why: "bad" }), garbage)
              }
              return Effect.succeed({
                garbage,
                transitions: [{ events: rest, transitionTo: [...state, ...rest.map(({ value }) => value)] }]
              })
            }
          })
        ))
      )

      assert.deepStrictEqual(idsOf(error), ["bad"])
      assert.strictEqual(error.summary.consumed, 2)
      assert.lengthOf(yield* Eventbox.list(Journal, journal), 1)
    }).pipe(Effect.provide(world)))

  it.effect("alone, with nothing left, is named too", () =>
    Effect.gen(function*() {
      yield* Eventbox.emitAll(Journal, journal, ["junk 1", "junk 2"], { id: (value) => value })

      const error = yield* failedOf(
        Eventbox.process(Journal, journal).pipe(Effect.provideServiceEffect(
          Journal,
          Journal.entity({
            initial: () => [],
            prepareMutation: (events) => Processor.failWithGarbage(new Refused({ why: "junk" }), events)
          })
        ))
      )

      assert.deepStrictEqual(idsOf(error), ["junk 1", "junk 2"])
      assert.lengthOf(yield* Eventbox.list(Journal, journal), 0)
    }).pipe(Effect.provide(world)))

  it.effect("beside a side effect that fails is not offered to the halves again", () =>
    Effect.gen(function*() {
      const offered: Array<string> = []
      yield* Eventbox.emitAll(Journal, journal, ["a", "bad", "c", "junk"], { id: (value) => value })

      const error = yield* failedOf(
        Eventbox.process(Journal, journal).pipe(withJournal((events, state) => {
          offered.push(events.map(({ value }) => value).join(""))
          const rest = events.filter(({ value }) => !junk(value))
          return {
            garbage: events.filter(({ value }) => junk(value)),
            transitions: rest.map((event, index) => ({
              events: [event],
              transitionTo: [...state, ...rest.slice(0, index + 1).map(({ value }) => value)],
              sideEffect: event.value === "bad" ? new Refused({ why: "bad" }) : undefined
            }))
          }
        }))
      )

      assert.deepStrictEqual(idsOf(error), ["bad"])
      assert.deepStrictEqual(offered, ["abadcjunk", "abadc", "abad", "a", "bad", "c"])
    }).pipe(Effect.provide(world)))
})

describe("the listing of a half", () => {
  // It must not stand for one that has seen all, or its pops would erase tombstones of items that still wait.
  it.effect("covers nothing, and holds only what still waits as it was seen when it is to look", () =>
    Effect.gen(function*() {
      const set = DsSet.make({ parent: box.key })
      const ids = Array.from((yield* fill(good(5))).values())
      const listing = yield* DsSet.list(set, { maxItems: 10 })
      yield* DsSet.remove(set, [ids[1]!])
      yield* Eventbox.emit(Poisoned, box, "good again", { id: ids[3]! })

      const all = yield* relist(listing, ids.slice(1), false)
      const left = yield* relist(listing, ids.slice(1), true)

      assert.deepStrictEqual(all.items.map(({ id }) => id), ids.slice(1))
      assert.deepStrictEqual(left.items.map(({ id }) => id), [ids[2]!, ids[4]!])
      for (const half of [all, left]) {
        assert.deepStrictEqual([half.covered, half.present, half.gone.size, half.garbage.ids], [[], [], 0, []])
      }
    }).pipe(Effect.provide(world)))
})
