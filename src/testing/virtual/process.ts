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
import { Ids, type IdSource, makeSeeded } from "../../Ids.ts"
import { Chance } from "./chance.ts"
import { makeClock, Time } from "./time.ts"
import { Turns } from "./turns.ts"

/**
 * What every history runs in, beside what its caller provides: it is not traced, and logs only when it is to be seen.
 */
export const quiet = (context: Context.Context<never>, isLoud: boolean): Context.Context<never> => {
  const untraced = Context.add(context, References.TracerEnabled, false)
  return isLoud ? untraced : Context.add(untraced, References.MinimumLogLevel, "None")
}

/** The context of one process, as it is when a process has just started. */
export const makeContext = (options: {
  readonly context: Context.Context<never>
  readonly turns: Turns
  readonly clock: Clock.Clock
  readonly random: (typeof Random)["Service"]
  /** Drawn from `random` unless given. */
  readonly ids?: IdSource
  readonly backend: Backend
  /** Never closed unless given: a process of a history just stops. */
  readonly scope?: Scope.Scope
}): Context.Context<any> => {
  const { backend, clock, context, ids, random, scope = Scope.makeUnsafe(), turns } = options
  const bare = context.pipe(
    Context.add(Clock.Clock, clock),
    Context.add(Random, random),
    Context.add(Scheduler, turns)
  )
  const made = Context.add(bare, Ids, ids ?? Effect.runSyncWith(bare)(makeSeeded))
  const fiber = Effect.runForkWith(Context.add(made, Scope.Scope, scope))(Datastore.make(backend))
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
  }
): { readonly exit: Exit.Exit<A, E>; readonly nowMillis: number } => {
  const { seed, ...rest } = options
  const turns = new Turns()
  const time = new Time(options.nowMillis)
  const clock = makeClock({ now: () => time.now, sleep: (millis, wake) => time.after(millis, wake) })
  const fiber = Effect.runForkWith(makeContext({ ...rest, turns, clock, random: new Chance(seed).service() }))(effect)
  turns.flush()
  for (let wake = time.next(); wake !== undefined; wake = time.next()) {
    wake()
    turns.flush()
  }
  const waits = Exit.die(
    new Error("Explore: the set-up or the check waits for something other than the database or time")
  )
  return { exit: fiber.pollUnsafe() ?? waits, nowMillis: time.now }
}
