/**
 * The same work as users write it without this library: one interactive transaction per event, with the plain API of
 * `@google-cloud/datastore`, one after the other.
 */
import { Datastore, type Key } from "@google-cloud/datastore"
import { Effect } from "effect"
import { mark, type Sample, since } from "../measure.ts"
import { addRpc, type Rpcs, rpcsSince } from "../rpcs.ts"
import { checkTotal, Counter, ticks } from "./counter.ts"

/** One sample of `events` transactions on one entity of an emulator, its result checked. */
export const naive = (address: { readonly host: string; readonly projectId: string }, events: number) =>
  Effect.promise(() => run(address, events)).pipe(
    Effect.tap(({ total }) => checkTotal("the entity of the plain API", total, events))
  )

const run = async ({ host, projectId }: { readonly host: string; readonly projectId: string }, events: number) => {
  const rpcs: Rpcs = {}
  const datastore = new Datastore({
    projectId,
    apiEndpoint: host,
    // Without it the client asks the metadata server first.
    universeDomain: "googleapis.com",
    ...countCalls((method) => addRpc(rpcs, method))
  })
  const key = datastore.key([Counter.kind, "naive"])
  const read = async () => {
    const [entity] = await datastore.get(key)
    return { count: Number(entity?.count ?? 0), sum: Number(entity?.sum ?? 0) }
  }
  try {
    // Connects.
    await read()
    const before = { ...rpcs }
    const begin = mark()
    for (const { amount } of ticks(0, events)) {
      // One after the other: at once, they would fight for the lock of the entity.
      await addInTransaction(datastore, key, amount)
    }
    const all = since(begin)
    const sample: Sample = { events, batches: events, all, rpcs: rpcsSince(rpcs, before), total: await read() }
    return sample
  } finally {
    await clientOf(datastore)?.close()
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

/** The option by which the client's gRPC stub reports every call that it makes. */
const countCalls = (onCall: (method: string) => void): object => ({
  "grpc.callInvocationTransformer": <Call extends { readonly methodDefinition: { readonly path: string } }>(
    call: Call
  ) => {
    onCall(call.methodDefinition.path.split("/").at(-1)!)
    return call
  }
})

/** The plain API has no `close`, its generated client has. */
const clientOf = (datastore: Datastore): { readonly close: () => Promise<void> } | undefined =>
  (datastore as unknown as { readonly clients_: Map<string, { readonly close: () => Promise<void> }> }).clients_
    .get("DatastoreClient")
