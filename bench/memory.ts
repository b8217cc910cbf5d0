/**
 * Everything that is measured on the in-memory store.
 */
import { Effect } from "effect"
import { Datastore } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { alternate, type Competitor, type Measured } from "./measure.ts"
import { direct } from "./workloads/direct.ts"
import { type Bed, mailbox, type Size } from "./workloads/mailbox.ts"
import { makeStoreAlone, settleIn } from "./workloads/storeAlone.ts"

/** How much to measure. */
export interface Effort {
  readonly warmUp: number
  readonly counted: number
  /** Events that a sample of a batch size has at least: enough for its share of garbage collections. */
  readonly eventsPerSample: (batchSize: number) => number
  /** Batches of one recipient at most. */
  readonly batchesPerRecipient: number
}

/** The measurements of one batch size. */
export interface MemoryRow {
  readonly batchSize: number
  readonly size: Size
  readonly library: Measured
  /** The same store operations without the library. */
  readonly storeAlone: Measured
}

/** What was measured in memory. */
export interface MemoryResult {
  readonly rows: ReadonlyArray<MemoryRow>
  /** One optimistic transaction per event, without a mailbox. */
  readonly direct: Measured
}

const openMemory: Effect.Effect<Bed> = Effect.map(InMemory.makeStore, (store) => ({
  layer: Datastore.layer(Effect.succeed(store.backend)),
  settle: settleIn(store)
}))

/** How one sample of a batch size is cut up. */
export const sizeOf = (batchSize: number, { batchesPerRecipient, eventsPerSample }: Effort): Size => {
  // Large batches fill a recipient's tombstones faster.
  const batches = batchSize >= 1_000 ? Math.min(5, batchesPerRecipient) : batchesPerRecipient
  return { batchSize, batches, recipients: Math.max(1, Math.ceil(eventsPerSample(batchSize) / (batchSize * batches))) }
}

/** Measures all batch sizes in turn. */
export const measureMemory = (sizes: ReadonlyArray<number>, effort: Effort): Effect.Effect<MemoryResult, unknown> =>
  Effect.gen(function*() {
    const competitors: Array<Competitor<unknown>> = []
    for (const batchSize of sizes) {
      const size = sizeOf(batchSize, effort)
      competitors.push({ name: `library ${batchSize}`, run: mailbox(openMemory, size) })
      competitors.push({ name: `store ${batchSize}`, run: yield* makeStoreAlone(size) })
    }
    competitors.push({ name: "direct", run: direct(openMemory, effort.eventsPerSample(10)) })
    const measured = yield* alternate(competitors, effort)
    const named = (name: string) => measured.find((found) => found.name === name)!
    return {
      rows: sizes.map((batchSize) => ({
        batchSize,
        size: sizeOf(batchSize, effort),
        library: named(`library ${batchSize}`),
        storeAlone: named(`store ${batchSize}`)
      })),
      direct: named("direct")
    }
  })
