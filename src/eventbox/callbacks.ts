/**
 * What a processor gives where the library calls it: programs without types, or with `any`, may give anything.
 */
import * as Effect from "effect/Effect"
import type { Key } from "../Key.ts"
import type { Recipient, ServiceClass } from "../Processor.ts"

/** Whose callback is called, and for whom. */
export interface Callee {
  readonly box: { readonly key: string }
  readonly recipient: { readonly key: Key }
}

/** A processor that does not keep its contract is a mistake of the program. */
export const broken = ({ box, recipient }: Callee, callback: string, problem: string): Effect.Effect<never> =>
  Effect.die(new Error(`The processor of ${box.key} is broken: ${callback} of ${recipient.key}: ${problem}`))

/**
 * What a callback returned, if it is an effect. Anything else would end the fiber on the spot, without its finalizers:
 * the lock of the recipient would never be given back.
 */
export const asEffect = <A, E, R>(
  callee: Callee,
  callback: "fetchEVersion" | "loadState" | "prepareMutation" | "saveState",
  returned: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.isEffect(returned)
    ? returned
    : broken(callee, callback, `gave ${kindOf(returned)} where an Effect was due; see Effect.succeed`)

/** What kind of value it is: its content may be a payload. */
export const kindOf = (value: unknown): string =>
  value === undefined || value === null || typeof value === "number"
    ? String(value)
    : Array.isArray(value)
    ? "an array"
    : Effect.isEffect(value)
    ? "an Effect"
    : typeof value === "object" && "then" in value && typeof value.then === "function"
    ? "a promise"
    : typeof value === "object"
    ? "an object"
    : `a value of type ${typeof value}`

/** Throws when a call was not given a box and a recipient of its kind. */
export const checkAddress = (
  call: string,
  box: ServiceClass<any, any, any, any, any>,
  recipient: Recipient<any>
): void => {
  if (typeof box?.recipient !== "function") {
    throw new Error(`${call} takes a box first: a class made with Processor.Service`)
  }
  if (typeof recipient?.key?.kind !== "string") {
    throw new Error(`${call} takes a recipient of the box ${box.key} second: make it with its \`recipient\``)
  }
  if (recipient.key.kind !== box.kind) {
    throw new Error(`${call}: ${recipient.key} is no recipient of the box ${box.key}, whose kind is ${box.kind}`)
  }
}
