/**
 * No mailbox: one optimistic transaction of `Datastore.withTransaction` per event, one after the other.
 */
import { Effect, Option } from "effect"
import { Datastore, Entity } from "effect-eventbox"
import type { Sample } from "../measure.ts"
import { checkTotal, Counter, readTotal, ticks } from "./counter.ts"
import { type Bed, measured } from "./mailbox.ts"

/** One sample of `events` transactions on one entity, its result checked. */
export const direct = <E>(open: Effect.Effect<Bed, E>, events: number) =>
  Effect.gen(function*() {
    const bed = yield* open
    const recipient = Counter.recipient("direct")
    const work = Effect.forEach(
      ticks(0, events),
      ({ amount }) =>
        Datastore.withTransaction(Effect.flatMap(Datastore.get(recipient.key), (found) => {
          const before = Option.getOrUndefined(found)?.properties
          const count = Number(before?.["count"] ?? 0) + 1
          const sum = Number(before?.["sum"] ?? 0) + amount
          return Datastore.put([Entity.make(recipient.key, { count, sum }, { unindexed: "all" })])
        })),
      { discard: true }
    )
    const [, taken] = yield* measured(bed, work)
    const found = yield* Effect.provide(readTotal(recipient), bed.layer)
    const total = yield* checkTotal(recipient.key.toString(), found, events)
    const sample: Sample = { events, batches: events, total, ...taken }
    return sample
  })
