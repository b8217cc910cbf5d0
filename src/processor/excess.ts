/**
 * Fields of a stored state that its schema does not know: written by a newer version of the program, and kept by an
 * older one.
 */
import type * as Schema from "effect/Schema"

type Json = Schema.Json
type JsonObject = { readonly [name: string]: Json }

const isObject = (json: Json | undefined): json is JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)

const isArray = (json: Json | undefined): json is ReadonlyArray<Json> => Array.isArray(json)

/**
 * Whether what is stored may have fields that a new state lacks for not knowing them: `false` is sure. A walk beside
 * each other is cheap; to tell such a field from one that was taken away, the stored state is encoded again.
 */
export const mayHaveExcess = (stored: Json, next: Json): boolean => {
  if (isObject(stored) && isObject(next)) {
    return Object.keys(stored).some((name) => !Object.hasOwn(next, name) || mayHaveExcess(stored[name]!, next[name]!))
  }
  if (isArray(stored) && isArray(next)) {
    return stored.some((element, index) =>
      index < next.length
        ? mayHaveExcess(element, next[index]!)
        // Something was removed: any element may be another one now.
        : typeof element === "object" && element !== null
    )
  }
  return false
}

/**
 * A new state with what its schema does not know of the stored one. `known` is the stored state, decoded and encoded:
 * what it lacks is not known.
 *
 * Objects keep theirs by place, unless their `_tag` changed. Elements of arrays have no place of their own, so an
 * element keeps its fields as long as it is left as it is, wherever it moves.
 */
export const withExcess = (stored: Json, known: Json, next: Json): Json => {
  if (isObject(stored) && isObject(known) && isObject(next)) {
    if (known["_tag"] !== next["_tag"]) return next
    const merged = Object.keys(next).map((name): readonly [string, Json] => [
      name,
      Object.hasOwn(stored, name) && Object.hasOwn(known, name)
        ? withExcess(stored[name]!, known[name]!, next[name]!)
        : next[name]!
    ])
    const excess = Object.keys(stored)
      .filter((name) => !Object.hasOwn(known, name) && !Object.hasOwn(next, name))
      .map((name): readonly [string, Json] => [name, stored[name]!])
    // Not by assignment: `__proto__` is a name like any other here.
    return Object.fromEntries([...merged, ...excess])
  }
  if (isArray(stored) && isArray(known) && isArray(next)) return elementsWithExcess(stored, known, next)
  return next
}

const elementsWithExcess = (
  stored: ReadonlyArray<Json>,
  known: ReadonlyArray<Json>,
  next: ReadonlyArray<Json>
): ReadonlyArray<Json> => {
  // A schema that drops elements or makes some: which is which cannot be told.
  if (stored.length !== known.length) return next
  const waiting = new Map<string, Array<Json>>()
  for (const [index, element] of known.entries()) {
    if (typeof element !== "object" || element === null) continue
    const text = JSON.stringify(element)
    const alike = waiting.get(text)
    if (alike === undefined) waiting.set(text, [stored[index]!])
    else alike.push(stored[index]!)
  }
  if (waiting.size === 0) return next
  return next.map((element) =>
    typeof element === "object" && element !== null
      ? waiting.get(JSON.stringify(element))?.shift() ?? element
      : element
  )
}
