import { assert, describe, it } from "@effect/vitest"
import type { Mutation } from "../../src/Backend.ts"
import { encode, makePop, type Pop } from "../../src/dsset/format/tombstones.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import { holdsTombstones, isPage, TombstonesOf } from "./self/tombstones.ts"

const parent = Key.make("Box", "r")
const headKey = Key.child(parent, "dsset.Tombstones", 1)
const pageKey = (number: number) => Key.child(parent, "dsset.TombstonesPage", number)

const put = (key: Key.Key, pops: ReadonlyArray<Pop>): Mutation => ({
  _tag: "Upsert",
  entity: Entity.make(key, { Pops: encode(pops) })
})

const first = makePop("one", 100, ["a", "b"])
const second = makePop("two", 200, ["c"])
const third = makePop("three", 300, ["d"])

describe("Tombstones, as the checker of a simulation sees them", () => {
  it("come with the head that first holds them, and go with the first that does not", () => {
    const tombstones = new TombstonesOf()

    const added = [first, second].map((_, at) => tombstones.land([put(headKey, [first, second].slice(0, at + 1))]))
    const erased = tombstones.land([put(headKey, [makePop("one", 100, ["b"]), third])])

    assert.deepStrictEqual(added.map((changes) => changes.added), [
      [{ token: "one", atMillis: 100, ids: ["a", "b"], isWhole: true }],
      [{ token: "two", atMillis: 200, ids: ["c"], isWhole: true }]
    ])
    assert.deepStrictEqual(added.map((changes) => changes.erased), [[], []])
    assert.deepStrictEqual(erased.added, [{ token: "three", atMillis: 300, ids: ["d"], isWhole: true }])
    assert.deepStrictEqual(erased.erased, [
      { token: "one", atMillis: 100, ids: ["a"], isWhole: false },
      { token: "two", atMillis: 200, ids: ["c"], isWhole: true }
    ])
    assert.strictEqual(tombstones.oldestMillis(), 100)
  })

  it("are none where only the token is kept", () => {
    const tombstones = new TombstonesOf()
    tombstones.land([put(headKey, [first, second])])

    const emptied = tombstones.land([put(headKey, [makePop("one", 100, []), second])])
    const oldest = tombstones.oldestMillis()
    const gone = tombstones.land([put(headKey, [second])])

    assert.deepStrictEqual(emptied.erased, [{ token: "one", atMillis: 100, ids: ["a", "b"], isWhole: false }])
    assert.strictEqual(oldest, 200)
    assert.deepStrictEqual(gone.erased, [{ token: "one", atMillis: 100, ids: [], isWhole: true }])
  })

  it("may move to pages, whole or in parts, and are not erased by that", () => {
    const tombstones = new TombstonesOf()
    tombstones.land([put(headKey, [first, second])])

    const moved = tombstones.land([
      put(pageKey(1), [makePop("one", 100, ["a"])]),
      put(pageKey(2), [makePop("one", 100, ["b"]), second]),
      put(headKey, [third])
    ])
    const back = [
      tombstones.land([put(headKey, [makePop("one", 100, ["b"]), third])]),
      tombstones.land([{ _tag: "Delete", key: pageKey(2) }])
    ]

    const added = [{ token: "three", atMillis: 300, ids: ["d"], isWhole: true }]
    assert.deepStrictEqual(moved, { added, erased: [], tokens: new Set<string>(), damaged: [] })
    assert.deepStrictEqual(back.map(({ erased }) => erased), [
      [],
      [{ token: "two", atMillis: 200, ids: ["c"], isWhole: true }]
    ])
  })

  it("that do not decode are damaged", () => {
    const entity = Entity.make(headKey, { Pops: new Uint8Array([9, 9]) })

    assert.deepStrictEqual(new TombstonesOf().land([{ _tag: "Upsert", entity }]).damaged, [headKey])
  })

  it("are in heads and pages alone, of which pages may be deleted", () => {
    const keys = [headKey, pageKey(1), Key.child(parent, "dsset.Item", "a")]

    assert.deepStrictEqual(keys.map(holdsTombstones), [true, true, false])
    assert.deepStrictEqual(keys.map(isPage), [false, true, false])
  })
})
