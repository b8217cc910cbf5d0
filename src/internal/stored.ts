/**
 * The stored form of a set: keys, and entities to and from items and pops. The table at the top of `DsSet.ts` describes
 * it.
 */
import * as Option from "effect/Option"
import type { Snapshot } from "../Backend.ts"
import type * as Entity from "../Entity.ts"
import * as Key from "../Key.ts"
import * as Tombstones from "./tombstones.ts"

/** Kind of the items. */
export const itemKind = "dsset.Item"
/** Kind of the head. */
export const headKind = "dsset.Tombstones"

/** Ids from here on are refused: it is the upper end of the key range of items. */
const idsEnd = "\u{10FFFF}"

/** What is wrong with the id of an item, or `undefined`. */
export const checkId = (id: unknown): string | undefined =>
  Key.checkName(id) ??
    (typeof id === "string" && id.startsWith(idsEnd) ? "an id does not start with U+10FFFF" : undefined)

/** The key of an item. */
export const itemKey = (parent: Key.Key, id: string): Key.Key => Key.childUnsafe(parent, itemKind, id)

/** Before every item of the set: integer ids come first, and no item has one. */
export const itemsStart = (parent: Key.Key): Key.Key => Key.childUnsafe(parent, itemKind, 1)

/** After every item of the set. Without this end a query would go on to the items of recipients below the parent. */
export const itemsEnd = (parent: Key.Key): Key.Key => Key.childUnsafe(parent, itemKind, idsEnd)

/** The key of a set's head. */
export const headKey = (parent: Key.Key): Key.Key => Key.childUnsafe(parent, headKind, 1)

/** An item as it is stored. */
export const itemEntity = (
  parent: Key.Key,
  item: { readonly id: string; readonly value: Uint8Array; readonly trace?: string | undefined },
  atMillis: number
): Entity.Entity => {
  const properties = { Value: item.value, At: atMillis }
  return {
    key: itemKey(parent, item.id),
    properties: item.trace === undefined ? properties : { ...properties, Trace: item.trace },
    unindexed: "all"
  }
}

/** An item as it was stored. */
export interface StoredItem {
  readonly id: string
  readonly value: Uint8Array
  readonly atMillis: number
  readonly trace: string | undefined
}

/** Reads an item; a property that is not what `add` writes counts as empty, and then fails to decode further up. */
export const readItem = (snapshot: Snapshot): StoredItem => {
  const properties = Option.getOrUndefined(snapshot.entity)?.properties ?? {}
  const value = properties["Value"]
  const at = properties["At"]
  const trace = properties["Trace"]
  return {
    id: String(snapshot.key.id),
    value: value instanceof Uint8Array ? value : new Uint8Array(0),
    atMillis: typeof at === "number" ? at : 0,
    trace: typeof trace === "string" ? trace : undefined
  }
}

/** The head as it is stored. */
export const headEntity = (key: Key.Key, pops: ReadonlyArray<Tombstones.Pop>): Entity.Entity => ({
  key,
  properties: { Pops: Tombstones.encode(pops) },
  unindexed: "all"
})

/** The pops of a head, none for a set that has no head yet; `undefined` when the head does not decode. */
export const readPops = (head: Snapshot): ReadonlyArray<Tombstones.Pop> | undefined => {
  if (Option.isNone(head.entity)) return []
  const bytes = head.entity.value.properties["Pops"]
  return bytes instanceof Uint8Array ? Tombstones.decode(bytes) : undefined
}
