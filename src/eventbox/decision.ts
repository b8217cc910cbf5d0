/**
 * What a processor decided, checked and stripped of what does nothing.
 */
import * as Equal from "effect/Equal"
import type { Event, Mutation, Transition } from "../Processor.ts"

/** Whether two states differ: by identity first, then by value. */
export const isChanged = (self: unknown, that: unknown): boolean =>
  !Object.is(self, that) && (differsPlainly(self, that) || !Equal.equals(self, that))

/** Whether two plain objects have different scalars under one name, as they mostly have: told without hashing both. */
const differsPlainly = (self: unknown, that: unknown): boolean => {
  if (!isPlain(self) || !isPlain(that)) return false
  for (const name of Object.keys(self)) {
    const [one, other] = [self[name], that[name]]
    if (isScalar(one) && isScalar(other) && one !== other && !(Number.isNaN(one) && Number.isNaN(other))) return true
  }
  return false
}

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype &&
  !(Equal.symbol in value)

const isScalar = (value: unknown): boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"

/** Whether a transition does nothing but lead to its state. */
export const isIdle = ({ events, postProcess, sideEffect, touch }: Transition<any, any, any>): boolean =>
  (events === undefined || events.length === 0) && sideEffect === undefined && postProcess === undefined &&
  touch !== true

/** Drops transitions that have no events, no effects and lead to the state that is there already. */
export const withoutNoops = <S, A, E>(
  transitions: ReadonlyArray<Transition<S, A, E>>,
  state: S
): ReadonlyArray<Transition<S, A, E>> => {
  let current = state
  return transitions.filter((transition) => {
    const isNoop = isIdle(transition) && !isChanged(current, transition.transitionTo)
    if (!isNoop) current = transition.transitionTo
    return !isNoop
  })
}

/**
 * What is wrong with a decision, or `undefined`: it may use events of the batch only, each of them once.
 */
export const misuse = <S, A, E>(mutation: Mutation<S, A, E>, batch: ReadonlySet<string>): string | undefined => {
  const used = new Set<string>()
  const check = (events: ReadonlyArray<Event<A>> | undefined, where: string): string | undefined => {
    for (const { id } of events ?? []) {
      if (!batch.has(id)) return `${where} names event ${JSON.stringify(id)}, which is not in this batch`
      if (used.has(id)) return `${where} names event ${JSON.stringify(id)}, which was used before`
      used.add(id)
    }
    return undefined
  }
  for (const [index, { events }] of mutation.transitions.entries()) {
    const problem = check(events, `transition ${index}`)
    if (problem !== undefined) return problem
  }
  return check(mutation.garbage, "garbage")
}
