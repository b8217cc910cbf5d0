import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"

const Letter = Schema.TaggedUnion({
  Send: { to: Schema.Struct({ name: Schema.String, at: Schema.String }), tags: Schema.Array(Schema.String) },
  Stop: {}
})

class Mail extends Processor.Service<Mail>()("test/Mail", {
  kind: "Mail",
  state: Schema.Int,
  event: Letter
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, count) =>
      Effect.succeed({ transitions: [{ events, transitionTo: count + events.length }] })
  }))
}

const mail = Mail.recipient("m")
const send = (name: string, ...tags: ReadonlyArray<string>) =>
  ({ _tag: "Send", to: { name, at: "example.org" }, tags }) as const
const stop = { _tag: "Stop" } as const

const emit = (...values: ReadonlyArray<typeof Letter.Type>) =>
  Eventbox.emitAll(Mail, mail, values, { id: (_, index) => `id${index}` })

const provided = Effect.provide(Layer.mergeAll(Mail.layer, Layer.fresh(InMemory.layer)))

describe("Outstanding", () => {
  it.effect("an event is found by parts of it, deep in plain objects and whole elsewhere", () =>
    Effect.gen(function*() {
      yield* emit(send("ada", "a", "b"), send("grace"), stop)

      const any = yield* Outstanding.assertEmitted(Mail, mail)
      const sends = yield* Outstanding.assertEmitted(Mail, mail, { _tag: "Send" })
      const ada = yield* Outstanding.assertEmitted(Mail, mail, { to: { name: "ada" } })
      const tagged = yield* Outstanding.assertEmitted(Mail, mail, { tags: ["a", "b"] })
      const byId = yield* Outstanding.assertEmitted(Mail, mail, (_, id) => id === "id2")

      assert.strictEqual(any.length, 3)
      assert.deepStrictEqual([sends, ada, tagged, byId].map((found) => found.map(({ id }) => id)), [
        ["id0", "id1"],
        ["id0"],
        ["id0"],
        ["id2"]
      ])
    }).pipe(provided))

  it.effect("a failure lists what waits", () =>
    Effect.gen(function*() {
      yield* emit(send("ada"), stop)

      const missing = yield* Effect.flip(Outstanding.assertEmitted(Mail, mail, { tags: ["x"] }))
      const part = yield* Effect.flip(Outstanding.assertEmitted(Mail, mail, { to: { name: "ada", at: "x" } }))
      const predicate = yield* Effect.flip(Outstanding.assertEmitted(Mail, mail, () => false))

      assert.strictEqual(missing._tag, "OutstandingFailure")
      assert.strictEqual(
        missing.message,
        `Mail,"m": expected an event like {"tags":["x"]}.\n2 wait:\n` +
          `  id0  {"_tag":"Send","to":{"name":"ada","at":"example.org"},"tags":[]}\n  id1  {"_tag":"Stop"}`
      )
      assert.match(part.message, /expected an event like \{"to"/)
      assert.match(predicate.message, /expected an event that matches\./)
    }).pipe(provided))

  it.effect("times is exact", () =>
    Effect.gen(function*() {
      yield* emit(send("ada"), send("ada"), stop)

      yield* Outstanding.assertEmitted(Mail, mail, { to: { name: "ada" } }, { times: 2 })
      yield* Outstanding.assertEmitted(Mail, mail, { to: { name: "bob" } }, { times: 0 })
      const once = yield* Effect.flip(Outstanding.assertEmitted(Mail, mail, { _tag: "Send" }, { times: 1 }))
      const thrice = yield* Effect.flip(Outstanding.assertEmitted(Mail, mail, undefined, { times: 4 }))

      assert.match(once.message, /expected one event like \{"_tag":"Send"\}/)
      assert.match(thrice.message, /expected 4 events\./)
    }).pipe(provided))

  it.effect("none waits, or none that matches, also once a batch has consumed them", () =>
    Effect.gen(function*() {
      yield* Outstanding.assertNone(Mail, mail)
      const empty = yield* Effect.flip(Outstanding.assertEmitted(Mail, mail))
      yield* emit(stop)
      yield* Outstanding.assertNone(Mail, mail, { _tag: "Send" })
      const failure = yield* Effect.flip(Outstanding.assertNone(Mail, mail))
      yield* Eventbox.process(Mail, mail)
      yield* Outstanding.assertNone(Mail, mail)

      assert.strictEqual(empty.message, `Mail,"m": expected an event.\nNothing waits.`)
      assert.strictEqual(failure.message, `Mail,"m": expected no event.\n1 wait:\n  id0  {"_tag":"Stop"}`)
    }).pipe(provided))

  it.effect("an event of a transaction that fails was not emitted", () =>
    Effect.gen(function*() {
      yield* Effect.exit(Datastore.withTransaction(Effect.andThen(emit(stop), Effect.fail("no"))))

      yield* Outstanding.assertNone(Mail, mail)
    }).pipe(provided))

  it.effect("exactly these, in any order, each as often as it is given", () =>
    Effect.gen(function*() {
      yield* emit(send("ada"), stop, stop)

      yield* Outstanding.assertExactly(Mail, mail, [stop, send("ada"), stop])
      const fewer = yield* Effect.flip(Outstanding.assertExactly(Mail, mail, [stop, send("ada")]))
      const other = yield* Effect.flip(Outstanding.assertExactly(Mail, mail, [stop, stop, send("bob")]))
      const none = yield* Effect.flip(Outstanding.assertExactly(Mail, mail, []))

      assert.match(fewer.message, /expected exactly the events \{"_tag":"Stop"\}, \{"_tag":"Send"/)
      assert.strictEqual(other._tag, "OutstandingFailure")
      assert.match(none.message, /expected no event\.\n3 wait/)
    }).pipe(provided))
})
