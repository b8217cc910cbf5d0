import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, References } from "effect"
import type { Backend, CommitRequest } from "../../src/Backend.ts"
import { mutationKey } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { DatastoreError, OutcomeUnknown } from "../../src/EventboxError.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { emit, Journal, journal, saved, withJournal } from "../utils/boxJournal.ts"
import { makeClock } from "../utils/fairWorld.ts"

/** Minutes by which a clock is off, where the window has five. */
const off = (minutes: number) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Clock.clockWith((clock) => {
    const millis = minutes * 60_000
    const now = () => clock.currentTimeMillisUnsafe() + millis
    const nanos = () => clock.currentTimeNanosUnsafe() + BigInt(millis) * BigInt(1_000_000)
    return Effect.provideService(effect, Clock.Clock, {
      sleep: (duration) => clock.sleep(duration),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      currentTimeMillisUnsafe: now,
      currentTimeMillis: Effect.sync(now),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos)
    })
  })

const processOf = (backend: Backend) =>
  Effect.map(Datastore.make(backend), (datastore) => Effect.provideService(Datastore.Datastore, datastore))

const work = withJournal()(Eventbox.process(Journal, journal))

const isBatch = ({ mutations }: CommitRequest) => mutations.some((one) => mutationKey(one).kind === "dsset.Tombstones")

const unknown = new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail: "lost" }) })

/** Lands the first commit that is meant, runs something, and loses the response. */
const losing = (
  backend: Backend,
  isMeant: (request: CommitRequest) => boolean,
  meanwhile: Effect.Effect<unknown, unknown>
): Backend => {
  let isOver = false
  return {
    ...backend,
    commit: (request) =>
      Effect.suspend(() => {
        if (isOver || !isMeant(request)) return backend.commit(request)
        isOver = true
        return backend.commit(request).pipe(
          Effect.andThen(Effect.ignore(meanwhile)),
          Effect.andThen(Effect.fail(unknown))
        )
      })
  }
}

const inFiveMinutes = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.provideService(Eventbox.TombstonesDelay, Duration.minutes(5)),
    Effect.provideService(Clock.Clock, makeClock().clock)
  )

describe("clocks that are off", () => {
  for (const minutes of [-600, -6, 6, 600]) {
    it.effect(`an event of an emitter whose clock is off by ${minutes} minutes is consumed once`, () =>
      Effect.gen(function*() {
        const { backend } = yield* InMemory.makeStore
        const [one, two] = [yield* processOf(backend), yield* processOf(backend)]

        yield* one(off(minutes)(emit(["a"])))
        const first = yield* one(work)
        const second = yield* two(off(6)(work))

        assert.deepStrictEqual([first.consumed, second.consumed], [1, 0])
        assert.deepStrictEqual(yield* two(saved()), { state: ["a"], eversion: 1 })
      }).pipe(inFiveMinutes))
  }

  // The emit is tried again once it was consumed. Kills: the time of a tombstone that is the worker's clock alone.
  for (const minutes of [-600, -6, 0, 4, 6, 9]) {
    it.effect(`one emit whose response was lost is one event, with its clock off by ${minutes} minutes`, () =>
      Effect.gen(function*() {
        const { backend } = yield* InMemory.makeStore
        const worker = yield* processOf(backend)
        const clock = yield* Clock.Clock
        const emitter = yield* processOf(
          losing(backend, () => true, Effect.provideService(worker(work), Clock.Clock, clock))
        )

        yield* emitter(off(minutes)(emit(["a"])))
        const again = yield* worker(work)

        assert.strictEqual(again.consumed, 0)
        assert.deepStrictEqual(yield* worker(saved()), { state: ["a"], eversion: 1 })
        assert.deepStrictEqual(yield* worker(Eventbox.list(Journal, journal)), [])
      }).pipe(inFiveMinutes))
  }

  // Kills: a token that is erased because a clock says that it is old.
  it.effect("a batch that landed is told so, although a worker far ahead was busy meanwhile", () =>
    Effect.gen(function*() {
      const { backend } = yield* InMemory.makeStore
      const ahead = yield* processOf(backend)
      const busy = Effect.forEach(Array.from({ length: 30 }), (_, n) => ahead(Effect.andThen(emit([`b${n}`]), work)))
      const context = yield* Effect.context<never>()
      // Another process, not a batch inside this one.
      const elsewhere = Effect.promise(() => Effect.runPromiseWith(context)(off(600)(busy)))
      const worker = yield* processOf(losing(backend, isBatch, elsewhere))

      yield* worker(emit(["a"]))
      const { consumed } = yield* withJournal()(worker(Eventbox.processBatch(Journal, journal)))

      assert.strictEqual(consumed, 1)
      const { state } = (yield* worker(saved()))!
      assert.deepStrictEqual(state.filter((value) => value === "a"), ["a"])
    }).pipe(inFiveMinutes, Effect.provideService(References.MinimumLogLevel, "None")))
})
