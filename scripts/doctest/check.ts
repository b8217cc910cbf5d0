/**
 * What the `// =>` comments of an example become when it runs.
 */
import * as Equal from "effect/Equal"
import { deepStrictEqual } from "node:assert"
import { inspect } from "node:util"

const isSame = (actual: unknown, expected: unknown): boolean => {
  try {
    if (Equal.equals(actual, expected)) return true
    deepStrictEqual(actual, expected)
    return true
  } catch {
    return false
  }
}

/**
 * Fails unless `actual` is what the comment says: as a value, when the comment is an expression, or as Node prints it.
 */
export const check = (line: number, actual: unknown, expected: (() => unknown) | undefined, text: string): void => {
  const printed = inspect(actual, { breakLength: Infinity, depth: 10 })
  if (printed === text || String(actual) === text) return
  try {
    if (expected !== undefined && isSame(actual, expected())) return
  } catch {
    // A comment that only looks like an expression is compared as text.
  }
  throw new Error(`line ${line}: // => ${text}\n  but the value is ${printed}`)
}
