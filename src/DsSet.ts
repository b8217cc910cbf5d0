/**
 * An idempotent set of items below one Datastore key: items are added blindly, and popped at most once, in a
 * transaction.
 *
 * Everything is stored under the set's parent P, in the kinds `dsset.Item`, `dsset.Tombstones` (one entity, *the head*)
 * and `dsset.TombstonesPage`; the entity P itself need not exist. No property is indexed. `docs/reference/format.md`
 * has the table of them, and `docs/concepts/guarantees.md` the invariants that tests cite by number, E2 to E8.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Datastore } from "./Datastore.ts"
import { addItems, giveUpAt, makeItems, refuseItem } from "./dsset/add.ts"
import { deleteBlind, deleteUnchanged } from "./dsset/deletions.ts"
import { checkId, itemKey, itemKind } from "./dsset/format/stored.ts"
import * as List from "./dsset/list.ts"
import {
  type DsSet,
  type Garbage,
  type Item,
  type Listing,
  type ListOptions,
  type PopOp,
  TypeId
} from "./dsset/model.ts"
import * as Pop from "./dsset/pop.ts"
import type { ContentionError, DatastoreError } from "./EventboxError.ts"
import { inSpan } from "./ground/span.ts"
import * as Transaction from "./ground/transaction.ts"
import type { Key } from "./Key.ts"

export { TombstonesDelay } from "./dsset/delay.ts"
export {
  type DsSet,
  type Garbage,
  type Item,
  type Listing,
  type ListOptions,
  maxEntityBytes,
  type PopOp
} from "./dsset/model.ts"

/**
 * Makes a set; nothing is read or written.
 *
 * **Details**
 *
 * Throws when the parent is an item of a set or lies below one: the two sets would see each other's items.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ parent }: { readonly parent: Key }): DsSet => {
  if (parent.path.some(({ kind }) => kind === itemKind)) {
    throw new Error(`DsSet.make: ${parent} is or lies below a ${itemKind}, a kind that belongs to the library`)
  }
  return { [TypeId]: TypeId, parent }
}

/**
 * Adds items, blindly: an item that is present is replaced, one whose tombstone lives becomes garbage.
 *
 * **Details**
 *
 * Inside a transaction the writes join it. Outside they are commits of at most 500 items each, not atomic with each
 * other. Cost: 1 write per item. O(items).
 *
 * Of items with the same id the last one counts. What Datastore aborts is sent again, five times in all, and never once
 * half of `TombstonesDelay` has passed.
 *
 * Fails with `DatastoreError`: `InvalidArgument` for an id that breaks the rules, an item above 900 KiB, or a value or
 * time of another type, before anything is sent; `OutcomeUnknown` when items may have been added: adding them again
 * with the same `atMillis` is safe within `TombstonesDelay`.
 *
 * Source: luci-go `cv/internal/common/eventbox/dsset`, `Set.Add`.
 *
 * @category operations
 * @since 0.1.0
 */
export const add = (
  set: DsSet,
  items: ReadonlyArray<Item>
): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const giveUpAtMillis = yield* giveUpAt
    yield* addItems(yield* makeItems(set.parent, items, now), giveUpAtMillis)
  })

/**
 * Lists items that wait to be popped, and the garbage beside them.
 *
 * **Details**
 *
 * Returns at most `maxItems` visible items (a positive integer), and no more than count `maxBytes` in all (4 MiB unless
 * given, and never more than one commit takes), but for a single one that is larger. An item counts as what it takes in
 * the commit that pops it: its stored size, its key once more and its id twice more.
 *
 * Items and head are read in parallel. After a race that was lost to items alone the head is read first, which takes
 * one round more, until a pop of the set has landed: see {@link finishPop}. A listing that was cut off is continued
 * after its last key by the next one in this process, until the sweep has been over all that waited when it began; then
 * the next sweep begins at the first key. New items do not keep a sweep from ending. Cost: 1 read per stored item seen
 * and 1 for the head; one query and one lookup, and one more query per further page of garbage. O(items + tombstones).
 *
 * Fails with `DatastoreError` when a read failed after its retries. Dies inside a transaction, when `maxItems` is not a
 * positive integer or `maxBytes` not positive, and when `TombstonesDelay` is out of its limits. Source: luci-go
 * `cv/internal/common/eventbox/dsset`, `Set.List`.
 *
 * @category operations
 * @since 0.1.0
 */
export const list = (
  set: DsSet,
  options: ListOptions
): Effect.Effect<Listing, DatastoreError, Datastore> => inSpan(List.list(set, options), "DsSet.list")

/**
 * Deletes garbage of listings; what fails stays and is garbage again for the next listing.
 *
 * **Details**
 *
 * Deletes each item only if it is what the listing saw. Cost: 1 delete per item, 500 per RPC.
 *
 * Fails with `DatastoreError` when a delete failed after five tries: carry on, the next listing sees the rest. Dies
 * inside a transaction. Source: luci-go `cv/internal/common/eventbox/dsset`, `CleanupGarbage`.
 *
 * @category operations
 * @since 0.1.0
 */
export const cleanupGarbage = (...garbage: ReadonlyArray<Garbage>): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.gen(function*() {
    yield* Transaction.refuseInside("DsSet.cleanupGarbage", "clean up before or after it")
    yield* deleteUnchanged(yield* Datastore, garbage.flatMap(({ snapshots }) => snapshots))
  })

/**
 * Deletes items without popping them, whatever they are by now: no tombstone, no transaction.
 *
 * **Details**
 *
 * A concurrent pop may still consume them, or lose its race: it expects its items as they were listed. Cost: 1 delete
 * per id, 500 per RPC, or fewer of large items.
 *
 * Fails with `DatastoreError`: run it again. Dies inside a transaction. Source: luci-go
 * `cv/internal/common/eventbox/dsset`, `Set.Delete`.
 *
 * @category operations
 * @since 0.1.0
 */
export const remove = (
  set: DsSet,
  ids: ReadonlyArray<string>
): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.gen(function*() {
    yield* Transaction.refuseInside("DsSet.remove", "remove before or after it, or pop inside")
    for (const id of ids) {
      const problem = checkId(id)
      if (problem !== undefined) return yield* refuseItem(set.parent, id, problem)
    }
    const datastore = yield* Datastore
    const keys = Array.from(new Set(ids), (id) => itemKey(set.parent, id))
    yield* deleteBlind(datastore, keys, "DsSet.remove")
  })

/**
 * Starts popping items of a listing, inside the current transaction.
 *
 * **Details**
 *
 * Makes the commit expect the head that the listing saw, so any other pop committed meanwhile is contention. {@link
 * finishPop} must run in the same transaction, even when nothing was popped. No RPC; O(1).
 *
 * Fails with `ContentionError` when the transaction has read another version of the head. Dies when the listing is of
 * another set, and for a second pop of one set in one transaction.
 * Source: luci-go `cv/internal/common/eventbox/dsset`, `Set.BeginPop`.
 *
 * @see {@link finishPop} for writing the result
 *
 * @category transactions
 * @since 0.1.0
 */
export const beginPop = (
  set: DsSet,
  listing: Listing
): Effect.Effect<PopOp, ContentionError, Datastore | Transaction.Transaction> => Pop.beginPop(set, listing)

/**
 * Ends pops: their tombstones and the deletes of the popped items become part of the transaction.
 *
 * **Details**
 *
 * Deletes each popped item, expecting it as the listing saw it, and writes one head per set, and pages for older pops
 * when the head would exceed 16 KiB. The head carries a token by which the commit is recognised: should its response be
 * lost, the transaction finds out whether it landed, and makes sure that it never will if it did not. Erases tombstones
 * that had expired when the listing began and whose items it saw to be gone. Cost: 1 write per set, 1 delete per popped
 * item, and 1 write and later 1 delete for each page: one page for the ids of some 16 KiB; after a lost race 1 read for
 * each entity that the transaction expected and that is no item. O(ids of the head).
 *
 * An item that is added again between listing and commit makes the commit fail with `ContentionError`. When that was
 * all, the next listing of the set in this process is *patient*: it reads the head before the items, and the pop then
 * expects no versions of items, so that items which are added again and again do not keep others from being popped. An
 * item that is replaced once more between such a listing and its commit is popped all the same, as one that comes after
 * the pop would be hidden.
 *
 * Fails with `DatastoreError`/`ResourceExhausted` when a head would exceed 900 KiB: run it again when tombstones have
 * expired. Dies when a pop was finished before or belongs to another transaction, and when the transaction adds an item
 * with an id that it pops. Source: luci-go `cv/internal/common/eventbox/dsset`, `FinishPop`.
 *
 * @category transactions
 * @since 0.1.0
 */
export const finishPop = (
  ...ops: ReadonlyArray<PopOp>
): Effect.Effect<void, DatastoreError, Datastore | Transaction.Transaction> => Pop.finishPops(ops)
