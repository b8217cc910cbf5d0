/**
 * One case of the laws of a processor, from its empty store to the last history.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Broken } from "./broken.ts"
import { type CaseEvent, type Draw, encode } from "./case.ts"
import { Batches, type Overlap, subsetsOf } from "./garbage.ts"
import { demonstrate, runHistories } from "./histories.ts"
import { type Decision, type Reached, Rig, type Subject } from "./rig.ts"
import { checkUpdates } from "./updates.ts"

/** What all cases of a check share. */
export interface Setting<Self, S, A, E> {
  readonly subject: Subject<Self, S, A, E>
  readonly setup: Effect.Effect<unknown, unknown, any>
  /** Histories of the library per case. */
  readonly histories: number
  /** Whether this is the example that is reported. */
  readonly isLast: boolean
  /** Counts what was covered. */
  readonly tally: { runs: number; batches: number; pairs: number; histories: number; undecided: number }
}

/** Looks at all laws in one case. */
export const runCase = <Self, S, A, E>(
  setting: Setting<Self, S, A, E>,
  draw: Draw<A>
): Effect.Effect<void, Broken> =>
  Effect.scoped(Effect.gen(function*() {
    const { setup, subject, tally } = setting
    const { history, waiting, walk } = yield* encode(draw, subject.box.eventCodec)
    tally.runs++
    const rig = yield* Rig.make(subject)
    const made = yield* rig.write(setup)
    if (Exit.isFailure(made)) {
      return yield* Effect.die(new Error("ProcessorLaws.check: the set-up failed", { cause: made.cause }))
    }
    const base = yield* reach(rig, history)
    if (base === undefined) return
    const batches = new Batches(rig, base, waiting)
    for (const batch of subsetsOf(batches.all)) {
      yield* batches.land(yield* batches.decide(base, batch))
    }
    // Later, and the other way round: a processor that remembers what it was asked before should show it.
    for (const batch of subsetsOf(batches.all).toReversed()) yield* (yield* batches.decide(base, batch)).again
    yield* rig.settle(base.text)
    if (subject.isLaw("Updates")) yield* checkUpdates(batches)
    if (subject.isLaw("Garbage")) {
      const found = yield* batches.findUnexplained()
      if (found !== undefined) return yield* lost(setting, batches, found)
    }
    if (subject.isLaw("Concurrency")) {
      tally.histories += yield* runHistories(batches, { count: setting.histories, walk })
    }
    tally.batches += batches.count
    tally.pairs += batches.pairs
    tally.undecided += batches.isUndecided ? 1 : 0
  }))

/** Folds batches into the state from which the case begins; those that may fail and do are left out. */
const reach = <Self, S, A, E>(
  rig: Rig<Self, S, A, E>,
  history: ReadonlyArray<ReadonlyArray<CaseEvent>>
): Effect.Effect<Reached<S> | undefined, Broken> =>
  Effect.gen(function*() {
    let reached = yield* rig.arrive()
    for (const batch of history) {
      if (reached === undefined) break
      const { again, land }: Decision<S> = yield* rig.decide(reached, batch)
      yield* again
      reached = (yield* land) ?? reached
    }
    return reached
  })

const lost = <Self, S, A, E>(
  { isLast }: Setting<Self, S, A, E>,
  batches: Batches<Self, S, A, E>,
  overlap: Overlap<S>
): Effect.Effect<never, Broken> =>
  Effect.gen(function*() {
    const deleted = batches.idsOf(overlap.end.deleted)
    const summary = overlap.verdict === "lost"
      ? `overlapping batches delete ${deleted} as garbage, which batches one after another never do`
      : `overlapping batches delete ${deleted} as garbage, and come to a state that batches one after another do not ` +
        "come to when they delete as much"
    const shown = yield* batches.showOverlap(overlap)
    const history = isLast ? yield* demonstrate(batches, overlap) : []
    return yield* Effect.fail(
      new Broken({
        law: "Garbage",
        summary,
        detail: [...shown, ...history],
        state: batches.base.text,
        events: batches.events
      })
    )
  })
