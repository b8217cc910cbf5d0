/**
 * The law `Batch`: a decision uses events of its batch, each of them once.
 */
import * as Effect from "effect/Effect"
import { misuse } from "../../eventbox/decision.ts"
import { type Broken, broken, type Place } from "./broken.ts"
import { type Decided, showMutation } from "./decision.ts"
import type { Rig } from "./rig.ts"

/**
 * Looks at the events that a decision uses. Not to be left out: the library dies here, and nothing could be committed.
 */
export const checkBatch = (
  rig: Rig,
  mutation: Decided,
  place: Required<Pick<Place, "events">> & Place
): Effect.Effect<void, Broken> => {
  const problem = misuse(mutation, new Set(place.events.map(({ id }) => id)))
  if (problem === undefined) return Effect.void
  const summary = `a decision uses each event of its batch at most once, and no other: ${problem}`
  return broken("Batch", summary, showMutation(rig, mutation), place)
}
