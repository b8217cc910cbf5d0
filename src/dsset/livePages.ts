/**
 * Reading pages of tombstones, and finding out which of them nobody needs any more.
 */
import * as Effect from "effect/Effect"
import { forEachChunk } from "../datastore/chunks.ts"
import type { DatastoreError } from "../EventboxError.ts"
import type { Key } from "../Key.ts"
import { checkOf } from "./format/bytes.ts"
import { isWithin, type Page, probe } from "./format/pages.ts"
import { pageKey, readPageBytes } from "./format/stored.ts"
import * as Tombstones from "./format/tombstones.ts"
import { forgetPage, type KnownPage, knownPage, type Place, recall, remember, rememberPage } from "./memory.ts"

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

/** A page and what it holds. */
interface LoadedPage {
  readonly known: KnownPage
  readonly pops: ReadonlyArray<Tombstones.Pop>
}

/** The pages, by number: those that are not remembered are read, in one round. Cost: 1 read for each of these. */
export const loadPages = Effect.fnUntraced(function*(
  place: Place,
  pages: ReadonlyArray<Page>
): Effect.fn.Return<ReadonlyArray<LoadedPage>, DatastoreError | PagesChanged> {
  const { datastore, parent } = place
  const found = new Map<number, LoadedPage>()
  const missing: Array<Page> = []
  for (const page of pages) {
    const known = knownPage(place, page.number, page.check)
    if (known === undefined) missing.push(page)
    // What is remembered was decoded before.
    else found.set(page.number, { known, pops: Tombstones.decode(known.bytes)! })
  }
  const load = (chunk: ReadonlyArray<Page>) =>
    Effect.flatMap(datastore.backend.lookup(chunk.map(({ number }) => pageKey(parent, number))), (snapshots) => {
      for (const [index, { check, number }] of chunk.entries()) {
        const bytes = readPageBytes(snapshots[index]!)
        const pops = bytes === undefined || checkOf(bytes) !== check ? undefined : Tombstones.decode(bytes)
        if (pops === undefined) {
          return Effect.fail<PagesChanged>({ _tag: "PagesChanged", key: snapshots[index]!.key })
        }
        const known = { check, bytes: bytes!, gone: undefined }
        found.set(number, { known, pops })
        rememberPage(place, number, known)
      }
      return Effect.void
    })
  yield* forEachChunk(missing, pagesPerLookup, load)
  return pages.map(({ number }) => found.get(number)!)
})

/** Forgets the pages that are no longer in the directory. */
export const forgetDead = (
  place: Place,
  { next, pages }: { readonly next: number; readonly pages: ReadonlyArray<Page> }
): void => {
  const known = recall(place).pages
  if (known.size === 0) return
  const live = new Set(pages.map(({ number }) => number))
  for (const number of known.keys()) {
    if (number < next && !live.has(number)) forgetPage(place, number)
  }
}

/**
 * The expired pages all of whose items are known to be gone. // E4
 *
 * **Details**
 *
 * Most are known by what the head knows: all that they may hold lies where the listing has looked, and nothing like it
 * was there. Of the others some are looked into, by each listing those after the ones that the last one looked into;
 * what one listing after the other sees to be gone is remembered, until nothing of a page is left.
 */
export const gonePages = Effect.fnUntraced(function*(
  place: Place,
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
  const { lookedUpTo } = recall(place)
  const looked = [
    ...doubtful.filter(({ number }) => number > lookedUpTo),
    ...doubtful.filter(({ number }) => number <= lookedUpTo)
  ].slice(0, maxDoubtful)
  const stored = new Set(present)
  const isGone = (id: string) => !stored.has(id) && Tombstones.isCovered(covered, id)
  for (const [index, page] of (yield* loadPages(place, looked)).entries()) {
    if (noteGone(page, isGone, stored)) gone.add(looked[index]!.number)
  }
  remember(place, (memory) => {
    memory.lookedUpTo = looked[looked.length - 1]!.number
  })
  return gone
})

/** Notes which ids of a page are gone, and which are there again; whether none is left. */
const noteGone = (
  { known, pops }: LoadedPage,
  isGone: (id: string) => boolean,
  stored: ReadonlySet<string>
): boolean => {
  const ids = pops.flatMap(Tombstones.idsOf)
  const gone = known.gone ??= new Uint8Array(ids.length)
  let left = 0
  for (const [index, id] of ids.entries()) {
    if (stored.has(id)) gone[index] = 0
    else if (gone[index] === 0 && isGone(id)) gone[index] = 1
    if (gone[index] === 0) left++
  }
  return left === 0
}
