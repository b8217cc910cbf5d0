/**
 * Virtual time and the processes that live in it.
 *
 * Nothing runs by itself: one step takes the earliest timer, moves time there, and lets all that it sets off run to its
 * next wait. A process is a fresh context: its own clock, its own `Datastore`, and with it its own memory. One that is
 * killed just never hears of anything again.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import { Random } from "effect/Random"
import * as References from "effect/References"
import { Scheduler } from "effect/Scheduler"
import * as Scope from "effect/Scope"
import type { Backend } from "../../Backend.ts"
import * as Datastore from "../../Datastore.ts"
import { TombstonesDelay } from "../../DsSet.ts"
import { MaxHeadBytes } from "../../dsset/format/nextHead.ts"
import { Ids, type IdSource } from "../../Ids.ts"
import { Turns } from "../virtual/turns.ts"
import type { Chance } from "./random.ts"

/** When every history begins, ms since epoch. */
export const startMillis = 1_735_689_600_000

interface Timer {
  readonly dueMillis: number
  readonly order: number
  run: (() => void) | undefined
}

/** One incarnation of a process. */
export interface Process {
  readonly name: string
  isAlive: boolean
  /** What its clock shows is the time of the world plus this. */
  skewMillis: number
  /** Until then nothing reaches it: it does not run, and does not know. */
  frozenUntil: number
  readonly scope: Scope.Closeable
  context: Context.Context<any>
}

/** Virtual time, and what waits for it. */
export class World {
  now = startMillis
  steps = 0
  readonly chance: Chance
  /** For what belongs to no process: the time of the database and the network. */
  readonly outside: Context.Context<never>
  private readonly base: Context.Context<never>
  private readonly turns = new Turns()
  private readonly heap: Array<Timer> = []
  private timers = 0
  private ids = 0

  constructor(
    context: Context.Context<any>,
    chance: Chance,
    { isLoud, maxHeadBytes, tombstonesDelay }: {
      readonly isLoud: boolean
      readonly maxHeadBytes: number
      readonly tombstonesDelay: number
    }
  ) {
    this.chance = chance
    this.base = context.pipe(
      Context.add(Random, chance.service),
      Context.add(Scheduler, this.turns),
      Context.add(TombstonesDelay, Duration.millis(tombstonesDelay)),
      Context.add(MaxHeadBytes, maxHeadBytes),
      Context.add(References.TracerEnabled, false),
      Context.add(Metric.MetricRegistry, new Map()),
      (made) => isLoud ? made : Context.add(made, References.MinimumLogLevel, "None")
    )
    this.outside = Context.add(this.base, Clock.Clock, this.makeClock({ skewMillis: 0 }, (run) => run()))
  }

  /** Runs something later; returns what takes it back. */
  after(millis: number, run: () => void): () => void {
    const timer: Timer = { dueMillis: this.now + millis, order: this.timers++, run }
    this.push(timer)
    return () => {
      timer.run = undefined
    }
  }

  /** Takes the next step; false when nothing is left to happen. */
  step(): boolean {
    const timer = this.pop()
    if (timer === undefined) return false
    if (timer.run === undefined) return true
    this.now = Math.max(this.now, timer.dueMillis)
    this.steps++
    timer.run()
    this.turns.flush()
    return true
  }

  /** Starts an effect in a process, or outside of all. */
  fork<A, E>(effect: Effect.Effect<A, E, any>, context: Context.Context<any>): Fiber.Fiber<A, E> {
    const fiber = Effect.runForkWith(context)(effect)
    this.turns.flush()
    return fiber
  }

  /** Starts a process; `connect` gives it its way to the database. */
  start(name: string, skewMillis: number, connect: (process: Process) => Backend): Process {
    const process: Process = {
      name,
      isAlive: true,
      skewMillis,
      frozenUntil: 0,
      scope: Scope.makeUnsafe(),
      context: Context.empty() as Context.Context<any>
    }
    const bare = this.base.pipe(
      Context.add(Clock.Clock, this.makeClock(process, (run) => this.deliver(process, run))),
      Context.add(Ids, this.makeIds(process)),
      Context.add(Scope.Scope, process.scope)
    )
    const made = this.fork(Datastore.make(connect(process)), bare)
    const datastore = Option.getOrThrow(Exit.getSuccess(made.pollUnsafe()!))
    process.context = Context.omit(Scope.Scope)(Context.add(bare, Datastore.Datastore, datastore))
    return process
  }

  /** Lets a process hear of something, if it lives, and once it is awake. */
  deliver(process: Process, run: () => void): void {
    if (!process.isAlive) return
    if (this.now >= process.frozenUntil) run()
    else this.after(process.frozenUntil - this.now, () => this.deliver(process, run))
  }

  private makeClock(owner: { readonly skewMillis: number }, deliver: (run: () => void) => void): Clock.Clock {
    const now = () => Math.floor(this.now + owner.skewMillis)
    const nanos = () => BigInt(now()) * nanosPerMilli
    const monotonic = () => BigInt(Math.floor(this.now)) * nanosPerMilli
    return {
      currentTimeMillisUnsafe: now,
      currentTimeMillis: Effect.sync(now),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) => {
        const millis = Duration.toMillis(duration)
        if (millis <= 0) return Effect.yieldNow
        if (!Number.isFinite(millis)) return Effect.never
        return Effect.callback<void>((resume) =>
          Effect.sync(this.after(millis, () => deliver(() => resume(Effect.void))))
        )
      }
    }
  }

  /** UUIDv7 from the clock of the process and a counter of the world: cheap, and never the same twice. */
  private makeIds(process: Process): IdSource {
    return {
      next: Effect.sync(() => {
        const time = Math.floor(this.now + process.skewMillis).toString(16).padStart(12, "0")
        const count = (++this.ids).toString(16).padStart(12, "0")
        return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${count}`
      })
    }
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

const nanosPerMilli = BigInt(1_000_000)

const isEarlier = (self: Timer, that: Timer): boolean =>
  self.dueMillis < that.dueMillis || (self.dueMillis === that.dueMillis && self.order < that.order)
