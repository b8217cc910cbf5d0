/**
 * From a history that fails to a small one that still does.
 */
import * as Effect from "effect/Effect"
import type { Ended } from "./history.ts"
import type { Settings } from "./settings.ts"

/** Steps that the search may take in all; a history costs as much as some more. */
const maxSteps = 150_000
const stepsPerHistory = 100

/** Runs one history. */
type Play = (settings: Settings) => Effect.Effect<Ended>

/** Looks for the smallest settings that fail, one aspect after the other, until nothing helps. */
export const smallest = (settings: Settings, ended: Ended, play: Play) =>
  Effect.gen(function*() {
    let best = { settings, ended }
    let histories = 1
    let steps = ended.steps
    const held = new Set<string>()
    const improve = (aspect: Aspect) =>
      Effect.gen(function*() {
        for (const change of aspect(best.settings, best.ended)) {
          for (const seed of seedsOf(best.settings)) {
            const simpler = { ...best.settings, ...change, seed }
            const text = JSON.stringify(simpler)
            if (held.has(text)) continue
            if (steps > maxSteps) return false
            const tried = yield* play(simpler)
            histories++
            steps += tried.steps + stepsPerHistory
            held.add(text)
            if (tried.violation === undefined) continue
            // What comes thicker is simpler only if fewer events do.
            if ("eventsPerDelay" in change && emitted(tried) >= emitted(best.ended)) continue
            best = { settings: simpler, ended: tried }
            return true
          }
        }
        return false
      })
    let hasImproved = true
    while (hasImproved) {
      hasImproved = false
      for (const aspect of aspects) {
        while (yield* improve(aspect)) hasImproved = true
      }
    }
    return { settings: best.settings, histories }
  })

const emitted = ({ ledger }: Ended): number => ledger.counts.emitted

/** Another history may show what this one does not; small ones are cheap to try. */
const seedsOf = ({ events, seed }: Settings): ReadonlyArray<number> =>
  Array.from({ length: events > 2_000 ? 1 : events > 300 ? 2 : events > 30 ? 5 : 8 }, (_, at) => seed + at)

type Aspect = (settings: Settings, ended: Ended) => ReadonlyArray<Partial<Settings>>

const lower = (name: "events" | "workers" | "recipients" | "maxBurst" | "maxEvents"): Aspect => (settings) => {
  const value = settings[name]
  const steps = [1, Math.floor(value / 4), Math.floor(value / 2), Math.floor(value * 0.8), value - 1]
  return Array.from(new Set(steps)).filter((step) => step >= 1 && step < value).map((step) => ({ [name]: step }))
}

const off =
  (name: "lifetime" | "pauseEvery" | "maxSkew" | "sideEffects" | "garbage" | "repeats"): Aspect => (settings) =>
    settings[name] > 0 ? [{ [name]: 0 }] : []

const without = (group: "faults" | "deleteFaults"): Aspect => (settings) => {
  const rates = settings[group]
  const names = Object.entries(rates).flatMap(([name, rate]) => rate > 0 ? [name] : [])
  if (names.length === 0) return []
  return [{ [group]: {} }, ...names.map((name) => ({ [group]: { ...rates, [name]: 0 } }))]
}

const aspects: ReadonlyArray<Aspect> = [
  // The same history as far as it failed.
  (settings, ended) => emitted(ended) < settings.events ? [{ events: Math.max(1, emitted(ended)) }] : [],
  // What comes thick takes few events to go wrong, and everything else is cheap to try in a short history.
  ({ eventsPerDelay }) => eventsPerDelay < 10_000 ? [{ eventsPerDelay: eventsPerDelay * 4 }] : [],
  lower("events"),
  lower("maxBurst"),
  lower("recipients"),
  lower("workers"),
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
