/**
 * What one layer remembers of the sets that it met: where limited listings stand, whether the last batch lost a race to
 * items alone, and pages of tombstones.
 *
 * All of it may be forgotten at any time, and costs reads at most. So it is bounded, for all sets together, and a set
 * about which there is nothing to say has no entry: a process that meets many recipients does not grow.
 */
import type { Datastore } from "../Datastore.ts"
import type { Key } from "../Key.ts"
import type { Sweep } from "./sweep.ts"

/** A page that was read or written, as it is stored. */
export interface KnownPage {
  readonly check: number
  readonly bytes: Uint8Array
  /** For each id of an expired page, in order, whether its item was seen to be gone; `undefined` before a look. */
  gone: Uint8Array | undefined
}

/** The memory of one set. */
export interface SetMemory {
  /** Where limited listings stand. */
  sweep: Sweep | undefined
  /** Whether the next batch reads the head before the items, and expects no versions of items. */
  isPatient: boolean
  /** By number. */
  readonly pages: Map<number, KnownPage>
  /** The last of the doubtful pages that were looked into. */
  lookedUpTo: number
}

interface Memories {
  /** Mean bytes of an item, by the kind of the parent. */
  readonly itemBytes: Map<string, number>
  /** The set that was used last comes last. */
  readonly sets: Map<string, SetMemory>
  pageBytes: number
}

/** Sets that one layer remembers. */
const maxSets = 10_000
/** Bytes of pages that one layer remembers, in all. */
const maxPageBytes = 64 * 1_024 * 1_024
/** Kinds whose items a layer knows the size of. */
const maxKinds = 1_000

const memories = new WeakMap<Datastore["Service"], Memories>()

const memoriesOf = (datastore: Datastore["Service"]): Memories => {
  let all = memories.get(datastore)
  if (all === undefined) memories.set(datastore, all = { itemBytes: new Map(), sets: new Map(), pageBytes: 0 })
  return all
}

const nothing = (): SetMemory => ({ sweep: undefined, isPatient: false, pages: new Map(), lookedUpTo: 0 })

/** What is remembered of a set; to be read only. */
export const recall = (datastore: Datastore["Service"], parent: Key): Readonly<SetMemory> =>
  memoriesOf(datastore).sets.get(parent.toString()) ?? nothing()

/** Changes what is remembered of a set. */
export const remember = (
  datastore: Datastore["Service"],
  parent: Key,
  change: (memory: SetMemory) => void
): void => {
  const all = memoriesOf(datastore)
  const id = parent.toString()
  const memory = all.sets.get(id) ?? nothing()
  change(memory)
  all.sets.delete(id)
  if (isEmpty(memory)) return
  all.sets.set(id, memory)
  for (const [oldest, { pages }] of all.sets) {
    if (all.sets.size <= maxSets) return
    for (const number of pages.keys()) dropPage(all, pages, number)
    all.sets.delete(oldest)
  }
}

const isEmpty = ({ isPatient, pages, sweep }: SetMemory): boolean =>
  sweep === undefined && !isPatient && pages.size === 0

/** How many sets a layer remembers. */
export const setCount = (datastore: Datastore["Service"]): number => memoriesOf(datastore).sets.size

/** What an item of such a set may be expected to have in bytes; `undefined` when none was seen. */
export const expectedItemBytes = (datastore: Datastore["Service"], parent: Key): number | undefined =>
  memoriesOf(datastore).itemBytes.get(parent.kind)

/** Notes items that were seen: larger ones are expected at once, smaller ones by and by. */
export const noteItemBytes = (datastore: Datastore["Service"], parent: Key, count: number, bytes: number): void => {
  if (count === 0) return
  const { itemBytes } = memoriesOf(datastore)
  const before = itemBytes.get(parent.kind) ?? 0
  if (before === 0 && itemBytes.size >= maxKinds) itemBytes.clear()
  itemBytes.set(parent.kind, Math.max(bytes / count, (before + bytes / count) / 2))
}

/** A page that is remembered, and is the one that this check is of. */
export const knownPage = (
  datastore: Datastore["Service"],
  parent: Key,
  number: number,
  check: number
): KnownPage | undefined => {
  const known = recall(datastore, parent).pages.get(number)
  return known?.check === check ? known : undefined
}

/** Remembers a page; pages of the sets that were not used for the longest time make room. */
export const rememberPage = (datastore: Datastore["Service"], parent: Key, number: number, page: KnownPage): void => {
  const all = memoriesOf(datastore)
  remember(datastore, parent, ({ pages }) => {
    dropPage(all, pages, number)
    pages.set(number, page)
    all.pageBytes += page.bytes.length
  })
  if (all.pageBytes <= maxPageBytes) return
  for (const [id, memory] of all.sets) {
    for (const oldest of memory.pages.keys()) {
      if (all.pageBytes <= maxPageBytes || memory.pages.size === 1 && id === parent.toString()) return
      dropPage(all, memory.pages, oldest)
    }
    if (isEmpty(memory)) all.sets.delete(id)
  }
}

/** Forgets a page. */
export const forgetPage = (datastore: Datastore["Service"], parent: Key, number: number): void => {
  const all = memoriesOf(datastore)
  if (all.sets.has(parent.toString())) {
    remember(datastore, parent, ({ pages }) => dropPage(all, pages, number))
  }
}

const dropPage = (all: Memories, pages: Map<number, KnownPage>, number: number): void => {
  all.pageBytes -= pages.get(number)?.bytes.length ?? 0
  pages.delete(number)
}
