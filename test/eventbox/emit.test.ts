import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Clock, Effect, Fiber, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import {
  Aborted,
  ContentionError,
  DatastoreError,
  type EventDecodeError,
  OutcomeUnknown,
  PermissionDenied,
  Unavailable
} from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { emit, Journal, journal, pending, saved, version, withJournal } from "../utils/boxJournal.ts"
import { withMinute } from "../utils/boxSet.ts"
import { defectOf, entity, inTime, operationsOf, read, settle, world } from "../utils/boxWorld.ts"

const processOnce = Effect.andThen(Eventbox.processBatch(Journal, journal).pipe(withJournal()), settle)

const commitSizes = ({ operations }: Recorder.Report) => operations.map(({ call }) => Recorder.keysOf(call).length)

/** Stores bytes as an event, as a program with another schema may have done. */
const store = (id: string, value: Uint8Array, atMillis = 0) =>
  DsSet.add(DsSet.make({ parent: journal.key }), [{ id, value, atMillis }])

describe("emit", () => {
  it.effect("returns the id of an event that is then listed", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [id, report] = yield* recorder.during(Eventbox.emit(Journal, journal, "a"))

      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.deepStrictEqual(Arr.getSuccesses(yield* Eventbox.list(Journal, journal)), [{ id, value: "a" }])
      assert.deepStrictEqual(operationsOf(report), ["commit"])
      assert.strictEqual(report.billed.writes, 1)
    }).pipe(Effect.provide(world)))

  it.effect("reaches its recipient alone", () =>
    Effect.gen(function*() {
      yield* emit(["a"], Journal.recipient("other"))

      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  it.effect("of a pending id replaces its value", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Eventbox.emit(Journal, journal, "old", { id: "mine" }), "mine")
      yield* Eventbox.emit(Journal, journal, "new", { id: "mine" })

      assert.deepStrictEqual(Arr.getSuccesses(yield* Eventbox.list(Journal, journal)), [{ id: "mine", value: "new" }])
    }).pipe(Effect.provide(world)))

  it.effect("P3: of a consumed id changes nothing within the tombstones delay, and is a new event after it", () =>
    Effect.gen(function*() {
      const again = Eventbox.emit(Journal, journal, "a", { id: "mine" })
      yield* again
      yield* processOnce

      yield* TestClock.adjust("60 seconds")
      yield* again
      assert.deepStrictEqual(yield* pending(), [])
      yield* processOnce
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })

      yield* TestClock.adjust("1 millis")
      yield* again
      assert.deepStrictEqual(yield* pending(), ["a"])
      yield* processOnce
      assert.deepStrictEqual(yield* saved(), { state: ["a", "a"], eversion: 2 })
    }).pipe(withMinute, Effect.provide(world)))

  it.effect("in a transaction happens if and only if the transaction commits", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const key = Key.make("K", 1)
      const body = Effect.andThen(Datastore.put([entity(key, 1)]), Eventbox.emit(Journal, journal, "a"))

      yield* Effect.flip(Datastore.withTransaction(Effect.andThen(body, Effect.fail("no"))))
      yield* faulty.inject("commit", Faulty.contention)
      yield* Effect.flip(Datastore.withTransaction(body))
      assert.deepStrictEqual([yield* pending(), yield* read(key)], [[], undefined])

      yield* Datastore.withTransaction(body)
      assert.deepStrictEqual([yield* pending(), yield* read(key)], [["a"], 1])
    }).pipe(Effect.provide(world)))

  it.effect("in a transaction costs no RPC of its own", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [, report] = yield* recorder.during(Datastore.withTransaction(
        Effect.andThen(emit(["a", "b"]), Eventbox.emitAll(Journal, journal, ["c", "d"]))
      ))

      assert.deepStrictEqual(commitSizes(report), [4])
    }).pipe(Effect.provide(world)))

  it.effect("in a transaction is not retried: the transaction is the caller's", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      yield* faulty.inject("commit", Faulty.responseLost)

      const error = yield* Effect.flip(Datastore.withTransaction(emit(["a"])))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
      assert.deepStrictEqual(operationsOf(yield* recorder.report), ["commit"])
    }).pipe(Effect.provide(world)))

  it.effect("is retried with the same id and time, so that a late retry is not a new event", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const recorder = yield* Recorder.Recorder
      yield* TestClock.adjust("7 seconds")
      yield* faulty.inject("commit", Faulty.requestLost)
      yield* faulty.inject("commit", Faulty.responseLost)

      const id = yield* inTime(Eventbox.emit(Journal, journal, "a"))

      const { operations } = yield* recorder.report
      const tries = operations.map(({ call }) =>
        call.operation === "commit" &&
        call.request.mutations.map((mutation) =>
          mutation._tag === "Upsert" && [mutation.entity.key.id, mutation.entity.properties["At"]]
        )
      )
      assert.deepStrictEqual(tries, [[[id, 7_000]], [[id, 7_000]], [[id, 7_000]]])
      assert.deepStrictEqual(yield* pending(), ["a"])
    }).pipe(Effect.provide(world)))

  it.effect("that landed without a response, and was consumed before its retry, is not consumed again", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("commit", Faulty.responseLost)
      const fiber = yield* Effect.forkChild(Eventbox.emit(Journal, journal, "a"))
      yield* settle
      yield* processOnce
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })

      yield* TestClock.adjust("1 second")
      yield* settle

      assert.isDefined(fiber.pollUnsafe())
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))

  it.effect("that may have landed is told so, whatever its retries fail with", () =>
    Effect.gen(function*() {
      const unknown = new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail: "late" }) })
      const later = [
        new DatastoreError({ operation: "commit", reason: new Unavailable({ detail: "nothing was sent" }) }),
        new DatastoreError({ operation: "commit", reason: new PermissionDenied({ detail: "no role" }) })
      ]
      for (const second of later) {
        const { backend } = yield* Datastore.Datastore
        let tries = 0
        const failing = yield* Datastore.make({
          ...backend,
          commit: () => Effect.suspend(() => Effect.fail(++tries === 1 ? unknown : second))
        })

        const error = yield* Effect.flip(
          inTime(Effect.provideService(Eventbox.emit(Journal, journal, "a"), Datastore.Datastore, failing))
        )

        assert.strictEqual(error, unknown)
        assert.isAbove(tries, 1)
      }
    }).pipe(Effect.provide(world)))

  // The process stands still until the event is consumed and its tombstone erased.
  it.effect("is not retried when its failure is heard of only after the tombstones delay", () =>
    Effect.gen(function*() {
      const { backend } = yield* Datastore.Datastore
      const unknown = new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail: "late" }) })
      let tries = 0
      const slow = yield* Datastore.make({
        ...backend,
        commit: (request) => {
          tries++
          const answer = Effect.delay(Effect.fail(unknown), "5 minutes")
          return tries > 1 ? backend.commit(request) : Effect.andThen(backend.commit(request), answer)
        }
      })
      const emitting = Eventbox.emit(Journal, journal, "a").pipe(Effect.provideService(Datastore.Datastore, slow))

      const began = yield* Clock.currentTimeMillis
      const fiber = yield* Effect.forkChild(Effect.all([Effect.flip(emitting), Clock.currentTimeMillis]))
      yield* settle
      yield* processOnce
      yield* TestClock.adjust("2 minutes")
      yield* emit(["b"])
      yield* processOnce
      const [error, ended] = yield* inTime(Fiber.join(fiber))

      assert.deepStrictEqual([error, tries], [unknown, 1])
      // At once: no pause comes before a try that would not be made.
      assert.strictEqual(ended - began, 5 * 60_000)
      assert.deepStrictEqual(yield* pending(), [])
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 2 })
    }).pipe(withMinute, Effect.provide(world)))

  // A commit that was aborted is sent again by what sends it, too.
  it.effect("is not sent again when it is heard of only after the tombstones delay that it was aborted", () =>
    Effect.gen(function*() {
      const { backend } = yield* Datastore.Datastore
      const unknown = new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail: "late" }) })
      const aborted = new ContentionError({ reason: new Aborted({}) })
      let tries = 0
      const slow = yield* Datastore.make({
        ...backend,
        commit: (request) => {
          tries++
          if (tries === 1) return Effect.andThen(backend.commit(request), Effect.fail(unknown))
          return tries === 2 ? Effect.delay(Effect.fail(aborted), "5 minutes") : backend.commit(request)
        }
      })
      const emitting = Eventbox.emit(Journal, journal, "a").pipe(Effect.provideService(Datastore.Datastore, slow))

      const fiber = yield* Effect.forkChild(Effect.flip(emitting))
      yield* settle
      yield* processOnce
      yield* TestClock.adjust("2 minutes")
      yield* emit(["b"])
      yield* processOnce
      const error = yield* inTime(Fiber.join(fiber))

      assert.deepStrictEqual([error, tries], [unknown, 2])
      assert.deepStrictEqual(yield* pending(), [])
      assert.deepStrictEqual(yield* saved(), { state: ["a", "b"], eversion: 2 })
    }).pipe(withMinute, Effect.provide(world)))

  // Its first send in a second try is none: in the first try it may have landed.
  it.effect("sends no further part of many events once half of the tombstones delay has passed", () =>
    Effect.gen(function*() {
      const { backend } = yield* Datastore.Datastore
      const refused = new DatastoreError({
        operation: "commit",
        reason: new Unavailable({ detail: "nothing was sent" })
      })
      let sent = 0
      const slow = yield* Datastore.make({
        ...backend,
        commit: (request) => {
          sent++
          if (sent === 5) return Effect.fail(refused)
          return sent < 5
            ? backend.commit(request)
            : Effect.tap(backend.commit(request), () => Effect.sleep("45 seconds"))
        }
      })
      const values = Array.from({ length: 2_100 }, (_, n) => `e${n}`)
      const emitting = Eventbox.emitAll(Journal, journal, values).pipe(Effect.provideService(Datastore.Datastore, slow))

      const error = yield* inTime(Effect.flip(Effect.asVoid(emitting)))

      // Four parts at a time: the fifth waits for the slow ones, and is then too late.
      assert.deepStrictEqual([error, sent], [refused, 9])
    }).pipe(withMinute, Effect.provide(world)))

  // A pause begins within the limit, and is 5 seconds and a fifth of jitter at most. The clock of the test ticks four
  // times a second, so what it shows may be one tick more.
  it.effect("gives up one pause after a fifth of the tombstones delay, or after 30 seconds if that is less", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.setRates({ requestLost: 1 })
      const timed = Effect.gen(function*() {
        const error = yield* Effect.flip(inTime(Eventbox.emit(Journal, journal, "a")))
        assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "OutcomeUnknown")
        return yield* TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))
      })

      const first = yield* withMinute(timed)
      const second = (yield* timed) - first

      const overtimeMillis = 1.2 * 5_000 + 250
      assert.isAbove(first, 12_000)
      assert.isAtMost(first, 12_000 + overtimeMillis)
      assert.isAbove(second, 30_000)
      assert.isAtMost(second, 30_000 + overtimeMillis)
    }).pipe(Effect.provide(world)))

  it.effect("is not retried after a failure that a retry cannot help", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      // One byte too long together with its parent, which only the backend knows to refuse.
      const deep = Journal.recipient(Key.make(
        "P",
        "x".repeat(1_500),
        ...Array.from({ length: 3 }).flatMap(() => ["P", "x".repeat(1_490)]),
        "Journal",
        "j"
      ))

      const error = yield* Effect.flip(Eventbox.emit(Journal, deep, "a", { id: "i".repeat(1_000) }))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "InvalidArgument")
      assert.isAtMost(operationsOf(yield* recorder.report).length, 1)
    }).pipe(Effect.provide(world)))
})

describe("an event that is refused", () => {
  const refused = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const [error, report] = yield* recorder.during(Effect.flip(effect))
      assert.deepStrictEqual(report.operations, [], "before any RPC")
      const rejected = error as { readonly _tag: string; readonly message: string; readonly isRetryable: boolean }
      assert.strictEqual(rejected._tag, "EventRejected")
      assert.isFalse(rejected.isRetryable)
      assert.include(rejected.message, "Event for Journal,\"one\" rejected: ")
      return rejected.message
    })

  it.effect("has an id that breaks the rules of Datastore or of the set", () =>
    Effect.gen(function*() {
      for (
        const [id, says] of [
          ["", "its id \"\" is not valid (a name is not empty)"],
          ["__x__", "its id \"__x__\" is not valid"],
          ["x".repeat(1_501), `its id "${"x".repeat(60)}" is not valid`],
          ["\uDC00", "surrogate"],
          ["\u{10FFFF}", "an id does not start with U+10FFFF"]
        ] as const
      ) {
        assert.include(yield* refused(Eventbox.emit(Journal, journal, "a", { id })), says)
      }
    }).pipe(Effect.provide(world)))

  it.effect("has an id that is not a string", () =>
    Effect.gen(function*() {
      const id = 7 as unknown as string

      assert.include(yield* refused(Eventbox.emit(Journal, journal, "a", { id })), "its id \"7\" is not valid")
    }).pipe(Effect.provide(world)))

  it.effect("is too large, and the message has its size, the limit and advice", () =>
    Effect.gen(function*() {
      const message = yield* refused(Eventbox.emit(Journal, journal, "x".repeat(1_000_000)))

      assert.match(message, /its encoded form has 1000002 bytes, the limit is 921\d{3}; store the payload elsewhere/)
    }).pipe(Effect.provide(world)))

  it.effect("is too large by a single byte: the limit that the message names is exact", () =>
    Effect.gen(function*() {
      const id = "x"
      const message = yield* refused(Eventbox.emit(Journal, journal, "x".repeat(930_000), { id }))
      const limit = Number(/the limit is (\d+)/.exec(message)![1])
      const sized = (bytes: number) => Eventbox.emit(Journal, journal, "x".repeat(bytes - 2), { id })

      assert.include(yield* refused(sized(limit + 1)), `has ${limit + 1} bytes`)
      yield* sized(limit)
      assert.strictEqual((yield* pending())[0]!.length, limit - 2)
    }).pipe(Effect.provide(world)))

  it.effect("does not fit the schema, and the message names the field", () =>
    Effect.gen(function*() {
      class Typed extends Processor.Service<Typed>()("test/Typed", {
        kind: "Journal",
        state: Schema.Int,
        event: Schema.Struct({ user: Schema.Struct({ age: Schema.Int }) })
      }) {}
      const value = { user: { age: "old" as unknown as number } }

      const message = yield* refused(Eventbox.emit(Typed, Typed.recipient("one"), value))

      assert.include(message, "it does not fit the event schema")
      assert.include(message, "[\"user\"][\"age\"]")
    }).pipe(Effect.provide(world)))

  it.effect("refuses those beside it, in one emitAll and in one transaction", () =>
    Effect.gen(function*() {
      const bad = 7 as unknown as string
      const inTransaction = Datastore.withTransaction(Effect.andThen(emit(["a"]), emit([bad])))

      yield* refused(Eventbox.emitAll(Journal, journal, ["a", bad]))
      yield* refused(inTransaction)

      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))
})

describe("emitAll", () => {
  it.effect("returns the ids in the order of the values", () =>
    Effect.gen(function*() {
      const ids = yield* Eventbox.emitAll(Journal, journal, ["a", "b", "c"])

      const listed = Arr.getSuccesses(yield* Eventbox.list(Journal, journal))
      assert.deepStrictEqual(listed, ids.map((id, n) => ({ id, value: ["a", "b", "c"][n]! })))
    }).pipe(Effect.provide(world)))

  it.effect("takes ids from values and positions, and can then be made again as a whole", () =>
    Effect.gen(function*() {
      const all = Eventbox.emitAll(Journal, journal, ["a", "b", "c"], { id: (value, index) => `${value}${index}` })

      assert.deepStrictEqual(yield* all, ["a0", "b1", "c2"])
      assert.deepStrictEqual(yield* all, ["a0", "b1", "c2"])
      assert.deepStrictEqual(yield* pending(), ["a", "b", "c"])
    }).pipe(Effect.provide(world)))

  it.effect("is split into commits of 500 events", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const values = Array.from({ length: 1_100 }, (_, n) => String(n))

      const [ids, report] = yield* recorder.during(Eventbox.emitAll(Journal, journal, values))

      assert.deepStrictEqual(commitSizes(report).toSorted((x, y) => x - y), [100, 500, 500])
      assert.strictEqual(new Set(ids).size, 1_100)
      assert.deepStrictEqual(yield* pending(), values)
    }).pipe(Effect.provide(world)))

  it.effect("is split by the bytes that a commit may have", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const value = "x".repeat(900_000)

      const [, report] = yield* recorder.during(
        Eventbox.emitAll(Journal, journal, Array.from({ length: 12 }, () => value))
      )

      assert.deepStrictEqual(commitSizes(report).toSorted((x, y) => x - y), [1, 11])
    }).pipe(Effect.provide(world)))

  it.effect("of nothing is nothing", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [ids, report] = yield* recorder.during(Eventbox.emitAll(Journal, journal, []))

      assert.deepStrictEqual(ids, [])
      assert.deepStrictEqual(report.operations, [])
    }).pipe(Effect.provide(world)))

  it.effect("with one id twice is refused, since the second event would replace the first", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Eventbox.emitAll(Journal, journal, ["a", "b"], { id: () => "same" }))

      assert.strictEqual(error._tag === "EventRejected" && error.reason._tag, "InvalidId")
      assert.deepStrictEqual(yield* pending(), [])
    }).pipe(Effect.provide(world)))
})

describe("list", () => {
  it.effect("is oldest first, whatever the ids are, and by id within a millisecond", () =>
    Effect.gen(function*() {
      yield* Eventbox.emit(Journal, journal, "second", { id: "b" })
      yield* Eventbox.emit(Journal, journal, "first", { id: "a" })
      yield* TestClock.adjust("1 millis")
      yield* Eventbox.emit(Journal, journal, "last", { id: "0" })

      assert.deepStrictEqual(yield* pending(), ["first", "second", "last"])
    }).pipe(Effect.provide(world)))

  it.effect("of events without ids of their own is in the order of their emits", () =>
    Effect.gen(function*() {
      const values = Array.from({ length: 50 }, (_, n) => `v${n}`)
      yield* emit(values)

      assert.deepStrictEqual(yield* pending(), values)
    }).pipe(Effect.provide(world)))

  it.effect("holds all events, and does not move where batches go on", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "c"])
      const seen: Array<string> = []
      const batch = Eventbox.processBatch(Journal, journal, { maxEvents: 2 }).pipe(withJournal((events) => {
        seen.push(events.map(({ value }) => value).join(""))
        return { transitions: [] }
      }))

      yield* batch
      assert.deepStrictEqual(yield* pending(), ["a", "b", "c"])
      yield* batch

      assert.deepStrictEqual(seen, ["ab", "c"])
    }).pipe(Effect.provide(world)))

  // One of them between two that do: it must hide neither, nor take a place in their order.
  it.effect("holds an EventDecodeError for an event that does not fit, naming event and recipient", () =>
    Effect.gen(function*() {
      const text = new TextEncoder()
      const broken: ReadonlyArray<readonly [Uint8Array, string]> = [
        [text.encode("7"), "Expected string"],
        [text.encode("not JSON"), "JSON"],
        [Uint8Array.from([0xff, 0xfe]), "JSON"],
        [new Uint8Array(0), "JSON"]
      ]
      yield* emit(["first"])
      yield* TestClock.adjust(1)
      yield* TestClock.adjust(1)
      yield* emit(["last"])
      for (const [value, says] of broken) {
        yield* store("poison", value, 1)
        const listed = yield* Eventbox.list(Journal, journal)
        assert.deepStrictEqual(listed.map(Result.isSuccess), [true, false, true])
        assert.deepStrictEqual(Arr.getSuccesses(listed).map(({ value }) => value), ["first", "last"])
        const [error] = Arr.getFailures(listed) as [EventDecodeError]
        assert.strictEqual(error._tag, "EventDecodeError")
        assert.include(error.message, "Event \"poison\" of Journal,\"one\" does not decode: ")
        assert.include(error.message, says)
        assert.isFalse(error.isRetryable)
      }
    }).pipe(Effect.provide(world)))

  it.effect("fails with EventDecodeError for an item that something else wrote there", () =>
    Effect.gen(function*() {
      yield* Datastore.put([
        Entity.make(Key.child(journal.key, "dsset.Item", "alien"), { Value: "text", At: "now", Trace: 7 })
      ])

      const [error] = Arr.getFailures(yield* Eventbox.list(Journal, journal)) as [EventDecodeError]

      assert.include(error.message, "Event \"alien\" of Journal,\"one\" does not decode")
    }).pipe(Effect.provide(world)))

  it.effect("inside a transaction dies", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(Datastore.withTransaction(Eventbox.list(Journal, journal)))

      assert.include(message, "Eventbox.list cannot be used inside a transaction")
    }).pipe(Effect.provide(world)))

  it.effect("fails when a read fails", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("query", Faulty.readFailure)

      const error = yield* Effect.flip(Eventbox.list(Journal, journal))

      assert.strictEqual(error._tag === "DatastoreError" && error.reason._tag, "Unavailable")
    }).pipe(Effect.provide(world)))
})

describe("loadState", () => {
  it.effect("returns state and version as the processor of the box loads them", () =>
    Effect.gen(function*() {
      const load = Eventbox.loadState(Journal, journal).pipe(withJournal())
      assert.deepStrictEqual(yield* load, { state: [], eversion: version(0) })

      yield* emit(["a"])
      yield* processOnce

      assert.deepStrictEqual(yield* load, { state: ["a"], eversion: version(1) })
    }).pipe(Effect.provide(world)))

  it.effect("fails as the processor's loadState does", () =>
    Effect.gen(function*() {
      yield* Datastore.put([Entity.make(journal.key, { State: "broken", EVersion: 1 })])

      const error = yield* Effect.flip(Eventbox.loadState(Journal, journal).pipe(withJournal()))

      assert.strictEqual(error._tag, "StateDecodeError")
    }).pipe(Effect.provide(world)))
})
