/**
 * Everything that is measured on the emulator: over gRPC, on this machine.
 */
import { Effect, type Scope } from "effect"
import { Datastore } from "effect-eventbox"
import * as GoogleDatastore from "effect-eventbox/layers/GoogleDatastore"
import { type BatchCounts, countBatches } from "./counts.ts"
import { alternate, type Competitor, mark, type Measured, since, type Spread, spreadOf } from "./measure.ts"
import { addRpc, type Rpcs } from "./rpcs.ts"
import { Counter } from "./workloads/counter.ts"
import { direct } from "./workloads/direct.ts"
import { type Bed, mailbox, type Size } from "./workloads/mailbox.ts"
import { naive } from "./workloads/naive.ts"

/** How much to measure at one delay. */
export interface EmulatorEffort {
  readonly warmUp: number
  readonly counted: number
  /** Milliseconds added to each way. */
  readonly delayMillis: number
  /** Events of a sample without batches. */
  readonly singleEvents: number
  /** Batches of a sample, by batch size. */
  readonly batches: (batchSize: number) => number
}

/** The measurements at one delay. */
export interface DelayResult {
  readonly delayMillis: number
  /** How long one lookup of one key takes. */
  readonly lookupMillis: Spread
  /** One interactive transaction per event, with the plain API. */
  readonly naive: Measured
  /** One optimistic transaction per event, without a mailbox. */
  readonly direct: Measured
  readonly rows: ReadonlyArray<{ readonly batchSize: number; readonly size: Size; readonly library: Measured }>
  /** Events emitted one by one by several senders at a time, processed in batches. */
  readonly senders: { readonly size: Size; readonly senders: number; readonly library: Measured } | undefined
}

/** What was measured on the emulator. */
export interface EmulatorResult {
  readonly counts: ReadonlyArray<BatchCounts>
  readonly delays: ReadonlyArray<DelayResult>
}

/** Puts a delay between this process and a host, and gives the host to connect to. */
export type Delay = (host: string, delayMillis: number) => Effect.Effect<string, never, Scope.Scope>

const senders = 16

/** Measures all batch sizes and the plain API in turn, at each delay. The host is that of a running emulator. */
export const measureEmulator = (
  host: string,
  delay: Delay,
  sizes: ReadonlyArray<number>,
  efforts: ReadonlyArray<EmulatorEffort>
): Effect.Effect<EmulatorResult, unknown> =>
  Effect.gen(function*() {
    const counts = yield* countBatches(GoogleDatastore.layer({ emulatorHost: host, projectId: freshProject() }), sizes)
    const delays: Array<DelayResult> = []
    for (const effort of efforts) delays.push(yield* Effect.scoped(measureDelay(host, delay, sizes, effort)))
    return { counts, delays }
  })

/** Every sample has a database of its own: a query costs the emulator more the more entities of its kind there are. */
const freshProject = (): string => `eventbox-bench-${crypto.randomUUID().slice(0, 13)}`

const measureDelay = (
  target: string,
  delay: Delay,
  sizes: ReadonlyArray<number>,
  effort: EmulatorEffort
): Effect.Effect<DelayResult, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const host = effort.delayMillis === 0 ? target : yield* delay(target, effort.delayMillis)
    const open = Effect.sync((): Bed => {
      const rpcs: Rpcs = {}
      const onRpc = (method: string) => addRpc(rpcs, method)
      return {
        layer: GoogleDatastore.layer({ emulatorHost: host, projectId: freshProject(), onRpc }),
        // Deletes overlap with the next batch, as they do for users.
        settle: () => Effect.void,
        rpcs
      }
    })
    const sizeOf = (batchSize: number): Size => ({ batchSize, batches: effort.batches(batchSize), recipients: 1 })
    const sent = sizes.findLast((size) => size <= 100)
    const competitors: Array<Competitor<unknown>> = [
      { name: "naive", run: Effect.suspend(() => naive({ host, projectId: freshProject() }, effort.singleEvents)) },
      { name: "direct", run: direct(open, effort.singleEvents) },
      ...sizes.map((size) => ({ name: `library ${size}`, run: mailbox(open, sizeOf(size)) })),
      ...(sent === undefined ? [] : [{ name: "senders", run: mailbox(open, { ...sizeOf(sent), senders }) }])
    ]
    const measured = yield* alternate(competitors, effort)
    const named = (name: string) => measured.find((found) => found.name === name)!
    return {
      delayMillis: effort.delayMillis,
      lookupMillis: yield* timeLookups(yield* open),
      naive: named("naive"),
      direct: named("direct"),
      rows: sizes.map((batchSize) => ({ batchSize, size: sizeOf(batchSize), library: named(`library ${batchSize}`) })),
      senders: sent === undefined ? undefined : { size: sizeOf(sent), senders, library: named("senders") }
    }
  })

/** How long one small read takes: a round trip, to read the other times by. */
const timeLookups = ({ layer }: Bed): Effect.Effect<Spread, unknown> =>
  Effect.gen(function*() {
    const times: Array<number> = []
    for (let round = 0; round < 20; round++) {
      const begin = mark()
      yield* Datastore.get(Counter.recipient("lookup").key)
      // The first one connects.
      if (round > 0) times.push(since(begin).wallMicros / 1_000)
    }
    return spreadOf(times)
  }).pipe(Effect.provide(layer))
