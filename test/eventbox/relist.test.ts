import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import { placeOf, remember } from "../../src/dsset/memory.ts"
import { relist } from "../../src/eventbox/relist.ts"
import { add, list, pop, set, values } from "../utils/boxSet.ts"
import { world } from "../utils/boxWorld.ts"

describe("a part of a patient listing", () => {
  // Its head was read after the items, and does not vouch for them as that of the listing does: P2.
  it.effect("pops its items only as they were seen", () =>
    Effect.gen(function*() {
      yield* add(["a", "b"])
      remember(placeOf(yield* Datastore.Datastore, set.parent), (memory) => {
        memory.isPatient = true
      })
      const listing = yield* list()
      assert.isTrue(listing.isPatient)
      const part = yield* relist(listing, ["a"], false)
      yield* add(["a"], { value: "again" })

      const error = yield* Effect.flip(pop(part))

      assert.strictEqual(error._tag, "ContentionError")
      assert.deepStrictEqual(values(yield* list()), ["a=again", "b=v"])
    }).pipe(Effect.provide(world)))
})
