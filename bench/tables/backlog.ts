/**
 * A large backlog of one recipient, drained: memory and reads of a batch, whatever waits behind it.
 */
import { Effect, Layer, type Scope } from "effect"
import { Datastore, Eventbox } from "effect-eventbox"
import type { Backend } from "effect-eventbox/Backend"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { mark, type Proof, since } from "../measure.ts"
import { byEffort, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatTable, reportProof } from "../table.ts"
import { addTotal, checkMailboxes, Counter } from "../workloads/counter.ts"
import { type Latency, makeDeepStore, serviceLatency } from "../workloads/deepStore.ts"

/** One backlog, drained in batches of one size. */
export interface BacklogRow {
  readonly events: number
  readonly maxEvents: number
  readonly batches: number
  readonly eventsPerSecond: number
  /** Entities that the queries of one batch returned, at most. */
  readonly mostRead: number
  /** Entities that all queries returned. */
  readonly read: number
  /** Live bytes of the process while a batch is decided, at most, beyond those before the first one. */
  readonly mostLiveBytes: number
}

/** What was measured. */
export interface BacklogData {
  readonly rows: ReadonlyArray<BacklogRow>
  readonly proof: Proof
}

/** What is to be drained. */
export interface BacklogCase {
  /** Whether to find out what the process holds, which takes a garbage collection for every batch. */
  readonly weighed: boolean
  readonly events: number
  readonly maxEvents: number
}

const casesOf = ({ effort }: Setting): ReadonlyArray<BacklogCase> => {
  const { backlogs, sizes } = byEffort(effort, {
    smoke: { backlogs: [40, 80], sizes: [10, 20] },
    ordinary: { backlogs: [20_000, 200_000], sizes: [1_000, 10_000] },
    full: { backlogs: [20_000, 200_000, 400_000], sizes: [100, 1_000, 10_000] }
  })
  return sizes.flatMap((maxEvents) => backlogs.map((events) => ({ events, maxEvents, weighed: true })))
}

const measure = (setting: Setting): Effect.Effect<BacklogData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const rows: Array<BacklogRow> = []
    let proof: Proof = { samples: 0, count: 0, sum: 0 }
    for (const each of casesOf(setting)) {
      const { row, total } = yield* drainBacklog(each, serviceLatency)
      rows.push(row)
      proof = { ...addTotal(proof, total), samples: proof.samples + 1 }
    }
    return { rows, proof }
  })

/** Drains one backlog, and checks that every event of it was counted. */
export const drainBacklog = ({ events, maxEvents, weighed }: BacklogCase, latency: Latency) =>
  Effect.gen(function*() {
    const recipient = Counter.recipient("behind")
    const backend = yield* makeDeepStore(recipient.key, events, latency)
    const reads = { now: 0, most: 0, all: 0 }
    const memory = { before: 0, most: 0, gcMicros: 0 }
    const probe = () => {
      const start = mark()
      if (weighed) memory.most = Math.max(memory.most, liveBytes() - memory.before)
      memory.gcMicros += since(start).wallMicros
      reads.most = Math.max(reads.most, reads.now)
      reads.now = 0
    }
    const drained = Effect.gen(function*() {
      memory.before = yield* settledBytes
      const start = mark()
      const summary = yield* Eventbox.drain(Counter, recipient, { maxEvents })
      return { summary, micros: since(start).wallMicros - memory.gcMicros }
    })
    const counting = countingReads(backend, (read) => {
      reads.now += read
      reads.all += read
    })
    const { micros, summary } = yield* Effect.provide(drained, [
      Datastore.layer(Effect.succeed(counting)),
      probedCounter(probe)
    ])
    const total = yield* Effect.provide(checkMailboxes([recipient], events), [
      Datastore.layer(Effect.succeed(backend)),
      Counter.layer
    ])
    const row: BacklogRow = {
      events,
      maxEvents,
      batches: summary.batches,
      eventsPerSecond: events * 1e6 / micros,
      mostRead: reads.most,
      read: reads.all,
      mostLiveBytes: memory.most
    }
    return { row, total }
  })

const countingReads = (backend: Backend, count: (results: number) => void): Backend => ({
  ...backend,
  query: (request) =>
    Effect.map(backend.query(request), (answer) => {
      count(answer.results.length)
      return answer
    })
})

/** The box with a look at the process whenever a batch is decided: all that it listed is held then. */
const probedCounter = (probe: () => void) =>
  Layer.effect(
    Counter,
    Effect.map(Counter, (counter) => ({
      ...counter,
      prepareMutation: (...args: Parameters<typeof counter.prepareMutation>) =>
        Effect.suspend(() => {
          probe()
          return counter.prepareMutation(...args)
        })
    }))
  ).pipe(Layer.provide(Counter.layer))

/** The same once what was used before has been let go of, which takes some turns. */
const settledBytes = Effect.gen(function*() {
  let before = Number.POSITIVE_INFINITY
  let now = liveBytes()
  while (now < before) {
    yield* Effect.sleep(200)
    before = now
    now = liveBytes()
  }
  return now
})

let collectGarbage: (() => void) | undefined

/** What the process holds, without garbage. */
const liveBytes = (): number => {
  if (collectGarbage === undefined) {
    setFlagsFromString("--expose-gc")
    collectGarbage = runInNewContext("gc") as () => void
  }
  collectGarbage()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

const report = ({ proof, rows }: BacklogData): string =>
  [
    formatTable(
      ["BACKLOG", "batches of", "batches", "events/s", "read per event", "most live MiB", "to the first of its size"],
      rows.map((row) => [
        formatNumber(row.events),
        formatNumber(row.maxEvents),
        formatNumber(row.batches),
        formatNumber(row.eventsPerSecond),
        formatNumber(row.read / row.events),
        formatNumber(row.mostLiveBytes / 2 ** 20),
        `x ${
          formatNumber(row.mostLiveBytes / rows.find(({ maxEvents }) => maxEvents === row.maxEvents)!.mostLiveBytes)
        }`
      ])
    ),
    [
      `\`Eventbox.drain\` of one recipient, events of about 35 bytes, on a store that makes them when they are read and takes`,
      `${serviceLatency.query} ms for a query, ${serviceLatency.lookup} for a lookup and ${serviceLatency.commit} for a commit. read`,
      "per event: entities that all queries returned, for each event. most live: heap and buffers of the process after a full garbage collection while a batch is decided, beyond those before the",
      "first batch; the time of these collections is not counted in events/s."
    ].join("\n"),
    reportProof(proof)
  ].join("\n\n")

/** The table. */
export const backlog: Table<BacklogData> = {
  name: "backlog",
  question: "What does a batch cost when a large backlog waits behind it?",
  needsEmulator: false,
  measure,
  report
}
