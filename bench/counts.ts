/**
 * What one batch costs in operations: counted, not timed.
 */
import { Effect, Layer } from "effect"
import { type Datastore, Eventbox, type EventboxError } from "effect-eventbox"
import { Recorder } from "effect-eventbox/testing"
import { checkMailboxes, Counter, ticks } from "./workloads/counter.ts"

/** Operations and bill of emitting and processing one batch. */
export interface BatchCounts {
  readonly batchSize: number
  /** Commits that emitted the events. */
  readonly emitCommits: number
  /** Of the batch itself. */
  readonly queries: number
  readonly lookups: number
  readonly commits: number
  /** Sequential round trips before the result of the batch. */
  readonly rounds: number
  /** Billed for emitting, processing and deleting together. */
  readonly reads: number
  readonly writes: number
  readonly deletes: number
  /** Expectations on entities that a commit does not write: one billed write or delete more each. */
  readonly unwrittenExpectations: number
}

const countOf = (operations: ReadonlyArray<Recorder.Operation>, operation: Recorder.Call["operation"]): number =>
  operations.filter(({ call }) => call.operation === operation).length

/** Counts one ordinary batch of each size: the second of its recipient. */
export const countBatches = (
  layer: Layer.Layer<Datastore.Datastore, EventboxError.DatastoreError>,
  sizes: ReadonlyArray<number>
): Effect.Effect<ReadonlyArray<BatchCounts>, unknown> =>
  Effect.forEach(sizes, (batchSize) => countBatch(batchSize)).pipe(
    Effect.provide([Recorder.layer.pipe(Layer.provide(Layer.fresh(layer))), Counter.layer])
  )

const countBatch = (batchSize: number) =>
  Effect.gen(function*() {
    const recorder = yield* Recorder.Recorder
    const recipient = Counter.recipient(`counted-${batchSize}`)
    const emit = (batch: number) => Eventbox.emitAll(Counter, recipient, ticks(batch * batchSize, batchSize))
    const processed = Eventbox.processBatch(Counter, recipient)
    // The second batch is an ordinary one: it finds a state and tombstones.
    yield* emit(0)
    yield* processed
    yield* recorder.reset
    const [, emitting] = yield* recorder.during(emit(1))
    const [, batch] = yield* recorder.during(processed)
    const { billed } = yield* recorder.report
    yield* checkMailboxes([recipient], 2 * batchSize)
    const counts: BatchCounts = {
      batchSize,
      emitCommits: countOf(emitting.operations, "commit"),
      queries: countOf(batch.operations, "query"),
      lookups: countOf(batch.operations, "lookup"),
      commits: countOf(batch.operations, "commit"),
      rounds: Recorder.rounds(batch.operations),
      reads: billed.reads,
      writes: billed.writes,
      deletes: billed.deletes,
      unwrittenExpectations: billed.unwrittenExpectations
    }
    return counts
  })
