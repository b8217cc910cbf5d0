/**
 * Facts of the conformance suite about commits and reads at the same time.
 */
import * as Effect from "effect/Effect"
import type { Snapshot } from "../../Backend.ts"
import * as Key from "../../Key.ts"
import { holds, same } from "./checks.ts"
import type { Declare, Options } from "./fact.ts"
import { atOnce, flat, ids, leaf, outcome, retryLost, upsert, valueOf } from "./setting.ts"

/** States them. */
export const raceFacts = (declare: Declare, options: Options): void => {
  races(declare, options)
  contended(declare, options)
}

const races = (declare: Declare, { rounds }: Options): void => {
  declare.each(
    ["present", "absent"],
    (state) => `of two commits at once that expect one entity to be ${state}, exactly one lands`,
    function*(state, { backend, root }) {
      for (let round = 0; round < rounds; round++) {
        const key = Key.child(root, "Leaf", round + 1)
        if (state === "present") yield* upsert(backend, [leaf(key, 0)])
        const expected = yield* backend.lookup([key])

        const outcomes = yield* atOnce(
          [1, 2].map((value) =>
            outcome(backend.commit({ mutations: [{ _tag: "Upsert", entity: leaf(key, value) }], expected }))
          )
        )

        same(outcomes.toSorted(), ["Contention", "Success"])
        same((yield* backend.lookup([key])).map(valueOf), [outcomes.indexOf("Success") + 1])
      }
    }
  )

  // Write skew: each writes one entity and rests on the other, which it does not write. Where reads lock, each can end
  // the other; then one that tries again, without the other, lands.
  declare.each(
    ["present", "absent"],
    (state) =>
      `of two commits at once that rest on what the other writes, at most one lands, and else one that tries again: ${state}`,
    function*(state, { backend, root }) {
      for (let round = 0; round < rounds; round++) {
        const keys = ids("a", "b").map((id) => Key.make(...flat(root), "Round", round + 1, "Leaf", id))
        if (state === "present") yield* upsert(backend, keys.map((key) => leaf(key, 0)))
        const expected = yield* backend.lookup(keys)
        const commits = keys.map((key) =>
          backend.commit({ mutations: [{ _tag: "Upsert", entity: leaf(key, 1) }], expected })
        )
        const landed = Effect.map(backend.lookup(keys), (found) => found.filter((one) => valueOf(one) === 1).length)

        const outcomes = yield* atOnce(commits.map(outcome))

        const wins = outcomes.filter((one) => one === "Success").length
        holds(wins <= 1, "at most one of the two landed")
        same(yield* landed, wins)
        if (wins === 0) yield* retryLost(commits[0]!)
        same(yield* landed, 1)
      }
    }
  )
}

const contended = (declare: Declare, { rounds, tornReads }: Options): void => {
  declare.fact(
    "8 fibers that increment one counter with retries lose no increment",
    function*({ backend, root }) {
      const increment = Effect.gen(function*() {
        const expected = yield* backend.lookup([root])
        const entity = leaf(root, Number(valueOf(expected[0]!) ?? 0) + 1)
        yield* backend.commit({ mutations: [{ _tag: "Upsert", entity }], expected })
      }).pipe(retryLost)

      yield* atOnce(Array.from({ length: 8 }, () => Effect.repeat(increment, { times: 4 })))

      same((yield* backend.lookup([root])).map(valueOf), [40])
    }
  )

  if (tornReads) return
  declare.fact("readers see all of a commit or nothing of it", function*({ backend, root }) {
    const keys = ids("a", "b", "c").map((id) => Key.child(root, "Leaf", id))
    const write = (value: number) => upsert(backend, keys.map((key) => leaf(key, value)))
    yield* write(0)

    yield* atOnce([
      Effect.forEach(Array.from({ length: rounds }, (_, index) => index + 1), write),
      Effect.repeat(Effect.map(backend.lookup(keys), oneValue), { times: rounds }),
      Effect.repeat(
        Effect.map(backend.query({ kind: "Leaf", ancestor: root }), ({ results }) => oneValue(results)),
        { times: rounds }
      )
    ])
  })
}

const oneValue = (snapshots: ReadonlyArray<Snapshot>): void =>
  holds(new Set(snapshots.map(valueOf)).size === 1, "all values come from one commit")
