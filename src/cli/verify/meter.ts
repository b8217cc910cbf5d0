/**
 * Counts what a run costs, and keeps it within what was announced.
 */
import { Clock, Effect } from "effect"
import type { Backend, CommitRequest } from "../../Backend.ts"
import { mutationKey } from "../../Backend.ts"

/** Operations on entities, as Google bills them. */
export interface Cost {
  readonly reads: number
  readonly writes: number
  readonly deletes: number
}

/** Nothing. */
export const noCost: Cost = { reads: 0, writes: 0, deletes: 0 }

/** The sum of costs. */
export const addCosts = (costs: ReadonlyArray<Cost>): Cost =>
  costs.reduce((sum, { deletes, reads, writes }) => ({
    reads: sum.reads + reads,
    writes: sum.writes + writes,
    deletes: sum.deletes + deletes
  }), noCost)

/** An operation that would cost more than was announced; it is not sent. */
export class OverBoundError extends Error {
  override readonly name = "OverBoundError"
  constructor() {
    super("stopped: it would cost more than was announced")
  }
}

/** The three operations of a backend. */
export type Operation = "lookup" | "query" | "commit"

/** Counts for all backends of one run. */
export interface Meter {
  /** A backend whose operations are counted, and refused when they would exceed the bound. */
  readonly watch: (backend: Backend, unwritten: "noop" | "interactive") => Backend
  readonly spent: () => Cost
  /** The median time of an operation in milliseconds; `undefined` without one. */
  readonly medianMillis: (operation: Operation) => number | undefined
}

/** What a query without a limit, or with a large one, may return: more than any part of a run has stored. */
const maxResults = 2_200

/** Starts to count. Failed operations count in full, and what is not known before is reserved until it is. */
export const makeMeter = (bound: Cost): Meter => {
  let spent = noCost
  const times: Record<Operation, Array<number>> = { lookup: [], query: [], commit: [] }
  const within = ({ deletes, reads, writes }: Cost): boolean =>
    reads <= bound.reads && writes <= bound.writes && deletes <= bound.deletes
  const metered = <A, E>(
    operation: Operation,
    most: Cost,
    effect: Effect.Effect<A, E>,
    actual: (result: A) => Cost
  ): Effect.Effect<A, E> =>
    Effect.gen(function*() {
      const reserved = addCosts([spent, most])
      if (!within(reserved)) return yield* Effect.die(new OverBoundError())
      spent = reserved
      const start = yield* Clock.currentTimeNanos
      const result = yield* effect
      times[operation].push(Number((yield* Clock.currentTimeNanos) - start) / 1e6)
      spent = addCosts([spent, actual(result), negated(most)])
      return result
    })
  return {
    watch: (backend, unwritten) => ({
      limits: backend.limits,
      lookup: (keys) => metered("lookup", readsOf(keys.length), backend.lookup(keys), () => readsOf(keys.length)),
      query: (query) =>
        metered(
          "query",
          readsOf(Math.min(query.limit ?? maxResults, maxResults)),
          backend.query(query),
          ({ results }) =>
            // A query without results is billed as one read, and so is one for keys.
            readsOf(query.keysOnly === true ? 1 : Math.max(1, results.length))
        ),
      commit: (request) => {
        const cost = costOfCommit(request)
        // After a failure the backend may look up all its keys to explain it.
        const keys = request.mutations.length + request.expected.length
        const landed = unwritten === "interactive" ? request.expected.length : 0
        return metered(
          "commit",
          addCosts([cost, readsOf(keys)]),
          backend.commit(request),
          () => addCosts([cost, readsOf(landed)])
        )
      }
    }),
    spent: () => spent,
    medianMillis: (operation) => {
      const sorted = times[operation].toSorted((a, b) => a - b)
      return sorted[Math.floor(sorted.length / 2)]
    }
  }
}

const readsOf = (reads: number): Cost => ({ ...noCost, reads })

const negated = ({ deletes, reads, writes }: Cost): Cost => ({ reads: -reads, writes: -writes, deletes: -deletes })

/** An expectation on an entity that is not written costs a write, one on a missing entity a delete. */
const costOfCommit = ({ expected, mutations }: CommitRequest): Cost => {
  const written = new Set(mutations.map((mutation) => mutationKey(mutation).toString()))
  const unwritten = expected.filter(({ key }) => !written.has(key.toString()))
  const deletes = mutations.filter(({ _tag }) => _tag === "Delete").length +
    unwritten.filter(({ entity }) => entity._tag === "None").length
  return { reads: 0, writes: mutations.length + unwritten.length - deletes, deletes }
}
