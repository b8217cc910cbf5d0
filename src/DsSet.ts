/**
 * An idempotent set of items below one Datastore key: items are added blindly, and popped at most once, in a
 * transaction.
 *
 * Everything is stored under the set's parent P; the entity P itself need not exist. No property is indexed.
 *
 * | kind | id | properties | life |
 * |---|---|---|---|
 * | `dsset.Item` | the item's id | `Value` blob; `At` integer, ms since epoch; `Trace` string, only if traced | put by {@link add}; deleted by the commit that pops it |
 * | `dsset.Tombstones` | 1 | `Pops` blob: the newest pops, newest last, as in `internal/tombstones.ts`; `Tokens` blob: the tokens of the newest 32 pops; `Pages` blob, once there was a page: which pages live, as in `internal/pages.ts`; `Owner` string, once somebody said so | one per set, *the head*; written by every pop; never deleted |
 * | `dsset.TombstonesPage` | its number, from 1 | `Pops` blob: older pops | written by the pop that takes the head above 16 KiB; never changed; deleted by a pop after all of it has expired and its items are gone |
 *
 * The loop of a consumer: {@link list}, {@link cleanupGarbage}, then in one transaction {@link beginPop}, `pop`,
 * {@link finishPop}. These invariants hold; tests cite them by number:
 *
 * - **E2** an id is popped at most once while its tombstone lives.
 * - **E4** a tombstone is erased only after its item is gone.
 * - **E5** an item whose addition committed is listed until it is popped or declared garbage.
 * - **E7** the head is written by every pop, and the commit expects the snapshot that the listing saw.
 * - **E8** no stored entity exceeds 900 KiB.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Mutation, mutationKey, type Snapshot } from "./Backend.ts"
import { Datastore, put, sameSnapshot, sendBlind } from "./Datastore.ts"
import * as Entity from "./Entity.ts"
import { type ContentionError, DatastoreError, Internal, InvalidArgument, ResourceExhausted } from "./EventboxError.ts"
import { Ids } from "./Ids.ts"
import { entityChanged } from "./internal/contention.ts"
import { deleteBlind, deleteUnchanged } from "./internal/deletions.ts"
import { isBytes } from "./internal/foreign.ts"
import { collect, decodeHead, readPage, type Room, storedBytes, versionsOf } from "./internal/listing.ts"
import { forgetDead, type PagesChanged } from "./internal/livePages.ts"
import { type Change, MaxHeadBytes, nextHead } from "./internal/nextHead.ts"
import { makeWitness } from "./internal/outcome.ts"
import { type Part, splitBySize } from "./internal/parts.ts"
import { forgetPage, recall, remember, rememberPage } from "./internal/setMemory.ts"
import { inSpan } from "./internal/span.ts"
import {
  checkId,
  type Head,
  headEntity,
  headKey,
  itemKey,
  itemKind,
  type NewItem,
  newItem,
  pageEntity,
  pageKey
} from "./internal/stored.ts"
import { advance, begin, type Cursor, type Sweep } from "./internal/sweep.ts"
import * as Tombstones from "./internal/tombstones.ts"
import type { Key } from "./Key.ts"
import * as Transaction from "./Transaction.ts"

const TypeId = "~eventbox/DsSet"

/**
 * How long a popped id is remembered, so that adding it again does not bring it back. Five minutes unless overridden.
 *
 * **Details**
 *
 * From 1 second to 30 days; operations die outside of these. All workers and emitters of a set should use the same
 * value, longer than any of them retries an addition, and longer than their clocks differ. Longer: more tombstones are
 * stored. Shorter: a late retry of an addition comes back as a new item. Read when an operation
 * runs, so `Effect.provideService` overrides it for a fiber and `Layer.succeed` for an application.
 *
 * Source: luci-go `cv/internal/common/eventbox/dsset`, `Set.TombstonesDelay`.
 *
 * @category services
 * @since 0.1.0
 */
export const TombstonesDelay: Context.Reference<Duration.Duration> = Context.Reference<Duration.Duration>(
  "eventbox/TombstonesDelay",
  { defaultValue: () => Duration.minutes(5) }
)

/**
 * The delay of the calling fiber in milliseconds; dies when it is out of its limits.
 *
 * @internal
 */
export const tombstonesDelayMillis: Effect.Effect<number> = Effect.flatMap(TombstonesDelay, (delay) => {
  const millis = Duration.toMillis(delay)
  if (millis >= minDelayMillis && millis <= maxDelayMillis) return Effect.succeed(millis)
  return Effect.die(
    new Error(`TombstonesDelay is from 1 second to 30 days, got ${millis} ms`)
  )
})

const minDelayMillis = 1_000
const maxDelayMillis = 30 * 24 * 3_600_000

/**
 * Bytes that a stored entity may have. E8
 *
 * @category limits
 * @since 0.1.0
 */
export const maxEntityBytes = 900 * 1_024

/**
 * A set: the key that its items live under.
 *
 * @category models
 * @since 0.1.0
 */
export interface DsSet {
  readonly [TypeId]: typeof TypeId
  readonly parent: Key
}

/**
 * One item of a set.
 *
 * @category models
 * @since 0.1.0
 */
export interface Item {
  /** 1 to 1,500 bytes of UTF-8 under the rules for names in `Key`; does not start with U+10FFFF. */
  readonly id: string
  readonly value: Uint8Array
  /** When its addition was first tried, ms since epoch. Retries must carry the same; the time of `add` when absent. */
  readonly atMillis?: number | undefined
  /** W3C `traceparent` of whoever added it. */
  readonly trace?: string | undefined
}

/**
 * Stored items that were popped before, or were added again while their tombstone lives.
 *
 * @category models
 * @since 0.1.0
 */
export interface Garbage {
  readonly set: DsSet
  readonly ids: ReadonlyArray<string>
  /** @internal */
  readonly snapshots: ReadonlyArray<Snapshot>
}

/**
 * What one {@link list} saw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listing {
  readonly set: DsSet
  /** Visible items, in key order; with ids drawn by the library that is oldest first. */
  readonly items: ReadonlyArray<Item>
  /** To be given to {@link cleanupGarbage}. */
  readonly garbage: Garbage
  /** Whether there may be visible items that this listing does not hold. */
  readonly truncated: boolean
  /** Whether the listing ended its sweep, or got to the end of its range. @internal */
  readonly reachedEnd: boolean
  /** Whether the head was read before the items: the pop then expects no versions of items. @internal */
  readonly isPatient: boolean
  /** Bytes of the parent's key. @internal */
  readonly parentBytes: number
  /** Puts the position of truncated listings back to where this one began. @internal */
  readonly rewind: () => void
  /** The head as it was read: what the pop expects. @internal */
  readonly head: Snapshot
  /** What the head held. @internal */
  readonly tombstones: Head
  /** Numbers of the pages that nobody needs any more. @internal */
  readonly gone: ReadonlySet<number>
  /** Snapshots of the visible items, by id. @internal */
  readonly snapshots: ReadonlyMap<string, Snapshot>
  /** Ids that were present in storage, visible or not. @internal */
  readonly present: ReadonlyArray<string>
  /** The parts of the key range that were read to their ends. @internal */
  readonly covered: ReadonlyArray<Tombstones.Range>
  /** Pops from before this moment had expired when the listing began, ms since epoch. @internal */
  readonly expiredBefore: number
}

/**
 * A pop under way, inside a transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface PopOp {
  readonly set: DsSet
  /** Whether `pop` of this id would return true. */
  readonly canPop: (id: string) => boolean
  /** Removes an item of the listing; false when the listing does not hold it or it was popped before. */
  readonly pop: (id: string) => boolean
  /** @internal */
  readonly transaction: Transaction.TransactionState
  /** @internal */
  readonly listing: Listing
  /** @internal */
  readonly owner: string | undefined
  /** @internal */
  readonly popped: ReadonlySet<string>
  /** @internal */
  readonly finish: () => void
}

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
 * Of items with the same id the last one counts.
 *
 * Fails with `DatastoreError`: `InvalidArgument` for an id that breaks the rules, an item above 900 KiB, or a value or
 * time of another type, before anything is sent; `OutcomeUnknown` when items may have been added: adding them again
 * with the same `atMillis` is safe within {@link TombstonesDelay}.
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
    const added = new Map<string, NewItem>()
    for (const item of items) {
      const refused = checkId(item.id) ?? checkItem(item)
      if (refused !== undefined) return yield* refuseItem(set, item.id, refused)
      const made = newItem(set.parent, item, item.atMillis ?? now)
      if (made.bytes > maxEntityBytes) {
        const detail = `an item has at most ${maxEntityBytes} bytes, this one has ${made.bytes}`
        return yield* refuseItem(set, item.id, detail)
      }
      added.set(item.id, made)
    }
    yield* addItems(Array.from(added.values()))
  })

/** What is wrong with an item but for its id, or `undefined`: stored as something else it would not be read back. */
const checkItem = ({ atMillis, trace, value }: Item): string | undefined => {
  if (!(isBytes(value))) return `its value is a Uint8Array, got ${typeof value}`
  if (atMillis !== undefined && !Number.isSafeInteger(atMillis)) return `its atMillis is an integer, got ${atMillis}`
  return trace === undefined || typeof trace === "string" ? undefined : `its trace is a string, got ${typeof trace}`
}

/**
 * Adds items that were checked before, each with an id of its own.
 *
 * @internal
 */
export const addItems = (items: ReadonlyArray<NewItem>): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    const transaction = Transaction.of(context)
    if (transaction !== undefined) {
      const popped = items.find(({ entity }) => transaction.writes.get(entity.key.toString())?._tag === "Delete")
      return popped === undefined ? put(items.map(({ entity }) => entity)) : refuseEmitted(popped.entity.key)
    }
    const datastore = Context.get(context, Datastore)
    const parts = splitBySize(items, ({ bytes }) => bytes, datastore.backend.limits.commitBytes)
    const send = (part: Part<NewItem>) =>
      sendBlind(datastore, part.items.map(({ entity }) => ({ _tag: "Upsert", entity })), "put", part.bytes)
    return parts.length === 1 ? send(parts[0]!) : Effect.forEach(parts, send, { concurrency: 4, discard: true })
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
 * positive integer or `maxBytes` not positive, and when {@link TombstonesDelay} is out of its limits. Source: luci-go
 * `cv/internal/common/eventbox/dsset`, `Set.List`.
 *
 * @category operations
 * @since 0.1.0
 */
export const list = (
  set: DsSet,
  options: ListOptions
): Effect.Effect<Listing, DatastoreError, Datastore> => inSpan(checkAndList(set, options), "DsSet.list")

/**
 * Options of {@link list}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  readonly maxItems: number
  readonly maxBytes?: number | undefined
  /** Where this series of listings stands, see {@link cursorOf}; it does not wrap around. @internal */
  readonly cursor?: Cursor | undefined
  /** The part of the key range to list, once, whatever any sweep is at. @internal */
  readonly range?: Tombstones.Range | undefined
}

/**
 * A series of listings that begins where the process stands and takes its position along, but goes its own way when
 * others list meanwhile.
 *
 * @internal
 */
export const cursorOf = (set: DsSet): Effect.Effect<Cursor, never, Datastore> =>
  Effect.map(Datastore, (datastore) => ({ sweep: recall(datastore, set.parent).sweep }))

/**
 * Lists all items, however many they are; for inspection.
 *
 * @internal
 */
export const listAll = (set: DsSet): Effect.Effect<Listing, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) =>
    prepare(context, {
      room: { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY },
      range: { after: undefined, upTo: undefined },
      cursor: undefined
    }, (options) => listUntilSettled(set, options, 5))
  )

const checkAndList = (
  set: DsSet,
  options: ListOptions
): Effect.Effect<Listing, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    if (Transaction.of(context)?.open === true) {
      return Transaction.refuse("DsSet.list", "list before it, and give the listing to `beginPop` inside")
    }
    const { cursor, maxBytes = defaultMaxBytes, maxItems, range } = options
    if (!(Number.isSafeInteger(maxItems) && maxItems > 0)) {
      return Effect.die(new Error(`DsSet.list: maxItems is a positive integer, got ${maxItems}`))
    }
    if (!(maxBytes > 0)) {
      return Effect.die(new Error(`DsSet.list: maxBytes is a positive number, got ${maxBytes}`))
    }
    const most = Context.get(context, Datastore).backend.limits.commitBytes * popShare
    const room = { items: maxItems, bytes: Math.min(maxBytes, most) }
    return prepare(context, { room, range, cursor }, (prepared) => listUntilSettled(set, prepared, 5))
  })

/** What the popped items may have of a commit; the rest is for the head, pages, state and side effects. */
const popShare = 3 / 4

interface Listed {
  readonly datastore: Datastore["Service"]
  readonly room: Room
  readonly range: Tombstones.Range | undefined
  readonly cursor: Cursor | undefined
  readonly delayMillis: number
  readonly expiredBefore: number
}

/** The age of tombstones is taken before the reads are sent: taken later, a retried addition could slip in between. */
const prepare = <A, E>(
  context: Context.Context<Datastore>,
  options: Pick<Listed, "room" | "range" | "cursor">,
  run: (prepared: Listed) => Effect.Effect<A, E, Datastore>
): Effect.Effect<A, E, Datastore> =>
  Effect.flatMap(tombstonesDelayMillis, (delayMillis) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      run({
        ...options,
        datastore: Context.get(context, Datastore),
        delayMillis,
        expiredBefore: now - delayMillis
      })))

/** Lists, and lists again while the pages change between two reads. */
const listUntilSettled = (
  set: DsSet,
  options: Listed,
  retries: number
): Effect.Effect<Listing, DatastoreError, Datastore> =>
  Effect.catch(listOnce(set, options), (error) => {
    if (error._tag !== "PagesChanged") return Effect.fail(error)
    return retries === 0 ? Effect.fail(damagedPage(error)) : listUntilSettled(set, options, retries - 1)
  })

/** What the items of one listing may count, unless `maxBytes` says otherwise. */
const defaultMaxBytes = 4 * 1_024 * 1_024

const listOnce = Effect.fnUntraced(function*(
  set: DsSet,
  options: Listed
): Effect.fn.Return<Listing, DatastoreError | PagesChanged, Datastore> {
  const { cursor, datastore } = options
  const { parent } = set
  const memory = recall(datastore, parent)
  const sweep = cursor === undefined ? memory.sweep : cursor.sweep
  const range = options.range ?? { after: sweep?.after, upTo: undefined }
  const where = { datastore, parent, range, room: options.room }
  const { isPatient } = memory
  // Not by what the fiber remembers of its reads: an old head would be contention for ever.
  const lookUpHead = Effect.map(datastore.lookup([headKey(parent)]), ([looked]) => looked!.snapshots[0]!)
  const [first, head] = isPatient
    ? yield* Effect.flatMap(lookUpHead, (read) => Effect.map(readPage(where), (page) => [page, read] as const))
    : yield* Effect.all([readPage(where), lookUpHead], { concurrency: "unbounded" })
  const tombstones = yield* decodeHead(head)
  forgetDead(datastore, parent, tombstones)
  const wraps = options.range === undefined && cursor === undefined
  const seen = yield* collect({ ...where, ...options, range, wraps, tombstones }, first)
  const { hasWrapped, hidden, reachedEnd, ...rest } = seen
  const garbage = { set, ids: hidden.map(({ key }) => String(key.id)), snapshots: hidden }
  const listing = { ...rest, set, garbage, head, tombstones, isPatient, expiredBefore: options.expiredBefore }
  if (options.range !== undefined) return { ...listing, reachedEnd, truncated: !reachedEnd, rewind: () => {} }
  // Behind the last sweep, or in one that goes on.
  const before = sweep === undefined || sweep.after === undefined || hasWrapped
    ? begin(sweep?.seen ?? BigInt(0), head.version)
    : sweep
  const after = advance(before, { items: versionsOf(seen), head: head.version, reachedEnd })
  // A sweep of one listing leaves nothing to remember.
  const next = after.after === undefined && after.listings === 1 ? undefined : after
  const move = (from: Sweep | undefined, to: Sweep | undefined) => {
    if (cursor !== undefined && cursor.sweep === from) cursor.sweep = to
    moveSweep(datastore, parent, from, to)
  }
  move(sweep, next)
  return {
    ...listing,
    reachedEnd: after.after === undefined,
    truncated: !reachedEnd || before.after !== undefined,
    rewind: () => move(next, sweep)
  }
})

/** Moves the position of the process on, or back, unless another listing has moved it. */
const moveSweep = (
  datastore: Datastore["Service"],
  parent: Key,
  from: Sweep | undefined,
  to: Sweep | undefined
): void => {
  if (from === to || recall(datastore, parent).sweep !== from) return
  remember(datastore, parent, (memory) => {
    memory.sweep = to
  })
}

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
      if (problem !== undefined) return yield* refuseItem(set, id, problem)
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
  listing: Listing,
  options?: {
    /** Who pops: written into a head that has no owner yet. @internal */
    readonly owner?: string | undefined
  }
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
      owner: options?.owner,
      popped,
      finish: () => {
        open = false
        transaction.unfinished.delete(unfinished)
      }
    })
  })

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
): Effect.Effect<void, DatastoreError, Datastore | Transaction.Transaction> => finishAll(ops)

const finishAll = Effect.fnUntraced(function*(
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
  const onItemsChanged = (parents: Iterable<Key>) => setPatience(datastore, parents, true)
  for (const op of ops) {
    const { listing, set } = op
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
      transaction.afterCommit.push(rememberPages(datastore, set, change))
    }
    if (listing.isPatient) transaction.afterCommit.push(Effect.sync(() => setPatience(datastore, [set.parent], false)))
    const emitted = popItems(transaction, op)
    if (emitted !== undefined) return yield* refuseEmitted(itemKey(set.parent, emitted))
    transaction.deletedBytes += poppedBytes
    const commit = { ...listing, parent: set.parent, datastore, token, ids, giveUpAtMillis, onItemsChanged }
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
  datastore: Datastore["Service"],
  set: DsSet,
  { erased, written }: Change
): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const number of erased) forgetPage(datastore, set.parent, number)
    for (const { bytes, page: { check, number } } of written) {
      rememberPage(datastore, set.parent, number, { check, bytes, gone: undefined })
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

const setPatience = (
  datastore: Datastore["Service"],
  parents: Iterable<Key>,
  isPatient: boolean
): void => {
  for (const parent of parents) {
    remember(datastore, parent, (memory) => {
      memory.isPatient = isPatient
    })
  }
}

const refuseEmitted = (key: Key): Effect.Effect<never> =>
  Effect.die(
    new Error(
      `DsSet: the transaction that pops ${key} adds the same id: it would be swallowed as a repetition. ` +
        "Add another id, or leave the item where it is."
    )
  )

const damagedPage = ({ key }: PagesChanged): DatastoreError => {
  const detail = "a page of tombstones is not what the head says, five times in a row: it was deleted or changed by " +
    "something else than this library, and without it consumed events might come back"
  return new DatastoreError({ operation: "DsSet.list", keys: [key], reason: new Internal({ detail }) })
}

const headTooLarge = (key: Key, bytes: number): Effect.Effect<never, DatastoreError> => {
  const detail = `the tombstones of this set would have ${bytes} bytes, the limit is ${maxEntityBytes}; ` +
    "pop less often or less at a time, or shorten TombstonesDelay"
  const reason = new ResourceExhausted({ detail })
  return Effect.fail(new DatastoreError({ operation: "DsSet.finishPop", keys: [key], reason }))
}

const refuseItem = (set: DsSet, id: unknown, detail: string): Effect.Effect<never, DatastoreError> => {
  const reason = new InvalidArgument({ detail: `item ${JSON.stringify(String(id).slice(0, 60))}: ${detail}` })
  return Effect.fail(new DatastoreError({ operation: "DsSet", keys: [set.parent], reason }))
}
