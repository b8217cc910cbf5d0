/**
 * Contention that names what changed, or may have.
 */
import { ContentionError, EntityChanged } from "../EventboxError.ts"
import type { Key } from "../Key.ts"
import { headKind, itemKind } from "./stored.ts"

/** An error names at most this many keys. */
const maxKeys = 3

/**
 * The contention of a commit that expected these keys unchanged. It names the head of a set first, since that is what
 * races are mostly lost to, and the items last, of which there are many.
 */
export const entityChanged = (keys: ReadonlyArray<Key>, cause?: unknown): ContentionError => {
  const named = keys.length <= 1 ? keys : [
    ...keys.filter(({ kind }) => kind === headKind),
    ...keys.filter(({ kind }) => kind !== headKind && kind !== itemKind).slice(0, maxKeys),
    ...firstItems(keys)
  ].slice(0, maxKeys)
  const more = keys.length - named.length
  return new ContentionError({
    reason: new EntityChanged({
      keys: named,
      ...(more === 0 ? {} : { more }),
      ...(cause === undefined ? {} : { cause })
    })
  })
}

const firstItems = (keys: ReadonlyArray<Key>): ReadonlyArray<Key> => {
  const items: Array<Key> = []
  for (const key of keys) {
    if (items.length === maxKeys) break
    if (key.kind === itemKind) items.push(key)
  }
  return items
}
