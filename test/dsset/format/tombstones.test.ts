import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Tombstones from "../../../src/dsset/format/tombstones.ts"

const uuid = "0190a2b4-c6d8-7eaf-b012-3456789abcde"

const pop = (token: string, atMillis: number, ...ids: ReadonlyArray<string>) => Tombstones.makePop(token, atMillis, ids)

/** Pops with their ids as text. */
const shown = (pops: ReadonlyArray<Tombstones.Pop> | undefined) =>
  pops?.map((one) => [Tombstones.tokenOf(one), one.atMillis, Tombstones.idsOf(one)])

const keepNothing = () => false

describe("the bytes of the tombstones", () => {
  it("come back as they were written", () => {
    const pops = [
      [uuid, 0, []],
      ["t", 1_700_000_000_000, ["a", uuid, "ü\u{1F600}", "x".repeat(1_500)]],
      [uuid, Number.MAX_SAFE_INTEGER, ["\u{FEFF}bom", uuid.toUpperCase(), "b"]]
    ] as const

    const bytes = Tombstones.encode(pops.map(([token, atMillis, ids]) => pop(token, atMillis, ...ids)))

    assert.deepStrictEqual(shown(Tombstones.decode(bytes)), pops as unknown as ReturnType<typeof shown>)
    assert.deepStrictEqual(Tombstones.decode(Tombstones.encode([])), [])
  })

  it("hold a UUID in 17 bytes, and other text in its UTF-8 and its length", () => {
    const sizeOf = (id: string) => pop("t", 1, id).bytes.length - pop("t", 1, id).idsFrom

    assert.strictEqual(sizeOf(uuid), 17)
    assert.strictEqual(sizeOf(uuid.toUpperCase()), 37)
    assert.strictEqual(sizeOf(uuid.replace("-", "_")), 37)
    assert.strictEqual(sizeOf("ü"), 3)
    assert.strictEqual(sizeOf("x".repeat(200)), 202)
  })

  it("are as the table says", () => {
    const bytes = Tombstones.encode([pop("t", 300, "ab")])

    assert.deepStrictEqual(Array.from(bytes), [1, 1, 0x74, 0xac, 0x02, 3, 2, 0x61, 0x62])
  })

  it("of another format do not decode", () => {
    const bytes = Tombstones.encode([pop("t", 1, "a")])
    bytes[0] = 2

    assert.isUndefined(Tombstones.decode(bytes))
    assert.isUndefined(Tombstones.decode(new Uint8Array(0)))
  })

  it("that were cut off do not decode, wherever the cut is", () => {
    const bytes = Tombstones.encode([pop(uuid, 1_700_000_000_000, "a", uuid, "ccc")])

    for (let size = 2; size < bytes.length; size++) {
      assert.isUndefined(Tombstones.decode(bytes.subarray(0, size)), `${size} bytes`)
    }
  })

  it("that claim to be longer than they are do not decode, at once", () => {
    for (
      const length of [
        [0x80, 0x01],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
        Array.from({ length: 9 }, () => 0xff)
      ]
    ) {
      assert.isUndefined(Tombstones.decode(Uint8Array.from([1, 1, 0x74, 1, ...length])))
      assert.isUndefined(Tombstones.decode(Uint8Array.from([1, ...length])))
    }
  })

  // Must catch: lower-case check of UUIDs gone, lengths counted in UTF-16, a varint that loses bits above 32.
  const Text = Arbitrary.schema(Schema.NonEmptyString).pipe(Arbitrary.filter((text) => text.isWellFormed()))
  const Millis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))
  const Uuid = Arbitrary.schema(Schema.String.check(Schema.isUUID()))
  const Pops = Arbitrary.array(Arbitrary.all({
    token: Text,
    // Adding 0 makes the integer -0 a 0.
    atMillis: Arbitrary.schema(Millis).pipe(Arbitrary.map((n) => n + 0)),
    ids: Arbitrary.array(Arbitrary.all([Text, Uuid]).pipe(Arbitrary.map(([text, one]) => text.length % 2 ? text : one)))
  }))
  it.effect.prop("come back as they were written, whatever they are", [Pops], ([pops]) =>
    Effect.sync(() => {
      const bytes = Tombstones.encode(pops.map(({ atMillis, ids, token }) => pop(token, atMillis, ...ids)))

      assert.deepStrictEqual(
        shown(Tombstones.decode(bytes)),
        pops.map(({ atMillis, ids, token }) => [token, atMillis, ids])
      )
    }), { arbitrary: { runs: 300, size: 30 } })

  const Bytes = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))))
  // Must catch: a decoder that runs past the end, loops, or throws; ids that do so only when they are read.
  it.effect.prop("decode or do not decode, and never throw or loop", [Bytes], ([bytes]) =>
    Effect.sync(() => {
      const decoded = Tombstones.decode(Uint8Array.from([1, ...bytes]))
      if (decoded === undefined) return
      for (const one of decoded) Tombstones.idsOf(one)
      Tombstones.newestOf(decoded, ["a", uuid])
      assert.deepStrictEqual(Tombstones.decode(Tombstones.encode(decoded)), decoded)
    }), { arbitrary: { runs: 500, size: 40 } })

  it("whose ids are damaged are read without end neither as text nor as hashes", () => {
    const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]
    const bytes = Uint8Array.from([1, 1, 0x74, 1, huge.length, ...huge])

    const decoded = Tombstones.decode(bytes)

    for (const one of decoded ?? []) Tombstones.idsOf(one)
    assert.strictEqual(Tombstones.newestOf(decoded ?? [], ["a"]).size, 0)
  })
})

describe("the newest tombstone of an id", () => {
  it("is the one with the latest time, wherever it stands", () => {
    const pops = [pop("1", 10, "a", "b"), pop("2", 30, "a"), pop("3", 20, "a", "c", uuid)]

    const newest = Tombstones.newestOf(pops, ["a", "b", "missing", uuid])

    assert.deepStrictEqual(Object.fromEntries(newest), { a: 30, b: 10, [uuid]: 20 })
    assert.strictEqual(Tombstones.newestOf(pops, []).size, 0)
    assert.strictEqual(Tombstones.newestOf([], ["a"]).size, 0)
  })

  // "Aa" and "BB" have the same hash by 31, as do all words made of them.
  it("is not that of another id with the same hash", () => {
    const newest = Tombstones.newestOf([pop("1", 10, "AaBB", "BBAa")], ["AaAa", "BBBB", "BBAa"])

    assert.deepStrictEqual(Object.fromEntries(newest), { BBAa: 10 })
  })

  it("is found for a time of 0 too", () => {
    assert.strictEqual(Tombstones.newestOf([pop("1", 0, "a")], ["a"]).get("a"), 0)
  })
})

describe("a part of the key range", () => {
  it("has an exclusive beginning and an inclusive end", () => {
    const ranges = [{ after: "b", upTo: "d" }]

    assert.deepStrictEqual(
      ["a", "b", "c", "d", "e"].filter((id) => Tombstones.isCovered(ranges, id)),
      ["c", "d"]
    )
  })

  it("may be open at either end, and there may be several", () => {
    const ranges = [{ after: undefined, upTo: "b" }, { after: "d", upTo: undefined }]

    assert.deepStrictEqual(
      ["a", "b", "c", "d", "e"].filter((id) => Tombstones.isCovered(ranges, id)),
      ["a", "b", "e"]
    )
    assert.isFalse(Tombstones.isCovered([], "a"))
  })

  // U+FF5E is 3 bytes that begin with 0xEF, U+1F600 is 4 that begin with 0xF0; in UTF-16 the second begins with 0xD83D.
  it("is in the order of UTF-8 bytes, not of UTF-16 units", () => {
    assert.isTrue(Tombstones.isCovered([{ after: "\uFF5E", upTo: undefined }], "\u{1F600}"))
    assert.isFalse(Tombstones.isCovered([{ after: undefined, upTo: "\uFF5E" }], "\u{1F600}"))
  })
})

describe("erasing", () => {
  it("drops pops from before the moment, and keeps those from that very moment on", () => {
    const pops = [pop("1", 9, "a"), pop("2", 10, "b"), pop("3", 11, "c")]

    assert.deepStrictEqual(Tombstones.withoutExpired(pops, 10, keepNothing).map(Tombstones.tokenOf), ["2", "3"])
  })

  it("keeps of an expired pop the ids whose item may still be there", () => {
    const pops = [pop("1", 1, "a", "b", "c"), pop("2", 2, "d")]

    const left = Tombstones.withoutExpired(pops, 10, (id) => id === "b" || id === "d")

    assert.deepStrictEqual(shown(left), [["1", 1, ["b"]], ["2", 2, ["d"]]])
  })

  it("keeps the token of a pop that consumed nothing as long as its time does", () => {
    assert.deepStrictEqual(shown(Tombstones.withoutExpired([pop("1", 10), pop("2", 9)], 10, keepNothing)), [[
      "1",
      10,
      []
    ]])
  })
})
