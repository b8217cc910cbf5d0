/**
 * The batches of one case: its events are few, so that a batch is a set of bits, and everything is tried.
 */
import * as Effect from "effect/Effect"
import type { CaseEvent } from "./case.ts"
import { decide, type Decision } from "./decide.ts"
import { type Reached, type Rig, showIds } from "./rig.ts"

/** Where batches have come to: a state, and what became of the events. */
export interface End {
  readonly reached: Reached
  readonly consumed: number
  readonly deleted: number
}

/** How a batch comes to its end: with its garbage deleted, unless it stops after its commit. */
export type Outcome = "commits" | "stops after its commit" | "stops before its commit"

/** One batch of a worker. */
export interface Step {
  readonly batch: number
  readonly decided: Decided
  readonly outcome: Outcome
}

/** A decision, its events as bits. */
export interface Decided extends Omit<Decision, "consumed" | "garbage"> {
  readonly consumed: number
  readonly garbage: number
}

/** A place among all ends, and the batches that lead there. */
export interface Stage extends End {
  readonly steps: ReadonlyArray<Step>
  /** Commits that consumed nothing. */
  readonly idle: number
}

/** What an end is, measured by what batches come to one after another. */
export type Verdict =
  | "explained"
  /** Events are deleted that they never delete together. */
  | "lost"
  /** They come to other states when they delete as much. */
  | "astray"
  /** They come to too many ends to tell. */
  | "undecided"

/** What batches come to one after another. */
export interface Known {
  /** The states of all ends, by what was consumed and deleted. */
  readonly ends: ReadonlyMap<string, ReadonlyArray<Reached>>
  /** The ends after which nothing more happens. */
  readonly finals: ReadonlyArray<End>
}

/** The batches of one case, and what is known of where they lead. */
export interface Batches {
  readonly rig: Rig
  /** The state in which the events wait. */
  readonly base: Reached
  readonly events: ReadonlyArray<CaseEvent>
  /** All events. */
  readonly all: number
  /** Batches that were decided on. */
  readonly decisions: Map<string, Decided>
  readonly landings: Map<Decided, Reached | undefined>
  readonly verdicts: Map<string, Verdict>
  known: Known | "too many" | undefined
  /** Pairs of a batch and of what others did meanwhile. */
  pairs: number
  /** Whether there were too many ends to tell. */
  isUndecided: boolean
}

/** The batches of a case. */
export const makeBatches = (rig: Rig, base: Reached, events: ReadonlyArray<CaseEvent>): Batches => ({
  rig,
  base,
  events,
  all: (1 << events.length) - 1,
  decisions: new Map(),
  landings: new Map(),
  verdicts: new Map(),
  known: undefined,
  pairs: 0,
  isUndecided: false
})

/** Commits that consume nothing: one overlapping, and as many again in the history that explains it. */
export const maxIdle = 1

/** The decision on a set of events. */
export const decideBits = Effect.fnUntraced(function*(batches: Batches, reached: Reached, batch: number) {
  const name = `${reached.id} ${batch}`
  const known = batches.decisions.get(name)
  if (known !== undefined) return known
  const decision = yield* decide(batches.rig, reached, eventsOf(batches, batch))
  const decided: Decided = {
    ...decision,
    consumed: bitsOf(batches, decision.consumed),
    garbage: bitsOf(batches, decision.garbage)
  }
  batches.decisions.set(name, decided)
  return decided
})

/** Where the commit of a decision leads. */
export const landBits = Effect.fnUntraced(function*({ landings }: Batches, decided: Decided) {
  if (!landings.has(decided)) landings.set(decided, yield* decided.land)
  return landings.get(decided)
})

/** Where one more batch of those that are left leads. */
export const stepsFrom = (batches: Batches, stage: Stage) =>
  Effect.map(
    Effect.forEach(subsetsOf(left(batches, stage)), (batch) => stepsOf(batches, stage, batch)),
    (found) => found.flat()
  )

/** Where a batch leads, in each of its outcomes. */
export const stepsOf = Effect.fnUntraced(function*(batches: Batches, stage: Stage, batch: number) {
  const { consumed, deleted, idle, reached } = stage
  const decided = yield* decideBits(batches, reached, batch)
  const next: Array<Stage> = []
  const add = (outcome: Outcome, end: End, isIdle: boolean) => {
    const steps = [...stage.steps, { batch, decided, outcome }]
    next.push({ ...end, steps, idle: idle + (isIdle ? 1 : 0) })
  }
  const without = deleted | decided.garbage
  if (decided.garbage !== 0) add("stops before its commit", { reached, consumed, deleted: without }, false)
  const landed = idle > 2 * maxIdle ? undefined : yield* landBits(batches, decided)
  if (landed === undefined) return next
  const isIdle = decided.consumed === 0
  const end = { reached: landed, consumed: consumed | decided.consumed, deleted: without }
  add("commits", end, isIdle && decided.garbage === 0)
  if (decided.garbage !== 0) add("stops after its commit", { ...end, deleted }, isIdle)
  return next
})

/** The events that still wait. */
export const left = ({ all }: Batches, { consumed, deleted }: End): number => all & ~consumed & ~deleted

/** An end as text, the same for the same end. */
export const nameOf = ({ consumed, deleted, reached }: End): string => `${reached.id} ${consumed} ${deleted}`

/** A set of ids as bits. */
export const bitsOf = ({ events }: Batches, ids: ReadonlyArray<string>): number =>
  events.reduce((bits, { id }, index) => ids.includes(id) ? bits | (1 << index) : bits, 0)

/** The events of a set, in order. */
export const eventsOf = ({ events }: Batches, batch: number): ReadonlyArray<CaseEvent> =>
  events.filter((_, index) => (batch & (1 << index)) !== 0)

/** The ids of a set of events, as text. */
export const idsOf = (batches: Batches, batch: number): string => showIds(eventsOf(batches, batch).map(({ id }) => id))

/** All subsets of a set of bits, the empty one included, smaller ones first by number. */
export const subsetsOf = (bits: number): ReadonlyArray<number> => {
  const subsets: Array<number> = []
  for (let subset = bits;; subset = (subset - 1) & bits) {
    subsets.push(subset)
    if (subset === 0) return subsets.toReversed()
  }
}
