import { Duration, Effect } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as DsSet from "../../src/DsSet.ts"
import { MaxHeadBytes } from "../../src/dsset/format/nextHead.ts"
import { Ids } from "../../src/Ids.ts"
import * as Key from "../../src/Key.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { allApplied, applied, countEach } from "./explore.ts"

/** The set of all tests that explore sets; its tombstones live for one minute. */
export const set = DsSet.make({ parent: Key.make("Parent", "p") })

export const delayMillis = 60_000

export const withMinute = Effect.provideService(DsSet.TombstonesDelay, Duration.millis(delayMillis))

/** Where tombstones are: in the head, or every pop in a page of its own. */
export const layouts = [
  { layout: "tombstones in the head", withLayout: Effect.provideService(MaxHeadBytes, 16 * 1_024) },
  { layout: "tombstones in pages", withLayout: Effect.provideService(MaxHeadBytes, 1) }
]

/** Adds one item, with the time of now unless given. */
export const add = (id: string, atMillis?: number) => DsSet.add(set, [{ id, value: new Uint8Array([1]), atMillis }])

/** Deletes the garbage that is there. */
export const cleanUp = Effect.flatMap(DsSet.list(set, { maxItems: 10 }), ({ garbage }) => DsSet.cleanupGarbage(garbage))

/**
 * One round of a consumer: list, delete the garbage, pop all that was listed and leave a record of it, in one
 * transaction. Notes how that ended. With `always` it also commits when there is nothing to pop,
 * which erases old tombstones; with `leavesGarbage` nothing is deleted.
 */
export const consume = (
  options: { readonly maxItems?: number; readonly always?: boolean; readonly leavesGarbage?: boolean } = {}
) =>
  Effect.gen(function*() {
    const listing = yield* DsSet.list(set, { maxItems: options.maxItems ?? 10 })
    if (options.leavesGarbage !== true) yield* DsSet.cleanupGarbage(listing.garbage)
    if (listing.items.length === 0 && options.always !== true) return
    const attempt = yield* (yield* Ids).next
    const pop = Effect.gen(function*() {
      const op = yield* DsSet.beginPop(set, listing)
      const popped = listing.items.map(({ id }) => id).filter((id) => op.pop(id))
      yield* applied(attempt, popped)
      yield* DsSet.finishPop(op)
    })
    yield* Datastore.withTransaction(pop).pipe(
      Effect.tap(Explore.note({ attempt, ended: "landed" })),
      Effect.tapErrorTag("ContentionError", () => Explore.note({ attempt, ended: "contention" })),
      Effect.tapErrorTag("DatastoreError", () => Explore.note({ attempt, ended: "unknown" }))
    )
  })

/** How often each id was applied once a last consumer has found all that is left. */
export const appliedInTheEnd = (ids: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    for (let left = 1; left > 0;) {
      yield* consume()
      left = (yield* DsSet.list(set, { maxItems: 10 })).items.length
    }
    return countEach(ids, (yield* allApplied).map(({ id }) => id))
  })

/** How the attempts of a program ended, as {@link consume} noted it. */
export const endings = (history: Explore.History<any>, of: string) =>
  history.notes
    .filter(({ note, program }) => program === of && typeof note === "object" && note !== null && "ended" in note)
    .map(({ note }) => note as { readonly attempt: string; readonly ended: "landed" | "contention" | "unknown" })
