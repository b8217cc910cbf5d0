/**
 * The law `Input`: `prepareMutation` leaves the state and the events as they are.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Formatter from "effect/Formatter"
import type { Event } from "../../Processor.ts"
import { broken } from "./broken.ts"
import type { CaseEvent } from "./case.ts"
import { decodeEvents, type Reached, type Rig, show } from "./rig.ts"

/** Looks what became of the state and the events that `prepareMutation` was given. */
export const checkInput = Effect.fnUntraced(function*(
  rig: Rig,
  reached: Reached,
  batch: ReadonlyArray<CaseEvent>,
  given: { readonly state: unknown; readonly events: ReadonlyArray<Event<unknown>> }
) {
  if (!rig.subject.isLaw("Input")) return
  const place = { state: reached.text, events: batch }
  const after = show(rig, given.state)
  if (reached.text !== after) {
    const summary = "prepareMutation changes the state that it was given, so that the change may never be saved"
    return yield* broken("Input", summary, [`before  ${reached.text}`, `after   ${after}`], place)
  }
  const untouched = yield* decodeEvents(rig, batch)
  for (const event of given.events) {
    const was = untouched.find(({ id }) => id === event.id)
    if (was === undefined || Equal.equals(was.value, event.value)) continue
    const detail = [`before  ${Formatter.format(was.value)}`, `after   ${Formatter.format(event.value)}`]
    return yield* broken("Input", `prepareMutation changes the value of event ${event.id}`, detail, place)
  }
})
