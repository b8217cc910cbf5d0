import { assert, describe, it } from "@effect/vitest"
import { checkId } from "../../src/dsset/format/stored.ts"
import { advance, begin, isAtStart, type Sweep } from "../../src/dsset/sweep.ts"
import { compareUtf8 } from "../../src/Key.ts"

const version = (n: number) => BigInt(n)
const start: Sweep = {
  after: undefined,
  listings: 0,
  known: version(10),
  seen: version(10),
  arrivals: 0,
  leap: undefined
}

/** Items of a listing, each with the same version. */
const items = (at: number, ...ids: ReadonlyArray<string>) => ids.map((id) => ({ id, version: version(at) }))
const old = (...ids: ReadonlyArray<string>) => items(5, ...ids)
const newer = (...ids: ReadonlyArray<string>) => items(20, ...ids)

/** The sweep after full listings of these items. */
const after = (sweep: Sweep, ...listings: ReadonlyArray<ReturnType<typeof items>>): Sweep =>
  listings.reduce((before, seen) => advance(before, { items: seen, head: version(10), reachedEnd: false }), sweep)

const arrivals = (from: number, count = 4) =>
  Array.from({ length: count }, (_, n) => newer(`id-${from + n}`, `id-${from + n}x`))

describe("a sweep", () => {
  it("begins with the newest version that was seen, of the head or of an item, as what it knows", () => {
    const table = [
      [0, 0, undefined],
      [0, 7, 7],
      [9, 7, 9],
      [7, 9, 9]
    ] as const
    for (const [seen, head, known] of table) {
      const sweep = begin(version(seen), version(head))
      assert.deepStrictEqual(
        [sweep.after, sweep.listings, sweep.known, sweep.seen],
        [undefined, 0, known === undefined ? undefined : version(known), version(Math.max(seen, head))]
      )
    }
  })

  it("goes on after the last item of a full listing, and is over at the end of the range or when nothing is left", () => {
    assert.strictEqual(after(start, old("a", "b")).after, "b")
    assert.isUndefined(advance(start, { items: old("a"), head: version(10), reachedEnd: true }).after)
    assert.isUndefined(advance(start, { items: [], head: version(10), reachedEnd: false }).after)
    assert.deepStrictEqual(
      [undefined, start, { ...start, after: "a" }].map((sweep) => isAtStart({ sweep })),
      [true, true, false]
    )
  })

  it("remembers the newest version that it saw, for the next one", () => {
    const one = after(start, [...old("a"), ...items(30, "b")])
    const two = advance(one, { items: items(25, "c"), head: version(40), reachedEnd: false })

    assert.deepStrictEqual([one.seen, two.seen, two.known], [version(30), version(40), version(10)])
  })

  it("of a set that was never popped takes what it saw in 20 listings for what there was", () => {
    const unknown = begin(version(0), version(0))
    const seen = (n: number) => items(n + 1, `id-${n}`)
    let sweep = unknown
    for (let n = 0; n < 20; n++) {
      sweep = advance(sweep, { items: seen(n), head: version(0), reachedEnd: false })
      assert.isUndefined(sweep.known)
    }

    assert.strictEqual(advance(sweep, { items: seen(20), head: version(0), reachedEnd: false }).known, version(20))
    // Once it was popped, its head tells.
    assert.strictEqual(advance(unknown, { items: seen(1), head: version(3), reachedEnd: false }).known, version(3))
  })
})

describe("a full listing that holds nothing but arrivals", () => {
  it("leaps over what begins like it, from the third on", () => {
    const three = after(start, ...arrivals(1_000, 2), newer("id-1003", "id-1004"))
    assert.strictEqual(after(start, ...arrivals(1_000, 2)).after, "id-1001x")
    assert.isTrue(three.after!.endsWith("\u{10FFFF}"))
    assert.isTrue(compareUtf8(three.after!, "id-1004") > 0)
  })

  it("leaps after six items at least: few may all be arrivals by chance", () => {
    const ones = Array.from({ length: 6 }, (_, n) => newer(`id-${n}`))
    assert.strictEqual(after(start, ...ones.slice(0, 5)).after, "id-4")
    assert.isTrue(after(start, ...ones).after!.endsWith("\u{10FFFF}"))
  })

  it("does not leap when one item of it was there before the sweep began", () => {
    const sweep = after(start, ...arrivals(1_000, 5))
    assert.strictEqual(after(sweep, [...newer("id-3", "id-4"), ...old("id-5")]).after, "id-5")
    assert.strictEqual(after(sweep, [...items(10, "id-3"), ...newer("id-4")]).after, "id-4", "known is inclusive")
  })

  it("leaps the further the more often, until the sweep is over", () => {
    let sweep = after(start, ...arrivals(1_000, 2))
    const kept: Array<number> = []
    for (let n = 0; sweep.after !== undefined; n++) {
      assert.isBelow(n, 12)
      sweep = after(sweep, newer(`0190a2b4-c6d8-7eaf-b012-34567890000${n}`, `0190a2b4-c6d8-7eaf-b012-34567890000${n}`))
      if (sweep.after !== undefined) kept.push(sweep.after.length - 2)
    }
    assert.deepStrictEqual(kept, [35, 26, 19, 14, 10, 7, 5, 3, 2, 1])
  })

  // Or a few clusters of arrivals would end a sweep before it has been at the old items between and behind them.
  it("leaps as short a way, and as late, as at first once an item was met that was there before", () => {
    const twice = after(start, ...arrivals(1_000, 4))
    const met = after(twice, old("id-2000"))

    assert.strictEqual(twice.leap, 5)
    assert.deepStrictEqual([met.after, met.leap], ["id-2000", undefined])
    assert.strictEqual(after(met, ...arrivals(3_000, 3)).leap, 7)
  })

  it("leaps behind its own last item, wherever its ids differ", () => {
    const tables = [["a", "z"], ["", "a"], ["x1", "x2"], ["same", "same1"], ["\u{1F600}a", "\u{1F601}a"], ["üa", "ﬀb"]]
    for (const [first, last] of tables) {
      const sweep = after(start, ...arrivals(1, 2), newer(first!, last!))
      const leapt = sweep.after === undefined || compareUtf8(sweep.after, last!) > 0 && sweep.after.isWellFormed()
      assert.isTrue(leapt, JSON.stringify([first, last, sweep.after]))
    }
  })

  it("ends the sweep when its ids have no character to spare", () => {
    for (const [first, last] of [["a", "b"], ["a", "\u{1F600}"]] as const) {
      assert.isUndefined(after(start, ...arrivals(1, 2), newer(first, last)).after)
    }
  })

  it("leaps to what is an id, however long the ids are", () => {
    for (const filler of ["x", "ü", "\u{20AC}", "\u{1F600}"]) {
      const common = filler.repeat(Math.floor(1_496 / new TextEncoder().encode(filler).length))
      for (const end of ["0001", "001", "01", "1", ""]) {
        for (let length = common.length; length > common.length - 4; length--) {
          const id = `${common.slice(0, length).replace(/[\uD800-\uDBFF]$/, "")}${end}`
          if (checkId(id) !== undefined) continue
          const sweep = after(start, ...arrivals(1, 2), newer(id, id))
          assert.isUndefined(checkId(sweep.after), `${filler} ${length} ${end}`)
          assert.isTrue(compareUtf8(sweep.after!, id) > 0)
        }
      }
    }
  })
})
