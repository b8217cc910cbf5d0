/**
 * Virtual time and the processes that live in it.
 *
 * Nothing runs by itself: one step takes what is due first, moves time there, and lets all that it sets off run to its
 * next wait. A process is a fresh context: its own clock, its own `Datastore`, and with it its own memory. One that is
 * killed just never hears of anything again.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import { Random } from "effect/Random"
import { Scheduler } from "effect/Scheduler"
import * as Scope from "effect/Scope"
import type { Backend } from "../../Backend.ts"
import { TombstonesDelay } from "../../DsSet.ts"
import type { IdSource } from "../../Ids.ts"
import type { Chance } from "../virtual/chance.ts"
import { makeContext, quiet } from "../virtual/process.ts"
import { makeClock, Time } from "../virtual/time.ts"
import { Turns } from "../virtual/turns.ts"

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
  steps = 0
  readonly chance: Chance
  /** For what belongs to no process: the time of the database and the network. */
  readonly outside: Context.Context<never>
  private readonly base: Context.Context<never>
  private readonly turns = new Turns()
  private readonly time = new Time()
  private ids = 0

  constructor(
    context: Context.Context<never>,
    chance: Chance,
    { isLoud, tombstonesDelay }: { readonly isLoud: boolean; readonly tombstonesDelay: number }
  ) {
    this.chance = chance
    this.base = quiet(context, isLoud).pipe(
      Context.add(Random, chance.service()),
      Context.add(Scheduler, this.turns),
      Context.add(TombstonesDelay, Duration.millis(tombstonesDelay)),
      Context.add(Metric.MetricRegistry, new Map())
    )
    this.outside = Context.add(this.base, Clock.Clock, this.clockOf({ skewMillis: 0 }, (run) => run()))
  }

  get now(): number {
    return this.time.now
  }

  /** Runs something later; returns what takes it back. */
  after(millis: number, run: () => void): () => void {
    return this.time.after(millis, run)
  }

  /** Takes the next step; false when nothing is left to happen. */
  step(): boolean {
    const run = this.time.next()
    if (run === undefined) return false
    this.steps++
    run()
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
    process.context = makeContext({
      context: this.base,
      turns: this.turns,
      clock: this.clockOf(process, (run) => this.deliver(process, run)),
      random: Context.get(this.base, Random),
      ids: this.idsOf(process),
      backend: connect(process),
      scope: process.scope
    })
    return process
  }

  /** Lets a process hear of something, if it lives, and once it is awake. */
  deliver(process: Process, run: () => void): void {
    if (!process.isAlive) return
    if (this.now >= process.frozenUntil) run()
    else this.after(process.frozenUntil - this.now, () => this.deliver(process, run))
  }

  private clockOf(owner: { readonly skewMillis: number }, deliver: (run: () => void) => void): Clock.Clock {
    return makeClock({
      now: () => Math.floor(this.now + owner.skewMillis),
      monotonic: () => this.now,
      sleep: (millis, wake) => this.after(millis, () => deliver(wake))
    })
  }

  /** UUIDv7 from the clock of the process and a counter of the world: cheap, and never the same twice. */
  private idsOf(process: Process): IdSource {
    return {
      next: Effect.sync(() => {
        const time = Math.floor(this.now + process.skewMillis).toString(16).padStart(12, "0")
        const count = (++this.ids).toString(16).padStart(12, "0")
        return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${count}`
      })
    }
  }
}
