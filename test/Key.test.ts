import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Equal, HashMap, Result, Schema } from "effect"
import * as Key from "../src/Key.ts"

// Characters on both sides of every border that matters: of ASCII, of UTF-8 lengths, of the surrogates, and of quoting.
const characters = [
  "\0",
  "\n",
  " ",
  "\"",
  ",",
  "/",
  "0",
  "A",
  "\\",
  "_",
  "a",
  "b",
  "\u007f",
  "\u0080",
  "\u07ff",
  "\u0800"
]
  .concat(["\u2028", "\ud7ff", "\ue000", "\uff5e", "\uffff", "\u{10000}", "\u{1f600}", "\u{10ffff}"])
const texts = Arbitrary.array(Arbitrary.schema(Schema.Literals(characters)), { minLength: 1, maxLength: 4 }).pipe(
  Arbitrary.map((chosen) => chosen.join("")),
  Arbitrary.filter((text) => !(text.startsWith("__") && text.endsWith("__")))
)
const integers = Arbitrary.schema(
  Schema.Literals([1, 2, 9, 10, 255, 256, Number.MAX_SAFE_INTEGER, 2n ** 53n, 2n ** 62n, 2n ** 63n - 1n])
)
const kinds = Arbitrary.schema(Schema.Literals(["A", "Ab", "b", "dsset.Item", "\u{1f600}", "\uff5e", "with space"]))
const elements = Arbitrary.all([kinds, texts, integers, Arbitrary.schema(Schema.Boolean)]).pipe(
  Arbitrary.map(([kind, name, integer, named]) => ({ kind, id: named ? name : integer }))
)
const keys = Arbitrary.array(elements, { minLength: 1, maxLength: 3 }).pipe(Arbitrary.map(Key.fromPath))

/** Order-preserving bytes of a key, after the format of sorted key-value stores: nothing shared with `Key.Order`. */
const orderedBytes = (key: Key.Key): Buffer => {
  const text = (value: string) =>
    Buffer.concat([
      Buffer.from(Array.from(Buffer.from(value, "utf8")).flatMap((byte) => byte === 0 ? [0, 0xff] : [byte])),
      Buffer.from([0, 1])
    ])
  const integer = (value: number | bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt(value))
    return bytes
  }
  return Buffer.concat(key.path.flatMap(({ id, kind }) => [
    Buffer.from([1]),
    text(kind),
    ...(typeof id === "string" ? [Buffer.from([2]), text(id)] : [Buffer.from([1]), integer(id)])
  ]))
}

const refusal = (result: Result.Result<unknown, Key.KeyError>): string => {
  if (Result.isSuccess(result)) return assert.fail(`${String(result.success)} should have been refused`)
  assert.instanceOf(result.failure, Key.KeyError)
  assert.strictEqual(result.failure._tag, "KeyError")
  assert.isFalse(result.failure.isRetryable)
  assert.include(result.failure.message, result.failure.reason)
  return result.failure.message
}

describe("Key", () => {
  it("a key knows its path, kind, id and parent", () => {
    const key = Key.make("Parent", 1, "Child", "x")

    assert.deepStrictEqual(key.path, [{ kind: "Parent", id: 1 }, { kind: "Child", id: "x" }])
    assert.strictEqual(key.kind, "Child")
    assert.strictEqual(key.id, "x")
    assert.isTrue(Equal.equals(key.parent, Key.make("Parent", 1)))
    assert.isUndefined(key.parent?.parent)
    assert.strictEqual(String(key), "Parent,1/Child,\"x\"")
    assert.strictEqual(JSON.stringify({ key }), "{\"key\":\"Parent,1/Child,\\\"x\\\"\"}")
  })

  it("equal paths are equal keys, whichever way they were made", () => {
    const parent = Key.make("Parent", 7)
    const same = [
      Key.make("Parent", 7, "Child", "x"),
      Key.make("Parent", 7n, "Child", "x"),
      Key.child(parent, "Child", "x"),
      Key.childUnsafe(parent, "Child", "x"),
      Key.fromPath([{ kind: "Parent", id: 7 }, { kind: "Child", id: "x" }]),
      Result.getOrThrow(Key.parse("Parent,7/Child,\"x\""))
    ]

    for (const key of same) {
      assert.isTrue(Equal.equals(key, same[0]))
      assert.strictEqual(Key.Order(key, same[0]!), 0)
      assert.isTrue(Equal.equals(key.parent, parent))
      assert.isTrue(HashMap.has(HashMap.make([same[0], true]), key))
    }
  })

  it("a name of digits is another key than the integer", () => {
    assert.isFalse(Equal.equals(Key.make("K", "1"), Key.make("K", 1)))
    assert.notStrictEqual(Key.make("K", "1").toString(), Key.make("K", 1).toString())
  })

  it("an integer id is a number where that is exact, and a bigint beyond", () => {
    assert.strictEqual(Key.make("K", 2n ** 53n - 1n).id, 2 ** 53 - 1)
    assert.strictEqual(Key.make("K", 2n ** 53n).id, 2n ** 53n)
  })

  it("isKey tells keys from anything else", () => {
    assert.isTrue(Key.isKey(Key.make("K", 1)))
    for (const other of [undefined, null, "K,1", { path: [{ kind: "K", id: 1 }] }]) assert.isFalse(Key.isKey(other))
  })

  it("a key lies within itself and its ancestors, and within nothing else", () => {
    const key = Key.make("A", 1, "B", "b", "C", 2)

    assert.isTrue(Key.isWithin(key, key))
    assert.isTrue(Key.isWithin(key, Key.make("A", 1)))
    assert.isTrue(Key.isWithin(key, Key.make("A", 1, "B", "b")))
    for (const other of [Key.make("A", "1"), Key.make("A", 1, "B", "bb"), Key.make("B", "b"), Key.child(key, "D", 1)]) {
      assert.isFalse(Key.isWithin(key, other))
    }
  })
})

describe("Key.Order", () => {
  it("sorts by UTF-8 bytes, integers before names, a parent before its children", () => {
    const inOrder = [
      Key.make("A", 9),
      Key.make("A", 9, "A", 1),
      Key.make("A", 10),
      Key.make("A", 2n ** 53n),
      Key.make("A", "1"),
      Key.make("A", "a"),
      Key.make("A", "a", "Z", "z"),
      Key.make("A", "a\0"),
      Key.make("A", "ab"),
      Key.make("A", "\uff5e"),
      Key.make("A", "\u{1f600}"),
      Key.make("AA", 1),
      Key.make("B", 1)
    ]

    // The emoji is the one that JavaScript's own order puts elsewhere.
    assert.deepStrictEqual(["\uff5e", "\u{1f600}"].toSorted(), ["\u{1f600}", "\uff5e"])
    for (let left = 0; left < inOrder.length; left++) {
      for (let right = 0; right < inOrder.length; right++) {
        assert.strictEqual(Key.Order(inOrder[left]!, inOrder[right]!), Math.sign(left - right) as -1 | 0 | 1)
      }
    }
  })

  // Must catch: UTF-16 order, names before integers, numbers compared as text, children before parents.
  it.prop("agrees with the order of an independent encoding", [keys, keys], ([a, b]) => {
    assert.strictEqual(Key.Order(a, b), Buffer.compare(orderedBytes(a), orderedBytes(b)))
    assert.strictEqual(Key.Order(b, a), -Key.Order(a, b) + 0)
  }, { arbitrary: { runs: 3_000, size: 40 } })

  it.prop("compareUtf8 agrees with Buffer.compare", [texts, texts], ([a, b]) => {
    assert.strictEqual(Key.compareUtf8(a, b), Buffer.compare(Buffer.from(a), Buffer.from(b)))
  }, { arbitrary: { runs: 2_000, size: 40 } })

  it.prop("utf8Bytes agrees with Buffer.byteLength", [texts], ([text]) => {
    assert.strictEqual(Key.utf8Bytes(text), Buffer.byteLength(text))
  }, { arbitrary: { runs: 500, size: 40 } })
})

describe("Key string form", () => {
  // Must catch: quoting that loses a character, a separator inside a name taken for one between elements.
  it.prop("goes there and back", [keys], ([key]) => {
    const back = Result.getOrThrow(Key.parse(Key.format(key)))
    assert.deepStrictEqual(back.path, key.path)
    assert.isTrue(Equal.equals(back, key))
  }, { arbitrary: { runs: 2_000, size: 40 } })

  it.prop("is the same for equal keys only", [keys, keys], ([a, b]) => {
    assert.strictEqual(Key.format(a) === Key.format(b), Buffer.compare(orderedBytes(a), orderedBytes(b)) === 0)
  }, { arbitrary: { runs: 2_000, size: 40 } })

  it("quotes names and unusual kinds", () => {
    assert.strictEqual(Key.format(Key.make("dsset.Item", "a/b,\"c\"\n")), "dsset.Item,\"a/b,\\\"c\\\"\\n\"")
    assert.strictEqual(Key.format(Key.make("my kind", 5)), "\"my kind\",5")
  })

  it("text that is no key is refused with the text and the position", () => {
    const at = (text: string) => refusal(Key.parse(text))

    assert.include(at(""), "position 0")
    assert.include(at("Run"), "position 0")
    assert.include(at("Run,r1"), "position 0")
    assert.include(at("Run,-1"), "position 0")
    assert.include(at("Run,1.5"), "position 0")
    assert.include(at("Run,\"r1"), "position 0")
    assert.include(at("Run,1/"), "position 6")
    assert.include(at("Run,1/Child"), "position 6")
    assert.include(at("Run,1 "), "position 0")
    assert.include(at("Run,\"\\x\""), "position 0")
    assert.include(at("Run,1/Child,oops"), JSON.stringify("Run,1/Child,oops"))
  })

  it("text that breaks a rule of keys is refused with the rule", () => {
    assert.include(refusal(Key.parse("Run,0")), "positive")
    assert.include(refusal(Key.parse("Run,9223372036854775808")), "2^63")
    assert.include(refusal(Key.parse("__kind__,1")), "reserved")
    assert.include(refusal(Key.parse("Run,\"\"")), "empty")
    assert.include(refusal(Key.parse("Run,\"\\ud800\"")), "surrogate")
  })

  it.effect("is the encoded form of the schema, which names the rule that a text breaks", () =>
    Effect.gen(function*() {
      const codec = Schema.toCodecJson(Schema.Struct({ key: Key.FromString }))
      const key = Key.make("Run", "r1", "Log", 2n ** 60n)

      const encoded = yield* Schema.encodeEffect(codec)({ key })
      const decoded = yield* Schema.decodeUnknownEffect(codec)(encoded)
      const error = yield* Effect.flip(Schema.decodeUnknownEffect(codec)({ key: "Run,0" }))

      assert.deepStrictEqual(encoded, { key: key.toString() })
      assert.isTrue(Equal.equals(decoded.key, key))
      assert.include(error.message, "an integer id is positive")
      assert.include(error.message, "key")
    }))
})

describe("Key rules", () => {
  const name = (text: unknown) => Key.makeResult("Kind", text as Key.Id)

  it("a name has 1 to 1,500 bytes of UTF-8", () => {
    assert.isTrue(Result.isSuccess(name("x".repeat(1_500))))
    assert.isTrue(Result.isSuccess(name("\u{1f600}".repeat(375))))
    assert.include(refusal(name("x".repeat(1_501))), "1500 bytes of UTF-8, got 1501")
    assert.include(refusal(name("\u{1f600}".repeat(376))), "got 1504")
    assert.include(refusal(name("")), "a name is not empty")
    assert.include(refusal(Key.makeResult("", 1)), "a kind is not empty")
    assert.include(refusal(Key.makeResult("k".repeat(1_501), 1)), "a kind has at most 1500 bytes")
  })

  it("names of the form __…__ and lone surrogates are refused", () => {
    assert.include(refusal(name("__x__")), "reserved")
    assert.include(refusal(Key.makeResult("__kind__", 1)), "reserved")
    assert.include(refusal(name("a\ud800")), "surrogate")
    assert.isTrue(Result.isSuccess(name("__x")))
    assert.isTrue(Result.isSuccess(name("x__")))
  })

  it("an integer id lies between 1 and 2^63 - 1, and is exact", () => {
    for (const id of [1, 2 ** 53 - 1, 2n ** 63n - 1n]) assert.isTrue(Result.isSuccess(name(id)))
    for (const id of [0, -1, 1.5, NaN, Infinity, 2 ** 53, 0n, -1n, 2n ** 63n]) {
      assert.include(refusal(name(id)), "integer id")
    }
  })

  it("other types are refused, also behind the compiler's back", () => {
    assert.include(refusal(name(null)), "got null")
    assert.include(refusal(name(undefined)), "got undefined")
    assert.include(refusal(name({})), "got object")
    assert.include(refusal(Key.makeResult(5, 5)), "a kind is a string, got number")
  })

  it("kinds and ids come in pairs, at least one", () => {
    assert.include(refusal(Key.makeResult()), "pairs")
    assert.include(refusal(Key.makeResult("A", 1, "B")), "pairs")
    assert.include(refusal(Key.fromPathResult([])), "at least one element")
  })

  it("a path has at most 100 elements and 6 KiB", () => {
    const path = (count: number, bytes: number) =>
      Key.fromPathResult(Array.from({ length: count }, () => ({ kind: "K", id: "x".repeat(bytes) })))

    assert.isTrue(Result.isSuccess(path(100, 1)))
    assert.include(refusal(path(101, 1)), "at most 100 elements")
    // 4 elements of 2 + 1,500 + 1 bytes and one of 2 + 129 + 1.
    const four = Array.from({ length: 4 }, () => ({ kind: "K", id: "x".repeat(1_500) }))
    assert.isTrue(Result.isSuccess(Key.fromPathResult([...four, { kind: "K", id: "x".repeat(129) }])))
    assert.include(refusal(Key.fromPathResult([...four, { kind: "K", id: "x".repeat(130) }])), "6144 bytes, got 6145")
  })

  it("make, fromPath and child throw the refusal itself", () => {
    assert.throws(() => Key.make("K", 0), Key.KeyError, "Invalid Datastore key \"K\",0: an integer id is positive")
    assert.throws(() => Key.fromPath([]), Key.KeyError, "Invalid Datastore key (empty)")
    assert.throws(() => Key.child(Key.make("K", 1), "__c__", 1), Key.KeyError, "reserved")
  })

  it("checkPath finds what childUnsafe let through", () => {
    assert.isUndefined(Key.checkPath(Key.make("K", 1, "C", "x").path))
    assert.include(Key.checkPath(Key.childUnsafe(Key.make("K", 1), "C", "").path), "empty")
  })

  it("the size counts kinds, names, 8 bytes per integer, and 16 for the whole", () => {
    assert.strictEqual(Key.sizeBytes(Key.make("Run", 1)), 16 + 4 + 8)
    assert.strictEqual(Key.sizeBytes(Key.make("Run", 1, "\u00e9", "\u{1f600}")), 16 + 4 + 8 + 3 + 5)
  })
})
