/**
 * What a table is measured with, and what a table is.
 */
import { Effect, type Scope } from "effect"
import * as GoogleDatastore from "effect-eventbox/layers/GoogleDatastore"
import { addRpc, type Rpcs } from "./rpcs.ts"
import type { Bed } from "./workloads/mailbox.ts"

/** How much to measure: to see that it works, within minutes, or as long as it takes. */
export type Effort = "smoke" | "ordinary" | "full"

/** What a table is measured with. */
export interface Setting {
  readonly effort: Effort
  /** Events per batch, ascending. */
  readonly sizes: ReadonlyArray<number>
  /** Samples of each competitor, where it was asked for. */
  readonly samples: number | undefined
  /** The host of a running emulator; empty for tables that need none. */
  readonly emulatorHost: string
}

/** One question, and how it is answered. */
export interface Table<Data> {
  readonly name: string
  readonly question: string
  readonly needsEmulator: boolean
  /** The answer, as JSON can hold it. */
  readonly measure: (setting: Setting) => Effect.Effect<Data, unknown, Scope.Scope>
  readonly report: (data: Data) => string
  /** Figures of this library that are worse than those of what it is compared with, one line each. */
  readonly losses?: (data: Data) => ReadonlyArray<string>
}

/** Chooses by effort. */
export const byEffort = <A>(effort: Effort, choices: { readonly [Name in Effort]: A }): A => choices[effort]

/** Every sample has a database of its own: a query costs the emulator more the more entities of its kind there are. */
export const freshProject = (): string => `eventbox-bench-${crypto.randomUUID().slice(0, 13)}`

/** A fresh database on an emulator. */
export const openEmulator = (host: string): Effect.Effect<Bed> =>
  Effect.sync(() => {
    const rpcs: Rpcs = {}
    const onRpc = (method: string) => addRpc(rpcs, method)
    return {
      layer: GoogleDatastore.layer({ emulatorHost: host, projectId: freshProject(), onRpc }),
      rpcs
    }
  })
