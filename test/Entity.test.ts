import { assert, describe, it } from "@effect/vitest"
import { Equal, Hash } from "effect"
import * as Entity from "../src/Entity.ts"
import * as Key from "../src/Key.ts"

const key = Key.make("Thing", "x")

const problem = (properties: unknown, unindexed?: "all" | Iterable<string>) =>
  Entity.check(Entity.make(key, properties as Entity.Properties, { unindexed }))

/** A chain of `levels` nested entities below the property `a`. */
const nested = (levels: number): Entity.Value => levels === 0 ? 1 : { a: nested(levels - 1) }

describe("Entity.check", () => {
  it("accepts every kind of value", () => {
    assert.isUndefined(problem({
      nothing: null,
      yes: true,
      integer: -5,
      big: -(2n ** 63n),
      bigger: 2n ** 63n - 1n,
      fraction: 0.5,
      odd: [NaN, Infinity, -Infinity, -0, 2 ** 60],
      double: new Entity.Double(1),
      text: "\u{1f600}\0",
      blob: new Uint8Array([1, 2]),
      buffer: Buffer.from("abc"),
      at: Entity.TimestampValue.fromMillis(1.5),
      key,
      opaque: new Entity.Opaque("geoPoint", {}),
      empty: [],
      record: { empty: {}, list: [{ deep: "x" }] },
      bare: Object.assign(Object.create(null), { x: 1 })
    }))
  })

  it("names the property and the rule it breaks", () => {
    const wrong: ReadonlyArray<readonly [value: unknown, property: string, rule: string]> = [
      [undefined, "p", "cannot store undefined"],
      [() => 1, "p", "cannot store function"],
      [Symbol("s"), "p", "cannot store symbol"],
      [new Date(0), "p", "cannot store Date; make it an Entity.TimestampValue.fromMillis"],
      [new Map(), "p", "cannot store Map"],
      [new Float32Array(1), "p", "cannot store Float32Array"],
      [2n ** 63n, "p", "64 bits"],
      [-(2n ** 63n) - 1n, "p", "64 bits"],
      ["a\ud800", "p", "surrogate"],
      [new Entity.TimestampValue(253402300800000000n), "p", "years 1 and 9999"],
      [[1, [2]], "p[1]", "array directly"],
      [[1, { deep: [true, undefined] }], "p[1].deep[1]", "cannot store undefined"],
      [{ "": 1 }, "p.", "not empty"],
      [{ __x__: 1 }, "p.__x__", "reserved"],
      [{ "a\udc00": 1 }, "p.a\udc00", "surrogate"],
      [{ ["n".repeat(1_501)]: 1 }, `p.${"n".repeat(1_501)}`, "1500 bytes"]
    ]

    for (const [value, property, rule] of wrong) {
      const found = problem({ fine: 1, p: value })
      assert.strictEqual(found?.property, property)
      assert.include(found?.reason, rule)
    }
  })

  it("an indexed string or blob has at most 1,500 bytes, and the refusal says how to store more", () => {
    assert.isUndefined(problem({ p: "x".repeat(1_500), q: new Uint8Array(1_500) }))
    for (const value of ["x".repeat(1_501), "\u{1f600}".repeat(376), new Uint8Array(1_501)]) {
      const found = problem({ p: value })
      assert.strictEqual(found?.property, "p")
      assert.include(found?.reason, "at most 1500 bytes")
      assert.include(found?.reason, "unindexed")
      assert.isUndefined(problem({ p: value }, ["p"]))
      assert.isUndefined(problem({ p: value }, "all"))
    }
  })

  it("an unindexed string or blob has at most 1,048,487 bytes", () => {
    assert.isUndefined(problem({ p: "x".repeat(1_048_400) }, "all"))
    assert.include(problem({ p: new Uint8Array(1_048_488) }, "all")?.reason, "1048487 bytes, this one has 1048488")
    assert.include(problem({ p: "x".repeat(1_048_488) }, "all")?.reason, "1048487")
  })

  it("an entity has at most 1,048,572 bytes in all, and exactly that many are accepted", () => {
    const withBytes = (extra: number) => {
      const properties = { a: new Uint8Array(500_000), b: new Uint8Array(500_000), c: new Uint8Array(0) }
      const rest = Entity.maxEntityBytes - Entity.sizeBytes(Entity.make(key, properties))
      return problem({ ...properties, c: new Uint8Array(rest + extra) }, "all")
    }

    assert.isUndefined(withBytes(0))
    assert.strictEqual(withBytes(1)?.property, "")
    assert.include(withBytes(1)?.reason, "1048572 bytes, this one has 1048573")
  })

  it("nested entities have at most 20 levels", () => {
    assert.isUndefined(problem({ p: nested(20) }))
    assert.include(problem({ p: nested(21) })?.reason, "20 levels")
  })

  it("at most 20,000 values are indexed, however many are not", () => {
    const many = (count: number) => Array.from({ length: count }, () => 1)

    assert.isUndefined(problem({ p: many(20_000) }))
    assert.include(problem({ p: many(19_999), q: [{ r: many(2) }] })?.reason, "20000 indexed values, got 20001")
    assert.isUndefined(problem({ p: many(20_000), q: many(1_000) }, ["q"]))
  })
})

describe("Entity.isUnindexed", () => {
  it("a name covers its property, its array elements and all below it, and nothing beside it", () => {
    const flags = new Set(["a", "b.c"])

    for (const path of ["a", "a.x", "a.x.y", "b.c", "b.c.d"]) assert.isTrue(Entity.isUnindexed(flags, path))
    for (const path of ["b", "b.x", "ab", "c", "b.cd"]) assert.isFalse(Entity.isUnindexed(flags, path))
    assert.isTrue(Entity.isUnindexed("all", "anything"))
    assert.isFalse(Entity.isUnindexed(new Set(), "anything"))
  })

  it("a dotted name lets a long string through in a nested entity, also inside an array", () => {
    const long = "x".repeat(2_000)

    assert.isUndefined(problem({ a: { s: long }, b: [{ s: long }] }, ["a.s", "b.s"]))
    assert.strictEqual(problem({ a: { s: long, t: long } }, ["a.s"])?.property, "a.t")
    assert.strictEqual(problem({ b: [{ s: long }] }, ["a"])?.property, "b[0].s")
  })
})

describe("Entity.make", () => {
  it("indexes everything unless told otherwise, and keeps no hold of the names given", () => {
    const names = ["a"]
    const entity = Entity.make(key, { a: 1 }, { unindexed: names })
    names.push("b")

    assert.deepStrictEqual(entity.unindexed, new Set(["a"]))
    assert.deepStrictEqual(Entity.make(key, {}).unindexed, new Set())
    assert.strictEqual(Entity.make(key, {}, { unindexed: "all" }).unindexed, "all")
  })
})

describe("Entity.sizeBytes", () => {
  it("counts the key, 32 bytes, and names and values as the service does", () => {
    const size = (properties: Entity.Properties) =>
      Entity.sizeBytes(Entity.make(key, properties)) - Key.sizeBytes(key) - 32

    assert.strictEqual(size({}), 0)
    assert.strictEqual(size({ ab: null, cd: true }), 2 * (3 + 1))
    assert.strictEqual(
      size({ i: 1, b: 5n, d: 0.5, f: new Entity.Double(1), t: new Entity.TimestampValue(0n) }),
      5 * (2 + 8)
    )
    assert.strictEqual(size({ s: "\u00e9\u{1f600}" }), 2 + 6 + 1)
    assert.strictEqual(size({ b: new Uint8Array(10) }), 2 + 10)
    assert.strictEqual(size({ k: key }), 2 + Key.sizeBytes(key))
    assert.strictEqual(size({ l: ["ab", 1, []] }), 2 + 3 + 8)
    assert.strictEqual(size({ r: { x: 1 } }), 2 + 32 + 2 + 8)
  })
})

describe("Entity values", () => {
  it("Double, TimestampValue and Opaque are equal by value", () => {
    const pairs: ReadonlyArray<readonly [unknown, unknown, unknown]> = [
      [new Entity.Double(1), new Entity.Double(1), new Entity.Double(2)],
      [new Entity.Double(NaN), new Entity.Double(NaN), new Entity.Double(0)],
      [new Entity.TimestampValue(5n), new Entity.TimestampValue(5n), new Entity.TimestampValue(6n)],
      [new Entity.Opaque("k", { a: [1] }), new Entity.Opaque("k", { a: [1] }), new Entity.Opaque("k", { a: [2] })]
    ]

    for (const [value, same, other] of pairs) {
      assert.isTrue(Equal.equals(value, same))
      assert.strictEqual(Hash.hash(value), Hash.hash(same))
      assert.isFalse(Equal.equals(value, other))
    }
    assert.isFalse(Equal.equals(new Entity.Double(0), new Entity.Double(-0)))
  })

  it("a TimestampValue keeps microseconds, also before the epoch", () => {
    assert.strictEqual(Entity.TimestampValue.fromMillis(1.234).micros, 1_234n)
    assert.strictEqual(Entity.TimestampValue.fromMillis(-0.001).micros, -1n)
    assert.strictEqual(new Entity.TimestampValue(1_500n).millis, 1.5)
  })

  it("isRecord tells plain records from everything else", () => {
    assert.isTrue(Entity.isRecord({}))
    assert.isTrue(Entity.isRecord(Object.create(null)))
    for (const other of [null, [], key, new Date(0), new Entity.Double(1), new Uint8Array(1), "x"]) {
      assert.isFalse(Entity.isRecord(other))
    }
  })
})

describe("Entity.sameValue", () => {
  // Groups of spellings: the same stored value inside a group, different ones across groups.
  const groups: ReadonlyArray<ReadonlyArray<Entity.Value>> = [
    [null],
    [false],
    [0, 0n],
    [-0, new Entity.Double(-0)],
    [new Entity.Double(0)],
    [1, 1n],
    [new Entity.Double(1)],
    [1.5, new Entity.Double(1.5)],
    [NaN, new Entity.Double(NaN)],
    [2n ** 53n],
    [2 ** 53, new Entity.Double(2 ** 53)],
    ["1"],
    [new Uint8Array([1]), Buffer.from([1])],
    [new Uint8Array([2])],
    [new Uint8Array([1, 0])],
    [new Entity.TimestampValue(1n), new Entity.TimestampValue(1n)],
    [key, Key.make("Thing", "x")],
    [[]],
    [[1, { a: 1.5 }], [1n, { a: new Entity.Double(1.5) }]],
    [[1]],
    [{}, Object.create(null) as Entity.Properties],
    [{ a: 1, b: [0] }, { b: [0n], a: 1 }],
    [{ a: 1, b: [-0] }],
    [{ a: 1 }],
    [{ a: 1, c: null }]
  ]

  it("holds exactly for spellings of one stored value", () => {
    const all = groups.flatMap((group, index) => group.map((value) => ({ value, index })))

    for (const left of all) {
      for (const right of all) {
        assert.strictEqual(
          Entity.sameValue(left.value, right.value),
          left.index === right.index,
          `groups ${left.index} and ${right.index}`
        )
      }
    }
  })

  it("canonicalScalar gives every spelling of a scalar one form", () => {
    for (const group of groups) {
      for (const value of group) {
        if (Array.isArray(value) || Entity.isRecord(value) || value instanceof Uint8Array || Key.isKey(value)) continue
        assert.deepStrictEqual(Entity.canonicalScalar(value), Entity.canonicalScalar(group[0]!))
      }
    }
    assert.strictEqual(Entity.canonicalScalar(new Entity.Double(0.5)), 0.5)
    assert.deepStrictEqual(Entity.canonicalScalar(new Entity.Double(7)), new Entity.Double(7))
    assert.strictEqual(Entity.canonicalScalar(-7n), -7)
  })
})
