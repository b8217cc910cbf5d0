import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Slab from "../../src/internal/slab.ts"

/** Around what is shared, and around a slab. */
const sizes = [0, 1, 63, 64, 65, 1_365, 1_366, 4_095, 4_096, 4_097, 16_384, 40_000]

describe("memory for small blobs", () => {
  it("is zeros, and nobody else's", () => {
    const blobs = Array.from({ length: 200 }, (_, index) => Slab.allocate(sizes[index % sizes.length]!))
    for (const [index, blob] of blobs.entries()) {
      assert.isTrue(blob.every((byte) => byte === 0))
      blob.fill(index % 255 + 1)
    }

    for (const [index, blob] of blobs.entries()) {
      assert.lengthOf(blob, sizes[index % sizes.length]!)
      assert.isTrue(blob.every((byte) => byte === index % 255 + 1))
    }
  })

  it.each(sizes)("is a copy of its own: %s bytes", (size) => {
    const original = Uint8Array.from({ length: size }, (_, index) => index % 251)
    const copy = Slab.copyBytes(original)
    const before = Uint8Array.from(original)

    original.fill(7)
    Slab.copyBytes(original)

    assert.deepStrictEqual(copy, before)
  })

  // Must catch: room for fewer bytes than a text may take, which cuts it off; lone surrogates that come out otherwise.
  const Text = Arbitrary.all([
    Arbitrary.schema(Schema.String),
    Arbitrary.schema(Schema.Literals(["", "x", "\u00fc", "\u20ac", "\u{1F600}", "\ud800"])),
    Arbitrary.schema(Schema.Literals([1, 10, 1_364, 1_365, 1_366, 4_096, 6_000]))
  ]).pipe(Arbitrary.map(([text, unit, times]) => text + unit.repeat(times)))
  it.effect.prop(
    "holds the UTF-8 of a text, as TextEncoder makes it",
    [Text, Text],
    ([one, other]) =>
      Effect.sync(() => {
        const first = Slab.encodeText(one)
        const second = Slab.encodeText(other)

        assert.deepStrictEqual(Array.from(first), Array.from(new TextEncoder().encode(one)))
        assert.deepStrictEqual(Array.from(second), Array.from(new TextEncoder().encode(other)))
      }),
    { arbitrary: { runs: 300, size: 30 } }
  )

  it("goes on after somebody has transferred it to a worker", () => {
    const blob = Slab.allocate(8)
    structuredClone(blob, { transfer: [blob.buffer as ArrayBuffer] })

    assert.deepStrictEqual(Array.from(Slab.encodeText("ab")), [97, 98])
    assert.lengthOf(Slab.allocate(8), 8)
  })
})
