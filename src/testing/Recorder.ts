/**
 * Lists what a program asks of its database: operations in time order, sequential round trips, and what is billed.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import {
  type Backend,
  type CommitRequest,
  mutationKey,
  type Query,
  type QueryResult,
  type Snapshot
} from "../Backend.ts"
import * as Datastore from "../Datastore.ts"
import type { Key } from "../Key.ts"
import { gated } from "./virtual/gated.ts"

/**
 * One call of a backend, as it was asked for.
 *
 * @category models
 * @since 0.1.0
 */
export type Call =
  | { readonly operation: "lookup"; readonly keys: ReadonlyArray<Key> }
  | { readonly operation: "query"; readonly query: Query }
  | { readonly operation: "commit"; readonly request: CommitRequest }

/**
 * One operation that was recorded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly call: Call
  /** Id of the fiber that ran it. */
  readonly fiberId: number
  /** Place of its start and of its end among all starts and ends; the end is `Infinity` while it runs. */
  readonly start: number
  readonly end: number
  /** `Running`, `Success`, `Interrupted`, `Died`, `ContentionError`, or the reason of a `DatastoreError`. */
  readonly outcome: string
  /** Entities that a read found. */
  readonly found: number
}

/**
 * What the service would bill for operations that succeeded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Billed {
  /** One per key looked up, found or not; one per result of a query; one per keys-only query. */
  readonly reads: number
  /** One per inserted, upserted or updated entity. */
  readonly writes: number
  /** One per deleted key. */
  readonly deletes: number
  /** Expectations on keys that the commit does not write: on Google one more write or delete each. */
  readonly unwrittenExpectations: number
  /** Results of keys-only queries. */
  readonly smallOperations: number
}

/**
 * What was recorded between two moments.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** In the order of their starts. */
  readonly operations: ReadonlyArray<Operation>
  /** See {@link rounds}. */
  readonly rounds: number
  /** See {@link billed}. */
  readonly billed: Billed
}

/**
 * A backend that records what it is asked, and the record.
 *
 * @category services
 * @since 0.1.0
 */
export class Recorder extends Context.Service<Recorder, {
  readonly backend: Backend
  /** Everything since the start, or since the last `reset`. */
  readonly report: Effect.Effect<Report>
  /** Forgets what was recorded. */
  readonly reset: Effect.Effect<void>
  /** Runs an effect and reports the operations that started meanwhile, background work of that time included. */
  readonly during: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<readonly [A, Report], E, R>
}>()("eventbox/testing/Recorder") {}

/** Scheduler turns on the way to the backend, and as many on the way back. */
const turnsPerWay = 10

/**
 * Wraps a backend in a recorder.
 *
 * **Details**
 *
 * A backend in memory answers at once, so that nothing would ever overlap. Every recorded operation therefore takes 10
 * turns of the scheduler before and 10 after, a stand-in for a round trip that needs no clock: operations that are sent
 * together do overlap, and those that wait for each other do not.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (backend: Backend): Effect.Effect<Recorder["Service"]> =>
  Effect.sync(() => {
    let operations: Array<Operation> = []
    let marks = 0
    return {
      backend: gated(backend, (call, run) =>
        Effect.flatMap(Effect.fiberId, (fiberId) => {
          const list = operations
          const at = list.push({ call, fiberId, start: marks++, end: Infinity, outcome: "Running", found: 0 }) - 1
          return travel.pipe(
            Effect.andThen(run),
            Effect.ensuring(travel),
            Effect.onExit((exit) =>
              Effect.sync(() => {
                list[at] = { ...list[at]!, end: marks++, outcome: outcomeOf(exit), found: foundBy(call, exit) }
              })
            )
          )
        })),
      report: Effect.sync(() => reportOf(operations.slice())),
      reset: Effect.sync(() => {
        operations = []
      }),
      during: (effect) =>
        Effect.suspend(() => {
          const [list, from] = [operations, operations.length]
          return Effect.map(effect, (value) => [value, reportOf(list.slice(from))] as const)
        })
    }
  })

/**
 * Records what the provided `Datastore` is asked.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Datastore.Datastore | Recorder, never, Datastore.Datastore> = Layer.effectContext(
  Effect.gen(function*() {
    const { backend } = yield* Datastore.Datastore
    const recorder = yield* make(backend)
    const datastore = yield* Datastore.make(recorder.backend)
    return Context.make(Datastore.Datastore, datastore).pipe(Context.add(Recorder, recorder))
  })
)

/**
 * Counts sequential waits: the longest chain of operations each of which started after the one before had ended.
 *
 * **Details**
 *
 * Operations that are still running do not count: nobody has waited for them, as for the deletes of stored garbage.
 *
 * @category accessors
 * @since 0.1.0
 */
export const rounds = (operations: ReadonlyArray<Operation>): number => {
  // Taking the earliest end first gives a longest chain of disjoint intervals.
  let count = 0
  let free = -1
  const ended = operations.filter(({ outcome }) => outcome !== "Running")
  for (const { end, start } of ended.toSorted((a, b) => a.end - b.end)) {
    if (start < free) continue
    count++
    free = end
  }
  return count
}

/**
 * Counts what the service would bill for the operations that succeeded.
 *
 * **Details**
 *
 * Source: Firestore in Datastore mode, "Pricing". Free quotas, index entries and traffic are left out.
 *
 * @category accessors
 * @since 0.1.0
 */
export const billed = (operations: ReadonlyArray<Operation>): Billed => {
  let [reads, writes, deletes, unwrittenExpectations, smallOperations] = [0, 0, 0, 0, 0]
  for (const { call, found, outcome } of operations) {
    if (outcome !== "Success") continue
    if (call.operation === "lookup") {
      reads += call.keys.length
    } else if (call.operation === "query") {
      reads += call.query.keysOnly === true ? 1 : found
      smallOperations += call.query.keysOnly === true ? found : 0
    } else {
      const removed = call.request.mutations.filter(({ _tag }) => _tag === "Delete").length
      const written = new Set(call.request.mutations.map((mutation) => mutationKey(mutation).toString()))
      deletes += removed
      writes += call.request.mutations.length - removed
      unwrittenExpectations += call.request.expected.filter(({ key }) => !written.has(key.toString())).length
    }
  }
  return { reads, writes, deletes, unwrittenExpectations, smallOperations }
}

/**
 * The keys that a call names: those looked up, the ancestor of a query, those written by a commit.
 *
 * @category accessors
 * @since 0.1.0
 */
export const keysOf = (call: Call): ReadonlyArray<Key> => {
  switch (call.operation) {
    case "lookup":
      return call.keys
    case "query":
      return call.query.ancestor === undefined ? [] : [call.query.ancestor]
    case "commit":
      return call.request.mutations.map(mutationKey)
  }
}

/**
 * The kinds that a call is about, each once, in the order of its keys.
 *
 * @category accessors
 * @since 0.1.0
 */
export const kindsOf = (call: Call): ReadonlyArray<string> =>
  call.operation === "query" ? [call.query.kind] : Array.from(new Set(keysOf(call).map(({ kind }) => kind)))

/**
 * One line of text per operation, for the message of an assertion.
 *
 * @category string form
 * @since 0.1.0
 */
export const format = (operations: ReadonlyArray<Operation>): string =>
  operations.map(({ call, end, fiberId, found, outcome, start }) => {
    const count = call.operation === "query" ? `${found} found` : `${keysOf(call).length} keys`
    return `${start}-${end} fiber ${fiberId}: ${call.operation} ${kindsOf(call).join("+")}, ${count}, ${outcome}`
  }).join("\n")

const travel: Effect.Effect<void> = Effect.forEach(
  Array.from({ length: turnsPerWay }),
  () => Effect.yieldNow,
  { discard: true }
)

const reportOf = (operations: ReadonlyArray<Operation>): Report => ({
  operations,
  rounds: rounds(operations),
  billed: billed(operations)
})

/** How many entities a read found. */
const foundBy = (call: Call, exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isFailure(exit) || call.operation === "commit") return 0
  return call.operation === "query"
    ? (exit.value as QueryResult).results.length
    : (exit.value as ReadonlyArray<Snapshot>).filter(({ entity }) => entity._tag === "Some").length
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "Success"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail") return tagOf(reason.error)
  }
  return exit.cause.reasons.some(({ _tag }) => _tag === "Die") ? "Died" : "Interrupted"
}

/** The tag of a reason tells more than that of its error, except for contention. */
const tagOf = (error: unknown): string => {
  const { _tag, reason } = error as { readonly _tag?: string; readonly reason?: { readonly _tag: string } }
  return _tag === "DatastoreError" && reason !== undefined ? reason._tag : _tag ?? "Failure"
}
