import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as DsSet from "../../src/DsSet.ts"
import { Recorder } from "../../src/testing/index.ts"
import { list, set, shown, values } from "../utils/boxSet.ts"
import { world } from "../utils/boxWorld.ts"

const bytesOf = (text: string) => new TextEncoder().encode(text)

describe("one call of add", () => {
  it.effect("adds an id that is given twice once, with its last value, in a commit that names it once", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder

      const [, report] = yield* recorder.during(
        DsSet.add(set, [
          { id: "a", value: bytesOf("old") },
          { id: "b", value: bytesOf("b") },
          { id: "a", value: bytesOf("new") }
        ])
      )

      assert.deepStrictEqual(report.operations.map(({ call }) => Recorder.keysOf(call).length), [2])
      assert.deepStrictEqual(values(yield* list()).toSorted(), ["a=new", "b=b"])
    }).pipe(Effect.provide(world)))

  it.effect("keeps the last value also where the first would be in another commit", () =>
    Effect.gen(function*() {
      const others = Array.from({ length: 700 }, (_, n) => ({ id: `z${n}`, value: bytesOf("v") }))

      yield* DsSet.add(set, [{ id: "a", value: bytesOf("old") }, ...others, { id: "a", value: bytesOf("new") }])

      assert.include(values(yield* list()), "a=new")
    }).pipe(Effect.provide(world)))

  it.effect("refuses a value, a time or a trace of another type before any RPC", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.Recorder
      const wrong = [
        // Any of these could be stored, and would be read back as an empty item or one of 1970.
        [{ value: "v" as unknown as Uint8Array }, "item \"bad\": its value is a Uint8Array, got string"],
        [{ value: bytesOf("v"), atMillis: 0.5 }, "item \"bad\": its atMillis is an integer, got 0.5"],
        [{ value: bytesOf("v"), trace: 1 as unknown as string }, "item \"bad\": its trace is a string, got number"]
      ] as const
      for (const [item, says] of wrong) {
        const [error, report] = yield* recorder.during(
          Effect.flip(DsSet.add(set, [{ id: "good", value: bytesOf("v") }, { id: "bad", ...item }]))
        )

        assert.strictEqual(error.reason._tag, "InvalidArgument")
        assert.include(error.message, says)
        assert.deepStrictEqual(report.operations, [])
      }
      assert.deepStrictEqual(shown(yield* list()).items, [])
    }).pipe(Effect.provide(world)))
})
