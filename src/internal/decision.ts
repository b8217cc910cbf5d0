/**
 * What a processor decided, checked and stripped of what does nothing.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type { Event, Mutation, Recipient, Transition } from "../Processor.ts"

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
 * What a callback returned, if it is an effect. Anything else would end the fiber on the spot, without its finalizers:
 * the lock of the recipient would never be given back.
 */
export const asEffect = <A, E, R>(
  callback: "fetchEVersion" | "loadState" | "prepareMutation" | "saveState",
  { key }: Recipient<any>,
  returned: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.isEffect(returned)
    ? returned
    : Effect.die(new Error(`${callback} of ${key} returns an Effect, got ${nameOf(returned)}; see Effect.succeed`))

const nameOf = (value: unknown): string =>
  value === null || value === undefined
    ? String(value)
    : Array.isArray(value)
    ? "an array"
    : isThenable(value)
    ? "a promise"
    : typeof value === "object"
    ? "an object"
    : typeof value

const isThenable = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

const mutationNames: ReadonlyArray<keyof Mutation<any, any>> = ["transitions", "garbage"]
const transitionNames: ReadonlyArray<keyof Transition<any, any>> = [
  "transitionTo",
  "events",
  "sideEffect",
  "touch",
  "postProcess"
]

/**
 * What is wrong with a decision, or `undefined`: it has the form of one, and may use events of the batch only, each of
 * them once. Compilers let a misspelt `sideEffects` pass, and it must not be lost beside events that are consumed.
 */
export const misuse = <S, A, E>(mutation: Mutation<S, A, E>, batch: ReadonlySet<string>): string | undefined => {
  if (typeof mutation !== "object" || mutation === null || !Array.isArray(mutation.transitions)) {
    return "it decides on { transitions: […], garbage: […] }, of which garbage may be left out"
  }
  const used = new Set<string>()
  const check = (events: ReadonlyArray<Event<A>> | undefined, where: string): string | undefined => {
    if (events === undefined) return undefined
    if (!Array.isArray(events)) return `${where} takes an array of events, got ${nameOf(events)}`
    for (const { id } of events as ReadonlyArray<Event<A>>) {
      if (!batch.has(id)) return `${where} names event ${JSON.stringify(id)}, which is not in this batch`
      if (used.has(id)) return `${where} names event ${JSON.stringify(id)}, which was used before`
      used.add(id)
    }
    return undefined
  }
  for (const [index, transition] of mutation.transitions.entries()) {
    const where = `transition ${index}`
    const problem = misshapen(transition, where) ?? check(transition.events, where)
    if (problem !== undefined) return problem
  }
  return unknownName(mutation, mutationNames, "the decision") ?? check(mutation.garbage, "garbage")
}

const misshapen = (transition: Transition<any, any, any>, where: string): string | undefined => {
  if (typeof transition !== "object" || transition === null) return `${where} is ${nameOf(transition)}, not an object`
  for (const name of ["sideEffect", "postProcess"] as const) {
    const effect = transition[name]
    if (effect !== undefined && !Effect.isEffect(effect)) {
      return `${name} of ${where} is an Effect, got ${nameOf(effect)}`
    }
  }
  return unknownName(transition, transitionNames, where)
}

const unknownName = (value: object, known: ReadonlyArray<string>, where: string): string | undefined => {
  const stranger = Object.keys(value).find((name) => !known.includes(name))
  return stranger === undefined ? undefined : `${where} has ${JSON.stringify(stranger)}, and knows ${known.join(", ")}`
}
