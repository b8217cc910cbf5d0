/**
 * Reading the items of a set page by page, and telling the visible ones from garbage.
 */
import * as Effect from "effect/Effect"
import type { QueryResult, Snapshot } from "../Backend.ts"
import type { Datastore } from "../Datastore.ts"
import type { DatastoreError } from "../EventboxError.ts"
import type { Key } from "../Key.ts"
import { gonePages, loadPages, type PagesChanged } from "./livePages.ts"
import { isCrowded, maxMergedPages } from "./nextHead.ts"
import { probe } from "./pages.ts"
import { type Cursor, expectedItemBytes, noteItemBytes, type SetMemory } from "./setMemory.ts"
import { type Head, itemKey, itemKind, itemsEnd, itemsStart, readItem, type StoredItem } from "./stored.ts"
import { newestOf, type Pop, type Range } from "./tombstones.ts"

/** The items after an id. */
export interface Page {
  readonly after: string | undefined
  readonly limit: number
  readonly maxBytes: number
  readonly result: QueryResult
  /** Whether the page got to the end of the set's key range. */
  readonly reachedEnd: boolean
}

/** What the pages of one listing held. */
export interface Collected {
  readonly items: ReadonlyArray<StoredItem>
  readonly snapshots: ReadonlyMap<string, Snapshot>
  readonly hidden: ReadonlyArray<Snapshot>
  readonly present: ReadonlyArray<string>
  readonly covered: ReadonlyArray<Range>
  readonly gone: ReadonlySet<number>
  readonly truncated: boolean
  readonly reachedEnd: boolean
  /** Puts the cursor back to where this listing began, unless another listing has moved it. */
  readonly rewind: () => void
}

/** What a listing may still take. */
export interface Room {
  readonly items: number
  readonly bytes: number
}

/** Items of the first page of a set of whose kind none was seen yet: 90 MiB, if they are as large as can be. */
const firstPageItems = 100

/** How many items to ask for, so that they fit as far as can be told. */
export const pageLimit = (datastore: Datastore["Service"], parent: Key, { bytes, items }: Room): number => {
  if (bytes === Number.POSITIVE_INFINITY) return items
  const expected = expectedItemBytes(datastore, parent)
  if (expected === undefined) return Math.min(items, firstPageItems)
  return Math.min(items, Math.max(1, Math.ceil(bytes / Math.max(1, expected))))
}

/** Reads at most `limit` items after an id, or from the beginning. */
export const readPage = (
  datastore: Datastore["Service"],
  parent: Key,
  after: string | undefined,
  limit: number,
  maxBytes: number
): Effect.Effect<Page, DatastoreError> =>
  Effect.map(
    datastore.backend.query({
      kind: itemKind,
      ancestor: parent,
      from: after === undefined
        ? { key: itemsStart(parent), inclusive: true }
        : { key: itemKey(parent, after), inclusive: false },
      to: { key: itemsEnd(parent), inclusive: false },
      limit,
      maxBytes
    }),
    (result) => ({
      after,
      limit,
      maxBytes,
      result,
      reachedEnd: result.results.length < limit && result.isCutOff !== true
    })
  )

/**
 * Goes on from the first page until there is no more room for visible items or the end is reached, and moves the
 * cursor.
 */
export const collect = Effect.fnUntraced(function*(
  options: {
    readonly datastore: Datastore["Service"]
    readonly parent: Key
    readonly memory: SetMemory
    readonly cursor: Cursor
    /** Whether to begin again when nothing is left behind the cursor. */
    readonly wraps: boolean
    readonly room: Room
    readonly delayMillis: number
    readonly expiredBefore: number
    readonly maxHeadBytes: number
    readonly head: Snapshot
    readonly tombstones: Head
  },
  first: Page
): Effect.fn.Return<Collected, DatastoreError | PagesChanged> {
  const { cursor, datastore, parent, tombstones, wraps } = options
  const view = makeView(options)
  let page = first
  let fromBeginning = first.after === undefined
  while (true) {
    const stored = page.result.results.map(readItem)
    noteItemBytes(datastore, parent, stored.length, stored.reduce((sum, { value }) => sum + value.length, 0))
    view.take(page, stored, yield* popsFor(options, stored))
    if (view.isFull()) break
    const limit = pageLimit(datastore, parent, view.room())
    if (!page.reachedEnd) {
      const last = String(page.result.results[page.result.results.length - 1]!.key.id)
      page = yield* readPage(datastore, parent, last, limit, view.room().bytes)
    } else if (wraps && !fromBeginning && view.items.length === 0) {
      // Nothing was left after the place where the last listing ended: wrap around.
      fromBeginning = true
      page = yield* readPage(datastore, parent, undefined, limit, view.room().bytes)
    } else {
      break
    }
  }
  const reachedEnd = page.reachedEnd && !view.cutOff
  const last = reachedEnd ? undefined : view.items[view.items.length - 1]?.id
  const gone = yield* gonePages(datastore, parent, {
    pages: tombstones.pages,
    expiredBefore: options.expiredBefore,
    covered: view.covered,
    present: view.present
  })
  cursor.after = last
  const start = fromBeginning ? undefined : first.after
  return {
    rewind: () => {
      if (cursor.after === last) cursor.after = start
    },
    items: view.items,
    snapshots: view.snapshots,
    hidden: Array.from(view.hidden.values()),
    present: view.present,
    covered: view.covered,
    gone,
    truncated: !reachedEnd || !fromBeginning,
    reachedEnd
  }
})

/** The pops that may hide some of these items: those of the head, and of the pages that may know them. */
const popsFor = (
  options: Parameters<typeof collect>[0],
  stored: ReadonlyArray<StoredItem>
): Effect.Effect<ReadonlyArray<Pop>, DatastoreError | PagesChanged> => {
  const { datastore, parent, tombstones } = options
  if (tombstones.pages.length === 0) return Effect.succeed(tombstones.pops)
  const question = probe(stored.map(({ id }) => id))
  const asks = tombstones.pages.filter(question.mayHit)
  // What other processes wrote is read once, to be merged with what this one writes.
  const merges = isCrowded(tombstones, options.maxHeadBytes) ? tombstones.pages.slice(-maxMergedPages) : []
  const pages = Array.from(new Set([...asks, ...merges]))
  if (pages.length === 0) return Effect.succeed(tombstones.pops)
  return Effect.map(
    loadPages(datastore, parent, pages),
    (loaded) => [...loaded.slice(0, asks.length).flatMap(({ pops }) => pops), ...tombstones.pops]
  )
}

/** Whether a tombstone hides an item: one first added within the delay after the pop is a retry, a later one is new. */
const hides = (tombstone: number | undefined, item: { readonly atMillis: number }, delayMillis: number): boolean =>
  tombstone !== undefined && item.atMillis <= tombstone + delayMillis

/** Those of some items that the tombstones of a head, and of the pages that may know them, do not hide. */
export const visibleAmong = <I extends { readonly id: string; readonly atMillis?: number | undefined }>(
  { datastore, delayMillis, parent, tombstones }: {
    readonly datastore: Datastore["Service"]
    readonly parent: Key
    readonly delayMillis: number
    readonly tombstones: Head
  },
  items: ReadonlyArray<I>
): Effect.Effect<ReadonlyArray<I>, DatastoreError | PagesChanged> => {
  const ids = items.map(({ id }) => id)
  const asks = tombstones.pages.length === 0 ? [] : tombstones.pages.filter(probe(ids).mayHit)
  return Effect.map(asks.length === 0 ? Effect.succeed([]) : loadPages(datastore, parent, asks), (loaded) => {
    const newest = newestOf([...loaded.flatMap(({ pops }) => pops), ...tombstones.pops], ids)
    return items.filter(({ atMillis = 0, id }) => !hides(newest.get(id), { atMillis }, delayMillis))
  })
}

/** Sorts the items of pages into visible and hidden ones. */
const makeView = (options: {
  readonly room: Room
  readonly delayMillis: number
}) => {
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
    /** What may still be taken; the first item always may. */
    room: (): Room => ({ items: options.room.items - view.items.length, bytes: options.room.bytes - bytes }),
    isFull: (): boolean => view.cutOff || view.items.length >= options.room.items || bytes >= options.room.bytes,
    take: (page: Page, stored: ReadonlyArray<StoredItem>, pops: ReadonlyArray<Pop>): void => {
      const tombstones = newestOf(pops, stored.map(({ id }) => id))
      for (const [index, item] of stored.entries()) {
        const snapshot = page.result.results[index]!
        view.present.push(item.id) // E4: an ignored item still counts as present
        if (hides(tombstones.get(item.id), item, options.delayMillis)) {
          view.hidden.set(item.id, snapshot)
        } else if (view.items.length === 0 || !view.isFull() && bytes + item.value.length <= options.room.bytes) {
          view.items.push(item)
          view.snapshots.set(item.id, snapshot)
          bytes += item.value.length
        } else {
          view.cutOff = true
        }
      }
      const last = page.result.results[page.result.results.length - 1]
      const upTo = page.reachedEnd ? undefined : String(last?.key.id ?? page.after)
      const before = view.covered[view.covered.length - 1]
      if (before === undefined || before.upTo !== page.after || page.after === undefined) {
        view.covered.push({ after: page.after, upTo })
      } else {
        view.covered[view.covered.length - 1] = { after: before.after, upTo }
      }
    }
  }
  return view
}
