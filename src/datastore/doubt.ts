/**
 * Waiting for the outcome of a commit that is in doubt, without being bound to wait.
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type Contended, outside } from "../ground/transaction.ts"

/** What `Effect.uninterruptibleMask` gives: runs an effect as interruptible as the region around. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Looks for an outcome in the background of the layer, with the services of the caller, and returns it. Whoever waits
 * may be interrupted and is gone at once; the search goes on, and runs `late` when it finds that the commit landed.
 *
 * To be used in an uninterruptible region. A layer that is closed knows nothing: `Unknown`.
 */
export const awaitOutcome = (
  background: (search: Effect.Effect<void>) => Effect.Effect<boolean>,
  witness: Effect.Effect<Contended>,
  late: Effect.Effect<void>,
  restore: Restore
): Effect.Effect<Contended> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const found = Deferred.makeUnsafe<Contended>()
    let outcome: Exit.Exit<Contended> | undefined
    let isGone = false
    const search = Effect.onExit(witness, (exit) => {
      // Interrupted: the layer closed under the search.
      outcome = Exit.hasInterrupts(exit) ? Exit.succeed(unknown) : exit
      Deferred.doneUnsafe(found, outcome)
      return Effect.void
    }).pipe(
      Effect.flatMap((known) => isGone && known.outcome === "Landed" ? late : Effect.void)
    )
    return Effect.gen(function*() {
      if (!(yield* background(Effect.provideContext(outside(search), context)))) return unknown
      const waited = yield* Effect.exit(restore(Deferred.await(found)))
      // Known in the same moment as the interruption came: then the caller sees to it, and is interrupted afterwards.
      if (outcome !== undefined) return yield* outcome
      isGone = true
      return yield* waited
    })
  })

const unknown: Contended = { outcome: "Unknown", changed: [] }
