/**
 * Questions about conditional commits: whether what a commit expects is checked, whatever has happened meanwhile.
 */
import { Effect, Option, type Scope } from "effect"
import type { Backend, Snapshot } from "../../Backend.ts"
import * as Entity from "../../Entity.ts"
import type { ContentionError, DatastoreError } from "../../EventboxError.ts"
import * as Key from "../../Key.ts"
import { leaf, remove, upsert, valueOf } from "../../testing/conformance/setting.ts"
import { type Answer, type Asked, doNotUse, ended, listed, type Question, tryExpectations } from "./question.ts"

type Failure = ContentionError | DatastoreError

const present = ["present", "present, updated", "present, deleted", "present, recreated"]
const absent = ["absent", "absent, created"]

const stale: Question = {
  id: "stale",
  title: "Does a write at an old version make its whole commit fail?",
  assumed: "base_version with the strategy FAIL is checked for upserts, patches and deletes, and a commit is atomic",
  otherwise: doNotUse("workers would overwrite each other's work"),
  ask: ({ backend, root }) =>
    Effect.map(
      tryExpectations(backend, root, ["Upsert", "Patch", "Delete"], present),
      ({ mistakes, tried }) =>
        mistakes.length === 0
          ? { fits: true, said: `yes, in ${tried} of ${tried} cases; at the right version it lands` }
          : { fits: false, said: `NO: ${listed(mistakes)}` }
    )
}

const insert: Question = {
  id: "insert",
  title: "Does an insert of an existing entity fail with ALREADY_EXISTS, and its whole commit with it?",
  assumed: "an insert is how a commit expects that an entity which it writes is missing",
  otherwise: doNotUse("two workers could create the same entity"),
  ask: ({ backend, root }) =>
    Effect.gen(function*() {
      const [key, beside] = ["a", "b"].map((id) => Key.child(root, "Leaf", id))
      yield* upsert(backend, [leaf(key!, 1)])
      const outcome = yield* ended(backend.commit({
        mutations: [{ _tag: "Insert", entity: leaf(key!, 2) }, { _tag: "Upsert", entity: leaf(beside!, 1) }],
        expected: []
      }))
      const [first, second] = (yield* backend.lookup([key!, beside!])).map(valueOf)
      const { mistakes } = yield* tryExpectations(backend, root, ["Insert", "Upsert"], absent)
      const all = [
        ...(outcome === "AlreadyExists" ? [] : [`an insert of an existing entity ended with ${outcome}`]),
        ...(first === 1 ? [] : ["it overwrote the entity"]),
        ...(second === undefined ? [] : ["the rest of its commit landed"]),
        ...mistakes
      ]
      if (all.length > 0) return { fits: false, said: `NO: ${listed(all)}` }
      return { fits: true, said: "yes; and where the absence is expected, it is contention" }
    })
}

const patch: Question = {
  id: "patch",
  title: "Does a write with a property mask keep the other properties, and what is beside their values?",
  assumed: "an upsert whose mask names some properties sets those, keeps the others, and makes a missing entity",
  otherwise: doNotUse("saving a state would wipe what other programs keep in the recipient's entity"),
  ask: ({ backend, root }) =>
    Effect.gen(function*() {
      const [old, fresh] = ["old", "new"].map((id) => Key.child(root, "Leaf", id))
      const properties = { a: 1, b: "x".repeat(2_000), c: [{ d: "y".repeat(2_000) }] }
      yield* upsert(backend, [Entity.make(old!, properties, { unindexed: ["b", "c.d"] })])
      const own = { a: 2, "odd.name `\\": 3 }
      yield* backend.commit({
        mutations: [old!, fresh!].map((key) => ({ _tag: "Patch", entity: Entity.make(key, own) })),
        expected: []
      })
      const [kept, made] = (yield* backend.lookup([old!, fresh!])).map(({ entity }) => Option.getOrUndefined(entity))
      const mistakes = [
        ...(kept !== undefined && Entity.sameProperties(kept.properties, { ...properties, ...own })
          ? []
          : ["what is not named was not kept, or what is named not set"]),
        ...(["b", "c.d"].every((path) => kept !== undefined && Entity.isUnindexed(kept.unindexed, path))
          ? []
          : ["what is not named was put into the indexes"]),
        ...(made !== undefined && Entity.sameProperties(made.properties, own) ? [] : ["a missing entity was not made"])
      ]
      return mistakes.length === 0 ? { fits: true, said: "yes" } : { fits: false, said: `NO: ${listed(mistakes)}` }
    })
}

// ---------------------------------------------------------------------------------------------------------------------
// Expectations on what is not written
// ---------------------------------------------------------------------------------------------------------------------

const missing: Question = {
  id: "missing",
  title: "Which version has a missing entity, and is a delete at that version an expectation of its absence?",
  assumed: "a lookup reports some version; a delete at it lands while the entity is missing, and fails once it exists",
  otherwise: "Ask again.",
  ask: (asked) =>
    Effect.gen(function*() {
      const never = Key.child(asked.root, "Leaf", "never")
      const deleted = Key.child(asked.root, "Leaf", "deleted")
      yield* upsert(asked.backend, [leaf(deleted, 1)])
      yield* asked.backend.commit({ mutations: [remove(deleted)], expected: [] })
      const versions = (yield* asked.backend.lookup([never, deleted])).map(({ version }) => version)
      const reported = `it is ${versions[0]} for one that never was, ${versions[1]} for a deleted one`
      const answer = yield* orInteractive(asked, reported, (backend, root) =>
        Effect.gen(function*() {
          const { mistakes } = yield* tryExpectations(backend, root, ["None"], absent)
          return [...mistakes, ...(yield* holdsWhileMissing(backend, root))]
        }))
      // No option changes how the delete of something missing is sent.
      const { mistakes } = yield* tryExpectations(
        asked.backend,
        Key.child(asked.root, "As", "a delete"),
        ["Delete"],
        absent
      )
      return mistakes.length === 0 ? answer : withDeletes(answer, mistakes)
    })
}

const withDeletes = ({ advice, fits, said }: Answer, mistakes: ReadonlyArray<string>): Answer => ({
  fits: false,
  said: `${fits ? "NO: " : `${said}; `}${listed(mistakes)}`,
  advice: [advice, noDeletes].filter((text) => text !== undefined).join(" ")
})

const noDeletes = "In a transaction, do not remove an entity that the transaction has found missing."

/** The absence of an entity that was deleted before it was read, and of one read a while ago. */
const holdsWhileMissing = (backend: Backend, root: Key.Key): Effect.Effect<ReadonlyArray<string>, Failure> =>
  Effect.gen(function*() {
    const deleted = Key.child(root, "Leaf", "deleted")
    const never = Key.child(root, "Leaf", "never")
    yield* upsert(backend, [leaf(deleted, 1)])
    yield* backend.commit({ mutations: [remove(deleted)], expected: [] })
    const expected = yield* backend.lookup([deleted, never])
    for (let value = 1; value <= 3; value++) yield* upsert(backend, [leaf(Key.child(root, "Leaf", "other"), value)])
    const outcome = yield* ended(backend.commit({ mutations: [], expected }))
    return outcome === "Success" ? [] : [`the absence of two missing entities was not confirmed: ${outcome}`]
  })

const unchanged: Question = {
  id: "unchanged",
  title: "Does an update that changes nothing fail when the entity has changed, and leave it alone otherwise?",
  assumed:
    "an update whose mask names a property that is not there checks the version, and keeps all values; whether " +
    "it keeps the version does not matter",
  otherwise: "Ask again.",
  ask: (asked) =>
    Effect.gen(function*() {
      const kept = yield* keepsVersion(asked.backend, Key.child(asked.root, "Leaf", "kept"))
      const note = asked.interactive === undefined
        ? "it is checked in a transaction, and nothing is written"
        : kept
        ? "it keeps the version"
        : "it raises the version, so that commits which rest on one entity make each other fail: slower, not wrong"
      return yield* orInteractive(asked, note, (backend, root) =>
        Effect.gen(function*() {
          const { mistakes } = yield* tryExpectations(backend, root, ["None"], present)
          return [...mistakes, ...(yield* leavesAlone(backend, Key.child(root, "Leaf", "rich")))]
        }))
    })
}

const read = (backend: Backend, key: Key.Key): Effect.Effect<Snapshot, DatastoreError> =>
  Effect.map(backend.lookup([key]), ([snapshot]) => snapshot!)

const keepsVersion = (backend: Backend, key: Key.Key): Effect.Effect<boolean, Failure> =>
  Effect.gen(function*() {
    yield* upsert(backend, [leaf(key, 1)])
    const before = yield* read(backend, key)
    yield* Effect.ignore(backend.commit({ mutations: [], expected: [before] }))
    return (yield* read(backend, key)).version === before.version
  })

/** Whether values of every sort, and what is left out of the indexes, come through an expectation. */
const leavesAlone = (backend: Backend, key: Key.Key): Effect.Effect<ReadonlyArray<string>, Failure> =>
  Effect.gen(function*() {
    const entity = Entity.make(key, {
      text: "x".repeat(2_000),
      list: [1, BigInt(2) ** BigInt(60), new Entity.Double(3), { deep: null }],
      time: new Entity.TimestampValue(BigInt(1_234_567)),
      blob: new Uint8Array([0, 255])
    }, { unindexed: ["text", "list.deep"] })
    yield* upsert(backend, [entity])
    const before = yield* read(backend, key)
    const outcome = yield* ended(backend.commit({ mutations: [], expected: [before] }))
    const after = Option.getOrUndefined((yield* read(backend, key)).entity)
    const isSame = after !== undefined && Entity.sameProperties(after.properties, entity.properties) &&
      ["text", "list.deep", "time"].every((path) =>
        Entity.isUnindexed(after.unindexed, path) === Entity.isUnindexed(entity.unindexed, path)
      )
    return [
      ...(outcome === "Success" ? [] : [`an expectation of an entity that has not changed ended with ${outcome}`]),
      ...(isSame ? [] : ["an expectation changed the entity"])
    ]
  })

/** Asks as the layer is set up; when the answer does not fit, asks whether a transaction of the server helps. */
const orInteractive = (
  { backend, interactive, root }: Asked,
  note: string,
  ask: (backend: Backend, root: Key.Key) => Effect.Effect<ReadonlyArray<string>, Failure>
): Effect.Effect<Answer, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const mistakes = yield* ask(backend, Key.child(root, "As", "set up"))
    if (mistakes.length === 0) return { fits: true, said: `yes; ${note}` }
    const said = `NO: ${listed(mistakes)}; ${note}`
    if (interactive === undefined) return { fits: false, said, advice: notEvenInteractive }
    const others = yield* ask(yield* interactive, Key.child(root, "As", "interactive"))
    if (others.length > 0) {
      return { fits: false, said: `${said}; interactive does not help: ${listed(others)}`, advice: notEvenInteractive }
    }
    return { fits: false, said, advice: switchOn }
  })

const notEvenInteractive = doNotUse("commits would land on what has changed since it was read")

const switchOn = "Switch on `unwrittenExpectations: \"interactive\"` of GoogleDatastore.layer (with layerConfig: " +
  "DATASTORE_UNWRITTEN_EXPECTATIONS=interactive). With it the answer is right here: three RPCs in place of one for such " +
  "commits. Then verify again with --unwritten-expectations interactive."

/** In the order in which they are asked. */
export const expectationQuestions: ReadonlyArray<Question> = [stale, insert, patch, missing, unchanged]
