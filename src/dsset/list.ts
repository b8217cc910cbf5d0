/**
 * Listing what waits to be popped.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Datastore } from "../Datastore.ts"
import { DatastoreError, Internal } from "../EventboxError.ts"
import * as Transaction from "../ground/transaction.ts"
import { collect, decodeHead, readPage, type Room, versionsOf } from "./collect.ts"
import { tombstonesDelayMillis } from "./delay.ts"
import { headKey } from "./format/stored.ts"
import type { Range } from "./format/tombstones.ts"
import { forgetDead, type PagesChanged } from "./livePages.ts"
import { moveSweep, placeOf, recall } from "./memory.ts"
import type { DsSet, Listing, ListOptions } from "./model.ts"
import { advance, begin, type Cursor, type Sweep } from "./sweep.ts"

/** As `DsSet.list`. */
export const list = (
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

/**
 * A series of listings that begins where the process stands and takes its position along, but goes its own way when
 * others list meanwhile.
 */
export const cursorOf = (set: DsSet): Effect.Effect<Cursor, never, Datastore> =>
  Effect.map(Datastore, (datastore) => ({ sweep: recall(placeOf(datastore, set.parent)).sweep }))

/** Lists all items, however many they are; for inspection. */
export const listAll = (set: DsSet): Effect.Effect<Listing, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) =>
    prepare(context, {
      room: { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY },
      range: { after: undefined, upTo: undefined },
      cursor: undefined
    }, (options) => listUntilSettled(set, options, 5))
  )

/** What the popped items may have of a commit; the rest is for the head, pages, state and side effects. */
const popShare = 3 / 4

/** What the items of one listing may count, unless `maxBytes` says otherwise. */
const defaultMaxBytes = 4 * 1_024 * 1_024

interface Listed {
  readonly datastore: Datastore["Service"]
  readonly room: Room
  readonly range: Range | undefined
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

const listOnce = Effect.fnUntraced(function*(
  set: DsSet,
  options: Listed
): Effect.fn.Return<Listing, DatastoreError | PagesChanged, Datastore> {
  const { cursor, datastore } = options
  const place = placeOf(datastore, set.parent)
  const memory = recall(place)
  const sweep = cursor === undefined ? memory.sweep : cursor.sweep
  const range = options.range ?? { after: sweep?.after, upTo: undefined }
  const where = { place, range, room: options.room }
  const { isPatient } = memory
  // Not by what the fiber remembers of its reads: an old head would be contention for ever.
  const lookUpHead = Effect.map(datastore.lookup([headKey(set.parent)]), ([looked]) => looked!.snapshots[0]!)
  const [first, head] = isPatient
    ? yield* Effect.flatMap(lookUpHead, (read) => Effect.map(readPage(where), (page) => [page, read] as const))
    : yield* Effect.all([readPage(where), lookUpHead], { concurrency: "unbounded" })
  const tombstones = yield* decodeHead(head)
  forgetDead(place, tombstones)
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
    moveSweep(place, from, to)
  }
  move(sweep, next)
  return {
    ...listing,
    reachedEnd: after.after === undefined,
    truncated: !reachedEnd || before.after !== undefined,
    rewind: () => move(next, sweep)
  }
})

const damagedPage = ({ key }: PagesChanged): DatastoreError => {
  const detail = "a page of tombstones is not what the head says, five times in a row: it was deleted or changed by " +
    "something else than this library, and without it consumed events might come back"
  return new DatastoreError({ operation: "DsSet.list", keys: [key], reason: new Internal({ detail }) })
}
