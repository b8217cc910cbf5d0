/**
 * What the head knows of the pages that older tombstones were moved to: enough to leave a page unread nearly always.
 *
 * | bytes | content |
 * |---|---|
 * | 1 | format, 1 |
 * | then | number of the next page: varint |
 * | then per page, oldest first | number, less that of the page before: varint · newest time in ms, less that of the page before: signed · check of its bytes: 4 · flags: 1 · if it holds UUIDs, their least time less the newest one: signed, and their greatest less the least: varint |
 *
 * Flags: 1 for UUIDs, 2 for other ids. The time of a UUID is its first 48 bits. Ids that the library draws are UUIDv7:
 * those of one page lie close together, and far from those of the events that wait now.
 */
import { compareUtf8 } from "../../Key.ts"
import { checkOf, Reader, uuidTime, Writer } from "./bytes.ts"
import { idReader, type Pop, type Range } from "./tombstones.ts"

/** One page, as the head knows it. Pages never change, and their numbers are never used again. */
export interface Page {
  readonly number: number
  /** The newest time of its pops, ms since epoch. */
  readonly newestAtMillis: number
  /** Tells what is read from anything else. */
  readonly check: number
  /** Least and greatest time of its UUIDs, if it holds any. */
  readonly times: { readonly from: number; readonly to: number } | undefined
  /** Whether it holds ids that are not UUIDs. */
  readonly hasOthers: boolean
}

/** The pages of a set, oldest first, and the number of the next one. */
export interface Directory {
  readonly pages: ReadonlyArray<Page>
  readonly next: number
  /** All of that as it is written. */
  readonly bytes: Uint8Array
}

/** Describes a page by its number, its pops and their bytes. O(ids). */
export const describe = (number: number, pops: ReadonlyArray<Pop>, bytes: Uint8Array): Page => {
  let [from, to, newestAtMillis] = [Number.POSITIVE_INFINITY, -1, 0]
  let hasOthers = false
  for (const pop of pops) {
    newestAtMillis = Math.max(newestAtMillis, pop.atMillis)
    const reader = idReader(pop)
    while (reader.hasMore()) {
      const time = reader.idTime()
      if (time === undefined) {
        hasOthers = true
      } else {
        from = Math.min(from, time)
        to = Math.max(to, time)
      }
    }
  }
  const times = to === -1 ? undefined : { from, to }
  return { number, newestAtMillis, check: checkOf(bytes), times, hasOthers }
}

/** Some ids, and whether a page may hold one of them. */
export interface Probe {
  readonly mayHit: (page: Page) => boolean
}

/** Prepares the question. O(ids), and O(log(ids)) per page. */
export const probe = (ids: ReadonlyArray<string>): Probe => {
  const times: Array<number> = []
  for (const id of ids) {
    const time = uuidTime(id)
    if (time !== undefined) times.push(time)
  }
  const hasOthers = times.length < ids.length
  times.sort((self, that) => self - that)
  const firstFrom = (least: number): number | undefined => {
    let [from, to] = [0, times.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (times[middle]! < least) from = middle + 1
      else to = middle
    }
    return times[from]
  }
  return {
    mayHit: (page) => {
      if (hasOthers && page.hasOthers) return true
      if (page.times === undefined) return false
      const first = firstFrom(page.times.from)
      return first !== undefined && first <= page.times.to
    }
  }
}

/** Whether all ids that a page may hold lie in one of the ranges, in Datastore's key order. */
export const isWithin = (ranges: ReadonlyArray<Range>, { hasOthers, times }: Page): boolean => {
  if (times === undefined && !hasOthers) return true
  const least = times === undefined || hasOthers ? undefined : `${timeText(times.from)}-`
  const greatest = times === undefined || hasOthers ? undefined : `${timeText(times.to)}.`
  return ranges.some(({ after, upTo }) =>
    (after === undefined || least !== undefined && compareUtf8(least, after) > 0) &&
    (upTo === undefined || greatest !== undefined && compareUtf8(greatest, upTo) <= 0)
  )
}

/** The beginning of the UUIDs of a time; `-` follows in each of them, and `.` comes after it. */
const timeText = (time: number): string => {
  const digits = time.toString(16).padStart(12, "0")
  return `${digits.slice(0, 8)}-${digits.slice(8)}`
}

/** Makes a directory. O(pages). */
export const make = (pages: ReadonlyArray<Page>, next: number): Directory => {
  const writer = new Writer()
  writer.varint(format)
  writer.varint(next)
  let before = { number: 0, newestAtMillis: 0 }
  for (const page of pages) {
    const { check, hasOthers, newestAtMillis, number, times } = page
    writer.varint(number - before.number)
    writer.signed(newestAtMillis - before.newestAtMillis)
    for (let shift = 24; shift >= 0; shift -= 8) writer.byte((check >>> shift) & 255)
    writer.byte((times === undefined ? 0 : 1) + (hasOthers ? 2 : 0))
    if (times !== undefined) {
      writer.signed(times.from - newestAtMillis)
      writer.varint(times.to - times.from)
    }
    before = page
  }
  return { pages, next, bytes: writer.done() }
}

/** Reads the bytes of a directory; `undefined` for anything else. O(pages). */
export const decode = (bytes: Uint8Array): Directory | undefined => {
  const reader = new Reader(bytes)
  if (reader.varint() !== format) return undefined
  const next = reader.varint()
  const pages: Array<Page> = []
  let before: Pick<Page, "number" | "newestAtMillis"> = { number: 0, newestAtMillis: 0 }
  while (reader.hasMore()) {
    const number = before.number + reader.varint()
    const newestAtMillis = before.newestAtMillis + reader.signed()
    let check = 0
    for (const byte of reader.raw(4)) check = check * 256 + byte
    const flags = reader.varint()
    let times: Page["times"]
    if (flags % 2 === 1) {
      const from = newestAtMillis + reader.signed()
      times = { from, to: from + reader.varint() }
    }
    if (reader.failed || flags > 3 || number <= before.number || number >= next) return undefined
    const page = { number, newestAtMillis, check, times, hasOthers: flags > 1 }
    pages.push(page)
    before = page
  }
  return reader.failed ? undefined : { pages, next, bytes }
}

const format = 1

/** What a set without a page has. */
export const empty: Directory = { pages: [], next: 1, bytes: new Uint8Array(0) }
