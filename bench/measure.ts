/**
 * Taking and summing up measurements: time and CPU of this process, several samples, competitors in turn.
 */
import { Effect } from "effect"
import type { Rpcs } from "./rpcs.ts"
import type { Total } from "./workloads/counter.ts"

/** What a stretch of work took, in microseconds. */
export interface Usage {
  readonly wallMicros: number
  /** User and system time of all threads of this process, garbage collection included. */
  readonly cpuMicros: number
}

/** A moment to measure from. */
export interface Mark {
  readonly at: number
  readonly cpu: NodeJS.CpuUsage
}

/** Reads both clocks. */
export const mark = (): Mark => ({ at: performance.now(), cpu: process.cpuUsage() })

/** What was used between two moments. */
export const between = (from: Mark, to: Mark): Usage => ({
  wallMicros: (to.at - from.at) * 1_000,
  cpuMicros: to.cpu.user - from.cpu.user + to.cpu.system - from.cpu.system
})

/** What was used since a moment. */
export const since = (from: Mark): Usage => between(from, mark())

/** Adds up what several stretches took. */
export const addUsage = (self: Usage, that: Usage): Usage => ({
  wallMicros: self.wallMicros + that.wallMicros,
  cpuMicros: self.cpuMicros + that.cpuMicros
})

/** Nothing used. */
export const noUsage: Usage = { wallMicros: 0, cpuMicros: 0 }

/** Entities that an operation is paid for. */
export interface Bill {
  readonly reads: number
  readonly writes: number
  readonly deletes: number
}

/** One run of a competitor over work whose result was checked. */
export interface Sample {
  readonly events: number
  /** Batches or transactions that the events took. */
  readonly batches: number
  /** The parts that the competitor tells apart; their sum is less than `all`. */
  readonly emit?: Usage
  readonly process?: Usage
  /** The part of `process` until the commits had landed, where that is not its end. */
  readonly land?: Usage
  /** From the first operation to the end of the last, work in the background included. */
  readonly all: Usage
  /** RPCs of that time, where there are any. */
  readonly rpcs?: Readonly<Rpcs>
  /** What the service would bill for that time, where it was counted. */
  readonly bill?: Bill
  /** Read back from the database afterwards, and found to be right. */
  readonly total: Total
}

/** One way of doing the work. */
export interface Competitor<E> {
  readonly name: string
  readonly run: Effect.Effect<Sample, E>
}

/** All samples of one competitor. */
export interface Measured {
  readonly name: string
  readonly samples: ReadonlyArray<Sample>
}

/**
 * Lets the competitors take turns, A B C, B C A, …: slow moments of a shared machine then hit all of them alike.
 * The first rounds are for the compiler of the engine and are not counted.
 */
export const alternate = <E>(
  competitors: ReadonlyArray<Competitor<E>>,
  rounds: { readonly warmUp: number; readonly counted: number }
): Effect.Effect<ReadonlyArray<Measured>, E> =>
  Effect.gen(function*() {
    const samples = new Map<string, Array<Sample>>(competitors.map(({ name }) => [name, []]))
    for (let round = 0; round < rounds.warmUp + rounds.counted; round++) {
      for (let turn = 0; turn < competitors.length; turn++) {
        const { name, run } = competitors[(round + turn) % competitors.length]!
        const sample = yield* run
        if (round >= rounds.warmUp) samples.get(name)!.push(sample)
      }
    }
    return competitors.map(({ name }) => ({ name, samples: samples.get(name)! }))
  })

/** The middle and the ends of several values. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Median, least and greatest of at least one value. */
export const spreadOf = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted[sorted.length - 1]! }
}

/** The spread of a figure over the samples of one competitor; `undefined` where it does not tell that part apart. */
export const figure = (
  measured: Measured,
  value: (sample: Sample) => number | undefined
): Spread | undefined => {
  const values = measured.samples.map(value).filter((found) => found !== undefined)
  return values.length === 0 ? undefined : spreadOf(values)
}

/** What the samples of several competitors left, added up: the proof that the work was done. */
export interface Proof extends Total {
  readonly samples: number
}

/** Adds up what samples left. */
export const proofOf = (measured: Iterable<Measured>): Proof => {
  let proof: Proof = { samples: 0, count: 0, sum: 0 }
  for (const { samples } of measured) {
    for (const { total } of samples) {
      proof = { samples: proof.samples + 1, count: proof.count + total.count, sum: proof.sum + total.sum }
    }
  }
  return proof
}

/** Events per second of wall-clock time. */
export const eventsPerSecond = (sample: Sample): number => sample.events * 1e6 / sample.all.wallMicros
