import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { isLong, printed } from "../utils/explore.ts"
import { boxes, emit, exactlyOnce, layer, work } from "../utils/exploreBox.ts"

/*
 * Workers of one recipient in every order of their backend operations: nothing is lost, nothing is doubled, and the
 * post-process effects run for exactly those commits that landed.
 */
const raced = (report: Explore.Report, histories: number) => {
  assert.isTrue(report.isComplete)
  assert.isAtLeast(report.histories, histories)
  assert.isAbove(report.contended, 0)
}

for (const { box, name, stateAfter } of boxes) {
  describe(`Workers of one recipient, ${name}`, () => {
    const setup = Effect.andThen(emit(box, "a"), emit(box, "b"))
    const check = exactlyOnce(box, stateAfter, ["a", "b"])
    const explore = (
      title: string,
      programs: Explore.Programs,
      options: Partial<Explore.Options<Explore.Programs, never, never, never>> = {}
    ) => printed(`${title}, ${name}`, Explore.explore({ setup, programs, check, ...options }))
    const twice = Effect.andThen(work(box, { maxEvents: 1 }), work(box, { maxEvents: 1 }))

    // Kills: no expectation of the head, or of another head than the listing's; a pop that writes no tombstone.
    it.effect("two workers consume each event once, in every interleaving", () =>
      Effect.gen(function*() {
        raced(yield* explore("two workers, without pruning", { one: work(box), two: work(box) }, { prune: false }), 80)
      }).pipe(Effect.provide(layer)))

    it.effect("two workers that try again after contention consume each event once, in every interleaving", () =>
      Effect.gen(function*() {
        const programs = { one: work(box, { tries: 2 }), two: work(box, { tries: 2 }) }
        raced(yield* explore("two workers, two tries, without pruning", programs, { prune: false }), 120)
      }).pipe(Effect.provide(layer)))

    it.effect(
      "workers with limited batches consume each event once",
      () =>
        Effect.gen(function*() {
          raced(
            yield* explore("one worker with two batches of one event, one with all", { one: twice, two: work(box) }),
            40
          )
        }).pipe(Effect.provide(layer)),
      120_000
    )

    // They share merged lookups and the position of cut-off listings.
    it.effect("two workers in one process consume each event once", () =>
      Effect.gen(function*() {
        const one = work(box, { maxEvents: 1, tries: 2 })
        const programs = { one, two: Effect.andThen(Explore.step("sets out"), one) }
        raced(yield* explore("two workers in one process", programs, { processes: { one: "both", two: "both" } }), 100)
      }).pipe(Effect.provide(layer)))

    it.effect("an id that is emitted again is consumed once, whenever it is", () =>
      Effect.gen(function*() {
        raced(
          yield* explore("two workers and an emitter", { one: work(box), two: work(box), again: emit(box, "a") }),
          40
        )
      }).pipe(Effect.provide(layer)))

    it.effect("three workers consume each event once", () =>
      Effect.gen(function*() {
        raced(yield* explore("three workers", { one: work(box), two: work(box), three: work(box) }), 45)
      }).pipe(Effect.provide(layer)))

    it.effect("three workers that try again after contention consume each event once", () =>
      Effect.gen(function*() {
        const again = work(box, { tries: 2 })
        raced(yield* explore("three workers, two tries", { one: again, two: again, three: again }), 45)
      }).pipe(Effect.provide(layer)))

    it.effect("three workers that try again, and an emitter, consume each event once", () =>
      Effect.gen(function*() {
        const again = work(box, { tries: 2 })
        const programs = { one: again, two: again, three: work(box), emitter: emit(box, "a") }
        raced(yield* explore("three workers, two tries, and an emitter", programs), 500)
      }).pipe(Effect.provide(layer)), 300_000)

    it.effect(
      "two workers in one process and an emitter, each trying again, consume each event once",
      () =>
        Effect.gen(function*() {
          const again = work(box, { tries: 3 })
          const programs = {
            one: again,
            two: Effect.andThen(Explore.step("sets out"), again),
            emitter: Effect.andThen(emit(box, "a"), emit(box, "b"))
          }
          raced(
            yield* explore("two workers in one process, and an emitter", programs, {
              processes: { one: "both", two: "both" }
            }),
            100
          )
        }).pipe(Effect.provide(layer)),
      300_000
    )

    it.effect("four workers consume each event once", () =>
      Effect.gen(function*() {
        const programs = { one: work(box), two: work(box), three: work(box), four: work(box) }
        raced(yield* explore("four workers", programs), 250)
      }).pipe(Effect.provide(layer)), 120_000)

    it.effect("three workers and an emitter consume each event once", () =>
      Effect.gen(function*() {
        const programs = { one: work(box), two: work(box), three: work(box), again: emit(box, "a") }
        raced(yield* explore("three workers and an emitter", programs), 500)
      }).pipe(Effect.provide(layer)), 120_000)

    it.effect.runIf(isLong)(
      "two workers in one process, with answers apart from their operations, consume each once",
      () =>
        Effect.gen(function*() {
          const programs = { one: work(box, { maxEvents: 1 }), two: work(box, { maxEvents: 1 }) }
          const options = { processes: { one: "both", two: "both" }, separateAnswers: true }
          raced(yield* explore("two workers in one process, answers apart", programs, options), 5_000)
        }).pipe(Effect.provide(layer)),
      1_200_000
    )

    it.effect.runIf(isLong)(
      "two workers with two limited batches each consume each event once",
      () =>
        Effect.gen(function*() {
          raced(yield* explore("two workers with two batches of one event", { one: twice, two: twice }), 10_000)
        }).pipe(Effect.provide(layer)),
      1_200_000
    )
  })
}

/** A gate: while it is open its events are let in, and each leaves a record of that. */
class Gate extends Processor.Service<Gate>()("test/Gate", {
  kind: "Gate",
  state: Schema.Literals(["open", "closed"]),
  event: Schema.Struct({})
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => "open",
    prepareMutation: (events, state) =>
      Effect.succeed({
        transitions: [{
          events,
          transitionTo: state,
          sideEffect: state === "open" ? Datastore.put([Entity.make(letIn, {})]) : undefined
        }]
      })
  }))
}

const letIn = Key.make("LetIn", 1)

describe("Workers and other writers", () => {
  // Kills: the state that was loaded not expected by the commit (E1), where the state is not saved.
  it.effect("no batch lands on a state that has changed since it was loaded", () =>
    Effect.gen(function*() {
      const gate = Gate.recipient("g")
      const versions = Effect.flatMap(Datastore.Datastore, ({ backend }) => backend.lookup([letIn, gate.key]))
      let refused = 0
      const report = yield* printed(
        "a worker and another writer of the state",
        Explore.explore({
          setup: Effect.gen(function*() {
            yield* Eventbox.emit(Gate, gate, {}, { id: "a" })
            yield* Datastore.put([Entity.make(gate.key, { State: `"open"`, EVersion: 1 })])
          }),
          programs: {
            worker: Eventbox.processBatch(Gate, gate),
            closer: Datastore.put([Entity.make(gate.key, { State: `"closed"`, EVersion: 2 })])
          },
          check: ({ exits }) =>
            Effect.map(versions, ([entered, closed]) => {
              if (Option.isSome(entered!.entity)) assert.isBelow(Number(entered!.version), Number(closed!.version))
              if (Option.getOrThrow(exits.worker)._tag === "Failure") refused++
            }),
          prune: false
        })
      )

      raced(report, 8)
      assert.isAbove(refused, 0)
    }).pipe(Effect.provide(Gate.layer)))
})
