import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema, SchemaGetter } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import { Recorder } from "../../src/testing/index.ts"
import {
  consumeAll,
  deciding,
  emit,
  Journal,
  journal,
  saved,
  version,
  withJournal,
  withMock
} from "../utils/boxJournal.ts"
import { defectOf, world } from "../utils/boxWorld.ts"

/** A box of any state whose batches consume all, and lead to what `next` makes of the state. */
const makeBox = <S>(
  state: Schema.Codec<S, any>,
  initial: () => S,
  next: (state: S) => Processor.Transition<S, string> | S,
  options?: { readonly excess?: "preserve" | "drop" }
) => {
  class Box extends Processor.Service<Box>()("test/Box", { kind: "Box", state, event: Schema.String }) {}
  const recipient = Box.recipient("one")
  const layer = Box.toLayer(Box.entity({
    ...options,
    initial,
    prepareMutation: (events, before) =>
      Effect.sync(() => {
        const made = next(before)
        const isTransition = typeof made === "object" && made !== null && "transitionTo" in made
        return { transitions: [{ events, ...(isTransition ? made : { transitionTo: made as S }) }] }
      })
  }))
  const batch = Eventbox.processBatch(Box, recipient).pipe(Effect.provide(layer))
  return {
    recipient,
    batch,
    /** One event and a batch. */
    step: Effect.andThen(Eventbox.emit(Box, recipient, "go"), batch),
    stored: Effect.map(Datastore.get(recipient.key), (found) => Option.getOrUndefined(found)?.properties),
    load: Effect.provide(Eventbox.loadState(Box, recipient), layer),
    waiting: Effect.map(Eventbox.list(Box, recipient), (events) => events.length),
    put: (json: unknown, eversion = 1) =>
      Datastore.put([
        Entity.make(recipient.key, { State: JSON.stringify(json), EVersion: eversion }, { unindexed: "all" })
      ])
  }
}

const jsonOf = (properties: Entity.Properties | undefined): unknown => JSON.parse(String(properties?.["State"]))

describe("a state that differs by its text alone", () => {
  const params = (text: string) => new URLSearchParams(text)
  const cases: ReadonlyArray<readonly [string, Schema.Codec<any, any>, unknown, unknown, string]> = [
    ["URLSearchParams", Schema.URLSearchParams, params("a=1"), params("a=2"), "\"a=2\""],
    ["URLSearchParams in a struct", Schema.Struct({ q: Schema.URLSearchParams }), { q: params("a=1") }, {
      q: params("a=2")
    }, "{\"q\":\"a=2\"}"],
    [
      "the order of a Map",
      Schema.ReadonlyMap(Schema.String, Schema.Int),
      new Map([["a", 1], ["b", 2]]),
      new Map([["b", 2], ["a", 1]]),
      "[[\"b\",2],[\"a\",1]]"
    ],
    [
      "the order of a record",
      Schema.Record(Schema.String, Schema.Int),
      { a: 1, b: 2 },
      { b: 2, a: 1 },
      "{\"b\":2,\"a\":1}"
    ]
  ]
  it.effect.each(cases)("is saved: %s", ([, schema, before, after, text]) =>
    Effect.gen(function*() {
      const box = makeBox(schema, () => before, () => after)

      yield* box.step

      assert.deepStrictEqual(yield* box.stored, { State: text, EVersion: 1 })
      yield* box.step
      assert.deepStrictEqual(yield* box.stored, { State: text, EVersion: 1 })
    }).pipe(Effect.provide(world)))
})

describe("a state that is changed in place", () => {
  const List = Schema.mutable(Schema.Array(Schema.String))
  const push = (state: Array<string>) => {
    state.push("x")
    return state
  }

  it.effect("dies with a message that says what to do, and nothing is written", () =>
    Effect.gen(function*() {
      const shared: Array<string> = []
      for (const [initial, stored] of [[() => [], undefined], [() => shared, undefined], [() => [], ["a"]]] as const) {
        const box = makeBox(List, initial as () => Array<string>, push)
        if (stored !== undefined) yield* box.put(stored, 3)
        const before = yield* box.stored

        const message = yield* defectOf(box.step)

        assert.include(message, "The state of Box,\"one\" was changed in place")
        assert.include(message, "touch")
        assert.deepStrictEqual(yield* box.stored, before)
        assert.isAbove(yield* box.waiting, 0)
      }
    }).pipe(Effect.provide(world)))

  it.effect("is found in what only its text shows: a Map, a date, a deep field", () =>
    Effect.gen(function*() {
      const State = Schema.Struct({
        map: Schema.ReadonlyMap(Schema.String, Schema.Int),
        at: Schema.Date,
        deep: Schema.Array(Schema.Struct({ n: Schema.Int }))
      })
      const changes: ReadonlyArray<(state: any) => void> = [
        (state) => state.map.set("a", 2),
        (state) => state.at.setTime(5),
        (state) => state.deep[0].n++
      ]
      for (const change of changes) {
        const box = makeBox(State, () => ({ map: new Map(), at: new Date(0), deep: [{ n: 1 }] }), (state) => {
          change(state)
          return state
        })
        assert.include(yield* defectOf(box.step), "changed in place")
      }
    }).pipe(Effect.provide(world)))

  it.effect("also by a transition without events", () =>
    Effect.gen(function*() {
      const box = makeBox(List, () => [], push)

      assert.include(yield* defectOf(box.batch), "changed in place")
    }).pipe(Effect.provide(world)))

  it.effect("is saved as it is now when another object holds it, or the transition touches it", () =>
    Effect.gen(function*() {
      const box = makeBox(List, () => [], (state) => [...push(state)])
      yield* box.step
      assert.deepStrictEqual(yield* box.stored, { State: "[\"x\"]", EVersion: 1 })

      const touching = makeBox(List, () => [], (state) => ({ transitionTo: push(state), touch: true }))
      yield* touching.step
      assert.deepStrictEqual(yield* touching.stored, { State: "[\"x\",\"x\"]", EVersion: 2 })
    }).pipe(Effect.provide(world)))
})

describe("a state that is handed back as it was is not saved", () => {
  it.effect.each(
    [
      ["a field that its schema fills in", { a: 1 }],
      ["its fields in another order", { b: "x", c: 5, a: 1 }],
      ["a field that its schema does not know", { a: 1, zz: 1, b: "x", c: 5 }],
      ["blanks", " {\"a\": 1, \"b\": \"\", \"c\": 5}"]
    ] as const
  )("stored with %s", ([, stored]) =>
    Effect.gen(function*() {
      const State = Schema.Struct({
        a: Schema.Int,
        b: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
        c: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(5)))
      })
      const box = makeBox(State, () => ({ a: 0, b: "", c: 0 }), (state) => state)
      const text = typeof stored === "string" ? stored : JSON.stringify(stored)
      yield* Datastore.put([Entity.make(box.recipient.key, { State: text, EVersion: 4 }, { unindexed: "all" })])

      const result = yield* box.step

      assert.strictEqual(result.consumed, 1)
      assert.deepStrictEqual(yield* box.stored, { State: text, EVersion: 4 })
    }).pipe(Effect.provide(world)))

  it.effect("and not blamed either, when its schema fills in something else every time", () =>
    Effect.gen(function*() {
      let serial = 0
      const State = Schema.Struct({
        a: Schema.Int,
        n: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.sync(() => ++serial)))
      })
      const box = makeBox(State, () => ({ a: 0, n: 0 }), (state) => state)
      yield* box.put({ a: 1 }, 4)

      yield* box.step

      assert.deepStrictEqual(yield* box.stored, { State: "{\"a\":1}", EVersion: 4 })
    }).pipe(Effect.provide(world)))

  it.effect("and one that is made of what was loaded is compared by value, as in a processor without `entity`", () =>
    Effect.gen(function*() {
      const base = yield* deciding()
      const renamed = {
        ...base,
        loadState: (recipient: typeof journal) =>
          Effect.map(
            base.loadState(recipient),
            (loaded) => ({ ...loaded, state: loaded.state.map((one) => `${one}!`) })
          )
      }
      yield* emit(["a"])
      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())
      yield* emit(["b"])

      yield* Eventbox.processBatch(Journal, journal).pipe(Effect.provideService(Journal, {
        ...renamed,
        prepareMutation: (events, state) => Effect.succeed({ transitions: [{ events, transitionTo: state }] })
      }))
      assert.deepStrictEqual(yield* saved(), { state: ["a"], eversion: 1 })
      yield* emit(["c"])
      yield* Eventbox.processBatch(Journal, journal).pipe(Effect.provideService(Journal, renamed))

      assert.deepStrictEqual(yield* saved(), { state: ["a!", "c"], eversion: 2 })
    }).pipe(Effect.provide(world)))
})

describe("a transition that touches", () => {
  it.effect("saves an equal state with the next version, also without events, with `entity` and without", () =>
    Effect.gen(function*() {
      const box = makeBox(Schema.Int, () => 0, (state) => ({ transitionTo: state, touch: true }))
      yield* box.batch
      assert.deepStrictEqual(yield* box.stored, { State: "0", EVersion: 1 })

      let saves = 0
      const result = yield* Eventbox.processBatch(Journal, journal).pipe(withMock({
        prepareMutation: (_, state) => Effect.succeed({ transitions: [{ transitionTo: state, touch: true }] }),
        fetchEVersion: undefined,
        saveState: (_, eversion) => Effect.sync(() => saves += eversion)
      }))

      assert.deepStrictEqual([result.transitions, saves], [1, version(1)])
    }).pipe(Effect.provide(world)))
})

describe("a side effect that writes the recipient's own entity", () => {
  const rewrite = (note: string) =>
    Effect.flatMap(Datastore.get(journal.key), (found) =>
      Datastore.put([
        Entity.make(journal.key, { ...Option.getOrUndefined(found)?.properties, note }, { unindexed: "all" })
      ]))
  const effects = {
    puts: Datastore.put([Entity.make(journal.key, { note: "put" })]),
    rewrites: rewrite("rewritten"),
    patches: Datastore.patch(journal.key, { note: "patched" }),
    "patches State": Datastore.patch(journal.key, { note: "patched", State: "[]" }),
    removes: Datastore.remove([journal.key])
  }
  const own = { State: "[\"a\"]", EVersion: 1 }
  const next = { State: "[\"a\",\"b\"]", EVersion: 2 }
  const cases: ReadonlyArray<readonly [keyof typeof effects, "kept" | "changed", Entity.Properties | undefined]> = [
    ["puts", "changed", { ...next, note: "put" }],
    ["rewrites", "changed", { ...next, note: "rewritten", owner: "ann" }],
    ["patches", "changed", { ...next, note: "patched", owner: "ann" }],
    ["patches State", "changed", { ...next, note: "patched", owner: "ann" }],
    ["removes", "changed", next],
    // What it puts replaces all but the box's own two properties.
    ["puts", "kept", { ...own, note: "put" }],
    ["rewrites", "kept", { ...own, note: "rewritten", owner: "ann" }],
    ["patches", "kept", { ...own, note: "patched", owner: "ann" }],
    ["patches State", "kept", { ...own, note: "patched", owner: "ann" }],
    // The one way to be rid of a recipient.
    ["removes", "kept", undefined]
  ]

  it.effect.each(cases)("%s it while the state is %s", ([how, state, expected]) =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal())
      yield* Datastore.patch(journal.key, { owner: "ann" })
      yield* emit(["b"])

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal((events, before) => ({
        transitions: [{
          ...(state === "kept" ? { events, transitionTo: before } : consumeAll(events, before).transitions[0]!),
          sideEffect: effects[how]
        }]
      })))

      assert.deepStrictEqual(Option.getOrUndefined(yield* Datastore.get(journal.key))?.properties, expected)
    }).pipe(Effect.provide(world)))

  it.effect("before there is a state leaves what it wrote, and no state", () =>
    Effect.gen(function*() {
      yield* emit(["a"])

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal((events, state) => ({
        transitions: [{ events, transitionTo: state, sideEffect: effects.puts }]
      })))

      assert.deepStrictEqual(Option.getOrThrow(yield* Datastore.get(journal.key)).properties, { note: "put" })
      assert.deepStrictEqual((yield* Eventbox.loadState(Journal, journal).pipe(withJournal())).state, [])
    }).pipe(Effect.provide(world)))
})

describe("three transitions of one batch that each read and write one entity", () => {
  it.effect("come to three", () =>
    Effect.gen(function*() {
      const total = Key.make("Total", "t")
      const increment = Effect.flatMap(
        Datastore.get(total),
        (found) =>
          Datastore.put([
            Entity.make(total, { n: Number(Option.getOrUndefined(found)?.properties["n"] ?? 0) + 1 })
          ])
      )
      yield* emit(["a", "b", "c"])

      yield* Eventbox.processBatch(Journal, journal).pipe(withJournal((events, state) => ({
        transitions: events.map((event) => ({ events: [event], transitionTo: state, sideEffect: increment }))
      })))

      assert.deepStrictEqual(Option.getOrThrow(yield* Datastore.get(total)).properties, { n: 3 })
    }).pipe(Effect.provide(world)))
})

describe("saving", () => {
  it.effect("writes State and EVersion and nothing else: a patch of these two", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      yield* Datastore.put([Entity.make(journal.key, { owner: "ann", huge: "x".repeat(9_000) }, { unindexed: "all" })])
      yield* emit(["a"])

      const [, { operations }] = yield* recorder.during(Eventbox.processBatch(Journal, journal).pipe(withJournal()))

      const writes = operations.flatMap(({ call }) => call.operation === "commit" ? call.request.mutations : [])
        .filter((write) => write._tag !== "Delete" && write.entity.key.kind === "Journal")
      assert.deepStrictEqual(writes, [{
        _tag: "Patch",
        entity: Entity.make(journal.key, { EVersion: 1, State: "[\"a\"]" }, { unindexed: ["EVersion", "State"] })
      }])
    }).pipe(Effect.provide(world)))

  it.effect("encodes a state once, and decodes it once", () =>
    Effect.gen(function*() {
      const calls = { encode: 0, decode: 0 }
      const Counted = Schema.String.pipe(Schema.decodeTo(Schema.String, {
        decode: SchemaGetter.transform((text: string) => {
          calls.decode++
          return text
        }),
        encode: SchemaGetter.transform((text: string) => {
          calls.encode++
          return text
        })
      }))
      const box = makeBox(Schema.Struct({ a: Counted, list: Schema.Array(Schema.Struct({ n: Schema.Int })) }), () => ({
        a: "",
        list: []
      }), (state) => ({ a: `${state.a}x`, list: [...state.list, { n: 1 }] }))
      yield* box.step
      calls.encode = calls.decode = 0

      yield* box.step

      assert.deepStrictEqual(calls, { encode: 1, decode: 1 })
      assert.deepStrictEqual(jsonOf(yield* box.stored), { a: "xx", list: [{ n: 1 }, { n: 1 }] })
    }).pipe(Effect.provide(world)))

  it.effect("a state that JSON cannot hold is a defect that names the recipient and the box", () =>
    Effect.gen(function*() {
      const circular: { self?: unknown } = {}
      circular.self = circular
      let deep: unknown = 1
      for (let n = 0; n < 20_000; n++) deep = [deep]
      for (
        const [schema, state] of [[Schema.Any, circular], [Schema.Any, undefined], [Schema.Unknown, deep]] as const
      ) {
        const box = makeBox<unknown>(schema as Schema.Codec<unknown>, () => 0, () => ({ transitionTo: state }))
        assert.match(
          yield* defectOf(box.step),
          /The new state of Box,"one" does not fit the state schema of test\/Box: /
        )
      }
    }).pipe(Effect.provide(world)))
})

describe("fields of a stored state that its schema does not know", () => {
  const Inner = Schema.Struct({ n: Schema.Int, note: Schema.optionalKey(Schema.String) })
  const State = Schema.Struct({
    inner: Inner,
    list: Schema.Array(Inner),
    tail: Schema.Array(Inner),
    byName: Schema.Record(Schema.String, Inner),
    any: Schema.TaggedUnion({ A: { a: Schema.Int }, B: { b: Schema.Int } }),
    gone: Schema.optionalKey(Schema.String)
  })
  type State = typeof State.Type
  const known = {
    inner: { n: 1, note: "old" },
    list: [{ n: 1 }, { n: 2 }, { n: 3 }],
    tail: [{ n: 1 }, { n: 2 }],
    byName: { x: { n: 1 }, y: { n: 2 } },
    any: { _tag: "A", a: 1 },
    gone: "yes"
  }
  const stored = {
    ...known,
    inner: { ...known.inner, zz: 1 },
    list: [{ n: 1, zz: 1 }, { n: 2, zz: 2 }, { n: 3, zz: 3 }],
    byName: { x: { n: 1, zz: 1 }, y: { n: 2, zz: 2 } },
    tail: [{ n: 1 }, { n: 2, zz: 2 }],
    any: { ...known.any, zz: 1 },
    zz: { deep: [1] }
  }
  const cases: ReadonlyArray<readonly [string, (state: State) => State, unknown]> = [
    ["stay", (state) => ({ ...state, inner: { ...state.inner, n: 9 } }), {
      ...stored,
      inner: { ...stored.inner, n: 9 }
    }],
    ["do not bring back what the processor took away", ({ gone: _, ...state }) => ({ ...state, inner: { n: 1 } }), {
      ...stored,
      gone: undefined,
      inner: { n: 1, zz: 1 }
    }],
    [
      "go with the entry that a record loses",
      (state) => ({ ...state, byName: { x: state.byName["x"]! } }),
      { ...stored, byName: { x: stored.byName.x } }
    ],
    [
      "move with the elements of an array, and stay with those that are left as they are",
      (state) => ({ ...state, list: [{ n: 7 }, state.list[2]!, { ...state.list[1]! }, { n: 8 }] }),
      { ...stored, list: [{ n: 7 }, stored.list[2], stored.list[1], { n: 8 }] }
    ],
    [
      "stay with an element that moves to a place where there were none",
      (state) => ({ ...state, tail: state.tail.slice(1) }),
      { ...stored, tail: [stored.tail[1]] }
    ],
    [
      "are not carried from one variant to another",
      (state) => ({ ...state, any: { _tag: "B", b: 1 } }),
      { ...stored, any: { _tag: "B", b: 1 } }
    ]
  ]

  it.effect.each(cases)("%s", ([, change, expected]) =>
    Effect.gen(function*() {
      const box = makeBox(State, () => assert.fail("there is a state"), change)
      yield* box.put(stored, 5)

      yield* box.step

      assert.deepStrictEqual(jsonOf(yield* box.stored), JSON.parse(JSON.stringify(expected)))
      assert.strictEqual((yield* box.stored)?.["EVersion"], 6)
    }).pipe(Effect.provide(world)))

  it.effect("stay with an element that moves, also when it alone has any", () =>
    Effect.gen(function*() {
      const box = makeBox(Schema.Array(Inner), () => [], (list) => list.slice(1))
      yield* box.put([{ n: 1 }, { n: 2, zz: 2 }])

      yield* box.step

      assert.deepStrictEqual(jsonOf(yield* box.stored), [{ n: 2, zz: 2 }])
    }).pipe(Effect.provide(world)))

  it.effect("are dropped when the box says so", () =>
    Effect.gen(function*() {
      const box = makeBox(State, () => assert.fail("there is a state"), (state) => ({ ...state, gone: "no" }), {
        excess: "drop"
      })
      yield* box.put(stored)

      yield* box.step

      assert.deepStrictEqual(jsonOf(yield* box.stored), { ...known, gone: "no" })
    }).pipe(Effect.provide(world)))

  it.effect("stay also when `saveState` is called by a processor of one's own", () =>
    Effect.gen(function*() {
      class Box extends Processor.Service<Box>()("test/Wrapped", { kind: "Box", state: State, event: Schema.String }) {}
      const recipient = Box.recipient("one")
      const base = yield* Box.entity({
        initial: () => assert.fail("there is a state"),
        prepareMutation: (events, state) =>
          Effect.succeed({ transitions: [{ events, transitionTo: { ...state, gone: "no" } }] })
      })
      let saves = 0
      const layer = Box.toLayer(Effect.succeed({
        ...base,
        saveState: (state, eversion, to) => {
          saves++
          return base.saveState(state, eversion, to)
        }
      }))
      yield* Datastore.put([
        Entity.make(recipient.key, { State: JSON.stringify(stored), EVersion: 1 }, { unindexed: "all" })
      ])
      yield* Eventbox.emit(Box, recipient, "go")

      yield* Eventbox.processBatch(Box, recipient).pipe(Effect.provide(layer))

      const found = Option.getOrThrow(yield* Datastore.get(recipient.key)).properties
      assert.deepStrictEqual(jsonOf(found), { ...stored, gone: "no" })
      assert.deepStrictEqual([saves, found["EVersion"]], [1, 2])
    }).pipe(Effect.provide(world)))
})
