/**
 * The metrics of the library, as a contract: names, units and labels.
 *
 * | metric | type | labels | meaning |
 * |---|---|---|---|
 * | `eventbox_list_duration_seconds` | histogram | `recipient`, `result` | time to list the events of one batch |
 * | `eventbox_events_sent_total` | counter | `recipient` | events whose emit committed |
 * | `eventbox_events_removed_total` | counter | `recipient` | events consumed or declared garbage, and garbage found by listings |
 * | `eventbox_size` | histogram | `recipient` | events that the listing of a batch saw, at most `maxEvents` |
 * | `eventbox_oldest_age_seconds` | histogram | `recipient` | age of the oldest of them, where there was one |
 * | `eventbox_batches_total` | counter | `recipient`, `result` | batches: `committed`, `nothing`, `contention`, `failed`, `died`, `interrupted` |
 * | `eventbox_retries_total` | counter | `recipient` | batches that `process` and `drain` ran again |
 * | `eventbox_post_process_total` | counter | `recipient`, `result` | post-process effects: `success`, `failure`, `dropped` |
 * | `eventbox_commit_duration_seconds` | histogram | `recipient`, `result` | time of the transaction of one batch |
 * | `eventbox_events_per_batch` | histogram | `recipient` | events consumed by one committed batch |
 *
 * `recipient` is the label of the recipient (its kind by default), never a key. `result` of the two durations is
 * `success` or `failure`. Source: luci-go `cv/internal/common/eventbox`, `monitoring.go`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

const seconds = Metric.exponentialBoundaries({ start: 0.001, factor: 2, count: 18 })
/** Up to 12 days. */
const ages = Metric.exponentialBoundaries({ start: 0.0625, factor: 4, count: 13 })
const counted = Metric.exponentialBoundaries({ start: 1, factor: 2, count: 16 })

/** How to make a metric once more, with labels of its own. */
const makers = new WeakMap<object, (attributes: Metric.Metric.AttributeSet) => Metric.Metric<number, unknown>>()

const define = <M extends Metric.Metric<number, any>>(make: (attributes?: Metric.Metric.AttributeSet) => M): M => {
  const metric = make()
  makers.set(metric, make)
  return metric
}

/**
 * Time to list the events of one batch, in seconds.
 *
 * @category metrics
 * @since 0.1.0
 */
export const listDuration = define((attributes) =>
  Metric.histogram("eventbox_list_duration_seconds", {
    attributes,
    description: "Time to list the events of one batch",
    boundaries: seconds
  })
)

/**
 * Events whose emit committed.
 *
 * @category metrics
 * @since 0.1.0
 */
export const eventsSent = define((attributes) =>
  Metric.counter("eventbox_events_sent_total", {
    attributes,
    description: "Events whose emit committed",
    incremental: true
  })
)

/**
 * Events consumed or declared garbage, and garbage found by listings.
 *
 * @category metrics
 * @since 0.1.0
 */
export const eventsRemoved = define((attributes) =>
  Metric.counter("eventbox_events_removed_total", {
    attributes,
    description: "Events consumed or declared garbage, and garbage found by listings",
    incremental: true
  })
)

/**
 * Events that the listing of a batch saw.
 *
 * @category metrics
 * @since 0.1.0
 */
export const size = define((attributes) =>
  Metric.histogram("eventbox_size", {
    attributes,
    description: "Events that the listing of a batch saw",
    boundaries: counted
  })
)

/**
 * Age of the oldest event that the listing of a batch saw, in seconds; nothing when it saw none.
 *
 * @category metrics
 * @since 0.1.0
 */
export const oldestAge = define((attributes) =>
  Metric.histogram("eventbox_oldest_age_seconds", {
    attributes,
    description: "Age of the oldest event that the listing of a batch saw",
    boundaries: ages
  })
)

/**
 * Batches by result.
 *
 * @category metrics
 * @since 0.1.0
 */
export const batches = define((attributes) =>
  Metric.counter("eventbox_batches_total", {
    attributes,
    description: "Batches by result",
    incremental: true
  })
)

/**
 * Batches that `process` and `drain` ran again, after contention or a transient failure.
 *
 * @category metrics
 * @since 0.1.0
 */
export const retries = define((attributes) =>
  Metric.counter("eventbox_retries_total", {
    attributes,
    description: "Batches that were run again",
    incremental: true
  })
)

/**
 * Post-process effects that the library ran, by result.
 *
 * @category metrics
 * @since 0.1.0
 */
export const postProcess = define((attributes) =>
  Metric.counter("eventbox_post_process_total", {
    attributes,
    description: "Post-process effects by result",
    incremental: true
  })
)

/**
 * Time of the transaction of one batch, in seconds.
 *
 * @category metrics
 * @since 0.1.0
 */
export const commitDuration = define((attributes) =>
  Metric.histogram("eventbox_commit_duration_seconds", {
    attributes,
    description: "Time of the transaction of one batch",
    boundaries: seconds
  })
)

/**
 * Events consumed by one committed batch.
 *
 * @category metrics
 * @since 0.1.0
 */
export const eventsPerBatch = define((attributes) =>
  Metric.histogram("eventbox_events_per_batch", {
    attributes,
    description: "Events consumed by one committed batch",
    boundaries: counted
  })
)

/**
 * A value for a metric, and the result that it is a value of, if the metric has that label.
 *
 * @internal
 */
export type Update = readonly [metric: Metric.Metric<number, any>, value: number, result?: string]

/**
 * Updates metrics of one recipient label, in one step.
 *
 * @internal
 */
export const update = (recipient: string, ...updates: ReadonlyArray<Update>): Effect.Effect<void> =>
  Effect.withFiber(({ context }) => {
    for (const [metric, value, result] of updates) labelled(metric, recipient, result).updateUnsafe(value, context)
    return Effect.void
  })

/**
 * Updates of a counter by result, without those of nothing.
 *
 * @internal
 */
export const counts = (
  metric: Metric.Metric<number, any>,
  byResult: Readonly<Record<string, number>>
): ReadonlyArray<Update> =>
  Object.entries(byResult).flatMap(([result, count]) => count === 0 ? [] : [[metric, count, result] as const])

/**
 * Metrics with their labels, made once each: labels have few values, and Effect finds such a series without a merge.
 */
const labelledMetrics = new WeakMap<object, Map<string, Metric.Metric<number, unknown>>>()

const labelled = (
  metric: Metric.Metric<number, any>,
  recipient: string,
  result: string | undefined
): Metric.Metric<number, unknown> => {
  let byLabel = labelledMetrics.get(metric)
  if (byLabel === undefined) labelledMetrics.set(metric, byLabel = new Map())
  const label = result === undefined ? recipient : `${result} ${recipient}`
  const known = byLabel.get(label)
  if (known !== undefined) return known
  const made = makers.get(metric)!(result === undefined ? { recipient } : { recipient, result })
  byLabel.set(label, made)
  return made
}

/**
 * Measures how long an effect takes, in seconds, as `success` or `failure`; an update to be made with others.
 *
 * @internal
 */
export const timed = <A, E, R>(
  metric: Metric.Metric<number, any>,
  updates: Array<Update>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => {
    const start = clock.monotonicTimeNanosUnsafe()
    return Effect.onExit(effect, (exit) => {
      const elapsed = Number(clock.monotonicTimeNanosUnsafe() - start) / 1e9
      updates.push([metric, elapsed, exit._tag === "Success" ? "success" : "failure"])
      return Effect.void
    })
  })
