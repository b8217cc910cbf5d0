/**
 * The bytes of the tombstones head: which ids were popped by which commit, and when.
 *
 * | bytes | content |
 * |---|---|
 * | 1 | format, 1 |
 * | then per pop, oldest first | token: an id · time: varint, ms since epoch · length of the ids in bytes: varint · the ids |
 *
 * Numbers and ids are written as in `bytes.ts`. A head is read and written with every batch, so pops stay bytes: the
 * ids of one become text only when they expire, and looking for the ids of a listing compares hashes.
 */
import { compareUtf8 } from "../../Key.ts"
import { Reader, Writer } from "./bytes.ts"

/** One committed batch of pops, which may have consumed nothing (as that of a fence). */
export interface Pop {
  /** What counts as the time of the pop, ms since epoch: see `popTime`. */
  readonly atMillis: number
  /** The pop as it is written. */
  readonly bytes: Uint8Array
  /** Where in `bytes` its ids begin. */
  readonly idsFrom: number
}

/**
 * The time of a pop: that of the worker, or that of the newest addition it pops, if the emitter's clock is ahead of the
 * worker's; a late retry of that addition carries the same time. At most one delay ahead, or a clock that is years
 * ahead would keep its tombstones for years.
 */
export const popTime = (nowMillis: number, newestAtMillis: number, delayMillis: number): number =>
  Math.min(Math.max(nowMillis, newestAtMillis), nowMillis + delayMillis)

/** Makes a pop of ids. */
export const makePop = (token: string, atMillis: number, ids: Iterable<string>): Pop => {
  const writer = new Writer()
  for (const id of ids) writer.id(id)
  return popOf(token, atMillis, writer.done())
}

const popOf = (token: string, atMillis: number, idBytes: Uint8Array): Pop => {
  const writer = new Writer()
  writer.id(token)
  writer.varint(atMillis)
  writer.varint(idBytes.length)
  const idsFrom = writer.size
  writer.raw(idBytes)
  return { atMillis, bytes: writer.done(), idsFrom }
}

/** The name of the commit that wrote a pop: how a commit whose response was lost is recognised. */
export const tokenOf = (pop: Pop): string => new Reader(pop.bytes).id()

/**
 * Tokens that a head keeps whatever their age: a worker whose clock is ahead erases pops too early, and a batch that
 * landed must not look lost because of that.
 */
const keptTokens = 32

/** The tokens of the newest pops, oldest first, with one more. */
export const withToken = (tokens: Uint8Array, token: string): Uint8Array => {
  const reader = new Reader(tokens)
  const starts: Array<number> = []
  while (reader.hasMore()) {
    starts.push(reader.at)
    reader.skipId()
  }
  const writer = new Writer()
  writer.raw(tokens.subarray(starts[starts.length - keptTokens + 1] ?? 0))
  writer.id(token)
  return writer.done()
}

/** Whether a token is among these. */
export const hasToken = (tokens: Uint8Array, token: string): boolean => {
  const reader = new Reader(tokens)
  while (reader.hasMore()) if (reader.id() === token) return true
  return false
}

/** Reads the ids of a pop. */
export const idReader = ({ bytes, idsFrom }: Pop): Reader => new Reader(bytes, idsFrom)

/** The ids of a pop. O(ids). */
export const idsOf = (pop: Pop): Array<string> => {
  const reader = idReader(pop)
  const ids: Array<string> = []
  while (reader.hasMore()) ids.push(reader.id())
  return ids
}

/** Splits a pop into pops of at most so many bytes, if it has more; their token and time are the same. */
export const splitPop = (pop: Pop, maxBytes: number): ReadonlyArray<Pop> => {
  if (pop.bytes.length <= maxBytes) return [pop]
  const parts: Array<Pop> = []
  const reader = idReader(pop)
  let from = reader.at
  let last = from
  const cut = (): void => {
    if (last > from) parts.push(popOf(tokenOf(pop), pop.atMillis, pop.bytes.subarray(from, last)))
    from = last
  }
  while (reader.hasMore()) {
    reader.skipId()
    if (reader.at - from > maxBytes - pop.idsFrom) cut()
    last = reader.at
  }
  cut()
  return parts
}

/** A part of the key range of a set, by item id; `undefined` means unbounded. */
export interface Range {
  /** Exclusive. */
  readonly after: string | undefined
  /** Inclusive. */
  readonly upTo: string | undefined
}

/** Whether an id lies in one of the ranges, in Datastore's key order. */
export const isCovered = (ranges: ReadonlyArray<Range>, id: string): boolean =>
  ranges.some(({ after, upTo }) =>
    (after === undefined || compareUtf8(id, after) > 0) && (upTo === undefined || compareUtf8(id, upTo) <= 0)
  )

/** The newest tombstone of each of these ids that has one, ms since epoch. O(ids + tombstones). */
export const newestOf = (pops: ReadonlyArray<Pop>, ids: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const newest = new Map<string, number>()
  if (ids.length === 0 || pops.length === 0) return newest
  const wanted = new Set(ids)
  const hashes = hashesOf(wanted)
  for (const pop of pops) {
    const { atMillis } = pop
    const reader = idReader(pop)
    while (reader.hasMore()) {
      const at = reader.at
      if (!hashes.has(reader.idHash())) continue
      reader.at = at
      const id = reader.id()
      if (wanted.has(id)) newest.set(id, Math.max(atMillis, newest.get(id) ?? atMillis))
    }
  }
  return newest
}

const hashesOf = (ids: Iterable<string>): ReadonlySet<number> => {
  const writer = new Writer()
  for (const id of ids) writer.id(id)
  const reader = new Reader(writer.done())
  const hashes = new Set<number>()
  while (reader.hasMore()) hashes.add(reader.idHash())
  return hashes
}

/**
 * What is left of pops when those from before `expiredBefore` are erased, save the ids for which `keep` holds. // E4
 * The token of a pop lives as long as its time does, even when it popped nothing.
 */
export const withoutExpired = (
  pops: ReadonlyArray<Pop>,
  expiredBefore: number,
  keep: (id: string) => boolean
): Array<Pop> => {
  const left: Array<Pop> = []
  for (const pop of pops) {
    if (pop.atMillis >= expiredBefore) {
      left.push(pop)
      continue
    }
    const ids = idsOf(pop).filter(keep)
    if (ids.length > 0) left.push(makePop(tokenOf(pop), pop.atMillis, ids))
  }
  return left
}

/** Writes pops as bytes. O(bytes). */
export const encode = (pops: ReadonlyArray<Pop>): Uint8Array => {
  const bytes = new Uint8Array(encodedSize(pops))
  bytes[0] = format
  let at = 1
  for (const pop of pops) {
    bytes.set(pop.bytes, at)
    at += pop.bytes.length
  }
  return bytes
}

/** How many bytes {@link encode} writes. */
export const encodedSize = (pops: ReadonlyArray<Pop>): number => pops.reduce((sum, { bytes }) => sum + bytes.length, 1)

/** Reads what {@link encode} wrote; `undefined` for anything else. O(pops). */
export const decode = (bytes: Uint8Array): ReadonlyArray<Pop> | undefined => {
  const reader = new Reader(bytes)
  if (reader.varint() !== format) return undefined
  const pops: Array<Pop> = []
  while (reader.hasMore()) {
    const from = reader.at
    reader.skipId()
    const atMillis = reader.varint()
    const size = reader.varint()
    const idsFrom = reader.at - from
    reader.skip(size)
    if (reader.failed) return undefined
    pops.push({ atMillis, bytes: bytes.subarray(from, reader.at), idsFrom })
  }
  return reader.failed ? undefined : pops
}

const format = 1
