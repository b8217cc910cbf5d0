/**
 * Adding items: checked and made in one place, whoever adds them.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Datastore, put } from "../Datastore.ts"
import { sendBlind } from "../datastore/sending.ts"
import { DatastoreError, InvalidArgument } from "../EventboxError.ts"
import { isBytes } from "../ground/foreign.ts"
import * as Transaction from "../ground/transaction.ts"
import type { Key } from "../Key.ts"
import { tombstonesDelayMillis } from "./delay.ts"
import { checkId, type NewItem, newItem } from "./format/stored.ts"
import { type Item, maxEntityBytes } from "./model.ts"
import { type Part, splitBySize } from "./parts.ts"

/** Why an item cannot be stored. */
export type Refusal =
  | { readonly _tag: "Id" | "Shape"; readonly detail: string }
  | { readonly _tag: "TooLarge"; readonly bytes: number }

/** Makes and measures an item; or says why it cannot be stored, as something else it would not be read back. */
export const makeItem = (parent: Key, item: Item, atMillis: number): NewItem | Refusal => {
  const id = checkId(item.id)
  if (id !== undefined) return { _tag: "Id", detail: id }
  const shape = checkShape(item)
  if (shape !== undefined) return { _tag: "Shape", detail: shape }
  const made = newItem(parent, item, atMillis)
  return made.bytes > maxEntityBytes ? { _tag: "TooLarge", bytes: made.bytes } : made
}

/** Whether an item could not be made. */
export const isRefusal = (made: NewItem | Refusal): made is Refusal => "_tag" in made

const checkShape = ({ atMillis, trace, value }: Item): string | undefined => {
  if (!isBytes(value)) return `its value is a Uint8Array, got ${typeof value}`
  if (atMillis !== undefined && !Number.isSafeInteger(atMillis)) return `its atMillis is an integer, got ${atMillis}`
  return trace === undefined || typeof trace === "string" ? undefined : `its trace is a string, got ${typeof trace}`
}

/** Items of `DsSet.add`: of those with one id the last counts. */
export const makeItems = (
  parent: Key,
  items: ReadonlyArray<Item>,
  now: number
): Effect.Effect<ReadonlyArray<NewItem>, DatastoreError> => {
  const added = new Map<string, NewItem>()
  for (const item of items) {
    const made = makeItem(parent, item, item.atMillis ?? now)
    if (isRefusal(made)) return refuseItem(parent, item.id, detailOf(made))
    added.set(item.id, made)
  }
  return Effect.succeed(Array.from(added.values()))
}

const detailOf = (refusal: Refusal): string =>
  refusal._tag === "TooLarge"
    ? `an item has at most ${maxEntityBytes} bytes, this one has ${refusal.bytes}`
    : refusal.detail

/**
 * Adds items that were checked before, each with an id of its own. They are sent again when Datastore aborts them,
 * until a moment well within the tombstones delay: later they could be new items (P3). `earlier` is the failure of a
 * try before this one, in which some may have landed: so each part of a further try looks at that moment, too.
 */
export const addItems = (
  items: ReadonlyArray<NewItem>,
  giveUpAtMillis: number,
  earlier?: () => DatastoreError | undefined
): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    const transaction = Transaction.of(context)
    if (transaction !== undefined) {
      const popped = items.find(({ entity }) => transaction.writes.get(entity.key.toString())?._tag === "Delete")
      return popped === undefined ? put(items.map(({ entity }) => entity)) : refuseEmitted(popped.entity.key)
    }
    const datastore = Context.get(context, Datastore)
    const parts = splitBySize(items, ({ bytes }) => bytes, datastore.backend.limits.commitBytes)
    const send = (part: Part<NewItem>) =>
      sendBlind(datastore, part.items.map(({ entity }) => ({ _tag: "Upsert", entity })), "put", {
        bytes: part.bytes,
        giveUpAtMillis,
        earlier
      })
    return parts.length === 1 ? send(parts[0]!) : Effect.forEach(parts, send, { concurrency: 4, discard: true })
  })

/** When items that are being added are no longer sent again, in ms since epoch. */
export const giveUpAt: Effect.Effect<number> = Effect.flatMap(
  tombstonesDelayMillis,
  (delayMillis) => Effect.map(Clock.currentTimeMillis, (now) => now + delayMillis / 2)
)

/** Dies because of an item that the same transaction pops. */
export const refuseEmitted = (key: Key): Effect.Effect<never> =>
  Effect.die(
    new Error(
      `DsSet: the transaction that pops ${key} adds the same id: it would be swallowed as a repetition. ` +
        "Add another id, or leave the item where it is."
    )
  )

/** Refuses an operation on an item. */
export const refuseItem = (parent: Key, id: unknown, detail: string): Effect.Effect<never, DatastoreError> => {
  const reason = new InvalidArgument({ detail: `item ${JSON.stringify(String(id).slice(0, 60))}: ${detail}` })
  return Effect.fail(new DatastoreError({ operation: "DsSet", keys: [parent], reason }))
}
