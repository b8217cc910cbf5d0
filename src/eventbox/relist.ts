/**
 * A part of a listing, beside the head as it is by now.
 */
import * as Effect from "effect/Effect"
import type { Snapshot } from "../Backend.ts"
import { Datastore } from "../Datastore.ts"
import { entityChanged } from "../datastore/contention.ts"
import { sameSnapshot } from "../datastore/reads.ts"
import type { Listing } from "../DsSet.ts"
import { decodeHead, visibleAmong } from "../dsset/collect.ts"
import { tombstonesDelayMillis } from "../dsset/delay.ts"
import { headKey, itemKey } from "../dsset/format/stored.ts"
import { placeOf } from "../dsset/memory.ts"
import type { ContentionError, DatastoreError } from "../EventboxError.ts"

/**
 * Some items of a listing once more, beside the head as it is now: for a part of a batch that failed as a whole.
 *
 * **Details**
 *
 * The items are those that the listing saw, and a pop expects each of them so (P2). What the head hides by now is left
 * out: the listing may have read it before the items (P3). With `verify` the items are looked up, and what has changed
 * is left out. Covers nothing, so that a pop of it erases no tombstone (E4). Cost: one lookup, of 1 read and with
 * `verify` 1 per item, and 1 for each page that may hide one of them and is not known to the process.
 *
 * Fails with `ContentionError` when the pages change meanwhile.
 */
export const relist = Effect.fnUntraced(function*(
  listing: Listing,
  ids: ReadonlyArray<string>,
  verify: boolean
): Effect.fn.Return<Listing, ContentionError | DatastoreError, Datastore> {
  const { parent } = listing.set
  const key = headKey(parent)
  const datastore = yield* Datastore
  const looked = yield* datastore.lookup([key, ...verify ? ids.map((id) => itemKey(parent, id)) : []])
  const [head, ...now] = looked.flatMap(({ snapshots }) => snapshots)
  const kept = new Map<string, Snapshot>()
  for (const [index, id] of ids.entries()) {
    const snapshot = listing.snapshots.get(id)!
    if (!verify || sameSnapshot(snapshot, now[index]!)) kept.set(id, snapshot)
  }
  const tombstones = yield* decodeHead(head!)
  const delayMillis = yield* tombstonesDelayMillis
  const items = listing.items.filter(({ id }) => kept.has(id))
  const visible = yield* Effect.catchTag(
    visibleAmong({ place: placeOf(datastore, parent), delayMillis, tombstones }, items),
    "PagesChanged",
    () => Effect.fail(entityChanged([key]))
  )
  return {
    ...listing,
    items: visible,
    snapshots: new Map(visible.map(({ id }) => [id, kept.get(id)!])),
    garbage: { set: listing.set, ids: [], snapshots: [] },
    head: head!,
    tombstones,
    // The items were read before the head, so the pop must expect their versions.
    isPatient: false,
    present: [],
    covered: [],
    gone: new Set(),
    rewind: () => {}
  }
})
