import { Effect, Option, Schema } from "effect"
import type { Backend, Snapshot } from "../../src/Backend.ts"
import { mutationKey } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import { settle } from "./settle.ts"

/** A box that counts its events, and adds up their numbers: what is lost or doubled shows in one of the two. */
export class Counter extends Processor.Service<Counter>()("test/Counter", {
  kind: "Counter",
  state: Schema.Struct({ count: Schema.Int, sum: Schema.Int }),
  event: Schema.Int
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => ({ count: 0, sum: 0 }),
    prepareMutation: (events, { count, sum }) =>
      Effect.succeed({
        transitions: [{
          events,
          transitionTo: {
            count: count + events.length,
            sum: events.reduce((total, { value }) => total + value, sum)
          }
        }]
      })
  }))
}

/** The recipient that all events go to. */
export const counter = Counter.recipient("hot")

/** What went to and fro, and the largest entities that were written. */
export interface Metered {
  /** Bytes of all that was read and written but the events themselves. */
  overheadBytes: number
  eventBytes: number
  largestHeadBytes: number
  largestBytes: number
}

const nothing = (): Metered => ({ overheadBytes: 0, eventBytes: 0, largestHeadBytes: 0, largestBytes: 0 })

/** A store in memory behind a meter. */
export const makeMetered = Effect.gen(function*() {
  const store = yield* InMemory.makeStore
  let metered = nothing()
  const count = (entity: Entity.Entity): number => {
    const bytes = Entity.sizeBytes(entity)
    if (entity.key.kind === "dsset.Item") metered.eventBytes += bytes
    else metered.overheadBytes += bytes
    return bytes
  }
  const read = (snapshots: ReadonlyArray<Snapshot>): void => {
    for (const { entity } of snapshots) if (Option.isSome(entity)) count(entity.value)
  }
  const backend: Backend = {
    ...store.backend,
    lookup: (keys) => Effect.tap(store.backend.lookup(keys), (found) => Effect.sync(() => read(found))),
    query: (query) => Effect.tap(store.backend.query(query), ({ results }) => Effect.sync(() => read(results))),
    commit: (request) =>
      Effect.tap(store.backend.commit(request), () =>
        Effect.sync(() => {
          for (const mutation of request.mutations) {
            if (mutation._tag === "Delete") continue
            const bytes = count(mutation.entity)
            metered.largestBytes = Math.max(metered.largestBytes, bytes)
            if (mutationKey(mutation).kind === "dsset.Tombstones") {
              metered.largestHeadBytes = Math.max(metered.largestHeadBytes, bytes)
            }
          }
        }))
  }
  const take = Effect.sync(() => {
    const taken = metered
    metered = nothing()
    return taken
  })
  return { datastore: yield* Datastore.make(backend), take }
})

/** Emits so many events and processes them in batches; `first` is the number of the first. */
export const second = (first: number, events: number, maxEvents: number) =>
  Effect.gen(function*() {
    for (let from = 0; from < events; from += maxEvents) {
      const values = Array.from({ length: Math.min(maxEvents, events - from) }, (_, n) => first + from + n)
      yield* Eventbox.emitAll(Counter, counter, values)
      yield* Eventbox.process(Counter, counter, { maxEvents })
      // The deletes of one batch end before the next one, as they do at this rate.
      yield* settle
    }
  })
