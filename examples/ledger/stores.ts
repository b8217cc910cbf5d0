/**
 * The databases that a ledger can run on. Each is loaded only when it is asked for: memory needs no gRPC.
 */
import { type Config, Context, Effect, Layer } from "effect"
import type { Datastore, EventboxError } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import type { Options } from "./options.ts"

/** Environment variables that lead another process to the same database. */
export class Lead extends Context.Service<Lead, Readonly<Record<string, string>>>()("ledger/Lead") {}

export type StoreError = EventboxError.DatastoreError | EventboxError.EmulatorError | Config.ConfigError

/** The database that the options name. */
export const storeLayer = (name: Options["datastore"]): Layer.Layer<Datastore.Datastore | Lead, StoreError> => {
  switch (name) {
    case "memory":
      return Layer.merge(InMemory.layer, Layer.succeed(Lead, {}))
    case "emulator":
      return emulatorLayer
    case "google":
      return Layer.merge(googleLayer, Layer.succeed(Lead, {}))
  }
}

const googleLayer = Layer.unwrap(
  Effect.map(Effect.promise(() => import("effect-eventbox/layers/GoogleDatastore")), ({ layerConfig }) => layerConfig)
)

/** The project names the data of a run: a fresh one at its start, the given one in the processes that join it. */
const emulatorLayer = Layer.unwrap(
  Effect.map(Effect.promise(() => import("effect-eventbox/layers/Emulator")), (Emulator) => {
    const projectId = process.env[projectVariable] ?? `ledger-${crypto.randomUUID().slice(0, 13)}`
    const lead = Effect.map(Emulator.Emulator, ({ host }) => ({
      DATASTORE_EMULATOR_HOST: host,
      [projectVariable]: projectId
    }))
    return Layer.provideMerge(Layer.effect(Lead, lead), Emulator.layer({ projectId }))
  })
)

const projectVariable = "LEDGER_PROJECT_ID"
