// Values and errors that another realm or another copy of the package made: `instanceof` knows none of them.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Equal, Option } from "effect"
import { runInNewContext } from "node:vm"
import * as Datastore from "../src/Datastore.ts"
import * as DsSet from "../src/DsSet.ts"
import * as Entity from "../src/Entity.ts"
import * as EventboxError from "../src/EventboxError.ts"
import * as Key from "../src/Key.ts"
import * as GoogleDatastore from "../src/layers/GoogleDatastore.ts"
import * as InMemory from "../src/layers/InMemory.ts"
import { plain } from "../src/testing/conformance/setting.ts"
import { makeScriptedServer } from "./utils/scriptedServer.ts"

const key = Key.make("K", "a")

/** What an expression gives in a realm of its own. */
const elsewhere = <A>(expression: string, scope: object = {}): A => runInNewContext(expression, { ...scope }) as A

const bytes = (): Uint8Array => elsewhere("new Uint8Array([1, 2, 255])")

/** The second copy shares its imports with the first, as `import` does for a query. */
const copyOf = async <A>(path: string): Promise<A> => await import(/* @vite-ignore */ `${path}?copy`) as A
const entityCopy: typeof Entity = await copyOf("../src/Entity.ts")
const errorCopy: typeof EventboxError = await copyOf("../src/EventboxError.ts")

const ours: Entity.Properties = {
  blob: new Uint8Array([1, 2, 255]),
  nested: { blob: new Uint8Array([1, 2, 255]), list: [1, { deep: "x" }] },
  double: new Entity.Double(1),
  moment: new Entity.TimestampValue(BigInt(5)),
  point: new Entity.Opaque("geoPoint", { latitude: 1, longitude: 2 })
}

const theirs: Entity.Properties = {
  blob: bytes(),
  nested: elsewhere("({ blob: new Uint8Array([1, 2, 255]), list: [1, { deep: 'x' }] })"),
  double: new entityCopy.Double(1),
  moment: new entityCopy.TimestampValue(BigInt(5)),
  point: new entityCopy.Opaque("geoPoint", { latitude: 1, longitude: 2 })
}

describe("values of another realm or another copy of the package", () => {
  it("are not instances of our classes, or nothing here would be tested", () => {
    assert.notInstanceOf(theirs["blob"], Uint8Array)
    assert.notInstanceOf(theirs["nested"], Object)
    assert.notInstanceOf(theirs["double"], Entity.Double)
    assert.notInstanceOf(theirs["moment"], Entity.TimestampValue)
    assert.notInstanceOf(theirs["point"], Entity.Opaque)
  })

  it("pass the check, with the same limits and the same size", () => {
    const long = elsewhere<Uint8Array>(`new Uint8Array(${Entity.maxIndexedBytes + 1})`)

    assert.isUndefined(Entity.check(Entity.make(key, theirs)))
    assert.strictEqual(Entity.sizeBytes(Entity.make(key, theirs)), Entity.sizeBytes(Entity.make(key, ours)))
    assert.match(Entity.check(Entity.make(key, { long }))?.reason ?? "", /an indexed blob has at most/)
    assert.match(
      Entity.check(Entity.make(key, { moment: new entityCopy.TimestampValue(BigInt(10) ** BigInt(30)) }))?.reason ?? "",
      /between the years 1 and 9999/
    )
  })

  it("are equal to ours, both ways", () => {
    assert.isTrue(Entity.sameProperties(ours, theirs))
    assert.isTrue(Entity.sameProperties(theirs, ours))
    assert.isFalse(Entity.sameProperties(ours, { ...theirs, blob: elsewhere("new Uint8Array([1])") }))
    for (const name of ["double", "moment", "point"]) assert.isTrue(Equal.equals(ours[name], theirs[name]), name)
    assert.strictEqual(Entity.canonicalScalar(new entityCopy.Double(1.5)), 1.5)
  })

  it("what is no record, in whichever realm, is still refused", () => {
    for (
      const expression of ["new Map()", "new Date()", "/x/", "new (class A { x = 1 })()", "Object.create({ a: 1 })"]
    ) {
      const value = elsewhere<Entity.Value>(expression)
      assert.match(Entity.check(Entity.make(key, { value }))?.reason ?? "", /cannot store/, expression)
    }
    for (const value of [new DataView(new ArrayBuffer(1)), new Uint16Array(1), new ArrayBuffer(1)]) {
      const given = value as unknown as Entity.Value
      assert.match(Entity.check(Entity.make(key, { value: given }))?.reason ?? "", /cannot store/)
    }
  })

  it("a record with a property that looks like a mark of ours is a record", () => {
    const value = elsewhere<Entity.Value>("({ '~eventbox/Entity/Value': 'Double', value: 1 })")

    assert.isTrue(Entity.isRecord(value))
    assert.isFalse(Entity.isDouble(value))
  })

  it.effect("are kept in memory as ours are, and not shared", () =>
    Effect.gen(function*() {
      const given = bytes()
      yield* Datastore.put([Entity.make(key, { ...theirs, given })])
      given[0] = 9

      const { given: kept, ...read } = Option.getOrThrow(yield* Datastore.get(key)).properties

      assert.deepStrictEqual(plain(read), plain(ours))
      assert.deepStrictEqual(plain(kept!), plain(ours["blob"]!))
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("reach Google's service as ours do", () =>
    Effect.gen(function*() {
      const server = yield* makeScriptedServer({ Commit: () => ({ response: { mutationResults: [{ version: 1 }] } }) })
      const put = (properties: Entity.Properties) => Datastore.put([Entity.make(key, properties)])

      yield* Effect.provide(
        Effect.andThen(put(ours), put(theirs)),
        GoogleDatastore.layer({ emulatorHost: server.host, projectId: "p" })
      )

      const [first, second] = server.of("Commit").map(({ bytes: sent }) => sent)
      assert.deepStrictEqual(second, first)
    }))

  it.effect.each(["structuredClone", "vm"] as const)(
    "records that %s made are nested entities",
    (way) =>
      Effect.gen(function*() {
        const record = { a: { b: [1, { c: "x" }] } }
        const value = way === "vm"
          ? elsewhere<Entity.Value>("JSON.parse(text)", { text: JSON.stringify(record) })
          : structuredClone(record)
        yield* Datastore.put([Entity.make(key, { value })])

        const read = Option.getOrThrow(yield* Datastore.get(key))

        assert.deepStrictEqual(read.properties["value"], record)
      }).pipe(Effect.provide(InMemory.layer))
  )

  it.effect("items of a set may be bytes of another realm, short or long", () =>
    Effect.gen(function*() {
      const set = DsSet.make({ parent: key })
      const long = elsewhere<Uint8Array>("new Uint8Array(5000).fill(7)")

      yield* DsSet.add(set, [{ id: "short", value: bytes() }, { id: "long", value: long }])

      const { items } = yield* DsSet.list(set, { maxItems: 10 })
      assert.deepStrictEqual(items.map(({ value }) => Array.from(value)), [Array.from(long), [1, 2, 255]])
    }).pipe(Effect.provide(InMemory.layer)))
})

describe("errors of another copy of the package", () => {
  const contention = new errorCopy.ContentionError({ reason: new errorCopy.Aborted({}) })
  const unknown = new errorCopy.DatastoreError({
    operation: "commit",
    reason: new errorCopy.OutcomeUnknown({ detail: "" })
  })

  it("are known by the guards", () => {
    assert.notInstanceOf(contention, EventboxError.ContentionError)
    assert.isTrue(EventboxError.isContentionError(contention))
    assert.isFalse(EventboxError.isContentionError(unknown))
    assert.isTrue(EventboxError.isDatastoreError(unknown))
    assert.isFalse(EventboxError.isDatastoreError(contention))
    assert.isTrue(EventboxError.isUnknownOutcome(unknown))
  })

  it("are not taken for errors of other programs with the same tag", () => {
    const other = Object.assign(new Error("mine"), { _tag: "ContentionError", isRetryable: true })

    assert.isFalse(EventboxError.isContentionError(other))
    assert.isFalse(EventboxError.isDatastoreError({ _tag: "DatastoreError", reason: { _tag: "OutcomeUnknown" } }))
  })

  it("a reason of another copy makes an error", () => {
    assert.match(
      new EventboxError.ContentionError({ reason: contention.reason, recipient: key }).message,
      /Datastore aborted the commit/
    )
  })

  it("the message of a cause of another realm is shown", () => {
    const cause = elsewhere("new TypeError('bad bytes')")

    assert.match(
      new EventboxError.EventDecodeError({ recipient: key, eventId: "e", cause }).message,
      /does not decode: bad bytes$/
    )
  })
})
