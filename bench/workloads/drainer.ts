/**
 * Workers of one recipient: each processes batches until the entity has counted all events.
 */
import { Effect, Exit, Ref } from "effect"
import { type Datastore, Eventbox, type EventboxError, type Processor } from "effect-eventbox"
import { Counter, ticks } from "./counter.ts"

/** What workers did. */
export interface Drained {
  /** Batches that landed. */
  readonly batches: number
  /** Batches that another worker won. */
  readonly contended: number
  /** Batches that found nothing to do. */
  readonly idle: number
}

/** What two workers did together. */
export const addDrained = (self: Drained, that: Drained): Drained => ({
  batches: self.batches + that.batches,
  contended: self.contended + that.contended,
  idle: self.idle + that.idle
})

/** What workers and senders of one recipient do. */
export interface HotLoad {
  readonly workers: number
  readonly maxEvents: number
  /** Half of them are there when the workers start, and half come while they work. */
  readonly events: number
  readonly senders: number
  /** Events that a sender has in one commit. */
  readonly eventsPerEmit: number
}

/** Emits the events number `from` to `to - 1`, with so many senders at a time. */
export const emitByMany = (
  recipient: Processor.Recipient<Counter>,
  { eventsPerEmit, senders }: Pick<HotLoad, "eventsPerEmit" | "senders">,
  from: number,
  to: number
) =>
  Effect.forEach(
    Array.from({ length: Math.ceil((to - from) / eventsPerEmit) }, (_, index) => from + index * eventsPerEmit),
    (at) => Eventbox.emitAll(Counter, recipient, ticks(at, Math.min(eventsPerEmit, to - at))),
    { concurrency: senders, discard: true }
  )

/** Whether so many events are counted. */
export const hasCounted = (recipient: Processor.Recipient<Counter>, events: number) =>
  Effect.flatMap(Counter, (counter) => counter.loadState(recipient)).pipe(
    Effect.map(({ state }) => state.count >= events),
    Effect.orDie
  )

/** How the workers of a process go about it: taking turns, as `process` does, or each for itself. */
export type Manner = "turns" | "fight"

type Failure =
  | EventboxError.ContentionError
  | EventboxError.EventDecodeError
  | EventboxError.MailboxOwned
  | EventboxError.StoreError
  | Eventbox.EventFailed<never>

/** Runs workers until `done`, which they ask after each batch that found nothing. */
export const drainers = (options: {
  readonly recipient: Processor.Recipient<Counter>
  readonly workers: number
  readonly maxEvents: number
  readonly manner: Manner
  readonly done: Effect.Effect<boolean>
}) =>
  Effect.gen(function*() {
    const { done, manner, maxEvents, recipient, workers } = options
    const counted = yield* Ref.make<Drained>({ batches: 0, contended: 0, idle: 0 })
    const add = (what: Partial<Drained>) =>
      Ref.update(counted, (before) => ({
        batches: before.batches + (what.batches ?? 0),
        contended: before.contended + (what.contended ?? 0),
        idle: before.idle + (what.idle ?? 0)
      }))
    const batch: Effect.Effect<number, Failure, Counter | Datastore.Datastore> = manner === "turns"
      ? Effect.flatMap(Eventbox.process(Counter, recipient, { maxEvents }), ({ batches, retries }) =>
        Effect.as(add({ batches, contended: retries, idle: batches === 0 ? 1 : 0 }), batches))
      : Eventbox.processBatch(Counter, recipient, { maxEvents }).pipe(
        Effect.flatMap(({ transitions }) =>
          Effect.as(add(transitions > 0 ? { batches: 1 } : { idle: 1 }), transitions)
        )
      )
    const attempt = Effect.catchTag(
      batch,
      "ContentionError",
      (_: EventboxError.ContentionError) => Effect.andThen(add({ contended: 1 }), pause)
    )
    const worker = Effect.gen(function*() {
      while (true) {
        if ((yield* attempt) === 0 && (yield* done)) return
      }
    })
    const exit = yield* Effect.exit(Effect.forEach(Array.from({ length: workers }), () => worker, {
      concurrency: "unbounded",
      discard: true
    }))
    if (Exit.isFailure(exit)) return yield* Effect.failCause(exit.cause)
    return yield* Ref.get(counted)
  })

/** A jittered pause, as a caller of `processBatch` is told to make one. */
const pause = Effect.flatMap(
  Effect.sync(() => 5 + 20 * Math.random()),
  (millis) => Effect.as(Effect.sleep(millis), 1)
)
