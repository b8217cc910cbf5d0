/**
 * Values that every backend stores exactly, and entities that none stores: the tables of the conformance suite.
 */
import * as Entity from "../../Entity.ts"
import * as Key from "../../Key.ts"

const big = (exponent: number, plus = 0) => BigInt(2) ** BigInt(exponent) + BigInt(plus)

/** Every kind of value, and its borders; each is read back exactly as it is written here. */
export const exact: Readonly<Record<string, Entity.Value>> = {
  "null": null,
  "booleans": [true, false],
  "safe integers": [0, 1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
  "integers beyond 2^53": [big(53), -big(53), big(63, -1), -big(63)],
  "whole doubles": [new Entity.Double(1), new Entity.Double(0), new Entity.Double(-7), new Entity.Double(2 ** 53 - 1)],
  "doubles that no integer equals": [0.1, -1.5, 1e300, 5e-324, 2 ** 53, -(2 ** 60)],
  "not a number": NaN,
  "minus zero": -0,
  "infinities": [Infinity, -Infinity],
  "strings": ["", "a", "\0", "\u00e9\uff5e\u{1f600}", "\u2028\n\"\\", "x".repeat(1_500)],
  "timestamps": [BigInt(0), BigInt(1), -BigInt(1), BigInt("1700000000123456"), BigInt("-62135596800000000")]
    .map((micros) => new Entity.TimestampValue(micros)),
  "the last timestamp": new Entity.TimestampValue(BigInt("253402300799999999")),
  "blobs": [new Uint8Array(0), Uint8Array.from({ length: 256 }, (_, index) => index)],
  "keys": [Key.make("A", 1), Key.make("A", "x/\"y\"", "B", big(62)), Key.make("\u{1f600}", "\uff5e")],
  "an empty array": [],
  "a mixed array": [
    1,
    "a",
    null,
    new Entity.Double(2),
    new Uint8Array([0]),
    { a: [1] },
    new Entity.TimestampValue(big(40))
  ],
  "an empty nested entity": {},
  "nested entities": { a: { b: { c: [{ d: -0 }, { d: big(60) }] } }, "odd name, \u{1f600}": [] }
}

/** Other spellings of a stored value, and the form in which it is read. */
export const spellings: ReadonlyArray<readonly [written: Entity.Value, read: Entity.Value]> = [
  [BigInt(5), 5],
  [new Entity.Double(1.5), 1.5],
  [new Entity.Double(-0), -0],
  [new Entity.Double(NaN), NaN],
  [Buffer.from("abc"), new Uint8Array([97, 98, 99])],
  [[BigInt(1), { a: new Entity.Double(0.5) }], [1, { a: 0.5 }]]
]

/** Entities that no backend stores. */
export const unstorable: Readonly<Record<string, (root: Key.Key) => Entity.Entity>> = {
  "undefined": (root) => Entity.make(root, { p: undefined as unknown as null }),
  "a Map": (root) => Entity.make(root, { p: { q: new Map() as unknown as null } }),
  "an integer of 65 bits": (root) => Entity.make(root, { p: big(63) }),
  "a lone surrogate": (root) => Entity.make(root, { p: "a\ud800" }),
  "an array in an array": (root) => Entity.make(root, { p: [[1]] as unknown as ReadonlyArray<Entity.Value> }),
  "an indexed string of 1,501 bytes": (root) => Entity.make(root, { p: "\u00e9".repeat(750) + "x" }),
  "an indexed blob of 1,501 bytes": (root) => Entity.make(root, { p: new Uint8Array(1_501) }),
  "an indexed long string beside an unindexed one": (root) =>
    Entity.make(root, { a: "x".repeat(1_501), p: "x".repeat(1_501) }, { unindexed: ["a"] }),
  "a blob of 1,048,488 bytes": (root) => Entity.make(root, { p: new Uint8Array(1_048_488) }, { unindexed: "all" }),
  "an entity of more than 1 MiB": (root) =>
    Entity.make(root, { p: new Uint8Array(600_000), q: new Uint8Array(600_000) }, { unindexed: "all" }),
  "a reserved property name": (root) => Entity.make(root, { __p__: 1 }),
  "an empty name in the key": (root) => Entity.make(Key.childUnsafe(root, "Leaf", ""), {}),
  "a reserved kind in the key": (root) => Entity.make(Key.childUnsafe(root, "__Leaf__", 1), {}),
  "a name of 1,501 bytes in the key": (root) => Entity.make(Key.childUnsafe(root, "Leaf", "x".repeat(1_501)), {}),
  "a key of more than 6 KiB": (root) => {
    let key = root
    for (let level = 0; level < 5; level++) key = Key.childUnsafe(key, "Leaf", "x".repeat(1_400))
    return Entity.make(key, {})
  }
}
