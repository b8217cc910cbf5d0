/**
 * What every backend must do, as tests: one suite for the store in memory, the emulator, production, and yours.
 *
 * The facts are stated at the port (`Backend`), by its three operations alone. Every test works below a fresh random
 * key, so a suite may run against a database that holds other things, and many at a time.
 *
 * @since 0.1.0
 */
import { layer as withLayer } from "@effect/vitest"
import * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import type { Datastore } from "../Datastore.ts"
import { conformance } from "./conformance/suite.ts"

/**
 * Where a backend may differ, and how long its tests may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface SuiteOptions {
  /** Bytes of data in a commit that is refused as too large; 11 MiB by default. */
  readonly tooLargeCommitBytes?: number | undefined
  /** How often each race is run; 20 by default. */
  readonly rounds?: number | undefined
  /**
   * Whether a reader beside a commit may see some of its entities before and some after it, as on the Firestore
   * emulator; then the fact that it does not is left out. Eventbox does not lean on it: commits validate what was read.
   */
  readonly tornReads?: boolean | undefined
  /** For each test, and for building the layer; 30 seconds by default. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Declares the tests of one backend, in a `describe` block of that name.
 *
 * **Details**
 *
 * Runs on the live clock. Writes some 10,000 small entities and 30 MiB in all, and leaves them behind.
 *
 * **Example** (The suite of the store in memory)
 *
 * ```ts
 * import * as InMemory from "effect-eventbox/layers/InMemory"
 * import * as DatastoreSuite from "effect-eventbox/testing/DatastoreSuite"
 *
 * DatastoreSuite.suite("InMemory", InMemory.layer)
 * ```
 *
 * @category testing
 * @since 0.1.0
 */
export const suite = <E>(name: string, layer: Layer.Layer<Datastore, E>, options: SuiteOptions = {}): void => {
  const timeout = options.timeout ?? "30 seconds"
  const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(timeout))
  const facts = conformance({
    rounds: options.rounds ?? 20,
    tornReads: options.tornReads ?? false,
    tooLargeCommitBytes: options.tooLargeCommitBytes ?? 11 * 1024 * 1024
  })
  withLayer(layer, { excludeTestServices: true, timeout })(name, (it) => {
    for (const fact of facts) it.effect(fact.name, () => fact.check, timeoutMillis)
  })
}
