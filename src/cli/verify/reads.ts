/**
 * Questions about reads: their order, their size; and about versions.
 */
import { Effect } from "effect"
import type { Backend, Snapshot } from "../../Backend.ts"
import type { ContentionError, DatastoreError } from "../../EventboxError.ts"
import * as Key from "../../Key.ts"
import { leaf, remove, upsert, valueOf } from "../../testing/conformance/setting.ts"
import { type Answer, doNotUse, ended, listed, type Question, writeMany } from "./question.ts"

type Failure = ContentionError | DatastoreError

const answer = (mistakes: ReadonlyArray<string>, yes: string): Answer =>
  mistakes.length === 0 ? { fits: true, said: `yes${yes}` } : { fits: false, said: `NO: ${listed(mistakes)}` }

const versions: Question = {
  id: "versions",
  title: "Do versions only grow, also over a deletion, and do lookups and queries agree on them?",
  assumed: "they do: a version that came back would let a stale commit land",
  otherwise: doNotUse("a commit could not tell a changed entity from an unchanged one"),
  ask: ({ backend, root }) =>
    Effect.gen(function*() {
      const key = Key.child(root, "Leaf", "a")
      const mistakes: Array<string> = []
      let last: Snapshot | undefined
      for (let value = 1; value <= 5; value++) {
        if (value === 3) yield* backend.commit({ mutations: [remove(key)], expected: [] })
        yield* upsert(backend, [leaf(key, value)])
        const [[looked], { results: [queried] }] = yield* Effect.all([
          backend.lookup([key]),
          backend.query({ kind: "Leaf", ancestor: root })
        ])
        if (looked!.version !== queried?.version) {
          mistakes.push(`a lookup said version ${looked!.version}, a query ${queried?.version ?? "nothing"}`)
        }
        if (last !== undefined && looked!.version <= last.version) {
          mistakes.push(`version ${last.version} was followed by ${looked!.version}`)
        }
        last = looked
      }
      return answer(mistakes, `, over 5 changes and a deletion; the last version is ${last!.version}`)
    })
}

const order: Question = {
  id: "order",
  title: "Is key order by UTF-8 bytes, with integers before names?",
  assumed: "it is, also for bounds and limits: a limited listing covers the events up to its last key",
  otherwise: doNotUse(
    "a limited listing would misjudge which events it has seen, and forget tombstones too early (E4)"
  ),
  ask: ({ backend, root }) =>
    Effect.gen(function*() {
      const ids = [1, 9, 10, 2 ** 40, BigInt(2) ** BigInt(62), "0", "1", "10", "9", "A", "a", "a\0", "a ", "aa"]
        .concat(["\u00e9", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uff5e", "\u{10000}", "\u{1f600}", "\u{10ffff}"])
      const keys = ids.map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, keys.toReversed().map((key) => leaf(key, 1)))
      const query = { kind: "Leaf", ancestor: root }
      const middle = Math.floor(keys.length / 2)
      const listings = [
        { what: "all", results: yield* backend.query(query), expected: keys },
        { what: "with a limit", results: yield* backend.query({ ...query, limit: 5 }), expected: keys.slice(0, 5) },
        {
          what: "with bounds",
          results: yield* backend.query({
            ...query,
            from: { key: keys[3]!, inclusive: false },
            to: { key: keys[middle]!, inclusive: true }
          }),
          expected: keys.slice(4, middle + 1)
        }
      ]
      const mistakes = listings.flatMap(({ expected, results: { results }, what }) => {
        const at = expected.findIndex((key, index) => results[index]?.key.toString() !== key.toString())
        if (at === -1 && results.length === expected.length) return []
        const place = at === -1 ? expected.length : at
        return [
          `${what}: place ${place + 1} holds ${shown(results[place]?.key)} and should hold ${shown(expected[place])}`
        ]
      })
      return answer(mistakes, `, for ${keys.length} ids, also with a limit and with bounds`)
    })
}

const shown = (key: Key.Key | undefined): string => key === undefined ? "nothing" : JSON.stringify(String(key.id))

// ---------------------------------------------------------------------------------------------------------------------
// Sizes
// ---------------------------------------------------------------------------------------------------------------------

const manyMutations = 501

const mutations: Question = {
  id: "mutations",
  title: "Does a commit take more than 500 mutations?",
  assumed: "there is no limit on their number; only commits that need not be atomic are split, at 500",
  otherwise:
    "Keep every commit at 500 mutations: give `maxEvents` so that a batch with all its side effects stays below " +
    "(3 for itself, 1 for each write or emit of a side effect), and write less in one transaction.",
  ask: ({ backend, root }) =>
    Effect.gen(function*() {
      const entities = Array.from({ length: manyMutations }, (_, index) => leaf(Key.child(root, "Leaf", index + 1), 1))
      const outcome = yield* ended(upsert(backend, entities))
      const stored = (yield* backend.query({ kind: "Leaf", ancestor: root, keysOnly: true })).results.length
      if (outcome === "Success" && stored === manyMutations) return { fits: true, said: `yes, ${manyMutations}` }
      return { fits: false, said: `NO: ${manyMutations} of them ended with ${outcome}, and ${stored} were stored` }
    })
}

const manyEntities = 1_000

const batches: Question = {
  id: "batches",
  title: "Is a listing of 1,000 entities complete, however many parts it comes in?",
  assumed: "a query is followed from part to part to its end or limit; each further part costs a round trip",
  otherwise: doNotUse("listings would miss events"),
  ask: ({ backend, root, rpcs }) =>
    Effect.gen(function*() {
      yield* writeMany(backend, root, "Leaf", manyEntities)
      const [all, queriesOfAll] = yield* counted(rpcs, "RunQuery", values(backend, root, undefined))
      const [some] = yield* counted(rpcs, "RunQuery", values(backend, root, 700))
      const [looked, lookups] = yield* counted(
        rpcs,
        "Lookup",
        Effect.map(
          backend.lookup(Array.from({ length: manyEntities }, (_, index) => Key.child(root, "Leaf", index + 1))),
          (found) => found.map(valueOf)
        )
      )
      const mistakes = [
        ...complete("a query", all, manyEntities),
        ...complete("a query with a limit of 700", some, 700),
        ...complete("a lookup", looked, manyEntities)
      ]
      return answer(mistakes, `; a query of 1,000 took ${parts(queriesOfAll)}, a lookup ${parts(lookups)}`)
    })
}

const parts = (count: number): string => count === 1 ? "1 RPC" : `${count} RPCs`

const values = (
  backend: Backend,
  root: Key.Key,
  limit: number | undefined
): Effect.Effect<ReadonlyArray<unknown>, Failure> =>
  Effect.map(backend.query({ kind: "Leaf", ancestor: root, limit }), ({ results }) => results.map(valueOf))

const counted = <A, E>(
  rpcs: (method: string) => number,
  method: string,
  effect: Effect.Effect<A, E>
): Effect.Effect<readonly [result: A, rpcs: number], E> =>
  Effect.suspend(() => {
    const before = rpcs(method)
    return Effect.map(effect, (result) => [result, rpcs(method) - before] as const)
  })

const complete = (what: string, found: ReadonlyArray<unknown>, expected: number): ReadonlyArray<string> => {
  if (found.length !== expected) return [`${what} returned ${found.length} of ${expected}`]
  return found.every((value, index) => value === index + 1) ? [] : [`${what} returned them in another order`]
}

/** In the order in which they are asked. */
export const readQuestions: ReadonlyArray<Question> = [versions, order, mutations, batches]
