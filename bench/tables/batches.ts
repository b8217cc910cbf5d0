/**
 * What a batch costs, beside the same work without this library: on the emulator, over gRPC.
 */
import { Effect, type Scope } from "effect"
import { Datastore } from "effect-eventbox"
import { countBatches } from "../counts.ts"
import {
  alternate,
  type Bill,
  type Competitor,
  eventsPerSecond,
  figure,
  mark,
  type Measured,
  type Proof,
  proofOf,
  type Sample,
  since,
  type Spread,
  spreadOf
} from "../measure.ts"
import { makeNetwork, type Network } from "../network.ts"
import { type Rpcs, rpcsSince } from "../rpcs.ts"
import { byEffort, freshProject, openEmulator, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatSpread, formatTable, reportProof } from "../table.ts"
import { Counter } from "../workloads/counter.ts"
import { luci } from "../workloads/luci.ts"
import { mailbox } from "../workloads/mailbox.ts"
import { naive } from "../workloads/naive.ts"

/** Names of the competitors, in the order of their columns. */
export const competitors = ["naive", "luci", "library"] as const

/** A competitor. */
export type Name = typeof competitors[number]

/** What one competitor took at one delay. */
export interface Timed {
  readonly eventsPerSecond: Spread
  /** Of one batch, from its begin until its commit landed. */
  readonly landMillis: Spread
  /** Of one batch, until its result. */
  readonly resultMillis: Spread
  readonly cpuMicrosPerEvent: Spread
}

/** What one batch of one competitor takes, counted: emitting, processing and deleting. */
export interface Counted {
  readonly rpcs: Rpcs
  /** Sequential round trips of processing, until the result. */
  readonly rounds: number
  readonly bill: Bill
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** One batch size. */
export interface BatchesRow {
  readonly batchSize: number
  readonly counted: { readonly [K in Name]: Counted }
  /** By the delay of each way, in ms. */
  readonly timed: ReadonlyArray<{ readonly delayMillis: number; readonly by: { readonly [K in Name]: Timed } }>
}

/** What was measured. */
export interface BatchesData {
  readonly rows: ReadonlyArray<BatchesRow>
  /** How long one lookup of one key takes at each delay. */
  readonly lookups: ReadonlyArray<{ readonly delayMillis: number; readonly lookupMillis: Spread }>
  readonly samples: ReadonlyArray<number>
  readonly proof: Proof
}

/** How much to measure at one delay. */
export interface BatchesEffort {
  readonly warmUp: number
  readonly counted: number
  readonly delayMillis: number
  /** Events of a sample of `naive`. */
  readonly singleEvents: number
  /** Batches of a sample, by batch size. */
  readonly batches: (batchSize: number) => number
}

/** The efforts, one for each delay. */
export const batchesEfforts = (
  { effort, samples }: Pick<Setting, "effort" | "samples">
): ReadonlyArray<BatchesEffort> =>
  byEffort(effort, {
    smoke: [
      { warmUp: 0, counted: 2, delayMillis: 0, singleEvents: 3, batches: () => 2 },
      { warmUp: 0, counted: 1, delayMillis: 10, singleEvents: 2, batches: () => 1 }
    ],
    ordinary: [
      { warmUp: 1, counted: samples ?? 5, delayMillis: 0, singleEvents: 40, batches: fewer(30) },
      { warmUp: 1, counted: samples ?? 3, delayMillis: 10, singleEvents: 15, batches: fewer(12) }
    ],
    full: [
      { warmUp: 2, counted: samples ?? 9, delayMillis: 0, singleEvents: 60, batches: fewer(60) },
      { warmUp: 1, counted: samples ?? 5, delayMillis: 10, singleEvents: 20, batches: fewer(20) }
    ]
  })

/** Large batches take longer, and fewer of them say as much. */
const fewer = (most: number) => (batchSize: number): number =>
  Math.max(3, Math.round(most / Math.max(1, 2 * Math.log10(batchSize))))

const measure = (setting: Setting): Effect.Effect<BatchesData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const { emulatorHost, sizes } = setting
    const network = yield* makeNetwork(emulatorHost)
    const efforts = batchesEfforts(setting)
    const counted = new Map<number, { [K in Name]: Counted }>()
    for (const size of sizes) counted.set(size, yield* countAll(network, emulatorHost, size))
    const all: Array<Measured> = []
    const lookups: Array<BatchesData["lookups"][number]> = []
    const timed: Array<{ readonly delayMillis: number; readonly measured: ReadonlyArray<Measured> }> = []
    for (const effort of efforts) {
      const { delayMillis } = effort
      yield* network.delay(delayMillis)
      const host = delayMillis === 0 ? emulatorHost : network.host
      const measured = yield* alternate(competitorsOf(host, sizes, effort), effort)
      all.push(...measured)
      timed.push({ delayMillis, measured })
      lookups.push({ delayMillis, lookupMillis: yield* timeLookups(host) })
    }
    return {
      rows: sizes.map((batchSize) => ({
        batchSize,
        counted: counted.get(batchSize)!,
        timed: timed.map(({ delayMillis, measured }) => ({ delayMillis, by: timedOf(measured, batchSize) }))
      })),
      lookups,
      samples: efforts.map((effort) => effort.counted),
      proof: proofOf(all)
    }
  })

const competitorsOf = (
  host: string,
  sizes: ReadonlyArray<number>,
  effort: BatchesEffort
): ReadonlyArray<Competitor<unknown>> => [
  { name: "naive", run: Effect.suspend(() => naive({ host, projectId: freshProject() }, effort.singleEvents)) },
  ...sizes.flatMap((batchSize) => {
    const batches = effort.batches(batchSize)
    return [
      {
        name: `luci ${batchSize}`,
        run: Effect.suspend(() => luci({ host, projectId: freshProject() }, { batchSize, batches }))
      },
      { name: `library ${batchSize}`, run: mailbox(openEmulator(host), { batchSize, batches, recipients: 1 }) }
    ]
  })
]

const timedOf = (measured: ReadonlyArray<Measured>, batchSize: number): { [K in Name]: Timed } => {
  const of = (name: string, eventsPerBatch: number): Timed => {
    const found = measured.find((each) => each.name === name)!
    const spread = (value: (sample: Sample) => number) => figure(found, value)!
    // A competitor without batches takes so many of its transactions for the events of one.
    const perBatch = (micros: number, sample: Sample) => micros / 1_000 / sample.batches * eventsPerBatch
    return {
      eventsPerSecond: spread(eventsPerSecond),
      landMillis: spread((sample) => perBatch((sample.land ?? sample.process!).wallMicros, sample)),
      resultMillis: spread((sample) => perBatch(sample.process!.wallMicros, sample)),
      cpuMicrosPerEvent: spread((sample) => sample.all.cpuMicros / sample.events)
    }
  }
  return { naive: of("naive", batchSize), luci: of(`luci ${batchSize}`, 1), library: of(`library ${batchSize}`, 1) }
}

/** How long one small read takes: a round trip, to read the other times by. */
const timeLookups = (host: string): Effect.Effect<Spread, unknown> =>
  Effect.gen(function*() {
    const { layer } = yield* openEmulator(host)
    const times: Array<number> = []
    const look = Effect.gen(function*() {
      for (let round = 0; round < 20; round++) {
        const begin = mark()
        yield* Datastore.get(Counter.recipient("lookup").key)
        // The first one connects.
        if (round > 0) times.push(since(begin).wallMicros / 1_000)
      }
    })
    yield* Effect.provide(look, layer)
    return spreadOf(times)
  })

// ---------------------------------------------------------------------------------------------------------------------
// Counts
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Counts the second batch of a recipient, which finds a state and tombstones: a run of two batches less one of one,
 * so that connecting and closing are left out.
 */
const countAll = (
  network: Network,
  emulatorHost: string,
  batchSize: number
): Effect.Effect<{ [K in Name]: Counted }, unknown> =>
  Effect.gen(function*() {
    const [library] = yield* countBatches((yield* openEmulator(emulatorHost)).layer, [batchSize])
    const { reads, rounds, unwrittenExpectations, writes, deletes } = library!
    const ours = yield* countSecond(network, (batches) =>
      mailbox(openEmulator(network.host), { batchSize, batches, recipients: 1 }))
    const plain = yield* countSecond(network, (batches) =>
      naive({ host: network.host, projectId: freshProject() }, batches))
    const original = yield* countSecond(network, (batches) =>
      luci({ host: network.host, projectId: freshProject() }, { batchSize, batches }))
    const { sample: _ours, ...oursCounted } = ours
    const { sample: _plain, ...plainCounted } = plain
    const { sample, ...originalCounted } = original
    return {
      naive: times({ ...plainCounted, rounds: 3 }, batchSize),
      luci: { ...originalCounted, rounds: (sample as Sample & { readonly rounds: number }).rounds },
      library: { ...oursCounted, rounds, bill: { reads, writes: writes + unwrittenExpectations, deletes } }
    }
  })

const countSecond = (network: Network, run: (batches: number) => Effect.Effect<Sample, unknown>) =>
  Effect.gen(function*() {
    const one = yield* withBytes(network, run(1))
    const two = yield* withBytes(network, run(2))
    return {
      sample: two.sample,
      rpcs: rpcsSince(two.sample.rpcs!, one.sample.rpcs!),
      bytesSent: two.toServer - one.toServer,
      bytesReceived: two.toClient - one.toClient,
      bill: minus(two.sample.bill ?? nothing, one.sample.bill ?? nothing)
    }
  })

const nothing: Bill = { reads: 0, writes: 0, deletes: 0 }

const minus = (self: Bill, that: Bill): Bill => ({
  reads: self.reads - that.reads,
  writes: self.writes - that.writes,
  deletes: self.deletes - that.deletes
})

const withBytes = (network: Network, run: Effect.Effect<Sample, unknown>) =>
  Effect.gen(function*() {
    const before = yield* network.bytes
    const sample = yield* run
    const after = yield* network.bytes
    return { sample, toServer: after.toServer - before.toServer, toClient: after.toClient - before.toClient }
  })

/** So many transactions of one event as a batch has events. */
const times = (counted: Counted, events: number): Counted => ({
  rpcs: Object.fromEntries(Object.entries(counted.rpcs).map(([method, count]) => [method, count * events])),
  rounds: counted.rounds * events,
  bill: {
    reads: counted.bill.reads * events,
    writes: counted.bill.writes * events,
    deletes: counted.bill.deletes * events
  },
  bytesSent: counted.bytesSent * events,
  bytesReceived: counted.bytesReceived * events
})

// ---------------------------------------------------------------------------------------------------------------------
// The report
// ---------------------------------------------------------------------------------------------------------------------

interface Line {
  readonly name: string
  readonly better: "more" | "less"
  readonly value: (name: Name) => number
  readonly shown?: (name: Name) => string
}

const rpcsIn = (counted: Counted): number => Object.values(counted.rpcs).reduce((sum, count) => sum + count, 0)

const at = (delayMillis: number): string => delayMillis === 0 ? "no delay" : `${delayMillis} ms each way`

const linesOf = ({ batchSize, counted, timed }: BatchesRow): ReadonlyArray<Line> => {
  const spread = (name: string, better: Line["better"], of: (name: Name) => Spread): Line => ({
    name,
    better,
    value: (who) => of(who).median,
    shown: (who) => formatSpread(of(who))
  })
  const perEvent = (name: string, of: (counts: Counted) => number): Line => ({
    name,
    better: "less",
    value: (who) => of(counted[who]) / batchSize
  })
  return [
    ...timed.map(({ by, delayMillis }) =>
      spread(`events/s, ${at(delayMillis)}`, "more", (who) => by[who].eventsPerSecond)
    ),
    ...timed.map(({ by, delayMillis }) =>
      spread(`ms to the commit, ${at(delayMillis)}`, "less", (who) => by[who].landMillis)
    ),
    ...timed.map(({ by, delayMillis }) =>
      spread(`ms to the result, ${at(delayMillis)}`, "less", (who) => by[who].resultMillis)
    ),
    ...timed.filter(({ delayMillis }) => delayMillis === 0).map(({ by }) =>
      spread("us CPU per event", "less", (who) => by[who].cpuMicrosPerEvent)
    ),
    { name: "RPCs per batch", better: "less", value: (who) => rpcsIn(counted[who]) },
    { name: "round trips to the result", better: "less", value: (who) => counted[who].rounds },
    perEvent("reads per event", ({ bill }) => bill.reads),
    perEvent("writes per event", ({ bill }) => bill.writes),
    perEvent("deletes per event", ({ bill }) => bill.deletes),
    perEvent("bytes sent per event", ({ bytesSent }) => bytesSent),
    perEvent("bytes received per event", ({ bytesReceived }) => bytesReceived)
  ]
}

/** How many times better this library is. */
const gain = ({ better, value }: Line, than: Name): number =>
  better === "more" ? value("library") / value(than) : value(than) / value("library")

const showGain = (line: Line, than: Name): string => {
  const found = gain(line, than)
  return Number.isFinite(found) ? `x ${formatNumber(found)}` : "-"
}

const titles = { naive: "naive", luci: "LUCI's batch", library: "this library" }

const report = ({ lookups, proof, rows, samples }: BatchesData): string =>
  [
    `${samples.join(" and ")} samples each, in turn; median (least..greatest)`,
    ...rows.map((row) =>
      formatTable(
        [
          `BATCHES OF ${formatNumber(row.batchSize)}`,
          ...competitors.map((name) => titles[name]),
          "to naive",
          "to LUCI's"
        ],
        linesOf(row).map((line) => {
          const cells = competitors.map((name) => line.shown?.(name) ?? formatNumber(line.value(name)))
          return [line.name].concat(cells, showGain(line, "naive"), showGain(line, "luci"))
        })
      )
    ),
    ...lookups.map(({ delayMillis, lookupMillis }) =>
      `One lookup of one key takes ${formatSpread(lookupMillis)} ms with ${delayMillis} ms more on each way.`
    ),
    [
      "to naive, to LUCI's: how many times better this library is; below 1 it is worse.",
      "naive: one interactive transaction per event; its batch is as many of them as the batch has events.",
      "LUCI's batch: its algorithm and its calls on the plain API; the result comes after the delete, as there. It stands",
      "for the algorithm, not for LUCI: the Go program makes the same calls 1.8 to 5.6 times as fast."
    ].join("\n"),
    reportProof(proof)
  ].join("\n\n")

const losses = ({ rows }: BatchesData): ReadonlyArray<string> =>
  rows.flatMap((row) =>
    linesOf(row).flatMap((line) =>
      (["naive", "luci"] as const).filter((than) => gain(line, than) < 0.95).map((than) =>
        `batches of ${formatNumber(row.batchSize)}, ${line.name}: ${formatNumber(line.value("library"))}, ` +
        `${titles[than]} ${formatNumber(line.value(than))} (x ${formatNumber(gain(line, than))})`
      )
    )
  )

/** The table. */
export const batches: Table<BatchesData> = {
  name: "batches",
  question: "What does an event cost, beside the same work without this library?",
  needsEmulator: true,
  measure,
  report,
  losses
}
