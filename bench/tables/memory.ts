/**
 * What the library itself costs: CPU on the in-memory store.
 */
import { Effect } from "effect"
import { Datastore } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { type BatchCounts, countBatches } from "../counts.ts"
import {
  alternate,
  type Competitor,
  eventsPerSecond,
  figure,
  type Measured,
  type Proof,
  proofOf,
  type Sample,
  type Spread
} from "../measure.ts"
import { byEffort, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatRatio, formatSpread, formatTable, reportProof } from "../table.ts"
import { direct } from "../workloads/direct.ts"
import { type Bed, mailbox, type Size } from "../workloads/mailbox.ts"
import { makeStoreAlone } from "../workloads/storeAlone.ts"

/** How much to measure. */
export interface MemoryEffort {
  readonly warmUp: number
  readonly counted: number
  /** Events that a sample of a batch size has at least: enough for its share of garbage collections. */
  readonly eventsPerSample: (batchSize: number) => number
  /** Batches of one recipient at most. */
  readonly batchesPerRecipient: number
}

/** The effort. */
export const memoryEffort = ({ effort, samples }: Pick<Setting, "effort" | "samples">): MemoryEffort => {
  const some: MemoryEffort = {
    warmUp: 4,
    counted: samples ?? 15,
    eventsPerSample: (batchSize) => Math.min(10_000, Math.max(4_000, 1_000 * Math.ceil(Math.sqrt(batchSize)))),
    batchesPerRecipient: 20
  }
  return byEffort(effort, {
    smoke: { warmUp: 0, counted: 2, eventsPerSample: () => 20, batchesPerRecipient: 2 },
    ordinary: some,
    full: { ...some, counted: samples ?? 40 }
  })
}

/** CPU of one event, in us, and how many there are in a second. */
export interface MemoryCosts {
  readonly eventsPerSecond: Spread
  readonly micros: Spread
}

/** The measurements of one batch size. */
export interface MemoryRow {
  readonly batchSize: number
  readonly library: MemoryCosts & { readonly emitMicros: Spread; readonly processMicros: Spread }
  /** CPU to process one batch. */
  readonly batchMicros: Spread
  /** The same store operations without the library. */
  readonly storeAlone: MemoryCosts
}

/** What was measured in memory. */
export interface MemoryData {
  readonly rows: ReadonlyArray<MemoryRow>
  /** One optimistic transaction per event, without a mailbox. */
  readonly direct: MemoryCosts
  readonly counts: ReadonlyArray<BatchCounts>
  readonly samples: number
  readonly proof: Proof
}

const openMemory: Effect.Effect<Bed> = Effect.map(InMemory.makeStore, (store) => ({
  layer: Datastore.layer(Effect.succeed(store.backend))
}))

/** How one sample of a batch size is cut up. */
const sizeOf = (batchSize: number, { batchesPerRecipient, eventsPerSample }: MemoryEffort): Size => {
  // Large batches fill a recipient's tombstones faster.
  const batches = batchSize >= 1_000 ? Math.min(5, batchesPerRecipient) : batchesPerRecipient
  return { batchSize, batches, recipients: Math.max(1, Math.ceil(eventsPerSample(batchSize) / (batchSize * batches))) }
}

const perEvent = (part: "emit" | "process" | "all") => (sample: Sample): number =>
  sample[part]!.cpuMicros / sample.events

const costsOf = (measured: Measured): MemoryCosts => ({
  eventsPerSecond: figure(measured, eventsPerSecond)!,
  micros: figure(measured, perEvent("all"))!
})

const measure = (setting: Setting): Effect.Effect<MemoryData, unknown> =>
  Effect.gen(function*() {
    const { sizes } = setting
    const effort = memoryEffort(setting)
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
      rows: sizes.map((batchSize) => {
        const library = named(`library ${batchSize}`)
        return {
          batchSize,
          library: {
            ...costsOf(library),
            emitMicros: figure(library, perEvent("emit"))!,
            processMicros: figure(library, perEvent("process"))!
          },
          batchMicros: figure(library, (sample) => sample.process!.cpuMicros / sample.batches)!,
          storeAlone: costsOf(named(`store ${batchSize}`))
        }
      }),
      direct: costsOf(named("direct")),
      counts: yield* countBatches(InMemory.layer, sizes),
      samples: effort.counted,
      proof: proofOf(measured)
    }
  })

const report = ({ counts, direct: single, proof, rows, samples }: MemoryData): string =>
  [
    `${samples} samples each, in turn; median (least..greatest)`,
    formatTable(
      ["IN MEMORY", "events/s", "us CPU per event", "to emit", "to process", "store alone", "one by one / this"],
      [
        ...rows.map(({ batchSize, library, storeAlone }) => [
          `batches of ${formatNumber(batchSize)}`,
          formatSpread(library.eventsPerSecond),
          formatSpread(library.micros),
          formatSpread(library.emitMicros),
          formatSpread(library.processMicros),
          formatSpread(storeAlone.micros),
          formatRatio(single.micros, library.micros)
        ]),
        ["one by one", formatSpread(single.eventsPerSecond), formatSpread(single.micros), "-", "-", "-", "x 1"]
      ]
    ),
    [
      ...rows.filter(({ batchSize }) => batchSize === 1).map(({ batchMicros }) =>
        `A batch of 1: ${formatSpread(batchMicros)} us CPU to process.`
      ),
      "us CPU: user and system time of this whole process: library, in-memory store, JSON and schemas of events and",
      "state, garbage collection. Of that, the store alone takes what is printed under `store alone`.",
      "one by one: one `withTransaction` per event on the same entity, without a mailbox; the ratio is that of us CPU."
    ].join("\n"),
    reportCounts(counts),
    reportProof(proof)
  ].join("\n\n")

const reportCounts = (counts: ReadonlyArray<BatchCounts>): string =>
  [
    formatTable(
      ["EVENTS", "emit", "query", "lookup", "commit", "round trips", "reads", "writes", "deletes"],
      counts.map((count) => [
        formatNumber(count.batchSize),
        ...[
          count.emitCommits,
          count.queries,
          count.lookups,
          count.commits,
          count.rounds,
          count.reads,
          count.writes + count.unwrittenExpectations,
          count.deletes
        ].map(formatNumber)
      ])
    ),
    [
      "Operations and bill of emitting and processing one batch, counted at the backend; query, lookup, commit and round",
      "trips: of the batch."
    ].join("\n")
  ].join("\n\n")

const losses = ({ direct: single, rows }: MemoryData): ReadonlyArray<string> =>
  rows.filter(({ library }) => library.micros.median > single.micros.median).map(({ batchSize, library }) =>
    `in memory, batches of ${formatNumber(batchSize)}: ${formatNumber(library.micros.median)} us CPU per event, one ` +
    `transaction per event ${formatNumber(single.micros.median)}`
  )

/** The table. */
export const memory: Table<MemoryData> = {
  name: "memory",
  question: "What does the library itself cost, in CPU and in operations?",
  needsEmulator: false,
  measure,
  report,
  losses
}
