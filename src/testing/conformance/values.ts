/**
 * Facts of the conformance suite about values, index flags and limits.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Entity from "../../Entity.ts"
import * as Key from "../../Key.ts"
import { holds, same } from "./checks.ts"
import type { Declare, Options, Place } from "./fact.ts"
import { exact, spellings, unstorable } from "./samples.ts"
import { ids, leaf, named, outcome, propertiesOf, sameProperties, upsert, valueOf } from "./setting.ts"

/** States them. */
export const valueFacts = (declare: Declare, options: Options): void => {
  values(declare)
  flags(declare)
  limits(declare, options)
}

const roundTrip = Effect.fnUntraced(function*(written: Entity.Value, read: Entity.Value, { backend, root }: Place) {
  const [key, copy] = ids("written", "rewritten").map((id) => Key.child(root, "Leaf", id))

  yield* upsert(backend, [Entity.make(key!, { value: written })])
  const [first] = yield* backend.lookup([key!])
  yield* upsert(backend, [{ ...Option.getOrThrow(first!.entity), key: copy! }])
  const [second] = yield* backend.lookup([copy!])
  const { results } = yield* backend.query({ kind: "Leaf", ancestor: root })

  for (const snapshot of [first!, second!, ...results]) sameProperties(propertiesOf(snapshot), { value: read })
})

const values = (declare: Declare): void => {
  declare.each(
    named(exact),
    ({ name }) => `exactly what was written is read, and can be written again: ${name}`,
    function*({ value }, place) {
      yield* roundTrip(value, value, place)
    }
  )

  declare.fact("other spellings of a value are read in the one form that stands for it", function*({ backend, root }) {
    for (const [index, [written, read]] of spellings.entries()) {
      yield* roundTrip(written, read, { backend, root: Key.child(root, "Spelling", index + 1) })
    }
  })

  declare.fact("an entity without properties exists", function*({ backend, root }) {
    yield* upsert(backend, [Entity.make(root, {})])

    sameProperties(propertiesOf((yield* backend.lookup([root]))[0]!), {})
  })

  declare.fact("a blob of 1 MB is read as it was written", function*({ backend, root }) {
    const blob = Uint8Array.from({ length: 1_000_000 }, (_, index) => index % 251)
    yield* upsert(backend, [Entity.make(root, { blob }, { unindexed: "all" })])

    holds(Entity.sameValue(propertiesOf((yield* backend.lookup([root]))[0]!)["blob"]!, blob), "the blob is the same")
  })

  declare.fact("a blob that is a part of a larger buffer is written without the rest", function*({ backend, root }) {
    const buffer = Uint8Array.from({ length: 100 }, (_, index) => index)
    yield* upsert(backend, [Entity.make(root, { blob: buffer.subarray(40, 43), list: [buffer.subarray(99)] })])

    const expected = { blob: new Uint8Array([40, 41, 42]), list: [new Uint8Array([99])] }
    sameProperties(propertiesOf((yield* backend.lookup([root]))[0]!), expected)
  })
}

/** As `util.inspect` shows it. */
const shown = (unindexed: "all" | ReadonlyArray<string>): string =>
  typeof unindexed === "string"
    ? unindexed
    : `[${unindexed.map((path) => ` '${path}'`).join(",")}${unindexed.length === 0 ? "" : " "}]`

const flags = (declare: Declare): void => {
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

  declare.each(
    cases,
    ({ unindexed }) => `values are left out of the indexes as asked, also when written again: ${shown(unindexed)}`,
    function*({ properties, unindexed }, { backend, root }) {
      const [key, copy] = ids("written", "rewritten").map((id) => Key.child(root, "Leaf", id))
      const written = Entity.make(key!, properties, { unindexed })

      yield* upsert(backend, [written])
      const [first] = yield* backend.lookup([key!])
      yield* upsert(backend, [{ ...Option.getOrThrow(first!.entity), key: copy! }])
      const [second] = yield* backend.lookup([copy!])

      for (const { entity } of [first!, second!]) {
        const read = Option.getOrThrow(entity)
        sameProperties(read.properties, properties)
        for (const path of leaves) {
          same(
            Entity.isUnindexed(read.unindexed, path),
            Entity.isUnindexed(written.unindexed, path),
            path
          )
        }
      }
    }
  )
}

const limits = (declare: Declare, { tooLargeCommitBytes }: Options): void => {
  declare.each(
    named(unstorable),
    ({ name }) => `refused with InvalidArgument, and nothing is written: ${name}`,
    function*({ value: make }, { backend, root }) {
      const beside = Key.child(root, "Beside", 1)
      const entity = make(Key.child(root, "Leaf", 1))

      same(yield* outcome(upsert(backend, [leaf(beside, 1), entity])), "InvalidArgument")
      same((yield* backend.lookup([beside])).map(valueOf), [undefined])
    }
  )

  declare.fact("a commit that is too large is refused, and nothing is written", function*({ backend, root }) {
    const blob = new Uint8Array(1_000_000)
    const entities = Array.from(
      { length: Math.ceil(tooLargeCommitBytes / blob.length) },
      (_, index) => Entity.make(Key.child(root, "Leaf", index + 1), { blob }, { unindexed: "all" })
    )

    const refused = yield* outcome(upsert(backend, entities))

    same(refused, "TooLarge")
    const after = yield* backend.lookup(entities.map(({ key }) => key))
    holds(after.every(({ entity }) => Option.isNone(entity)), "nothing was written")
  })

  declare.fact("a commit as large as the backend's own limit allows is taken", function*({ backend, root }) {
    const entities: Array<Entity.Entity> = []
    let room = backend.limits.commitBytes
    while (room > 100_000) {
      const blob = new Uint8Array(Math.min(1_000_000, room - 10_000))
      const entity = Entity.make(Key.child(root, "Leaf", entities.length + 1), { blob }, { unindexed: "all" })
      entities.push(entity)
      room -= Entity.sizeBytes(entity)
    }

    same(yield* outcome(upsert(backend, entities)), "Success")
  })
}
