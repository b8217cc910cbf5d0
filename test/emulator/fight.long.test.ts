/**
 * Many workers on one recipient at the same time, each with a client, a connection and a memory of its own.
 */
import { assert } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import type { ContentionError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import { client, countBy, freshProjectId, sorted, storedIds, untilItLands, upTo } from "../utils/emuClients.ts"
import { onEmulator } from "../utils/emulator.ts"

const projectId = freshProjectId()

/** What a fight is over: a list of numbers that grows with the events of one sort, and is kept by the other sort. */
class Arena extends Processor.Service<Arena>()("test/Arena", {
  kind: "Arena",
  state: Schema.Array(Schema.Int),
  event: Schema.Struct({ n: Schema.Int, changes: Schema.Boolean })
}) {}

/** Hears of every event of the arena, from its side effects. */
class Echo extends Processor.Service<Echo>()("test/Echo", {
  kind: "Echo",
  state: Schema.Array(Schema.Int),
  event: Schema.Int
}) {}

const arena = Arena.recipient("arena")
const echo = Echo.recipient("echo")

/** Batches and post-process effects that landed, and how commits ended that did not. */
interface Tally {
  readonly contention: Array<ContentionError["reason"]["_tag"]>
  readonly afterwards: Array<number>
  changingBatches: number
  keepingBatches: number
}

const processors = (tally: Tally) =>
  Arena.toLayer(Arena.entity({
    initial: () => [],
    prepareMutation: (events, state) => {
      // A batch changes the state or keeps it: a changed state would reveal a second pop that the set has let through.
      const changes = events[0]?.value.changes === true
      const mine = events.filter(({ value }) => value.changes === changes)
      return Effect.succeed({
        transitions: mine.map((event, index) => ({
          events: [event],
          transitionTo: changes ? [...state, ...mine.slice(0, index + 1).map(({ value }) => value.n)] : state,
          // Without an id: a second one would be heard.
          sideEffect: Eventbox.emit(Echo, echo, event.value.n),
          postProcess: Effect.sync(() => {
            if (index === 0) tally[changes ? "changingBatches" : "keepingBatches"]++
            tally.afterwards.push(event.value.n)
          })
        }))
      })
    }
  }))

const hearing = Echo.toLayer(Echo.entity({
  initial: () => [],
  prepareMutation: (events, state) =>
    Effect.succeed({ transitions: [{ events, transitionTo: [...state, ...events.map(({ value }) => value)] }] })
}))

const numbersOf = (key: Key.Key) =>
  Effect.map(
    Datastore.get(key),
    (found) => JSON.parse(String(Option.getOrUndefined(found)?.properties["State"] ?? "[]")) as ReadonlyArray<number>
  )

onEmulator("a fight of 8 workers over one recipient, and of 2 over another", (it) => {
  // A worker takes 15 events of which it consumes one sort, so that listings are cut off and leave something behind.
  it.effect("consumes every event exactly once, and no commit is aborted", () =>
    Effect.gen(function*() {
      const [emitters, perEmitter] = [4, 60]
      const all = upTo(emitters * perEmitter)
      const tally: Tally = { contention: [], afterwards: [], changingBatches: 0, keepingBatches: 0 }
      const onContention = (reason: ContentionError["reason"]["_tag"]) => {
        tally.contention.push(reason)
      }
      const newClient = () => client(projectId, { onContention })
      let [emitting, fighting] = [emitters, 8]
      const emitter = (first: number) =>
        Effect.forEach(all.filter((n) => n % emitters === first), (n) => {
          const emit = Eventbox.emit(Arena, arena, { n, changes: n % 3 !== 0 }, { id: `e${n}` })
          // Every fifth event is emitted again at once, which may be before or after its consumption.
          return n % 5 === 0 ? Effect.andThen(emit, emit) : emit
        }).pipe(Effect.ensuring(Effect.sync(() => emitting--)))
      const fighter = Effect.gen(function*() {
        while (true) {
          const isLast = emitting === 0
          const batch = yield* untilItLands(Eventbox.processBatch(Arena, arena, { maxEvents: 15 }))
          for (const effect of batch.postProcess) yield* effect
          if (isLast && batch.transitions === 0 && !batch.truncated) return
        }
      }).pipe(Effect.ensuring(Effect.sync(() => fighting--)))
      const listener = Effect.gen(function*() {
        while (true) {
          const isLast = fighting === 0
          const batch = yield* untilItLands(Eventbox.processBatch(Echo, echo))
          if (isLast && batch.consumed === 0 && !batch.truncated) return
          yield* Effect.sleep("5 millis")
        }
      })

      yield* Effect.all([
        ...upTo(emitters).map((first) => Effect.provide(emitter(first), newClient())),
        ...upTo(8).map(() => Effect.provide(fighter, newClient())),
        ...upTo(2).map(() => Effect.provide(listener, newClient()))
      ], { concurrency: "unbounded", discard: true }).pipe(Effect.provide([processors(tally), hearing]))

      assert.deepStrictEqual(sorted(yield* numbersOf(arena.key)), all.filter((n) => n % 3 !== 0))
      assert.deepStrictEqual(sorted(yield* numbersOf(echo.key)), all)
      assert.deepStrictEqual(sorted(tally.afterwards), all)
      const version = Option.getOrThrow(yield* Datastore.get(arena.key)).properties["EVersion"]
      assert.strictEqual(version, tally.changingBatches)
      assert.deepStrictEqual([yield* storedIds(arena.key), yield* storedIds(echo.key)], [[], []])
      // It was a fight, of both sorts.
      assert.isAbove(tally.keepingBatches, 5)
      assert.isAbove(tally.changingBatches, 5)
      assert.deepStrictEqual(Object.keys(countBy(tally.contention)), ["EntityChanged"])
      assert.isAbove(tally.contention.length, 10)
    }), 60_000)
}, { projectId })

onEmulator("a set", (it) => {
  // Source of the fact: luci-go dsset_test.go, TestStress. Every producer adds the same items.
  it.effect("of 100 items, filled by 3 producers, gives each to one of 5 consumers, once", () =>
    Effect.gen(function*() {
      const set = DsSet.make({ parent: Key.make("Parent", "parent") })
      const consumed: Array<string> = []
      let [producing, lost] = [3, 0]
      const newClient = () => client(projectId, { onContention: () => lost++ })
      const addOne = (n: number) => DsSet.add(set, [{ id: String(n), value: new Uint8Array([n]) }])
      const producer = Effect.forEach(upTo(100), addOne).pipe(Effect.ensuring(Effect.sync(() => producing--)))
      const popAll = (listing: DsSet.Listing) =>
        Datastore.withTransaction(Effect.gen(function*() {
          const op = yield* DsSet.beginPop(set, listing)
          const popped = listing.items.filter(({ id }) => op.pop(id))
          yield* DsSet.finishPop(op)
          return popped
        }))
      const consumer = Effect.gen(function*() {
        while (true) {
          const isLast = producing === 0
          const popped = yield* untilItLands(Effect.gen(function*() {
            const listing = yield* DsSet.list(set, { maxItems: 100_000 })
            yield* DsSet.cleanupGarbage(listing.garbage)
            return listing.items.length === 0 ? [] : yield* popAll(listing)
          }))
          consumed.push(...popped.map(({ id }) => id))
          if (isLast && popped.length === 0) return
        }
      })

      yield* Effect.all([
        ...upTo(3).map(() => Effect.provide(producer, newClient())),
        ...upTo(5).map(() => Effect.provide(consumer, newClient()))
      ], { concurrency: "unbounded", discard: true })

      assert.deepStrictEqual(sorted(consumed.map(Number)), upTo(100))
      assert.isAbove(lost, 5)
    }))
}, { projectId })

onEmulator("transactions", (it) => {
  it.effect("of 8 fibers that increment one counter lose no increment", () =>
    Effect.gen(function*() {
      const key = Key.make("Counter", "contended")
      const contention: Array<string> = []
      const increment = Effect.gen(function*() {
        const before = Option.getOrUndefined(yield* Datastore.get(key))?.properties["n"] ?? 0
        yield* Datastore.put([Entity.make(key, { n: Number(before) + 1 })])
      })

      yield* Effect.forEach(
        upTo(8),
        () => Effect.repeat(untilItLands(Datastore.withTransaction(increment)), { times: 9 }),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.provide(client(projectId, { onContention: (reason) => contention.push(reason) })))

      assert.deepStrictEqual(Option.getOrUndefined(yield* Datastore.get(key))?.properties, { n: 80 })
      assert.deepStrictEqual(Object.keys(countBy(contention)), ["EntityChanged"])
    }))
}, { projectId })
