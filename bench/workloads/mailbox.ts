/**
 * The library at work: emit as many events as a batch takes, process the batch, and again.
 */
import { Effect, Layer, type Scope } from "effect"
import { Datastore, Eventbox, type EventboxError, type Processor } from "effect-eventbox"
import { addUsage, between, type Mark, mark, noUsage, type Sample, since } from "../measure.ts"
import { type Rpcs, rpcsSince } from "../rpcs.ts"
import { checkMailboxes, Counter, type Tick, ticks } from "./counter.ts"

/** A database for one sample. */
export interface Bed {
  readonly layer: Layer.Layer<Datastore.Datastore, EventboxError.DatastoreError>
  /** Counts the RPCs of the layer, where there are any. */
  readonly rpcs?: Rpcs
}

/** How much one sample does. */
export interface Size {
  readonly batchSize: number
  /** Batches of each recipient. Its tombstones grow with each, and are read and written by the next. */
  readonly batches: number
  /** Recipients, whose batches take turns; one batch at a time. */
  readonly recipients: number
}

/** What a measured body took. */
export type Taken = Pick<Sample, "all" | "rpcs">

/**
 * Runs a body on a bed, and measures it with the closing of the layer: until its background work is done.
 * The connection is open before.
 */
export const measured = <A, E, R>(
  { layer, rpcs }: Bed,
  body: Effect.Effect<A, E, R>
): Effect.Effect<
  readonly [A, Taken],
  E | EventboxError.DatastoreError,
  Exclude<Exclude<R, Datastore.Datastore>, Scope.Scope>
> =>
  Effect.suspend(() => {
    let begin: Mark | undefined
    let before: Rpcs = {}
    const started = Effect.sync(() => {
      before = { ...rpcs }
      begin = mark()
    })
    const run = Effect.flatMap(Layer.build(Layer.fresh(layer)), (context) =>
      Datastore.get(Counter.recipient("connect").key).pipe(
        Effect.andThen(started),
        Effect.andThen(body),
        Effect.provideContext(context)
      ))
    return Effect.map(Effect.scoped(run), (value) => {
      const all = since(begin!)
      const taken: Taken = rpcs === undefined ? { all } : { all, rpcs: rpcsSince(rpcs, before) }
      return [value, taken] as const
    })
  })

/** Emits the events of one batch: at once, or each by itself with so many senders at a time. */
const emitBatch = (recipient: Processor.Recipient<Counter>, values: ReadonlyArray<Tick>, senders?: number) =>
  senders === undefined
    ? Effect.asVoid(Eventbox.emitAll(Counter, recipient, values))
    : Effect.forEach(values, (tick) => Eventbox.emit(Counter, recipient, tick), {
      concurrency: senders,
      discard: true
    })

/** The recipients of one sample. */
export const recipientsOf = (count: number): ReadonlyArray<Processor.Recipient<Counter>> =>
  Array.from({ length: count }, (_, index) => Counter.recipient(`r${index}`))

/** One sample of emitting and processing, its result checked. */
export const mailbox = <E>(
  open: Effect.Effect<Bed, E>,
  { batchSize, batches, recipients, senders }: Size & { readonly senders?: number | undefined }
) =>
  Effect.gen(function*() {
    const bed = yield* open
    const names = recipientsOf(recipients)
    // More than there are, as mostly: a batch that is full does not know whether it has seen all.
    const maxEvents = Math.max(1_000, 2 * batchSize)
    const work = Effect.gen(function*() {
      let emit = noUsage
      let process = noUsage
      for (let batch = 0; batch < batches; batch++) {
        const values = ticks(batch * batchSize, batchSize)
        // The clocks are read once per round of all recipients: for one small batch that alone would be seen.
        const start = mark()
        for (const recipient of names) yield* emitBatch(recipient, values, senders)
        const emitted = mark()
        for (const recipient of names) yield* Eventbox.processBatch(Counter, recipient, { maxEvents })
        emit = addUsage(emit, between(start, emitted))
        process = addUsage(process, since(emitted))
      }
      return { emit, process }
    })
    const [parts, taken] = yield* Effect.provide(measured(bed, work), Counter.layer)
    const total = yield* Effect.provide(checkMailboxes(names, batches * batchSize), [bed.layer, Counter.layer])
    const sample: Sample = {
      events: recipients * batches * batchSize,
      batches: recipients * batches,
      total,
      ...parts,
      ...taken
    }
    return sample
  })
