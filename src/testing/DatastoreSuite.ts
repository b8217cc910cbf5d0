/**
 * What every backend must do, as tests: one suite for the store in memory, the emulator, production, and yours.
 *
 * The facts are stated at the port (`Backend`), by its three operations alone. Every test works below a fresh random
 * key, so a suite may run against a database that holds other things, and many at a time.
 *
 * @since 0.1.0
 */
import { assert, layer as withLayer, type Vitest } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Mutation, Query, Snapshot } from "../Backend.ts"
import type { Datastore } from "../Datastore.ts"
import * as Entity from "../Entity.ts"
import * as Key from "../Key.ts"
import {
  atOnce,
  backoff,
  flat,
  histories,
  ids,
  judge,
  leaf,
  named,
  outcome,
  plain,
  play,
  propertiesOf,
  remove,
  setup,
  sorts,
  upsert,
  valueOf
} from "./internal/facts.ts"
import { exact, spellings, unstorable } from "./internal/samples.ts"

/**
 * Where a backend may differ, and how long its tests may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface SuiteOptions {
  /** Bytes of data in a commit that is refused as too large; 11 MiB by default. */
  readonly tooLargeCommitBytes?: number | undefined
  /** How often each race is run; 20 by default. */
  readonly rounds?: number | undefined
  /** For each test, and for building the layer; 30 seconds by default. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Declares the tests of one backend, in a `describe` block of that name.
 *
 * **Details**
 *
 * Runs on the live clock. Writes some 10,000 small entities and 30 MiB in all, and leaves them behind.
 *
 * **Example** (The suite of the store in memory)
 *
 * ```ts
 * import * as InMemory from "effect-eventbox/layers/InMemory"
 * import * as DatastoreSuite from "effect-eventbox/testing/DatastoreSuite"
 *
 * DatastoreSuite.suite("InMemory", InMemory.layer)
 * ```
 *
 * @category testing
 * @since 0.1.0
 */
export const suite = <E>(name: string, layer: Layer.Layer<Datastore, E>, options: SuiteOptions = {}): void => {
  const timeout = options.timeout ?? "30 seconds"
  const context: Context = {
    timeoutMillis: Duration.toMillis(Duration.fromInputUnsafe(timeout)),
    rounds: options.rounds ?? 20,
    tooLargeCommitBytes: options.tooLargeCommitBytes ?? 11 * 1024 * 1024
  }
  withLayer(layer, { excludeTestServices: true, timeout })(name, (it) => {
    for (const facts of allFacts) facts(it, context)
  })
}

interface Context {
  readonly timeoutMillis: number
  readonly rounds: number
  readonly tooLargeCommitBytes: number
}

const assertOneValue = (snapshots: ReadonlyArray<Snapshot>): void =>
  assert.strictEqual(new Set(snapshots.map(valueOf)).size, 1)

type It = Vitest.MethodsNonLive<Datastore>

/** That two records hold the same values in the same form: `5n` and `5`, or `new Double(1)` and `1`, are not. */
const assertSame = (actual: Entity.Properties, expected: Entity.Properties): void =>
  assert.deepStrictEqual(plain(actual), plain(expected))

// ---------------------------------------------------------------------------------------------------------------------
// Facts about reading
// ---------------------------------------------------------------------------------------------------------------------

const lookups = (it: It, { rounds, timeoutMillis }: Context): void => {
  it.effect(
    "a lookup answers in the order of its keys, with None for each that is missing",
    () =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const [a, b, c, d] = ids("a", "b", "c", "d").map((id) => Key.child(root, "Leaf", id)) as [
          Key.Key,
          Key.Key,
          Key.Key,
          Key.Key
        ]
        yield* upsert(backend, [leaf(b, 2), leaf(a, 1), leaf(c, 3)])

        const found = yield* backend.lookup([c, d, a, b])

        assert.deepStrictEqual(found.map(({ key }) => key.toString()), [c, d, a, b].map(String))
        assert.deepStrictEqual(found.map(valueOf), [3, undefined, 1, 2])
        assert.strictEqual(found[1]!.updateTime, BigInt(0))
      }),
    timeoutMillis
  )

  it.effect("one lookup takes 1,000 keys, however many of them exist", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = Array.from({ length: 1_000 }, (_, index) => Key.child(root, "Leaf", index + 1))
      yield* upsert(backend, keys.filter((_, index) => index % 2 === 0).map((key) => leaf(key, Number(key.id))))

      const found = yield* backend.lookup(keys)

      assert.deepStrictEqual(found.map(valueOf), keys.map(({ id }, index) => index % 2 === 0 ? Number(id) : undefined))
    }), timeoutMillis)

  it.effect("lookups and queries see every commit that ended before they began", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const key = Key.child(root, "Leaf", "a")
      for (let round = 1; round <= rounds; round++) {
        yield* upsert(backend, [leaf(key, round)])

        assert.deepStrictEqual((yield* backend.lookup([key])).map(valueOf), [round])
        assert.deepStrictEqual((yield* backend.query({ kind: "Leaf", ancestor: root })).results.map(valueOf), [round])
      }
    }), timeoutMillis)

  it.effect("nobody's later changes reach what is stored or what was read", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const given = { blob: new Uint8Array([1, 2]), list: [1, 1], buffer: Buffer.from("ab") }
      const key = Key.child(root, "Leaf", "a")
      yield* upsert(backend, [Entity.make(key, given)])
      const expected = { blob: new Uint8Array([1, 2]), list: [1, 1], buffer: new Uint8Array([97, 98]) }

      given.blob[0] = 9
      given.buffer[0] = 9
      given.list.push(9)
      const first = propertiesOf((yield* backend.lookup([key]))[0]!) as typeof given
      assertSame(first, expected)
      first.blob[0] = 9
      first.list.push(9)

      assertSame(propertiesOf((yield* backend.lookup([key]))[0]!), expected)
    }), timeoutMillis)
}

const queries = (it: It, { timeoutMillis }: Context): void => {
  it.effect(
    "a query returns one kind below its ancestor, at any depth, the ancestor included, in key order",
    () =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const inOrder = [
          Key.child(root, "Leaf", "a"),
          Key.make(...flat(root), "Leaf", "a", "Leaf", 7),
          Key.make(...flat(root), "Leaf", "a", "Mid", 1, "Leaf", "x"),
          Key.child(root, "Leaf", "b")
        ]
        const beside = [
          Key.make("SuiteRoot", `${String(root.id)}x`, "Leaf", "a"),
          Key.make("SuiteRoot", `${String(root.id)}\0`, "Leaf", "a"),
          Key.child(root, "Lea", "a"),
          Key.child(root, "Leaf2", "a"),
          Key.make(...flat(root), "Leaf", "a", "Mid", 1)
        ]
        yield* upsert(backend, [...inOrder.toReversed(), ...beside].map((key) => leaf(key, 1)))

        const below = (ancestor: Key.Key) =>
          Effect.map(
            backend.query({ kind: "Leaf", ancestor }),
            ({ results }) => results.map(({ key }) => key.toString())
          )

        assert.deepStrictEqual(yield* below(root), inOrder.map(String))
        assert.deepStrictEqual(yield* below(inOrder[0]!), inOrder.slice(0, 3).map(String))
        assert.deepStrictEqual(yield* below(Key.child(root, "Leaf", "c")), [])
      }),
    timeoutMillis
  )

  it.effect("key order is by UTF-8 bytes, with integers before names", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const inOrder = [1, 9, 10, 2 ** 40, BigInt(2) ** BigInt(62), "0", "1", "10", "9", "A", "a", "a\0", "a ", "aa"]
        .concat(["\u00e9", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uff5e", "\u{10000}", "\u{1f600}", "\u{10ffff}"])
        .map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, inOrder.toReversed().map((key) => leaf(key, 1)))

      const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })

      assert.deepStrictEqual(results.map(({ key }) => key.toString()), inOrder.map(String))
      assert.deepStrictEqual(inOrder.toSorted(Key.Order).map(String), inOrder.map(String))
    }), timeoutMillis)

  it.effect("a query without an ancestor finds the kind everywhere", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const kind = `Kind-${String(root.id)}`
      const keys = [Key.make(kind, 1), Key.make(kind, "a"), Key.child(root, kind, 1)]
      yield* upsert(backend, keys.map((key) => leaf(key, 1)))

      const { results } = yield* backend.query({ kind })

      assert.deepStrictEqual(results.map(({ key }) => key.toString()), keys.toSorted(Key.Order).map(String))
    }), timeoutMillis)
}

const queryDetails = (it: It, { rounds, timeoutMillis }: Context): void => {
  it.effect("a keys-only query returns the same keys and versions, without properties", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = ids("a", "b").map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, keys.map((key) => leaf(key, 1)))

      const { results } = yield* backend.query({ kind: "Leaf", ancestor: root, keysOnly: true })

      const full = yield* backend.lookup(keys)
      assert.deepStrictEqual(results.map(({ key }) => key.toString()), keys.map(String))
      assert.deepStrictEqual(results.map(({ version }) => version), full.map(({ version }) => version))
      assert.deepStrictEqual(results.map(propertiesOf), [{}, {}])
    }), timeoutMillis)

  // Listings are read beside other entities; whether they are older is decided by these times alone.
  it.effect(
    "a query has seen a commit if and only if its readTime is not before the commit's updateTime",
    () =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const keys = Array.from({ length: rounds }, (_, index) => Key.child(root, "Leaf", index + 1))
        const seen: Array<readonly [readTime: bigint, ids: ReadonlySet<string>]> = []
        const read = Effect.map(backend.query({ kind: "Leaf", ancestor: root }), ({ readTime, results }) => {
          for (const { updateTime } of results) assert.isAtLeast(Number(readTime), Number(updateTime))
          seen.push([readTime, new Set(results.map(({ key }) => key.toString()))])
        })
        for (const key of keys) {
          yield* Effect.all([read, upsert(backend, [leaf(key, 1)]), read], { concurrency: "unbounded" })
        }

        for (const { key, updateTime } of yield* backend.lookup(keys)) {
          for (const [readTime, found] of seen) assert.strictEqual(found.has(key.toString()), readTime >= updateTime)
        }
      }),
    timeoutMillis
  )
}

const bounds = (it: It, { timeoutMillis }: Context): void => {
  it.effect(
    "bounds are inclusive or exclusive as asked, whether or not an entity sits on them",
    () =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const at = (id: string) => Key.child(root, "Leaf", id)
        yield* upsert(backend, ids("b", "d", "f").map((id) => leaf(at(id), 1)))
        const find = (query: Partial<Query>) =>
          Effect.map(
            backend.query({ kind: "Leaf", ancestor: root, ...query }),
            ({ results }) => results.map(({ key }) => String(key.id)).join("")
          )
        const bound = (id: string, inclusive: boolean) => ({ key: at(id), inclusive })

        assert.strictEqual(yield* find({ from: bound("b", true) }), "bdf")
        assert.strictEqual(yield* find({ from: bound("b", false) }), "df")
        assert.strictEqual(yield* find({ from: bound("c", false) }), "df")
        assert.strictEqual(yield* find({ from: bound("f", false) }), "")
        assert.strictEqual(yield* find({ to: bound("f", true) }), "bdf")
        assert.strictEqual(yield* find({ to: bound("f", false) }), "bd")
        assert.strictEqual(yield* find({ to: bound("e", true) }), "bd")
        assert.strictEqual(yield* find({ to: bound("b", false) }), "")
        assert.strictEqual(yield* find({ from: bound("b", false), to: bound("f", false) }), "d")
        assert.strictEqual(yield* find({ from: bound("d", true), to: bound("d", true) }), "d")
      }),
    timeoutMillis
  )

  it.effect("a limit takes the first results, also together with bounds", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = Array.from({ length: 5 }, (_, index) => Key.child(root, "Leaf", index + 1))
      yield* upsert(backend, keys.map((key) => leaf(key, 1)))
      const find = (query: Partial<Query>) =>
        Effect.map(backend.query({ kind: "Leaf", ancestor: root, ...query }), ({ results }) =>
          results.map(({ key }) => Number(key.id)))

      assert.deepStrictEqual(yield* find({ limit: 1 }), [1])
      assert.deepStrictEqual(yield* find({ limit: 5 }), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* find({ limit: 50 }), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* find({ limit: 2, from: { key: keys[1]!, inclusive: false } }), [3, 4])
      assert.deepStrictEqual(yield* find({ limit: 2, to: { key: keys[0]!, inclusive: true } }), [1])
    }), timeoutMillis)

  // More than a service returns at once, so that a listing in parts is put together.
  it.effect("a query returns thousands of results, each once and in order", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = Array.from({ length: 2_000 }, (_, index) => Key.child(root, "Leaf", index + 1))
      for (const from of [1_500, 0, 1_000, 500]) {
        yield* upsert(backend, keys.slice(from, from + 500).map((key) => leaf(key, Number(key.id))))
      }

      const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })
      const limited = yield* backend.query({ kind: "Leaf", ancestor: root, limit: 1_234 })

      assert.deepStrictEqual(results.map(valueOf), keys.map(({ id }) => Number(id)))
      assert.deepStrictEqual(limited.results.map(valueOf), keys.slice(0, 1_234).map(({ id }) => Number(id)))
    }), timeoutMillis)
}

// ---------------------------------------------------------------------------------------------------------------------
// Facts about commits
// ---------------------------------------------------------------------------------------------------------------------

const commits = (it: It, { timeoutMillis }: Context): void => {
  it.effect("a commit that fails writes nothing at all", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const [first, middle, last] = ids("1", "2", "3").map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, [leaf(middle!, 0)])
      const inserts = [first, middle, last].map((key): Mutation => ({ _tag: "Insert", entity: leaf(key!, 1) }))
      const updates = [middle, last].map((key): Mutation => ({ _tag: "Update", entity: leaf(key!, 1) }))

      assert.strictEqual(yield* outcome(backend.commit({ mutations: inserts, expected: [] })), "AlreadyExists")
      assert.strictEqual(yield* outcome(backend.commit({ mutations: updates, expected: [] })), "NotFound")

      assert.deepStrictEqual((yield* backend.lookup([first!, middle!, last!])).map(valueOf), [undefined, 0, undefined])
    }), timeoutMillis)

  it.effect("a commit takes 500 mutations of every sort, and lands whole", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = Array.from({ length: 500 }, (_, index) => Key.child(root, "Leaf", index + 1))
      yield* upsert(backend, keys.filter((_, index) => index % 4 >= 2).map((key) => leaf(key, 0)))

      yield* backend.commit({
        mutations: keys.map((key, index) => sorts[index % 4]!(key, leaf(key, index))),
        expected: []
      })

      assert.deepStrictEqual(
        (yield* backend.lookup(keys)).map(valueOf),
        keys.map((_, index) => index % 4 === 2 ? undefined : index)
      )
    }), timeoutMillis)

  it.effect("a delete of what is missing succeeds", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const [there, missing] = ids("there", "missing").map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, [leaf(there!, 1)])

      yield* backend.commit({ mutations: [remove(missing!), remove(there!)], expected: [] })

      assert.deepStrictEqual((yield* backend.lookup([there!, missing!])).map(valueOf), [undefined, undefined])
    }), timeoutMillis)

  it.effect("a commit of nothing succeeds", () =>
    Effect.gen(function*() {
      const { backend } = yield* setup

      assert.strictEqual(yield* outcome(backend.commit({ mutations: [], expected: [] })), "Success")
    }), timeoutMillis)

  it.effect("a commit replaces the whole entity", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const key = Key.child(root, "Leaf", "a")
      yield* upsert(backend, [Entity.make(key, { a: 1, b: 2 })])

      yield* upsert(backend, [Entity.make(key, { b: 3 })])

      assertSame(propertiesOf((yield* backend.lookup([key]))[0]!), { b: 3 })
    }), timeoutMillis)
}

const expectations = (it: It, { timeoutMillis }: Context): void => {
  const combinations = (["None", "Insert", "Upsert", "Update", "Delete"] as const).flatMap((tag) =>
    [false, true].map((expected) => ({ tag, expected, name: `${tag}, ${expected ? "expected" : "not expected"}` }))
  )
  // Each commit also writes an entity of its own, which must share its fate.
  it.effect.each(combinations)(
    "every history of an entity gives the one right outcome: $name",
    ({ expected, tag }) =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        for (const history of histories) {
          const key = Key.child(root, "Leaf", history)
          const beside = Key.child(root, "Beside", history)
          const snapshot = yield* play(backend, key, history)
          const right = judge(history, expected, tag)
          const entity = leaf(key, 3)
          const own: ReadonlyArray<Mutation> = tag === "None"
            ? []
            : [tag === "Delete" ? remove(key) : { _tag: tag, entity }]

          const actual = yield* outcome(backend.commit({
            mutations: [...own, { _tag: "Upsert", entity: leaf(beside, 1) }],
            expected: expected ? [snapshot] : []
          }))

          assert.strictEqual(actual, right.outcome, history)
          assert.deepStrictEqual(
            (yield* backend.lookup([key, beside])).map(valueOf),
            [right.value, right.outcome === "Success" ? 1 : undefined],
            history
          )
        }
      }),
    timeoutMillis
  )

  it.effect("a commit of expectations alone tells whether they hold", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      for (const history of histories) {
        const key = Key.child(root, "Leaf", history)
        const expected = [yield* play(backend, key, history)]

        assert.strictEqual(
          yield* outcome(backend.commit({ mutations: [], expected })),
          history.includes(",") ? "Contention" : "Success",
          history
        )
        assert.deepStrictEqual((yield* backend.lookup([key])).map(valueOf), [judge(history, false, "None").value])
      }
    }), timeoutMillis)
}

const manyExpectations = (it: It, { timeoutMillis }: Context): void => {
  it.effect("one changed entity among many expected ones is enough for contention", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = Array.from({ length: 20 }, (_, index) => Key.child(root, "Leaf", index + 1))
      yield* upsert(backend, keys.slice(0, 10).map((key) => leaf(key, 1)))
      const expected = yield* backend.lookup(keys)
      for (const changed of [keys[3]!, keys[15]!]) {
        const again = yield* backend.lookup(keys)
        yield* upsert(backend, [leaf(changed, 2)])

        const mutations = keys.slice(5, 12).map((key): Mutation => ({ _tag: "Upsert", entity: leaf(key, 9) }))
        assert.strictEqual(yield* outcome(backend.commit({ mutations, expected: again })), "Contention")
      }

      assert.strictEqual(yield* outcome(backend.commit({ mutations: [], expected })), "Contention")
      assert.notInclude((yield* backend.lookup(keys)).map(valueOf), 9)
    }), timeoutMillis)

  it.effect("the snapshots of a query can be expected too", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = ids("a", "b", "c").map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, keys.map((key) => leaf(key, 1)))
      const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })
      yield* upsert(backend, [leaf(keys[1]!, 2)])
      const clear = (from: number, to: number) => {
        const expected = results.slice(from, to)
        return outcome(backend.commit({ mutations: expected.map(({ key }) => remove(key)), expected }))
      }

      assert.strictEqual(yield* clear(0, 3), "Contention")
      assert.strictEqual(yield* clear(0, 1), "Success")
      assert.strictEqual(yield* clear(2, 3), "Success")
      assert.deepStrictEqual((yield* backend.lookup(keys)).map(valueOf), [undefined, 2, undefined])
    }), timeoutMillis)
}

const versions = (it: It, { timeoutMillis }: Context): void => {
  it.effect(
    "version and updateTime grow with every change, also over a deletion, and rest between",
    () =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const key = Key.child(root, "Leaf", "a")
        const read = Effect.map(backend.lookup([key]), ([snapshot]) => snapshot!)
        const seen: Array<Snapshot> = []
        for (let value = 1; value <= 5; value++) {
          if (value === 3) yield* backend.commit({ mutations: [remove(key)], expected: [] })
          yield* upsert(backend, [leaf(key, value)])
          seen.push(yield* read)
          yield* upsert(backend, [leaf(Key.child(root, "Leaf", "other"), value)])
          const again = yield* read
          assert.strictEqual(again.version, seen.at(-1)!.version)
          assert.strictEqual(again.updateTime, seen.at(-1)!.updateTime)
        }

        for (let index = 1; index < seen.length; index++) {
          assert.isTrue(seen[index]!.version > seen[index - 1]!.version, "version")
          assert.isTrue(seen[index]!.updateTime > seen[index - 1]!.updateTime, "updateTime")
        }
      }),
    timeoutMillis
  )

  it.effect("a write that changes nothing never takes version or updateTime back", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const key = Key.child(root, "Leaf", "a")
      yield* upsert(backend, [leaf(key, 1)])
      const [before] = yield* backend.lookup([key])

      yield* upsert(backend, [leaf(key, 1)])

      const [after] = yield* backend.lookup([key])
      assert.isTrue(after!.version >= before!.version)
      assert.isTrue(after!.updateTime >= before!.updateTime)
      assert.strictEqual(after!.version === before!.version, after!.updateTime === before!.updateTime)
    }), timeoutMillis)

  it.effect("a chain of commits, each expecting the one before, never meets contention", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const key = Key.child(root, "Leaf", "a")
      for (let value = 1; value <= 10; value++) {
        const expected = yield* backend.lookup([key])
        const mutation: Mutation = value % 4 === 0 ? remove(key) : { _tag: "Upsert", entity: leaf(key, value) }

        assert.strictEqual(yield* outcome(backend.commit({ mutations: [mutation], expected })), "Success")
      }
    }), timeoutMillis)
}

// ---------------------------------------------------------------------------------------------------------------------
// Facts about values and limits
// ---------------------------------------------------------------------------------------------------------------------

const roundTrip = (written: Entity.Value, read: Entity.Value) =>
  Effect.gen(function*() {
    const { backend, root } = yield* setup
    const [key, copy] = ids("written", "rewritten").map((id) => Key.child(root, "Leaf", id))

    yield* upsert(backend, [Entity.make(key!, { value: written })])
    const [first] = yield* backend.lookup([key!])
    yield* upsert(backend, [{ ...Option.getOrThrow(first!.entity), key: copy! }])
    const [second] = yield* backend.lookup([copy!])
    const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })

    for (const snapshot of [first!, second!, ...results]) assertSame(propertiesOf(snapshot), { value: read })
  })

const values = (it: It, { timeoutMillis }: Context): void => {
  it.effect.each(named(exact))(
    "exactly what was written is read, and can be written again: $name",
    ({ value }) => roundTrip(value, value),
    timeoutMillis
  )

  it.effect(
    "other spellings of a value are read in the one form that stands for it",
    () => Effect.forEach(spellings, ([written, read]) => roundTrip(written, read)),
    timeoutMillis
  )

  it.effect("an entity without properties exists", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      yield* upsert(backend, [Entity.make(root, {})])

      assertSame(propertiesOf((yield* backend.lookup([root]))[0]!), {})
    }), timeoutMillis)

  it.effect("a blob of 1 MB is read as it was written", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const blob = Uint8Array.from({ length: 1_000_000 }, (_, index) => index % 251)
      yield* upsert(backend, [Entity.make(root, { blob }, { unindexed: "all" })])

      assert.isTrue(Entity.sameValue(propertiesOf((yield* backend.lookup([root]))[0]!)["blob"]!, blob))
    }), timeoutMillis)
}

const flags = (it: It, { timeoutMillis }: Context): void => {
  const long = "x".repeat(2_000)
  const record = { a: 1, b: { c: "c", d: { e: 1 } }, list: [{ f: "f", g: 2 }], plain: ["x"] }
  // What is left out of the indexes, by dotted path: every value that is not a record or an array.
  const leaves = ["a", "b.c", "b.d.e", "list.f", "list.g", "plain"]
  const cases: ReadonlyArray<
    { readonly unindexed: "all" | ReadonlyArray<string>; readonly properties: Entity.Properties }
  > = [
    { unindexed: "all", properties: { ...record, a: long, list: [{ f: long, g: 2 }] } },
    { unindexed: [], properties: record },
    { unindexed: ["a", "plain"], properties: { ...record, a: long, plain: ["x", long] } },
    { unindexed: ["b"], properties: { ...record, b: { c: long, d: { e: long } } } },
    { unindexed: ["b.c", "b.d"], properties: { ...record, b: { c: long, d: { e: new Uint8Array(2_000) } } } },
    { unindexed: ["list.f"], properties: { ...record, list: [{ f: long, g: 2 }, { f: "f", g: 3 }] } }
  ]

  it.effect.each(cases)(
    "values are left out of the indexes as asked, also when written again: $unindexed",
    ({ properties, unindexed }) =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const [key, copy] = ids("written", "rewritten").map((id) => Key.child(root, "Leaf", id))
        const written = Entity.make(key!, properties, { unindexed })

        yield* upsert(backend, [written])
        const [first] = yield* backend.lookup([key!])
        yield* upsert(backend, [{ ...Option.getOrThrow(first!.entity), key: copy! }])
        const [second] = yield* backend.lookup([copy!])

        for (const { entity } of [first!, second!]) {
          const read = Option.getOrThrow(entity)
          assertSame(read.properties, properties)
          for (const path of leaves) {
            assert.strictEqual(
              Entity.isUnindexed(read.unindexed, path),
              Entity.isUnindexed(written.unindexed, path),
              path
            )
          }
        }
      }),
    timeoutMillis
  )
}

const limits = (it: It, { timeoutMillis, tooLargeCommitBytes }: Context): void => {
  it.effect.each(named(unstorable))(
    "refused with InvalidArgument, and nothing is written: $name",
    ({ value: make }) =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const beside = Key.child(root, "Beside", 1)
        const entity = make(Key.child(root, "Leaf", 1))

        const error = yield* Effect.flip(upsert(backend, [leaf(beside, 1), entity]))

        assert.strictEqual(error._tag === "DatastoreError" ? error.reason._tag : error._tag, "InvalidArgument")
        assert.deepStrictEqual((yield* backend.lookup([beside])).map(valueOf), [undefined])
      }),
    timeoutMillis
  )

  it.effect("a commit that is too large is refused, and nothing is written", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const blob = new Uint8Array(1_000_000)
      const entities = Array.from({ length: Math.ceil(tooLargeCommitBytes / blob.length) }, (_, index) =>
        Entity.make(Key.child(root, "Leaf", index + 1), { blob }, { unindexed: "all" }))

      const refused = yield* outcome(upsert(backend, entities))

      assert.include(["InvalidArgument", "ResourceExhausted"], refused)
      assert.isTrue((yield* backend.lookup(entities.map(({ key }) =>
        key
      ))).every(({ entity }) => Option.isNone(entity)))
    }), timeoutMillis)

  it.effect("a commit as large as the backend's own limit allows is taken", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const entities: Array<Entity.Entity> = []
      let room = backend.limits.commitBytes
      while (room > 100_000) {
        const blob = new Uint8Array(Math.min(1_000_000, room - 10_000))
        const entity = Entity.make(Key.child(root, "Leaf", entities.length + 1), { blob }, { unindexed: "all" })
        entities.push(entity)
        room -= Entity.sizeBytes(entity)
      }

      assert.strictEqual(yield* outcome(upsert(backend, entities)), "Success")
    }), timeoutMillis)
}

// ---------------------------------------------------------------------------------------------------------------------
// Facts about races
// ---------------------------------------------------------------------------------------------------------------------

const races = (it: It, { rounds, timeoutMillis }: Context): void => {
  it.effect.each(["present", "absent"])(
    "of two commits at once that expect one entity to be %s, exactly one lands",
    (state) =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        for (let round = 0; round < rounds; round++) {
          const key = Key.child(root, "Leaf", round + 1)
          if (state === "present") yield* upsert(backend, [leaf(key, 0)])
          const expected = yield* backend.lookup([key])

          const outcomes = yield* atOnce(
            [1, 2].map((value) =>
              outcome(backend.commit({ mutations: [{ _tag: "Upsert", entity: leaf(key, value) }], expected }))
            )
          )

          assert.deepStrictEqual(outcomes.toSorted(), ["Contention", "Success"])
          assert.deepStrictEqual((yield* backend.lookup([key])).map(valueOf), [outcomes.indexOf("Success") + 1])
        }
      }),
    timeoutMillis
  )

  // Write skew: each writes one entity and rests on the other, which it does not write.
  it.effect.each(["present", "absent"])(
    "two commits at once that rest on what the other one writes never both land: %s",
    (state) =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        let landed = 0
        for (let round = 0; round < rounds; round++) {
          const keys = ids("a", "b").map((id) => Key.make(...flat(root), "Round", round + 1, "Leaf", id))
          if (state === "present") yield* upsert(backend, keys.map((key) => leaf(key, 0)))
          const expected = yield* backend.lookup(keys)

          const outcomes = yield* atOnce(keys.map((key) =>
            outcome(backend.commit({ mutations: [{ _tag: "Upsert", entity: leaf(key, 1) }], expected }))
          ))

          const wins = outcomes.filter((one) =>
            one === "Success"
          ).length
          assert.isAtMost(wins, 1)
          assert.strictEqual((yield* backend.lookup(keys)).filter((one) => valueOf(one) === 1).length, wins)
          landed += wins
        }
        assert.isAbove(landed, 0)
      }),
    timeoutMillis
  )
}

const contended = (it: It, { rounds, timeoutMillis }: Context): void => {
  it.effect(
    "8 fibers that increment one counter with retries lose no increment",
    () =>
      Effect.gen(function*() {
        const { backend, root } = yield* setup
        const increment = Effect.gen(function*() {
          const expected = yield* backend.lookup([root])
          const entity = leaf(root, Number(valueOf(expected[0]!) ?? 0) + 1)
          yield* backend.commit({ mutations: [{ _tag: "Upsert", entity }], expected })
        }).pipe(Effect.retry({ schedule: backoff, while: (error) => error._tag === "ContentionError" }))

        yield* atOnce(Array.from({ length: 8 }, () => Effect.repeat(increment, { times: 4 })))

        assert.deepStrictEqual((yield* backend.lookup([root])).map(valueOf), [40])
      }),
    timeoutMillis
  )

  it.effect("readers see all of a commit or nothing of it", () =>
    Effect.gen(function*() {
      const { backend, root } = yield* setup
      const keys = ids("a", "b", "c").map((id) => Key.child(root, "Leaf", id))
      const write = (value: number) => upsert(backend, keys.map((key) => leaf(key, value)))
      yield* write(0)

      yield* atOnce([
        Effect.forEach(Array.from({ length: rounds }, (_, index) => index + 1), write),
        Effect.repeat(Effect.map(backend.lookup(keys), assertOneValue), { times: rounds }),
        Effect.repeat(
          Effect.map(backend.query({ kind: "Leaf", ancestor: root }), ({ results }) => assertOneValue(results)),
          { times: rounds }
        )
      ])
    }), timeoutMillis)
}

const allFacts = [
  lookups,
  queries,
  queryDetails,
  bounds,
  commits,
  expectations,
  manyExpectations,
  versions,
  values,
  flags,
  limits,
  races,
  contended
]
