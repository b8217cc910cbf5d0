/**
 * How many events the next batch of a recipient takes, when that adapts: half as many after a lost race or a slow
 * batch, half as many again after a quick one that was full.
 */
import type { Datastore } from "../Datastore.ts"
import type { Key } from "../Key.ts"

/** Between which sizes, and what is slow. */
export interface Bounds {
  readonly minEvents: number
  readonly maxEvents: number
  readonly slowMillis: number
}

/** Sizes below the greatest one, by recipient. */
const sizes = new WeakMap<Datastore["Service"], Map<string, number>>()

/** The size of the next batch. */
export const batchSize = (datastore: Datastore["Service"], recipient: Key, bounds: Bounds): number =>
  Math.min(bounds.maxEvents, sizes.get(datastore)?.get(recipient.toString()) ?? bounds.maxEvents)

/** What became of a batch. */
export type Course = "Contended" | { readonly millis: number; readonly wasFull: boolean }

/** Learns from a batch of a size. */
export const adaptBatchSize = (
  datastore: Datastore["Service"],
  recipient: Key,
  bounds: Bounds,
  size: number,
  course: Course
): void => {
  const isTooMuch = course === "Contended" || course.millis > bounds.slowMillis
  const next = isTooMuch
    ? Math.max(bounds.minEvents, Math.floor(size / 2))
    : course.wasFull
    ? Math.ceil(size * 1.5)
    : size
  let byRecipient = sizes.get(datastore)
  if (byRecipient === undefined) sizes.set(datastore, byRecipient = new Map())
  // What is as large as can be needs no memory: a process that meets many recipients does not grow.
  if (next >= bounds.maxEvents) byRecipient.delete(recipient.toString())
  else byRecipient.set(recipient.toString(), next)
}
