import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Snapshot } from "../../src/Backend.ts"
import { Datastore } from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { allApplied, countEach, printed } from "../utils/explore.ts"

/*
 * The original algorithm in small, over the same backend, to see the explorer find its two windows:
 *
 * (i) a worker lists, another commits, the first loads the new state: the version check passes, the old listing is
 * applied again; (ii) a commit that does not change the state does not raise the version, so the version check sees
 * nothing.
 *
 * State and listing are read in parallel; what `pop` returned is ignored.
 */
const state = Key.make("Box", "r")
const ids = ["a", "b"]
const item = (id: string) => Key.childUnsafe(state, "Item", id)
const tombstone = (id: string) => Key.childUnsafe(state, "Tombstone", id)
const isThere = ({ entity }: Snapshot) => Option.isSome(entity)
const numberIn = ({ entity }: Snapshot) => Option.isSome(entity) ? Number(entity.value.properties["n"]) : 0

const setup = Effect.flatMap(Datastore, ({ backend }) =>
  backend.commit({
    mutations: ids.map((id) => ({ _tag: "Upsert", entity: Entity.make(item(id), { id }) })),
    expected: []
  }))

const putApplied = (worker: string, id: string) =>
  Entity.make(Key.make("Applied", `${id} ${worker}`), { id, attempt: worker })

/** One worker with three atomic steps, as in the model: load, list, transaction. */
const modelled = (worker: string, options: { readonly changesState: boolean; readonly isStrict: boolean }) =>
  Effect.gen(function*() {
    const { backend } = yield* Datastore
    const load = Effect.map(backend.lookup([state]), ([snapshot]) => snapshot!)
    const list = backend.lookup([...ids.map(item), ...ids.map(tombstone)])
    const [loaded, listed] = yield* Effect.all([load, list], { concurrency: "unbounded" })
    const listing = ids.filter((_, at) => isThere(listed[at]!) && !isThere(listed[ids.length + at]!))
    if (listing.length === 0) return
    const next = Entity.make(state, { n: numberIn(loaded) + listing.length })
    yield* backend.commit({
      mutations: [
        ...listing.map((id) => ({ _tag: "Upsert" as const, entity: Entity.make(tombstone(id), { id }) })),
        ...listing.map((id) => ({ _tag: "Upsert" as const, entity: putApplied(worker, id) })),
        ...(options.changesState ? [{ _tag: "Upsert" as const, entity: next }] : [])
      ],
      // A strict pop is one that makes the transaction fail.
      expected: options.isStrict ? [loaded, ...listed.slice(ids.length)] : [loaded]
    })
  })

/** The same as RPCs: the tombstones are one entity, read beside the query, and again in the transaction. */
const original = (worker: string, options: { readonly changesState: boolean; readonly isStrict: boolean }) =>
  Effect.gen(function*() {
    const { backend } = yield* Datastore
    const tombstones = Key.childUnsafe(state, "Tombstones", 1)
    const read = (key: Key.Key) => Effect.map(backend.lookup([key]), ([snapshot]) => snapshot!)
    const popped = ({ entity }: Snapshot) =>
      Option.isSome(entity) ? entity.value.properties["ids"] as ReadonlyArray<string> : []
    const [loaded, { results }, dead] = yield* Effect.all(
      [read(state), backend.query({ kind: "Item", ancestor: state }), read(tombstones)],
      { concurrency: "unbounded" }
    )
    const listing = results.filter(({ key }) => !popped(dead).includes(String(key.id)))
    if (listing.length === 0) return
    const [now, nowDead] = yield* backend.lookup([state, tombstones])
    if (numberIn(now!) !== numberIn(loaded)) return
    const pops = listing.map(({ key }) => String(key.id))
    if (options.isStrict && pops.some((id) => popped(nowDead!).includes(id))) return
    yield* backend.commit({
      mutations: [
        { _tag: "Upsert", entity: Entity.make(tombstones, { ids: [...new Set([...popped(nowDead!), ...pops])] }) },
        ...pops.map((id) => ({ _tag: "Upsert" as const, entity: putApplied(worker, id) })),
        ...(options.changesState
          ? [{ _tag: "Upsert" as const, entity: Entity.make(state, { n: numberIn(loaded) + 1 }) }]
          : [])
      ],
      expected: [now!, nowDead!]
    })
    yield* backend.commit({ mutations: listing.map(({ key }) => ({ _tag: "Delete", key })), expected: [] })
  })

/** Explores two workers, and counts the histories in which an event was applied twice. */
const explored = (
  title: string,
  worker: typeof original,
  options: { readonly changesState: boolean; readonly isStrict: boolean; readonly prune?: boolean }
) =>
  Effect.gen(function*() {
    let doubled = 0
    const report = yield* printed(
      title,
      Explore.explore({
        setup,
        programs: {
          one: Effect.ignore(worker("one", options)),
          two: Effect.ignore(worker("two", options))
        },
        check: () =>
          Effect.map(allApplied, (all) => {
            const counts = countEach(ids, all.map(({ id }) => id))
            assert.isTrue(counts.every((count) => count >= 1), "lost")
            if (counts.some((count) => count > 1)) doubled++
          }),
        prune: options.prune ?? false
      })
    )
    return { report, doubled }
  })

describe("LUCI's algorithm", () => {
  // The figures are those of an independent model of the same steps.
  it.effect("applies an event twice in 12 of 80 interleavings when the state changes", () =>
    Effect.gen(function*() {
      const found = yield* explored("LUCI's steps, state changed", modelled, { changesState: true, isStrict: false })
      assert.deepStrictEqual([found.report.histories, found.doubled], [80, 12])
    }))

  it.effect("applies an event twice in 60 of 80 interleavings when the state stays", () =>
    Effect.gen(function*() {
      const found = yield* explored("LUCI's steps, state kept", modelled, { changesState: false, isStrict: false })
      assert.deepStrictEqual([found.report.histories, found.doubled], [80, 60])
    }))

  it.effect("applies none twice once a failed pop is contention", () =>
    Effect.gen(function*() {
      for (const changesState of [true, false]) {
        const found = yield* explored("LUCI's steps, strict pop", modelled, { changesState, isStrict: true })
        assert.deepStrictEqual([found.report.histories, found.doubled], [80, 0])
        assert.isAbove(found.report.contended, 0)
      }
    }))

  it.effect("applies an event twice in its own RPCs too, and none with a strict pop", () =>
    Effect.gen(function*() {
      for (const changesState of [true, false]) {
        const loose = yield* explored("LUCI's RPCs", original, { changesState, isStrict: false, prune: true })
        const strict = yield* explored("LUCI's RPCs, strict pop", original, {
          changesState,
          isStrict: true,
          prune: true
        })

        assert.isAbove(loose.doubled, 0)
        assert.strictEqual(strict.doubled, 0)
      }
    }))

  it.effect("is caught with a history of six steps that shows the window", () =>
    Effect.gen(function*() {
      const options = { changesState: true, isStrict: false }
      const exploration = {
        setup,
        programs: { one: Effect.ignore(modelled("one", options)), two: Effect.ignore(modelled("two", options)) },
        check: () =>
          Effect.map(allApplied, (all) => assert.deepStrictEqual(countEach(ids, all.map(({ id }) => id)), [1, 1]))
      }

      const failure = yield* Effect.flip(Explore.explore(exploration))
      const again = yield* Effect.flip(Explore.replay(exploration, failure.token))

      assert.strictEqual(failure.reason, "CheckFailed")
      assert.strictEqual(failure.token.split(" ").length, 6)
      assert.strictEqual(again.table, failure.table)
    }))
})
