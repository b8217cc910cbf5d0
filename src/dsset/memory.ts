/**
 * What one layer remembers of the sets that it met, one object for each: where limited listings stand, whether the last
 * batch lost a race to items alone, pages of tombstones, and who is at work on it.
 *
 * All but the lock may be forgotten at any time, and costs reads, or a warning said twice. So it is bounded, for all
 * sets together, and a set about which there is nothing to say has no object: a process that meets many recipients does
 * not grow.
 */
import type * as Semaphore from "effect/Semaphore"
import type { Datastore } from "../Datastore.ts"
import { perLayer } from "../datastore/service.ts"
import type { Key } from "../Key.ts"
import type { Sweep } from "./sweep.ts"

/** A page that was read or written, as it is stored. */
export interface KnownPage {
  readonly check: number
  readonly bytes: Uint8Array
  /** For each id of an expired page, in order, whether its item was seen to be gone; `undefined` before a look. */
  gone: Uint8Array | undefined
}

/** The lock of a set, while somebody has it or waits for it. */
export interface Lock {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

/** The memory of one set. */
export interface SetMemory {
  /** Where limited listings stand. */
  sweep: Sweep | undefined
  /** Whether the next batch reads the head before the items, and expects no versions of items. */
  isPatient: boolean
  /** Whether somebody was warned that batches consume nothing. */
  isWarned: boolean
  lock: Lock | undefined
  /** By number. */
  readonly pages: Map<number, KnownPage>
  /** The last of the doubtful pages that were looked into. */
  lookedUpTo: number
}

/** All that one layer remembers. */
interface Memories {
  /** Mean bytes of an item, by the kind of the parent. */
  readonly itemBytes: Map<string, number>
  /** The set that was used last comes last. */
  readonly sets: Map<string, SetMemory>
  pageBytes: number
}

/** A set where it is stored, and what its layer remembers. */
export interface Place {
  readonly datastore: Datastore["Service"]
  readonly parent: Key
  /** The parent as text. */
  readonly id: string
  /** @internal */
  readonly memories: Memories
}

/** Sets that one layer remembers. */
const maxSets = 10_000
/** Bytes of pages that one layer remembers, in all. */
const maxPageBytes = 64 * 1_024 * 1_024
/** Kinds whose items a layer knows the size of. */
const maxKinds = 1_000

const memoriesOf = perLayer((): Memories => ({ itemBytes: new Map(), sets: new Map(), pageBytes: 0 }))

/** The place of a set. */
export const placeOf = (datastore: Datastore["Service"], parent: Key): Place => ({
  datastore,
  parent,
  id: parent.toString(),
  memories: memoriesOf(datastore)
})

const nothing = (): SetMemory => ({
  sweep: undefined,
  isPatient: false,
  isWarned: false,
  lock: undefined,
  pages: new Map(),
  lookedUpTo: 0
})

/** What is remembered of a set; to be read only. */
export const recall = ({ id, memories }: Place): Readonly<SetMemory> => memories.sets.get(id) ?? nothing()

/** Changes what is remembered of a set. */
export const remember = ({ id, memories }: Place, change: (memory: SetMemory) => void): void => {
  const { sets } = memories
  const memory = sets.get(id) ?? nothing()
  change(memory)
  sets.delete(id)
  if (isEmpty(memory)) return
  sets.set(id, memory)
  if (sets.size > maxSets) makeRoom(memories)
}

/** Forgets what was not used for the longest time. What is at work is in use; a look at all such would take long. */
const makeRoom = (memories: Memories): void => {
  const { sets } = memories
  let looks = 0
  for (const [oldest, memory] of sets) {
    if (sets.size <= maxSets || looks++ === 4) return
    sets.delete(oldest)
    if (memory.lock !== undefined) sets.set(oldest, memory)
    else for (const number of memory.pages.keys()) dropPage(memories, memory.pages, number)
  }
}

const isEmpty = ({ isPatient, isWarned, lock, pages, sweep }: SetMemory): boolean =>
  sweep === undefined && !isPatient && !isWarned && lock === undefined && pages.size === 0

/** How many sets a layer remembers. */
export const setCount = (datastore: Datastore["Service"]): number => memoriesOf(datastore).sets.size

/** How many sets of a layer have a lock: those that are being processed, or wait for it. */
export const lockCount = (datastore: Datastore["Service"]): number =>
  Array.from(memoriesOf(datastore).sets.values()).filter(({ lock }) => lock !== undefined).length

/** Moves the position of limited listings on, or back, unless another listing has moved it. */
export const moveSweep = (place: Place, from: Sweep | undefined, to: Sweep | undefined): void => {
  if (from === to || recall(place).sweep !== from) return
  remember(place, (memory) => {
    memory.sweep = to
  })
}

/** Says whether the next batch is patient. */
export const setPatience = (place: Place, isPatient: boolean): void =>
  remember(place, (memory) => {
    memory.isPatient = isPatient
  })

/** What an item of such a set may be expected to have in bytes; `undefined` when none was seen. */
export const expectedItemBytes = ({ memories, parent }: Place): number | undefined =>
  memories.itemBytes.get(parent.kind)

/** Notes items that were seen: larger ones are expected at once, smaller ones by and by. */
export const noteItemBytes = ({ memories: { itemBytes }, parent }: Place, count: number, bytes: number): void => {
  if (count === 0) return
  const before = itemBytes.get(parent.kind) ?? 0
  if (before === 0 && itemBytes.size >= maxKinds) itemBytes.clear()
  itemBytes.set(parent.kind, Math.max(bytes / count, (before + bytes / count) / 2))
}

/** A page that is remembered, and is the one that this check is of. */
export const knownPage = (place: Place, number: number, check: number): KnownPage | undefined => {
  const known = recall(place).pages.get(number)
  return known?.check === check ? known : undefined
}

/** Remembers a page; pages of the sets that were not used for the longest time make room. */
export const rememberPage = (place: Place, number: number, page: KnownPage): void => {
  const { id, memories } = place
  remember(place, ({ pages }) => {
    dropPage(memories, pages, number)
    pages.set(number, page)
    memories.pageBytes += page.bytes.length
  })
  if (memories.pageBytes <= maxPageBytes) return
  for (const [other, memory] of memories.sets) {
    for (const oldest of memory.pages.keys()) {
      if (memories.pageBytes <= maxPageBytes || memory.pages.size === 1 && other === id) return
      dropPage(memories, memory.pages, oldest)
    }
    if (isEmpty(memory)) memories.sets.delete(other)
  }
}

/** Forgets a page. */
export const forgetPage = (place: Place, number: number): void => {
  if (place.memories.sets.has(place.id)) {
    remember(place, ({ pages }) => dropPage(place.memories, pages, number))
  }
}

const dropPage = (memories: Memories, pages: Map<number, KnownPage>, number: number): void => {
  memories.pageBytes -= pages.get(number)?.bytes.length ?? 0
  pages.delete(number)
}
