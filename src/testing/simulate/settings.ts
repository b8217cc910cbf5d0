/**
 * What a simulated history is made of, whatever its processes do: every option as a number, so that a history is one
 * line of JSON.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Rates } from "../Faulty.ts"

/** The trouble of a history; durations in milliseconds. 0 turns off what comes at a rate or an interval. */
export interface Trouble {
  readonly seed: number
  readonly processes: number
  readonly tombstonesDelay: number
  readonly maxSkew: number
  readonly maxDelay: number
  readonly maxLateness: number
  readonly maxDeleteDelay: number
  readonly lifetime: number
  readonly pauseEvery: number
  readonly faults: Rates
  readonly deleteFaults: Rates
}

/** What is not given. */
export const defaults: Omit<Trouble, "seed"> = {
  processes: 20,
  tombstonesDelay: 10_000,
  maxSkew: 400,
  maxDelay: 100,
  maxLateness: 2_000,
  maxDeleteDelay: 3_000,
  lifetime: 20_000,
  pauseEvery: 20_000,
  faults: { readFailure: 0.01, requestLost: 0.02, responseLost: 0.02, late: 0.02, contention: 0.02, delay: 0.8 },
  deleteFaults: { readFailure: 0, requestLost: 0.1, responseLost: 0.1, late: 0.1, contention: 0.05, delay: 0.5 }
}

/** Options as their settings: what is not given, all durations as numbers, and what counts something checked. */
export const resolve = <S extends Trouble>(
  settings: Omit<S, "seed">,
  options: object,
  { counts, durations }: { readonly counts: ReadonlyArray<keyof S>; readonly durations: ReadonlyArray<keyof S> }
): Effect.Effect<S> =>
  Effect.gen(function*() {
    const given: { readonly [name: string]: unknown } = { ...options }
    const seed = given["seed"] ?? Math.floor((yield* Random.next) * 1_000_000_000)
    const resolved: Record<string, unknown> = { ...settings, seed }
    for (const name of Object.keys(settings)) resolved[name] = given[name] ?? resolved[name]
    for (const name of durations as ReadonlyArray<string>) {
      resolved[name] = Duration.toMillis(Duration.fromInputUnsafe(resolved[name] as Duration.Input))
    }
    for (const name of counts as ReadonlyArray<string>) {
      const value = resolved[name]
      if (Number.isSafeInteger(value) && Number(value) > 0) continue
      return yield* Effect.die(new Error(`Simulate: ${name} is a positive integer, got ${String(value)}`))
    }
    return resolved as unknown as S
  })
