/**
 * What a processor decided, checked and stripped of what does nothing.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type { Event, Mutation, Transition } from "../Processor.ts"
import { kindOf } from "./callbacks.ts"

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
 * What is wrong with a decision, or `undefined`: it has a form, and may use events of the batch only, each of them once.
 */
export const misuse = <S, A, E>(mutation: Mutation<S, A, E>, batch: ReadonlySet<string>): string | undefined => {
  if (!isObject(mutation) || !Array.isArray(mutation.transitions)) {
    return `gave ${kindOf(mutation)} where { transitions: [ … ] } was due`
  }
  const used = new Set<string>()
  const check = (events: ReadonlyArray<Event<A>> | undefined, where: string): string | undefined => {
    if (events === undefined) return undefined
    if (!Array.isArray(events)) return `${where} has ${kindOf(events)} where an array of events was due`
    for (const event of events) {
      if (!isObject(event) || typeof event.id !== "string") {
        return `${where} has ${kindOf(event)} among its events, where those of the batch were due`
      }
      const id = JSON.stringify(event.id)
      if (!batch.has(event.id)) return `${where} names event ${id}, which is not in this batch`
      if (used.has(event.id)) return `${where} names event ${id}, which was used before`
      used.add(event.id)
    }
    return undefined
  }
  for (const [index, transition] of mutation.transitions.entries()) {
    const where = `transition ${index}`
    if (!isObject(transition)) return `${where} is ${kindOf(transition)}`
    const problem = checkEffect(transition.sideEffect, `the sideEffect of ${where}`) ??
      checkEffect(transition.postProcess, `the postProcess of ${where}`) ??
      unknownName(transition, transitionNames, where) ?? check(transition.events, where)
    if (problem !== undefined) return problem
  }
  return unknownName(mutation, mutationNames, "the decision") ?? check(mutation.garbage, "garbage")
}

const mutationNames: ReadonlyArray<string> = ["transitions", "garbage"] satisfies ReadonlyArray<
  keyof Mutation<any, any>
>
const transitionNames: ReadonlyArray<string> = [
  "transitionTo",
  "events",
  "sideEffect",
  "touch",
  "postProcess"
] satisfies ReadonlyArray<keyof Transition<any, any>>

/** Compilers let a misspelt `sideEffects` pass, and it must not be lost beside events that are consumed. */
const unknownName = (value: object, known: ReadonlyArray<string>, where: string): string | undefined => {
  const stranger = Object.keys(value).find((name) => !known.includes(name))
  return stranger === undefined ? undefined : `${where} has ${JSON.stringify(stranger)}, and knows ${known.join(", ")}`
}

/** What is wrong with what a `loadState` gave, or `undefined`. */
export const misread = (read: { readonly eversion: unknown }): string | undefined =>
  isObject(read) && isEVersion(read.eversion)
    ? undefined
    : `gave ${
      isObject(read) ? `the eversion ${kindOf(read.eversion)}` : kindOf(read)
    } where { state, eversion } was due, ` +
      "with an integer from 0 on"

/** Whether a value is a version of a state. */
export const isEVersion = (value: unknown): value is number => Number.isSafeInteger(value) && value as number >= 0

const checkEffect = (effect: unknown, what: string): string | undefined =>
  effect === undefined || Effect.isEffect(effect) ? undefined : `${what} is an Effect, got ${kindOf(effect)}`

const isObject = <A>(value: A): value is A & object => typeof value === "object" && value !== null
