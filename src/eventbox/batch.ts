/**
 * The algorithm of one batch.
 *
 * Round 1: the listing beside what `loadState` reads. Then the processor decides. Round 2: one conditional commit of
 * side effects, pops and state. Invariants, cited by number:
 *
 * - **E1** no commit on a stale state.
 * - **E3** state, side effects and tombstones land together or not at all.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Snapshot } from "../Backend.ts"
import { Datastore } from "../Datastore.ts"
import { remembering } from "../datastore/reads.ts"
import { transact } from "../datastore/transact.ts"
import * as DsSet from "../DsSet.ts"
import { deleteUnchanged } from "../dsset/deletions.ts"
import { placeOf } from "../dsset/memory.ts"
import { beginPop } from "../dsset/pop.ts"
import type { Cursor } from "../dsset/sweep.ts"
import {
  ContentionError,
  type DatastoreError,
  type EventDecodeError,
  EVersionChanged,
  isContentionError,
  isDatastoreError,
  isUnknownOutcome,
  MailboxOwned,
  type StoreError
} from "../EventboxError.ts"
import * as Metrics from "../EventboxMetrics.ts"
import { inSpan } from "../ground/span.ts"
import * as Transaction from "../ground/transaction.ts"
import {
  type Event,
  type EVersion,
  isPrepareFailure,
  misprovided,
  type Mutation,
  type Processor,
  type Recipient,
  type ServiceClass,
  type Transition
} from "../Processor.ts"
import { carryText, type Loaded } from "../processor/entity.ts"
import { asEffect, broken } from "./callbacks.ts"
import { isEVersion, misread, misuse } from "./decision.ts"
import { age, decodeItems, oldestFirst } from "./decoding.ts"
import type { Landing } from "./landing.ts"
import type { BatchResult } from "./model.ts"
import { relist } from "./relist.ts"
import { dropNoops, saveChanged } from "./saving.ts"
import { count, newTally, noteLanded, type Tally } from "./tally.ts"
import { linkTraces } from "./traces.ts"
import { warnUnconsumed } from "./unconsumed.ts"

/** What a batch is run with. */
export interface BatchOptions {
  readonly maxEvents: number
  readonly maxBytes: number | undefined
  /** Where a series of batches stands, instead of the position that the process remembers. */
  readonly cursor: Cursor | undefined
  /** Runs some events of an earlier listing again, instead of listing. */
  readonly part?: Part | undefined
  /** Makes it a batch that may be isolated: what it was about is written down here. */
  readonly watch?: Watch | undefined
}

/** Some events of a listing. */
export interface Part {
  readonly listing: DsSet.Listing
  readonly ids: ReadonlyArray<string>
  /** Whether to look which of them still wait as the listing saw them, as after a lost race. */
  readonly verify: boolean
}

/** What a batch was about, for whoever isolates its events when it fails. */
export interface Watch {
  /** Ids of events to leave out, although they wait. */
  readonly without: { readonly has: (id: string) => boolean; readonly size: number }
  /** There once events and state were read: a failure from then on may be that of an event. */
  listing: DsSet.Listing | undefined
  /** The events that came to the processor, in its order. */
  ids: ReadonlyArray<string>
  /** What did not come to it, since it does not decode. */
  undecodable: ReadonlyArray<EventDecodeError>
  /** Garbage that was deleted, also if the batch failed. */
  readonly deleted: Set<string>
  /** Those of it that came with a failure of `prepareMutation`. */
  dropped: ReadonlyArray<string>
}

/** What one batch did, and whether its listing got to the end of the events. */
export interface Batched<E> extends BatchResult<E> {
  readonly reachedEnd: boolean
}

/** Whether running the same again may succeed and does no harm. */
export const isTransient = (error: unknown): boolean =>
  isContentionError(error) || isDatastoreError(error) && (error.isRetryable || isUnknownOutcome(error))

/** One batch: two rounds, and nothing between them but the processor's decision. What it lands is left in `landing`. */
export const runBatch = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  options: BatchOptions,
  landing: Landing<E>
): Effect.Effect<Batched<E>, E | ContentionError | EventDecodeError | MailboxOwned | StoreError, Self | Datastore> =>
  Effect.suspend(() => {
    const tally = newTally()
    const counted = batch({ box, recipient, landing, tally, watch: options.watch }, options).pipe(
      // Not caught and raised again: the cause then would no longer name the callback that failed.
      Effect.mapError((error) => error instanceof ContentionError ? withRecipient(error, recipient.key) : error),
      Effect.onExit((exit) => count(recipient, tally, exit))
    )
    return inSpan(counted, "Eventbox.processBatch", () => ({
      attributes: { "eventbox.recipient": recipient.key.toString() }
    }))
  })

const withRecipient = (error: ContentionError, recipient: Recipient<never>["key"]): ContentionError =>
  new ContentionError({ reason: error.reason, recipient })

/** What a batch is about from its first step on. */
interface Start<Self, S, A, E> {
  readonly box: ServiceClass<Self, any, S, A, E>
  readonly recipient: Recipient<Self>
  readonly landing: Landing<E>
  readonly tally: Tally
  readonly watch: Watch | undefined
}

/** What it knows after round 1. */
interface Batch<Self, S, A, E> extends Start<Self, S, A, E> {
  readonly processor: Processor<Self, S, A, E>
  readonly listing: DsSet.Listing
  readonly loaded: Loaded<S, EVersion>
  /** What `loadState` looked up. */
  readonly remembered: ReadonlyMap<string, Snapshot>
  readonly events: ReadonlyArray<Event<A>>
}

const batch = Effect.fnUntraced(function*<Self, S, A, E>(
  start: Start<Self, S, A, E>,
  options: BatchOptions
): Effect.fn.Return<
  Batched<E>,
  E | ContentionError | EventDecodeError | MailboxOwned | StoreError,
  Self | Datastore
> {
  const { box, recipient, watch } = start
  const { part } = options
  if (watch !== undefined) watch.listing = undefined
  const problem = problemOf(options)
  if (problem !== undefined) return yield* Effect.die(new Error(`Eventbox: ${problem}`))
  const processor: Processor<Self, S, A, E> = yield* implementationOf(box)

  // Round 1. Another box's state may well not load: whose mailbox it is says more.
  const [listing, exit] = yield* Effect.all([
    part === undefined
      ? list(start, options)
      : Effect.tap(relist(part.listing, part.ids, part.verify), (relisted) => refuseForeign(start, relisted)),
    Effect.exit(remembering(asEffect(start, "loadState", processor.loadState(recipient))))
  ], { concurrency: "unbounded" })
  // After a lost race these events are tried again. After another failure the next batch goes on behind them, so that
  // events that cannot be processed do not block the rest for ever.
  const rewind = (error: unknown) => Effect.sync(() => isTransient(error) ? listing.rewind() : undefined)
  const [read, remembered] = yield* Effect.tapError(exit, rewind)
  const misloaded = misread(read)
  if (misloaded !== undefined) return yield* broken(start, "loadState", misloaded)
  yield* linkTraces(listing.items.map(({ trace }) => trace))
  const events = yield* eventsOf(start, listing)
  const running = { ...start, processor, listing, loaded: carryText(read), remembered, events }
  return yield* Effect.tapError(decideAndLand(running), rewind)
})

/** The processor's decision, and round 2. */
const decideAndLand = Effect.fnUntraced(function*<Self, S, A, E>(
  running: Batch<Self, S, A, E>
): Effect.fn.Return<Batched<E>, E | ContentionError | StoreError, Datastore> {
  const { events, listing, recipient, remembered, tally } = running
  const mutation = yield* decide(running)
  const transitions = yield* dropNoops(running, mutation.transitions)
  const result: Batched<E> = {
    postProcess: transitions.flatMap(({ postProcess }) => postProcess === undefined ? [] : [postProcess]),
    consumed: transitions.reduce((sum, transition) => sum + (transition.events?.length ?? 0), 0),
    garbage: mutation.garbage?.length ?? 0,
    transitions: transitions.length,
    truncated: listing.truncated,
    reachedEnd: listing.reachedEnd
  }
  const garbage = deleteGarbage(running, mutation.garbage)
  if (transitions.length === 0) {
    yield* garbage
    return result
  }

  // Round 2. Garbage that is left is garbage for the next batch too, so its deletion fails nothing that landed.
  const commit = Metrics.timed(
    Metrics.commitDuration,
    tally.updates,
    transact(apply(running, transitions, result), remembered)
  )
  if (result.garbage === 0) yield* commit
  else yield* (yield* Effect.all([Effect.exit(commit), Effect.exit(garbage)], { concurrency: "unbounded" }))[0]
  if (result.consumed + result.garbage === 0 && events.length > 0) {
    yield* warnUnconsumed(placeOf(yield* Datastore, recipient.key), events.length)
  }
  return result
})

/** All that the transitions do, in one transaction. // E3 */
const apply = Effect.fnUntraced(function*<Self, S, A, E>(
  running: Batch<Self, S, A, E>,
  transitions: ReadonlyArray<Transition<S, A, E>>,
  result: Batched<E>
): Effect.fn.Return<void, E | ContentionError | StoreError, Datastore | Transaction.Transaction> {
  const { box, landing, listing, tally } = running
  yield* checkEVersion(running)
  const op = yield* beginPop(listing.set, listing, box.key)
  for (const { events = [], sideEffect } of transitions) {
    if (sideEffect !== undefined) yield* sideEffect
    for (const { id } of events) op.pop(id) // E2: a failed pop shows as a changed head, in the commit
  }
  yield* saveChanged(running, transitions)
  yield* DsSet.finishPop(op)
  ;(yield* Transaction.Transaction).afterCommit.push(noteLanded(landing, tally, result))
})

// The steps, in their order

const problemOf = ({ maxBytes, maxEvents }: BatchOptions): string | undefined => {
  if (!(Number.isSafeInteger(maxEvents) && maxEvents > 0)) return `maxEvents is a positive integer, got ${maxEvents}`
  return maxBytes === undefined || maxBytes > 0 ? undefined : `maxBytes is a positive number, got ${maxBytes}`
}

/** The implementation that was provided; dies when it is another box's. */
export const implementationOf = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>
): Effect.Effect<Processor<Self, S, A, E>, never, Self> =>
  Effect.flatMap(box, (processor) => {
    const problem = misprovided(box, processor) ?? misshapen(box.key, processor)
    return problem === undefined ? Effect.succeed(processor) : Effect.die(new Error(problem))
  })

const misshapen = (box: string, processor: Processor<any, any, any, any>): string | undefined => {
  for (const name of ["loadState", "prepareMutation", "saveState"] as const) {
    if (typeof processor[name] !== "function") return `The processor of ${box} is broken: it has no function ${name}`
  }
  return undefined
}

/** Lists, measures, and sends off the deletion of stored garbage: its tombstones stay while it does. // E4 */
const list = Effect.fnUntraced(function*(
  start: Start<any, any, any, any>,
  { cursor, maxBytes, maxEvents }: BatchOptions
): Effect.fn.Return<DsSet.Listing, DatastoreError | MailboxOwned, Datastore> {
  const { recipient: { key }, tally: { updates } } = start
  const set = DsSet.make({ parent: key })
  const listing = yield* Metrics.timed(
    Metrics.listDuration,
    updates,
    DsSet.list(set, { maxItems: maxEvents, maxBytes, cursor })
  )
  yield* refuseForeign(start, listing)
  const { garbage, items } = listing
  updates.push([Metrics.size, items.length])
  if (items.length > 0) {
    const now = yield* Clock.currentTimeMillis
    const oldest = items.reduce((least, item) => Math.min(least, age(item)), now)
    updates.push([Metrics.oldestAge, (now - oldest) / 1_000])
  }
  if (garbage.ids.length > 0) {
    const datastore = yield* Datastore
    yield* datastore.background(Effect.ignore(deleteUnchanged(datastore, garbage.snapshots)))
    updates.push([Metrics.eventsRemoved, garbage.ids.length])
  }
  return listing
})

/** Fails when the mailbox is another box's; for each part anew, as it may have become that since the whole. */
const refuseForeign = (
  { box, recipient: { key } }: Start<any, any, any, any>,
  { rewind, tombstones: { owner } }: DsSet.Listing
): Effect.Effect<void, MailboxOwned> => {
  if (owner === undefined || owner === box.key) return Effect.void
  rewind()
  return Effect.fail(new MailboxOwned({ recipient: key, owner, box: box.key }))
}

/** The events that the processor is asked about: all, or with a watch those that may go on. */
const eventsOf = Effect.fnUntraced(function*<Self, S, A, E>(
  { box, recipient, watch }: Start<Self, S, A, E>,
  listing: DsSet.Listing
): Effect.fn.Return<ReadonlyArray<Event<A>>, EventDecodeError> {
  const { items } = listing
  const some = watch === undefined || watch.without.size === 0
    ? items
    : items.filter(({ id }) => !watch.without.has(id))
  const { events, undecodable } = yield* decodeItems(box, recipient, oldestFirst(some))
  if (watch !== undefined) {
    watch.listing = listing
    watch.ids = events.map(({ id }) => id)
    watch.undecodable = undecodable
    watch.dropped = []
  } else if (undecodable.length > 0) return yield* undecodable[0]!
  return events
})

/** Asks the processor, and checks what it decided; its garbage is deleted also when it fails. */
const decide = Effect.fnUntraced(function*<Self, S, A, E>(
  running: Batch<Self, S, A, E>
): Effect.fn.Return<Mutation<S, A, E>, E | StoreError, Datastore> {
  const { events, loaded, processor, recipient, watch } = running
  const ids = new Set(events.map(({ id }) => id))
  const check = (mutation: Mutation<S, A, E>) => {
    const problem = misuse(mutation, ids)
    if (problem === undefined) return Effect.void
    return broken(running, "prepareMutation", problem)
  }
  const mutation = yield* Effect.catch(
    asEffect(running, "prepareMutation", processor.prepareMutation(events, loaded.state, recipient)),
    (failure): Effect.Effect<never, E | StoreError, Datastore> => {
      if (!isPrepareFailure<E | StoreError, A>(failure)) return Effect.fail(failure)
      const { error, garbage } = failure
      return Effect.gen(function*() {
        yield* check({ transitions: [], garbage })
        if (watch !== undefined) watch.dropped = garbage.map(({ id }) => id)
        yield* Effect.exit(deleteGarbage(running, garbage))
        return yield* Effect.fail(error)
      })
    }
  )
  yield* check(mutation)
  return mutation
})

const deleteGarbage = <Self, S, A, E>(
  { listing, tally, watch }: Batch<Self, S, A, E>,
  garbage: ReadonlyArray<Event<A>> = []
): Effect.Effect<void, DatastoreError, Datastore> =>
  garbage.length === 0 ? Effect.void : Effect.gen(function*() {
    for (const { id } of garbage) watch?.deleted.add(id)
    yield* deleteUnchanged(yield* Datastore, garbage.map(({ id }) => listing.snapshots.get(id)!))
    tally.updates.push([Metrics.eventsRemoved, garbage.length])
  })

/** E1: the commit expects all that `loadState` looked up, or `fetchEVersion` reads the version again. */
const checkEVersion = <Self, S, A, E>(
  running: Batch<Self, S, A, E>
): Effect.Effect<void, E | ContentionError | StoreError, Datastore | Transaction.Transaction> => {
  const { loaded: { eversion }, processor, recipient, remembered } = running
  if (processor.fetchEVersion === undefined) {
    return Effect.map(Transaction.Transaction, (transaction) => {
      for (const snapshot of remembered.values()) Transaction.recordRead(transaction, snapshot)
    })
  }
  return Effect.flatMap(asEffect(running, "fetchEVersion", processor.fetchEVersion(recipient)), (actual) => {
    if (actual === eversion) return Effect.void
    return isEVersion(actual)
      ? Effect.fail(new ContentionError({ reason: new EVersionChanged({ expected: eversion, actual }) }))
      : broken(running, "fetchEVersion", "gave no integer from 0 on")
  })
}
