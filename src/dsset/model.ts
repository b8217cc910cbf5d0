/**
 * What operations of a set take and give. `DsSet.ts` shows users the public part of it.
 */
import type { Snapshot } from "../Backend.ts"
import type { TransactionState } from "../ground/transaction.ts"
import type { Key } from "../Key.ts"
import type { Head } from "./format/stored.ts"
import type { Range } from "./format/tombstones.ts"
import type { Cursor } from "./sweep.ts"

/**
 * Bytes that a stored entity may have. E8
 *
 * @category limits
 * @since 0.1.0
 */
export const maxEntityBytes = 900 * 1_024

/** Marks a set. */
export const TypeId = "~eventbox/DsSet"

/**
 * A set: the key that its items live under.
 *
 * **Example** (The loop of a consumer)
 *
 * ```ts
 * import { Datastore, DsSet, Key } from "effect-eventbox"
 * import { Effect } from "effect"
 *
 * const set = DsSet.make({ parent: Key.make("Run", "r1") })
 *
 * export const consume = Effect.gen(function*() {
 *   const listing = yield* DsSet.list(set, { maxItems: 100 })
 *   yield* DsSet.cleanupGarbage(listing.garbage)
 *   yield* Datastore.withTransaction(Effect.gen(function*() {
 *     const pop = yield* DsSet.beginPop(set, listing)
 *     // What is written here lands together with the pops, or not at all.
 *     for (const { id } of listing.items) pop.pop(id)
 *     yield* DsSet.finishPop(pop)
 *   }))
 * })
 * ```
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
 * What one `DsSet.list` saw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listing {
  readonly set: DsSet
  /** Visible items, in key order; with ids drawn by the library that is oldest first. */
  readonly items: ReadonlyArray<Item>
  /** To be given to `DsSet.cleanupGarbage`. */
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
  readonly covered: ReadonlyArray<Range>
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
  readonly transaction: TransactionState
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
 * Options of `DsSet.list`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  readonly maxItems: number
  readonly maxBytes?: number | undefined
  /** Where this series of listings stands, see `cursorOf` of `list.ts`; it does not wrap around. @internal */
  readonly cursor?: Cursor | undefined
  /** The part of the key range to list, once, whatever any sweep is at. @internal */
  readonly range?: Range | undefined
}
