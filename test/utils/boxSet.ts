import { Duration, Effect } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Key from "../../src/Key.ts"

/** The set that most tests are about. */
export const set = DsSet.make({ parent: Key.make("Parent", "parent") })

/** Gives an effect a tombstones delay of one minute. */
export const withMinute = Effect.provideService(DsSet.TombstonesDelay, Duration.minutes(1))

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder()

/** Adds items whose value is a text, `v` unless given. */
export const add = (
  ids: ReadonlyArray<string>,
  options: { readonly value?: string; readonly atMillis?: number } = {}
) =>
  DsSet.add(set, ids.map((id) => ({ id, value: textEncoder.encode(options.value ?? "v"), atMillis: options.atMillis })))

/** Lists all, as far as `maxItems` goes. */
export const list = (maxItems = 1_000) => DsSet.list(set, { maxItems })

/** What a listing shows: its items by id, and the ids of its garbage. */
export const shown = (listing: DsSet.Listing) => ({
  items: listing.items.map(({ id }) => id),
  garbage: listing.garbage.ids
})

/** Items by id, with their values as text. */
export const values = (listing: DsSet.Listing) =>
  listing.items.map(({ id, value }) => `${id}=${textDecoder.decode(value)}`)

/** Pops ids of a listing in a transaction of their own, and returns those that `pop` said true for. */
export const pop = (listing: DsSet.Listing, ids: ReadonlyArray<string> = listing.items.map(({ id }) => id)) =>
  Datastore.withTransaction(Effect.gen(function*() {
    const op = yield* DsSet.beginPop(listing.set, listing)
    const popped = ids.filter((id) => op.pop(id))
    yield* DsSet.finishPop(op)
    return popped
  }))

/** Pops items, and adds them again as a late retry of their first addition does: then they are garbage. */
export const popAndRepeat = (ids: ReadonlyArray<string>, atMillis = 0) =>
  Effect.gen(function*() {
    yield* pop(yield* list(), ids)
    yield* add(ids, { atMillis })
  })

/** The tombstones that are stored, as text. */
export const tombstones = Effect.map(list(), ({ tombstones }) => tombstones.pops.length)
