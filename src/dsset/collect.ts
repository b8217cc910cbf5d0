/**
 * Reading the items of a set page by page, and telling the visible ones from garbage.
 */
import * as Effect from "effect/Effect"
import type { QueryResult, Snapshot, Version } from "../Backend.ts"
import { DatastoreError, Internal } from "../EventboxError.ts"
import { sizeBytes as keyBytes, utf8Bytes } from "../Key.ts"
import { probe } from "./format/pages.ts"
import {
  type Head,
  itemKey,
  itemKind,
  itemsEnd,
  itemsStart,
  readHead,
  readItem,
  type StoredItem
} from "./format/stored.ts"
import { newestOf, type Pop, type Range } from "./format/tombstones.ts"
import { gonePages, loadPages, type PagesChanged } from "./livePages.ts"
import { expectedItemBytes, noteItemBytes, type Place } from "./memory.ts"

/** The items after an id. */
interface Page {
  readonly range: Range
  readonly result: QueryResult
  /** Whether the page got to the end of the range. */
  readonly reachedEnd: boolean
}

/** What the pages of one listing held. */
export interface Collected {
  readonly items: ReadonlyArray<StoredItem>
  readonly snapshots: ReadonlyMap<string, Snapshot>
  /** Bytes of the parent's key. */
  readonly parentBytes: number
  readonly hidden: ReadonlyArray<Snapshot>
  readonly present: ReadonlyArray<string>
  readonly covered: ReadonlyArray<Range>
  readonly gone: ReadonlySet<number>
  /** Whether the listing got to the end of the range. */
  readonly reachedEnd: boolean
  /** Whether it began again at the beginning, since nothing was left after where it was to start. */
  readonly hasWrapped: boolean
}

/** What a listing may take. */
export interface Room {
  readonly items: number
  readonly bytes: number
}

/** What is read, from where. */
interface Where {
  readonly place: Place
  readonly range: Range
  readonly room: Room
}

/** Items of the first page of a set of whose kind none was seen yet: 90 MiB, if they are as large as can be. */
const firstPageItems = 100

/** How many items to ask for, so that they fit as far as can be told. */
const pageLimit = (place: Place, { bytes, items }: Room): number => {
  if (bytes === Number.POSITIVE_INFINITY) return items
  const expected = expectedItemBytes(place)
  if (expected === undefined) return Math.min(items, firstPageItems)
  return Math.min(items, Math.max(1, Math.ceil(bytes / Math.max(1, expected))))
}

/** Reads as many items of a range as there is room for, and as the database answers at once. */
export const readPage = ({ place, range, room }: Where): Effect.Effect<Page, DatastoreError> => {
  const { datastore, parent } = place
  const { after, upTo } = range
  const limit = pageLimit(place, room)
  return Effect.map(
    datastore.backend.query({
      kind: itemKind,
      ancestor: parent,
      from: after === undefined
        ? { key: itemsStart(parent), inclusive: true }
        : { key: itemKey(parent, after), inclusive: false },
      to: upTo === undefined
        ? { key: itemsEnd(parent), inclusive: false }
        : { key: itemKey(parent, upTo), inclusive: true },
      ...(limit === Number.POSITIVE_INFINITY ? {} : { limit }),
      maxBytes: room.bytes
    }),
    (result) => ({ range, result, reachedEnd: result.results.length < limit && result.isCutOff !== true })
  )
}

/** Goes on from the first page until there is no more room for visible items or the end of the range is reached. */
export const collect = Effect.fnUntraced(function*(
  options: Where & {
    /** Whether to begin again when nothing is left in the range. */
    readonly wraps: boolean
    readonly delayMillis: number
    readonly expiredBefore: number
    readonly tombstones: Head
  },
  first: Page
): Effect.fn.Return<Collected, DatastoreError | PagesChanged> {
  const { expiredBefore, place, range, tombstones, wraps } = options
  const view = makeView(options)
  let page = first
  let hasWrapped = false
  while (true) {
    const stored = page.result.results.map(readItem)
    view.take(page, stored, yield* popsFor(options, stored.map(({ id }) => id)))
    if (view.isFull()) break
    const room = view.room()
    if (!page.reachedEnd) {
      const last = String(page.result.results[page.result.results.length - 1]!.key.id)
      page = yield* readPage({ place, room, range: { after: last, upTo: range.upTo } })
    } else if (wraps && !hasWrapped && range.after !== undefined && view.items.length === 0) {
      hasWrapped = true
      page = yield* readPage({ place, room, range: { after: undefined, upTo: undefined } })
    } else {
      break
    }
  }
  const gone = yield* gonePages(place, {
    pages: tombstones.pages,
    expiredBefore,
    covered: view.covered,
    present: view.present
  })
  return {
    items: view.items,
    snapshots: view.snapshots,
    parentBytes: view.parentBytes,
    hidden: Array.from(view.hidden.values()),
    present: view.present,
    covered: view.covered,
    gone,
    reachedEnd: page.reachedEnd && !view.cutOff,
    hasWrapped
  }
})

/** Ids of items with their versions, as a sweep wants to know them. */
export const versionsOf = (
  { items, snapshots }: Collected
): ReadonlyArray<{ readonly id: string; readonly version: Version }> =>
  items.map(({ id }) => ({ id, version: snapshots.get(id)!.version }))

/** A set, and what its head holds. */
interface Known {
  readonly place: Place
  readonly tombstones: Head
}

/** The pops that may hide some of these ids: those of the head, and of the pages that may know them. */
const popsFor = (
  { place, tombstones }: Known,
  ids: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Pop>, DatastoreError | PagesChanged> => {
  if (tombstones.pages.length === 0) return Effect.succeed(tombstones.pops)
  const pages = tombstones.pages.filter(probe(ids).mayHit)
  return pages.length === 0
    ? Effect.succeed(tombstones.pops)
    : Effect.map(
      loadPages(place, pages),
      (loaded) => [...loaded.flatMap(({ pops }) => pops), ...tombstones.pops]
    )
}

/** What an item has in bytes beside its value and its key: names and values of its other properties, and a version. */
const itemOverheadBytes = 128

/** The stored size of an item, which Datastore counts against what a transaction may delete. */
export const storedBytes = (
  parentBytes: number,
  { id, trace, value }: Pick<StoredItem, "id" | "value"> & { readonly trace?: string | undefined }
): number => value.length + (trace?.length ?? 0) + parentBytes + utf8Bytes(id) + itemOverheadBytes

/** What an item counts in the commit that pops it: its size, its key in the request, and its id in its tombstone. */
const costOf = (parentBytes: number, item: StoredItem): number =>
  storedBytes(parentBytes, item) + parentBytes + 2 * utf8Bytes(item.id)

/** Whether a tombstone hides an item: one first added within the delay after the pop is a retry, a later one is new. */
const hides = (tombstone: number | undefined, item: { readonly atMillis: number }, delayMillis: number): boolean =>
  tombstone !== undefined && item.atMillis <= tombstone + delayMillis

/** Those of some items that the tombstones of a head, and of the pages that may know them, do not hide. */
export const visibleAmong = <I extends { readonly id: string; readonly atMillis?: number | undefined }>(
  options: Known & { readonly delayMillis: number },
  items: ReadonlyArray<I>
): Effect.Effect<ReadonlyArray<I>, DatastoreError | PagesChanged> => {
  const ids = items.map(({ id }) => id)
  return Effect.map(popsFor(options, ids), (pops) => {
    const newest = newestOf(pops, ids)
    return items.filter(({ atMillis = 0, id }) => !hides(newest.get(id), { atMillis }, options.delayMillis))
  })
}

/** Sorts the items of pages into visible and hidden ones. */
const makeView = (
  options: Pick<Where, "place" | "room"> & { readonly delayMillis: number }
) => {
  const { delayMillis, place, room } = options
  const parentBytes = keyBytes(place.parent)
  let bytes = 0
  const view = {
    items: [] as Array<StoredItem>,
    snapshots: new Map<string, Snapshot>(),
    /** By id: a listing that wraps around may see the same garbage twice. */
    hidden: new Map<string, Snapshot>(),
    present: [] as Array<string>,
    covered: [] as Array<Range>,
    /** Whether visible items were left out because there were enough. */
    cutOff: false,
    parentBytes,
    /** What may still be taken; the first item always may. */
    room: (): Room => ({ items: room.items - view.items.length, bytes: room.bytes - bytes }),
    isFull: (): boolean => view.cutOff || view.items.length >= room.items || bytes >= room.bytes,
    take: (page: Page, stored: ReadonlyArray<StoredItem>, pops: ReadonlyArray<Pop>): void => {
      const tombstones = newestOf(pops, stored.map(({ id }) => id))
      let pageBytes = 0
      for (const [index, item] of stored.entries()) {
        const snapshot = page.result.results[index]!
        const cost = costOf(parentBytes, item)
        pageBytes += cost
        view.present.push(item.id) // E4: an ignored item still counts as present
        if (hides(tombstones.get(item.id), item, delayMillis)) {
          view.hidden.set(item.id, snapshot)
        } else if (view.items.length === 0 || !view.isFull() && bytes + cost <= room.bytes) {
          view.items.push(item)
          view.snapshots.set(item.id, snapshot)
          bytes += cost
        } else {
          view.cutOff = true
        }
      }
      noteItemBytes(place, stored.length, pageBytes)
      cover(view.covered, page)
    }
  }
  return view
}

/** Adds what a page has covered: all up to its last item, or to the end of its range. */
const cover = (covered: Array<Range>, { range, reachedEnd, result }: Page): void => {
  const { after } = range
  const upTo = reachedEnd ? range.upTo : String(result.results[result.results.length - 1]?.key.id ?? after)
  const before = covered[covered.length - 1]
  if (before === undefined || before.upTo !== after || after === undefined) covered.push({ after, upTo })
  else covered[covered.length - 1] = { after: before.after, upTo }
}

/** Reads a head; a failure when it does not decode. */
export const decodeHead = (snapshot: Snapshot): Effect.Effect<Head, DatastoreError> => {
  const head = readHead(snapshot)
  if (head !== undefined) return Effect.succeed(head)
  const detail = "the tombstones do not decode: written by a newer version of the library, or by something else"
  return Effect.fail(
    new DatastoreError({ operation: "DsSet.list", keys: [snapshot.key], reason: new Internal({ detail }) })
  )
}
