/**
 * What processing takes and gives. `Eventbox.ts` shows it to users.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import type { ContentionError, DatastoreError, StoreError } from "../EventboxError.ts"
import type { PostProcess } from "../Processor.ts"

/** Events that one batch takes, unless `maxEvents` says otherwise. */
export const defaultMaxEvents = 1_000

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
 * What `process` and `drain` did.
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
 * Options of `process` and `drain`.
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
