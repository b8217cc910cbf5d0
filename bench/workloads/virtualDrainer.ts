/**
 * Workers of one recipient that share nothing but the database, as processes do, in virtual time: each has a layer of
 * its own, and every operation takes what it takes on a service. So what is seen is how they disturb each other, and
 * not how many cores there are.
 */
import { Clock, Effect, Fiber, Layer, Random } from "effect"
import { type Backend, Datastore, Ids } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { TestClock } from "effect/testing"
import { checkMailboxes, Counter } from "./counter.ts"
import type { Latency } from "./deepStore.ts"
import { addDrained, drainers, emitByMany, hasCounted, type HotLoad } from "./drainer.ts"

/** What is to be done, on which service. */
export interface VirtualLoad extends HotLoad {
  readonly latency: Latency
  readonly seed: string
}

/** Drains a recipient; `seconds` of virtual time from the first batch until the last event is counted. */
export const drainVirtual = (load: VirtualLoad) =>
  Effect.gen(function*() {
    // Times as long as they are today.
    yield* TestClock.setTime(1_764_000_000_000)
    const { events, latency, maxEvents, workers } = load
    const { backend } = yield* InMemory.makeStore
    const recipient = Counter.recipient("hot")
    const onService = layerOf(withLatency(backend, latency))
    const atOnce = layerOf(backend)
    yield* Effect.provide(emitByMany(recipient, load, 0, events / 2), atOnce)
    const counter = yield* Counter
    const isDone = hasCounted(recipient, events).pipe(Effect.provide(atOnce), Effect.provideService(Counter, counter))
    // Between two looks at an empty mailbox.
    const done = Effect.delay(isDone, 5)
    const worker = Effect.provide(drainers({ recipient, workers: 1, maxEvents, manner: "turns", done }), onService)
    const begin = yield* Clock.currentTimeMillis
    const team = yield* Effect.forkDetach(
      Effect.all([
        Effect.forEach(Array.from({ length: workers }), () => worker, { concurrency: "unbounded" }),
        Effect.provide(emitByMany(recipient, load, events / 2, events), onService)
      ], { concurrency: "unbounded" })
    )
    let end: number | undefined
    while (team.pollUnsafe() === undefined) {
      if (end === undefined && (yield* isDone)) end = yield* Clock.currentTimeMillis
      yield* TestClock.adjust(1)
    }
    const [drained] = yield* Fiber.join(team)
    const total = yield* Effect.provide(checkMailboxes([recipient], events), atOnce)
    return {
      seconds: ((end ?? (yield* Clock.currentTimeMillis)) - begin) / 1_000,
      drained: drained.reduce(addDrained),
      total
    }
  }).pipe(
    Random.withSeed(load.seed),
    Effect.provideServiceEffect(Ids.Ids, Ids.makeSeeded),
    Effect.provide([Counter.layer, TestClock.layer()])
  )

/** A layer that shares nothing with others of the same database, however often it is provided. */
const layerOf = (database: Backend.Backend) => Layer.fresh(Datastore.layer(Effect.succeed(database)))

/** One way to the database or back. */
const way = (millis: number): Effect.Effect<void> =>
  Effect.flatMap(Random.nextBetween(0.5, 1.5), (jitter) => Effect.sleep(millis / 2 * jitter))

/** Half of the time passes before an operation takes place, and half after it; each half is jittered. */
const taking = <A, E>(millis: number, operation: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  way(millis).pipe(Effect.andThen(operation), Effect.exit, Effect.tap(way(millis)), Effect.flatten)

const withLatency = (backend: Backend.Backend, { commit, lookup, query }: Latency): Backend.Backend => ({
  lookup: (keys) => taking(lookup, backend.lookup(keys)),
  query: (request) => taking(query, backend.query(request)),
  commit: (request) => taking(commit, backend.commit(request)),
  limits: backend.limits
})
