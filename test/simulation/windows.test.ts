import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import * as Explore from "../../src/testing/Explore.ts"
import { printed } from "../utils/explore.ts"
import { add, appliedInTheEnd, cleanUp, consume, delayMillis, layouts, withMinute } from "../utils/exploreSet.ts"

/*
 * Each rule of the stored format closes a window in which an item is lost or consumed twice. Every test holds the
 * shortest scenario of one window, and names the mutants of the source that it kills: edits after which it was seen to
 * fail.
 */

/** Pops an item and adds it again, as a late retry does: stored, and hidden by its tombstone. */
const hidden = (id: string) =>
  Effect.gen(function*() {
    const first = yield* Clock.currentTimeMillis
    yield* add(id, first)
    yield* consume()
    yield* add(id, first)
  })

const expire = Effect.sleep(2 * delayMillis)

const endsWith = (expected: Readonly<Record<string, number>>) =>
  Effect.map(
    appliedInTheEnd(Object.keys(expected)),
    (counts) => assert.deepStrictEqual(counts, Object.values(expected))
  )

const atLeast = (report: Explore.Report, histories: number) => {
  assert.isTrue(report.isComplete)
  assert.isAtLeast(report.histories, histories)
}

for (const { layout, withLayout } of layouts) {
  describe(`Windows of the set, ${layout}`, () => {
    // Kills: hidden items not counted as `present` (E4).
    it.effect("a tombstone stays while its item is stored, whichever of the two was read first", () =>
      Effect.gen(function*() {
        const report = yield* printed(
          `read order, ${layout}`,
          Explore.explore({
            setup: Effect.andThen(hidden("e"), expire),
            programs: {
              slow: consume(),
              // Its deletes of garbage come late.
              eraser: Effect.gen(function*() {
                yield* consume({ always: true, leavesGarbage: true })
                yield* cleanUp
                yield* consume({ always: true })
              })
            },
            check: () => endsWith({ e: 1 })
          })
        )

        atLeast(report, 5)
      }).pipe(withLayout, withMinute))

    // A retry lands in time, between a listing that began in time and its commit, which comes after the window.
    // Kills: `expiredBefore` taken after the reads.
    it.effect("the age of a tombstone is its age when the listing began", () =>
      Effect.gen(function*() {
        let start = 0
        let inTime = 0
        const now = Effect.map(Clock.currentTimeMillis, (millis) => millis - start)
        const report = yield* printed(
          `age at the start, ${layout}`,
          Explore.explore({
            setup: Effect.gen(function*() {
              yield* add("e", 1)
              yield* consume()
              start = yield* Clock.currentTimeMillis
            }),
            programs: {
              eraser: consume({ always: true }),
              retry: Effect.flatMap(Effect.andThen(add("e", 1), now), Explore.note)
            },
            jumps: [delayMillis + 1],
            check: ({ notes }) => {
              // Beyond the window nothing is promised.
              if (notes.some(({ note, program }) => program === "retry" && Number(note) > delayMillis)) {
                return Effect.void
              }
              inTime++
              return endsWith({ e: 1 })
            }
          })
        )

        atLeast(report, 10)
        assert.isAtLeast(inTime, 5)
      }).pipe(withLayout, withMinute))

    // Kills: an item with a tombstone always hidden, as in LUCI; nothing hidden; `At` compared with the tombstone's own
    // time.
    it.effect("an id that is used again is a new item after the window, and hidden garbage within it", () =>
      Effect.gen(function*() {
        for (
          const [ageMillis, times] of [[0, 1], [delayMillis / 2, 1], [delayMillis, 1], [delayMillis + 1, 2]] as const
        ) {
          const report = yield* printed(
            `At rule, ${ageMillis} ms after, ${layout}`,
            Explore.explore({
              setup: Effect.andThen(Effect.andThen(add("e"), consume()), Effect.sleep(ageMillis)),
              programs: { emitter: add("e"), one: consume(), two: consume({ always: true }) },
              check: () => endsWith({ e: times })
            })
          )

          atLeast(report, 5)
        }
      }).pipe(withLayout, withMinute))

    // The id was popped twice, a window apart, and the second addition is tried again. Kills: the oldest tombstone
    // counts.
    it.effect("of several tombstones of one id the newest counts", () =>
      Effect.gen(function*() {
        const report = yield* printed(
          `newest tombstone, ${layout}`,
          Explore.explore({
            setup: Effect.gen(function*() {
              yield* Effect.andThen(add("e"), consume())
              yield* expire
              yield* hidden("e")
            }),
            programs: { one: consume(), two: consume({ always: true }) },
            check: () => endsWith({ e: 2 })
          })
        )

        atLeast(report, 5)
      }).pipe(withLayout, withMinute))

    // `z` is stored behind its tombstone, and the listings end before it. Kills: every expired tombstone erased whose
    // item was not listed, as in LUCI; `isCovered` by UTF-16 (the second pair of ids is in another order there).
    it.effect("a truncated listing erases no tombstone beyond its end", () =>
      Effect.gen(function*() {
        for (const [first, last] of [["a", "z"], ["\uff5e", "\u{1f600}"]] as const) {
          const consumeOne = consume({ maxItems: 1 })
          const report = yield* printed(
            `truncated listing, ${first} ${last}, ${layout}`,
            Explore.explore({
              setup: Effect.andThen(hidden(last), Effect.andThen(expire, add(first))),
              programs: { one: consumeOne, two: Effect.andThen(consumeOne, consumeOne) },
              check: () => endsWith({ [first]: 1, [last]: 1 })
            })
          )

          atLeast(report, 10)
          assert.isAbove(report.contended, 0)
        }
      }).pipe(withLayout, withMinute))

    // A retry has left garbage. A worker pauses between listing and deleting it; meanwhile the id is used again. Kills:
    // `expected: []` in `deleteChunk`; `unchanged = chunk` in `retryUnchanged`.
    it.effect("a deletion of garbage that comes late leaves a newer item with the same id alone", () =>
      Effect.gen(function*() {
        let reused = 0
        let poppedAt = 0
        const report = yield* printed(
          `delete expectation, ${layout}`,
          Explore.explore({
            setup: Effect.gen(function*() {
              poppedAt = yield* Clock.currentTimeMillis
              yield* Effect.andThen(add("e"), add("f"))
              yield* consume()
              yield* Effect.andThen(add("e", poppedAt), add("f", poppedAt))
            }),
            programs: {
              cleaner: cleanUp,
              emitter: Effect.gen(function*() {
                const now = yield* Clock.currentTimeMillis
                yield* Explore.note(now)
                yield* add("e", now)
              })
            },
            jumps: [delayMillis + 1],
            check: ({ notes }) => {
              const isNew = Number(notes[0]!.note) > poppedAt + delayMillis
              if (isNew) reused++
              return endsWith({ e: isNew ? 2 : 1, f: 1 })
            }
          })
        )

        atLeast(report, 5)
        assert.isAtLeast(reused, 2)
      }).pipe(withLayout, withMinute))

    // Kills: no `recordRead` of the listing's head in `beginPop`; the head read again there instead, as in LUCI.
    it.effect("of two commits that saw the same head one lands", () =>
      Effect.gen(function*() {
        const report = yield* printed(
          `strict compare-and-swap, ${layout}`,
          Explore.explore({
            setup: add("e"),
            programs: { one: consume(), two: consume() },
            check: () => endsWith({ e: 1 }),
            prune: false
          })
        )

        atLeast(report, 80)
        assert.isAbove(report.contended, 50)
      }).pipe(withLayout, withMinute))
  })
}
