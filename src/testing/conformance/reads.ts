/**
 * Facts of the conformance suite about lookups and queries.
 */
import * as Effect from "effect/Effect"
import type { Query } from "../../Backend.ts"
import * as Entity from "../../Entity.ts"
import * as Key from "../../Key.ts"
import { same } from "./checks.ts"
import type { Declare, Options } from "./fact.ts"
import { flat, ids, leaf, propertiesOf, sameProperties, upsert, valueOf } from "./setting.ts"

/** States them. */
export const readFacts = (declare: Declare, options: Options): void => {
  lookups(declare, options)
  queries(declare)
  queryDetails(declare)
  bounds(declare)
}

const lookups = (declare: Declare, { rounds }: Options): void => {
  declare.fact(
    "a lookup answers in the order of its keys, with None for each that is missing",
    function*({ backend, root }) {
      const [a, b, c, d] = ids("a", "b", "c", "d").map((id) => Key.child(root, "Leaf", id)) as [
        Key.Key,
        Key.Key,
        Key.Key,
        Key.Key
      ]
      yield* upsert(backend, [leaf(b, 2), leaf(a, 1), leaf(c, 3)])

      const found = yield* backend.lookup([c, d, a, b])

      same(found.map(({ key }) => key.toString()), [c, d, a, b].map(String))
      same(found.map(valueOf), [3, undefined, 1, 2])
    }
  )

  declare.fact("one lookup takes 1,000 keys, however many of them exist", function*({ backend, root }) {
    const keys = Array.from({ length: 1_000 }, (_, index) => Key.child(root, "Leaf", index + 1))
    yield* upsert(backend, keys.filter((_, index) => index % 2 === 0).map((key) => leaf(key, Number(key.id))))

    const found = yield* backend.lookup(keys)

    same(found.map(valueOf), keys.map(({ id }, index) => index % 2 === 0 ? Number(id) : undefined))
  })

  declare.fact("lookups and queries see every commit that ended before they began", function*({ backend, root }) {
    const key = Key.child(root, "Leaf", "a")
    for (let round = 1; round <= rounds; round++) {
      yield* upsert(backend, [leaf(key, round)])

      same((yield* backend.lookup([key])).map(valueOf), [round])
      same((yield* backend.query({ kind: "Leaf", ancestor: root })).results.map(valueOf), [round])
    }
  })

  declare.fact("nobody's later changes reach what is stored or what was read", function*({ backend, root }) {
    const given = { blob: new Uint8Array([1, 2]), list: [1, 1], buffer: Buffer.from("ab") }
    const key = Key.child(root, "Leaf", "a")
    yield* upsert(backend, [Entity.make(key, given)])
    const expected = { blob: new Uint8Array([1, 2]), list: [1, 1], buffer: new Uint8Array([97, 98]) }

    given.blob[0] = 9
    given.buffer[0] = 9
    given.list.push(9)
    const first = propertiesOf((yield* backend.lookup([key]))[0]!) as typeof given
    sameProperties(first, expected)
    first.blob[0] = 9
    first.list.push(9)

    sameProperties(propertiesOf((yield* backend.lookup([key]))[0]!), expected)
  })
}

const queries = (declare: Declare): void => {
  declare.fact(
    "a query returns one kind below its ancestor, at any depth, the ancestor included, in key order",
    function*({ backend, root }) {
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

      same(yield* below(root), inOrder.map(String))
      same(yield* below(inOrder[0]!), inOrder.slice(0, 3).map(String))
      same(yield* below(Key.child(root, "Leaf", "c")), [])
    }
  )

  declare.fact("key order is by UTF-8 bytes, with integers before names", function*({ backend, root }) {
    const inOrder = [1, 9, 10, 2 ** 40, BigInt(2) ** BigInt(62), "0", "1", "10", "9", "A", "a", "a\0", "a ", "aa"]
      .concat(["\u00e9", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uff5e", "\u{10000}", "\u{1f600}", "\u{10ffff}"])
      .map((id) => Key.child(root, "Leaf", id))
    yield* upsert(backend, inOrder.toReversed().map((key) => leaf(key, 1)))

    const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })

    same(results.map(({ key }) => key.toString()), inOrder.map(String))
    same(inOrder.toSorted(Key.Order).map(String), inOrder.map(String))
  })

  declare.fact("a query without an ancestor finds the kind everywhere", function*({ backend, root }) {
    const kind = `Kind-${String(root.id)}`
    const keys = [Key.make(kind, 1), Key.make(kind, "a"), Key.child(root, kind, 1)]
    yield* upsert(backend, keys.map((key) => leaf(key, 1)))

    const { results } = yield* backend.query({ kind })

    same(results.map(({ key }) => key.toString()), keys.toSorted(Key.Order).map(String))
  })
}

const queryDetails = (declare: Declare): void => {
  declare.fact(
    "a keys-only query returns the same keys and versions, without properties",
    function*({ backend, root }) {
      const keys = ids("a", "b").map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, keys.map((key) => leaf(key, 1)))

      const { results } = yield* backend.query({ kind: "Leaf", ancestor: root, keysOnly: true })

      const full = yield* backend.lookup(keys)
      same(results.map(({ key }) => key.toString()), keys.map(String))
      same(results.map(({ version }) => version), full.map(({ version }) => version))
      same(results.map(propertiesOf), [{}, {}])
    }
  )
}

const bounds = (declare: Declare): void => {
  declare.fact(
    "bounds are inclusive or exclusive as asked, whether or not an entity sits on them",
    function*({ backend, root }) {
      const at = (id: string) => Key.child(root, "Leaf", id)
      yield* upsert(backend, ids("b", "d", "f").map((id) => leaf(at(id), 1)))
      const find = (query: Partial<Query>) =>
        Effect.map(
          backend.query({ kind: "Leaf", ancestor: root, ...query }),
          ({ results }) => results.map(({ key }) => String(key.id)).join("")
        )
      const bound = (id: string, inclusive: boolean) => ({ key: at(id), inclusive })

      same(yield* find({ from: bound("b", true) }), "bdf")
      same(yield* find({ from: bound("b", false) }), "df")
      same(yield* find({ from: bound("c", false) }), "df")
      same(yield* find({ from: bound("f", false) }), "")
      same(yield* find({ to: bound("f", true) }), "bdf")
      same(yield* find({ to: bound("f", false) }), "bd")
      same(yield* find({ to: bound("e", true) }), "bd")
      same(yield* find({ to: bound("b", false) }), "")
      same(yield* find({ from: bound("b", false), to: bound("f", false) }), "d")
      same(yield* find({ from: bound("d", true), to: bound("d", true) }), "d")
    }
  )

  declare.fact("a limit takes the first results, also together with bounds", function*({ backend, root }) {
    const keys = Array.from({ length: 5 }, (_, index) => Key.child(root, "Leaf", index + 1))
    yield* upsert(backend, keys.map((key) => leaf(key, 1)))
    const find = (query: Partial<Query>) =>
      Effect.map(
        backend.query({ kind: "Leaf", ancestor: root, ...query }),
        ({ results }) => results.map(({ key }) => Number(key.id))
      )

    same(yield* find({ limit: 1 }), [1])
    same(yield* find({ limit: 5 }), [1, 2, 3, 4, 5])
    same(yield* find({ limit: 50 }), [1, 2, 3, 4, 5])
    same(yield* find({ limit: 2, from: { key: keys[1]!, inclusive: false } }), [3, 4])
    same(yield* find({ limit: 2, to: { key: keys[0]!, inclusive: true } }), [1])
  })

  // More than a service returns at once, so that a listing in parts is put together.
  declare.fact("a query returns thousands of results, each once and in order", function*({ backend, root }) {
    const keys = Array.from({ length: 2_000 }, (_, index) => Key.child(root, "Leaf", index + 1))
    for (const from of [1_500, 0, 1_000, 500]) {
      yield* upsert(backend, keys.slice(from, from + 500).map((key) => leaf(key, Number(key.id))))
    }

    const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })
    const limited = yield* backend.query({ kind: "Leaf", ancestor: root, limit: 1_234 })

    same(results.map(valueOf), keys.map(({ id }) => Number(id)))
    same(limited.results.map(valueOf), keys.slice(0, 1_234).map(({ id }) => Number(id)))
  })
}
