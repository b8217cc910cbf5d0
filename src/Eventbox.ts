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
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { afterCommit, Datastore } from "./Datastore.ts"
import * as DsSet from "./DsSet.ts"
import {
  ContentionError,
  DatastoreError,
  type EventDecodeError,
  type EventRejected,
  type StoreError
} from "./EventboxError.ts"
import * as Metrics from "./EventboxMetrics.ts"
import { decodeEvents, isTransient, runBatch } from "./internal/batch.ts"
import { inBatch } from "./internal/batchMark.ts"
import { adaptBatchSize, batchSize, type Course } from "./internal/batchSize.ts"
import { type Emission, makeItems } from "./internal/emission.ts"
import { withKeyedLock } from "./internal/keyedLock.ts"
import { handingOver, type Landing, withPostProcess } from "./internal/landing.ts"
import { retryOnceFailed } from "./internal/retries.ts"
import type { Cursor } from "./internal/setMemory.ts"
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
 * Options of {@link process} and {@link drain}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessOptions<E = never> {
  /** Events in one batch at most; a positive integer, 1,000 unless given. */
  readonly maxEvents?: number | undefined
  /** Bytes of the events in one batch at most, unless a single event has more; 16 MiB unless given. */
  readonly maxBytes?: number | undefined
  /**
   * Whether the size of batches adapts: half as many events after contention and after a batch slower than `slowAfter`
   * (2 seconds unless given), not below `minEvents` (1 unless given); half as many again, up to `maxEvents`, after a
   * quick batch that was full. Remembered for each recipient in the process. False unless given.
   */
  readonly adaptive?:
    | boolean
    | { readonly minEvents?: number | undefined; readonly slowAfter?: Duration.Input | undefined }
    | undefined
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
 * Lists all outstanding events of a recipient, oldest first; for tests and inspection.
 *
 * **Details**
 *
 * Cost: 1 read per stored event and 1 for the tombstones. The whole list is held in memory.
 *
 * Fails with `EventDecodeError` for an event that does not fit the schema, with `DatastoreError` when a read failed
 * after its retries. Dies inside a transaction. Source: luci-go `cv/internal/common/eventbox`, `List`.
 *
 * @category inspection
 * @since 0.1.0
 */
export const list = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>
): Effect.Effect<ReadonlyArray<Event<A>>, DatastoreError | EventDecodeError, Datastore> =>
  Effect.gen(function*() {
    yield* Transaction.refuseInside("Eventbox.list", "list before or after it")
    const set = DsSet.make({ parent: recipient.key })
    const everything = { maxItems: allItems, maxBytes: Number.POSITIVE_INFINITY }
    const listing = yield* DsSet.list(set, { ...everything, cursor: { after: undefined } })
    return yield* decodeEvents(box, recipient, listing)
  })

const allItems = 1_000_000_000

/**
 * Loads the state of a recipient and its version, as the processor of the box does; for inspection and read paths.
 *
 * **Details**
 *
 * Cost and errors are those of the processor's `loadState`: for `entity`, 1 read, `StateDecodeError` for a stored state
 * that does not fit the schema, and `DatastoreError` when the read failed after its retries.
 *
 * @category inspection
 * @since 0.1.0
 */
export const loadState = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>
): Effect.Effect<{ readonly state: S; readonly eversion: EVersion }, E | StoreError, Self | Datastore> =>
  Effect.flatMap(box, (processor) => processor.loadState(recipient))

/**
 * Processes one batch of events: loads, decides, and lands state, side effects and the consumption of events together.
 *
 * **Details**
 *
 * Lists at most `maxEvents` (a positive integer, 1,000 unless given), which have no more than `maxBytes` in all (16 MiB
 * unless given) but for a single larger one, while the state is loaded, asks the processor, and
 * commits its transitions in ONE transaction. Where the processor decides on nothing, there is no transaction. Returns
 * the post-process effects, which should be run at once. Nothing is retried: {@link process} does that. Cost: two round
 * trips; 1 read per event, 1 for the tombstones and those of `loadState`; 1 write for the tombstones and those of
 * `saveState` and the side effects; 1 delete per event, after the result. See `docs/reference/limits.md` for the rest.
 *
 * Fails with `ContentionError` when another worker was first: nothing was written, run it again with jitter. Fails with
 * the processor's own errors; with `EventDecodeError` and `StateDecodeError` for what does not fit the schemas; with
 * `EventRejected` from a side effect that emits; with `DatastoreError`: `OutcomeUnknown` only if it could not be found
 * out whether the commit landed. Dies inside a transaction or a batch, when `maxEvents` is not a positive integer, and
 * when a transition consumes an event that is not in the batch or was used before.
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
  E | ContentionError | EventDecodeError | StoreError,
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
 * Runs the whole cycle once: a batch, retried on contention and transient errors, and then its post-process effects.
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
 * Fails as {@link processBatch}, when the schedule ends. Dies inside a transaction and inside a batch, whichever
 * recipient that is of; in a post-process effect it is allowed.
 *
 * @category processing
 * @since 0.1.0
 */
export const process = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  options?: ProcessOptions<NoInfer<E>>
): Effect.Effect<Summary<E>, E | ContentionError | EventDecodeError | StoreError, Self | Datastore> =>
  Effect.map(cycle(box, recipient, options, undefined), ({ reachedEnd: _, ...summary }) => summary)

/**
 * Repeats {@link process} until nothing is left to do: a whole pass over the events without a transition or garbage.
 *
 * **Details**
 *
 * Events that the processor leaves for later do not keep it going. The deletion of one batch's events overlaps with the
 * next batch. Returns the sums of all batches.
 *
 * **Gotchas**
 *
 * A processor that always finds something to do, even without events, never ends: bound it with `Effect.timeout`.
 *
 * @category processing
 * @since 0.1.0
 */
export const drain = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  options?: ProcessOptions<NoInfer<E>>
): Effect.Effect<Summary<E>, E | ContentionError | EventDecodeError | StoreError, Self | Datastore> =>
  Effect.gen(function*() {
    // An own position, so that other listings of this process do not disturb the pass.
    const cursor: Cursor = { after: undefined }
    let total: Summary<E> = emptySummary
    let idle = true
    while (true) {
      if (cursor.after === undefined) idle = true
      const { reachedEnd, ...summary } = yield* cycle(box, recipient, options, cursor)
      total = addSummaries(total, summary)
      if (summary.transitions > 0 || summary.garbage > 0) idle = false
      if (summary.skipped || reachedEnd && idle) return { ...total, truncated: summary.skipped }
    }
  })

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
  const delay = yield* DsSet.TombstonesDelay
  const giveUpAtMillis = (yield* Clock.currentTimeMillis) + Duration.toMillis(delay) / 2
  let failure: { readonly error: E } | undefined
  const attempt = Effect.tapError(add, (error) =>
    Effect.sync(() => {
      failure = { error }
    }))
  const inTime = Effect.flatMap(
    Clock.currentTimeMillis,
    (now) => failure !== undefined && now > giveUpAtMillis ? Effect.fail(failure.error) : attempt
  )
  const isWorthIt = (error: E) =>
    Effect.map(Clock.currentTimeMillis, (now) => now <= giveUpAtMillis && isTransient(error))
  return yield* retryOnceFailed(inTime, () => ({
    while: isWorthIt,
    schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
      Schedule.jittered,
      Schedule.upTo({ duration: Duration.min(Duration.seconds(30), Duration.divideUnsafe(delay, 5)) })
    )
  }))
})

const cycle = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  options: ProcessOptions<E> | undefined,
  cursor: Cursor | undefined
): Effect.fn.Return<
  Summary<E> & { readonly reachedEnd: boolean },
  E | ContentionError | EventDecodeError | StoreError,
  Self | Datastore
> {
  const datastore = yield* Datastore
  let retries = -1
  const [landed, postProcessed] = yield* withPostProcess(recipient, options, (landing: Landing<E>) => {
    const batch = Effect.suspend(() => {
      const once = sizedBatch(datastore, box, recipient, options, cursor, landing)
      return ++retries === 0
        ? once
        : Effect.andThen(Metrics.update(recipient.monitoringString, [Metrics.retries, 1]), once)
    })
    const locked = withKeyedLock(
      datastore,
      recipient.key,
      options?.whenBusy ?? "wait",
      retryBatch(batch, options?.retry ?? defaultRetry)
    )
    return inBatch("Eventbox.process or drain", recipient.key, locked)
  })
  if (Option.isNone(landed)) return { ...emptySummary, truncated: true, skipped: true, reachedEnd: false }
  const result = landed.value
  return {
    batches: result.transitions > 0 ? 1 : 0,
    consumed: result.consumed,
    garbage: result.garbage,
    transitions: result.transitions,
    retries,
    postProcessed: postProcessed.succeeded,
    postProcessFailures: postProcessed.failures,
    truncated: result.truncated,
    skipped: false,
    reachedEnd: result.reachedEnd
  }
})

/** One batch, of the size that is right for the recipient by now. */
const sizedBatch = <Self, S, A, E>(
  datastore: Datastore["Service"],
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  options: ProcessOptions<E> | undefined,
  cursor: Cursor | undefined,
  landing: Landing<E>
) => {
  const { adaptive = false, maxBytes, maxEvents = defaultMaxEvents } = options ?? {}
  if (adaptive === false) return runBatch(box, recipient, { maxEvents, maxBytes, cursor }, landing)
  const { minEvents = 1, slowAfter = defaultSlowAfter } = adaptive === true ? {} : adaptive
  const bounds = { minEvents, maxEvents, slowMillis: Duration.toMillis(Duration.fromInputUnsafe(slowAfter)) }
  const learn = (size: number, course: Course) =>
    Effect.sync(() => adaptBatchSize(datastore, recipient.key, bounds, size, course))
  return Effect.gen(function*() {
    if (!(Number.isSafeInteger(minEvents) && minEvents > 0)) {
      return yield* Effect.die(new Error(`Eventbox: minEvents is a positive integer, got ${minEvents}`))
    }
    const size = batchSize(datastore, recipient.key, bounds)
    const start = yield* Clock.currentTimeMillis
    const result = yield* Effect.tapError(
      runBatch(box, recipient, { maxEvents: size, maxBytes, cursor }, landing),
      (error) => error instanceof ContentionError ? learn(size, "Contended") : Effect.void
    )
    yield* learn(size, { millis: (yield* Clock.currentTimeMillis) - start, wasFull: result.truncated })
    return result
  })
}

const defaultSlowAfter = "2 seconds"

/** Runs a batch again after what is worth it. Not after an unknown outcome: its post-process effects would be lost. */
const retryBatch = <A, E, R>(
  batch: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, ContentionError | DatastoreError>
): Effect.Effect<A, E, R> =>
  retryOnceFailed(batch, () => ({
    while: (error) => (error instanceof ContentionError || error instanceof DatastoreError) && error.isRetryable,
    // The schedule only ever sees what `while` let through.
    schedule: schedule as Schedule.Schedule<unknown, unknown>
  }))

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
