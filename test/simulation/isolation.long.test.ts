import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Schedule, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { Ids } from "../../src/Ids.ts"
import * as Processor from "../../src/Processor.ts"
import * as Explore from "../../src/testing/Explore.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import { allApplied, applied, countEach, printed } from "../utils/explore.ts"
import { layouts } from "../utils/exploreSet.ts"

/*
 * Workers that isolate a poisoned event, in every order of their backend operations: each good event is applied once,
 * the bad one never, and the post-process effects run for exactly those parts that landed.
 */
class Sick extends Processor.Service<Sick>()("test/Sick", {
  kind: "Sick",
  state: Schema.Int,
  event: Schema.Literals(["good", "bad"])
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, state) =>
      Effect.gen(function*() {
        if (events.some(({ value }) => value === "bad")) return yield* Effect.die(new Error("bad"))
        if (events.length === 0) return { transitions: [] }
        const attempt = yield* (yield* Ids).next
        return {
          transitions: [{
            events,
            transitionTo: state + events.length,
            sideEffect: applied(attempt, events.map(({ id }) => id)),
            postProcess: Explore.note({ post: attempt })
          }]
        }
      })
  }))
}

const recipient = Sick.recipient("r")
const good = ["a", "c"]

const setup = Effect.forEach(
  ["a", "b", "c"],
  (id) => Eventbox.emit(Sick, recipient, id === "b" ? "bad" : "good", { id })
)

/** One call: all that can land lands, or it loses a race. */
const work = (times: number) =>
  Eventbox.process(Sick, recipient, { retry: Schedule.recurs(times) }).pipe(
    Effect.map(({ consumed }) => consumed),
    Effect.catchTag("EventFailed", (error) => {
      assert.strictEqual(error.eventId, "b")
      return Effect.succeed(error.summary.consumed)
    })
  )

const check = <P extends Explore.Programs>(mayOwe: boolean) => (history: Explore.History<P>) =>
  Effect.gen(function*() {
    for (const exit of Object.values(history.exits) as ReadonlyArray<Option.Option<Exit.Exit<unknown, unknown>>>) {
      if (Option.isSome(exit) && Exit.isFailure(exit.value)) assert.include(String(exit.value.cause), "Contention")
    }
    const before = yield* allApplied
    const waits = (yield* Outstanding.events(Sick, recipient)).map(({ id }) => id)
    assert.deepStrictEqual(countEach(good, [...before.map(({ id }) => id), ...waits]), [1, 1], "applied or waiting")
    assert.deepStrictEqual(countEach(["b"], waits), [1], "the bad one waits")
    const posts = history.notes.map(({ note }) => (note as { readonly post: string }).post)
    const landed = new Set(before.map(({ attempt }) => attempt))
    if (!mayOwe) assert.deepStrictEqual(posts.toSorted(), Array.from(landed).toSorted(), "post-process once")

    yield* Effect.flip(Eventbox.drain(Sick, recipient))
    assert.deepStrictEqual(countEach(["a", "b", "c"], (yield* allApplied).map(({ id }) => id)), [1, 0, 1], "in the end")
    const state = Option.match(yield* Datastore.get(recipient.key), {
      onNone: () => 0,
      onSome: ({ properties }) => Number(properties["State"] ?? 0)
    })
    assert.strictEqual(state, 2, "the state in the end")
  })

for (const { layout, withLayout } of layouts) {
  describe(`Workers of a recipient with a poisoned event, ${layout}`, () => {
    const explore = (title: string, programs: Explore.Programs, faults?: Explore.Faults) =>
      Effect.map(
        printed(
          `${title}, ${layout}`,
          Explore.explore({ setup, programs, check: check(faults !== undefined), faults })
        ),
        (report) => {
          assert.isTrue(report.isComplete)
          assert.isAbove(report.contended, 0)
          return report
        }
      )

    // Kills: halves that expect no head; a retry that takes consumed events along.
    it.effect("two workers consume each good event once, in every interleaving", () =>
      explore("two isolating workers", { one: work(0), two: work(0) }).pipe(withLayout, Effect.provide(Sick.layer)))

    // Kills: halves of a listing that read the head before the items, and that take what the new head hides.
    it.effect("so they do when they try again, beside an emit of a waiting id", () => {
      const again = Eventbox.emit(Sick, recipient, "good", { id: "c" })
      return explore("two isolating workers and an emitter", { one: work(1), two: work(1), again }).pipe(
        withLayout,
        Effect.provide(Sick.layer)
      )
    }, 240_000)

    it.effect(
      "one whose commits are lost, late or without response, or that stops, beside one that is well",
      () =>
        Effect.gen(function*() {
          const report = yield* explore("an isolating worker with a fault", { one: work(0), two: work(0) }, {
            responseLost: true,
            requestLost: true,
            late: true,
            crash: true,
            where: (_, process) => process === "one"
          })

          assert.isAbove(report.faulty, 0)
        }).pipe(withLayout, Effect.provide(Sick.layer)),
      240_000
    )
  })
}
