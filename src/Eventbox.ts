/**
 * Batches incoming events for single entities: anyone emits events to a recipient, its processor consumes them in
 * batches, and each batch lands with its state and side effects in one commit, or not at all.
 *
 * For every recipient:
 *
 * - **P1** an event whose emit succeeded is listed until a committed batch consumes it or a processor declares it
 *   garbage.
 * - **P2** at most one committed batch consumes an event.
 * - **P3** emitting the same id again within `TombstonesDelay` of its consumption does not make it consumed twice.
 * - **P4** a lost race is a `ContentionError` with nothing written; no lock is held, so no worker blocks another.
 * - **P5** when the response of a commit is lost, the library finds out whether it landed.
 * - **P6** a batch costs two network round trips before its result.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Datastore } from "./Datastore.ts"
import { make as makeSet } from "./DsSet.ts"
import { cursorOf, listAll } from "./dsset/list.ts"
import { isAtStart } from "./dsset/sweep.ts"
import { implementationOf, runBatch } from "./eventbox/batch.ts"
import { asEffect, checkAddress } from "./eventbox/callbacks.ts"
import { addSummaries, cycle, emptySummary, maxFailuresOf } from "./eventbox/cycle.ts"
import { decodeItems, oldestFirst } from "./eventbox/decoding.ts"
import { send } from "./eventbox/emit.ts"
import { type Course, isExhausted } from "./eventbox/isolation.ts"
import { handingOver, type Landing } from "./eventbox/landing.ts"
import { inBatch } from "./eventbox/mark.ts"
import { type BatchResult, defaultMaxEvents, type ProcessOptions, type Summary } from "./eventbox/model.ts"
import {
  type ContentionError,
  type DatastoreError,
  EventDecodeError,
  type EventRejected,
  type MailboxOwned,
  type StoreError
} from "./EventboxError.ts"
import { orNoText } from "./ground/foreign.ts"
import * as Transaction from "./ground/transaction.ts"
import { FromString } from "./Key.ts"
import type { Event, EVersion, Recipient, ServiceClass } from "./Processor.ts"

export { TombstonesDelay } from "./dsset/delay.ts"
export { type BatchResult, defaultRetry, type ProcessOptions, type Summary } from "./eventbox/model.ts"

/**
 * One event that failed alone, and why: `cause` is the failure or the defect of the processor, of a side effect, or of
 * the commit, or an `EventDecodeError`.
 *
 * @category errors
 * @since 0.1.0
 */
export interface EventFailure<out E = unknown> {
  readonly eventId: string
  readonly cause: Cause.Cause<E | EventDecodeError | StoreError>
}

const CauseSchema = Schema.Cause(Schema.Defect(), Schema.Defect())

/**
 * Events failed alone in {@link process} or {@link drain}, while all that can land without them has landed.
 *
 * **Details**
 *
 * `failures` has them all, in the order in which they failed; message, `eventId` and `cause` are of the first.
 * `summary` is what the call would have returned without them: its batches have landed, and their post-process effects
 * have run. The events stay stored, and the next call meets them again; but those that `Processor.failWithGarbage`
 * declared garbage are gone, and they are here when that failure is no other event's.
 *
 * The caller should see to these events: mend the processor or the schema, or remove them by id with `DsSet.remove`.
 * To carry on beside them, take `summary` for the result.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventFailed<out E = unknown>
  extends Schema.TaggedError<EventFailed<any>>("eventbox/EventFailed")("EventFailed", {
    recipient: FromString,
    /** At least one. */
    failures: Schema.Array(Schema.Struct({ eventId: Schema.String, cause: CauseSchema })),
    summary: Schema.Struct({
      batches: Schema.Int,
      consumed: Schema.Int,
      garbage: Schema.Int,
      transitions: Schema.Int,
      retries: Schema.Int,
      postProcessed: Schema.Int,
      postProcessFailures: Schema.Array(CauseSchema),
      truncated: Schema.Boolean,
      skipped: Schema.Boolean
    })
  })
{
  declare readonly failures: ReadonlyArray<EventFailure<E>>
  declare readonly summary: Summary<E>
  override readonly cause: unknown = firstOf(this)
  /** The event that failed first. */
  get eventId(): string {
    return this.failures[0]!.eventId
  }
  override get message(): string {
    const others = this.failures.length - 1
    const more = others === 0 ? "" : `; ${others} more failed alone`
    // That error names the event itself.
    if (this.cause instanceof EventDecodeError) return this.cause.message + more
    return `Event ${JSON.stringify(this.eventId)} of ${this.recipient} fails alone: ${causeText(this.cause)}${more}`
  }
  /** Never: all that can land without these events has landed. */
  get isRetryable(): boolean {
    return false
  }
}

const firstOf = ({ failures }: { readonly failures: ReadonlyArray<EventFailure> }): unknown =>
  Cause.squash(failures[0]!.cause)

const causeText = (cause: unknown): string =>
  orNoText(() => {
    const { _tag, message, name } = (typeof cause === "object" && cause !== null ? cause : {}) as Readonly<
      Record<string, unknown>
    >
    return typeof message === "string" && message !== "" ? message : String(name ?? _tag ?? cause)
  })

/**
 * Emits an event to a recipient, and returns its id.
 *
 * **Details**
 *
 * Inside a transaction the event exists if and only if the transaction commits. Outside it is one commit, which is
 * retried for about 30 seconds (a fifth of `TombstonesDelay` if that is less), never once half of `TombstonesDelay` has
 * passed, and is safe to retry, because the id and the time stay the same. `id` is an idempotency key of the caller, 1
 * to 1,500 bytes of UTF-8: emitting a pending id again replaces its value, and emitting it within `TombstonesDelay` of
 * its consumption changes nothing. Without it a UUIDv7 is drawn. Cost: 1 write.
 *
 * Fails with `EventRejected`, before anything is sent, when the value does not fit the schema, is larger than 900 KiB
 * with its key, or the id is not valid: fix it. Fails with `DatastoreError` when the commit failed after its retries;
 * after `OutcomeUnknown` the event may exist, and emitting it again with the same `id` is safe.
 *
 * Source: luci-go `cv/internal/common/eventbox`, `Emit`.
 *
 * @category sending
 * @since 0.1.0
 */
export const emit = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  value: NoInfer<A>,
  options?: { readonly id?: string | undefined }
): Effect.Effect<string, DatastoreError | EventRejected, Datastore> =>
  Effect.map(send(box, recipient, [{ value, id: options?.id }]), (ids) => ids[0]!)

/**
 * Emits many events to one recipient, and returns their ids in order.
 *
 * **Details**
 *
 * As {@link emit}. Outside a transaction the events are sent in commits of at most 500 and below the size limit of a
 * commit, each atomic by itself; all values are checked before the first is sent, and two with one id are refused. `id`
 * gives the idempotency key of each value; with it, a call that failed can be made again as a whole. Cost: 1 write per
 * event.
 *
 * @category sending
 * @since 0.1.0
 */
export const emitAll = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  values: ReadonlyArray<NoInfer<A>>,
  options?: { readonly id?: ((value: NoInfer<A>, index: number) => string) | undefined }
): Effect.Effect<ReadonlyArray<string>, DatastoreError | EventRejected, Datastore> =>
  send(box, recipient, values.map((value, index) => ({ value, id: options?.id?.(value, index) })))

/**
 * Lists all outstanding events of a recipient, oldest first, each as the result of its decoding; for tests and
 * inspection.
 *
 * **Details**
 *
 * Whatever box the mailbox belongs to: its events are decoded as those of this one. One event that does not decode does
 * not hide the others: it is a failure with `EventDecodeError`, whose `eventId` is what `DsSet.remove` takes.
 * `Array.getSuccesses` of Effect leaves the events. Cost: 1 read per stored event and 1 for the tombstones. The whole
 * list is held in memory.
 *
 * Fails with `DatastoreError` when a read failed after its retries. Dies inside a transaction. Source: luci-go
 * `cv/internal/common/eventbox`, `List`.
 *
 * @category inspection
 * @since 0.1.0
 */
export const list = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>
): Effect.Effect<ReadonlyArray<Result.Result<Event<A>, EventDecodeError>>, DatastoreError, Datastore> =>
  Effect.gen(function*() {
    checkAddress("Eventbox.list", box, recipient)
    yield* Transaction.refuseInside("Eventbox.list", "list before or after it")
    const listing = yield* listAll(makeSet({ parent: recipient.key }))
    const items = oldestFirst(listing.items)
    const { events, undecodable } = yield* decodeItems(box, recipient, items)
    const failed = new Map(undecodable.map((error) => [error.eventId, error]))
    let taken = 0
    return items.map(({ id }) => {
      const error = failed.get(id)
      return error === undefined ? Result.succeed(events[taken++]!) : Result.fail(error)
    })
  })

/**
 * Loads the state of a recipient and its version, as the processor of the box does; for inspection and read paths.
 *
 * **Details**
 *
 * Cost and errors are those of the processor's `loadState`: for `entity`, 1 read, `StateDecodeError` for a stored state
 * that does not fit the schema, and `DatastoreError` when the read failed after its retries. `ContentionError` comes
 * only from one with a transaction of its own.
 *
 * @category inspection
 * @since 0.1.0
 */
export const loadState = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>
): Effect.Effect<
  { readonly state: S; readonly eversion: EVersion },
  E | ContentionError | StoreError,
  Self | Datastore
> =>
  Effect.suspend(() => {
    checkAddress("Eventbox.loadState", box, recipient)
    return Effect.flatMap(
      implementationOf(box),
      (processor) => asEffect({ box, recipient }, "loadState", processor.loadState(recipient))
    )
  })

/**
 * Processes one batch of events: loads, decides, and lands state, side effects and the consumption of events together.
 *
 * **Details**
 *
 * Lists at most `maxEvents` (a positive integer, 1,000 unless given), which count no more than `maxBytes` in all (4 MiB
 * unless given, and three quarters of a commit at most) but for a single larger one, while the state is loaded, asks
 * the processor, and commits its transitions in ONE transaction, which also deletes the events that they consume. Where
 * the processor decides on nothing, there is no transaction. Returns the post-process effects, which should be run at
 * once. Nothing is retried: {@link process} does that. Cost: three RPCs in two round trips; 1 read per event, 1 for the
 * tombstones and those of `loadState`; 1 write for the tombstones and those of `saveState` and the side effects; 1
 * delete per event. See `docs/reference/limits.md` for the rest.
 *
 * Fails with `ContentionError` when another worker was first: nothing was written, run it again with jitter. Fails with
 * the processor's own errors; with `EventDecodeError` and `StateDecodeError` for what does not fit the schemas; with
 * `MailboxOwned` when the first batch here was another box's: a mailbox belongs to one; with `EventRejected` from a
 * side effect that emits; with `DatastoreError`: `OutcomeUnknown` only if it could not be found out whether the commit
 * landed. Dies inside a transaction or a batch, when `maxEvents` is not a positive integer, when a transition consumes
 * an event that is not in the batch or was used before, and when the implementation that is provided is another box's.
 *
 * An interruption before the commit writes nothing. One that comes during it returns within the deadline of the commit;
 * when the batch has landed, its post-process effects run here, for 10 seconds at most, since they can no longer be
 * returned. While the outcome is in doubt it is looked for in the background of the layer, and they run there.
 *
 * Source: luci-go `cv/internal/common/eventbox`, `ProcessBatch`.
 *
 * **Gotchas**
 *
 * An interruption in the very step in which it returns, or before the caller has run what was returned, loses the
 * post-process effects. {@link process} has no such moment.
 *
 * @category processing
 * @since 0.1.0
 */
export const processBatch = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  options?: { readonly maxEvents?: number | undefined; readonly maxBytes?: number | undefined }
): Effect.Effect<
  BatchResult<E>,
  E | ContentionError | EventDecodeError | MailboxOwned | StoreError,
  Self | Datastore
> =>
  handingOver(recipient, (landing: Landing<E>) => {
    checkAddress("Eventbox.processBatch", box, recipient)
    const { maxBytes, maxEvents = defaultMaxEvents } = options ?? {}
    const batch = runBatch(box, recipient, { maxEvents, maxBytes, cursor: undefined }, landing)
    return inBatch(
      "Eventbox.processBatch",
      recipient.key,
      Effect.map(batch, ({ reachedEnd: _, ...result }) => result)
    )
  })

/**
 * Runs the whole cycle once: a batch, retried on contention and transient errors, isolated when it fails for good, and
 * then its post-process effects.
 *
 * **Details**
 *
 * Batches of one recipient are run one after another inside the process, for each layer: they would only make each
 * other fail. Post-process effects run in order after the lock was given back, each retried by its own schedule; one
 * that fails is in the summary, in a metric and, with its recipient, in the log as a warning, and does not stop the
 * others, since the batch has landed. An interruption, or a time-out, before the commit writes nothing; once the batch
 * has landed its post-process effects run all the same, within `postProcessGrace`, and the interruption returns after
 * them. An interruption while the outcome of the commit is in doubt returns at once: the search goes on in the
 * background of the layer, where those effects run if the batch has landed.
 *
 * **Isolation.** A batch that fails for good once its events and its state were read is halved, at once, and its halves
 * again, until one lands or a single event is alone with its failure. So all other events land in the same call, as
 * more than one batch, and the call then fails with {@link EventFailed}, which names the events. It does not matter
 * where the failure came from: `prepareMutation`, a side effect, a commit that is too large, a defect of any of them.
 * Events that do not decode are set aside without more ado. Where nothing came of a batch but failures, the next
 * events are taken, and so on until something was done, nothing is left, or `maxFailures` events have failed in a row.
 * So a recipient is never stuck behind an event, also if each process calls this once and with a `maxEvents` of 1.
 *
 * Not halved are contention, transient failures and unknown outcomes, what concerns the set-up (`PermissionDenied`,
 * `Unauthenticated`, `NotFound`, `FailedPrecondition`), a failure of `loadState`, and a failure of a batch without
 * events: the call fails with these as they are, once the post-process effects of the parts that landed have run.
 *
 * Cost of isolation: of one event among `n`, about 2 log2(n) batches more, each with 1 read for the tombstones and
 * those of `loadState`; no event is read again. Where all fail, 2 batches per event.
 *
 * Fails with {@link EventFailed} when events failed alone, and otherwise as {@link processBatch}, when the schedule
 * ends. Dies inside a transaction and inside a batch, whichever recipient that is of (in a post-process effect it is
 * allowed), and for an option that is not what it says.
 *
 * **Gotchas**
 *
 * Your own errors are the `failures` of `EventFailed`, with their types; only those of `loadState` come as they are.
 *
 * @category processing
 * @since 0.1.0
 */
export const process = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  options?: ProcessOptions<NoInfer<E>>
): Effect.Effect<Summary<E>, E | ContentionError | EventFailed<E> | MailboxOwned | StoreError, Self | Datastore> =>
  Effect.flatMap(
    cycle(box, recipient, options, undefined, undefined),
    ({ course, summary }) => unlessFailed(recipient, course, summary)
  )

/**
 * Repeats {@link process} until nothing is left to do: a whole pass over the events in which none was consumed or
 * declared garbage.
 *
 * **Details**
 *
 * Each pass begins with the oldest keys, so that events which the processor leaves for later are offered once per pass,
 * and do not keep it going. Nor does a transition that consumes nothing: a pass in which there were only such is the
 * last. A pass is over when it comes to the end, or to where all is younger than its beginning. Events that fail alone
 * are tried once per call, and the call fails with {@link EventFailed} at its end, when all others are done with;
 * `maxFailures` of them in a row end it at once, with `truncated`. Returns the sums of all batches. Fails at once, as
 * {@link process} does, with what is not the failure of an event; what landed before stays.
 *
 * **Gotchas**
 *
 * While events arrive as fast as they are consumed, also from side effects of its own, it does not end: bound it with
 * `Effect.timeout`.
 *
 * @category processing
 * @since 0.1.0
 */
export const drain = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  options?: ProcessOptions<NoInfer<E>>
): Effect.Effect<Summary<E>, E | ContentionError | EventFailed<E> | MailboxOwned | StoreError, Self | Datastore> =>
  Effect.gen(function*() {
    checkAddress("Eventbox.drain", box, recipient)
    const cursor = yield* cursorOf(makeSet({ parent: recipient.key }))
    let total: Summary<E> = emptySummary
    let before: Course<E> | undefined
    let idle = isAtStart(cursor)
    while (true) {
      if (isAtStart(cursor)) idle = true
      const { course, seen, summary } = yield* cycle(box, recipient, options, cursor, before)
      before = course
      total = addSummaries(total, summary)
      if (summary.consumed > 0 || summary.garbage > 0) idle = false
      const isCutShort = summary.skipped || isExhausted(course, maxFailuresOf(options))
      if (isCutShort || seen.reachedEnd && idle) {
        return yield* unlessFailed(recipient, course, { ...total, truncated: isCutShort })
      }
    }
  })

const unlessFailed = <Self, E>(
  { key }: Recipient<Self>,
  { failed }: Course<E>,
  summary: Summary<E>
): Effect.Effect<Summary<E>, EventFailed<E>> =>
  failed.size === 0 ? Effect.succeed(summary) : Effect.fail(
    new EventFailed<E>({
      recipient: key,
      failures: Array.from(failed, ([eventId, cause]) => ({ eventId, cause })),
      summary
    })
  )
