/**
 * What a simulated history is made of: every option as a number, so that a history is one line of JSON.
 */
import type { Rates } from "../Faulty.ts"
import { Chance } from "./random.ts"

/** All options of a history, resolved; durations in milliseconds. 0 turns off what comes at a rate or an interval. */
export interface Settings {
  readonly seed: number
  readonly events: number
  readonly recipients: number
  readonly workers: number
  readonly maxBurst: number
  readonly maxEvents: number
  readonly eventsPerDelay: number
  readonly tombstonesDelay: number
  readonly maxHeadBytes: number
  readonly maxSkew: number
  readonly maxDelay: number
  readonly maxLateness: number
  readonly maxDeleteDelay: number
  readonly lifetime: number
  readonly pauseEvery: number
  readonly faults: Rates
  readonly deleteFaults: Rates
  readonly repeats: number
  readonly sideEffects: number
  readonly garbage: number
  readonly keeps: number
}

/** What is not given. */
export const defaults: Omit<Settings, "seed"> = {
  events: 10_000,
  recipients: 200,
  workers: 20,
  maxBurst: 30,
  maxEvents: 40,
  eventsPerDelay: 10,
  tombstonesDelay: 10_000,
  maxHeadBytes: 16 * 1_024,
  maxSkew: 400,
  maxDelay: 100,
  maxLateness: 2_000,
  maxDeleteDelay: 3_000,
  lifetime: 20_000,
  pauseEvery: 20_000,
  faults: { readFailure: 0.01, requestLost: 0.02, responseLost: 0.02, late: 0.02, contention: 0.02, delay: 0.8 },
  deleteFaults: { readFailure: 0, requestLost: 0.1, responseLost: 0.1, late: 0.1, contention: 0.05, delay: 0.5 },
  repeats: 0.3,
  sideEffects: 0.15,
  garbage: 0.05,
  keeps: 0.4
}

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
    workers: spread(2, 40),
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
