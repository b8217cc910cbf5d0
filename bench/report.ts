/**
 * What was measured, as text for a reader.
 */
import type { BatchCounts } from "./counts.ts"
import type { DelayResult, EmulatorResult } from "./emulator.ts"
import type { Machine } from "./machine.ts"
import { eventsPerSecond, figure, type Measured, type Sample, type Spread } from "./measure.ts"
import type { MemoryResult } from "./memory.ts"
import { sumRpcs } from "./rpcs.ts"
import { formatNumber, formatRatio, formatSpread, formatTable } from "./table.ts"
import { addTotal } from "./workloads/counter.ts"

/** The lines about the machine. */
export const reportMachine = (machine: Machine): string =>
  [
    `node ${machine.node}, effect ${machine.effect}, @google-cloud/datastore ${machine.googleClient}`,
    `${machine.processor}, ${machine.cores} cores, ${machine.system}`,
    `load of the minute before the start: ${machine.load.toFixed(2)}`
  ].join("\n")

const cpuPerEvent = (part: "emit" | "process" | "all") => (sample: Sample): number | undefined =>
  sample[part] === undefined ? undefined : sample[part].cpuMicros / sample.events

const must = (spread: Spread | undefined): Spread => spread!

const speed = (measured: Measured): Spread => must(figure(measured, eventsPerSecond))

const cpu = (measured: Measured): Spread => must(figure(measured, cpuPerEvent("all")))

/** The tables of the in-memory part. */
export const reportMemory = ({ direct, rows }: MemoryResult, counts: ReadonlyArray<BatchCounts>): string =>
  [
    `IN MEMORY: ${direct.samples.length} samples each, in turn; median (least..greatest)`,
    "",
    formatTable(
      ["", "events/s", "us CPU per event", "to emit", "to process", "store alone", "one by one / this"],
      [
        ...rows.map(({ batchSize, library, storeAlone }) => [
          `batches of ${formatNumber(batchSize)}`,
          formatSpread(speed(library)),
          formatSpread(cpu(library)),
          formatSpread(figure(library, cpuPerEvent("emit"))),
          formatSpread(figure(library, cpuPerEvent("process"))),
          formatSpread(cpu(storeAlone)),
          formatRatio(cpu(direct), cpu(library))
        ]),
        ["one by one", formatSpread(speed(direct)), formatSpread(cpu(direct)), "-", "-", "-", "x 1"]
      ]
    ),
    "",
    ...rows.filter(({ batchSize }) => batchSize === 1).map(({ library }) => {
      const perBatch = figure(library, (sample) => sample.process!.cpuMicros / sample.batches)
      return `A batch of 1: ${formatSpread(perBatch)} us CPU to process.`
    }),
    "us CPU: user and system time of this whole process: library, in-memory store, JSON and schemas of events and",
    "state, the deletes, garbage collection. Of that, the store alone takes what is printed under `store alone`.",
    "one by one: one `withTransaction` per event on the same entity, without a mailbox; the ratio is that of us CPU.",
    "",
    reportCounts(counts)
  ].join("\n")

/** The table of operations and bill. */
export const reportCounts = (counts: ReadonlyArray<BatchCounts>): string =>
  [
    "OPERATIONS AND BILL of emitting and processing one batch, counted at the backend",
    "",
    formatTable(
      ["events", "emit", "query", "lookup", "commit", "round trips", "later deletes", "reads", "writes", "deletes"],
      counts.map((count) => [
        formatNumber(count.batchSize),
        ...[
          count.emitCommits,
          count.queries,
          count.lookups,
          count.commits,
          count.rounds,
          count.deleteCommits,
          count.reads,
          count.writes + count.unwrittenExpectations,
          count.deletes
        ].map(formatNumber)
      ])
    ),
    "",
    "query, lookup, commit, round trips: before the result of the batch. later deletes: commits in the background."
  ].join("\n")

const rpcsPer = (measured: Measured, unit: "events" | "batches"): string => {
  const per = measured.samples.reduce((sum, sample) => sum + sample[unit], 0)
  return Object.entries(sumRpcs(measured.samples.map(({ rpcs }) => rpcs ?? {})))
    .map(([method, count]) => `${formatNumber(count / per)} ${method}`)
    .join(", ")
}

const delayTitle = (delayMillis: number): string =>
  delayMillis === 0 ? "WITHOUT A DELAY" : `WITH ${delayMillis} MS MORE ON EACH WAY`

const reportDelay = ({ delayMillis, direct, lookupMillis, naive, rows, senders }: DelayResult): string => {
  const row = (name: string, measured: Measured, unit: "events" | "batches", batched: boolean): Array<string> => [
    name,
    formatSpread(speed(measured)),
    formatRatio(speed(measured), speed(naive)),
    batched ? formatSpread(figure(measured, (sample) => sample.process!.wallMicros / 1_000 / sample.batches)) : "-",
    // The proxy runs in this process too, so its CPU cannot be told apart.
    delayMillis === 0 ? formatSpread(cpu(measured)) : "-",
    `${rpcsPer(measured, unit)} per ${unit === "events" ? "event" : "batch"}`
  ]
  return [
    `ON THE EMULATOR, ${
      delayTitle(delayMillis)
    }: ${naive.samples.length} samples each, in turn; median (least..greatest)`,
    "",
    formatTable(["", "events/s", "to naive", "ms per batch", "us CPU per event", "RPCs"], [
      row("naive", naive, "events", false),
      row("one by one", direct, "events", false),
      ...rows.map(({ batchSize, library }) => row(`batches of ${formatNumber(batchSize)}`, library, "batches", true)),
      ...(senders === undefined ? [] : [
        row(`${formatNumber(senders.size.batchSize)}, ${senders.senders} senders`, senders.library, "batches", true)
      ])
    ]),
    "",
    `One lookup of one key takes ${formatSpread(lookupMillis)} ms.`
  ].join("\n")
}

/** The tables of the emulator part. */
export const reportEmulator = ({ counts, delays }: EmulatorResult, memoryCounts: boolean): string =>
  [
    ...delays.map(reportDelay),
    [
      "naive: one interactive transaction per event with the plain API: run, get, save, commit; 3 RPCs in a row,",
      "  1 read and 1 write billed. one by one: the same with `withTransaction` of this library: 2 RPCs.",
      "ms per batch: `processBatch` alone, until its result. events/s: emitting, processing and all deletes.",
      "senders: every event emitted by itself, so many at a time. us CPU: of this process, gRPC included."
    ].join("\n"),
    ...(memoryCounts ? [] : [reportCounts(counts)])
  ].join("\n\n")

/** The line that says that the work was done. */
export const reportProof = (memory: MemoryResult | undefined, emulator: EmulatorResult | undefined): string => {
  const measured: Array<Measured> = []
  if (memory !== undefined) measured.push(memory.direct)
  for (const { library, storeAlone } of memory?.rows ?? []) measured.push(library, storeAlone)
  for (const { direct, naive, rows, senders } of emulator?.delays ?? []) {
    measured.push(naive, direct)
    for (const { library } of rows) measured.push(library)
    if (senders !== undefined) measured.push(senders.library)
  }
  const samples = measured.flatMap((each) => each.samples)
  const { count, sum } = samples.reduce((total, sample) => addTotal(total, sample.total), { count: 0, sum: 0 })
  return `CHECKED: ${formatNumber(samples.length)} samples left ${
    formatNumber(count)
  } events in their entities, the sum of ` +
    `the amounts ${formatNumber(sum)}, and no event in a mailbox: as computed beforehand, each sample by itself.`
}
