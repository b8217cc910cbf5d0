/**
 * The same work as users write it without this library: one interactive transaction per event, with the plain API of
 * `@google-cloud/datastore`, one after the other.
 */
import type { Datastore, Key } from "@google-cloud/datastore"
import { Effect } from "effect"
import { mark, type Sample, since } from "../measure.ts"
import { checkTotal, Counter, ticks } from "./counter.ts"
import { type Address, countRpcs, openClient } from "./plainClient.ts"

/** One sample of `events` transactions on one entity of an emulator, its result checked. */
export const naive = (address: Address, events: number): Effect.Effect<Sample> =>
  Effect.promise(() => run(address, events)).pipe(
    Effect.tap(({ total }) => checkTotal("the entity of the plain API", total, events))
  )

const run = async (address: Address, events: number): Promise<Sample> => {
  const { close, datastore, meter } = openClient(address)
  const key = datastore.key([Counter.kind, "naive"])
  const read = async () => {
    const [entity] = await datastore.get(key)
    return { count: Number(entity?.count ?? 0), sum: Number(entity?.sum ?? 0) }
  }
  try {
    // Connects.
    await read()
    meter.rpcs.length = meter.reads = 0
    const begin = mark()
    for (const { amount } of ticks(0, events)) {
      // One after the other: at once, they would fight for the lock of the entity.
      await addInTransaction(datastore, key, amount)
    }
    const all = since(begin)
    const { deletes, reads, writes } = meter
    const rpcs = countRpcs(meter.rpcs)
    return { events, batches: events, all, process: all, rpcs, bill: { reads, writes, deletes }, total: await read() }
  } finally {
    await close()
  }
}

const addInTransaction = async (datastore: Datastore, key: Key, amount: number): Promise<void> => {
  const transaction = datastore.transaction()
  // Without it the first read begins the transaction, and on the emulator every such transaction fails.
  await transaction.run()
  const [entity] = await transaction.get(key)
  transaction.save({
    key,
    data: { count: Number(entity?.count ?? 0) + 1, sum: Number(entity?.sum ?? 0) + amount },
    excludeFromIndexes: ["count", "sum"]
  })
  await transaction.commit()
}
