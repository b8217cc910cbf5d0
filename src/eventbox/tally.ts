/**
 * What the metrics of a batch will say: they are updated once, at its end, however it ended.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { isContentionError } from "../EventboxError.ts"
import * as Metrics from "../EventboxMetrics.ts"
import type { Recipient } from "../Processor.ts"
import type { Landing } from "./landing.ts"
import type { BatchResult } from "./model.ts"

/** What is to be counted of a batch. */
export interface Tally {
  readonly updates: Array<Metrics.Update>
  /** Events consumed, once the batch has landed. */
  landed: number | undefined
  /** Whether the metrics have been updated. */
  isDone: boolean
}

/** The tally of a batch that begins. */
export const newTally = (): Tally => ({ updates: [], landed: undefined, isDone: false })

/** Every batch is counted, however it ended; what has landed counts as that, also when the caller never hears of it. */
export const count = (
  recipient: Recipient<any>,
  tally: Tally,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
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

/** What the commit of a batch does as it lands, where no interruption comes between. */
export const noteLanded = <E>(
  landing: Landing<E>,
  tally: Tally,
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
