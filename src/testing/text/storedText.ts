/**
 * What the library stores for mailboxes, as text. What cannot be read is left to others: a dump has no opinions.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import { itemKind } from "../../dsset/format/stored.ts"
import * as Tombstones from "../../dsset/format/tombstones.ts"
import type * as Entity from "../../Entity.ts"
import { isBytes } from "../../ground/foreign.ts"

/** The head, and pages of it. */
const tombstonesKind = /^dsset\.Tombstones/

const utf8 = new TextDecoder("utf-8", { fatal: true })

/** Bytes as text when they are UTF-8, as the values of events are: JSON. */
export const textOf = (value: unknown): string | undefined => {
  if (!(isBytes(value))) return undefined
  try {
    return utf8.decode(value)
  } catch {
    return undefined
  }
}

/** A time in ms since epoch as text. */
export const timeOf = (value: unknown): string | undefined =>
  typeof value === "number" ? Option.getOrUndefined(Option.map(DateTime.make(value), DateTime.formatIso)) : undefined

/** The pops of a head or of a page of it; `undefined` for anything else. */
export const popsOf = ({ key, properties }: Entity.Entity): ReadonlyArray<Tombstones.Pop> | undefined => {
  const pops = properties["Pops"]
  return tombstonesKind.test(key.kind) && isBytes(pops) ? Tombstones.decode(pops) : undefined
}

/** A pop as text: when, and which ids; or that it popped nothing, as a fence. */
export const showPop = (pop: Tombstones.Pop): string => {
  const ids = Tombstones.idsOf(pop)
  return `${timeOf(pop.atMillis) ?? pop.atMillis}: ${ids.length === 0 ? "nothing" : ids.join(", ")}`
}

/** A property of what the library stores, or `undefined`. */
export const showStored = (entity: Entity.Entity, property: string): string | undefined => {
  const value = entity.properties[property]
  if (entity.key.kind === itemKind && property === "Value") return textOf(value)
  if (entity.key.kind === itemKind && property === "At") return timeOf(value)
  if (property !== "Pops") return undefined
  const pops = popsOf(entity)
  return pops === undefined ? undefined : `[${pops.map(showPop).join("; ")}]`
}
