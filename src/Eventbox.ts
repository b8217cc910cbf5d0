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
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { afterCommit, Datastore } from "./Datastore.ts"
import * as DsSet from "./DsSet.ts"
import {
  type ContentionError,
  type DatastoreError,
  EventDecodeError,
  type EventRejected,
  isUnknownOutcome,
  type MailboxOwned,
  type StoreError
} from "./EventboxError.ts"
import * as Metrics from "./EventboxMetrics.ts"
import { decodeItems, implementationOf, isTransient, oldestFirst, runBatch } from "./internal/batch.ts"
import { inBatch } from "./internal/batchMark.ts"
import { type Emission, makeItems } from "./internal/emission.ts"
import { orNoText } from "./internal/foreign.ts"
import { beginCourse, type Course, isExhausted, isolate, type Seen } from "./internal/isolation.ts"
import { withKeyedLock } from "./internal/keyedLock.ts"
import { handingOver, type Landing, withPostProcess } from "./internal/landing.ts"
import { retryOnceFailed } from "./internal/retries.ts"
import { type Cursor, isAtStart } from "./internal/sweep.ts"
import { FromString } from "./Key.ts"
import type { Event, EVersion, PostProcess, Recipient, ServiceClass } from "./Processor.ts"
import * as Transaction from "./Transaction.ts"

export {
  /**
   * How long a consumed id is remembered, so that emitting it again does not bring it back.
   *
   * @category services
   * @since 0.1.0
   */
  TombstonesDelay
} from "./DsSet.ts"

/** Events that one batch takes, unless `maxEvents` says otherwise. */
const defaultMaxEvents = 1_000

/**
 * What one batch did.
 *
 * @category models
 * @since 0.1.0
 */
export interface BatchResult<E = never> {
  /** To be run now, in this order: work that belongs to the transitions but is not atomic with them. */
  readonly postProcess: ReadonlyArray<PostProcess<E>>
  /** Events consumed. */
  readonly consumed: number
  /** Events declared garbage. */
  readonly garbage: number
  /** Transitions that landed, without those that did nothing. */
  readonly transitions: number
  /** Whether there may be more events than this batch saw. */
  readonly truncated: boolean
}

/**
 * What {@link process} and {@link drain} did.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary<E = never> {
  /** Batches that landed. */
  readonly batches: number
  /** Events consumed by them. */
  readonly consumed: number
  /** Events declared garbage, also by batches without a transition. */
  readonly garbage: number
  /** Transitions that landed. */
  readonly transitions: number
  /** Attempts that failed with contention or a transient error and were made again. */
  readonly retries: number
  /** Post-process effects that succeeded. */
  readonly postProcessed: number
  /** Causes of the post-process effects that failed in spite of their schedule, in order; their batches have landed. */
  readonly postProcessFailures: ReadonlyArray<Cause.Cause<E | StoreError>>
  /** Whether there may be more events. */
  readonly truncated: boolean
  /** Whether another fiber of this process was at it, and `whenBusy` said to leave it to that. */
  readonly skipped: boolean
}

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
 * Options of {@link process} and {@link drain}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessOptions<E = never> {
  /** Events in one batch at most; a positive integer, 1,000 unless given. */
  readonly maxEvents?: number | undefined
  /**
   * What the events of one batch may count at most, unless a single event has more: 4 MiB unless given, and never more
   * than three quarters of what a commit may hold. An event counts with its stored size, its key once more and its id
   * twice more, as the commit that consumes it does.
   */
  readonly maxBytes?: number | undefined
  /**
   * Events that may fail alone one after the other, with none consumed in between, before the call gives up on the
   * rest: a positive integer or `Infinity`, 100 unless given. It bounds what a call does where every event fails, as
   * when a service that the processor needs is down.
   */
  readonly maxFailures?: number | undefined
  /**
   * What to do while another fiber of this process runs a batch of the same recipient: `"wait"` for its end, or
   * `"skip"`, and return at once with `skipped`. `"wait"` unless given. Skip where whoever emitted also asks for a run:
   * an event that the running batch has not seen then waits for the next run.
   */
  readonly whenBusy?: "wait" | "skip" | undefined
  /** When to run a batch again after contention or a transient error; {@link defaultRetry} unless given. */
  readonly retry?: Schedule.Schedule<unknown, ContentionError | DatastoreError> | undefined
  /** When to run a failed post-process effect again; never, unless given. */
  readonly postProcess?: Schedule.Schedule<unknown, E | StoreError> | undefined
  /**
   * How long the post-process effects of a batch that has landed may go on once the call was interrupted or timed out,
   * before they are dropped; 10 seconds unless given. The interruption returns after them.
   */
  readonly postProcessGrace?: Duration.Input | undefined
}

/**
 * The default of `retry`: jittered pauses of 20 ms, doubling to 2 s, at most 10 of them and not beyond 30 s.
 *
 * @category schedules
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("20 millis"),
  Schedule.spaced("2 seconds")
]).pipe(Schedule.jittered, Schedule.upTo({ times: 10, duration: "30 seconds" }))

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
    yield* Transaction.refuseInside("Eventbox.list", "list before or after it")
    const set = DsSet.make({ parent: recipient.key })
    const listing = yield* DsSet.listAll(set)
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
> => Effect.flatMap(implementationOf(box), (processor) => processor.loadState(recipient))

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
 * allowed), and when `maxFailures` is not a positive integer or `Infinity`.
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
    const cursor = yield* DsSet.cursorOf(DsSet.make({ parent: recipient.key }))
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

const send = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  emissions: ReadonlyArray<Emission<A>>
): Effect.fn.Return<ReadonlyArray<string>, DatastoreError | EventRejected, Datastore> {
  const { parent } = DsSet.make({ parent: recipient.key })
  const { ids, items } = yield* makeItems(box.eventCodec, parent, emissions, DsSet.maxEntityBytes)
  const add = DsSet.addItems(items)
  const isInside = (yield* Transaction.current) !== undefined
  // P3: every try writes the same items with the same time, so a late one is hidden by the tombstone of an early one.
  yield* isInside ? add : retryEmit(add)
  yield* afterCommit(Metrics.update(recipient.monitoringString, [Metrics.eventsSent, items.length]))
  return ids
})

/**
 * Tries again, well within the tombstones delay: a retry after it would be a new event.
 *
 * A schedule counts from the first failure, and a process that stands still learns of that late: so the age of the emit
 * itself is looked at before every try.
 */
const retryEmit = Effect.fnUntraced(function*<A, E, R>(add: Effect.Effect<A, E, R>): Effect.fn.Return<A, E, R> {
  const delayMillis = yield* DsSet.tombstonesDelayMillis
  const giveUpAtMillis = (yield* Clock.currentTimeMillis) + delayMillis / 2
  // What the caller is told: the last failure, but once a try may have landed no later one can take that back.
  let failure: { readonly error: E } | undefined
  const attempt = Effect.tapError(add, (error) =>
    Effect.sync(() => {
      if (failure === undefined || isUnknownOutcome(error) || !isUnknownOutcome(failure.error)) failure = { error }
    }))
  const inTime = Effect.flatMap(
    Clock.currentTimeMillis,
    (now) => failure !== undefined && now > giveUpAtMillis ? Effect.fail(failure.error) : attempt
  )
  const isWorthIt = (error: E) =>
    Effect.map(Clock.currentTimeMillis, (now) => now <= giveUpAtMillis && isTransient(error))
  const retried = retryOnceFailed(inTime, () => ({
    while: isWorthIt,
    schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
      Schedule.jittered,
      Schedule.upTo({ duration: Math.min(30_000, delayMillis / 5) })
    )
  }))
  return yield* Effect.mapError(retried, () => failure!.error)
})

/** What one cycle did, and what came of its events. */
interface Cycle<E> {
  readonly summary: Summary<E>
  readonly seen: Seen
  readonly course: Course<E>
}

const cycle = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  options: ProcessOptions<E> | undefined,
  cursor: Cursor | undefined,
  before: Course<E> | undefined
): Effect.fn.Return<Cycle<E>, E | ContentionError | MailboxOwned | StoreError, Self | Datastore> {
  const datastore = yield* Datastore
  const { maxBytes, maxEvents = defaultMaxEvents, retry = defaultRetry } = options ?? {}
  const maxFailures = maxFailuresOf(options)
  if (!(maxFailures >= 1 && Math.ceil(maxFailures) === maxFailures)) {
    const message = `Eventbox: maxFailures is a positive integer or Infinity, got ${maxFailures}`
    return yield* Effect.die(new Error(message))
  }
  const course = beginCourse(before)
  const [ended, postProcessed] = yield* withPostProcess(recipient, options, (landing: Landing<E>) => {
    const settings = { box, recipient, maxEvents, maxBytes, cursor, retry, maxFailures, landing }
    const locked = withKeyedLock(datastore, recipient.key, options?.whenBusy ?? "wait", isolate(course, settings))
    return inBatch("Eventbox.process or drain", recipient.key, locked)
  })
  const seen = Option.getOrElse(ended, () => nothingSeen)
  const summary = { ...sumOf(course), truncated: seen.truncated, skipped: Option.isNone(ended) }
  return {
    summary: { ...summary, postProcessed: postProcessed.succeeded, postProcessFailures: postProcessed.failures },
    seen,
    course
  }
})

const maxFailuresOf = (options: ProcessOptions<any> | undefined): number => options?.maxFailures ?? 100

/** What a call saw that left the recipient to another fiber. */
const nothingSeen: Seen = { truncated: true, reachedEnd: false }

const sumOf = ({ landed, retries }: Course<any>): Summary<never> => {
  const sum = { batches: 0, consumed: 0, garbage: 0, transitions: 0 }
  for (const { consumed, garbage, transitions } of landed) {
    if (transitions > 0) sum.batches++
    sum.consumed += consumed
    sum.garbage += garbage
    sum.transitions += transitions
  }
  return { ...emptySummary, ...sum, retries }
}

const emptySummary: Summary<never> = {
  batches: 0,
  consumed: 0,
  garbage: 0,
  transitions: 0,
  retries: 0,
  postProcessed: 0,
  postProcessFailures: [],
  truncated: false,
  skipped: false
}

const addSummaries = <E>(self: Summary<E>, that: Summary<E>): Summary<E> => ({
  batches: self.batches + that.batches,
  consumed: self.consumed + that.consumed,
  garbage: self.garbage + that.garbage,
  transitions: self.transitions + that.transitions,
  retries: self.retries + that.retries,
  postProcessed: self.postProcessed + that.postProcessed,
  postProcessFailures: [...self.postProcessFailures, ...that.postProcessFailures],
  truncated: that.truncated,
  skipped: that.skipped
})
