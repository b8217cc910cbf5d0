/**
 * Options of `process` and `drain`, checked before anything is read: what is wrong with them would otherwise show amid
 * trouble only, or as post-process effects that are dropped.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { ProcessOptions } from "./model.ts"

/** What is wrong with options, or `undefined`. Those of a batch are the batch's. */
export const wrongOption = (options: ProcessOptions<any> | undefined): string | undefined => {
  const { maxFailures, postProcess, postProcessGrace, retry, whenBusy } = options ?? {}
  if (maxFailures !== undefined && !(maxFailures >= 1 && Math.ceil(maxFailures) === maxFailures)) {
    return `maxFailures is a positive integer or Infinity, got ${String(maxFailures)}`
  }
  if (whenBusy !== undefined && whenBusy !== "wait" && whenBusy !== "skip") {
    return `whenBusy is "wait" or "skip", got ${String(whenBusy)}`
  }
  if (retry !== undefined && !Schedule.isSchedule(retry)) return "retry is a Schedule of Effect; see defaultRetry"
  if (postProcess !== undefined && !Schedule.isSchedule(postProcess)) return "postProcess is a Schedule of Effect"
  if (postProcessGrace !== undefined && !isTime(postProcessGrace)) {
    return `postProcessGrace is a time from 0 on, such as "10 seconds", got ${String(postProcessGrace)}`
  }
  return undefined
}

/** Effect takes what is not a number for 0. */
const isTime = (input: Duration.Input): boolean =>
  !Number.isNaN(input) && Option.exists(Duration.fromInput(input), (time) => !Duration.isNegative(time))
