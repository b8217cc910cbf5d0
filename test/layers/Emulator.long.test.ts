import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Scope } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as Emulator from "../../src/layers/Emulator.ts"
import { answers } from "../../src/layers/emulator/process.ts"
import * as DatastoreSuite from "../../src/testing/DatastoreSuite.ts"
import { emulatorLayer, isMissing } from "../utils/emulator.ts"

describe.skipIf(isMissing)("Emulator: conformance", () => {
  // Races between transactions of the server run into the lock time-outs of the emulator, 2 s each.
  DatastoreSuite.suite("interactive", emulatorLayer({ unwrittenExpectations: "interactive" }), {
    rounds: 2,
    tornReads: true
  })
})

/** An emulator that came from outside does not show that one could be started here. */
const cannotStart = isMissing || (process.env["DATASTORE_EMULATOR_HOST"] ?? "") !== ""
const why = isMissing ? "" : cannotStart ? " (skipped: the emulator of this run came from outside)" : ""

const until = (condition: () => boolean | Promise<boolean>) =>
  Effect.promise(async () => {
    while (!(await condition())) await new Promise((done) => setTimeout(done, 10))
  })

describe.skipIf(cannotStart)(`Emulator: its process${why}`, () => {
  it.live("it runs until the scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { host } = yield* Scope.provide(Emulator.start({ host: "" }), scope)
      const during = yield* Effect.promise(() => answers(host, 1_000))

      yield* Scope.close(scope, Exit.void)

      assert.deepStrictEqual([during, yield* Effect.promise(() => answers(host, 1_000))], [true, false])
    }))

  it.live("it ends when the process that started it is killed", () =>
    Effect.gen(function*() {
      const child = spawn(process.execPath, [
        "--input-type=module-typescript",
        "-e",
        `
        import { Effect } from "effect"
        import * as Emulator from "./src/layers/Emulator.ts"
        await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
          console.log((yield* Emulator.start({ host: "" })).host)
          setInterval(() => {}, 1_000)
          yield* Effect.never
        })))
      `
      ], { cwd: join(import.meta.dirname, "../.."), stdio: ["ignore", "pipe", "ignore"] })
      const host = yield* Effect.promise(() =>
        new Promise<string>((done) => {
          child.stdout.once("data", (chunk: Buffer) => done(chunk.toString().trim()))
        })
      )
      assert.isTrue(yield* Effect.promise(() => answers(host, 1_000)))

      child.kill("SIGKILL")

      yield* until(async () => !(await answers(host, 100)))
    }))

  it.live("a reset forgets everything", () =>
    Effect.gen(function*() {
      // An emulator of its own: a reset of the shared one would reach other tests.
      yield* Effect.gen(function*() {
        const entity = Entity.make(Key.make("K", "a"), { n: 1 })
        const { reset } = yield* Emulator.Emulator
        yield* Datastore.put([entity])

        yield* reset

        assert.isTrue(Option.isNone(yield* Datastore.get(entity.key)))
      }).pipe(Effect.provide(Layer.fresh(Emulator.layer({ host: "" }))))
    }))
})
