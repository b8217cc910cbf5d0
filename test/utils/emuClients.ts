/**
 * Clients of one database on the emulator of this run, each as good as a process of its own.
 */
import { Effect, type Layer, Schedule } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import { ContentionError, type DatastoreError } from "../../src/EventboxError.ts"
import type { Key } from "../../src/Key.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { emulatorHost } from "./emulator.ts"

/** A project for one test file: files share neither data nor locks. */
export const freshProjectId = (): string => `eventbox-${crypto.randomUUID().slice(0, 13)}`

export interface ClientOptions extends GoogleDatastore.Options {
  /** Told the reason of every commit that ends in contention, also of those in the background. */
  readonly onContention?: ((reason: ContentionError["reason"]["_tag"]) => void) | undefined
}

/** One more client: with a connection, a memory of its sets and background work of its own. */
export const client = (
  projectId: string,
  { onContention, ...options }: ClientOptions = {}
): Layer.Layer<Datastore.Datastore, DatastoreError> =>
  Datastore.layer(Effect.map(
    GoogleDatastore.makeBackend({
      emulatorHost,
      projectId,
      ...options,
      clientOptions: { "grpc.use_local_subchannel_pool": 1, ...options.clientOptions }
    }),
    (backend) => ({
      ...backend,
      commit: (request) =>
        Effect.tapError(backend.commit(request), (error) =>
          Effect.sync(() => {
            if (error instanceof ContentionError) onContention?.(error.reason._tag)
          }))
    })
  ))

/** Runs an effect again after contention, with jittered pauses from 2 ms to 100 ms, as often as it takes. */
export const untilItLands = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.retry(effect, { while: (error) => error instanceof ContentionError, schedule: pauses })

const pauses = Schedule.min([Schedule.exponential("2 millis"), Schedule.spaced("100 millis")]).pipe(Schedule.jittered)

/** Ids of the events that are stored below a recipient, whether or not they are visible. */
export const storedIds = (
  recipient: Key
): Effect.Effect<ReadonlyArray<string>, DatastoreError, Datastore.Datastore> =>
  Effect.map(
    Datastore.query({ kind: "dsset.Item", ancestor: recipient, keysOnly: true }),
    ({ results }) => results.map(({ key }) => String(key.id))
  )

/** How often each value occurs. */
export const countBy = (values: Iterable<string>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1
  return counts
}

/** The numbers in ascending order. */
export const sorted = (numbers: Iterable<number>): Array<number> => Array.from(numbers).toSorted((a, b) => a - b)

/** The numbers from 0 up to, and without, `end`. */
export const upTo = (end: number): Array<number> => Array.from({ length: end }, (_, index) => index)
