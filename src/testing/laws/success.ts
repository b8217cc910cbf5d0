/**
 * The law `Success`: no function of a processor, and no side effect, fails or dies, but as it may.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import { type Broken, broken, type Place } from "./broken.ts"
import type { Rig } from "./rig.ts"

/** A failure that may be is returned; `inner` is what it carries, where it carries one. */
export const failed = (
  { subject }: Rig,
  call: string,
  cause: Cause.Cause<unknown>,
  place: Place,
  inner?: unknown
): Effect.Effect<unknown, Broken> => {
  const found = Cause.findErrorOption(cause)
  const error = inner ?? (found._tag === "Some" ? found.value : undefined)
  const isDefect = cause.reasons.some(({ _tag }) => _tag !== "Fail")
  if (!isDefect && (!subject.isLaw("Success") || subject.mayFail(error))) return Effect.succeed(error)
  const isEmpty = call === "prepareMutation" && place.events?.length === 0
  const summary = `${call} ${isDefect ? "dies" : "fails"}${isEmpty ? " when there is no event" : ""}`
  const shown = inner === undefined ? Cause.pretty(cause) : Formatter.format(inner)
  return broken("Success", summary, shown.split("\n"), place, Cause.squash(cause))
}
