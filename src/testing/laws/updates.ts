/**
 * The law `Updates`: what the side effects of one batch write to one entity adds up.
 */
import * as Effect from "effect/Effect"
import type * as Key from "../../Key.ts"
import * as InMemory from "../../layers/InMemory.ts"
import { type Batches, decideBits, eventsOf, landBits } from "./batches.ts"
import { broken } from "./broken.ts"
import type { Reached } from "./rig.ts"

/**
 * Looks at every pair of events that one batch consumes, where its side effects write an entity more than once: what is
 * there in the end must be what the two leave there in batches of their own, in one order or the other.
 */
export const checkUpdates = Effect.fnUntraced(function*(batches: Batches) {
  const { base } = batches
  for (const [one, two] of pairsOf(batches.events.length)) {
    const pair = one | two
    const together = yield* decideBits(batches, base, pair)
    const landed = together.consumed === pair ? yield* landBits(batches, together) : undefined
    if (landed === undefined || together.rewritten.size === 0) continue
    const ends = [yield* inTurn(batches, [one, two]), yield* inTurn(batches, [two, one])]
      .filter((end) => end !== undefined)
    for (const key of together.rewritten.values()) {
      const is = show(landed, key)
      if (ends.length === 0 || ends.some((end) => show(end, key) === is)) continue
      const summary = `the side effects of one batch write ${key} more than once, and what they write does not add up`
      const detail = [
        `together    ${is}`,
        ...ends.map((end, index) => `${index === 0 ? "one by one" : "        or"}  ${show(end, key)}`),
        "",
        "What a side effect changes it must read itself: what prepareMutation has read is old by then."
      ]
      return yield* broken("Updates", summary, detail, { state: base.text, events: eventsOf(batches, pair) })
    }
  }
})

const pairsOf = (count: number): ReadonlyArray<readonly [number, number]> => {
  const pairs: Array<readonly [number, number]> = []
  for (let one = 0; one < count; one++) {
    for (let two = one + 1; two < count; two++) pairs.push([1 << one, 1 << two])
  }
  return pairs
}

/** Where batches of one event each lead; `undefined` when one of them is not consumed. */
const inTurn = Effect.fnUntraced(function*(batches: Batches, order: ReadonlyArray<number>) {
  let reached = batches.base
  for (const event of order) {
    const decided = yield* decideBits(batches, reached, event)
    const landed = decided.consumed === event ? yield* landBits(batches, decided) : undefined
    if (landed === undefined) return undefined
    reached = landed
  }
  return reached
})

const show = ({ stored }: Reached, key: Key.Key): string => {
  const name = key.toString()
  const found = InMemory.entitiesOf(stored).find((snapshot) => snapshot.key.toString() === name)
  return found === undefined || found.entity._tag === "None"
    ? `${name} does not exist`
    : InMemory.formatEntity(found.entity.value)
}
