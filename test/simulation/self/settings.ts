/**
 * What a history of the library itself is made of, how it differs from seed to seed, and how it is made smaller.
 */
import type * as Duration from "effect/Duration"
import type { Backend } from "../../../src/Backend.ts"
import { type Ended, lanes } from "../../../src/testing/simulate/history.ts"
import { defaults as trouble, type Trouble } from "../../../src/testing/simulate/settings.ts"
import { type Aspect, lower, off, without } from "../../../src/testing/simulate/shrink.ts"
import { Chance } from "../../../src/testing/virtual/chance.ts"
import type { SelfTest } from "./box.ts"

/** All options of a history, resolved; durations in milliseconds. 0 turns off what comes at a rate or an interval. */
export interface Settings extends Trouble {
  /** Events that clients emit, repeated ones included. */
  readonly events: number
  /** Recipients; the first of them get most of the events. */
  readonly recipients: number
  /** Events of one emit. */
  readonly maxBurst: number
  /** Events of one batch. */
  readonly maxEvents: number
  /** How thick events come: events per recipient and `tombstonesDelay`, on average. */
  readonly eventsPerDelay: number
  /** Bytes that the head of tombstones may have. A small one makes pages come and go. */
  readonly maxHeadBytes: number
  /** How many calls of clients repeat an id that was used before, soon after or beyond its window. */
  readonly repeats: number
  /** How many events make their batch emit another one. */
  readonly sideEffects: number
  /** How many events are garbage. */
  readonly garbage: number
  /** How many events leave the state as it is. */
  readonly keeps: number
}

/** Settings as a test gives them: what is not given is as in `defaults`, durations in any form. */
export type Options =
  & { readonly [K in keyof Settings]?: K extends Span ? Duration.Input : Settings[K] }
  & {
    /** Stands between the network and the database: for a database that is wrong on purpose. */
    readonly wrap?: (database: Backend) => Backend
    /** Whether to look for a smaller history when one fails; true unless given. */
    readonly shrink?: boolean
  }

type Span = typeof durations[number]

/** The options that are durations, and those that are positive integers. */
export const durations = [
  "tombstonesDelay",
  "maxSkew",
  "maxDelay",
  "maxLateness",
  "maxDeleteDelay",
  "lifetime",
  "pauseEvery"
] as const
export const counts = ["events", "recipients", "processes", "maxBurst", "maxEvents"] as const

/** What is not given. */
export const defaults: Omit<Settings, "seed"> = {
  ...trouble,
  events: 10_000,
  recipients: 200,
  maxBurst: 30,
  maxEvents: 40,
  eventsPerDelay: 10,
  maxHeadBytes: 16 * 1_024,
  repeats: 0.3,
  sideEffects: 0.15,
  garbage: 0.05,
  keeps: 0.4
}

/** How often clients and workers act, so that events come as thick as asked for, and in batches of some. */
export const gapsOf = (settings: Settings): { readonly client: number; readonly worker: number } => {
  const { eventsPerDelay, maxBurst, maxEvents, processes, recipients, tombstonesDelay } = settings
  const perEvent = tombstonesDelay * processes / (recipients * eventsPerDelay)
  return {
    client: perEvent * (0.3 + 0.35 * (1 + maxBurst)),
    worker: perEvent * lanes * Math.min(30, 0.4 * (1 + maxEvents))
  }
}

type Own = Ended<SelfTest>

const emitted = ({ job }: Own): number => job.ledger.counts.emitted

/** Ways to a smaller history. */
export const aspects: ReadonlyArray<Aspect<Settings, Own>> = [
  // The same history as far as it failed.
  {
    changes: (settings, ended) => emitted(ended) < settings.events ? [{ events: Math.max(1, emitted(ended)) }] : []
  },
  // What comes thick takes few events to go wrong, and everything else is cheap to try in a short history.
  {
    changes: ({ eventsPerDelay }) => eventsPerDelay < 10_000 ? [{ eventsPerDelay: eventsPerDelay * 4 }] : [],
    isSimpler: (tried, best) => emitted(tried) < emitted(best)
  },
  lower("events"),
  lower("maxBurst"),
  lower("recipients"),
  lower("processes"),
  lower("maxEvents"),
  off("lifetime"),
  off("pauseEvery"),
  off("maxSkew"),
  without("deleteFaults"),
  without("faults"),
  off("sideEffects"),
  off("garbage"),
  off("repeats")
]

/**
 * Settings drawn from a seed: every seed is another kind of trouble, and what is absent in one lets another one hide.
 */
export const vary = (seed: number, events: number = defaults.events): Settings => {
  const chance = new Chance(seed * 2 + 1)
  const some = <A>(value: A, none: A, often = 0.75): A => chance.happens(often) ? value : none
  /** Small numbers as often as great ones. */
  const spread = (from: number, to: number) => Math.round(from * (to / from) ** chance.next())
  const rate = (most: number) => some(Math.round(most * chance.next() * 1_000) / 1_000, 0)
  const tombstonesDelay = spread(3_000, 60_000)
  const recipients = spread(2, 500)
  const settings: Settings = {
    seed,
    events,
    recipients,
    processes: spread(2, 40),
    // Some beyond the 500 writes of one request.
    maxBurst: some(spread(10, 300), 900, 0.9),
    maxEvents: some(spread(10, 300), 1_500, 0.9),
    eventsPerDelay: Math.max(1, Math.round(events / recipients / spread(4, 30))),
    tombstonesDelay,
    // Half of them with so small a head that pages come and go all the time, or every pop has one.
    maxHeadBytes: seed % 2 === 0 ? 16 * 1_024 : [1, 200, 1_000, 4_000][(seed >> 1) % 4]!,
    // Some clocks are off by several windows: then little depends on them that is checked.
    maxSkew: some(Math.floor(tombstonesDelay * (chance.happens(0.25) ? 3 : 0.06) * chance.next()), 0),
    maxDelay: spread(tombstonesDelay / 200, tombstonesDelay / 8),
    maxLateness: spread(100, tombstonesDelay / 5),
    maxDeleteDelay: spread(tombstonesDelay / 50, tombstonesDelay * 2),
    lifetime: some(spread(tombstonesDelay / 4, tombstonesDelay * 6), 0),
    pauseEvery: some(spread(tombstonesDelay / 4, tombstonesDelay * 6), 0),
    faults: {
      readFailure: rate(0.04),
      requestLost: rate(0.06),
      responseLost: rate(0.06),
      late: rate(0.06),
      contention: rate(0.06),
      delay: chance.pick([0.9, 0.5, 0.2, 0.1])
    },
    deleteFaults: {
      requestLost: rate(0.5),
      responseLost: rate(0.2),
      late: rate(0.3),
      contention: rate(0.2),
      delay: chance.pick([1, 0.5, 0.2])
    },
    repeats: rate(0.5),
    sideEffects: rate(0.4),
    garbage: rate(0.15),
    keeps: some(chance.next(), 0)
  }
  return chance.happens(0.4) ? { ...settings, ...reusing(settings) } : settings
}

/** Ids come back again and again while the deletes of their first life are still under way. */
const reusing = ({ deleteFaults, events, recipients, tombstonesDelay }: Settings): Partial<Settings> => {
  const few = Math.min(recipients, 30)
  return {
    recipients: few,
    maxBurst: 10,
    eventsPerDelay: Math.max(1, Math.round(events / few / 15)),
    repeats: 0.6,
    maxDeleteDelay: tombstonesDelay * 3,
    deleteFaults: { ...deleteFaults, delay: 1 }
  }
}
