/**
 * The law `Schema`: a state survives the state schema of its box.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import type * as Schema from "effect/Schema"
import { broken, type Place } from "./broken.ts"
import type { Rig } from "./rig.ts"

/** The state as text, once it has been seen to survive its schema. */
export const survive = Effect.fnUntraced(function*({ subject }: Rig, state: unknown, what: string, place: Place) {
  const isLaw = subject.isLaw("Schema")
  const encoded = yield* Effect.exit(subject.encode(state))
  if (Exit.isFailure(encoded)) {
    const shown = Formatter.format(state)
    if (!isLaw) return shown
    const summary = `${what} does not fit the state schema of the box`
    return yield* broken("Schema", summary, [shown, ...messageOf(encoded.cause)], place)
  }
  if (!isLaw) return encoded.value
  const decoded = yield* Effect.exit(subject.decode(encoded.value))
  if (Exit.isSuccess(decoded) && Equal.equals(decoded.value, state)) return encoded.value
  const after = Exit.isSuccess(decoded) ? [Formatter.format(decoded.value)] : messageOf(decoded.cause)
  const summary = `${what} does not survive the state schema of the box: encoded and decoded it is another`
  const detail = [`before   ${Formatter.format(state)}`, `encoded  ${encoded.value}`, `decoded  ${after.join("\n")}`]
  return yield* broken("Schema", summary, detail, place)
})

const messageOf = (cause: Cause.Cause<Schema.SchemaError>): ReadonlyArray<string> => {
  const found = Cause.findErrorOption(cause)
  return (found._tag === "Some" ? found.value.message : Cause.pretty(cause)).split("\n")
}
