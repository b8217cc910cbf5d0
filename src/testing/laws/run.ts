/**
 * One case of the laws of a processor, from its empty store to the last history.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type Batches, decideBits, landBits, makeBatches, subsetsOf } from "./batches.ts"
import { type CaseEvent, type Draw, encode } from "./case.ts"
import { checkConcurrency } from "./concurrency.ts"
import { arrive, decide } from "./decide.ts"
import { checkGarbage } from "./garbage.ts"
import { settle } from "./pure.ts"
import { makeRig, type Rig, type Subject, write } from "./rig.ts"
import { checkUpdates } from "./updates.ts"

/** What all cases of a check share. */
export interface Setting {
  readonly subject: Subject
  readonly setup: Effect.Effect<unknown, unknown, any>
  /** Histories of the library per case. */
  readonly histories: number
  /** Whether this is the example that is reported. */
  readonly isLast: boolean
  /** Counts what was covered. */
  readonly tally: { runs: number; batches: number; pairs: number; histories: number; undecided: number }
}

/** Looks at all laws in one case. */
export const runCase = Effect.fnUntraced(function*(setting: Setting, draw: Draw<unknown>) {
  const { histories, isLast, setup, subject, tally } = setting
  const { history, waiting, walk } = yield* encode(draw, subject.box.eventCodec)
  tally.runs++
  const rig = yield* makeRig(subject)
  const made = yield* write(rig, setup)
  if (Exit.isFailure(made)) {
    return yield* Effect.die(new Error("ProcessorLaws.check: the set-up failed", { cause: made.cause }))
  }
  const base = yield* reach(rig, history)
  if (base === undefined) return
  const batches = makeBatches(rig, base, waiting)
  yield* askAll(batches)
  if (subject.isLaw("Updates")) yield* checkUpdates(batches)
  if (subject.isLaw("Garbage")) yield* checkGarbage(batches, isLast)
  if (subject.isLaw("Concurrency")) tally.histories += yield* checkConcurrency(batches, histories, walk)
  tally.batches += batches.decisions.size
  tally.pairs += batches.pairs
  tally.undecided += batches.isUndecided ? 1 : 0
}, Effect.scoped)

/** Asks about every batch, and lets each land. */
const askAll = Effect.fnUntraced(function*(batches: Batches) {
  const { all, base, rig } = batches
  for (const batch of subsetsOf(all)) yield* landBits(batches, yield* decideBits(batches, base, batch))
  // Later, and the other way round: a processor that remembers what it was asked before should show it.
  for (const batch of subsetsOf(all).toReversed()) yield* (yield* decideBits(batches, base, batch)).again
  return yield* settle(rig, { state: base.text, events: [] })
})

/** Folds batches into the state from which the case begins; those that may fail and do are left out. */
const reach = Effect.fnUntraced(function*(rig: Rig, history: ReadonlyArray<ReadonlyArray<CaseEvent>>) {
  let reached = yield* arrive(rig)
  for (const batch of history) {
    if (reached === undefined) break
    const { again, land } = yield* decide(rig, reached, batch)
    yield* again
    reached = (yield* land) ?? reached
  }
  return reached
})
