import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import { readEntity, UnencodableError, writeEntity } from "../../src/layers/google/entity.ts"
import { keyOfEntity, makePartition, noFamily, type Partition } from "../../src/layers/google/key.ts"
import { WireReader, WireWriter } from "../../src/layers/google/wire.ts"
import { encodeWith, messages } from "../utils/scriptedServer.ts"

const partition = makePartition({ projectId: "demo", databaseId: "", namespace: "" })
const elsewhere = makePartition({ projectId: "demo", databaseId: "other", namespace: "ns" })
const key = Key.make("Kind", "name")

/** The `Entity` message of an entity. */
const encode = (entity: Entity.Entity, where: Partition = partition): Buffer => {
  const writer = new WireWriter(16)
  writeEntity(writer, 1, entity, where)
  const reader = new WireReader(writer.finish())
  reader.next()
  return reader.view()
}

const decode = (bytes: Uint8Array, where: Partition = partition): Entity.Entity =>
  readEntity(bytes, where, keyOfEntity(bytes)!)

/** A message of the generated form, as the server would send it. */
const generated = (properties: Record<string, object>): Buffer =>
  encodeWith(messages.Entity, {
    key: { partitionId: { projectId: "demo" }, path: [{ kind: "Kind", name: "name" }] },
    properties
  })

/** What the generated classes understand of our bytes. */
const understood = (entity: Entity.Entity): Record<string, unknown> =>
  messages.Entity.toObject(messages.Entity.decode(encode(entity)), { longs: String, enums: String })

const numbers = Arbitrary.schema(Schema.Number)
const text = Arbitrary.schema(Schema.String).pipe(Arbitrary.filter((found) => found.isWellFormed()))
const ids = Arbitrary.schema(Schema.Union([Schema.Int, Schema.Literals(["a", "é", "\u{1f600}", "x".repeat(40)])])).pipe(
  Arbitrary.map((id): Key.Id => typeof id === "string" ? id : Math.abs(id) + 1)
)
const bits64 = Arbitrary.all([Arbitrary.schema(Schema.Int), Arbitrary.schema(Schema.Int)]).pipe(
  Arbitrary.map(([high, low]) => BigInt.asIntN(64, BigInt(high) * BigInt(2 ** 33) + BigInt(low)))
)
const micros = bits64.pipe(Arbitrary.map((bits) => bits / BigInt(1_000)))
const scalars: ReadonlyArray<Arbitrary.Arbitrary<Entity.Value>> = [
  Arbitrary.schema(
    Schema.Union([Schema.Null, Schema.Literals([true, false, -0, 2 ** 53, 127, 128, 2 ** 28, 2 ** 35, -1])])
  ),
  numbers,
  numbers.pipe(Arbitrary.map((value) => new Entity.Double(value))),
  bits64,
  text,
  Arbitrary.schema(Schema.Uint8Array),
  micros.pipe(Arbitrary.map((value) => new Entity.TimestampValue(value))),
  Arbitrary.all([ids, ids]).pipe(Arbitrary.map(([a, b]) => Key.make("Parent", a, "Child", b))),
  Arbitrary.all([numbers, numbers]).pipe(
    Arbitrary.map(([latitude, longitude]) => new Entity.Opaque("geoPoint", { latitude, longitude }))
  )
]
const pick = Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8] as const))
const scalar = pick.pipe(Arbitrary.flatMap((index) => scalars[index]!))
const names = Arbitrary.schema(Schema.Literals(["a", "b", "long name of more than 24 units", "ü", "a.b"]))
const record = (values: Arbitrary.Arbitrary<Entity.Value>): Arbitrary.Arbitrary<Entity.Properties> =>
  Arbitrary.array(Arbitrary.all([names, values]), { maxLength: 3 }).pipe(
    Arbitrary.map((entries) => Object.fromEntries(entries))
  )
const shallow = Arbitrary.all([pick, scalar, Arbitrary.array(scalar, { maxLength: 3 }), record(scalar)]).pipe(
  Arbitrary.map(([which, one, list, nested]): Entity.Value => which === 0 ? list : which === 1 ? nested : one)
)
const deep = Arbitrary.all([pick, shallow, record(shallow)]).pipe(
  Arbitrary.map(([which, one, nested]): Entity.Value => which === 0 ? [nested] : which === 1 ? nested : one)
)
const unindexed = Arbitrary.schema(Schema.Union([
  Schema.Literal("all" as const),
  Schema.Array(Schema.Literals(["a", "b", "a.a", "a.b", "b.ü", "ü", "a.a.b"]))
]))
const entities = Arbitrary.all([record(deep), unindexed]).pipe(
  Arbitrary.map(([properties, paths]) => Entity.make(key, properties, { unindexed: paths }))
)

/** The paths of all values, each with its flag. */
const flags = (entity: Entity.Entity): ReadonlyArray<string> => {
  const found: Array<string> = []
  const visit = (value: Entity.Value, path: string): void => {
    if (Array.isArray(value)) return value.forEach((element: Entity.Value) => visit(element, path))
    if (Entity.isRecord(value)) {
      return Object.keys(value).forEach((name) => visit(value[name]!, path === "" ? name : `${path}.${name}`))
    }
    found.push(`${path} ${Entity.isUnindexed(entity.unindexed, path)}`)
  }
  visit(entity.properties, "")
  return found
}

const check = <A>(arbitrary: Arbitrary.Arbitrary<A>, property: (value: A) => void) =>
  Effect.gen(function*() {
    const result = yield* Arbitrary.checkEffect(arbitrary, (value) => {
      property(value)
      return true
    }, { runs: 500, size: 30 })
    if (result._tag === "Falsified") assert.fail(Arbitrary.formatCheckFailure(result))
  })

describe("Google's wire form of entities", () => {
  // Must catch: a wrong varint at any length, strings measured in units, a flag on the wrong value, a lost -0.
  it.effect("what is written is read as it was, with its index flags", () =>
    check(entities, (entity) => {
      const read = decode(encode(entity))

      assert.isTrue(Entity.sameValue(read.properties, entity.properties))
      assert.deepStrictEqual(Object.keys(read.properties), Object.keys(entity.properties))
      assert.deepStrictEqual(flags(read), flags(entity))
      assert.strictEqual(read.key.toString(), entity.key.toString())
    }))

  it.effect("the generated classes understand what we write, and we what they write", () =>
    check(entities, (entity) => {
      const theirs = messages.Entity.decode(encode(entity))
      const read = decode(messages.Entity.encode(theirs).finish())

      assert.strictEqual(messages.Entity.verify(theirs), null)
      assert.isTrue(Entity.sameValue(read.properties, entity.properties))
      assert.deepStrictEqual(flags(read), flags(entity))
    }))

  it("every kind of value stands in the field that is meant for it", () => {
    const entity = Entity.make(key, {
      null: null,
      boolean: false,
      integer: 5,
      big: BigInt(2) ** BigInt(62),
      double: 1.5,
      whole: new Entity.Double(1),
      string: "é",
      blob: new Uint8Array([1]),
      time: new Entity.TimestampValue(BigInt(-1)),
      key: Key.make("P", 1),
      list: [1, { deep: "x" }]
    }, { unindexed: ["string", "list"] })

    const { properties } = understood(entity) as { readonly properties: Record<string, object> }

    assert.deepStrictEqual(properties, {
      null: { nullValue: "NULL_VALUE" },
      boolean: { booleanValue: false },
      integer: { integerValue: "5" },
      big: { integerValue: "4611686018427387904" },
      double: { doubleValue: 1.5 },
      whole: { doubleValue: 1 },
      string: { stringValue: "é", excludeFromIndexes: true },
      blob: { blobValue: Buffer.from([1]) },
      time: { timestampValue: { seconds: "-1", nanos: 999_999_000 } },
      key: { keyValue: { path: [{ kind: "P", id: "1" }] } },
      list: {
        arrayValue: {
          values: [
            { integerValue: "1", excludeFromIndexes: true },
            {
              entityValue: { properties: { deep: { stringValue: "x", excludeFromIndexes: true } } },
              excludeFromIndexes: true
            }
          ]
        }
      }
    } as object)
  })

  it("the flag of a nested entity covers what is below it", () => {
    const properties = { x: { integerValue: 1 }, y: { integerValue: 1, excludeFromIndexes: true } }
    const nested = { entityValue: { properties }, excludeFromIndexes: true }

    const { unindexed } = decode(generated({ a: nested, b: { integerValue: 1 } }))

    assert.deepStrictEqual(unindexed, new Set(["a"]))
  })

  it("an entity of which no value has an index is all unindexed, one without values is not", () => {
    const none = { stringValue: "x", excludeFromIndexes: true }

    assert.strictEqual(decode(generated({ a: none, b: { arrayValue: { values: [none] } } })).unindexed, "all")
    assert.deepStrictEqual(decode(generated({})).unindexed, new Set())
  })

  it("a key of another project, database or namespace is opaque, and is written back as it was", () => {
    for (const partitionId of [{ projectId: "demo" }, { projectId: "x" }, { projectId: "demo", databaseId: "d" }]) {
      const bytes = generated({ k: { keyValue: { partitionId, path: [{ kind: "A", id: 7 }] } } })
      const read = decode(bytes)

      assert.strictEqual(
        Key.isKey(read.properties["k"]),
        Object.keys(partitionId).length === 1 && partitionId.projectId === "demo"
      )
      const again = understood(read) as { readonly properties: { readonly k: { readonly keyValue: object } } }
      assert.deepStrictEqual({ partitionId, ...again.properties.k.keyValue }, {
        partitionId,
        path: [{ kind: "A", id: "7" }]
      } as object)
    }
    assert.isTrue(Key.isKey(decode(encode(Entity.make(key, { k: key }), elsewhere), elsewhere).properties["k"]))
    assert.isFalse(Key.isKey(decode(encode(Entity.make(key, { k: key }), elsewhere), partition).properties["k"]))
  })

  it("what has no form here is opaque, and is written back as it was", () => {
    const vector = { arrayValue: { values: [{ doubleValue: 1 }, { doubleValue: 2.5 }] }, meaning: 31 }
    const incomplete = { keyValue: { partitionId: { projectId: "demo" }, path: [{ kind: "A" }] } }
    const bytes = generated({ vector, incomplete, flagged: { ...vector, excludeFromIndexes: true } })

    const read = decode(bytes)

    assert.deepStrictEqual(
      Object.values(read.properties).map((value) => value instanceof Entity.Opaque && value.kind),
      ["value", "value", "value"]
    )
    assert.deepStrictEqual(read.unindexed, new Set(["flagged"]))
    assert.deepStrictEqual(
      (understood(read) as { readonly properties: object }).properties,
      messages.Entity.toObject(messages.Entity.decode(bytes), { longs: String })["properties"] as object
    )
  })

  it("a value of a kind that does not exist yet is opaque, and is written back as it was", () => {
    const writer = new WireWriter(8)
    const mark = writer.written
    writer.varint(19, 1)
    writer.string(99, "new")
    writer.message(2, mark)
    writer.string(1, "n")
    writer.message(3, mark)
    const bytes = writer.finish()

    const read = readEntity(bytes, partition, key)

    const value = read.properties["n"]
    assert.instanceOf(value, Entity.Opaque)
    assert.strictEqual(read.unindexed, "all")
    assert.strictEqual(encode(read).subarray(-bytes.length).toString("hex"), bytes.toString("hex"))
  })

  const past = BigInt(2) ** BigInt(63)

  it.each<readonly [string, unknown, string]>([
    ["an integer above 64 bits", past, "an integer has at most 64 bits"],
    ["an integer below 64 bits", -past - BigInt(1), "an integer has at most 64 bits"],
    ["half of a surrogate pair", "\ud83d", "a string has no lone surrogates"],
    ["an array in an array", [["a"]], "an array may not hold an array directly"],
    ["a date", new Date(0), "cannot store Date"],
    ["nothing at all", undefined, "cannot store undefined"]
  ])("%s has no stored form, and is refused by its property", (_, value, reason) => {
    assert.throws(
      () => encode(Entity.make(key, { a: { b: value as Entity.Value } })),
      UnencodableError,
      `property a.b: ${reason}`
    )
  })

  it("an opaque value of nobody's making is refused by its property", () => {
    for (const raw of [new Entity.Opaque("geoPoint", {}), new Entity.Opaque("key", "x"), new Entity.Opaque("?", 1)]) {
      assert.throws(() => encode(Entity.make(key, { a: { b: [raw] } })), UnencodableError, /property a\.b: /)
    }
  })

  it("fields may come in any order", () => {
    const writer = new WireWriter(8)
    // Written in reverse: the value stands before its name, the flag before its content.
    writer.string(1, "n")
    const value = writer.written
    writer.string(17, "text")
    writer.varint(19, 1)
    writer.message(2, value)
    writer.message(3, 0)

    const read = readEntity(writer.finish(), partition, key)

    assert.deepStrictEqual(read.properties, { n: "text" })
    assert.strictEqual(read.unindexed, "all")
  })

  it("a blob that was read has memory of its own", () => {
    const bytes = encode(Entity.make(key, { small: new Uint8Array([1, 2]), large: new Uint8Array(100) }))

    for (const blob of Object.values(decode(bytes).properties) as Array<Uint8Array>) {
      assert.strictEqual(blob.constructor, Uint8Array)
      assert.strictEqual(blob.buffer.byteLength, blob.length)
    }
  })

  // Must catch: a length beyond the message, a submessage that runs over its end, an endless varint.
  it("a message that ends too early is an error, never half an entity", () => {
    const whole = encode(Entity.make(key, { a: "text", b: { c: [1, 2 ** 40, 1.5] } }))
    const ends = new Set([whole.length, 0])
    const reader = new WireReader(whole)
    while (reader.next()) {
      reader.skip()
      ends.add(reader.position)
    }

    for (let length = 0; length <= whole.length; length++) {
      const read = () => readEntity(whole.subarray(0, length), partition, key)
      if (ends.has(length)) read()
      else assert.throws(read)
    }
    assert.throws(() => readEntity(Buffer.from("1affffffffffffffffffff7f", "hex"), partition, key))
    assert.throws(() => readEntity(Buffer.from("1bffff", "hex"), partition, key))
    assert.throws(() => {
      const reader = new WireReader(Buffer.from(`08${"ff".repeat(10)}01`, "hex"))
      reader.next()
      reader.integer()
    }, /more than ten bytes/)
  })

  it("integers keep all of their 64 bits", () => {
    const edges = [0, 1, 31, 32, 35, 52, 53, 54, 62, 63].flatMap((shift) => {
      const power = BigInt(2) ** BigInt(shift)
      return [power - BigInt(1), power, -power, -power - BigInt(1), -power + BigInt(1)]
    }).filter((value) => BigInt.asIntN(64, value) === value)

    for (const value of edges) {
      const read = decode(encode(Entity.make(key, { value }))).properties["value"]
      assert.strictEqual(typeof read === "number" || typeof read === "bigint" ? BigInt(read) : read, value)
      assert.strictEqual(typeof read, Number.isSafeInteger(Number(value)) ? "number" : "bigint")
      assert.isFalse(Object.is(read, -0))
    }
  })

  // Must catch: a family that is told by its length alone, or that takes a grandchild for a child.
  it("keys of one family share their parent, and every key is what was written", () => {
    const parents = [Key.make("P", "a"), Key.make("P", "b"), Key.make("P", "a", "Item", "x"), Key.make("P", 1)]
    const children = parents.flatMap((parent) => [Key.child(parent, "Item", "x"), Key.child(parent, "Item", "y")])
    const keys = [...children, ...parents, ...children.map((one) => Key.child(one, "Other", 7))]

    for (const where of [partition, elsewhere]) {
      const family = noFamily()
      const read = keys.map((one) => keyOfEntity(encode(Entity.make(one, {}), where), family)!)

      assert.deepStrictEqual(read.map(String), keys.map(String))
      const [first, second, third] = Array.from({ length: 3 }, (_, index) => Key.child(parents[0]!, "Item", `${index}`))
        .map((one) => keyOfEntity(encode(Entity.make(one, {}), where), family)!)
      assert.strictEqual(third!.parent, second!.parent)
      assert.strictEqual(first!.parent!.toString(), "P,\"a\"")
    }
  })

  it("names that look alike stay apart, however often they are read", () => {
    const names = ["a1b", "a2b", "a\u00e9b", "a\u00e8b", "x".repeat(40), `${"x".repeat(39)}y`]
    const entity = Entity.make(key, Object.fromEntries(names.map((name) => [name, name])))

    for (let round = 0; round < 3; round++) {
      assert.deepStrictEqual(Object.entries(decode(encode(entity)).properties).flat(), names.flatMap((n) => [n, n]))
    }
  })

  it("numeric ids of keys keep all of their 63 bits", () => {
    for (const id of [1, 2 ** 31, 2 ** 53 - 1, BigInt(2) ** BigInt(53), BigInt(2) ** BigInt(63) - BigInt(1)]) {
      const own = Key.make("A", id, "B", id)

      assert.strictEqual(decode(encode(Entity.make(own, {}))).key.toString(), own.toString())
    }
  })
})
