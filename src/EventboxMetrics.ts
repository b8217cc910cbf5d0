/**
 * The metrics of the library, as a contract: names, units and labels.
 *
 * | metric | type | labels | meaning |
 * |---|---|---|---|
 * | `eventbox_list_duration_seconds` | histogram | `recipient`, `result` | time to list the events of one batch |
 * | `eventbox_events_sent_total` | counter | `recipient` | events whose emit committed |
 * | `eventbox_events_removed_total` | counter | `recipient` | events consumed or declared garbage, and garbage found by listings |
 * | `eventbox_size` | gauge | `recipient` | events that the last listing saw, at most `maxEvents` |
 * | `eventbox_oldest_age_seconds` | gauge | `recipient` | age of the oldest of them, 0 for none |
 * | `eventbox_batches_total` | counter | `recipient`, `result` | batches: `committed`, `nothing`, `contention`, `failed` |
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

/**
 * Time to list the events of one batch, in seconds.
 *
 * @category metrics
 * @since 0.1.0
 */
export const listDuration = Metric.histogram("eventbox_list_duration_seconds", {
  description: "Time to list the events of one batch",
  boundaries: seconds
})

/**
 * Events whose emit committed.
 *
 * @category metrics
 * @since 0.1.0
 */
export const eventsSent = Metric.counter("eventbox_events_sent_total", {
  description: "Events whose emit committed",
  incremental: true
})

/**
 * Events consumed or declared garbage, and garbage found by listings.
 *
 * @category metrics
 * @since 0.1.0
 */
export const eventsRemoved = Metric.counter("eventbox_events_removed_total", {
  description: "Events consumed or declared garbage, and garbage found by listings",
  incremental: true
})

/**
 * Events that the last listing saw.
 *
 * @category metrics
 * @since 0.1.0
 */
export const size = Metric.gauge("eventbox_size", { description: "Events that the last listing saw" })

/**
 * Age of the oldest event that the last listing saw, in seconds.
 *
 * @category metrics
 * @since 0.1.0
 */
export const oldestAge = Metric.gauge("eventbox_oldest_age_seconds", {
  description: "Age of the oldest event that the last listing saw"
})

/**
 * Batches by result.
 *
 * @category metrics
 * @since 0.1.0
 */
export const batches = Metric.counter("eventbox_batches_total", { description: "Batches by result", incremental: true })

/**
 * Time of the transaction of one batch, in seconds.
 *
 * @category metrics
 * @since 0.1.0
 */
export const commitDuration = Metric.histogram("eventbox_commit_duration_seconds", {
  description: "Time of the transaction of one batch",
  boundaries: seconds
})

/**
 * Events consumed by one committed batch.
 *
 * @category metrics
 * @since 0.1.0
 */
export const eventsPerBatch = Metric.histogram("eventbox_events_per_batch", {
  description: "Events consumed by one committed batch",
  boundaries: Metric.exponentialBoundaries({ start: 1, factor: 2, count: 16 })
})

/**
 * Updates a metric of one recipient label, and of one result if given.
 *
 * @internal
 */
export const update = <State>(
  metric: Metric.Metric<number, State>,
  recipient: string,
  value: number,
  result?: string
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    labelled(metric, recipient, result).updateUnsafe(value, fiber.context)
    return Effect.void
  })

/** Metrics with their labels, made once each: labels have few values. */
const labelledMetrics = new WeakMap<object, Map<string, unknown>>()

const labelled = <State>(
  metric: Metric.Metric<number, State>,
  recipient: string,
  result: string | undefined
): Metric.Metric<number, State> => {
  let byLabel = labelledMetrics.get(metric)
  if (byLabel === undefined) labelledMetrics.set(metric, byLabel = new Map())
  const label = result === undefined ? recipient : `${result} ${recipient}`
  const known = byLabel.get(label) as Metric.Metric<number, State> | undefined
  if (known !== undefined) return known
  const made = Metric.withAttributes(metric, result === undefined ? { recipient } : { recipient, result })
  byLabel.set(label, made)
  return made
}

/**
 * Records how long an effect takes, in seconds, as `success` or `failure`.
 *
 * @internal
 */
export const timed = <A, E, R, State>(
  metric: Metric.Metric<number, State>,
  recipient: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) =>
    Effect.suspend(() => {
      const start = clock.monotonicTimeNanosUnsafe()
      return Effect.onExit(effect, (exit) =>
        update(
          metric,
          recipient,
          Number(clock.monotonicTimeNanosUnsafe() - start) / 1e9,
          exit._tag === "Success" ? "success" : "failure"
        ))
    })
  )
