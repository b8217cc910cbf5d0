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

/** A page to be written. */
export interface NewPage {
  readonly page: Pages.Page
  readonly bytes: Uint8Array
}

/** What a pop changes. */
export interface Change {
  readonly head: Head
  readonly written: ReadonlyArray<NewPage>
  /** Numbers of the pages to be deleted: nobody needs them any more. */
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
    readonly maxHeadBytes: number
    /** Who pops, for a head without an owner. */
    readonly owner: string | undefined
  }
): Change => {
  const { expiredBefore, gone, keep, maxHeadBytes } = options
  const owner = before.owner ?? options.owner
  const tokens = Tombstones.withToken(before.tokens, Tombstones.tokenOf(pop))
  const pops = Tombstones.withoutExpired(before.pops, expiredBefore, keep)
  pops.push(pop)
  const directory = gone.size === 0
    ? before
    : Pages.make(before.pages.filter(({ number }) => !gone.has(number)), before.next)
  const erased = Array.from(gone)
  // The newest pops stay: events that wait now are most likely among theirs, and a page may cost a read of its own.
  const keptBytes = maxHeadBytes / 4
  // A long directory leaves them room all the same, or pages would get smaller and the directory longer still.
  const leastBytes = maxHeadBytes * 3 / 4
  if (Tombstones.encodedSize(pops) <= Math.max(maxHeadBytes - directory.bytes.length, leastBytes)) {
    return { head: { ...directory, pops, tokens, owner }, written: [], erased }
  }
  let from = pops.length
  for (let bytes = 1; from > 0; from--) {
    bytes += pops[from - 1]!.bytes.length
    if (bytes > keptBytes) break
  }
  const written = paginate(pops.slice(0, from), before.next)
  const pages = [...directory.pages, ...written.map(({ page }) => page)]
  const head = { ...Pages.make(pages, before.next + written.length), pops: pops.slice(from), tokens, owner }
  return { head, written, erased }
}

/** Fills pages with pops. */
const paginate = (pops: ReadonlyArray<Tombstones.Pop>, firstNumber: number): ReadonlyArray<NewPage> => {
  const pages: Array<NewPage> = []
  let open: Array<Tombstones.Pop> = []
  let size = 0
  const close = (): void => {
    if (open.length === 0) return
    const bytes = Tombstones.encode(open)
    pages.push({ page: Pages.describe(firstNumber + pages.length, open, bytes), bytes })
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
