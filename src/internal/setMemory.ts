/**
 * What one layer remembers of a set inside the process: items whose deletion is under way, and where a cut-off listing
 * ended.
 */
import type { Datastore } from "../Datastore.ts"
import type { Key } from "../Key.ts"

/** Where a series of listings stands: the last item it returned, `undefined` at the beginning. */
export interface Cursor {
  after: string | undefined
}

/** The memory of one set. */
export interface SetMemory {
  /** Ids of items that this process is deleting after it popped them. */
  readonly deleting: Set<string>
  readonly cursor: Cursor
}

const memories = new WeakMap<Datastore["Service"], Map<string, SetMemory>>()

/** The memory of one set in one layer; made when there is none. */
export const setMemory = (datastore: Datastore["Service"], parent: Key): SetMemory => {
  let sets = memories.get(datastore)
  if (sets === undefined) memories.set(datastore, sets = new Map())
  const id = parent.toString()
  let memory = sets.get(id)
  if (memory === undefined) sets.set(id, memory = { deleting: new Set(), cursor: { after: undefined } })
  return memory
}

/** Drops a memory that holds nothing, so that a process that meets many recipients does not grow. */
export const forgetIfEmpty = (datastore: Datastore["Service"], parent: Key): void => {
  const sets = memories.get(datastore)
  const memory = sets?.get(parent.toString())
  if (memory !== undefined && memory.deleting.size === 0 && memory.cursor.after === undefined) {
    sets!.delete(parent.toString())
  }
}
