/**
 * The batch of LUCI's eventbox as its users run it, on the plain API of `@google-cloud/datastore`: interactive
 * transactions, one tombstones entity, and its calls in its order.
 *
 * | step | RPCs |
 * |---|---|
 * | list the items ∥ read the tombstones ∥ load the state; delete the garbage, if there is any | RunQuery, 2 Lookup |
 * | begin | BeginTransaction |
 * | read the version of the state | Lookup |
 * | read the tombstones, pop | Lookup |
 * | commit state and tombstones | Commit |
 * | delete the items, which `ProcessBatch` waits for | Commit |
 *
 * Written anew from the facts of luci-go `cv/internal/common/eventbox`, `box.go` and `dsset/dsset.go`. As the plain API
 * is best used: `run` before the first read, no query inside a transaction, nothing indexed.
 */
import type { Datastore, Key } from "@google-cloud/datastore"
import { Effect } from "effect"
import { addUsage, between, type Mark, mark, noUsage, type Sample, since } from "../measure.ts"
import { checkTotal, Counter, type Tick, ticks, type Total, WrongResultError } from "./counter.ts"
import { type Address, countRounds, countRpcs, openClient } from "./plainClient.ts"

/** What one sample does. */
export interface LuciSize {
  readonly batchSize: number
  readonly batches: number
}

/** Another worker was first. */
export class LuciContention extends Error {
  override readonly name = "LuciContention"
}

const itemKind = "dsset.Item"
const tombstonesKind = "dsset.Tombstones"

/** LUCI's default. */
const tombstonesDelayMillis = 5 * 60_000

/** Entities of one commit that need not be atomic: as LUCI's Datastore layer splits them. */
const chunk = 500

/** The box of one recipient. */
export interface LuciBox {
  readonly datastore: Datastore
  readonly recipient: Key
}

/** Emits events, with the ids that LUCI draws. */
export const emitLuci = async ({ datastore, recipient }: LuciBox, values: ReadonlyArray<Tick>): Promise<void> => {
  const entities = values.map((value) => ({
    key: below(datastore, recipient, itemKind, `${crypto.randomUUID()}/${Date.now()}000000`),
    data: { Value: Buffer.from(JSON.stringify(value)) },
    excludeFromIndexes: ["Value"]
  }))
  await Promise.all(chunks(entities).map((part) => datastore.save(part)))
}

/** What a batch did, and when its transaction had landed. */
export interface LuciBatch {
  readonly consumed: number
  readonly landed: Mark
}

/** Processes one batch; throws a {@link LuciContention} when another worker was first. */
export const processLuci = async (box: LuciBox, maxEvents: number): Promise<LuciBatch> => {
  const [listing, loaded] = await Promise.all([listAndCleanUp(box, maxEvents), loadState(box)])
  if (listing.items.length === 0) return { consumed: 0, landed: mark() }
  const state = {
    count: loaded.state.count + listing.items.length,
    sum: listing.items.reduce((sum, { tick }) => sum + tick.amount, loaded.state.sum)
  }
  await commitBatch(box, listing, loaded.version, state)
  const landed = mark()
  // In LUCI this runs after the commit, before `ProcessBatch` returns.
  await deleteAll(box.datastore, listing.items.map(({ key }) => key))
  return { consumed: listing.items.length, landed }
}

interface Loaded {
  readonly state: Total
  readonly version: number
}

const loadState = async ({ datastore, recipient }: LuciBox): Promise<Loaded> => {
  const [entity] = await datastore.get(recipient)
  if (entity === undefined) return { state: { count: 0, sum: 0 }, version: 0 }
  return { state: JSON.parse(entity.State), version: Number(entity.EVersion) }
}

interface Listing {
  readonly items: ReadonlyArray<{ readonly key: Key; readonly tick: Tick }>
  /** Ids whose tombstones are old enough to be erased by the next pop. */
  readonly old: ReadonlySet<string>
}

const listAndCleanUp = async ({ datastore, recipient }: LuciBox, maxEvents: number): Promise<Listing> => {
  const now = Date.now()
  const query = datastore.createQuery(itemKind).hasAncestor(recipient).limit(maxEvents)
  const [tombstones, [entities]] = await Promise.all([
    datastore.get(tombstonesKey(datastore, recipient)).then(([entity]) => readTombstones(entity)),
    datastore.runQuery(query)
  ])
  const keys = new Map(entities.map((entity): [string, Key] => {
    const key: Key = entity[datastore.KEY]
    return [key.name!, key]
  }))
  const old = new Set<string>()
  const garbage: Array<Key> = []
  for (const [id, at] of tombstones) {
    if (now - at > tombstonesDelayMillis) old.add(id)
    if (keys.has(id)) garbage.push(keys.get(id)!)
  }
  if (garbage.length > 0) await deleteAll(datastore, garbage)
  const items = entities.map((entity) => ({
    key: entity[datastore.KEY] as Key,
    tick: JSON.parse(entity.Value.toString()) as Tick
  }))
  return { items: items.filter(({ key }) => !tombstones.has(key.name!)), old }
}

const commitBatch = async (box: LuciBox, listing: Listing, version: number, state: Total): Promise<void> => {
  const { datastore, recipient } = box
  const transaction = datastore.transaction()
  try {
    await transaction.run()
    const [current] = await transaction.get(recipient)
    if (Number(current?.EVersion ?? 0) !== version) {
      await transaction.rollback()
      throw new LuciContention("the version of the state has changed")
    }
    const key = tombstonesKey(datastore, recipient)
    const [entity] = await transaction.get(key)
    const tombstones = readTombstones(entity)
    for (const id of listing.old) tombstones.delete(id)
    const now = Date.now()
    for (const item of listing.items) {
      // What another worker has popped is silently left out, as LUCI does.
      if (!tombstones.has(item.key.name!)) tombstones.set(item.key.name!, now)
    }
    transaction.save([
      {
        key: recipient,
        data: { EVersion: version + 1, State: JSON.stringify(state) },
        excludeFromIndexes: ["EVersion", "State"]
      },
      { key, data: writeTombstones(tombstones) }
    ])
    await transaction.commit()
  } catch (error) {
    throw isContention(error) ? new LuciContention("Datastore aborted the transaction", { cause: error }) : error
  }
}

/** ABORTED, and what the emulator answers in a transaction that it has ended. */
const isContention = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "code" in error && (error.code === 10 || error.code === 3)

const below = (datastore: Datastore, parent: Key, kind: string, name: string): Key =>
  datastore.key([...parent.path, kind, name] as Array<string>)

/** The key of the tombstones of a recipient. */
export const tombstonesKey = (datastore: Datastore, recipient: Key): Key =>
  below(datastore, recipient, tombstonesKind, "const")

/** A list of structures without an index, which LUCI's layer stores as one list for each field. */
const readTombstones = (entity: Record<string, ReadonlyArray<unknown>> | undefined): Map<string, number> => {
  const ids = entity?.["Tombstones.ID"] ?? []
  const times = entity?.["Tombstones.Tombstoned"] ?? []
  return new Map(ids.map((id, index) => [String(id), (times[index] as Date).getTime()]))
}

const writeTombstones = (tombstones: ReadonlyMap<string, number>) => [
  { name: "Tombstones.ID", value: Array.from(tombstones.keys()), excludeFromIndexes: true },
  {
    name: "Tombstones.Tombstoned",
    value: Array.from(tombstones.values(), (at) => new Date(at)),
    excludeFromIndexes: true
  }
]

const deleteAll = async (datastore: Datastore, keys: ReadonlyArray<Key>): Promise<void> => {
  await Promise.all(chunks(keys).map((part) => datastore.delete(part)))
}

const chunks = <A>(all: ReadonlyArray<A>): Array<Array<A>> =>
  Array.from({ length: Math.ceil(all.length / chunk) }, (_, index) => all.slice(index * chunk, (index + 1) * chunk))

/** Gives back what the entity of a box holds; the mailbox must be empty. */
export const readLuci = async (box: LuciBox): Promise<Total> => {
  const [left] = await box.datastore.runQuery(box.datastore.createQuery(itemKind).hasAncestor(box.recipient))
  if (left.length > 0) throw new WrongResultError(`${left.length} events are left for LUCI's batch`)
  return (await loadState(box)).state
}

/** One sample of emitting and processing, its result checked. */
export const luci = (address: Address, size: LuciSize): Effect.Effect<Sample & { readonly rounds: number }> =>
  Effect.promise(() => run(address, size)).pipe(
    Effect.tap(({ total }) => checkTotal("the entity of LUCI's batch", total, size.batches * size.batchSize))
  )

const run = async (address: Address, { batchSize, batches }: LuciSize) => {
  const { close, datastore, meter } = openClient(address)
  const box: LuciBox = { datastore, recipient: datastore.key([Counter.kind, "luci"]) }
  try {
    // Connects.
    await datastore.get(box.recipient)
    meter.rpcs.length = meter.reads = 0
    const begin = mark()
    let [emit, process, land] = [noUsage, noUsage, noUsage]
    let rounds = 0
    for (let batch = 0; batch < batches; batch++) {
      const start = mark()
      await emitLuci(box, ticks(batch * batchSize, batchSize))
      const emitted = mark()
      const before = meter.rpcs.length
      const { landed } = await processLuci(box, batchSize)
      emit = addUsage(emit, between(start, emitted))
      land = addUsage(land, between(emitted, landed))
      process = addUsage(process, since(emitted))
      rounds = countRounds(meter.rpcs.slice(before))
    }
    const all = since(begin)
    const { deletes, reads, writes } = meter
    const rpcs = countRpcs(meter.rpcs)
    const bill = { reads, writes, deletes }
    const total = await readLuci(box)
    return { events: batches * batchSize, batches, emit, process, land, all, rpcs, bill, rounds, total }
  } finally {
    await close()
  }
}
