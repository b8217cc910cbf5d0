/**
 * Keys, ids and sizes that are not the usual ones.
 */
import { assert } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import { client, countBy, freshProjectId, storedIds, upTo } from "../utils/emuClients.ts"
import { onEmulator } from "../utils/emulator.ts"

const projectId = freshProjectId()

/** Remembers how long each text was that it was sent. */
class Texts extends Processor.Service<Texts>()("test/Texts", {
  kind: "Texts",
  state: Schema.Array(Schema.String),
  event: Schema.String
}) {}

const texts = (seen: Array<string>) =>
  Texts.toLayer(Texts.entity({
    initial: () => [],
    prepareMutation: (events, state) => {
      seen.push(...events.map(({ value }) => value))
      return Effect.succeed({
        transitions: [{ events, transitionTo: [...state, ...events.map(({ value }) => value.slice(0, 10))] }]
      })
    }
  }))

const valuesOf = (recipient: Processor.Recipient<Texts>) =>
  Effect.map(Outstanding.events(Texts, recipient), (events) => events.map(({ value }) => value))

/** Sizes of the largest request that the emulator takes, and of a large event. */
const mebi = 1_024 * 1_024
const large = 700 * 1_024

onEmulator("nested recipients", (it) => {
  it.effect("do not see each other's events, whichever is processed first", () =>
    Effect.gen(function*() {
      const outer = Texts.recipient("outer")
      // In key order, one lies before the items of the outer one and one behind them.
      const before = Texts.recipient(Key.child(outer.key, "Texts", "inner"))
      const behind = Texts.recipient(Key.make("Texts", "outer", "zone", 1, "Texts", "inner"))
      const all = [["outer", outer], ["before", before], ["behind", behind]] as const
      for (const [name, recipient] of all) yield* Eventbox.emitAll(Texts, recipient, [`${name} 1`, `${name} 2`])

      for (const [index, [name, recipient]] of all.entries()) {
        const seen: Array<string> = []
        const batch = yield* Effect.provide(Eventbox.processBatch(Texts, recipient), texts(seen))
        assert.deepStrictEqual(seen, [`${name} 1`, `${name} 2`])
        assert.strictEqual(batch.consumed, 2)
        for (const [other, later] of all.slice(index + 1)) {
          assert.deepStrictEqual(yield* valuesOf(later), [`${other} 1`, `${other} 2`])
        }
      }
    }))
}, { projectId })

onEmulator("ids chosen by the user", (it) => {
  it.effect("are listed in the order of their UTF-8 bytes, page by page, and all are consumed", () =>
    Effect.gen(function*() {
      const recipient = Texts.recipient("ids")
      const inOrder = [
        "\u0001",
        " ",
        "\"quoted\"",
        "/",
        "1",
        "10",
        "2",
        "Z",
        "a",
        "a\nb",
        "é",
        "日本",
        "\uFF5E",
        "\u{1F600}"
      ]
      // JavaScript's own order of text puts the last one before the one in front of it.
      assert.notDeepEqual(inOrder.toSorted(), inOrder)
      const longest = "z".repeat(1_500)
      const ids = [...inOrder.slice(0, 9), "a\nb", longest, ...inOrder.slice(10)]
      yield* Eventbox.emitAll(Texts, recipient, ids.toReversed(), { id: (id) => id })
      const set = DsSet.make({ parent: recipient.key })

      const pages = yield* Effect.forEach(upTo(5), () => DsSet.list(set, { maxItems: 3 })).pipe(
        Effect.provide(client(projectId))
      )
      const seen: Array<string> = []
      yield* Eventbox.drain(Texts, recipient, { maxEvents: 4 }).pipe(
        Effect.provide(texts(seen)),
        Effect.provide(client(projectId))
      )

      assert.deepStrictEqual(pages.flatMap(({ items }) => items.map(({ id }) => id)), ids)
      assert.deepStrictEqual(seen.toSorted(), ids.toSorted())
      assert.deepStrictEqual(yield* storedIds(recipient.key), [])
    }))
}, { projectId })

onEmulator("large events", (it) => {
  it.effect("of 700 KiB get through, one by one and by a side effect", () =>
    Effect.gen(function*() {
      const recipient = Texts.recipient("one large")
      const text = "ü€\n\"".repeat(large / 8).slice(0, large / 4)
      const seen: Array<string> = []

      yield* Eventbox.emit(Texts, recipient, text)
      yield* Datastore.withTransaction(Eventbox.emit(Texts, recipient, text))

      assert.deepStrictEqual(yield* valuesOf(recipient), [text, text])
      yield* Effect.provide(Eventbox.processBatch(Texts, recipient), texts(seen))
      assert.deepStrictEqual(seen, [text, text])
    }))

  it.effect("are refused above 900 KiB, before anything is sent", () =>
    Effect.gen(function*() {
      const rpcs: Array<string> = []
      const recipient = Texts.recipient("too large")

      const error = yield* Eventbox.emitAll(Texts, recipient, ["small", "x".repeat(900 * 1_024)]).pipe(
        Effect.provide(client(projectId, { onRpc: (method) => rpcs.push(method) })),
        Effect.flip
      )

      assert.strictEqual(error._tag, "EventRejected")
      assert.deepStrictEqual(rpcs, [])
    }))

  it.effect("of 8 MiB in all are sent in requests below 4 MiB, and processed in batches of 4 MiB at most", () =>
    Effect.gen(function*() {
      const recipient = Texts.recipient("many large")
      const rpcs: Array<string> = []
      const values = upTo(12).map((n) => String(n).padStart(2, "0") + "x".repeat(large))
      assert.isAbove(values.join("").length, 8 * mebi)
      const seen: Array<string> = []

      yield* Eventbox.emitAll(Texts, recipient, values).pipe(
        Effect.provide(client(projectId, { onRpc: (method) => rpcs.push(method) }))
      )
      const first = yield* Effect.provide(Eventbox.processBatch(Texts, recipient), texts(seen))
      yield* Effect.provide(Eventbox.drain(Texts, recipient), texts(seen))

      assert.deepStrictEqual(countBy(rpcs), { Commit: 3 })
      // A batch takes 4 MiB of values at most by itself.
      assert.strictEqual(first.consumed, 4)
      assert.deepStrictEqual(seen, values)
    }))

  it.effect("1,500 at a time are sent in commits of 500, and listed in order", () =>
    Effect.gen(function*() {
      const recipient = Texts.recipient("many")
      const rpcs: Array<string> = []
      const values = upTo(1_500).map(String)

      const ids = yield* Eventbox.emitAll(Texts, recipient, values).pipe(
        Effect.provide(client(projectId, { onRpc: (method) => rpcs.push(method) }))
      )

      assert.deepStrictEqual(countBy(rpcs), { Commit: 3 })
      const events = yield* Outstanding.events(Texts, recipient)
      assert.deepStrictEqual(events.map(({ id }) => id), Array.from(ids))
      assert.deepStrictEqual(events.map(({ value }) => value), values)
    }))
}, { projectId })
