/**
 * All ends that batches come to one after another, and what an end of overlapping batches is beside them.
 *
 * An end is what was consumed, what was deleted without being consumed, and the state. A batch is one of these: it
 * commits and deletes its garbage, it stops after its commit, or it stops before it, its garbage deleted. An end is
 * *explained* if batches one after another come to it, or, once all that waits is processed, to a state that those come
 * to as well, without deleting more than they do.
 */
import * as Effect from "effect/Effect"
import {
  type Batches,
  decideBits,
  type End,
  idsOf,
  type Known,
  landBits,
  left,
  maxIdle,
  nameOf,
  type Stage,
  stepsFrom,
  stepsOf,
  subsetsOf,
  type Verdict
} from "./batches.ts"
import type { Broken } from "./broken.ts"
import { isSame, type Reached } from "./rig.ts"

/** Ends that are looked at in one run; a processor that comes to more is not judged by it. */
export const maxEnds = 4_000

/** Before any batch. */
export const startOf = ({ base }: Batches): Stage => ({ reached: base, consumed: 0, deleted: 0, steps: [], idle: 0 })

/** Measures an end by what batches come to one after another. */
export const judge = Effect.fnUntraced(function*(batches: Batches, end: End) {
  const known = batches.verdicts.get(nameOf(end))
  if (known !== undefined) return known
  const verdict = yield* judgeAnew(batches, end)
  batches.verdicts.set(nameOf(end), verdict)
  return verdict
})

const judgeAnew = Effect.fnUntraced(function*(batches: Batches, end: End): Effect.fn.Return<Verdict, Broken> {
  if (batches.known === undefined && (yield* isReached(batches, end, startOf(batches), new Set()))) return "explained"
  const known = yield* knownOf(batches)
  if (known === "too many") {
    batches.isUndecided = true
    return "undecided"
  }
  const states = known.ends.get(`${end.consumed} ${end.deleted}`) ?? []
  if (states.some((one) => isAlike(batches, one, end.reached))) return "explained"
  const last = yield* finish(batches, end)
  const likely = known.finals.filter(({ deleted }) => (last.deleted & ~deleted) === 0)
  if (likely.length === 0) return "lost"
  return likely.some(({ reached }) => isAlike(batches, reached, last.reached)) ? "explained" : "astray"
})

/** Whether batches one after another come from a place to an end; great batches first, as most ends need few. */
const isReached = (batches: Batches, end: End, from: Stage, seen: Set<string>): Effect.Effect<boolean, Broken> =>
  Effect.gen(function*() {
    const isThere = from.consumed === end.consumed && from.deleted === end.deleted
    if (isThere && isAlike(batches, from.reached, end.reached)) return true
    for (const batch of subsetsOf(left(batches, from)).toReversed()) {
      for (const stage of yield* stepsOf(batches, from, batch)) {
        const name = `${nameOf(stage)} ${stage.idle}`
        const isTooFar = (stage.consumed & ~end.consumed) !== 0 || (stage.deleted & ~end.deleted) !== 0
        if (isTooFar || stage.idle > 2 * maxIdle || seen.size > maxEnds || seen.has(name)) continue
        seen.add(name)
        if (yield* isReached(batches, end, stage, seen)) return true
      }
    }
    return false
  })

const isAlike = ({ rig }: Batches, self: Reached, that: Reached): boolean =>
  self.id === that.id || isSame(rig, self.state, that.state)

/** Processes all that waits, batch after batch, until nothing happens any more. */
const finish = Effect.fnUntraced(function*(batches: Batches, from: End) {
  let end = from
  while (true) {
    const next = yield* stepOfAll(batches, end)
    if (next === undefined) return end
    end = next
  }
})

/** Where a batch of all that waits leads; `undefined` when nothing happens to any event. */
const stepOfAll = Effect.fnUntraced(function*(batches: Batches, end: End) {
  const { consumed, deleted, reached } = end
  const decided = yield* decideBits(batches, reached, left(batches, end))
  const landed = yield* landBits(batches, decided)
  if (decided.garbage === 0 && (landed === undefined || decided.consumed === 0)) return undefined
  return {
    reached: landed ?? reached,
    consumed: consumed | (landed === undefined ? 0 : decided.consumed),
    deleted: deleted | decided.garbage
  }
})

/** All that batches come to one after another. */
export const knownOf = Effect.fnUntraced(function*(batches: Batches) {
  batches.known ??= yield* explore(batches)
  return batches.known
})

const explore = Effect.fnUntraced(function*(batches: Batches): Effect.fn.Return<Known | "too many", Broken> {
  const stages = [startOf(batches)]
  const seen = new Set<string>()
  const ends = new Map<string, Array<Reached>>()
  const finals = new Map<string, End>()
  for (let next = 0; next < stages.length; next++) {
    const stage = stages[next]!
    const name = `${stage.consumed} ${stage.deleted}`
    const states = ends.get(name) ?? []
    if (!states.includes(stage.reached)) ends.set(name, [...states, stage.reached])
    if ((yield* stepOfAll(batches, stage)) === undefined) finals.set(nameOf(stage), stage)
    for (const step of yield* stepsFrom(batches, stage)) {
      const id = `${nameOf(step)} ${step.idle}`
      if (step.idle > 2 * maxIdle || seen.has(id)) continue
      seen.add(id)
      stages.push({ ...step, steps: [] })
    }
    if (stages.length > maxEnds) return "too many"
  }
  return { ends, finals: Array.from(finals.values()) }
})

/** Ends that are shown, of all that batches come to one after another. */
const maxShown = 4

/** An end as lines of text, beside those that batches come to one after another. */
export const showEnds = Effect.fnUntraced(function*(batches: Batches, end: End) {
  const last = yield* finish(batches, end)
  const finals = batches.known === undefined || batches.known === "too many" ? [] : batches.known.finals
  const shown = new Set(finals.map((one) => showEnd(batches, one)))
  return [
    `then          ${showEnd(batches, end)}`,
    `in the end    ${showEnd(batches, last)}`,
    ...Array.from(shown).slice(0, maxShown).map((line, index) =>
      `${index === 0 ? "one by one to" : "           or"} ${line}`
    ),
    ...(shown.size > maxShown ? [`${shown.size - maxShown} more`.padStart(23)] : [])
  ]
})

const showEnd = (batches: Batches, end: End): string => {
  const waiting = left(batches, end)
  return [
    `state ${end.reached.text}`,
    `consumed ${idsOf(batches, end.consumed)}`,
    `deleted ${idsOf(batches, end.deleted)}`,
    ...(waiting === 0 ? [] : [`waiting ${idsOf(batches, waiting)}`])
  ].join("; ")
}
