/**
 * Reading pages of tombstones, and finding out which of them nobody needs any more.
 */
import * as Effect from "effect/Effect"
import { type Datastore, forEachChunk } from "../Datastore.ts"
import type { DatastoreError } from "../EventboxError.ts"
import type { Key } from "../Key.ts"
import { checkOf } from "./bytes.ts"
import { isWithin, type Page, probe } from "./pages.ts"
import { forgetPage, type KnownPage, knownPage, rememberPage, setMemory } from "./setMemory.ts"
import { pageKey, readPageBytes } from "./stored.ts"
import * as Tombstones from "./tombstones.ts"

/** A page was not what the head said: the head has changed since, so list again. */
export interface PagesChanged {
  readonly _tag: "PagesChanged"
  readonly key: Key
}

/** Pages in one lookup: a page may have 900 KiB, though nearly all have 16. */
const pagesPerLookup = 50

/** Pages that one pop deletes: many may expire while a set is at rest. */
const maxGone = 200

/** Expired pages that one listing looks into, when what the head knows of them is not enough. */
const maxDoubtful = 20

/** The pages, by number: those that are not remembered are read, in one round. Cost: 1 read for each of these. */
export const loadPages = Effect.fnUntraced(function*(
  datastore: Datastore["Service"],
  parent: Key,
  pages: ReadonlyArray<Page>
): Effect.fn.Return<ReadonlyArray<KnownPage>, DatastoreError | PagesChanged> {
  const known = new Map(pages.map(({ check, number }) => [number, knownPage(datastore, parent, number, check)]))
  const missing = pages.filter(({ number }) => known.get(number) === undefined)
  const found = new Map<number, KnownPage>()
  const load = (chunk: ReadonlyArray<Page>) =>
    Effect.gen(function*() {
      const snapshots = yield* datastore.backend.lookup(chunk.map(({ number }) => pageKey(parent, number)))
      for (const [index, { check, number }] of chunk.entries()) {
        const bytes = readPageBytes(snapshots[index]!)
        const pops = bytes === undefined || checkOf(bytes) !== check ? undefined : Tombstones.decode(bytes)
        if (pops === undefined) {
          return yield* Effect.fail<PagesChanged>({ _tag: "PagesChanged", key: snapshots[index]!.key })
        }
        const page = { check, pops, bytes: bytes!.length, unseen: undefined }
        found.set(number, page)
        rememberPage(datastore, parent, number, page)
      }
    })
  yield* forEachChunk(missing, pagesPerLookup, load)
  return pages.map(({ number }) => found.get(number) ?? known.get(number)!)
})

/** Forgets the pages that are no longer in the directory. */
export const forgetDead = (
  datastore: Datastore["Service"],
  parent: Key,
  { next, pages }: { readonly next: number; readonly pages: ReadonlyArray<Page> }
): void => {
  const memory = setMemory(datastore, parent)
  if (memory.pages.size === 0) return
  const live = new Set(pages.map(({ number }) => number))
  for (const number of memory.pages.keys()) {
    if (number < next && !live.has(number)) forgetPage(datastore, memory, number)
  }
}

/**
 * The expired pages all of whose items are known to be gone. // E4
 *
 * **Details**
 *
 * Most are known by what the head knows: all that they may hold lies where the listing has looked, and nothing like it
 * was there. Of the others some are read, and what one listing after the other sees to be gone is remembered, until
 * nothing of a page is left.
 */
export const gonePages = Effect.fnUntraced(function*(
  datastore: Datastore["Service"],
  parent: Key,
  options: {
    readonly pages: ReadonlyArray<Page>
    readonly expiredBefore: number
    readonly covered: ReadonlyArray<Tombstones.Range>
    readonly present: ReadonlyArray<string>
  }
): Effect.fn.Return<ReadonlySet<number>, DatastoreError | PagesChanged> {
  const { covered, expiredBefore, pages, present } = options
  const gone = new Set<number>()
  const expired = pages.filter(({ newestAtMillis }) => newestAtMillis < expiredBefore)
  if (expired.length === 0) return gone
  const seen = probe(present)
  const doubtful: Array<Page> = []
  for (const page of expired) {
    if (gone.size === maxGone) return gone
    if (!seen.mayHit(page) && isWithin(covered, page)) gone.add(page.number)
    else doubtful.push(page)
  }
  if (doubtful.length === 0) return gone
  const stored = new Set(present)
  const looked = doubtful.slice(0, maxDoubtful)
  for (const [index, known] of (yield* loadPages(datastore, parent, looked)).entries()) {
    known.unseen ??= unseenOf(known)
    const { all, left } = known.unseen
    for (const id of present) if (all.has(id)) left.add(id)
    for (const id of left) if (!stored.has(id) && Tombstones.isCovered(covered, id)) left.delete(id)
    if (left.size === 0) gone.add(looked[index]!.number)
  }
  return gone
})

const unseenOf = ({ pops }: KnownPage): NonNullable<KnownPage["unseen"]> => {
  const all = new Set(pops.flatMap(Tombstones.idsOf))
  return { all, left: new Set(all) }
}
