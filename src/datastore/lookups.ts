/**
 * Merging of concurrent lookups into few RPCs.
 *
 * Lookups that are asked for in the same turn of the event loop become one RPC of at most 1,000 distinct keys. Three
 * traps are avoided here: the RPC runs in the layer's context, not in that of whoever asked first (else it would run
 * inside that fiber's transaction and span); one bad request does not fail the others; a requester that is interrupted
 * drops out alone.
 */
import type * as Arr from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import type { Backend, Snapshot } from "../Backend.ts"
import type { DatastoreError } from "../EventboxError.ts"
import type { Key } from "../Key.ts"

/** Keys in one RPC. Source: Datastore limits, "keys per lookup". */
export const maxLookupKeys = 1_000

/** What one merged lookup saw; `rpc` is the same object for all that came from one RPC. */
export interface Looked {
  readonly snapshots: ReadonlyArray<Snapshot>
  readonly rpc: object
}

/** A class, since what `Request.of` makes changes its prototype each time, which is slow. */
class Lookup extends Request.Class<{ readonly keys: ReadonlyArray<Key> }, Looked, DatastoreError> {}

type Entry = Request.Entry<Lookup>

/** The merged lookup of one layer. */
export interface Merged {
  /** The keys of one call, at most 1,000 and distinct, are one consistent read. */
  readonly lookup: (keys: ReadonlyArray<Key>) => Effect.Effect<Looked, DatastoreError>
  /** Ends all that is under way, as failed. */
  readonly failAll: (error: DatastoreError) => void
}

/** Makes the merged lookup of one layer. */
export const makeMerged = (backend: Backend, context: Context.Context<never>): Merged => {
  const underWay = new Map<ReadonlyArray<Entry>, Fiber.Fiber<unknown, unknown>>()
  const resolver = RequestResolver.makeWith<Lookup>({
    batchKey: () => backend,
    // Two turns: whoever starts beside the first requester may need one turn to get to its own lookup.
    delay: Effect.andThen(Effect.yieldNow, Effect.yieldNow),
    collectWhile: (entries) => entries.size < maxLookupKeys,
    runAll: (entries) =>
      Effect.withFiber((fiber) => {
        underWay.set(entries, fiber)
        return runGroups(backend, group(entries)).pipe(
          Effect.updateContext((_: Context.Context<never>) => context),
          Effect.onExit(() => {
            underWay.delete(entries)
            return Effect.void
          })
        )
      })
  })
  return {
    lookup: (keys) => Effect.request(new Lookup({ keys }), resolver),
    failAll: (error) => {
      for (const [entries, fiber] of underWay) {
        for (const entry of entries) entry.completeUnsafe(Exit.fail(error))
        fiber.interruptUnsafe()
      }
    }
  }
}

/** Splits requests into groups of at most 1,000 keys, each request whole in one group. */
const group = (entries: Arr.NonEmptyArray<Entry>): Array<Array<Entry>> => {
  const groups: Array<Array<Entry>> = []
  let room = 0
  for (const entry of entries) {
    const size = entry.request.keys.length
    if (size > room || groups.length === 0) {
      groups.push([])
      room = maxLookupKeys
    }
    groups[groups.length - 1]!.push(entry)
    room -= size
  }
  return groups
}

/** Runs groups at once; a single one needs no fiber of its own. */
const runGroups = (backend: Backend, groups: ReadonlyArray<ReadonlyArray<Entry>>): Effect.Effect<void> =>
  groups.length === 1
    ? runGroup(backend, groups[0]!)
    : Effect.forEach(groups, (part) => runGroup(backend, part), { concurrency: "unbounded", discard: true })

const runGroup = (backend: Backend, entries: ReadonlyArray<Entry>): Effect.Effect<void> =>
  Effect.flatMap(Effect.exit(lookup(backend, entries)), (exit) => {
    // A permanent failure may be the fault of one request: ask for each alone, so that only that one fails.
    if (Exit.isFailure(exit) && entries.length > 1 && !isTransient(exit)) {
      return runGroups(backend, entries.map((entry) => [entry]))
    }
    return Effect.sync(() => {
      for (const entry of entries) {
        entry.completeUnsafe(Exit.map(exit, (found) => ({
          snapshots: entry.request.keys.map((key) => found.get(key.toString())!),
          rpc: found
        })))
      }
    })
  })

const isTransient = (exit: Exit.Failure<unknown, DatastoreError>): boolean =>
  exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error.isRetryable)

const lookup = (
  backend: Backend,
  entries: ReadonlyArray<Entry>
): Effect.Effect<ReadonlyMap<string, Snapshot>, DatastoreError> => {
  const keys = new Map<string, Key>()
  for (const entry of entries) {
    for (const key of entry.request.keys) keys.set(key.toString(), key)
  }
  return Effect.map(backend.lookup(Array.from(keys.values())), (snapshots) => {
    const found = new Map<string, Snapshot>()
    for (const snapshot of snapshots) found.set(snapshot.key.toString(), snapshot)
    return found
  })
}
