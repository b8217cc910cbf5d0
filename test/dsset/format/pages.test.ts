import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Pages from "../../../src/dsset/format/pages.ts"
import { encode, idsOf, makePop, splitPop, tokenOf } from "../../../src/dsset/format/tombstones.ts"
import { compareUtf8 } from "../../../src/Key.ts"

const uuid = (time: number, last = 0) => {
  const digits = time.toString(16).padStart(12, "0")
  return `${digits.slice(0, 8)}-${digits.slice(8)}-7000-8000-${last.toString(16).padStart(12, "0")}`
}

/** Describes a page of one pop. */
const page = (number: number, atMillis: number, ...ids: ReadonlyArray<string>) => {
  const pops = [makePop("t", atMillis, ids)]
  return Pages.describe(number, pops, encode(pops))
}

const mayHit = (one: Pages.Page, ...ids: ReadonlyArray<string>) => Pages.probe(ids).mayHit(one)

describe("the bytes of a directory", () => {
  it("come back as they were written", () => {
    const pages = [
      page(3, 1_700_000_000_000, uuid(1_699_999_000_000), uuid(1_700_000_000_000)),
      page(4, 1_699_999_999_000, "a", uuid(0), uuid(2 ** 48 - 1)),
      page(70_000, 5),
      page(70_001, 2 ** 50, "only others")
    ]

    const { bytes } = Pages.make(pages, 70_002)

    assert.deepStrictEqual(Pages.decode(bytes), { pages, next: 70_002, bytes })
    assert.deepStrictEqual(Pages.decode(Pages.make([], 9).bytes)?.pages, [])
  })

  it("are 16 for each page of ids that the library drew, so that a head has room for 800", () => {
    const pages = Array.from({ length: 300 }, (_, n) => {
      const from = 1_700_000_000_000 + n * 1_000
      return page(1_000 + n, from + 1_200, uuid(from), uuid(from + 990))
    })

    assert.isAtMost(Pages.make(pages, 2_000).bytes.length, 300 * 12 + 20)
  })

  it("of another format, that were cut off, or whose numbers make no sense, do not decode", () => {
    const { bytes } = Pages.make([page(1, 10, uuid(5)), page(2, 20, "a")], 3)

    for (let size = 0; size < bytes.length; size++) {
      const decoded = Pages.decode(bytes.subarray(0, size))
      assert.isTrue(decoded === undefined || decoded.pages.length < 2, `${size} bytes`)
    }
    assert.isUndefined(Pages.decode(Uint8Array.of(2, ...bytes.subarray(1))))
    assert.isUndefined(Pages.decode(Pages.make([page(2, 1), page(2, 1)], 3).bytes))
    assert.isUndefined(Pages.decode(Pages.make([page(3, 1)], 3).bytes))
  })

  it.effect.prop(
    "decode or do not decode, and never throw or loop",
    [Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))))],
    ([bytes]) =>
      Effect.sync(() => {
        const decoded = Pages.decode(Uint8Array.from([1, ...bytes]))
        if (decoded !== undefined) assert.isTrue(decoded.pages.every(({ number }) => number < decoded.next))
      }),
    { arbitrary: { runs: 500, size: 40 } }
  )
})

describe("the description of a page", () => {
  it("has the newest time of its pops, and the times of all their UUIDs", () => {
    const pops = [makePop("1", 5, [uuid(30)]), makePop("2", 9, [uuid(10), "a"]), makePop("3", 7, [uuid(20)])]
    const bytes = encode(pops)

    const one = Pages.describe(4, pops, bytes)
    const other = Pages.describe(4, pops, encode(pops.slice(1)))

    assert.deepInclude(one, { number: 4, newestAtMillis: 9, times: { from: 10, to: 30 }, hasOthers: true })
    assert.notStrictEqual(one.check, other.check)
  })
})

describe("whether a page may hold one of some ids", () => {
  it("is told by the time of UUIDs, from the least to the greatest, both included", () => {
    const one = page(1, 0, uuid(100), uuid(200))

    assert.deepStrictEqual(
      [99, 100, 150, 200, 201].map((time) => mayHit(one, uuid(time, 7))),
      [false, true, true, true, false]
    )
    assert.isTrue(mayHit(one, uuid(1), uuid(300), uuid(120), uuid(90)))
    assert.isFalse(mayHit(one, uuid(1), uuid(300), uuid(90)))
    assert.isFalse(mayHit(one))
  })

  it("cannot be told for other ids, but they are not UUIDs", () => {
    assert.isTrue(mayHit(page(1, 0, "a"), "b"))
    assert.isFalse(mayHit(page(1, 0, "a"), uuid(5)))
    assert.isFalse(mayHit(page(1, 0, uuid(0xab)), "a", uuid(0xab).toUpperCase()))
    assert.isFalse(mayHit(page(1, 0), "a", uuid(5)))
  })

  const Ids = Schema.Array(Schema.Literals([uuid(1), uuid(2), uuid(3), uuid(3, 1), uuid(5), "a", "z", uuid(2 ** 47)]))

  // Must catch: any page that holds one of the ids and says no.
  it.effect.prop("is never denied of an id that it holds", [Ids, Ids], ([held, asked]) =>
    Effect.sync(() => {
      if (held.some((id) => asked.includes(id))) assert.isTrue(mayHit(page(1, 0, ...held), ...asked))
    }), { arbitrary: { runs: 300, size: 40 } })

  // Must catch: a page said to lie within ranges that do not cover all of its ids.
  it.effect.prop(
    "and it lies within ranges only if all of its ids do",
    [Ids, Ids],
    ([held, ends]) =>
      Effect.sync(() => {
        const [after, upTo] = [ends[0], ends[1]]
        const within = Pages.isWithin([{ after, upTo }], page(1, 0, ...held))
        const all = held.every((id) =>
          (after === undefined || compareUtf8(id, after) > 0) && (upTo === undefined || compareUtf8(id, upTo) <= 0)
        )
        if (within) assert.isTrue(all)
        if (after === undefined && upTo === undefined) assert.isTrue(within)
      }),
    { arbitrary: { runs: 300, size: 40 } }
  )

  it("and it lies within a range that ends beside it", () => {
    const one = page(1, 0, uuid(100), uuid(200, 5))
    const within = (after: string | undefined, upTo: string | undefined) => Pages.isWithin([{ after, upTo }], one)

    assert.isTrue(within(undefined, uuid(201)))
    assert.isTrue(within(uuid(99), undefined))
    assert.isFalse(within(uuid(100), undefined))
    assert.isFalse(within(undefined, uuid(200, 5)), "another id of that time may follow")
    assert.isTrue(Pages.isWithin([{ after: "x", upTo: undefined }, { after: uuid(99), upTo: uuid(201) }], one))
    assert.isTrue(Pages.isWithin([], page(1, 0)))
  })
})

describe("a pop that is too large for a page", () => {
  it("is split into pops with its token and time, in order and without loss", () => {
    const ids = Array.from({ length: 100 }, (_, n) => n % 3 === 0 ? uuid(n) : `id ${n}`)
    const pop = makePop("token", 7, ids)

    const parts = splitPop(pop, 200)

    assert.isAbove(parts.length, 4)
    for (const part of parts) {
      assert.isAtMost(part.bytes.length, 200)
      assert.deepStrictEqual([tokenOf(part), part.atMillis], ["token", 7])
    }
    assert.deepStrictEqual(parts.flatMap(idsOf), ids)
    assert.deepStrictEqual(splitPop(pop, pop.bytes.length), [pop])
  })
})
