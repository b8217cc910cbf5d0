import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import * as Entity from "../../src/Entity.ts"
import { Ids } from "../../src/Ids.ts"
import * as Key from "../../src/Key.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { printed } from "../utils/explore.ts"
import { layouts, set, withMinute } from "../utils/exploreSet.ts"

const put = (value: number) => DsSet.add(set, [{ id: "e", value: new Uint8Array([value]) }])

const newer = Key.make("Newer", 1)

/** Replaces the value; the mark has the version of that commit. */
const replace = Datastore.withTransaction(Effect.andThen(Datastore.put([Entity.make(newer, {})]), put(2)))

/** Pops what is there, and leaves a record of the value that it saw, in one transaction. */
const consume = Effect.gen(function*() {
  const listing = yield* DsSet.list(set, { maxItems: 10 })
  yield* DsSet.cleanupGarbage(listing.garbage)
  if (listing.items.length === 0) return
  const attempt = yield* (yield* Ids).next
  yield* Datastore.withTransaction(Effect.gen(function*() {
    const op = yield* DsSet.beginPop(set, listing)
    for (const { id, value } of listing.items) {
      if (op.pop(id)) yield* Datastore.put([Entity.make(Key.make("Saw", attempt), { value: value[0]! })])
    }
    yield* DsSet.finishPop(op)
  }))
})

const again = Effect.retry(consume, { times: 1, while: ({ _tag }) => _tag === "ContentionError" })

/** Consumes what is left, and tells which values were seen, whether the newer one was stored by then. */
const seen = Effect.gen(function*() {
  const left = yield* DsSet.list(set, { maxItems: 10 })
  if (left.items.length > 0) yield* consume
  const { backend } = yield* Datastore.Datastore
  const [mark] = yield* backend.lookup([newer])
  const { results } = yield* backend.query({ kind: "Saw" })
  return results.map(({ entity, version }) => ({
    value: Option.getOrThrow(entity).properties["value"],
    isLate: mark!.entity._tag === "Some" && version > mark!.version
  }))
})

for (const { layout, withLayout } of layouts) {
  describe(`A value that is replaced while it waits, ${layout}`, () => {
    const explore = (title: string, programs: Explore.Programs, isStrict: boolean) =>
      Effect.gen(function*() {
        const values = new Set<unknown>()
        const report = yield* printed(
          `${title}, ${layout}`,
          Explore.explore({
            setup: put(1),
            programs,
            check: () =>
              Effect.map(seen, (found) => {
                assert.lengthOf(found, 1)
                const [{ isLate, value }] = found as [(typeof found)[number]]
                if (isStrict && isLate) assert.strictEqual(value, 2, "what was stored when it was consumed")
                values.add(value)
              })
          })
        )
        assert.isTrue(report.isComplete)
        assert.isAbove(report.contended, 0)
        assert.deepStrictEqual(Array.from(values).toSorted(), [1, 2])
      })
    const one = Effect.ignore(consume)

    // Kills: items that a pop does not expect.
    it.effect("is consumed once, and the batch that consumes it saw the value that was stored", () =>
      explore("two consumers, a value replaced", { one, two: one, emitter: replace }, true)
        .pipe(withLayout, withMinute))

    // An attempt that has lost a race to emits may take a value that was replaced meanwhile, still once.
    it.effect(
      "is consumed once by three that try again",
      () =>
        explore("three consumers that try again, a value replaced", {
          one: Effect.ignore(again),
          two: Effect.ignore(again),
          three: one,
          emitter: replace
        }, false).pipe(withLayout, withMinute),
      300_000
    )
  })
}
