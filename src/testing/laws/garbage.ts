/**
 * The law `Garbage`: what overlapping batches do to the garbage of each other, batches one after another do as well. E6
 */
import * as Effect from "effect/Effect"
import {
  type Batches,
  decideBits,
  type End,
  idsOf,
  landBits,
  maxIdle,
  nameOf,
  type Outcome,
  type Stage,
  type Step,
  stepsFrom
} from "./batches.ts"
import { broken } from "./broken.ts"
import { demonstrate } from "./concurrency.ts"
import { judge, knownOf, maxEnds, showEnds, startOf } from "./ends.ts"
import type { Reached } from "./rig.ts"

/** Batches that overlap, and the end that they alone come to. */
export interface Overlap {
  /** The batch of the first worker, decided before all others. */
  readonly first: Step
  /** The batches of others, meanwhile. */
  readonly meanwhile: ReadonlyArray<Step>
  readonly end: End
  readonly verdict: "lost" | "astray"
}

/** A batch that is decided at the start. */
interface First extends Step {
  readonly landed: Reached | undefined
}

/** Batches that others finish while the first one is under way. */
const maxMeanwhile = 2

const outcomes: ReadonlyArray<Outcome> = ["stops before its commit", "commits", "stops after its commit"]

/** Looks at all overlaps; shows one in a history of the library where that is asked for. */
export const checkGarbage = Effect.fnUntraced(function*(batches: Batches, isDemonstrated: boolean) {
  const found = yield* findUnexplained(batches)
  if (found === undefined) return
  const deleted = idsOf(batches, found.end.deleted)
  const summary = found.verdict === "lost"
    ? `overlapping batches delete ${deleted} as garbage, which batches one after another never do`
    : `overlapping batches delete ${deleted} as garbage, and come to a state that batches one after another do not ` +
      "come to when they delete as much"
  const detail = [
    `worker 1 ${showDecision(batches, found.first)}`,
    ...found.meanwhile.map((step, index) =>
      `meanwhile worker ${index + 2} ${showDecision(batches, step)}, and ${step.outcome}`
    ),
    `then worker 1 ${found.first.outcome}`,
    "",
    ...(yield* showEnds(batches, found.end)),
    ...(isDemonstrated ? yield* demonstrate(batches, found) : [])
  ]
  return yield* broken("Garbage", summary, detail, { state: batches.base.text, events: batches.events })
})

/**
 * An overlap whose end is not explained, one that loses events before any other; nothing when there are too many ends
 * to tell.
 */
const findUnexplained = Effect.fnUntraced(function*(batches: Batches) {
  const firsts = yield* firstsOf(batches)
  // Without garbage at the start batches that overlap do nothing to each other: one of them commits.
  if (firsts.every(({ decided }) => decided.garbage === 0)) return undefined
  yield* knownOf(batches)
  const stages = [startOf(batches)]
  for (let from = 0, length = 0; length < maxMeanwhile; length++) {
    const until = stages.length
    for (; from < until; from++) stages.push(...yield* stepsFrom(batches, stages[from]!))
    batches.isUndecided ||= stages.length > maxEnds
    if (batches.isUndecided) return undefined
  }
  let astray: Overlap | undefined
  for (const stage of unique(stages.filter(({ idle }) => idle <= maxIdle))) {
    for (const first of firsts) {
      if (first.outcome === outcomes[0]) batches.pairs++
      const end = overlap(first, stage)
      if (end === undefined) continue
      // Many overlaps come to one end, and this is done very often.
      const verdict = batches.verdicts.get(nameOf(end)) ?? (yield* judge(batches, end))
      if (verdict === "explained" || verdict === "undecided") continue
      const found: Overlap = { first, meanwhile: stage.steps, end, verdict }
      if (verdict === "lost") return found
      astray ??= found
    }
  }
  return astray
})

/** Batches that are decided at the start, each in all outcomes, with the state that its commit leads to. */
const firstsOf = Effect.fnUntraced(function*(batches: Batches) {
  const firsts: Array<First> = []
  for (let batch = 1; batch <= batches.all; batch++) {
    const decided = yield* decideBits(batches, batches.base, batch)
    const landed = yield* landBits(batches, decided)
    for (const outcome of outcomes) firsts.push({ batch, decided, outcome, landed })
  }
  return firsts
})

/** Where a batch leads that was decided at the start, and comes to its end now; `undefined` where it cannot. */
const overlap = (
  { decided, landed, outcome }: First,
  { consumed, deleted, reached, steps }: Stage
): End | undefined => {
  if (outcome === "stops before its commit") {
    return decided.garbage === 0 ? undefined : { reached, consumed, deleted: deleted | (decided.garbage & ~consumed) }
  }
  if (landed === undefined || (outcome === "stops after its commit" && decided.garbage === 0)) return undefined
  // Any commit in between is contention.
  if (steps.some(hasCommitted)) return undefined
  const garbage = outcome === "commits" ? decided.garbage : 0
  return { reached: landed, consumed: decided.consumed, deleted: (deleted | garbage) & ~decided.consumed }
}

const hasCommitted = ({ outcome }: Step): boolean => outcome !== "stops before its commit"

/** Each stage once; with and without a commit on the way are two, since a commit is contention for others. */
const unique = (stages: ReadonlyArray<Stage>): ReadonlyArray<Stage> => {
  const seen = new Map<string, Stage>()
  for (const stage of stages) {
    const name = `${nameOf(stage)} ${stage.steps.some(hasCommitted)}`
    if (!seen.has(name)) seen.set(name, stage)
  }
  return Array.from(seen.values())
}

const showDecision = (batches: Batches, { batch, decided }: Step): string => {
  const [seen, consumed, garbage] = [batch, decided.consumed, decided.garbage].map((bits) => idsOf(batches, bits))
  return `sees ${seen}: consumes ${consumed}, garbage ${garbage}`
}
