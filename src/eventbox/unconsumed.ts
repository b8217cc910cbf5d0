/**
 * Saying once that a processor acts on a recipient and consumes nothing of what waits.
 */
import * as Effect from "effect/Effect"
import { type Place, recall, remember } from "../dsset/memory.ts"

/** Warns of a batch whose transitions landed and consumed none of its events; once per recipient and layer. */
export const warnUnconsumed = (place: Place, waiting: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (recall(place).isWarned) return Effect.void
    remember(place, (memory) => {
      memory.isWarned = true
    })
    return Effect.logWarning(
      `The transitions of a batch of ${place.id} landed and consumed none of its events (${waiting}): the next batch ` +
        "will see the same events. A transition consumes only what its `events` names."
    )
  })
