/**
 * Where limited listings of a set stand: each goes on where the last one ended, in key order, until the sweep is over
 * and the next one begins at the beginning.
 *
 * A sweep must end although as many items arrive as are consumed, also if they all arrive just ahead of it, as ids
 * that grow with time do. What has arrived since the sweep began is told by versions, which grow over the database:
 * when three full listings hold nothing else, the sweep leaps over the ids that begin as the last one does, a longer
 * way each time until it meets something older. What was leapt over is left for the next sweep, which meets the
 * arrivals at another place. So no clock has a say in who is offered.
 */
import type { Version } from "../Backend.ts"
import { utf8Bytes } from "../Key.ts"

/** One sweep, between two listings. */
export interface Sweep {
  /** The key that the next listing comes after; `undefined` at the beginning. */
  readonly after: string | undefined
  /** Listings so far. */
  readonly listings: number
  /** Of these, the last ones that held nothing but arrivals. */
  readonly arrivals: number
  /** The newest version that had been seen when the sweep began; `undefined` when none had. */
  readonly known: Version | undefined
  /** The newest version seen until now. */
  readonly seen: Version
  /** How many characters of an id the last leap kept; `undefined` when the last listing was reached without one. */
  readonly leap: number | undefined
}

/** A holder of a sweep. */
export interface Cursor {
  sweep: Sweep | undefined
}

/** What a listing saw, as far as its sweep is concerned. */
export interface Seen {
  readonly items: ReadonlyArray<{ readonly id: string; readonly version: Version }>
  readonly head: Version
  /** Whether the listing got to the end of the range. */
  readonly reachedEnd: boolean
}

/**
 * Listings of arrivals alone, one after the other, before a leap: there may be one by chance, where arrivals are spread
 * over what waits; and a leap at the end of all items costs a query that finds nothing.
 */
const minArrivals = 3

/**
 * What a leap keeps of the length that the last one kept. Small steps, or it leaps over what lies between: of a UUIDv7
 * eight characters are a minute, and six are hours.
 */
const kept = 3 / 4

/** Listings of a set that was never popped, after which a sweep takes what it has seen for what there was. */
const maxUnknown = 20

/** The greatest character: what begins with a prefix comes before that prefix and this one. */
const greatest = "\u{10FFFF}"

const none = BigInt(0)

/** A sweep that begins, after one that has seen versions up to `seen`. */
export const begin = (seen: Version, head: Version): Sweep => {
  const newest = head > seen ? head : seen
  return {
    after: undefined,
    listings: 0,
    arrivals: 0,
    known: newest > none ? newest : undefined,
    seen: newest,
    leap: undefined
  }
}

/** Whether a sweep has not begun, or is over. */
export const isAtStart = ({ sweep }: Cursor): boolean => sweep?.after === undefined

/** The sweep after a listing; its `after` is `undefined` when it is over. */
export const advance = (sweep: Sweep, { head, items, reachedEnd }: Seen): Sweep => {
  const known = sweep.known ?? (head > none ? head : sweep.listings >= maxUnknown ? sweep.seen : undefined)
  let seen = head > sweep.seen ? head : sweep.seen
  let isArrivals = known !== undefined
  for (const { version } of items) {
    if (version > seen) seen = version
    if (known !== undefined && version <= known) isArrivals = false
  }
  const next = { ...sweep, known, seen, listings: sweep.listings + 1 }
  if (reachedEnd || items.length === 0) return { ...next, after: undefined }
  const last = items[items.length - 1]!.id
  const arrivals = isArrivals ? sweep.arrivals + 1 : 0
  if (arrivals < minArrivals || arrivals * items.length < 2 * minArrivals) {
    return { ...next, arrivals, leap: undefined, after: last }
  }
  const longest = sweep.leap === undefined ? last.length - 1 : Math.floor(sweep.leap * kept)
  const length = Math.min(longest, commonLength(items[0]!.id, last) + 1)
  const prefix = prefixOf(last, Math.max(0, length))
  return { ...next, arrivals, leap: length, after: prefix === "" ? undefined : `${prefix}${greatest}` }
}

const commonLength = (self: string, that: string): number => {
  let length = 0
  while (length < self.length && self.charCodeAt(length) === that.charCodeAt(length)) length++
  return length
}

/** The first characters, as many as {@link greatest} leaves room for in an id; half a surrogate pair is left out. */
const prefixOf = (id: string, length: number): string => {
  let prefix = id.slice(0, length)
  while (!prefix.isWellFormed() || utf8Bytes(prefix) > maxPrefixBytes) prefix = prefix.slice(0, -1)
  return prefix
}

const maxPrefixBytes = 1_496
