/**
 * Popping items: in the commit of the transaction, or not at all.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { type Mutation, mutationKey } from "../Backend.ts"
import { Datastore } from "../Datastore.ts"
import { entityChanged } from "../datastore/contention.ts"
import { sameSnapshot } from "../datastore/reads.ts"
import * as Entity from "../Entity.ts"
import { type ContentionError, DatastoreError, ResourceExhausted } from "../EventboxError.ts"
import * as Transaction from "../ground/transaction.ts"
import { Ids } from "../Ids.ts"
import type { Key } from "../Key.ts"
import { refuseEmitted } from "./add.ts"
import { storedBytes } from "./collect.ts"
import { tombstonesDelayMillis } from "./delay.ts"
import { type Change, MaxHeadBytes, nextHead } from "./format/nextHead.ts"
import { headEntity, headKey, itemKey, pageEntity, pageKey } from "./format/stored.ts"
import * as Tombstones from "./format/tombstones.ts"
import { forgetPage, type Place, placeOf, rememberPage, setPatience } from "./memory.ts"
import { type DsSet, type Listing, maxEntityBytes, type PopOp } from "./model.ts"
import { makeWitness } from "./outcome.ts"

/** As `DsSet.beginPop`. */
export const beginPop = (
  set: DsSet,
  listing: Listing,
  /** Who pops: written into a head that has no owner yet. */
  owner?: string
): Effect.Effect<PopOp, ContentionError, Datastore | Transaction.Transaction> =>
  Effect.flatMap(Transaction.Transaction, (transaction) => {
    if (!transaction.open) return Transaction.ended
    const name = set.parent.toString()
    if (listing.set.parent.toString() !== name) {
      const message = `DsSet.beginPop: the listing is of ${listing.set.parent}, the set is of ${name}`
      return Effect.die(new Error(message))
    }
    const key = headKey(set.parent)
    const unfinished = `DsSet.beginPop of ${name} without DsSet.finishPop: nothing would be popped`
    if (transaction.unfinished.has(unfinished) || transaction.writes.has(key.toString())) {
      return Effect.die(new Error(`DsSet.beginPop: ${name} is already being popped in this transaction`))
    }
    // E7: the first snapshot of a key counts, and it must be the listing's.
    if (!sameSnapshot(Transaction.recordRead(transaction, listing.head), listing.head)) {
      return Effect.fail(entityChanged([key]))
    }
    transaction.unfinished.add(unfinished)
    const popped = new Set<string>()
    let open = true
    return Effect.succeed({
      set,
      canPop: (id) => open && listing.snapshots.has(id) && !popped.has(id),
      pop: (id) => {
        if (!open) throw new Error(`DsSet: pop of ${JSON.stringify(id)} after finishPop`)
        if (popped.has(id) || !listing.snapshots.has(id)) return false
        popped.add(id)
        return true
      },
      transaction,
      listing,
      owner,
      popped,
      finish: () => {
        open = false
        transaction.unfinished.delete(unfinished)
      }
    })
  })

/** As `DsSet.finishPop`. */
export const finishPops = Effect.fnUntraced(function*(
  ops: ReadonlyArray<PopOp>
): Effect.fn.Return<void, DatastoreError, Datastore | Transaction.Transaction> {
  const context = yield* Effect.context<Datastore | Transaction.Transaction>()
  const transaction = Context.get(context, Transaction.Transaction)
  if (!transaction.open) return yield* Transaction.ended
  const datastore = Context.get(context, Datastore)
  const ids = Context.get(context, Ids)
  const maxHeadBytes = Context.get(context, MaxHeadBytes)
  const token = yield* ids.next
  const now = yield* Clock.currentTimeMillis
  const delayMillis = yield* tombstonesDelayMillis
  // Well before the token itself may be erased.
  const giveUpAtMillis = now + delayMillis / 2
  for (const op of ops) {
    const { listing, set } = op
    const place = placeOf(datastore, set.parent)
    const key = headKey(set.parent)
    if (op.transaction !== transaction) {
      return yield* Effect.die(new Error("DsSet.finishPop: the pop was begun in another transaction"))
    }
    if (transaction.writes.has(key.toString())) {
      return yield* Effect.die(new Error(`DsSet.finishPop: the pop of ${set.parent} was finished before`))
    }
    const { bytes: poppedBytes, newestAtMillis } = measure(op)
    const pop = Tombstones.makePop(token, Tombstones.popTime(now, newestAtMillis, delayMillis), op.popped)
    const change = nextHead(listing.tombstones, pop, {
      ...listing,
      keep: mustStay(listing),
      maxHeadBytes,
      owner: op.owner
    })
    const entity = headEntity(key, change.head)
    const bytes = Entity.sizeBytes(entity)
    if (bytes > maxEntityBytes) return yield* headTooLarge(key, bytes)
    transaction.writes.set(key.toString(), { _tag: "Upsert", entity }) // E7
    for (const mutation of pageMutations(set, change)) {
      transaction.writes.set(mutationKey(mutation).toString(), mutation)
    }
    if (change.written.length + change.erased.length > 0) {
      transaction.afterCommit.push(rememberPages(place, change))
    }
    if (listing.isPatient) transaction.afterCommit.push(Effect.sync(() => setPatience(place, false)))
    const emitted = popItems(transaction, op)
    if (emitted !== undefined) return yield* refuseEmitted(itemKey(set.parent, emitted))
    transaction.deletedBytes += poppedBytes
    const commit = { ...listing, place, token, ids, giveUpAtMillis }
    transaction.witness ??= makeWitness(commit)
    op.finish()
  }
})

/** What a pop does to the pages. */
const pageMutations = (set: DsSet, { erased, written }: Change): ReadonlyArray<Mutation> => [
  ...written.map(({ bytes, page }): Mutation => ({
    _tag: "Upsert",
    entity: pageEntity(set.parent, page.number, bytes)
  })),
  ...erased.map((number): Mutation => ({ _tag: "Delete", key: pageKey(set.parent, number) }))
]

/** Which ids keep their tombstones although these have expired: those whose items may still be there. // E4 */
const mustStay = ({ covered, present }: Listing): (id: string) => boolean => {
  let stored: ReadonlySet<string> | undefined
  return (id) => (stored ??= new Set(present)).has(id) || !Tombstones.isCovered(covered, id)
}

/** Pages never change, so those that this process wrote need not be read. */
const rememberPages = (
  place: Place,
  { erased, written }: Change
): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const number of erased) forgetPage(place, number)
    for (const { bytes, page: { check, number } } of written) {
      rememberPage(place, number, { check, bytes, gone: undefined })
    }
  })

/**
 * The popped items die in this very commit, each expected as the listing saw it: P2. A patient listing read the head
 * first, and what the commit expects of the head then says as much of every item.
 *
 * Returns an id that the transaction also adds, if there is one.
 */
const popItems = (transaction: Transaction.TransactionState, { listing, popped }: PopOp): string | undefined => {
  for (const id of popped) {
    const snapshot = listing.snapshots.get(id)!
    const name = snapshot.key.toString()
    if (transaction.writes.has(name)) return id
    if (!listing.isPatient) Transaction.recordRead(transaction, snapshot)
    transaction.writes.set(name, { _tag: "Delete", key: snapshot.key })
  }
  return undefined
}

/** The stored size of the popped items, and the newest time of their additions. */
const measure = ({ listing, popped }: PopOp): { readonly bytes: number; readonly newestAtMillis: number } => {
  let [bytes, newestAtMillis] = [0, 0]
  for (const item of listing.items) {
    if (!popped.has(item.id)) continue
    bytes += storedBytes(listing.parentBytes, item)
    newestAtMillis = Math.max(newestAtMillis, item.atMillis ?? 0)
  }
  return { bytes, newestAtMillis }
}

const headTooLarge = (key: Key, bytes: number): Effect.Effect<never, DatastoreError> => {
  const detail = `the tombstones of this set would have ${bytes} bytes, the limit is ${maxEntityBytes}; ` +
    "pop less often or less at a time, or shorten TombstonesDelay"
  const reason = new ResourceExhausted({ detail })
  return Effect.fail(new DatastoreError({ operation: "DsSet.finishPop", keys: [key], reason }))
}
