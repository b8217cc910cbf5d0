import { Effect, Layer, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import { Faulty, Recorder } from "../../src/testing/index.ts"
import { Refused } from "./boxJournal.ts"

/** Ways in which an event can be bad; an event whose value begins with one of these words is. */
export const poisons = ["refused", "defect", "thrown", "side", "large", "garbled"] as const
export type Poison = (typeof poisons)[number]

/** What the failure of an event must say, by its way. */
export const says: { readonly [K in Poison]: string } = {
  refused: "test/Refused",
  defect: "a defect",
  thrown: "thrown",
  side: "test/Refused",
  large: "the commit is too large",
  garbled: "does not decode"
}

/** A box whose state is the list of all good values that it has consumed. */
export class Poisoned extends Processor.Service<Poisoned>()("test/Poisoned", {
  kind: "Poisoned",
  state: Schema.Array(Schema.String),
  event: Schema.String,
  error: Refused
}) {}

export const box = Poisoned.recipient("p")

export type Events = ReadonlyArray<Processor.Event<string>>

const commitBytes = 100_000
const tooMuch = Datastore.put([
  Entity.make(Key.make("Large", 1), { text: "x".repeat(commitBytes) }, { unindexed: "all" })
])

/** As `world` without gates, at whose end the clock goes on: for tests that make one store after the other. */
export const quietWorld = Recorder.layer.pipe(
  Layer.provideMerge(Faulty.layer()),
  Layer.provideMerge(InMemory.layerControlled)
)

/** A database that takes small commits only, so that one that is too large is made quickly. */
export const poisonedWorld = Layer.effect(
  Datastore.Datastore,
  Effect.map(Datastore.Datastore, (datastore) => ({
    ...datastore,
    backend: { ...datastore.backend, limits: { commitBytes } }
  }))
).pipe(Layer.provideMerge(quietWorld))

/** Runs a call in a process of its own, that knows nothing of earlier ones. */
export const oneShot = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const { backend } = yield* Datastore.Datastore
    const alone = yield* Datastore.make(backend)
    return yield* Effect.provideService(call, Datastore.Datastore, alone)
  })

const isBad = (value: string, way: Poison): boolean => value.startsWith(way)

const sideEffectOf = (value: string) =>
  isBad(value, "side") ? new Refused({ why: "in a side effect" }) : isBad(value, "large") ? tooMuch : undefined

/** Consumes all events, each by a transition of its own; tells `onBatch` what it is asked about. */
export const processorOf = (onBatch: (values: ReadonlyArray<string>) => void = () => {}) =>
  Poisoned.entity({
    initial: () => [],
    prepareMutation: (events, state) => {
      const values = events.map(({ value }) => value)
      onBatch(values)
      if (values.some((value) => isBad(value, "thrown"))) throw new TypeError("thrown")
      return Effect.gen(function*() {
        if (values.some((value) => isBad(value, "refused"))) return yield* new Refused({ why: "refused it" })
        if (values.some((value) => isBad(value, "defect"))) return yield* Effect.die(new Error("a defect"))
        return {
          transitions: events.map((event, index) => ({
            events: [event],
            transitionTo: [...state, ...values.slice(0, index + 1)],
            sideEffect: sideEffectOf(event.value)
          }))
        }
      })
    }
  })

export const withPoisoned = (onBatch?: (values: ReadonlyArray<string>) => void) =>
  Effect.provideServiceEffect(Poisoned, processorOf(onBatch))

/** Emits values under ids that keep their order; a garbled one is stored as what does not decode. */
export const fill = (values: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const idOf = (index: number) => `e${String(index).padStart(5, "0")}`
    const garbled = values.flatMap((value, index) =>
      isBad(value, "garbled") ? [{ id: idOf(index), value: new TextEncoder().encode("7"), atMillis: 0 }] : []
    )
    yield* DsSet.add(DsSet.make({ parent: box.key }), garbled)
    const ids = new Map(values.map((value, index) => [value, idOf(index)]))
    const decodable = values.filter((value) => !isBad(value, "garbled"))
    yield* Eventbox.emitAll(Poisoned, box, decodable, { id: (value) => ids.get(value)! })
    return ids
  })

/** The values that the state holds. */
export const consumed = Effect.gen(function*() {
  return (yield* Eventbox.loadState(Poisoned, box)).state
}).pipe(withPoisoned())

/** Ids of what waits. */
export const waiting = Effect.map(
  DsSet.list(DsSet.make({ parent: box.key }), { maxItems: 10_000, range: { after: undefined, upTo: undefined } }),
  ({ items }) => items.map(({ id }) => id)
)
