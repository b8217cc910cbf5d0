/**
 * All that landed under one id of one recipient, and what may become of it: here the checker of a simulated history
 * says what P2 and P3 promise, whatever the clocks of processes show.
 *
 * **P2.** A batch consumes what is stored when it lands, and that is gone with it. No clock comes into that. A batch
 * that expected the item consumes the value that it saw. One that did not (it lost a race to emits before) may have
 * seen a value that was replaced since; what replaced it counts as emitted again after the consumption.
 *
 * **P3.** `At` is the time of the emitter when an emit was first tried. A tombstone has the time `T`: the worker's
 * clock when it popped, or the newest `At` of what it popped if that is later, but at most one delay ahead of that
 * clock. What is emitted under the same id is
 *
 * - a new event, for ever and everybody, if `At > T + delay` for every tombstone that the id ever had;
 * - hidden, for ever and everybody, if `At <= T + delay` for a stored tombstone, and it landed before any process could
 *   take that for expired: at a time `t` with `t + skew <= T + delay`, where no clock is ahead by more than `skew`.
 *   From then on every listing sees it, and what is seen keeps its tombstone;
 * - one or the other in between, and then not both.
 */

/** What landed: which emission it is, and what may become of it. */
export interface Instance<E> {
  readonly emission: E
  readonly id: string
  readonly atMillis: number
  readonly landedMillis: number
  /** It must be consumed, or be garbage to the processor. */
  readonly isDue: boolean
  /** It must not be consumed. */
  readonly isHidden: boolean
}

/** How clocks and windows are in a history. */
export interface Window {
  readonly delayMillis: number
  /** How far a clock is ahead at most. */
  readonly skewMillis: number
}

/** One id. */
export class Mailbox<E> {
  /** What is in the store now. */
  stored: Instance<E> | undefined
  /** What a listing may have seen since the last consumption, and is not stored any more. */
  private earlier: Array<Instance<E>> = []
  private readonly consumed = new Set<E>()
  /** Times of the tombstones that are stored. */
  private readonly tombstones: Array<number> = []
  /** The newest tombstone that there ever was. */
  private newestMillis = Number.NEGATIVE_INFINITY
  private readonly window: Window

  constructor(window: Window) {
    this.window = window
  }

  /** An emission lands. P3 */
  land(emission: E, id: string, atMillis: number, landedMillis: number): Instance<E> {
    const { delayMillis, skewMillis } = this.window
    const isDue = atMillis > this.newestMillis + delayMillis
    const isHidden = this.tombstones.some((tombstone) => {
      const endMillis = tombstone + delayMillis
      return atMillis <= endMillis && landedMillis + skewMillis <= endMillis
    })
    if (this.stored !== undefined) this.earlier.push(this.stored)
    this.stored = { emission, id, atMillis, landedMillis, isDue, isHidden }
    return this.stored
  }

  /** A batch consumes the id, and says which emission it saw: what that was, nothing if it cannot have seen it. P2 */
  consume(emission: E, isExpected: boolean): Instance<E> | undefined {
    const found = this.stored?.emission === emission
      ? this.stored
      : isExpected
      ? undefined
      : this.earlier.findLast((one) => one.emission === emission)
    if (found === undefined) return undefined
    this.stored = undefined
    this.earlier = []
    this.consumed.add(emission)
    return found
  }

  /** Whether an emission was consumed before. */
  wasConsumed(emission: E): boolean {
    return this.consumed.has(emission)
  }

  /** What is stored is deleted without being consumed. */
  remove(): Instance<E> | undefined {
    const { stored } = this
    // One worker may see it hidden, and another one that expects nothing consume it all the same.
    if (stored !== undefined && !stored.isDue) this.earlier.push(stored)
    this.stored = undefined
    return stored
  }

  /** A tombstone of the id is stored. */
  bury(atMillis: number): void {
    this.tombstones.push(atMillis)
    this.newestMillis = Math.max(this.newestMillis, atMillis)
  }

  /** A tombstone of the id is erased. */
  exhume(atMillis: number): void {
    const at = this.tombstones.indexOf(atMillis)
    if (at !== -1) this.tombstones.splice(at, 1)
  }
}
