import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import * as StoreDump from "../../src/testing/StoreDump.ts"

class Counter extends Processor.Service<Counter>()("test/Counter", {
  kind: "Counter",
  state: Schema.Int,
  event: Schema.Struct({ n: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, total) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: events.reduce((sum, { value }) => sum + value.n, total) }]
      })
  }))
}

const counter = Counter.recipient("c")
const emit = (n: number, id: string) => Eventbox.emit(Counter, counter, { n }, { id })
const provided = Effect.provide(Layer.mergeAll(Counter.layer, Layer.fresh(InMemory.layerControlled)))

describe("StoreDump", () => {
  it.effect("shows events and tombstones of each mailbox, and entities as they are", () =>
    Effect.gen(function*() {
      yield* emit(1, "a")
      yield* emit(2, "b")
      yield* Eventbox.drain(Counter, counter)
      yield* TestClock.adjust("1 minute")
      yield* emit(3, "c")
      yield* Eventbox.drain(Counter, counter)
      yield* emit(4, "d")
      yield* emit(5, "a")
      yield* Eventbox.emit(Counter, Counter.recipient("other"), { n: 6 }, { id: "e" })
      yield* Datastore.put([Entity.make(Key.make("Zoo", 1), { blob: new Uint8Array([0, 255]) })])

      assert.strictEqual(
        yield* StoreDump.dump,
        [
          `Counter,"c" {EVersion: 2, State: "6"}`,
          `mailbox of Counter,"c"`,
          `  again   a  1970-01-01T00:01:00.000Z  {"n":5}`,
          `  waits   d  1970-01-01T00:01:00.000Z  {"n":4}`,
          `  popped  1970-01-01T00:00:00.000Z: a, b`,
          `  popped  1970-01-01T00:01:00.000Z: c`,
          `mailbox of Counter,"other"`,
          `  waits   e  1970-01-01T00:01:00.000Z  {"n":6}`,
          `Zoo,1 {blob: blob(2) 00ff}`
        ].join("\n")
      )
    }).pipe(provided))

  it.effect("the difference of two snapshots shows what a batch did", () =>
    Effect.gen(function*() {
      const store = yield* InMemory.InMemory
      yield* emit(1, "a")
      const before = yield* store.snapshot
      yield* Eventbox.processBatch(Counter, counter)
      const landed = yield* store.snapshot

      const diff = StoreDump.formatDiff(before, landed)
      const tokens = /Tokens: blob\(17\) [0-9a-f]{34}/.exec(diff)?.[0]
      assert.strictEqual(
        diff,
        [
          `inserted Counter,"c"  {EVersion: 1, State: "1"}`,
          `deleted  Counter,"c"/dsset.Item,"a"  {Value: {"n":1}, At: 1970-01-01T00:00:00.000Z}`,
          `inserted Counter,"c"/dsset.Tombstones,1  {Pops: [1970-01-01T00:00:00.000Z: a], ${tokens}, Owner: "test/Counter"}`
        ].join("\n")
      )
      assert.strictEqual(StoreDump.formatDiff(before, before), "")
    }).pipe(provided))

  it.effect("what does not decode is shown as it is, and a page of tombstones like its head", () =>
    Effect.gen(function*() {
      const under = (kind: string, id: Key.Id) => Key.child(counter.key, kind, id)
      yield* emit(1, "a")
      yield* Eventbox.drain(Counter, counter)
      const { properties } = (yield* Datastore.get(under("dsset.Tombstones", 1))).pipe((found) =>
        found._tag === "Some" ? found.value : assert.fail("no head")
      )
      yield* Datastore.put([
        Entity.make(under("dsset.TombstonesPage", 7), properties, { unindexed: "all" }),
        Entity.make(under("dsset.Tombstones", 1), { Pops: new Uint8Array([9, 9]), Pages: [1] }),
        Entity.make(under("dsset.Item", "odd"), { Value: new Uint8Array([255]), At: "soon" }),
        Entity.make(under("dsset.Other", 1), { Pops: "text" })
      ])

      assert.deepStrictEqual((yield* StoreDump.dump).split("\n"), [
        `Counter,"c" {EVersion: 1, State: "1"}`,
        `Counter,"c"/dsset.Item,"odd" {Value: blob(1) ff, At: "soon"}`,
        `Counter,"c"/dsset.Other,1 {Pops: "text"}`,
        `Counter,"c"/dsset.Tombstones,1 {Pops: blob(2) 0909, Pages: [1]}`,
        `mailbox of Counter,"c"`,
        `  popped  1970-01-01T00:00:00.000Z: a`
      ])
    }).pipe(provided))

  it.effect("a batch that consumed nothing is shown as such", () =>
    Effect.gen(function*() {
      class Ticking
        extends Processor.Service<Ticking>()("test/Ticking", { kind: "T", state: Schema.Int, event: Schema.Int })
      {
        static readonly layer = this.toLayer(this.entity({
          initial: () => 0,
          prepareMutation: (_, count) => Effect.succeed({ transitions: [{ transitionTo: count + 1 }] })
        }))
      }
      yield* Effect.provide(Eventbox.processBatch(Ticking, Ticking.recipient(1)), Ticking.layer)

      assert.include(yield* StoreDump.dump, "mailbox of T,1\n  popped  1970-01-01T00:00:00.000Z: nothing")
    }).pipe(provided))
})
