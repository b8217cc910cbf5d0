/**
 * What code of a history runs in: its own clock, random numbers, ids and `Datastore`, all on one queue of tasks.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { Random } from "effect/Random"
import * as References from "effect/References"
import { Scheduler } from "effect/Scheduler"
import * as Scope from "effect/Scope"
import type { Backend } from "../../Backend.ts"
import * as Datastore from "../../Datastore.ts"
import { Ids, makeSeeded } from "../../Ids.ts"
import { makeClock, makeRandom, type Timer, Turns } from "../virtual/turns.ts"

/** The context of one process, as it is when a process has just started. */
export const makeContext = (options: {
  readonly context: Context.Context<never>
  readonly turns: Turns
  readonly clock: Clock.Clock
  readonly random: (typeof Random)["Service"]
  readonly backend: Backend
  readonly isLoud: boolean
}): Context.Context<any> => {
  const { backend, clock, context, isLoud, random, turns } = options
  const bare = context.pipe(
    Context.add(Clock.Clock, clock),
    Context.add(Random, random),
    Context.add(Scheduler, turns),
    Context.add(References.TracerEnabled, false),
    (made) => isLoud ? made : Context.add(made, References.MinimumLogLevel, "None")
  )
  const made = Context.add(bare, Ids, Effect.runSyncWith(bare)(makeSeeded))
  // The scope is never closed: a process of a history just stops.
  const fiber = Effect.runForkWith(Context.add(made, Scope.Scope, Scope.makeUnsafe()))(Datastore.make(backend))
  turns.flush()
  return Context.add(made, Datastore.Datastore, Option.getOrThrow(Exit.getSuccess(fiber.pollUnsafe()!)))
}

/** Runs an effect to its end as a process alone, whose sleeping costs no time; background work included. */
export const runAlone = <A, E>(
  effect: Effect.Effect<A, E, any>,
  options: {
    readonly context: Context.Context<never>
    readonly backend: Backend
    readonly seed: string
    readonly nowMillis: number
    readonly isLoud: boolean
  }
): { readonly exit: Exit.Exit<A, E>; readonly nowMillis: number } => {
  const turns = new Turns()
  const timers = new Set<Timer>()
  let now = options.nowMillis
  const clock = makeClock({
    now: () => now,
    sleeping: (timer) => {
      timers.add(timer)
      return () => timers.delete(timer)
    }
  })
  const fiber = Effect.runForkWith(makeContext({ ...options, turns, clock, random: makeRandom(options.seed) }))(effect)
  turns.flush()
  while (timers.size > 0) {
    const [first] = Array.from(timers).toSorted((self, that) => self.dueMillis - that.dueMillis)
    timers.delete(first!)
    now = Math.max(now, first!.dueMillis)
    first!.resume()
    turns.flush()
  }
  const waits = Exit.die(
    new Error("Explore: the set-up or the check waits for something other than the database or time")
  )
  return { exit: fiber.pollUnsafe() ?? waits, nowMillis: now }
}
