/**
 * The emulator of this run, as a layer; a test file that imports this one makes `globalSetup` start it.
 */
import { describe, it, layer as withLayer, type Vitest } from "@effect/vitest"
import type { Layer } from "effect"
import { inject } from "vitest"
import type { Datastore } from "../../src/Datastore.ts"
import type { DatastoreError, EmulatorError } from "../../src/EventboxError.ts"
import * as Emulator from "../../src/layers/Emulator.ts"

/** Host and port, for tests that make clients of their own; empty when there is no emulator. */
export const emulatorHost: string = inject("emulatorHost")

export const isMissing: boolean = emulatorHost === ""

/** `Datastore` on the emulator of this run, in a fresh project unless the options name one. */
export const emulatorLayer = (
  options?: Emulator.Options
): Layer.Layer<Datastore | Emulator.Emulator, EmulatorError | DatastoreError> =>
  Emulator.layer({ host: emulatorHost, ...options })

/** A block of tests on the emulator, with live clock and one fresh project; skipped when there is no emulator. */
export const onEmulator = (
  name: string,
  tests: (it: Vitest.MethodsNonLive<Datastore | Emulator.Emulator>) => void,
  options?: Emulator.Options
): void => {
  if (isMissing) describe.skip(name, () => tests(it as never))
  else withLayer(emulatorLayer(options), { excludeTestServices: true, timeout: "60 seconds" })(name, tests)
}

/**
 * Options of a client that notices a silent connection long before any deadline, also on a busy machine. The emulator
 * takes three pings in a row for abuse.
 */
export const fastPings = { "grpc.keepalive_time_ms": 500, "grpc.keepalive_timeout_ms": 2_000 }
