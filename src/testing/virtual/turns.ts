/**
 * A scheduler that runs when it is told to, and a clock that moves when it is told to.
 *
 * All fibers of a history share one queue of tasks. Draining it to the end leaves every fiber waiting: for the
 * database, for time, or for something that no history controls.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Random } from "effect/Random"
import type { Scheduler, SchedulerDispatcher } from "effect/Scheduler"

/** Tasks that one step may take; beyond, something spins. */
const maxTasks = 1_000_000

/** One queue for all fibers, in the order in which they ask. */
export class Turns implements Scheduler, SchedulerDispatcher {
  readonly executionMode = "sync"
  private tasks: Array<() => void> = []

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  makeDispatcher(): SchedulerDispatcher {
    return this
  }

  scheduleTask(task: () => void): void {
    this.tasks.push(task)
  }

  flush(): void {
    let count = 0
    while (this.tasks.length > 0) {
      const tasks = this.tasks
      this.tasks = []
      count += tasks.length
      if (count > maxTasks) throw new Error("a program spins: it yields without end, and never waits")
      for (const task of tasks) task()
    }
  }
}

/** A fiber that sleeps. */
export interface Timer {
  readonly dueMillis: number
  readonly resume: () => void
}

const nanosPerMilli = BigInt(1_000_000)

/** The clock of one process: a shared time plus its own offset; sleepers go to `sleeping`. */
export const makeClock = (options: {
  readonly now: () => number
  readonly sleeping: (timer: Timer) => () => void
}): Clock.Clock => {
  const nanos = () => BigInt(Math.round(options.now())) * nanosPerMilli
  return {
    currentTimeMillisUnsafe: options.now,
    currentTimeMillis: Effect.sync(options.now),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (!Number.isFinite(millis)) return Effect.never
      return Effect.callback<void>((resume) => {
        const withdraw = options.sleeping({ dueMillis: options.now() + millis, resume: () => resume(Effect.void) })
        return Effect.sync(withdraw)
      })
    }
  }
}

/** A small generator of random numbers, the same for the same seed; tells of every draw. */
export const makeRandom = (seed: string, onDraw: () => void = () => undefined): (typeof Random)["Service"] => {
  let state = 0x9e3779b9
  for (let at = 0; at < seed.length; at++) state = Math.imul(state ^ seed.charCodeAt(at), 0x01000193)
  const next = (): number => {
    onDraw()
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    nextDoubleUnsafe: next,
    nextIntUnsafe: () => Math.floor((next() - 0.5) * 2 * Number.MAX_SAFE_INTEGER)
  }
}
