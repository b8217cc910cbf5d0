import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Equal, Hash, Schema } from "effect"
import { isChanged } from "../../src/eventbox/decision.ts"

const ignoresCase = (name: string) => ({
  name,
  [Equal.symbol](that: unknown) {
    return typeof that === "object" && that !== null && "name" in that &&
      String(that.name).toLowerCase() === this.name.toLowerCase()
  },
  [Hash.symbol]() {
    return Hash.string(this.name.toLowerCase())
  }
})

class Point extends Schema.Class<Point>("test/Point")({ x: Schema.Number }) {}

describe("whether a state changed", () => {
  const same: Readonly<Record<string, readonly [unknown, unknown]>> = {
    "records of equal scalars": [{ a: 1, b: "x" }, { b: "x", a: 1 }],
    "NaN in both": [{ a: Number.NaN }, { a: Number.NaN }],
    "zeros of both signs": [{ a: 0 }, { a: -0 }],
    "what is nested": [{ a: { b: [1, { c: true }] } }, { a: { b: [1, { c: true }] } }],
    "instances of a class": [new Point({ x: 1 }), new Point({ x: 1 })],
    "records that say themselves what is equal": [ignoresCase("A"), ignoresCase("a")]
  }
  it.each(Object.keys(same))("is told by value, and it did not: %s", (name) => {
    assert.isFalse(isChanged(...same[name]!))
  })

  const different: Readonly<Record<string, readonly [unknown, unknown]>> = {
    "a scalar": [{ a: 1, b: 2 }, { a: 1, b: 3 }],
    "a type": [{ a: 1 }, { a: "1" }],
    "a name more": [{ a: 1 }, { a: 1, b: undefined }],
    "a name less": [{ a: 1, b: 2 }, { a: 1 }],
    "a name of the prototype": [{ toString: "x" }, {}],
    "what is nested": [{ a: { b: [1, { c: true }] } }, { a: { b: [1, { c: false }] } }],
    "an instance of a class": [new Point({ x: 1 }), new Point({ x: 2 })]
  }
  it.each(Object.keys(different))("is told by value, and it did: %s", (name) => {
    assert.isTrue(isChanged(...different[name]!))
    assert.isTrue(isChanged(different[name]![1], different[name]![0]))
  })

  const Scalar = Schema.Union([Schema.Literals([0, 1, "", "a", true, false]), Schema.Null])
  const State = Schema.Record(Schema.Literals(["a", "b"]), Schema.Union([Scalar, Schema.Array(Scalar)]))
  it.effect.prop(
    "is what Equal says",
    [Arbitrary.schema(State), Arbitrary.schema(State)],
    ([one, other]) =>
      Effect.sync(() => {
        assert.strictEqual(isChanged(one, other), !Equal.equals(one, other))
      }),
    { arbitrary: { runs: 500 } }
  )
})
