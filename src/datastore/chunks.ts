/**
 * Doing in parts what one request cannot hold.
 */
import * as Effect from "effect/Effect"

/** Splits an array into parts of at most `size`. */
export const chunksOf = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> => {
  if (items.length <= size) return [items]
  const chunks: Array<ReadonlyArray<A>> = []
  for (let from = 0; from < items.length; from += size) chunks.push(items.slice(from, from + size))
  return chunks
}

/** Does something with parts of at most `size`, four at a time; a single part needs no fiber of its own. */
export const forEachChunk = <A, E, R>(
  items: ReadonlyArray<A>,
  size: number,
  each: (chunk: ReadonlyArray<A>) => Effect.Effect<void, E, R>
): Effect.Effect<void, E, R> => {
  if (items.length === 0) return Effect.void
  return items.length <= size
    ? each(items)
    : Effect.forEach(chunksOf(items, size), each, { concurrency: 4, discard: true })
}
