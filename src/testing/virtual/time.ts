/**
 * Time that moves when it is told to: what waits for it, and clocks that show it.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** When every history begins, ms since epoch: 2025-01-01. */
export const startMillis = 1_735_689_600_000

interface Timer {
  readonly dueMillis: number
  readonly order: number
  run: (() => void) | undefined
}

/** One time, and what waits for it, in the order in which it is due. */
export class Time {
  now: number
  private readonly heap: Array<Timer> = []
  private timers = 0

  constructor(now: number = startMillis) {
    this.now = now
  }

  /** Runs something later; returns what takes it back. */
  after(millis: number, run: () => void): () => void {
    const timer: Timer = { dueMillis: this.now + millis, order: this.timers++, run }
    this.push(timer)
    return () => {
      timer.run = undefined
    }
  }

  /** Moves on to what is due next, and returns it; `undefined` when nothing is left to happen. */
  next(): (() => void) | undefined {
    for (let timer = this.pop(); timer !== undefined; timer = this.pop()) {
      if (timer.run === undefined) continue
      this.now = Math.max(this.now, timer.dueMillis)
      return timer.run
    }
    return undefined
  }

  private push(timer: Timer): void {
    const { heap } = this
    let at = heap.push(timer) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isEarlier(timer, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = timer
  }

  private pop(): Timer | undefined {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || heap.length === 0) return first
    let at = 0
    while (true) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isEarlier(heap[child + 1]!, heap[child]!)) child++
      if (!isEarlier(heap[child]!, last!)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last!
    return first
  }
}

const isEarlier = (self: Timer, that: Timer): boolean =>
  self.dueMillis < that.dueMillis || (self.dueMillis === that.dueMillis && self.order < that.order)

const nanosPerMilli = BigInt(1_000_000)

const nanos = (read: () => number) => (): bigint => BigInt(Math.floor(read())) * nanosPerMilli

/** A clock; `sleep` hears of every sleeper, and returns what takes it back. */
export const makeClock = (options: {
  readonly now: () => number
  /** What cannot be set; the same as `now` unless given. */
  readonly monotonic?: () => number
  readonly sleep: (millis: number, wake: () => void) => () => void
}): Clock.Clock => {
  const { monotonic = options.now, now, sleep } = options
  return {
    currentTimeMillisUnsafe: now,
    currentTimeMillis: Effect.sync(now),
    currentTimeNanosUnsafe: nanos(now),
    currentTimeNanos: Effect.sync(nanos(now)),
    monotonicTimeNanosUnsafe: nanos(monotonic),
    monotonicTimeNanos: Effect.sync(nanos(monotonic)),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (!Number.isFinite(millis)) return Effect.never
      return Effect.callback<void>((resume) => Effect.sync(sleep(millis, () => resume(Effect.void))))
    }
  }
}
