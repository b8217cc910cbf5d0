/**
 * What a pop makes of the head: what has expired is erased, what was popped is added, and what does not fit moves to
 * pages.
 */
import * as Context from "effect/Context"
import * as Pages from "./pages.ts"
import type { Head } from "./stored.ts"
import * as Tombstones from "./tombstones.ts"

/** A head stays below this: every batch reads and writes it. Tests that want pages lower it. */
export const MaxHeadBytes: Context.Reference<number> = Context.Reference<number>("eventbox/internal/MaxHeadBytes", {
  defaultValue: () => 16 * 1_024
})

/** Bytes of the pops of one page, below the 900 KiB of an entity with the largest key. E8 */
const maxPageBytes = 880 * 1_024

/** Small pages are merged, so many at least, once the head is half full of what it knows of pages. */
const minMerged = 8
/** Of the newest pages so many at most. */
export const maxMergedPages = 32
/** Bytes that a small page has at most. */
const maxSmallBytes = 64 * 1_024
/** Bytes that are merged at most: they go into a commit. */
const maxMergedBytes = 512 * 1_024

/** Whether what a head knows of pages fills half of it, so that small ones should be merged. */
export const isCrowded = ({ bytes, pages }: Pages.Directory, maxHeadBytes: number): boolean =>
  bytes.length > maxHeadBytes / 2 && pages.length >= 2 * minMerged

/** A page to be written. */
export interface NewPage {
  readonly page: Pages.Page
  readonly pops: ReadonlyArray<Tombstones.Pop>
  readonly bytes: Uint8Array
}

/** What a pop changes. */
export interface Change {
  readonly head: Head
  readonly written: ReadonlyArray<NewPage>
  /** Numbers of the pages to be deleted: nobody needs them any more, or they are part of a written one. */
  readonly erased: ReadonlyArray<number>
}

/** The head after a pop, and the pages to be written and deleted with it. */
export const nextHead = (
  before: Head,
  pop: Tombstones.Pop,
  options: {
    readonly expiredBefore: number
    /** Whether the tombstone of an id must stay although it has expired. */
    readonly keep: (id: string) => boolean
    /** Pages that nobody needs any more. // E4 */
    readonly gone: ReadonlySet<number>
    /** What a page holds, if this process knows it. */
    readonly popsOf: (page: Pages.Page) => ReadonlyArray<Tombstones.Pop> | undefined
    readonly maxHeadBytes: number
    /** Who pops, for a head without an owner. */
    readonly owner: string | undefined
  }
): Change => {
  const { expiredBefore, gone, keep, maxHeadBytes, popsOf } = options
  const owner = before.owner ?? options.owner
  const pops = Tombstones.withoutExpired(before.pops, expiredBefore, keep)
  pops.push(pop)
  const directory = gone.size === 0
    ? before
    : Pages.make(before.pages.filter(({ number }) => !gone.has(number)), before.next)
  // The newest pops stay: events that wait now are most likely among theirs, and a page may cost a read of its own.
  const keptBytes = maxHeadBytes / 4
  if (Tombstones.encodedSize(pops) <= Math.max(maxHeadBytes - directory.bytes.length, keptBytes)) {
    return { head: { ...directory, pops, owner }, written: [], erased: Array.from(gone) }
  }
  let from = pops.length
  for (let bytes = 1; from > 0; from--) {
    bytes += pops[from - 1]!.bytes.length
    if (bytes > keptBytes) break
  }
  const merged = isCrowded(directory, maxHeadBytes) ? smallPages(directory.pages, popsOf) : []
  const written = paginate([...merged.flatMap((one) => one.pops), ...pops.slice(0, from)], before.next)
  const kept = directory.pages.slice(0, directory.pages.length - merged.length)
  const pages = [...kept, ...written.map(({ page }) => page)]
  return {
    head: { ...Pages.make(pages, before.next + written.length), pops: pops.slice(from), owner },
    written,
    erased: [...gone, ...merged.map(({ number }) => number)]
  }
}

/** The newest pages, as far as they are small and known, if they are worth a merge. */
const smallPages = (
  pages: ReadonlyArray<Pages.Page>,
  popsOf: (page: Pages.Page) => ReadonlyArray<Tombstones.Pop> | undefined
) => {
  const found: Array<{ readonly number: number; readonly pops: ReadonlyArray<Tombstones.Pop> }> = []
  let total = 0
  for (let at = pages.length - 1; at >= 0 && found.length < maxMergedPages; at--) {
    const pops = popsOf(pages[at]!)
    const bytes = pops === undefined ? Number.POSITIVE_INFINITY : Tombstones.encodedSize(pops)
    if (bytes > maxSmallBytes || total + bytes > maxMergedBytes) break
    total += bytes
    found.unshift({ number: pages[at]!.number, pops: pops! })
  }
  return found.length < minMerged ? [] : found
}

/** Fills pages with pops. */
const paginate = (pops: ReadonlyArray<Tombstones.Pop>, firstNumber: number): ReadonlyArray<NewPage> => {
  const pages: Array<NewPage> = []
  let open: Array<Tombstones.Pop> = []
  let size = 0
  const close = (): void => {
    if (open.length === 0) return
    const bytes = Tombstones.encode(open)
    pages.push({ page: Pages.describe(firstNumber + pages.length, open, bytes), pops: open, bytes })
    open = []
    size = 0
  }
  for (const pop of pops.flatMap((one) => Tombstones.splitPop(one, maxPageBytes))) {
    if (size + pop.bytes.length > maxPageBytes) close()
    open.push(pop)
    size += pop.bytes.length
  }
  close()
  return pages
}
