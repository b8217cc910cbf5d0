/**
 * Telling what values are that come from users. They may be made by another realm (a `vm` context, jsdom, the pool of a
 * test runner), whose classes are not ours, so `instanceof` does not know them.
 */

/** Works for the typed arrays of every realm, and says nothing for anything else. */
const nameOfView = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!
  .get as (this: unknown) => string | undefined

/** Whether a value is a `Uint8Array`, such as a `Buffer`, of whichever realm. */
export const isBytes = (value: unknown): value is Uint8Array =>
  typeof value === "object" && nameOfView.call(value) === "Uint8Array"

/** Whether a value has the prototype that object literals have, of whichever realm, or none. */
export const isPlainObject = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ||
    // Every realm has one prototype without a prototype that owns this method, and literals are made of it.
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "isPrototypeOf"))
}

/** The message of an error of whichever realm, or a text; of anything else only its type, since it may be a payload. */
export const messageOf = (cause: unknown): string =>
  orNoText(() => {
    if (typeof cause === "string") return cause
    const { message } = (cause ?? {}) as { readonly message?: unknown }
    return typeof message === "string" ? message : `a ${typeof cause}`
  })

/** What is thrown may throw in turn when it is looked at, or have no text; an error about it must still be readable. */
export const orNoText = (text: () => string): string => {
  try {
    return text()
  } catch {
    return "something that has no text"
  }
}

/** The name in the `code` of an error, as Node's have one: `ENOENT`. */
export const codeOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : undefined
