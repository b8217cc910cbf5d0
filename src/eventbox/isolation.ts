/**
 * Batches that fail for good are halved, at once, until a half lands or a single event is alone with its failure.
 *
 * The halves are parts of the listing that the whole batch had, so that nothing is read twice but the head and the
 * state: an event that makes a thousand fail costs some twenty lookups, and no thousand reads.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type { Datastore } from "../Datastore.ts"
import {
  type ContentionError,
  type DatastoreError,
  type EventDecodeError,
  isContentionError,
  isDatastoreError,
  type MailboxOwned,
  type StoreError
} from "../EventboxError.ts"
import * as Metrics from "../EventboxMetrics.ts"
import { retryOnceFailed } from "../ground/retries.ts"
import type { Recipient, ServiceClass } from "../Processor.ts"
import { type Batched, type BatchOptions, isTransient, type Part, runBatch, type Watch } from "./batch.ts"
import type { Landing } from "./landing.ts"

/** What becomes of the batches of one call, written down as it happens, so that an interruption loses nothing of it. */
export interface Course<E> {
  /** Batches that ended well, in order. */
  readonly landed: Array<Batched<E>>
  /** Events that failed alone, by id, in order; no further batch of the call takes them. */
  readonly failed: Map<string, EventCause<E>>
  /** Events that failed in the processor's hands since the last one that was consumed. */
  failedInRow: number
  /** Attempts that failed and were made again. */
  retries: number
}

/** A call that has done nothing yet; what failed in an earlier one of its series stays out. */
export const beginCourse = <E>(before?: Course<E>): Course<E> => ({
  landed: [],
  failed: before?.failed ?? new Map(),
  failedInRow: before?.failedInRow ?? 0,
  retries: 0
})

/** What batches are isolated with. */
export interface Settings<Self, S, A, E> extends BatchOptions {
  readonly box: ServiceClass<Self, any, S, A, E>
  readonly recipient: Recipient<Self>
  readonly retry: Schedule.Schedule<unknown, ContentionError | DatastoreError>
  /** Events that may fail alone one after the other, with none consumed in between, before the call gives up. */
  readonly maxFailures: number
  /** Where what lands leaves its post-process effects. */
  readonly landing: Landing<E>
}

/** What the last listing of a call saw. */
export interface Seen {
  readonly truncated: boolean
  readonly reachedEnd: boolean
}

/** Whether so many events failed in a row that no more are tried. */
export const isExhausted = <E>({ failedInRow }: Course<E>, maxFailures: number): boolean => failedInRow >= maxFailures

type Failure<E> = E | ContentionError | EventDecodeError | MailboxOwned | StoreError

/** One batch, isolated; and another one behind it while nothing comes of them but failures. */
export const isolate = Effect.fnUntraced(function*<Self, S, A, E>(
  course: Course<E>,
  settings: Settings<Self, S, A, E>
): Effect.fn.Return<Seen, E | ContentionError | MailboxOwned | StoreError, Self | Datastore> {
  while (true) {
    const [landedBefore, failedBefore] = [course.landed.length, course.failed.size]
    const seen = yield* runWhole(course, settings)
    const hasDone = course.landed.slice(landedBefore).some(hasEffect)
    const isOver = settings.cursor === undefined ? !seen.truncated : seen.reachedEnd
    if (hasDone || isOver || course.failed.size === failedBefore || isExhausted(course, settings.maxFailures)) {
      return seen
    }
  }
})

const hasEffect = ({ garbage, transitions }: Batched<any>): boolean => transitions > 0 || garbage > 0

const runWhole = Effect.fnUntraced(function*<Self, S, A, E>(
  course: Course<E>,
  settings: Settings<Self, S, A, E>
): Effect.fn.Return<Seen, E | ContentionError | MailboxOwned | StoreError, Self | Datastore> {
  const whole = yield* runPart(course, settings, undefined)
  const { reachedEnd, rewind, truncated } = whole.listing
  if (whole.rest.length === 0) return { truncated, reachedEnd }
  const parts = runParts(course, settings, [...whole.rest])
  // As for a batch that is not isolated: what failed for now is due again.
  const isDone = yield* Effect.tapError(parts, (error) => Effect.sync(() => isTransient(error) ? rewind() : undefined))
  return { truncated: truncated || !isDone, reachedEnd }
})

/**
 * Runs parts, the last one first, and the halves of what fails before all others: oldest events first. False when
 * some were left, since too many events had failed.
 */
const runParts = Effect.fnUntraced(function*<Self, S, A, E>(
  course: Course<E>,
  settings: Settings<Self, S, A, E>,
  parts: Array<Piece<E>>
): Effect.fn.Return<boolean, E | ContentionError | MailboxOwned | StoreError, Self | Datastore> {
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const { rest } = yield* runPart(course, settings, part)
    parts.push(...rest)
    if (isExhausted(course, settings.maxFailures)) return parts.length === 0
  }
  return true
})

/** A part of a batch that failed. */
interface Piece<E> extends Part {
  /**
   * Events that `prepareMutation` declared garbage as it failed, and the failure. If the rest can do without them it
   * was about them; nobody would learn of it otherwise, since they are gone.
   */
  readonly dropped?: { readonly ids: ReadonlyArray<string>; readonly cause: EventCause<E> } | undefined
}

type EventCause<E> = Cause.Cause<E | EventDecodeError | StoreError>

/** What came of one part: it is done with, or these are to be run in its place, the last one first. */
interface Outcome<E> {
  readonly listing: NonNullable<Watch["listing"]>
  readonly rest: ReadonlyArray<Piece<E>>
}

/** Runs a part, or without one a new listing: retried after what is worth it. */
const runPart = <Self, S, A, E>(
  course: Course<E>,
  settings: Settings<Self, S, A, E>,
  part: Piece<E> | undefined
): Effect.Effect<Outcome<E>, E | ContentionError | MailboxOwned | StoreError, Self | Datastore> => {
  const watch = newWatch(course.failed)
  let runs = 0
  const batch = Effect.suspend(() => {
    const { box, cursor, landing, maxBytes, maxEvents, recipient } = settings
    const verify = runs++ > 0
    const options = { cursor, maxBytes, maxEvents, part: part && { ...part, verify }, watch }
    const once = runBatch(box, recipient, options, landing)
    if (!verify) return once
    course.retries++
    return Effect.andThen(Metrics.update(recipient.monitoringString, [Metrics.retries, 1]), once)
  })
  const landed = Effect.map(retryBatch(batch, settings.retry), (result) => {
    course.landed.push(result)
    if (result.consumed > 0) course.failedInRow = 0
    noteUndecodable(course, watch)
    for (const id of part?.dropped?.ids ?? []) course.failed.set(id, part!.dropped!.cause)
    return done<E>(watch)
  })
  return Effect.catchCause(landed, (cause) => afterFailure(course, watch, cause))
}

const newWatch = (without: Watch["without"]): Watch => ({
  without,
  listing: undefined,
  ids: [],
  undecodable: [],
  deleted: new Set(),
  dropped: []
})

const done = <E>(watch: Watch): Outcome<E> => ({ listing: watch.listing!, rest: [] })

const noteUndecodable = <E>({ failed }: Course<E>, { undecodable }: Watch): void => {
  for (const error of undecodable) failed.set(error.eventId, Cause.fail(error))
}

/** What a failure is about: one event, several that are to be told apart, or none. */
const afterFailure = <E>(
  course: Course<E>,
  watch: Watch,
  cause: Cause.Cause<Failure<E>>
): Effect.Effect<Outcome<E>, E | ContentionError | MailboxOwned | StoreError> => {
  const { deleted, dropped, ids, listing } = watch
  // With a watch nothing fails for what does not decode.
  const ofBatch = cause as Cause.Cause<E | ContentionError | MailboxOwned | StoreError>
  if (listing === undefined || ids.length === 0 || !isForGood(cause)) return Effect.failCause(ofBatch)
  const ofEvent = cause as EventCause<E>
  noteUndecodable(course, watch)
  const left = ids.filter((id) => !deleted.has(id))
  if (left.length === 0 && dropped.length === 0) return Effect.failCause(ofBatch)
  const alone = left.length === 0 ? dropped : ids.length === 1 ? ids : []
  for (const id of alone) course.failed.set(id, ofEvent)
  if (alone.length > 0) {
    course.failedInRow += alone.length
    return Effect.succeed(done(watch))
  }
  const pieceOf = (part: ReadonlyArray<string>): Piece<E> => ({ listing, ids: part, verify: false })
  // What is left without deleted garbage is another batch, and may land as a whole.
  if (left.length < ids.length) {
    return Effect.succeed({ listing, rest: [{ ...pieceOf(left), dropped: { ids: dropped, cause: ofEvent } }] })
  }
  const half = Math.ceil(left.length / 2)
  return Effect.succeed({ listing, rest: [pieceOf(left.slice(half)), pieceOf(left.slice(0, half))] })
}

/**
 * Whether a failure comes again however often the same is run, and may be that of a single event. Not what passes by
 * itself, what leaves doubt, or what is wrong with the whole mailbox or the set-up.
 */
const isForGood = (cause: Cause.Cause<unknown>): boolean =>
  !Cause.hasInterrupts(cause) &&
  cause.reasons.every((reason) => !Cause.isFailReason(reason) || !isOfAll(reason.error))

const isOfAll = (error: unknown): boolean =>
  isTransient(error) ||
  isDatastoreError(error) && ofSetUp.has(error.reason._tag) ||
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "MailboxOwned"

const ofSetUp: ReadonlySet<string> = new Set([
  "Closed",
  "NotFound",
  "PermissionDenied",
  "Unauthenticated",
  "FailedPrecondition"
])

/** Runs a batch again after what is worth it. Not after an unknown outcome: its post-process effects would be lost. */
const retryBatch = <A, E, R>(
  batch: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, ContentionError | DatastoreError>
): Effect.Effect<A, E, R> =>
  retryOnceFailed(batch, () => ({
    while: (error) => (isContentionError(error) || isDatastoreError(error)) && error.isRetryable,
    // The schedule only ever sees what `while` let through.
    schedule: schedule as Schedule.Schedule<unknown, unknown>
  }))
