import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schema } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"

class Box extends Processor.Service<Box>()("app/Box", { kind: "Box", state: Schema.Int, event: Schema.String }) {}

const r = Box.recipient("r")

const sound = {
  loadState: () => Effect.succeed({ state: 0, eversion: 0 }),
  prepareMutation: (events: unknown) => Effect.succeed({ transitions: [{ events, transitionTo: 1 }] }),
  saveState: () => Effect.void
}

/** One transition with all events of the batch, and more. */
const transition = (part: object) => ({
  prepareMutation: (events: unknown) => Effect.succeed({ transitions: [{ events, transitionTo: 1, ...part }] })
})

const decides = (mutation: unknown) => ({ prepareMutation: () => Effect.succeed(mutation) })

// As a program in JavaScript, or one with `any`, may have it.
const cases: ReadonlyArray<readonly [string, object, string]> = [
  ["no saveState", { saveState: undefined }, "is broken: it has no function saveState"],
  [
    "a loadState without an Effect",
    { loadState: () => ({ state: 0 }) },
    "loadState of Box,\"r\": gave an object where an Effect was due"
  ],
  ["nothing loaded", { loadState: () => Effect.undefined }, "loadState of Box,\"r\": gave undefined where"],
  [
    "an eversion that is no number",
    { loadState: () => Effect.succeed({ state: 0, eversion: NaN }) },
    "gave the eversion NaN where { state, eversion } was due"
  ],
  [
    "a decision that is no Effect",
    { prepareMutation: () => [] },
    "prepareMutation of Box,\"r\": gave an array where an Effect was due"
  ],
  ["no decision", decides(undefined), "gave undefined where { transitions: [ … ] } was due"],
  ["a list for a decision", decides([]), "gave an array where { transitions: [ … ] } was due"],
  ["a transition that is missing", decides({ transitions: [undefined] }), "transition 0 is undefined"],
  ["ids for events", transition({ events: ["a"] }), "transition 0 has a value of type string among its events"],
  ["one event for a list", transition({ events: "a" }), "transition 0 has a value of type string where an array"],
  ["garbage that is no list", decides({ transitions: [], garbage: {} }), "garbage has an object where an array"],
  ["a function for a side effect", transition({ sideEffect: () => 1 }), "the sideEffect of transition 0 is an Effect"],
  [
    "a function to run afterwards",
    transition({ postProcess: () => 1 }),
    "the postProcess of transition 0 is an Effect"
  ],
  [
    "a version that is text",
    { fetchEVersion: () => Effect.succeed("1") },
    "fetchEVersion of Box,\"r\": gave no integer"
  ]
]

describe("a processor that does not keep its contract", () => {
  it.effect.each(cases)(
    "with %s dies with its name and the recipient's, and the event stays",
    ([_, part, expected]) =>
      Effect.gen(function*() {
        yield* Eventbox.emit(Box, r, "secret")

        const exit = yield* Effect.exit(
          Effect.provideService(Eventbox.processBatch(Box, r), Box, { ...sound, ...part } as never)
        )

        const message = Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
        assert.include(message, expected)
        assert.include(message, "The processor of app/Box is broken")
        assert.notInclude(message, "secret")
        assert.lengthOf(yield* Eventbox.list(Box, r), 1)
      }).pipe(Effect.provide(InMemory.layer))
  )
})
