/**
 * What senders and workers count about themselves, for the progress line and the table; the final check uses
 * none of it.
 */
import { Recorder } from "effect-eventbox/testing"

/** Counts; those of several processes are added up. */
export interface Tally {
  /** Transfers emitted, each once. */
  sent: number
  /** Emits made again with the same id, as a sender does that saw no answer. */
  resent: number
  /** Transfers that came to their end, as post-process effects tell. */
  settled: number
  /** Batches that landed, and the events that they consumed. */
  batches: number
  events: number
  /** Looks at an account where nothing waited. */
  idle: number
  /** Batches that lost a race, and those that failed for a transient reason; both were made again. */
  contention: number
  transient: number
  /** Commits that had no answer, of senders and workers. */
  unanswered: number
  /** Batches whose commit had no answer: found out to have landed, to have lost, fenced off, or not found out. */
  foundLanded: number
  foundLost: number
  foundFenced: number
  notFound: number
  /** RPCs and sequential round trips of the batches that landed, before their results. */
  rpcs: number
  rounds: number
  /** RPCs that delete stored garbage, beside the batches. */
  deletes: number
}

export const emptyTally = (): Tally => ({
  sent: 0,
  resent: 0,
  settled: 0,
  batches: 0,
  events: 0,
  idle: 0,
  contention: 0,
  transient: 0,
  unanswered: 0,
  foundLanded: 0,
  foundLost: 0,
  foundFenced: 0,
  notFound: 0,
  rpcs: 0,
  rounds: 0,
  deletes: 0
})

export const addTallies = (tallies: Iterable<Tally>): Tally => {
  const sum = emptyTally()
  for (const tally of tallies) {
    for (const name of Object.keys(sum) as Array<keyof Tally>) sum[name] += tally[name]
  }
  return sum
}

/** Whether a call belongs to the deletion of stored garbage, which goes on beside the batches. */
export const isBackground = (call: Recorder.Call): boolean =>
  call.operation !== "query" && Recorder.kindsOf(call).every((kind) => kind === "dsset.Item")
