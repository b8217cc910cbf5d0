/**
 * What one layer remembers of a set inside the process: items whose deletion is under way, where a cut-off listing
 * ended, and pages of tombstones.
 */
import type { Datastore } from "../Datastore.ts"
import type { Key } from "../Key.ts"
import type { Pop } from "./tombstones.ts"

/** Where a series of listings stands: the last item it returned, `undefined` at the beginning. */
export interface Cursor {
  after: string | undefined
}

/** A page that was read or written. */
export interface KnownPage {
  readonly check: number
  readonly pops: ReadonlyArray<Pop>
  readonly bytes: number
  /** Ids of an expired page, and those among them whose items have not been seen to be gone since. */
  unseen: { readonly all: ReadonlySet<string>; readonly left: Set<string> } | undefined
}

/** The memory of one set. */
export interface SetMemory {
  readonly cursor: Cursor
  /** By number. */
  readonly pages: Map<number, KnownPage>
}

interface Memories {
  /** Mean bytes of an item, by the kind of the parent. */
  readonly itemBytes: Map<string, number>
  /** The set that was used last comes last. */
  readonly sets: Map<string, SetMemory>
  pageBytes: number
}

/** Bytes of pages that one layer remembers, in all. */
const maxPageBytes = 64 * 1_024 * 1_024

const memories = new WeakMap<Datastore["Service"], Memories>()

/** The memory of one set in one layer; made when there is none. */
export const setMemory = (datastore: Datastore["Service"], parent: Key): SetMemory => {
  const { sets } = memoriesOf(datastore)
  const id = parent.toString()
  let memory = sets.get(id)
  if (memory === undefined) {
    memory = {
      cursor: { after: undefined },
      pages: new Map()
    }
    sets.set(id, memory)
  }
  return memory
}

/** Drops a memory that holds nothing, so that a process that meets many recipients does not grow. */
export const forgetIfEmpty = (datastore: Datastore["Service"], parent: Key): void => {
  const { sets } = memoriesOf(datastore)
  const memory = sets.get(parent.toString())
  if (
    memory !== undefined && memory.cursor.after === undefined && memory.pages.size === 0
  ) {
    sets.delete(parent.toString())
  }
}

/** How many sets a layer remembers anything of: those in which something is left, or under way. */
export const memoryCount = (datastore: Datastore["Service"]): number => memories.get(datastore)?.sets.size ?? 0

/** What an item of such a set may be expected to have in bytes; `undefined` when none was seen. */
export const expectedItemBytes = (datastore: Datastore["Service"], parent: Key): number | undefined =>
  memoriesOf(datastore).itemBytes.get(parent.kind)

/** Notes items that were seen: larger ones are expected at once, smaller ones by and by. */
export const noteItemBytes = (datastore: Datastore["Service"], parent: Key, count: number, bytes: number): void => {
  if (count === 0) return
  const { itemBytes } = memoriesOf(datastore)
  const before = itemBytes.get(parent.kind) ?? 0
  itemBytes.set(parent.kind, Math.max(bytes / count, (before + bytes / count) / 2))
}

/** A page that is remembered, and is the one that this check is of. */
export const knownPage = (
  datastore: Datastore["Service"],
  parent: Key,
  number: number,
  check: number
): KnownPage | undefined => {
  const known = setMemory(datastore, parent).pages.get(number)
  return known?.check === check ? known : undefined
}

/** Remembers a page; pages of the sets that were not used for the longest time make room. */
export const rememberPage = (datastore: Datastore["Service"], parent: Key, number: number, page: KnownPage): void => {
  const all = memoriesOf(datastore)
  const memory = setMemory(datastore, parent)
  const id = parent.toString()
  all.sets.delete(id)
  all.sets.set(id, memory)
  forgetPage(datastore, memory, number)
  memory.pages.set(number, page)
  all.pageBytes += page.bytes
  for (const other of all.sets.values()) {
    for (const oldest of other.pages.keys()) {
      if (all.pageBytes <= maxPageBytes || other.pages.size === 1 && other === memory) return
      forgetPage(datastore, other, oldest)
    }
  }
}

/** Forgets a page. */
export const forgetPage = (datastore: Datastore["Service"], { pages }: SetMemory, number: number): void => {
  memoriesOf(datastore).pageBytes -= pages.get(number)?.bytes ?? 0
  pages.delete(number)
}

const memoriesOf = (datastore: Datastore["Service"]): Memories => {
  let all = memories.get(datastore)
  if (all === undefined) memories.set(datastore, all = { itemBytes: new Map(), sets: new Map(), pageBytes: 0 })
  return all
}
