/**
 * One cycle of `process`: a batch, isolated, in its turn, and then its post-process effects.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Datastore } from "../Datastore.ts"
import { withLock } from "../dsset/lock.ts"
import { placeOf } from "../dsset/memory.ts"
import type { Cursor } from "../dsset/sweep.ts"
import type { ContentionError, MailboxOwned, StoreError } from "../EventboxError.ts"
import type { Recipient, ServiceClass } from "../Processor.ts"
import { checkAddress } from "./callbacks.ts"
import { beginCourse, type Course, isolate, type Seen } from "./isolation.ts"
import { type Landing, withPostProcess } from "./landing.ts"
import { inBatch } from "./mark.ts"
import { defaultMaxEvents, defaultRetry, type ProcessOptions, type Summary } from "./model.ts"
import { wrongOption } from "./options.ts"

/** What one cycle did, and what came of its events. */
export interface Cycle<E> {
  readonly summary: Summary<E>
  readonly seen: Seen
  readonly course: Course<E>
}

/** Runs one cycle; `before` is the course of the one before it in a series. */
export const cycle = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  options: ProcessOptions<E> | undefined,
  cursor: Cursor | undefined,
  before: Course<E> | undefined
): Effect.fn.Return<Cycle<E>, E | ContentionError | MailboxOwned | StoreError, Self | Datastore> {
  checkAddress("Eventbox.process", box, recipient)
  const datastore = yield* Datastore
  const { maxBytes, maxEvents = defaultMaxEvents, retry = defaultRetry } = options ?? {}
  const problem = wrongOption(options)
  if (problem !== undefined) return yield* Effect.die(new Error(`Eventbox: ${problem}`))
  const maxFailures = maxFailuresOf(options)
  const course = beginCourse(before)
  const [ended, postProcessed] = yield* withPostProcess(recipient, options, (landing: Landing<E>) => {
    const settings = { box, recipient, maxEvents, maxBytes, cursor, retry, maxFailures, landing }
    const locked = withLock(placeOf(datastore, recipient.key), options?.whenBusy ?? "wait", isolate(course, settings))
    return inBatch("Eventbox.process or drain", recipient.key, locked)
  })
  const seen = Option.getOrElse(ended, () => nothingSeen)
  const summary = { ...sumOf(course), truncated: seen.truncated, skipped: Option.isNone(ended) }
  return {
    summary: { ...summary, postProcessed: postProcessed.succeeded, postProcessFailures: postProcessed.failures },
    seen,
    course
  }
})

/** Failures in a row that end a call. */
export const maxFailuresOf = (options: ProcessOptions<any> | undefined): number => options?.maxFailures ?? 100

/** What a call saw that left the recipient to another fiber. */
const nothingSeen: Seen = { truncated: true, reachedEnd: false }

const sumOf = ({ landed, retries }: Course<any>): Summary<never> => {
  const sum = { batches: 0, consumed: 0, garbage: 0, transitions: 0 }
  for (const { consumed, garbage, transitions } of landed) {
    if (transitions > 0) sum.batches++
    sum.consumed += consumed
    sum.garbage += garbage
    sum.transitions += transitions
  }
  return { ...emptySummary, ...sum, retries }
}

/** A call that has done nothing. */
export const emptySummary: Summary<never> = {
  batches: 0,
  consumed: 0,
  garbage: 0,
  transitions: 0,
  retries: 0,
  postProcessed: 0,
  postProcessFailures: [],
  truncated: false,
  skipped: false
}

/** Two cycles, one after the other. */
export const addSummaries = <E>(self: Summary<E>, that: Summary<E>): Summary<E> => ({
  batches: self.batches + that.batches,
  consumed: self.consumed + that.consumed,
  garbage: self.garbage + that.garbage,
  transitions: self.transitions + that.transitions,
  retries: self.retries + that.retries,
  postProcessed: self.postProcessed + that.postProcessed,
  postProcessFailures: [...self.postProcessFailures, ...that.postProcessFailures],
  truncated: that.truncated,
  skipped: that.skipped
})
