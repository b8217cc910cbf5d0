/**
 * How much is measured, at full and at smoke size.
 */
import type { EmulatorEffort } from "./emulator.ts"
import type { Effort } from "./memory.ts"

/** The effort in memory. */
export const memoryEffort = (smoke: boolean, samples = 15): Effort =>
  smoke
    ? { warmUp: 0, counted: 2, eventsPerSample: () => 20, batchesPerRecipient: 2 }
    : {
      warmUp: 4,
      counted: samples,
      eventsPerSample: (batchSize) => Math.min(10_000, 1_000 * Math.ceil(Math.sqrt(batchSize))),
      batchesPerRecipient: 20
    }

/** The efforts on the emulator, one for each delay. */
export const emulatorEfforts = (smoke: boolean, samples?: number): ReadonlyArray<EmulatorEffort> =>
  smoke
    ? [
      { warmUp: 0, counted: 2, delayMillis: 0, singleEvents: 3, batches: () => 2 },
      { warmUp: 0, counted: 1, delayMillis: 10, singleEvents: 2, batches: () => 1 }
    ]
    : [
      { warmUp: 2, counted: samples ?? 7, delayMillis: 0, singleEvents: 60, batches: fewer(60) },
      { warmUp: 1, counted: samples ?? 5, delayMillis: 10, singleEvents: 20, batches: fewer(20) }
    ]

/** Large batches take longer, and fewer of them say as much. */
const fewer = (most: number) => (batchSize: number): number =>
  Math.max(4, Math.round(most / Math.max(1, 2 * Math.log10(batchSize))))
