/**
 * Facts of the conformance suite about commits, what they expect, and versions.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Mutation, Snapshot } from "../../Backend.ts"
import * as Entity from "../../Entity.ts"
import * as Key from "../../Key.ts"
import { holds, same } from "./checks.ts"
import type { Declare } from "./fact.ts"
import {
  histories,
  ids,
  judge,
  leaf,
  outcome,
  play,
  propertiesOf,
  remove,
  sameProperties,
  sorts,
  upsert,
  valueOf
} from "./setting.ts"

/** States them. */
export const commitFacts = (declare: Declare): void => {
  commits(declare)
  patches(declare)
  patchedFlags(declare)
  expectations(declare)
  manyExpectations(declare)
  versions(declare)
}

const commits = (declare: Declare): void => {
  declare.fact("a commit that fails writes nothing at all", function*({ backend, root }) {
    const [first, middle, last, gone] = ids("1", "2", "3", "4").map((id) => Key.child(root, "Leaf", id))
    yield* upsert(backend, [leaf(middle!, 0), leaf(gone!, 0)])
    const inserts = [first, middle, last].map((key): Mutation => ({ _tag: "Insert", entity: leaf(key!, 1) }))
    const beside: ReadonlyArray<Mutation> = [
      remove(gone!),
      { _tag: "Upsert", entity: leaf(Key.child(root, "Leaf", "5"), 1) }
    ]

    same(yield* outcome(backend.commit({ mutations: [...beside, ...inserts], expected: [] })), "AlreadyExists")

    const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })
    same(results.map(valueOf), [0, 0])
    same((yield* backend.lookup([first!, middle!, last!, gone!])).map(valueOf), [undefined, 0, undefined, 0])
  })

  declare.fact("a commit takes 500 mutations of every sort, and lands whole", function*({ backend, root }) {
    const keys = Array.from({ length: 500 }, (_, index) => Key.child(root, "Leaf", index + 1))
    yield* upsert(backend, keys.filter((_, index) => index % 4 >= 2).map((key) => leaf(key, 0)))

    yield* backend.commit({
      mutations: keys.map((key, index) => sorts[index % 4]!(key, leaf(key, index))),
      expected: []
    })

    same(
      (yield* backend.lookup(keys)).map(valueOf),
      keys.map((_, index) => index % 4 === 2 ? undefined : index)
    )
  })

  declare.fact("a delete of what is missing succeeds", function*({ backend, root }) {
    const [there, missing] = ids("there", "missing").map((id) => Key.child(root, "Leaf", id))
    yield* upsert(backend, [leaf(there!, 1)])

    yield* backend.commit({ mutations: [remove(missing!), remove(there!)], expected: [] })

    same((yield* backend.lookup([there!, missing!])).map(valueOf), [undefined, undefined])
  })

  declare.fact("a commit of nothing succeeds", function*({ backend }) {
    same(yield* outcome(backend.commit({ mutations: [], expected: [] })), "Success")
  })

  declare.fact("a commit replaces the whole entity", function*({ backend, root }) {
    const key = Key.child(root, "Leaf", "a")
    yield* upsert(backend, [Entity.make(key, { a: 1, b: 2 })])

    yield* upsert(backend, [Entity.make(key, { b: 3 })])

    sameProperties(propertiesOf((yield* backend.lookup([key]))[0]!), { b: 3 })
  })
}

const patch = (entity: Entity.Entity): Mutation => ({ _tag: "Patch", entity })

const patches = (declare: Declare): void => {
  declare.fact(
    "a patch sets what it names, keeps the others, and makes a missing entity",
    function*({ backend, root }) {
      const [there, missing] = ids("there", "missing").map((id) => Key.child(root, "Leaf", id))
      const before = { a: 1, b: { c: [1, { d: null }], e: "x" }, f: new Uint8Array([1, 2]) }
      yield* upsert(backend, [Entity.make(there!, before)])
      const own = { a: "new", b: { g: 1 }, h: [2] }

      yield* backend.commit({
        mutations: [there!, missing!].map((key) => patch(Entity.make(key, own))),
        expected: []
      })

      const [kept, made] = (yield* backend.lookup([there!, missing!])).map(propertiesOf)
      sameProperties(kept!, { ...own, f: before.f })
      sameProperties(made!, own)
    }
  )

  declare.fact("a patch sets a property whatever its name is, and no other", function*({ backend, root }) {
    const key = Key.child(root, "Leaf", "a")
    const names = ["a", "a.b", "a\\", "\\.", "`", "\\`", "``", ".", "a b", "1", "\"", "é", "\u{1f600}", "_", "*"]
    const before = Object.fromEntries(names.map((name) => [name, name === "a" ? { b: 0 } : 0]))
    yield* upsert(backend, [Entity.make(key, before)])
    const expected: Record<string, Entity.Value> = { ...before }
    for (const [index, name] of names.entries()) {
      expected[name] = index + 1
      yield* backend.commit({ mutations: [patch(Entity.make(key, { [name]: index + 1 }))], expected: [] })

      sameProperties(propertiesOf((yield* backend.lookup([key]))[0]!), expected)
    }
  })

  declare.fact("a patch of no property is refused", function*({ backend, root }) {
    const nothing = { mutations: [patch(Entity.make(root, {}))], expected: [] }

    same(yield* outcome(backend.commit(nothing)), "InvalidArgument")
  })
}

const patchedFlags = (declare: Declare): void => {
  declare.fact(
    "a patch keeps the index flags of what it does not name, and sets those of what it names",
    function*({ backend, root }) {
      const key = Key.child(root, "Leaf", "a")
      const long = "x".repeat(2_000)
      yield* upsert(backend, [
        Entity.make(key, { a: long, b: 1, c: { d: long, e: 1 }, f: long, g: 1, h: { i: 1 } }, {
          unindexed: ["a", "c.d", "f", "h"]
        })
      ])

      yield* backend.commit({
        mutations: [patch(Entity.make(key, { f: 1, g: long, h: { i: 1, j: long } }, { unindexed: ["g", "h.j"] }))],
        expected: []
      })

      const { properties, unindexed } = Option.getOrThrow((yield* backend.lookup([key]))[0]!.entity)
      sameProperties(properties, { a: long, b: 1, c: { d: long, e: 1 }, f: 1, g: long, h: { i: 1, j: long } })
      const flags = { a: true, b: false, "c.d": true, "c.e": false, f: false, g: true, "h.i": false, "h.j": true }
      for (const [path, flag] of Object.entries(flags)) same(Entity.isUnindexed(unindexed, path), flag, path)
    }
  )
}

const expectations = (declare: Declare): void => {
  const combinations = (["None", "Insert", "Upsert", "Patch", "Delete"] as const).flatMap((tag) =>
    [false, true].map((expected) => ({ tag, expected, name: `${tag}, ${expected ? "expected" : "not expected"}` }))
  )
  // Each commit also writes an entity of its own, which must share its fate.
  declare.each(
    combinations,
    ({ name }) => `every history of an entity gives the one right outcome: ${name}`,
    function*({ expected, tag }, { backend, root }) {
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

        same(actual, right.outcome, history)
        same(
          (yield* backend.lookup([key, beside])).map(valueOf),
          [right.value, right.outcome === "Success" ? 1 : undefined],
          history
        )
      }
    }
  )

  declare.fact("a commit of expectations alone tells whether they hold", function*({ backend, root }) {
    for (const history of histories) {
      const key = Key.child(root, "Leaf", history)
      const expected = [yield* play(backend, key, history)]

      same(
        yield* outcome(backend.commit({ mutations: [], expected })),
        history.includes(",") ? "Contention" : "Success",
        history
      )
      same((yield* backend.lookup([key])).map(valueOf), [judge(history, false, "None").value])
    }
  })
}

const manyExpectations = (declare: Declare): void => {
  declare.fact("one changed entity among many expected ones is enough for contention", function*({ backend, root }) {
    const keys = Array.from({ length: 20 }, (_, index) => Key.child(root, "Leaf", index + 1))
    yield* upsert(backend, keys.slice(0, 10).map((key) => leaf(key, 1)))
    const expected = yield* backend.lookup(keys)
    for (const changed of [keys[3]!, keys[15]!]) {
      const again = yield* backend.lookup(keys)
      yield* upsert(backend, [leaf(changed, 2)])

      const mutations = keys.slice(5, 12).map((key): Mutation => ({ _tag: "Upsert", entity: leaf(key, 9) }))
      same(yield* outcome(backend.commit({ mutations, expected: again })), "Contention")
    }

    same(yield* outcome(backend.commit({ mutations: [], expected })), "Contention")
    holds(!(yield* backend.lookup(keys)).map(valueOf).includes(9), "nothing was written")
  })

  declare.fact("the snapshots of a query can be expected too", function*({ backend, root }) {
    const keys = ids("a", "b", "c").map((id) => Key.child(root, "Leaf", id))
    yield* upsert(backend, keys.map((key) => leaf(key, 1)))
    const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })
    yield* upsert(backend, [leaf(keys[1]!, 2)])
    const clear = (from: number, to: number) => {
      const expected = results.slice(from, to)
      return outcome(backend.commit({ mutations: expected.map(({ key }) => remove(key)), expected }))
    }

    same(yield* clear(0, 3), "Contention")
    same(yield* clear(0, 1), "Success")
    same(yield* clear(2, 3), "Success")
    same((yield* backend.lookup(keys)).map(valueOf), [undefined, 2, undefined])
  })
}

const versions = (declare: Declare): void => {
  declare.fact(
    "a version grows with every change, also over a deletion, and rests between",
    function*({ backend, root }) {
      const key = Key.child(root, "Leaf", "a")
      const read = Effect.map(backend.lookup([key]), ([snapshot]) => snapshot!)
      const seen: Array<Snapshot> = []
      for (let value = 1; value <= 5; value++) {
        if (value === 3) yield* backend.commit({ mutations: [remove(key)], expected: [] })
        yield* upsert(backend, [leaf(key, value)])
        seen.push(yield* read)
        yield* upsert(backend, [leaf(Key.child(root, "Leaf", "other"), value)])
        const again = yield* read
        same(again.version, seen.at(-1)!.version)
      }

      for (let index = 1; index < seen.length; index++) {
        holds(seen[index]!.version > seen[index - 1]!.version, "version grows")
      }
    }
  )

  declare.fact("a write that changes nothing never takes the version back", function*({ backend, root }) {
    const key = Key.child(root, "Leaf", "a")
    yield* upsert(backend, [leaf(key, 1)])
    const [before] = yield* backend.lookup([key])

    yield* upsert(backend, [leaf(key, 1)])

    const [after] = yield* backend.lookup([key])
    holds(after!.version >= before!.version, "version is not taken back")
  })

  declare.fact(
    "a chain of commits, each expecting the one before, never meets contention",
    function*({ backend, root }) {
      const key = Key.child(root, "Leaf", "a")
      for (let value = 1; value <= 10; value++) {
        const expected = yield* backend.lookup([key])
        const mutation: Mutation = value % 4 === 0 ? remove(key) : { _tag: "Upsert", entity: leaf(key, value) }

        same(yield* outcome(backend.commit({ mutations: [mutation], expected })), "Success")
      }
    }
  )
}
