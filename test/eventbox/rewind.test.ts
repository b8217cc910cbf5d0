import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import { DatastoreError, Unavailable } from "../../src/EventboxError.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import { inTime } from "../utils/boxWorld.ts"

class Box extends Processor.Service<Box>()("test/rewind/Box", {
  kind: "Box",
  state: Schema.Array(Schema.String),
  event: Schema.String
}) {}

describe("a drain whose state cannot be loaded for a moment", () => {
  it.effect("offers the events that it has listed again, and leaves only what the processor leaves", () =>
    Effect.gen(function*() {
      const box = Box.recipient("r")
      for (const value of ["a", "b", "later"]) yield* Eventbox.emit(Box, box, value, { id: value })
      let loads = 0
      const drain = Eventbox.drain(Box, box, { maxEvents: 2 }).pipe(
        Effect.provideService(
          Box,
          Box.of({
            loadState: () =>
              Effect.suspend(() =>
                loads++ === 0
                  ? Effect.fail(new DatastoreError({ operation: "lookup", reason: new Unavailable({ detail: "" }) }))
                  : Effect.succeed({ state: [], eversion: Processor.EVersion.make(0) })
              ),
            prepareMutation: (all, state) => {
              const events = all.filter(({ value }) => value !== "later")
              return Effect.succeed({ transitions: events.length === 0 ? [] : [{ events, transitionTo: state }] })
            },
            saveState: () => Effect.void
          })
        )
      )

      const { consumed } = yield* inTime(drain)

      assert.strictEqual(consumed, 2)
      assert.lengthOf(yield* Eventbox.list(Box, box), 1)
    }).pipe(Effect.provide(InMemory.layer)))
})
