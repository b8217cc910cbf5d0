import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Exit, Option, Schema } from "effect"
import * as Datastore from "../src/Datastore.ts"
import * as Entity from "../src/Entity.ts"
import * as Eventbox from "../src/Eventbox.ts"
import * as Processor from "../src/Processor.ts"
import { Recorder } from "../src/testing/index.ts"
import { operationsOf, world } from "./utils/boxWorld.ts"

/** A box of any events, whose batches count them. */
const makeBox = <A>(event: Schema.Codec<A, any>, codec?: Processor.PayloadCodec<A>) => {
  class Box extends Processor.Service<Box>()("test/Box", { kind: "Box", state: Schema.Int, event, codec }) {}
  const recipient = Box.recipient("one")
  const layer = Box.toLayer(Box.entity({
    initial: () => 0,
    prepareMutation: (events, count) => Effect.succeed({ transitions: [{ events, transitionTo: count + 1 }] })
  }))
  return {
    emit: (value: unknown, options?: { readonly id?: any }) => Eventbox.emit(Box, recipient, value as never, options),
    list: Effect.map(Eventbox.list(Box, recipient), (events) => Arr.getSuccesses(events).map(({ value }) => value)),
    batch: Eventbox.processBatch(Box, recipient).pipe(Effect.provide(layer))
  }
}

const circular: { self?: unknown } = {}
circular.self = circular

const nested = (levels: number, wrap: (inner: unknown) => unknown): unknown => {
  let value: unknown = wrap(0)
  for (let n = 1; n < levels; n++) value = wrap(value)
  return value
}
const array = (inner: unknown) => [inner]
const object = (inner: unknown) => ({ a: inner })
const deep = nested(100_000, array)

interface Tree {
  readonly child?: Tree
}
const Tree: Schema.Codec<Tree> = Schema.Struct({ child: Schema.optionalKey(Schema.suspend(() => Tree)) })
const tree = (levels: number): Tree => {
  let value: Tree = {}
  for (let n = 1; n < levels; n++) value = { child: value }
  return value
}

const thrower = {
  get x(): never {
    throw new Error("boom")
  }
}
const trap = new Proxy({}, {
  ownKeys: () => {
    throw new Error("boom")
  }
})
const Async = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: { run: (text: any) => Effect.as(Effect.yieldNow, text) },
  encode: { run: () => Effect.andThen(Effect.yieldNow, Effect.die(new Error("boom"))) }
} as any)) as unknown as Schema.Codec<string>

describe("a value that is not JSON that decodes again", () => {
  const cases: ReadonlyArray<readonly [string, Schema.Codec<any, any>, unknown]> = [
    ["Any: undefined", Schema.Any, undefined],
    ["Any: a function", Schema.Any, () => 1],
    ["Any: a symbol", Schema.Any, Symbol("x")],
    ["Any: a bigint", Schema.Any, BigInt(1)],
    ["Any: circular", Schema.Any, circular],
    ["Any: a getter that throws", Schema.Any, thrower],
    ["Any: a proxy that throws", Schema.Any, trap],
    ["Any: deep", Schema.Any, deep],
    ["Unknown: undefined", Schema.Unknown, undefined],
    ["Unknown: circular", Schema.Unknown, circular],
    ["Unknown: a getter that throws", Schema.Unknown, thrower],
    ["Unknown: a proxy that throws", Schema.Unknown, trap],
    ["Unknown: deep", Schema.Unknown, deep],
    ["Json: deep", Schema.Json, nested(100_000, object)],
    ["a recursive struct: deep", Tree, tree(100_000)],
    ["a transformation that dies in a fiber", Async, "text"]
  ]
  it.effect.each(cases)(
    "is EventRejected/Encode, and nothing is sent: %s",
    ([, schema, value]) =>
      Effect.gen(function*() {
        const recorder = yield* Recorder.Recorder
        const box = makeBox(schema)

        const [error, report] = yield* recorder.during(Effect.flip(box.emit(value)))

        assert.strictEqual(error._tag === "EventRejected" && error.reason._tag, "Encode")
        assert.deepStrictEqual(operationsOf(report), [])
      }).pipe(Effect.provide(world))
  )

  it.effect("of 500 levels is taken and processed, of 501 it is refused, in whatever form", () =>
    Effect.gen(function*() {
      const forms: ReadonlyArray<readonly [Schema.Codec<any, any>, (levels: number) => unknown]> = [
        [Schema.Json, (levels) => nested(levels, array)],
        [Schema.Json, (levels) => nested(levels, object)],
        [Schema.Unknown, (levels) => nested(levels, (inner) => ({ "]\\\"[": "[[[[", a: inner }))],
        [Schema.Any, (levels) => nested(levels, object)],
        [Tree, tree]
      ]
      for (const [schema, make] of forms) {
        const box = makeBox(schema)
        yield* box.emit(make(500))
        assert.strictEqual((yield* box.batch).consumed, 1)
        assert.include((yield* Effect.flip(box.emit(make(501)))).message, "more than 500 levels")
      }
    }).pipe(Effect.provide(world)))

  it.effect("is none of those that only look odd", () =>
    Effect.gen(function*() {
      const box = makeBox(Schema.Unknown)
      const values = [
        null,
        "[".repeat(5_000),
        "\\\"".repeat(2_000),
        JSON.parse("{\"__proto__\":1}"),
        "\ud800",
        "\0",
        ""
      ]

      for (const value of values) yield* box.emit(value)

      const stored: ReadonlyArray<unknown> = yield* box.list
      assert.sameDeepMembers(Array.from(stored), values)
    }).pipe(Effect.provide(world)))
})

describe("a stored event that its schema cannot take", () => {
  it.effect("for running out of stack is EventDecodeError", () =>
    Effect.gen(function*() {
      const box = makeBox(Tree)
      const id = yield* box.emit({})
      const { results: [found] } = yield* Datastore.query({ kind: "dsset.Item" })
      const { key, properties } = Option.getOrThrow(found!.entity)
      const text = `${"{\"child\":".repeat(50_000)}{}${"}".repeat(50_000)}`
      const Value = new TextEncoder().encode(text)
      yield* Datastore.put([Entity.make(key, { ...properties, Value }, { unindexed: "all" })])

      const error = yield* Effect.flip(box.batch)

      assert.strictEqual(error._tag === "EventDecodeError" && error.eventId, id)
    }).pipe(Effect.provide(world)))
})

describe("an id that is no string", () => {
  it.effect("is EventRejected/InvalidId, also one that has no text", () =>
    Effect.gen(function*() {
      const box = makeBox(Schema.Int)
      for (const id of [5, {}, [], Symbol("x"), Object.create(null), new Date(0), true]) {
        const error = yield* Effect.flip(box.emit(1, { id }))
        assert.strictEqual(error._tag === "EventRejected" && error.reason._tag, "InvalidId")
      }
    }).pipe(Effect.provide(world)))
})

describe("a codec of one's own", () => {
  const bytesOf = (n: number) => Uint8Array.of(255, n)
  const good: Processor.PayloadCodec<number> = {
    encode: (n) => n < 256 ? Effect.succeed(bytesOf(n)) : Effect.fail("too great"),
    decode: (bytes) => bytes[0] === 255 ? Effect.succeed(bytes[1]!) : Effect.fail(new Error("not ours"))
  }

  it.effect("stores what it gives and reads it back, by the methods of an object too", () =>
    Effect.gen(function*() {
      class Codec {
        readonly first = 255
        encode(n: number) {
          return Effect.as(Effect.yieldNow, Uint8Array.of(this.first, n))
        }
        decode(bytes: Uint8Array) {
          return Effect.as(Effect.yieldNow, bytes[this.first - 254]!)
        }
      }
      for (const codec of [good, new Codec()]) {
        const box = makeBox(Schema.Int, codec)
        yield* box.emit(7)
        const { results: [item] } = yield* Datastore.query({ kind: "dsset.Item" })
        assert.deepStrictEqual(Option.getOrThrow(item!.entity).properties["Value"], bytesOf(7))
        assert.deepStrictEqual(yield* box.list, [7])
        assert.strictEqual((yield* box.batch).consumed, 1)
      }
    }).pipe(Effect.provide(world)))

  it.effect("that fails, throws, dies or gives no bytes refuses the value", () =>
    Effect.gen(function*() {
      const encoders: ReadonlyArray<(n: number) => Effect.Effect<any, unknown>> = [
        good.encode,
        () => {
          throw new Error("thrown")
        },
        () => Effect.die("dead"),
        () => Effect.andThen(Effect.yieldNow, Effect.die(Object.create(null))),
        () => Promise.resolve(bytesOf(1)) as any,
        () => undefined as any,
        () => Effect.succeed("text"),
        () => Effect.succeed(undefined),
        () => Effect.succeed(new ArrayBuffer(1)),
        () => Effect.succeed(new Float64Array(1))
      ]
      for (const encode of encoders) {
        const error = yield* Effect.flip(makeBox(Schema.Int, { ...good, encode }).emit(999))
        assert.strictEqual(error._tag === "EventRejected" && error.reason._tag, "Encode")
      }
    }).pipe(Effect.provide(world)))

  it.effect("that cannot read what is stored makes it an EventDecodeError with its cause", () =>
    Effect.gen(function*() {
      yield* makeBox(Schema.Int).emit(1)

      const error = yield* Effect.flip(makeBox(Schema.Int, good).batch)
      const dead = yield* Effect.exit(makeBox(Schema.Int, { ...good, decode: () => Effect.die("dead") }).batch)
      const none = yield* Effect.flip(makeBox(Schema.Int, { ...good, decode: () => undefined as any }).batch)

      assert.include(error.message, "not ours")
      assert.isTrue(Exit.isFailure(dead) && dead.cause.reasons.every(({ _tag }) => _tag === "Fail"))
      assert.include(none.message, "does not decode: the codec of the box gave no Effect")
    }).pipe(Effect.provide(world)))

  it.effect("may use the memory of its bytes again, and change what it is given, also when a batch is halved", () =>
    Effect.gen(function*() {
      const memory = new Uint8Array(1)
      class Box extends Processor.Service<Box>()("test/Memory", {
        kind: "Memory",
        state: Schema.Array(Schema.Int),
        event: Schema.Int,
        codec: {
          encode: (n) =>
            Effect.sync(() => {
              memory[0] = n ^ 255
              return memory
            }),
          decode: (bytes) =>
            Effect.sync(() => {
              bytes[0]! ^= 255
              return bytes[0]!
            })
        }
      }) {}
      yield* Eventbox.emitAll(Box, Box.recipient(1), [1, 2, 3, 4])
      const implementation = Box.entity({
        initial: () => [],
        prepareMutation: (events, state) => {
          const values = events.map(({ value }) => value)
          return values.includes(3)
            ? Effect.die(new Error("three"))
            : Effect.succeed({ transitions: [{ events, transitionTo: [...state, ...values] }] })
        }
      })

      yield* Effect.gen(function*() {
        yield* Effect.flip(Eventbox.process(Box, Box.recipient(1)))
        assert.deepStrictEqual((yield* Eventbox.loadState(Box, Box.recipient(1))).state, [1, 2, 4])
      }).pipe(Effect.provideServiceEffect(Box, implementation))
    }).pipe(Effect.provide(world)))
})
