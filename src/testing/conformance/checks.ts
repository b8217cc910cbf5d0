/**
 * The few checks that facts are made of; they need no test runner, and fail with what a test runner shows as a diff.
 */
import * as Equal from "effect/Equal"
import * as Formatter from "effect/Formatter"

/** A fact that does not hold. Its name and fields are those that test runners know. */
export class UnmetError extends Error {
  override readonly name = "AssertionError"
  readonly actual: unknown
  readonly expected: unknown
  readonly showDiff = true
  constructor(message: string, actual: unknown, expected: unknown) {
    super(message)
    this.actual = actual
    this.expected = expected
  }
}

/** That two values are equal, deeply: arrays, plain objects and sets by what they hold, everything else by `===`. */
export const same = <A>(actual: A, expected: NoInfer<A>, about?: string): void => {
  if (Equal.equals(actual, expected)) return
  const where = about === undefined ? "" : `${about}: `
  throw new UnmetError(`${where}expected ${show(expected)}, got ${show(actual)}`, actual, expected)
}

/** That a condition is true; `what` says in words what holds then. */
export const holds = (condition: boolean, what: string): void => {
  if (!condition) throw new UnmetError(`expected that ${what}`, condition, true)
}

const show = (value: unknown): string => {
  const text = Formatter.format(value)
  return text.length <= maxShown ? text : `${text.slice(0, maxShown)} …`
}

const maxShown = 300
