import { assert } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Ids from "../../src/Ids.ts"
import type * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { settle } from "./settle.ts"

export { settle }

/** What keeps operations from going on. */
class Gates extends Context.Service<Gates, Set<Deferred.Deferred<void>>>()("test/Gates") {
  /** At the end of a test, whether or not it succeeded, gates open and sleeps end, so that its layers can close. */
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const end = yield* End
      return yield* Effect.acquireRelease(
        Effect.sync(() => new Set<Deferred.Deferred<void>>()),
        (gates) =>
          Effect.forEach(gates, (gate) => Deferred.succeed(gate, undefined)).pipe(
            Effect.andThen(
              Effect.repeat(Effect.andThen(settle, TestClock.adjust("1 minute")), { until: () => end.hasCome })
            ),
            Effect.forkDetach
          )
      )
    })
  )
}

/** Whether all layers of a world have closed. */
class End extends Context.Service<End, { hasCome: boolean }>()("test/End") {
  static readonly layer = Layer.effect(
    this,
    Effect.acquireRelease(Effect.sync((): typeof End.Service => ({ hasCome: false })), (end) =>
      Effect.sync(() => {
        end.hasCome = true
      }))
  )
}

/** A gate that is shut, until it is opened or the test ends. */
export const makeGate = Effect.gen(function*() {
  const gate = yield* Deferred.make<void>()
  ;(yield* Gates).add(gate)
  return { wait: Deferred.await(gate), open: Effect.asVoid(Deferred.succeed(gate, undefined)) }
})

/** A store in memory behind faults that are asked for by name, with a record of what reaches them. */
export const world = Gates.layer.pipe(
  Layer.provideMerge(Recorder.layer),
  Layer.provideMerge(Faulty.layer()),
  Layer.provideMerge(InMemory.layerControlled),
  Layer.provideMerge(Layer.effect(Ids.Ids, Random.withSeed(Ids.makeSeeded, "boxWorld"))),
  Layer.provideMerge(End.layer)
)

/** Runs an effect while the clock goes on, a quarter of a second at a time, for five minutes at most. */
export const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    for (let n = 0; n < 1_200; n++) {
      yield* settle
      if (fiber.pollUnsafe() !== undefined) break
      yield* TestClock.adjust("250 millis")
    }
    return yield* Fiber.join(fiber)
  })

/** Another process over the same store: without faults, unrecorded, with a memory of its own. */
export const otherProcess = Effect.flatMap(InMemory.InMemory, (store) => Datastore.make(store.backend))

/** The message of the defect that an effect must die with. */
export const defectOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<string, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const defects = Exit.isFailure(exit) ? exit.cause.reasons.filter(Cause.isDieReason) : []
    assert.isAtLeast(defects.length, 1, `should have died, but ended with ${String(exit)}`)
    const [{ defect }] = defects as [Cause.Die]
    return defect instanceof Error ? defect.message : String(defect)
  })

/** An entity with one unindexed property. */
export const entity = (key: Key.Key, n: Entity.Value): Entity.Entity => Entity.make(key, { n }, { unindexed: "all" })

/** The property that `entity` wrote, `undefined` when there is no entity. */
export const read = (key: Key.Key) =>
  Effect.map(Datastore.get(key), (found) => found._tag === "None" ? undefined : found.value.properties["n"])

/** Whether a commit writes the tombstones of a set: a pop or a fence. */
export const writesHead = (call: Recorder.Call): boolean =>
  call.operation === "commit" && Recorder.keysOf(call).some(({ kind }) => kind === "dsset.Tombstones")

/** Whether a call is about items of sets only, as the deletes in the background are. */
export const isAboutItems = (call: Recorder.Call): boolean => {
  const kinds = Recorder.kindsOf(call)
  return kinds.length === 1 && kinds[0] === "dsset.Item"
}

/** How many items are stored below a key, whether or not they are visible. */
export const storedItems = (parent: Key.Key) =>
  Effect.map(
    Datastore.query({ kind: "dsset.Item", ancestor: parent, keysOnly: true }),
    ({ results }) => results.map(({ key }) => String(key.id))
  )

/** Operations of a report by name, such as `["query", "lookup", "commit"]`. */
export const operationsOf = (report: Recorder.Report): ReadonlyArray<string> =>
  report.operations.map(({ call }) => call.operation)
