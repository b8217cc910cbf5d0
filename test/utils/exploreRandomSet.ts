import { assert } from "@effect/vitest"
import { Clock, Effect } from "effect"
import * as Explore from "../../src/testing/Explore.ts"
import { type Draw, makeDraw } from "./exploreRandom.ts"
import { add, appliedInTheEnd, cleanUp, consume, delayMillis } from "./exploreSet.ts"

/** Adds an item, pops it, and adds it again as a late retry does. */
const hidden = (id: string) =>
  Effect.gen(function*() {
    const first = yield* Clock.currentTimeMillis
    yield* add(id, first)
    yield* consume()
    yield* add(id, first)
  })

const makeSetup = (draw: Draw) => {
  const ids = new Set<string>()
  const effects: Array<ReturnType<typeof hidden>> = []
  for (let left = 1 + draw(3); left > 0; left--) {
    const id = ["a", "m", "z"][draw(3)]!
    if (ids.has(id)) continue
    ids.add(id)
    effects.push(draw(2) === 0 ? add(id) : hidden(id))
    if (draw(3) === 0) effects.push(Effect.sleep(2 * delayMillis))
  }
  return { ids: Array.from(ids), setup: Effect.forEach(effects, (effect) => effect, { discard: true }) }
}

const makeAction = (draw: Draw) => {
  const maxItems = [1, 2, 10][draw(3)]!
  switch (draw(5)) {
    case 0:
      return consume({ always: true, maxItems })
    case 1:
      return cleanUp
    case 2:
      return Effect.andThen(add("new"), Explore.note("added"))
    default:
      return consume({ maxItems })
  }
}

const kinds: ReadonlyArray<Explore.Faults> = [
  {},
  { responseLost: true },
  { requestLost: true },
  { late: true },
  { crash: true },
  { responseLost: true, late: true }
]

/** Random consumers, emitters and cleaners of one set, with faults of a kind: each item is consumed once in the end. */
export const makeRandomSet = (seed: number) => {
  const draw = makeDraw(seed)
  const { ids, setup } = makeSetup(draw)
  const program = () =>
    Effect.ignore(Effect.forEach(Array.from({ length: 1 + draw(2) }, () => makeAction(draw)), (action) => action))
  const programs = Object.fromEntries(["one", "two", "three"].slice(0, 2 + draw(2)).map((name) => [name, program()]))
  return {
    setup,
    programs,
    faults: { ...kinds[draw(kinds.length)], max: 1 + draw(2) },
    processes: draw(4) === 0 ? { one: "same", two: "same" } : {},
    check: ({ notes }: Explore.History<Explore.Programs>) =>
      Effect.map(appliedInTheEnd([...ids, "new"]), (counts) => {
        const ofNew = counts[ids.length]!
        assert.deepStrictEqual(counts.slice(0, -1), ids.map(() => 1))
        assert.isAtMost(ofNew, 1)
        if (notes.some(({ note }) => note === "added")) assert.strictEqual(ofNew, 1)
      })
  }
}
