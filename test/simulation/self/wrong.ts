import { Effect, Option } from "effect"
import { type Backend, type CommitRequest, type Mutation, mutationKey } from "../../../src/Backend.ts"
import { decode, encode, idsOf, makePop, type Pop, tokenOf } from "../../../src/dsset/format/tombstones.ts"
import type * as Entity from "../../../src/Entity.ts"
import type { DatastoreError } from "../../../src/EventboxError.ts"
import type * as Self from "./simulate.ts"

/*
 * Databases that are wrong in one way each, for a simulation that must find it out.
 */

/** A database that is wrong, and what must be said of it. */
export interface Wrong {
  readonly what: string
  /** What may be reported: each is what went wrong, as somebody else sees it. */
  readonly rules: ReadonlyArray<Self.SelfTestFailure["rule"]>
  readonly wrap: (database: Backend) => Backend
  /** Where it shows; `dense` unless given. */
  readonly options?: Self.Options
  /** Events of the smallest history at most; it is not looked for unless given. */
  readonly maxEvents?: number
}

/** Few processes that meet often, for histories of some hundred events. */
export const dense: Self.Options = {
  seed: 1,
  events: 1_000,
  recipients: 3,
  processes: 6,
  maxBurst: 20,
  maxEvents: 12,
  eventsPerDelay: 60
}

/** Ids that come back while the deletion of their first life is still under way. */
const reusing: Self.Options = {
  seed: 1,
  events: 2_000,
  recipients: 5,
  processes: 5,
  maxBurst: 5,
  eventsPerDelay: 20,
  tombstonesDelay: "3 seconds",
  maxSkew: 0,
  maxDeleteDelay: "9 seconds",
  pauseEvery: 0,
  lifetime: 0,
  deleteFaults: { requestLost: 0.3, delay: 1 },
  repeats: 0.6
}

const isPage = (key: { readonly kind: string }) => key.kind === "dsset.TombstonesPage"
const isHead = (key: { readonly kind: string }) => key.kind === "dsset.Tombstones"
const isDeletion = ({ mutations }: CommitRequest) => mutations.every(({ _tag }) => _tag === "Delete")
const isBatch = ({ mutations }: CommitRequest) =>
  mutations.some((mutation) => mutationKey(mutation).kind === "SimBatch")
const popsOf = (entity: Entity.Entity) => decode(entity.properties["Pops"] as Uint8Array)!

const changing = (change: (request: CommitRequest) => CommitRequest): Wrong["wrap"] => (database) => ({
  ...database,
  commit: (request) => database.commit(change(request))
})

const expectingLess = (isDropped: (kind: string) => boolean) =>
  changing((request) => ({ ...request, expected: request.expected.filter(({ key }) => !isDropped(key.kind)) }))

const withPops = (mutation: Mutation, change: (pops: ReadonlyArray<Pop>) => ReadonlyArray<Pop>): Mutation => {
  if (mutation._tag === "Delete" || !isHead(mutation.entity.key)) return mutation
  const { entity } = mutation
  const properties = { ...entity.properties, Pops: encode(change(popsOf(entity))) }
  return { ...mutation, entity: { ...entity, properties } }
}

/** What a batch expects of its items, as if it had seen what is there by now. */
const withItemsOfNow = (database: Backend, request: CommitRequest): Effect.Effect<CommitRequest, DatastoreError> => {
  const items = request.expected.filter(({ key }) => isBatch(request) && key.kind === "dsset.Item")
  if (items.length === 0) return Effect.succeed(request)
  return Effect.map(database.lookup(items.map(({ key }) => key)), (now) => ({
    ...request,
    expected: [...request.expected.filter((one) => !items.includes(one)), ...now]
  }))
}

/** Tombstones older than this are left out of every head that is written. */
const erasing = (maxAgeMillis: number) =>
  changing((request) => ({
    ...request,
    mutations: request.mutations.map((mutation) =>
      withPops(mutation, (pops) => pops.filter(({ atMillis }) => atMillis > pops.at(-1)!.atMillis - maxAgeMillis))
    )
  }))

/**
 * What LUCI's eventbox does: the tombstones are read again in the commit, an id that has one is popped anyway, and its
 * item is deleted whether or not it is there. What the commit meant to erase is older than the default delay.
 */
const poppingAnyway: Wrong["wrap"] = (database) => ({
  ...database,
  commit: (request) => {
    const head = request.mutations.map(mutationKey).find(isHead)
    if (head === undefined) return database.commit(request)
    return Effect.flatMap(database.lookup([head]), ([now]) => {
      const stored = Option.match(now!.entity, { onNone: () => [], onSome: popsOf })
      const merged = (pops: ReadonlyArray<Pop>) => {
        const known = new Set(pops.map(tokenOf))
        const others = stored.filter((pop) => !known.has(tokenOf(pop)))
        return [...others.filter(({ atMillis }) => atMillis > pops.at(-1)!.atMillis - 10_000), ...pops]
      }
      return Effect.flatMap(withItemsOfNow(database, request), ({ expected }) =>
        database.commit({
          mutations: request.mutations.map((mutation) => withPops(mutation, merged)),
          expected: expected.filter(({ key }) => !isHead(key))
        }))
    })
  }
})

const committingAgain = (on: "success" | "contention"): Wrong["wrap"] => (database) => ({
  ...database,
  commit: (request) => {
    const again = database.commit({ ...request, expected: [] })
    return on === "success"
      ? Effect.andThen(database.commit(request), Effect.ignore(again))
      : Effect.catchTag(database.commit(request), "ContentionError", () => isBatch(request) ? again : Effect.void)
  }
})

const everyHundredth = (answer: Effect.Effect<void>): Wrong["wrap"] => (database) => {
  let count = 0
  return { ...database, commit: (request) => ++count % 100 === 0 ? answer : database.commit(request) }
}

const padding = new Uint8Array(950 * 1_024)

export const wrong: ReadonlyArray<Wrong> = [
  {
    what: "ignores a failed pop, as LUCI does,",
    rules: ["Doubled"],
    wrap: poppingAnyway,
    maxEvents: 5
  },
  {
    what: "drops the expectation of the head",
    rules: ["Doubled", "Erased", "Outcome"],
    wrap: expectingLess((kind) => kind === "dsset.Tombstones"),
    maxEvents: 5
  },
  {
    what: "drops the expectation of the items that a batch consumes",
    rules: ["Atomicity", "Lost"],
    wrap: expectingLess((kind) => kind === "dsset.Item"),
    maxEvents: 5
  },
  {
    what: "ignores the versions of the items that a batch consumes",
    rules: ["Lost", "Doubled"],
    options: { ...dense, repeats: 0.6 },
    wrap: (database) => ({
      ...database,
      commit: (request) => Effect.flatMap(withItemsOfNow(database, request), database.commit)
    })
  },
  {
    what: "keeps the items that a batch consumes",
    rules: ["Atomicity"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.filter((one) => !isBatch(request) || one._tag !== "Delete" || isPage(one.key))
    })),
    maxEvents: 5
  },
  {
    what: "drops the expectation of the state",
    rules: ["Version"],
    wrap: expectingLess((kind) => kind === "SimBox")
  },
  {
    what: "drops the expectation of what a transaction has only read",
    rules: ["Version"],
    options: { ...dense, events: 5_000, recipients: 50, maxBurst: 5, maxEvents: 10, maxDelay: "1 second" },
    wrap: expectingLess((kind) => kind === "SimCounter")
  },
  {
    what: "erases tombstones too early",
    rules: ["Erased"],
    wrap: erasing(5_000),
    maxEvents: 40
  },
  {
    what: "erases tombstones whose items are stored",
    rules: ["Erased"],
    options: reusing,
    wrap: erasing(3_000)
  },
  {
    what: "commits a batch again blindly that has met contention",
    rules: ["Doubled", "Erased", "Version", "Atomicity"],
    wrap: committingAgain("contention"),
    maxEvents: 5
  },
  {
    what: "commits everything twice",
    rules: ["Doubled", "Erased", "Version"],
    wrap: committingAgain("success")
  },
  {
    what: "deletes an item that is newer than what was to be deleted",
    rules: ["Lost"],
    options: reusing,
    wrap: changing((request) => isDeletion(request) ? { ...request, expected: [] } : request),
    maxEvents: 100
  },
  {
    what: "writes tombstones of the time before",
    rules: ["Window"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.map((mutation) =>
        withPops(mutation, (pops) => pops.map((pop) => makePop(tokenOf(pop), pop.atMillis - 1, idsOf(pop))))
      )
    })),
    maxEvents: 5
  },
  {
    what: "forgets the token of the last but one pop",
    rules: ["Erased"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.map((mutation) => withPops(mutation, (pops) => pops.slice(-1)))
    })),
    maxEvents: 5
  },
  {
    what: "shows items younger than they are",
    rules: ["Repeated", "Window"],
    options: { ...dense, repeats: 0.6 },
    wrap: (database) => ({
      ...database,
      query: (query) =>
        Effect.map(database.query(query), ({ results }) => ({
          results: results.map((snapshot) => ({
            ...snapshot,
            entity: Option.map(snapshot.entity, (entity) => ({
              ...entity,
              properties: { ...entity.properties, At: Number(entity.properties["At"]) + 3_600_000 }
            }))
          }))
        }))
    })
  },
  {
    what: "loses a commit that it confirmed",
    rules: ["Lost", "Outcome"],
    wrap: everyHundredth(Effect.void)
  },
  {
    what: "does not write the state of a batch",
    rules: ["Atomicity"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.filter((mutation) => !isBatch(request) || mutationKey(mutation).kind !== "SimBox")
    }))
  },
  {
    what: "does not write the tombstones of a batch",
    rules: ["Atomicity"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.filter((mutation) => !isHead(mutationKey(mutation)))
    }))
  },
  {
    what: "writes half of a commit",
    rules: ["Atomicity", "Lost"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.slice(0, Math.ceil(request.mutations.length / 2))
    }))
  },
  {
    what: "stores more than an entity may have",
    rules: ["Limit"],
    wrap: changing((request) => ({
      ...request,
      mutations: request.mutations.map((mutation) =>
        mutation._tag === "Delete" || !isHead(mutation.entity.key)
          ? mutation
          : { ...mutation, entity: { ...mutation.entity, properties: { ...mutation.entity.properties, padding } } }
      )
    }))
  },
  {
    what: "hides some items",
    rules: ["Erased", "Unsettled"],
    wrap: (database) => ({
      ...database,
      query: (query) =>
        Effect.map(database.query(query), ({ results }) => ({
          results: query.ancestor === undefined ? results : results.filter(({ key }) => !String(key.id).endsWith("7"))
        }))
    })
  },
  {
    what: "stops answering",
    rules: ["Stuck"],
    wrap: (database) => {
      let count = 0
      return { ...database, query: (query) => ++count > 50 ? Effect.never : database.query(query) }
    }
  },
  {
    what: "is no database at all",
    rules: ["Died"],
    wrap: (database) => ({ ...database, lookup: () => Effect.die(new Error("boom")) })
  }
]
