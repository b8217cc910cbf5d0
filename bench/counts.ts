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
  /** Commits that only delete consumed events, in the background. */
  readonly deleteCommits: number
  /** Billed for emitting, processing and deleting together. */
  readonly reads: number
  readonly writes: number
  readonly deletes: number
  /** Expectations on entities that a commit does not write: one billed write or delete more each. */
  readonly unwrittenExpectations: number
}

const isBackground = ({ call }: Recorder.Operation): boolean =>
  call.operation === "commit" && call.request.mutations.every(({ _tag }) => _tag === "Delete")

const countOf = (operations: ReadonlyArray<Recorder.Operation>, operation: Recorder.Call["operation"]): number =>
  operations.filter(({ call }) => call.operation === operation).length

/** Lets background work end: until no operation is under way and none has begun for a while. */
const quiet = Effect.gen(function*() {
  const recorder = yield* Recorder.Recorder
  let idle = 0
  while (idle < 50) {
    const { operations } = yield* recorder.report
    idle = operations.some(({ outcome }) => outcome === "Running") ? 0 : idle + 1
    yield* idle === 0 ? Effect.sleep(1) : Effect.yieldNow
  }
})

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
    const processed = Eventbox.processBatch(Counter, recipient, { maxEvents: batchSize })
    // The second batch is an ordinary one: it finds a state and tombstones.
    yield* emit(0)
    yield* processed
    yield* quiet
    yield* recorder.reset
    const [, emitting] = yield* recorder.during(emit(1))
    const [, batch] = yield* recorder.during(processed)
    yield* quiet
    const { billed, operations } = yield* recorder.report
    yield* checkMailboxes([recipient], 2 * batchSize)
    const waitedFor = batch.operations.filter((operation) => !isBackground(operation))
    const counts: BatchCounts = {
      batchSize,
      emitCommits: countOf(emitting.operations, "commit"),
      queries: countOf(waitedFor, "query"),
      lookups: countOf(waitedFor, "lookup"),
      commits: countOf(waitedFor, "commit"),
      rounds: Recorder.rounds(waitedFor),
      deleteCommits: operations.filter(isBackground).length,
      reads: billed.reads,
      writes: billed.writes,
      deletes: billed.deletes,
      unwrittenExpectations: billed.unwrittenExpectations
    }
    return counts
  })
