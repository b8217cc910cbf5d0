/**
 * The Google backend in front of a scripted server.
 */
import { Clock, Duration, Effect, Random, type Scope } from "effect"
import type { Backend } from "../../src/Backend.ts"
import type { DatastoreError } from "../../src/EventboxError.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { makeScriptedServer, type Script, type ScriptedServer } from "./scriptedServer.ts"

/** A backend whose every request goes to a server that follows the script. */
export const scripted = (
  script: Script,
  options: GoogleDatastore.Options = {}
): Effect.Effect<{ readonly server: ScriptedServer; readonly backend: Backend }, DatastoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* makeScriptedServer(script)
    const backend = yield* GoogleDatastore.makeBackend({ projectId: "scripted", emulatorHost: server.host, ...options })
    return { server, backend }
  })

/**
 * Runs an effect on a clock of its own that only pauses move, and each at once: however long the real server takes, the
 * same pauses follow each other.
 */
export const withoutPauses = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let millis = 0
    const nanos = () => BigInt(Math.round(millis * 1_000_000))
    const clock: Clock.Clock = {
      currentTimeMillisUnsafe: () => millis,
      currentTimeMillis: Effect.sync(() => millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) =>
        Effect.sync(() => {
          millis += Duration.toMillis(duration)
        })
    }
    return Effect.provideService(Random.withSeed(effect, "seed"), Clock.Clock, clock)
  })
