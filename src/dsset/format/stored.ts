/**
 * The stored form of a set: keys, and entities to and from items and pops. The table at the top of `DsSet.ts` describes
 * it.
 */
import * as Option from "effect/Option"
import type { Snapshot } from "../../Backend.ts"
import * as Entity from "../../Entity.ts"
import { isBytes } from "../../ground/foreign.ts"
import * as Key from "../../Key.ts"
import * as Pages from "./pages.ts"
import * as Tombstones from "./tombstones.ts"

/** Kind of the items. */
export const itemKind = "dsset.Item"
/** Kind of the head. */
export const headKind = "dsset.Tombstones"
/** Kind of the pages. */
export const pageKind = "dsset.TombstonesPage"

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
const itemEntity = (
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

/** An item that is about to be written. */
export interface NewItem {
  readonly entity: Entity.Entity
  /** Of the entity, as Datastore counts. */
  readonly bytes: number
}

/** Makes and measures an item. */
export const newItem = (
  parent: Key.Key,
  item: Parameters<typeof itemEntity>[1],
  atMillis: number
): NewItem => {
  const entity = itemEntity(parent, item, atMillis)
  return { entity, bytes: Entity.sizeBytes(entity) }
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
    value: isBytes(value) ? value : new Uint8Array(0),
    atMillis: typeof at === "number" ? at : 0,
    trace: typeof trace === "string" ? trace : undefined
  }
}

/** The key of a page. */
export const pageKey = (parent: Key.Key, number: number): Key.Key => Key.childUnsafe(parent, pageKind, number)

/** What a head holds: the newest pops, and what it knows of the pages that hold the others. */
export interface Head extends Pages.Directory {
  readonly pops: ReadonlyArray<Tombstones.Pop>
  /** Tokens of the newest pops, whatever their age. */
  readonly tokens: Uint8Array
  /** Who pops this set, once somebody has said so. */
  readonly owner: string | undefined
}

/** The head of a set that was never popped. */
const noHead: Head = { ...Pages.empty, pops: [], tokens: new Uint8Array(0), owner: undefined }

/** The head as it is stored. */
export const headEntity = (key: Key.Key, head: Head): Entity.Entity => {
  const properties: Record<string, Entity.Value> = { Pops: Tombstones.encode(head.pops), Tokens: head.tokens }
  if (head.bytes.length > 0) properties["Pages"] = head.bytes
  if (head.owner !== undefined) properties["Owner"] = head.owner
  return { key, properties, unindexed: "all" }
}

/** Reads a head; `undefined` when it does not decode. */
export const readHead = (snapshot: Snapshot): Head | undefined => {
  if (Option.isNone(snapshot.entity)) return noHead
  const { Owner, Pages: pageBytes, Pops, Tokens } = snapshot.entity.value.properties
  const owner = typeof Owner === "string" ? Owner : undefined
  const tokens = isBytes(Tokens) ? Tokens : noHead.tokens
  const pops = isBytes(Pops) ? Tombstones.decode(Pops) : undefined
  if (pops === undefined) return undefined
  if (pageBytes === undefined) return { ...noHead, pops, tokens, owner }
  const directory = isBytes(pageBytes) ? Pages.decode(pageBytes) : undefined
  return directory === undefined ? undefined : { ...directory, pops, tokens, owner }
}

/** A page as it is stored. */
export const pageEntity = (parent: Key.Key, number: number, bytes: Uint8Array): Entity.Entity => ({
  key: pageKey(parent, number),
  properties: { Pops: bytes },
  unindexed: "all"
})

/** The bytes of a page; `undefined` when it is gone, or is not a page. */
export const readPageBytes = (snapshot: Snapshot): Uint8Array | undefined => {
  const bytes = Option.getOrUndefined(snapshot.entity)?.properties["Pops"]
  return isBytes(bytes) ? bytes : undefined
}
