/**
 * A store with a large backlog that takes next to no memory of the process: its items are made when they are read, as
 * they are where they come over a network. All else is in memory.
 */
import { Effect, Option } from "effect"
import { type Backend, Key } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { ticks } from "./counter.ts"

/** What the operations of a store take, in ms. */
export interface Latency {
  readonly lookup: number
  readonly query: number
  readonly commit: number
}

/** About what the service takes from a machine beside it. */
export const serviceLatency: Latency = { lookup: 5, query: 10, commit: 20 }

/** A backend whose queries return `count` items of a recipient, the events that `ticks` makes. */
export const makeDeepStore = (parent: Key.Key, count: number, { commit, lookup, query }: Latency) =>
  Effect.map(InMemory.makeStore, (store): Backend.Backend => {
    const inner = store.backend
    const deleted = new Uint8Array(count)
    let firstLeft = 0
    const remove = (index: number): void => {
      deleted[index] = 1
      while (firstLeft < count && deleted[firstLeft] === 1) firstLeft++
    }
    const itemsFrom = (start: number, limit: number): ReadonlyArray<Backend.Snapshot> => {
      const found: Array<Backend.Snapshot> = []
      for (let index = Math.max(start, firstLeft); index < count && found.length < limit; index++) {
        if (deleted[index] === 0) found.push(itemOf(parent, index))
      }
      return found
    }
    return {
      lookup: (keys) => Effect.andThen(Effect.sleep(lookup), inner.lookup(keys)),
      query: ({ from, limit = count }) =>
        Effect.gen(function*() {
          yield* Effect.sleep(query)
          const after = from === undefined ? undefined : indexOf(from.key)
          return { results: itemsFrom(after === undefined ? 0 : after + (from!.inclusive ? 0 : 1), limit) }
        }),
      commit: ({ expected, mutations }) =>
        Effect.gen(function*() {
          yield* Effect.sleep(commit)
          const others = mutations.filter((mutation) => mutation._tag !== "Delete" || !isItem(mutation.key))
          yield* inner.commit({ mutations: others, expected: expected.filter(({ key }) => !isItem(key)) })
          for (const mutation of mutations) {
            if (mutation._tag === "Delete" && isItem(mutation.key)) remove(indexOf(mutation.key)!)
          }
        }),
      limits: inner.limits
    }
  })

const idOf = (index: number): string => `e${String(index).padStart(8, "0")}`

const isItem = (key: Key.Key): boolean => indexOf(key) !== undefined

/** Which item a key is of; of no item, when it is none that {@link idOf} made. */
const indexOf = ({ id, kind }: Key.Key): number | undefined =>
  kind === "dsset.Item" && typeof id === "string" && /^e\d{8}$/.test(id) ? Number(id.slice(1)) : undefined

const encoder = new TextEncoder()

const itemOf = (parent: Key.Key, index: number): Backend.Snapshot => {
  const key = Key.child(parent, "dsset.Item", idOf(index))
  const value = encoder.encode(JSON.stringify(ticks(index, 1)[0]))
  return {
    key,
    entity: Option.some({ key, properties: { Value: value, At: 1 }, unindexed: "all" }),
    version: BigInt(1)
  }
}
