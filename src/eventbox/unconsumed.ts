/**
 * Saying once that a processor acts on a recipient and consumes nothing of what waits.
 */
import * as Effect from "effect/Effect"
import { Datastore } from "../Datastore.ts"
import type { Recipient } from "../Processor.ts"

/** Recipients that a layer has been told about; the one that was told first is forgotten first. */
const told = new WeakMap<Datastore["Service"], Set<string>>()

const maxTold = 1_000

/** Warns of a batch whose transitions landed and consumed none of its events; once per recipient and layer. */
export const warnUnconsumed = ({ key }: Recipient<any>, waiting: number): Effect.Effect<void, never, Datastore> =>
  Effect.flatMap(Datastore, (datastore) => {
    const id = key.toString()
    let known = told.get(datastore)
    if (known === undefined) told.set(datastore, known = new Set())
    if (known.has(id)) return Effect.void
    known.add(id)
    if (known.size > maxTold) known.delete(known.values().next().value!)
    return Effect.logWarning(
      `The transitions of a batch of ${id} landed and consumed none of its events (${waiting}): the next batch will ` +
        "see the same events. A transition consumes only what its `events` names."
    )
  })
