/**
 * Times that settings give.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"

/** The longest time that a timer of Node waits; a longer one it would not wait at all. */
const maxMillis = 0x7fff_ffff

/** A time limit in milliseconds, or what is wrong with it. */
export const parseLimit = (
  setting: string,
  given: Duration.Input | undefined,
  otherwise: Duration.Input
): Result.Result<number, string> => {
  const millis = Option.match(Duration.fromInput(given ?? otherwise), {
    onNone: () => Number.NaN,
    onSome: Duration.toMillis
  })
  return millis >= 1 && millis <= maxMillis
    ? Result.succeed(millis)
    : Result.fail(`${setting} is a time between 1 millisecond and 24 days, such as "10 seconds", got ${show(given)}`)
}

const show = (given: Duration.Input | undefined): string =>
  typeof given === "number" || typeof given === "string"
    ? String(given)
    : Option.match(Duration.fromInput(given!), { onNone: () => typeof given, onSome: String })
