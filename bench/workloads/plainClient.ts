/**
 * The plain API of `@google-cloud/datastore`, with a meter in its stub: what it sends, what that is billed, and what
 * had to wait for what.
 */
import { Datastore } from "@google-cloud/datastore"

/** One RPC, with the moments of its start and its end. */
export interface Rpc {
  readonly method: string
  readonly start: number
  readonly end: number
}

/** What went through a client. */
export interface Meter {
  readonly rpcs: Array<Rpc>
  reads: number
  writes: number
  deletes: number
}

/** An open client. */
export interface PlainClient {
  readonly datastore: Datastore
  readonly meter: Meter
  readonly close: () => Promise<void>
}

/** Where a client connects to. */
export interface Address {
  readonly host: string
  readonly projectId: string
}

/** Opens a client on an emulator. */
export const openClient = ({ host, projectId }: Address): PlainClient => {
  const meter: Meter = { rpcs: [], reads: 0, writes: 0, deletes: 0 }
  const datastore = new Datastore({
    projectId,
    apiEndpoint: host,
    // Without it the client asks the metadata server first.
    universeDomain: "googleapis.com",
    "grpc.callInvocationTransformer": measuring(meter)
  } as object)
  return { datastore, meter, close: async () => clientOf(datastore)?.close() }
}

interface Invocation {
  readonly methodDefinition: { readonly path: string }
  readonly argument: {
    readonly keys?: ReadonlyArray<unknown>
    readonly mutations?: ReadonlyArray<{ readonly delete?: unknown }>
  }
  readonly callback: (error: unknown, response?: Response) => void
}

interface Response {
  readonly batch?: { readonly entityResults?: ReadonlyArray<unknown> }
}

/** The option by which the client's gRPC stub reports every call that it makes. */
const measuring = (meter: Meter) => (invocation: Invocation): Invocation => {
  const start = performance.now()
  return {
    ...invocation,
    callback: (error, response) => {
      const method = invocation.methodDefinition.path.split("/").at(-1)!
      meter.rpcs.push({ method, start, end: performance.now() })
      if (error === null || error === undefined) bill(meter, method, invocation.argument, response)
      invocation.callback(error, response)
    }
  }
}

/** As the service bills: every key that was looked up, found or not, and every result of a query. */
const bill = (
  meter: Meter,
  method: string,
  { keys = [], mutations = [] }: Invocation["argument"],
  response: Response | undefined
): void => {
  if (method === "Lookup") meter.reads += keys.length
  if (method === "RunQuery") meter.reads += response?.batch?.entityResults?.length ?? 0
  if (method === "Commit") {
    const deletes = mutations.filter((mutation) => mutation.delete !== undefined && mutation.delete !== null).length
    meter.deletes += deletes
    meter.writes += mutations.length - deletes
  }
}

/** How often each method was called. */
export const countRpcs = (rpcs: ReadonlyArray<Rpc>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { method } of rpcs) counts[method] = (counts[method] ?? 0) + 1
  return counts
}

/** The longest chain of RPCs of which each began after the one before had ended. */
export const countRounds = (rpcs: ReadonlyArray<Rpc>): number => {
  let rounds = 0
  let free = -1
  for (const { end, start } of rpcs.toSorted((a, b) => a.end - b.end)) {
    if (start < free) continue
    rounds++
    free = end
  }
  return rounds
}

/** The plain API has no `close`, its generated client has. */
const clientOf = (datastore: Datastore): { readonly close: () => Promise<void> } | undefined =>
  (datastore as unknown as { readonly clients_: Map<string, { readonly close: () => Promise<void> }> }).clients_
    .get("DatastoreClient")
