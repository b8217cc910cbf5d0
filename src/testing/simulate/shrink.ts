/**
 * From a history that fails to a small one that still does.
 */
import * as Effect from "effect/Effect"
import type { Trouble } from "./settings.ts"

/** Steps that the search may take in all; a history costs as much as some more. */
const maxSteps = 150_000
const stepsPerHistory = 100

/** One way to make a history smaller. */
export interface Aspect<S, E> {
  /** What to try instead, the best first. */
  readonly changes: (settings: S, ended: E) => ReadonlyArray<Partial<S>>
  /** Whether what still fails is simpler at all; always unless given. */
  readonly isSimpler?: (tried: E, best: E) => boolean
}

/** What a search runs, and what it may try. */
export interface Search<S extends Trouble, E> {
  readonly play: (settings: S) => Effect.Effect<E>
  readonly aspects: ReadonlyArray<Aspect<S, E>>
  /** How long a history is: small ones are cheap to try with other seeds. */
  readonly lengthOf: (settings: S) => number
}

/** Looks for the smallest settings that fail, one aspect after the other, until nothing helps. */
export const smallest = Effect.fnUntraced(
  function*<S extends Trouble, E extends { readonly violation: unknown; readonly steps: number }>(
    settings: S,
    ended: E,
    { aspects, lengthOf, play }: Search<S, E>
  ) {
    let best = { settings, ended }
    let histories = 1
    let steps = ended.steps
    const held = new Set<string>()
    const improve = Effect.fnUntraced(function*({ changes, isSimpler }: Aspect<S, E>) {
      for (const change of changes(best.settings, best.ended)) {
        for (const seed of seedsOf(best.settings.seed, lengthOf(best.settings))) {
          const simpler = { ...best.settings, ...change, seed }
          const text = JSON.stringify(simpler)
          if (held.has(text)) continue
          if (steps > maxSteps) return false
          const tried = yield* play(simpler)
          histories++
          steps += tried.steps + stepsPerHistory
          held.add(text)
          if (tried.violation === undefined || isSimpler?.(tried, best.ended) === false) continue
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
  }
)

/** Another history may show what this one does not. */
const seedsOf = (seed: number, length: number): ReadonlyArray<number> =>
  Array.from({ length: length > 2_000 ? 1 : length > 300 ? 2 : length > 30 ? 5 : 8 }, (_, at) => seed + at)

/** A smaller number. */
export const lower = <S>(name: keyof S): Aspect<S, unknown> => ({
  changes: (settings) => {
    const value = settings[name] as number
    const steps = [1, Math.floor(value / 4), Math.floor(value / 2), Math.floor(value * 0.8), value - 1]
    return Array.from(new Set(steps)).filter((step) => step >= 1 && step < value).map((step) => change(name, step))
  }
})

/** None of it. */
export const off = <S>(name: keyof S): Aspect<S, unknown> => ({
  changes: (settings) => settings[name] as number > 0 ? [change(name, 0)] : []
})

/** No faults, or one kind of them less. */
export const without = <S extends Trouble>(group: "faults" | "deleteFaults"): Aspect<S, unknown> => ({
  changes: (settings) => {
    const rates = settings[group]
    const names = Object.entries(rates).flatMap(([name, rate]) => rate > 0 ? [name] : [])
    if (names.length === 0) return []
    return [change<S>(group, {}), ...names.map((name) => change<S>(group, { ...rates, [name]: 0 }))]
  }
})

const change = <S>(name: keyof S, value: unknown): Partial<S> => ({ [name]: value } as Partial<S>)
