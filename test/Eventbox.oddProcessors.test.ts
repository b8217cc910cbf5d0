import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Eventbox from "../src/Eventbox.ts"
import * as Processor from "../src/Processor.ts"
import type { Refused } from "./utils/boxJournal.ts"
import { box, fill, Poisoned, withPoisoned } from "./utils/boxPoison.ts"
import { world } from "./utils/boxWorld.ts"

const failedOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, Eventbox.EventFailed)
    return error as Eventbox.EventFailed<Refused>
  })

describe("an event that fails alone", () => {
  it.effect("is named also where its failure has no text, or throws when it is looked at", () =>
    Effect.gen(function*() {
      yield* fill(["good 0"])
      const thrower = {
        get message(): never {
          throw new Error("looked at")
        }
      }
      for (const defect of [Object.create(null), { name: Object.create(null) }, thrower]) {
        const failing = Poisoned.entity({ initial: () => [], prepareMutation: () => Effect.die(defect) })
        const error = yield* failedOf(Effect.provideServiceEffect(Eventbox.process(Poisoned, box), Poisoned, failing))

        assert.include(error.message, `Event "e00000" of Poisoned,"p" fails alone: something that has no text`)
      }
    }).pipe(Effect.provide(world)))

  it.effect.each(["prepareMutation", "sideEffect", "postProcess", "fetchEVersion", "saveState"])(
    "is named also where %s gives no effect for it",
    (place) =>
      Effect.gen(function*() {
        const values = ["good 0", "good 1", "good 2", "good 3"]
        const ids = yield* fill(values)
        const loaded = { state: [], eversion: Processor.EVersion.make(0) }
        let isBad = false
        const at = (here: string): any => place === here && isBad ? Promise.resolve() : Effect.void
        const call = Eventbox.process(Poisoned, box).pipe(
          Effect.provideService(
            Poisoned,
            Poisoned.of({
              loadState: () => Effect.succeed(loaded),
              prepareMutation: (events, state) => {
                isBad = events.some(({ value }) => value === "good 2")
                return Effect.isEffect(at("prepareMutation"))
                  ? Effect.succeed({
                    transitions: [{
                      events,
                      transitionTo: [...state, "more"],
                      sideEffect: at("sideEffect"),
                      postProcess: at("postProcess")
                    }]
                  })
                  : at("prepareMutation")
              },
              fetchEVersion: () => Effect.isEffect(at("fetchEVersion")) ? Effect.succeed(loaded.eversion) : at(place),
              saveState: () => at("saveState")
            })
          )
        )

        const error = yield* failedOf(call)

        assert.deepStrictEqual(error.failures.map(({ eventId }) => eventId), [ids.get("good 2")])
        assert.match(error.message, /gave a promise where an Effect was due|is an Effect, got a promise/)
        assert.strictEqual(error.summary.consumed, 3)
      }).pipe(Effect.provide(world))
  )
})

describe("a call that gives up", () => {
  it.effect("says that there is more when `maxFailures` ends it amid a batch, and not when all were tried", () =>
    Effect.gen(function*() {
      yield* fill(Array.from({ length: 8 }, (_, n) => `refused ${n}`))
      const failing = (maxFailures: number) =>
        failedOf(Eventbox.process(Poisoned, box, { maxFailures }).pipe(withPoisoned()))

      const [five, eight] = [yield* failing(5), yield* failing(8)]

      assert.deepStrictEqual([five.failures.length, five.summary.truncated], [5, true])
      assert.deepStrictEqual([eight.failures.length, eight.summary.truncated], [8, false])
    }).pipe(Effect.provide(world)))
})
