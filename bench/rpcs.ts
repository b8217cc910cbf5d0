/**
 * RPCs by method, counted where requests are handed to gRPC.
 */

/** How often each method was called. */
export type Rpcs = Record<string, number>

/** Counts one call. */
export const addRpc = (rpcs: Rpcs, method: string): void => {
  rpcs[method] = (rpcs[method] ?? 0) + 1
}

/** What was called after `before` was copied. */
export const rpcsSince = (rpcs: Readonly<Rpcs>, before: Readonly<Rpcs>): Rpcs =>
  Object.fromEntries(
    Object.entries(rpcs).map(([method, count]) => [method, count - (before[method] ?? 0)] as const)
      .filter(([, count]) => count > 0)
  )

/** Adds up several counts. */
export const sumRpcs = (all: ReadonlyArray<Readonly<Rpcs>>): Rpcs => {
  const sum: Rpcs = {}
  for (const rpcs of all) {
    for (const [method, count] of Object.entries(rpcs)) sum[method] = (sum[method] ?? 0) + count
  }
  return sum
}
