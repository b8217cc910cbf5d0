/**
 * Contention that names what changed, or may have.
 */
import { ContentionError, EntityChanged } from "../EventboxError.ts"
import type { Key } from "../Key.ts"

/** An error names at most this many keys. */
const maxKeys = 3

/**
 * The contention of a commit that expected these keys unchanged. It names the first of them: a batch expects
 * what its loadState read, then its head, then its events.
 */
export const entityChanged = (keys: ReadonlyArray<Key>, cause?: unknown): ContentionError => {
  const more = keys.length - maxKeys
  return new ContentionError({
    reason: new EntityChanged({
      keys: keys.slice(0, maxKeys),
      ...(more > 0 ? { more } : {}),
      ...(cause === undefined ? {} : { cause })
    })
  })
}
