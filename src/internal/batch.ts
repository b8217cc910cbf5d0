/**
 * The algorithm of one batch.
 *
 * Round 1: the listing beside what `loadState` reads. Then the processor decides. Round 2: one conditional commit of
 * side effects, pops and state. Invariants, cited by number:
 *
 * - **E1** no commit on a stale state.
 * - **E3** state, side effects and tombstones land together or not at all.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Snapshot } from "../Backend.ts"
import { Datastore, remembering, transact } from "../Datastore.ts"
import * as DsSet from "../DsSet.ts"
import {
  ContentionError,
  type DatastoreError,
  EventDecodeError,
  EVersionChanged,
  isContentionError,
  isDatastoreError,
  isUnknownOutcome,
  MailboxOwned,
  type StoreError
} from "../EventboxError.ts"
import * as Metrics from "../EventboxMetrics.ts"
import {
  type Event,
  type EVersion,
  isPrepareFailure,
  misprovided,
  type Mutation,
  type PostProcess,
  type Processor,
  type Recipient,
  type ServiceClass,
  type Transition
} from "../Processor.ts"
import * as Transaction from "../Transaction.ts"
import { misuse } from "./decision.ts"
import { deleteUnchanged } from "./deletions.ts"
import { linkTraces } from "./emission.ts"
import { carryText, type Loaded as LoadedState } from "./entityProcessor.ts"
import { effectOf } from "./foreign.ts"
import type { Landing } from "./landing.ts"
import { relist } from "./relist.ts"
import { dropNoops, saveChanged } from "./saving.ts"
import { inSpan } from "./span.ts"
import type { Cursor } from "./sweep.ts"
import { warnUnconsumed } from "./unconsumed.ts"

/** What one batch did; `Eventbox.BatchResult` is the public part. */
export interface BatchResult<E> {
  readonly postProcess: ReadonlyArray<PostProcess<E>>
  readonly consumed: number
  readonly garbage: number
  readonly transitions: number
  readonly truncated: boolean
  /** Whether the listing got to the end of the events. */
  readonly reachedEnd: boolean
}

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

/** What the metrics of a batch will say: they are updated once, at its end. */
interface Tally {
  readonly updates: Array<Metrics.Update>
  /** Events consumed, once the batch has landed. */
  landed: number | undefined
  /** Whether the metrics have been updated. */
  isDone: boolean
}

/** Whether running the same again may succeed and does no harm. */
export const isTransient = (error: unknown): boolean =>
  isContentionError(error) || isDatastoreError(error) && (error.isRetryable || isUnknownOutcome(error))

/** The events of a listing, oldest first, and what is not one. */
export interface Decoded<A> {
  readonly events: Array<Event<A>>
  readonly undecodable: Array<EventDecodeError>
}

/** Items oldest first. The sort is stable: those of one millisecond stay in key order. */
export const oldestFirst = (items: ReadonlyArray<DsSet.Item>): ReadonlyArray<DsSet.Item> =>
  items.toSorted((self, that) => age(self) - age(that))

/** Decodes the items of a listing, in their order. */
export const decodeItems = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  items: ReadonlyArray<DsSet.Item>
): Effect.Effect<Decoded<A>> => {
  const decoded: Decoded<A> = { events: [], undecodable: [] }
  let index = 0
  for (const item of items) {
    const exit = box.eventCodec.decode(item.value)
    // Decoding that needs no fiber is the rule, and a fiber step per event is what it would cost.
    if (!Exit.isExit(exit)) return decodeRest(box, recipient, items.slice(index), decoded, exit)
    take(recipient, decoded, item, exit as Exit.Exit<A, unknown>)
    index++
  }
  return Effect.succeed(decoded)
}

/** Goes on with the first of these items, which is being decoded. */
const decodeRest = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  items: ReadonlyArray<DsSet.Item>,
  decoded: Decoded<A>,
  first: Effect.Effect<A, unknown>
): Effect.fn.Return<Decoded<A>> {
  for (const [index, item] of items.entries()) {
    const exit = yield* Effect.exit(index === 0 ? first : box.eventCodec.decode(item.value))
    take(recipient, decoded, item, exit)
  }
  return decoded
})

const take = <A>(
  { key }: Recipient<any>,
  { events, undecodable }: Decoded<A>,
  { id }: DsSet.Item,
  exit: Exit.Exit<A, unknown>
): void => {
  if (Exit.isSuccess(exit)) events.push({ id, value: exit.value })
  else undecodable.push(new EventDecodeError({ recipient: key, eventId: id, cause: Cause.squash(exit.cause) }))
}

const age = (item: DsSet.Item): number => item.atMillis ?? 0

interface Loaded<S> extends LoadedState<S, EVersion> {
  /** What `loadState` looked up. */
  readonly remembered: ReadonlyMap<string, Snapshot>
}

/** The implementation that was provided; dies when it is another box's. */
export const implementationOf = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>
): Effect.Effect<Processor<Self, S, A, E>, never, Self> =>
  Effect.flatMap(box, (processor) => {
    const problem = misprovided(box, processor)
    return problem === undefined ? Effect.succeed(processor) : Effect.die(new Error(problem))
  })

/** What the steps of one batch share. */
interface Batch<Self, S, A, E> {
  /** Id of the box: the first batch makes the mailbox its own. */
  readonly owner: string
  readonly watch: Watch | undefined
  readonly landing: Landing<E>
  readonly tally: Tally
  readonly processor: Processor<Self, S, A, E>
  readonly recipient: Recipient<Self>
  readonly set: DsSet.DsSet
  readonly listing: DsSet.Listing
  readonly loaded: Loaded<S>
}

/** One batch: two rounds, and nothing between them but the processor's decision. What it lands is left in `landing`. */
export const runBatch = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  options: BatchOptions,
  landing: Landing<E>
): Effect.Effect<
  BatchResult<E>,
  E | ContentionError | EventDecodeError | MailboxOwned | StoreError,
  Self | Datastore
> =>
  Effect.suspend(() => {
    const tally: Tally = { updates: [], landed: undefined, isDone: false }
    const counted = attempt(box, recipient, options, landing, tally).pipe(
      // Not caught and raised again: the cause then would no longer name the callback that failed.
      Effect.mapError((error) => error instanceof ContentionError ? withRecipient(error, recipient.key) : error),
      Effect.onExit((exit) => count(recipient, tally, exit))
    )
    return inSpan(counted, "Eventbox.processBatch", () => ({
      attributes: { "eventbox.recipient": recipient.key.toString() }
    }))
  })

/** Every batch is counted, however it ended; what has landed counts as that, also when the caller never hears of it. */
const count = (recipient: Recipient<any>, tally: Tally, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  tally.isDone = true
  return Metrics.update(
    recipient.monitoringString,
    ...tally.updates,
    ...tally.landed === undefined ? [[Metrics.batches, 1, resultOf(exit)] as const] : committed(tally.landed)
  )
}

const committed = (consumed: number): ReadonlyArray<Metrics.Update> => [
  [Metrics.batches, 1, "committed"],
  [Metrics.eventsRemoved, consumed],
  [Metrics.eventsPerBatch, consumed]
]

const resultOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "nothing"
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isSome(error)) return isContentionError(error.value) ? "contention" : "failed"
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "died"
}

const attempt = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  { cursor, maxBytes, maxEvents, part, watch }: BatchOptions,
  landing: Landing<E>,
  tally: Tally
) {
  if (watch !== undefined) watch.listing = undefined
  if (!(Number.isSafeInteger(maxEvents) && maxEvents > 0)) {
    return yield* Effect.die(new Error(`Eventbox: maxEvents is a positive integer, got ${maxEvents}`))
  }
  if (maxBytes !== undefined && !(maxBytes > 0)) {
    return yield* Effect.die(new Error(`Eventbox: maxBytes is a positive number, got ${maxBytes}`))
  }
  const processor: Processor<Self, S, A, E> = yield* implementationOf(box)
  const set = DsSet.make({ parent: recipient.key })
  // Round 1.
  const [listing, exit] = yield* Effect.all([
    part === undefined
      ? listForBatch(box, set, recipient, tally, { maxItems: maxEvents, maxBytes, cursor })
      : Effect.tap(relist(part.listing, part.ids, part.verify), (relisted) => refuseForeign(box, recipient, relisted)),
    // Another box's state may well not load: whose mailbox it is says more.
    Effect.exit(load(processor, recipient))
  ], { concurrency: "unbounded" })
  const loaded = yield* exit
  yield* linkTraces(listing.items.map(({ trace }) => trace))
  const events = yield* eventsFor(box, recipient, listing, watch)
  // After a lost race these events are tried again. After another failure the next batch goes on behind them, so that
  // events that cannot be processed do not block the rest for ever.
  return yield* Effect.tapError(
    finish({ landing, tally, owner: box.key, processor, recipient, set, listing, loaded, watch }, events),
    (error) =>
      Effect.sync(() => {
        if (isTransient(error)) {
          listing.rewind()
        }
      })
  )
})

/** The events that the processor is asked about: all, or with a watch those that may go on. */
const eventsFor = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  listing: DsSet.Listing,
  watch: Watch | undefined
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

/** The processor's decision, and round 2. */
const finish = Effect.fnUntraced(function*<Self, S, A, E>(
  batch: Batch<Self, S, A, E>,
  events: ReadonlyArray<Event<A>>
): Effect.fn.Return<BatchResult<E>, E | ContentionError | StoreError, Datastore> {
  const { listing, recipient } = batch
  const mutation = yield* decide(batch, events)
  const garbage = deleteGarbage(batch, mutation.garbage)
  const transitions = yield* dropNoops(batch, mutation.transitions)
  const result = {
    postProcess: transitions.flatMap(({ postProcess }) => postProcess === undefined ? [] : [postProcess]),
    consumed: transitions.reduce((sum, transition) => sum + (transition.events?.length ?? 0), 0),
    garbage: mutation.garbage?.length ?? 0,
    transitions: transitions.length,
    truncated: listing.truncated,
    reachedEnd: listing.reachedEnd
  }
  if (transitions.length === 0) {
    yield* garbage
  } else {
    // Round 2. Garbage that is left is garbage for the next batch too, so its deletion fails nothing that landed.
    const commit = land(batch, transitions, result)
    if (result.garbage === 0) yield* commit
    else yield* (yield* Effect.all([Effect.exit(commit), Effect.exit(garbage)], { concurrency: "unbounded" }))[0]
    if (result.consumed + result.garbage === 0 && events.length > 0) yield* warnUnconsumed(recipient, events.length)
  }
  return result
})

const withRecipient = (error: ContentionError, recipient: Recipient<never>["key"]): ContentionError =>
  new ContentionError({ reason: error.reason, recipient })

/** Lists, measures, and sends off the deletion of stored garbage: its tombstones stay while it does. // E4 */
const listForBatch = Effect.fnUntraced(function*(
  box: ServiceClass<any, any, any, any, any>,
  set: DsSet.DsSet,
  recipient: Recipient<any>,
  { updates }: Tally,
  options: { readonly maxItems: number; readonly maxBytes: number | undefined; readonly cursor: Cursor | undefined }
): Effect.fn.Return<DsSet.Listing, DatastoreError | MailboxOwned, Datastore> {
  const listing = yield* Metrics.timed(Metrics.listDuration, updates, DsSet.list(set, options))
  yield* refuseForeign(box, recipient, listing)
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
  box: ServiceClass<any, any, any, any, any>,
  { key }: Recipient<any>,
  { rewind, tombstones: { owner } }: DsSet.Listing
): Effect.Effect<void, MailboxOwned> => {
  if (owner === undefined || owner === box.key) return Effect.void
  rewind()
  return Effect.fail(new MailboxOwned({ recipient: key, owner, box: box.key }))
}

const load = <Self, S, A, E>(
  processor: Processor<Self, S, A, E>,
  recipient: Recipient<Self>
): Effect.Effect<Loaded<S>, E | ContentionError | StoreError, Datastore> =>
  Effect.map(
    remembering(processor.loadState(recipient)),
    ([read, remembered]) => ({ ...carryText(read), remembered })
  )

/** Asks the processor, and checks what it decided; its garbage is deleted also when it fails. */
const decide = Effect.fnUntraced(function*<Self, S, A, E>(
  batch: Batch<Self, S, A, E>,
  events: ReadonlyArray<Event<A>>
): Effect.fn.Return<Mutation<S, A, E>, E | StoreError, Datastore> {
  const { loaded, processor, recipient } = batch
  const ids = new Set(events.map(({ id }) => id))
  const check = (mutation: Mutation<S, A, E>) => {
    const problem = misuse(mutation, ids)
    if (problem === undefined) return Effect.void
    return Effect.die(new Error(`prepareMutation of ${recipient.key}: ${problem}`))
  }
  const mutation = yield* Effect.catch(
    effectOf(processor.prepareMutation(events, loaded.state, recipient), "What prepareMutation returned"),
    (failure): Effect.Effect<never, E | StoreError, Datastore> => {
      if (!isPrepareFailure<E | StoreError, A>(failure)) return Effect.fail(failure)
      return check({ transitions: [], garbage: failure.garbage }).pipe(
        Effect.tap(() => Effect.sync(() => noteDropped(batch.watch, failure.garbage))),
        Effect.andThen(Effect.exit(deleteGarbage(batch, failure.garbage))),
        Effect.andThen(Effect.fail(failure.error))
      )
    }
  )
  yield* check(mutation)
  return mutation
})

const noteDropped = (watch: Watch | undefined, garbage: ReadonlyArray<Event<unknown>>): void => {
  if (watch !== undefined) watch.dropped = garbage.map(({ id }) => id)
}

const deleteGarbage = <Self, S, A, E>(
  { listing, tally, watch }: Batch<Self, S, A, E>,
  garbage: ReadonlyArray<Event<A>> = []
): Effect.Effect<void, DatastoreError, Datastore> =>
  garbage.length === 0 ? Effect.void : Effect.gen(function*() {
    for (const { id } of garbage) watch?.deleted.add(id)
    yield* deleteUnchanged(yield* Datastore, garbage.map(({ id }) => listing.snapshots.get(id)!))
    tally.updates.push([Metrics.eventsRemoved, garbage.length])
  })

/** Round 2: everything that the transitions do, in one commit. // E3 */
const land = <Self, S, A, E>(
  batch: Batch<Self, S, A, E>,
  transitions: ReadonlyArray<Transition<S, A, E>>,
  result: BatchResult<E>
) =>
  Metrics.timed(
    Metrics.commitDuration,
    batch.tally.updates,
    transact(apply(batch, transitions, result), batch.loaded.remembered)
  )

/** What the commit does as it lands, where no interruption comes between. */
const onLanded = <E>(
  { landing, tally }: Pick<Batch<any, any, any, E>, "landing" | "tally">,
  { consumed, postProcess }: BatchResult<E>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    tally.landed = consumed
    if (!landing.over) {
      for (const effect of postProcess) landing.effects.push(effect)
    }
    // The caller went while the outcome was in doubt, and has been counted as interrupted.
    const counted = tally.isDone
      ? Metrics.update(landing.recipient.monitoringString, ...committed(consumed))
      : Effect.void
    return landing.over && postProcess.length > 0 ? Effect.andThen(counted, landing.runLate(postProcess)) : counted
  })

const apply = Effect.fnUntraced(function*<Self, S, A, E>(
  batch: Batch<Self, S, A, E>,
  transitions: ReadonlyArray<Transition<S, A, E>>,
  result: BatchResult<E>
) {
  const { listing, loaded, processor, recipient, set } = batch
  yield* checkEVersion(processor, recipient, loaded)
  const op = yield* DsSet.beginPop(set, listing, { owner: batch.owner })
  for (const { events = [], sideEffect } of transitions) {
    if (sideEffect !== undefined) yield* effectOf(sideEffect, "The sideEffect of a transition")
    for (const { id } of events) op.pop(id) // E2: a failed pop shows as a changed head, in the commit
  }
  yield* saveChanged(batch, transitions)
  yield* DsSet.finishPop(op)
  ;(yield* Transaction.Transaction).afterCommit.push(onLanded(batch, result))
})

/** E1: the commit expects all that `loadState` looked up, or `fetchEVersion` reads the version again. */
const checkEVersion = <Self, S, A, E>(
  processor: Processor<Self, S, A, E>,
  recipient: Recipient<Self>,
  { eversion, remembered }: Loaded<S>
) =>
  processor.fetchEVersion === undefined
    ? Effect.map(Transaction.Transaction, (transaction) => {
      for (const snapshot of remembered.values()) Transaction.recordRead(transaction, snapshot)
    })
    : Effect.flatMap(effectOf(processor.fetchEVersion(recipient), "What fetchEVersion returned"), (actual) =>
      actual === eversion
        ? Effect.void
        : Effect.fail(new ContentionError({ reason: new EVersionChanged({ expected: eversion, actual }) })))
