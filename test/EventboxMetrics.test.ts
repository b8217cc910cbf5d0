import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../src/Datastore.ts"
import * as Eventbox from "../src/Eventbox.ts"
import * as Metrics from "../src/EventboxMetrics.ts"
import * as Key from "../src/Key.ts"
import { Faulty } from "../src/testing/index.ts"
import { consumeAll, emit, Journal, Refused, withJournal, withMock } from "./utils/boxJournal.ts"
import { inTime, makeGate, settle, world, writesHead } from "./utils/boxWorld.ts"

const recipient = Journal.recipient("secret id", "few")
const batch = Eventbox.processBatch(Journal, recipient)
const process = batch.pipe(withJournal())

/** Runs with metrics of its own: the registry of Effect belongs to the whole process. */
const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const valueOf = <State>(metric: Metric.Metric<number, State>, result?: string) =>
  Metric.value(
    Metric.withAttributes(metric, result === undefined ? { recipient: "few" } : { recipient: "few", result })
  )

const count = (metric: Metric.Counter<number>, result?: string) =>
  Effect.map(valueOf(metric, result), (state) => state.count)

const sum = (metric: Metric.Histogram<number>, result?: string) =>
  Effect.map(valueOf(metric, result), (state) => [state.count, state.sum])

describe("metrics", () => {
  it.effect("count events whose emit committed, and no others", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"], recipient)
      yield* Eventbox.emitAll(Journal, recipient, ["b", "c", "d"])
      assert.strictEqual(yield* count(Metrics.eventsSent), 4)

      yield* Effect.flip(Eventbox.emit(Journal, recipient, "x", { id: "" }))
      yield* Effect.flip(Datastore.withTransaction(Effect.andThen(emit(["x"], recipient), Effect.fail("no"))))
      yield* faulty.inject("commit", Faulty.contention)
      yield* Effect.flip(Datastore.withTransaction(emit(["x"], recipient)))
      assert.strictEqual(yield* count(Metrics.eventsSent), 4)

      yield* Datastore.withTransaction(emit(["e", "f"], recipient))
      assert.strictEqual(yield* count(Metrics.eventsSent), 6)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count an emit once, however often it was tried", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      for (let n = 0; n < 3; n++) yield* faulty.inject("commit", Faulty.responseLost)

      yield* inTime(emit(["a"], recipient))

      assert.strictEqual(yield* count(Metrics.eventsSent), 1)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count events that were consumed, declared garbage, or found as garbage", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "junk"], recipient)
      yield* batch.pipe(withJournal((events, state) => ({
        ...consumeAll(events.slice(0, 2), state),
        garbage: events.slice(2)
      })))
      assert.strictEqual(yield* count(Metrics.eventsRemoved), 3)
      // An id that was consumed before its emit was tried again: the stored item is garbage.
      yield* Eventbox.emit(Journal, recipient, "c", { id: "known" })
      yield* process
      yield* Eventbox.emit(Journal, recipient, "c", { id: "known" })
      yield* process

      assert.strictEqual(yield* count(Metrics.eventsRemoved), 5)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("show how many events listings saw, and the age of the oldest in seconds where there was one", () =>
    Effect.gen(function*() {
      yield* emit(["a"], recipient)
      yield* TestClock.adjust("90 seconds")
      yield* emit(["b"], recipient)
      yield* TestClock.adjust("1500 millis")

      yield* process
      assert.deepStrictEqual([yield* sum(Metrics.size), yield* sum(Metrics.oldestAge)], [[1, 2], [1, 91.5]])

      yield* process
      assert.deepStrictEqual([yield* sum(Metrics.size), yield* sum(Metrics.oldestAge)], [[2, 2], [1, 91.5]])
    }).pipe(isolated, Effect.provide(world)))

  // A gauge would show whoever was listed last.
  it.effect("of a recipient that is stuck are not hidden by others with the same label", () =>
    Effect.gen(function*() {
      yield* emit(["a"], recipient)
      yield* TestClock.adjust("3 hours")
      yield* Effect.exit(batch.pipe(withMock({ prepareMutation: () => Effect.die("bug") })))

      for (let n = 0; n < 20; n++) {
        const fine = Journal.recipient(`fine ${n}`, "few")
        yield* emit(["b"], fine)
        yield* Eventbox.process(Journal, fine).pipe(withJournal())
      }

      const { buckets, max } = yield* valueOf(Metrics.oldestAge)
      assert.strictEqual(max, 3 * 3_600)
      assert.isTrue(buckets.some(([bound, count]) => bound > 3_600 && bound < 1e6 && count === 21))
      assert.isTrue(buckets.some(([bound, count]) => bound <= 3_600 && count === 20))
    }).pipe(isolated, Effect.provide(world)))

  const allResults = ["committed", "nothing", "contention", "failed", "died", "interrupted"]
  const results = Effect.map(
    Effect.all(allResults.map((result) => count(Metrics.batches, result))),
    (counts) => Object.fromEntries(allResults.map((result, n) => [result, counts[n]!]).filter(([, n]) => n !== 0))
  )

  it.effect("count batches by what became of them", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* process
      assert.deepStrictEqual(yield* results, { nothing: 1 })

      yield* emit(["a"], recipient)
      yield* faulty.inject("commit", Faulty.contention)
      yield* Effect.flip(process)
      assert.deepStrictEqual(yield* results, { nothing: 1, contention: 1 })

      yield* Effect.flip(batch.pipe(withMock({ prepareMutation: () => new Refused({ why: "no" }) })))
      yield* faulty.inject("query", Faulty.readFailure)
      yield* Effect.flip(process)
      assert.deepStrictEqual(yield* results, { nothing: 1, contention: 1, failed: 2 })

      yield* process
      assert.deepStrictEqual(yield* results, { committed: 1, nothing: 1, contention: 1, failed: 2 })
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count every batch, whichever way it does not come to an end", () =>
    Effect.gen(function*() {
      yield* emit(["a"], recipient)
      const throwing = (): never => {
        throw new Error("bug")
      }
      const ways: ReadonlyArray<readonly [string, Parameters<typeof withMock>[0]]> = [
        ["died", { prepareMutation: () => Effect.die("bug") }],
        ["died", { prepareMutation: throwing }],
        ["died", { loadState: throwing }],
        ["died", { prepareMutation: () => Effect.succeed({ transitions: [{ transitionTo: ["x"] }] }) }],
        ["died", {
          prepareMutation: () =>
            Effect.succeed({ transitions: [{ transitionTo: [], events: [{ id: "foreign", value: "" }] }] })
        }],
        ["interrupted", { prepareMutation: () => Effect.interrupt }],
        ["interrupted", { loadState: () => Effect.never }]
      ]

      for (const [result, callbacks] of ways) {
        const before = yield* count(Metrics.batches, result)
        const fiber = yield* Effect.forkChild(Effect.timeoutOption(batch.pipe(withMock(callbacks)), "1 second"))
        yield* settle
        yield* TestClock.adjust("1 second")
        yield* Fiber.await(fiber)
        assert.strictEqual((yield* count(Metrics.batches, result)) - before, 1, result)
      }

      assert.deepStrictEqual(yield* results, { died: 5, interrupted: 2 })
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count what has landed as that, though the call was interrupted meanwhile", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const [sent, gate] = [yield* makeGate, yield* makeGate]
      yield* emit(["a", "b"], recipient)
      yield* faulty.inject("commit", Faulty.around({ before: Effect.andThen(sent.open, gate.wait) }))
      const fiber = yield* Effect.forkChild(process)
      yield* sent.wait

      fiber.interruptUnsafe()
      yield* gate.open
      yield* Fiber.await(fiber)

      assert.deepStrictEqual(yield* results, { committed: 1 })
      assert.deepStrictEqual([yield* count(Metrics.eventsRemoved), yield* sum(Metrics.eventsPerBatch)], [2, [1, 2]])
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count what was found to have landed after the call was interrupted", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      const [asked, gate] = [yield* makeGate, yield* makeGate]
      yield* emit(["a", "b"], recipient)
      yield* faulty.inject("commit", Faulty.responseLost, { where: writesHead })
      yield* faulty.inject("lookup", Faulty.around({ before: Effect.andThen(asked.open, gate.wait) }), { nth: 2 })
      const fiber = yield* Effect.forkChild(process)
      yield* asked.wait

      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* results, { interrupted: 1 })
      yield* gate.open
      yield* settle

      assert.deepStrictEqual(yield* results, { interrupted: 1, committed: 1 })
      assert.strictEqual(yield* count(Metrics.eventsRemoved), 2)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count batches that were run again", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a"], recipient)
      for (let n = 0; n < 3; n++) yield* faulty.inject("commit", Faulty.contention)

      yield* inTime(Eventbox.process(Journal, recipient).pipe(withJournal()))

      assert.strictEqual(yield* count(Metrics.retries), 3)
      assert.deepStrictEqual(yield* results, { contention: 3, committed: 1 })
    }).pipe(isolated, Effect.provide(world)))

  it.effect("count post-process effects by what became of them", () =>
    Effect.gen(function*() {
      yield* emit(["a"], recipient)
      const post = [Effect.void, Effect.fail(new Refused({ why: "no" })), Effect.void, Effect.never, Effect.void]
      const fiber = yield* Eventbox.process(Journal, recipient, { postProcessGrace: "1 second" }).pipe(
        withJournal((events, state) => ({
          transitions: [
            ...consumeAll(events, state).transitions,
            ...post.map((postProcess) => ({
              transitionTo: consumeAll(events, state).transitions[0]!.transitionTo,
              postProcess
            }))
          ]
        })),
        Effect.forkChild
      )
      yield* settle
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupting)

      assert.deepStrictEqual(
        yield* Effect.all(["success", "failure", "dropped"].map((result) => count(Metrics.postProcess, result))),
        [2, 1, 2]
      )
    }).pipe(isolated, Effect.provide(world)))

  it.effect("have as many series as there are labels, not recipients", () =>
    Effect.gen(function*() {
      const runs = (from: number) =>
        Effect.forEach(Array.from({ length: 50 }), (_, n) => {
          const one = Journal.recipient(`r${from + n}`, "few")
          return Effect.andThen(emit(["a"], one), Effect.exit(Eventbox.process(Journal, one).pipe(withJournal())))
        }, { discard: true })
      yield* runs(0)
      const before = (yield* Metric.snapshot).length

      yield* runs(50)

      assert.strictEqual((yield* Metric.snapshot).length, before)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("measure listings and commits in seconds, by result", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      yield* emit(["a", "b"], recipient)
      const slow = Effect.gen(function*() {
        yield* faulty.inject("query", Faulty.delay({ before: "2 seconds" }))
        yield* faulty.inject("commit", Faulty.delay({ after: "750 millis" }), { where: writesHead })
      })

      yield* slow
      yield* inTime(process)
      assert.deepStrictEqual(yield* sum(Metrics.listDuration, "success"), [1, 2])
      assert.deepStrictEqual(yield* sum(Metrics.commitDuration, "success"), [1, 0.75])

      yield* emit(["c"], recipient)
      yield* faulty.inject("commit", Faulty.contention)
      yield* Effect.flip(process)
      yield* faulty.inject("query", Faulty.readFailure)
      yield* Effect.flip(process)
      assert.deepStrictEqual(yield* sum(Metrics.listDuration, "success"), [2, 2])
      assert.deepStrictEqual(yield* sum(Metrics.listDuration, "failure"), [1, 0])
      assert.deepStrictEqual(yield* sum(Metrics.commitDuration, "success"), [1, 0.75])
      assert.deepStrictEqual(yield* sum(Metrics.commitDuration, "failure"), [1, 0])
    }).pipe(isolated, Effect.provide(world)))

  it.effect("show how many events a committed batch consumed", () =>
    Effect.gen(function*() {
      yield* emit(["a", "b", "c"], recipient)
      yield* process
      yield* emit(["d"], recipient)
      yield* process
      yield* process

      assert.deepStrictEqual(yield* sum(Metrics.eventsPerBatch), [2, 4])
    }).pipe(isolated, Effect.provide(world)))

  it.effect("are labelled by the recipient's label, never by its key, and named as documented", () =>
    Effect.gen(function*() {
      yield* emit(["a"], recipient)
      yield* process
      yield* process

      const series = yield* Metric.snapshot
      const attributes = series.map(({ attributes }) => JSON.stringify(attributes))
      assert.deepStrictEqual(Array.from(new Set(series.map(({ id }) => id))).toSorted(), [
        "eventbox_batches_total",
        "eventbox_commit_duration_seconds",
        "eventbox_events_per_batch",
        "eventbox_events_removed_total",
        "eventbox_events_sent_total",
        "eventbox_list_duration_seconds",
        "eventbox_oldest_age_seconds",
        "eventbox_size"
      ])
      assert.isTrue(attributes.every((text) => text.includes("few") && !text.includes("secret")), attributes.join())
    }).pipe(isolated, Effect.provide(world)))
})

interface Seen {
  readonly name: string
  readonly span: Tracer.NativeSpan
}

/** A tracer that could show links, with what it saw. */
const tracing = () => {
  const seen: Array<Seen> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      seen.push({ name: options.name, span })
      return span
    }
  })
  const named = (name: string) => seen.filter((one) => one.name === name).map(({ span }) => span)
  return { seen, named, with: Effect.withTracer(tracer) }
}

const traceOf = (id: string) =>
  Effect.map(
    Datastore.get(Key.child(recipient.key, "dsset.Item", id)),
    (found) => found._tag === "Some" ? found.value.properties["Trace"] : undefined
  )

describe("spans", () => {
  it.effect("are one for a batch and one per operation, and none per event", () =>
    Effect.gen(function*() {
      const tracer = tracing()
      yield* Eventbox.emitAll(Journal, recipient, Array.from({ length: 50 }, () => "x"))

      yield* tracer.with(process)
      yield* settle

      assert.deepStrictEqual(
        tracer.seen.map(({ name }) => name).toSorted(),
        ["Datastore.commit", "DsSet.list", "Eventbox.processBatch"]
      )
      const [span] = tracer.named("Eventbox.processBatch")
      assert.strictEqual(span!.attributes.get("eventbox.recipient"), "Journal,\"secret id\"")
      const [commit] = tracer.named("Datastore.commit")
      assert.strictEqual(commit!.kind, "client")
      assert.deepStrictEqual(
        [commit!.attributes.get("datastore.mutations"), commit!.attributes.get("datastore.expected")],
        [52, 52]
      )
    }).pipe(isolated, Effect.provide(world)))

  it.effect("of a batch are linked to those that emitted its events, each once", () =>
    Effect.gen(function*() {
      const tracer = tracing()
      const sender = (name: string, values: ReadonlyArray<string>) => Effect.withSpan(emit(values, recipient), name)

      yield* tracer.with(Effect.andThen(sender("one", ["a", "b", "c"]), sender("two", ["d"])))
      yield* emit(["without a span"], recipient)
      yield* tracer.with(process)

      const [span] = tracer.named("Eventbox.processBatch")
      const senders = [...tracer.named("one"), ...tracer.named("two")]
      assert.deepStrictEqual(
        span!.links.map((link) => [link.span.traceId, link.span.spanId]),
        senders.map(({ spanId, traceId }) => [traceId, spanId])
      )
    }).pipe(isolated, Effect.provide(world)))

  it.effect("of a batch are linked also when it finds nothing to do, or fails", () =>
    Effect.gen(function*() {
      const tracer = tracing()
      yield* tracer.with(Effect.withSpan(emit(["a"], recipient), "sender"))

      yield* tracer.with(batch.pipe(withJournal(() => ({ transitions: [] }))))
      yield* tracer.with(Effect.flip(batch.pipe(withMock({ prepareMutation: () => new Refused({ why: "no" }) }))))

      assert.deepStrictEqual(tracer.named("Eventbox.processBatch").map(({ links }) => links.length), [1, 1])
    }).pipe(isolated, Effect.provide(world)))

  it.effect("of a batch have 128 links at most", () =>
    Effect.gen(function*() {
      const tracer = tracing()
      for (let n = 0; n < 140; n++) yield* tracer.with(Effect.withSpan(emit(["x"], recipient), "sender"))

      yield* tracer.with(process)

      assert.lengthOf(tracer.named("Eventbox.processBatch")[0]!.links, 128)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("are stored with an event as a traceparent", () =>
    Effect.gen(function*() {
      const tracer = tracing()

      const [id] = yield* tracer.with(Effect.withSpan(emit(["a"], recipient), "sender"))

      const [span] = tracer.named("sender")
      assert.strictEqual(yield* traceOf(id!), `00-${span!.traceId}-${span!.spanId}-01`)
    }).pipe(isolated, Effect.provide(world)))

  it.effect("are not stored when no tracer is installed that could show them, or when they are not sampled", () =>
    Effect.gen(function*() {
      const tracer = tracing()
      const [native] = yield* Effect.withSpan(emit(["a"], recipient), "sender")
      const [unsampled] = yield* tracer.with(Effect.withSpan(emit(["b"], recipient), "sender", { sampled: false }))
      const [none] = yield* tracer.with(emit(["c"], recipient))
      const odd = Tracer.externalSpan({ traceId: "not hexadecimal", spanId: "1" })
      const [strange] = yield* tracer.with(Effect.withParentSpan(emit(["d"], recipient), odd))

      for (const id of [native, unsampled, none, strange]) assert.isUndefined(yield* traceOf(id!))
    }).pipe(isolated, Effect.provide(world)))
})
