/**
 * One recipient that many send to, and one to sixteen workers.
 */
import { Effect, Fiber, Option, type Scope } from "effect"
import type { Datastore } from "effect-eventbox"
import * as GoogleDatastore from "effect-eventbox/layers/GoogleDatastore"
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import { mark, type Proof, since, type Spread, spreadOf } from "../measure.ts"
import { nodeArguments } from "../network.ts"
import { byEffort, freshProject, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatSpread, formatTable, reportProof } from "../table.ts"
import { addTotal, checkMailboxes, Counter, type Total } from "../workloads/counter.ts"
import { serviceLatency } from "../workloads/deepStore.ts"
import { addDrained, type Drained, drainers, emitByMany, hasCounted } from "../workloads/drainer.ts"
import { drainLuci } from "../workloads/luciDrainer.ts"
import { drainVirtual } from "../workloads/virtualDrainer.ts"

/**
 * Where the workers are: fibers of one process that take turns or do not, processes with one worker each, workers that
 * share as little in virtual time, or LUCI's batch in one process.
 */
const places = ["turns", "fight", "processes", "virtual", "luci"] as const

/** Where the workers are. */
export type Place = typeof places[number]

/** So many workers at one place. */
export interface HotRow {
  readonly place: Place
  readonly workers: number
  readonly eventsPerSecond: Spread
  /** Batches that another worker won, for each one that landed. */
  readonly contendedPerBatch: Spread
  readonly batches: Spread
  /** Events that the entity counted twice. */
  readonly twice: Spread
}

/** What was measured. */
export interface HotData {
  readonly rows: ReadonlyArray<HotRow>
  readonly events: number
  readonly luciEvents: number
  readonly maxEvents: number
  readonly senders: number
  readonly samples: number
  readonly proof: Proof
}

interface HotEffort {
  readonly workers: ReadonlyArray<number>
  readonly processes: ReadonlyArray<number>
  readonly virtual: ReadonlyArray<number>
  readonly events: number
  /**
   * With LUCI's batch: its workers wait for each other's locks, and a few hundred events take as long as all others.
   */
  readonly luci: { readonly workers: ReadonlyArray<number>; readonly events: number }
  readonly maxEvents: number
  readonly samples: number
}

const hotEffort = ({ effort, samples }: Setting): HotEffort =>
  byEffort(effort, {
    smoke: {
      workers: [1, 2],
      processes: [2],
      virtual: [1, 2],
      events: 40,
      luci: { workers: [1], events: 20 },
      maxEvents: 10,
      samples: 1
    },
    ordinary: {
      workers: [1, 2, 4, 8, 16],
      processes: [1, 2, 4, 8],
      virtual: [1, 2, 4, 8, 16],
      events: 2_000,
      luci: { workers: [1, 2, 4], events: 200 },
      maxEvents: 50,
      samples: samples ?? 3
    },
    full: {
      workers: [1, 2, 4, 8, 16],
      processes: [1, 2, 4, 8, 16],
      virtual: [1, 2, 4, 8, 16],
      events: 8_000,
      luci: { workers: [1, 2, 4, 8, 16], events: 400 },
      maxEvents: 100,
      samples: samples ?? 5
    }
  })

/** Senders at a time, each with ten events in a commit. */
const senders = 16
const eventsPerEmit = 10

interface Case {
  readonly place: Place
  readonly workers: number
  readonly events: number
}

interface Sample {
  readonly seconds: number
  readonly drained: Drained
  readonly twice: number
}

const measure = (setting: Setting): Effect.Effect<HotData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const effort = hotEffort(setting)
    const cases = places.flatMap((place) =>
      workersAt(place, effort).map((workers) => ({ place, workers, events: eventsAt(place, effort) }))
    )
    const samples = new Map(cases.map((each) => [each, [] as Array<Sample>]))
    let proof: Proof = { samples: 0, count: 0, sum: 0 }
    for (let round = 0; round < effort.samples; round++) {
      for (let turn = 0; turn < cases.length; turn++) {
        const each = cases[(round + turn) % cases.length]!
        const { sample, total } = yield* Effect.scoped(measureCase(setting.emulatorHost, each, effort.maxEvents, round))
        samples.get(each)!.push(sample)
        if (total !== undefined) proof = { ...addTotal(proof, total), samples: proof.samples + 1 }
      }
    }
    return {
      rows: cases.map((each) => {
        const found = samples.get(each)!
        return {
          place: each.place,
          workers: each.workers,
          eventsPerSecond: spreadOf(found.map(({ seconds }) => each.events / seconds)),
          contendedPerBatch: spreadOf(found.map(({ drained }) => drained.contended / drained.batches)),
          batches: spreadOf(found.map(({ drained }) => drained.batches)),
          twice: spreadOf(found.map(({ twice }) => twice))
        }
      }),
      events: effort.events,
      luciEvents: effort.luci.events,
      maxEvents: effort.maxEvents,
      senders,
      samples: effort.samples,
      proof
    }
  })

const workersAt = (place: Place, effort: HotEffort): ReadonlyArray<number> => {
  switch (place) {
    case "luci":
      return effort.luci.workers
    case "processes":
      return effort.processes
    case "virtual":
      return effort.virtual
    default:
      return effort.workers
  }
}

const eventsAt = (place: Place, { events, luci }: HotEffort): number => place === "luci" ? luci.events : events

/** Half of the events are there when the workers start, and half come while they work. */
const measureCase = (
  host: string,
  each: Case,
  maxEvents: number,
  round: number
): Effect.Effect<{ readonly sample: Sample; readonly total: Total | undefined }, unknown, Scope.Scope> => {
  switch (each.place) {
    case "luci":
      return measureLuci(host, each, maxEvents)
    case "virtual":
      return measureVirtual(each, maxEvents, round)
    default:
      return measureOurs(host, each, maxEvents)
  }
}

const measureVirtual = ({ events, workers }: Case, maxEvents: number, round: number) =>
  Effect.map(
    drainVirtual({ workers, maxEvents, events, senders, eventsPerEmit, latency: serviceLatency, seed: `${round}` }),
    ({ drained, seconds, total }) => ({ sample: { seconds, drained, twice: 0 }, total })
  )

const measureLuci = (host: string, { events, workers }: Case, maxEvents: number) =>
  Effect.gen(function*() {
    const address = { host, projectId: freshProject() }
    const load = { workers, maxEvents, events, senders, eventsPerEmit }
    const { drained, seconds, total } = yield* Effect.promise(() => drainLuci(address, load))
    // Events that are consumed twice are an answer here, not a failure of the benchmark.
    return { sample: { seconds, drained, twice: total.count - events }, total: undefined }
  })

const measureOurs = (host: string, { events, place, workers }: Case, maxEvents: number) =>
  Effect.gen(function*() {
    const projectId = freshProject()
    const recipient = Counter.recipient("hot")
    const emitted = (from: number, to: number) => emitByMany(recipient, { senders, eventsPerEmit }, from, to)
    return yield* Effect.gen(function*() {
      yield* emitted(0, events / 2)
      const team = place === "processes" ? yield* forkTeam(host, projectId, workers, maxEvents) : undefined
      const begin = mark()
      const sending = yield* Effect.forkChild(emitted(events / 2, events))
      const context = yield* Effect.context<Counter | Datastore.Datastore>()
      const done = Effect.provideContext(hasCounted(recipient, events), context)
      const drained: Drained = team === undefined
        ? yield* drainers({ recipient, workers, maxEvents, manner: place === "fight" ? "fight" : "turns", done })
        : yield* team.drain(done)
      const seconds = since(begin).wallMicros / 1e6
      yield* Fiber.join(sending)
      return { sample: { seconds, drained, twice: 0 }, total: yield* checkMailboxes([recipient], events) }
    }).pipe(Effect.provide([Counter.layer, GoogleDatastore.layer({ emulatorHost: host, projectId })]))
  })

/** Processes that are connected and wait. */
const forkTeam = (host: string, projectId: string, workers: number, maxEvents: number) =>
  Effect.gen(function*() {
    const script = join(import.meta.dirname, "../drainProcess.ts")
    const team = yield* Effect.acquireRelease(
      Effect.sync(() =>
        Array.from(
          { length: workers },
          () => fork(script, [host, projectId, "hot", String(maxEvents)], { execArgv: [...nodeArguments] })
        )
      ),
      (children) =>
        Effect.sync(() => {
          for (const child of children) child.kill()
        })
    )
    yield* Effect.promise(() => Promise.all(team.map((child) => nextMessage(child))))
    return {
      drain: (done: Effect.Effect<boolean>) =>
        Effect.gen(function*() {
          for (const child of team) child.send("start")
          while (!(yield* done)) yield* Effect.sleep(5)
          const results = Promise.all(team.map((child) => nextMessage(child)))
          for (const child of team) child.send("end")
          const all = (yield* Effect.promise(() => results)) as ReadonlyArray<Drained>
          return all.reduce(addDrained)
        })
    }
  })

const nextMessage = (child: ChildProcess): Promise<unknown> =>
  new Promise((done, fail) => {
    const gone = (code: number | null) => fail(new Error(`a worker of the benchmark ended with code ${code}`))
    child.once("exit", gone)
    child.once("message", (message) => {
      child.off("exit", gone)
      done(message)
    })
  })

const names = {
  turns: "fibers, taking turns",
  fight: "fibers, each for itself",
  processes: "processes",
  virtual: "each alone, virtual time",
  luci: "LUCI's batch, each for itself"
} as const

const report = ({ events, luciEvents, maxEvents, proof, rows, samples, senders: count }: HotData): string =>
  [
    `${samples} samples each, in turn; median (least..greatest)`,
    formatTable(
      ["WORKERS", "", "events/s", "to the first row", "lost races per batch", "batches", "counted twice"],
      rows.map((row) => [
        names[row.place],
        formatNumber(row.workers),
        formatSpread(row.eventsPerSecond),
        `x ${formatNumber(row.eventsPerSecond.median / firstOf(rows, row.place).eventsPerSecond.median)}`,
        formatSpread(row.contendedPerBatch),
        formatSpread(row.batches),
        formatSpread(row.twice)
      ])
    ),
    [
      `${
        formatNumber(events)
      } events for one recipient on the emulator, half of them there at the start, half emitted by ${count} senders during`,
      `the work; batches of at most ${formatNumber(maxEvents)}. Until the last event is counted.`,
      "fibers, taking turns: `Eventbox.process` in one process. each for itself: `processBatch`, again after 5 to 25 ms when",
      "it lost, as LUCI's batch on the plain client. processes: one worker with `Eventbox.process` each; all share the",
      "cores with the emulator. each alone, virtual time: as processes, but in memory and without the cores: a lookup takes",
      `${serviceLatency.lookup} ms, a query ${serviceLatency.query} and a commit ${serviceLatency.commit}, each more or ` +
      "less by up to a half, and a refused commit delays nobody.",
      `LUCI's batch: ${
        formatNumber(luciEvents)
      } events; its transactions lock what they read, and the emulator lets them wait for`,
      "each other for seconds. It stands for the algorithm, not for LUCI's Go program, which is faster."
    ].join("\n"),
    reportProof(proof)
  ].join("\n\n")

const firstOf = (rows: ReadonlyArray<HotRow>, place: Place): HotRow =>
  Option.getOrThrow(Option.fromNullishOr(rows.find((row) => row.place === place)))

const losses = ({ rows }: HotData): ReadonlyArray<string> =>
  rows.filter((row) => row.place !== "luci").filter((row) =>
    row.eventsPerSecond.median < 0.8 * firstOf(rows, row.place).eventsPerSecond.median
  ).map((row) =>
    `a hot recipient, ${row.workers} ${names[row.place]}: x ${
      formatNumber(row.eventsPerSecond.median / firstOf(rows, row.place).eventsPerSecond.median)
    } of the throughput of the first row`
  )

/** The table. */
export const hot: Table<HotData> = {
  name: "hot",
  question: "What do more workers do for one hot recipient?",
  needsEmulator: true,
  measure,
  report,
  losses
}
