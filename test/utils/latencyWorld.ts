import { Context, Effect, Exit, type Fiber, References } from "effect"
import type { Backend, CommitRequest } from "../../src/Backend.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { type Process, World } from "../../src/testing/simulate/world.ts"
import { Chance } from "../../src/testing/virtual/chance.ts"

/** Processes over one store, each request of which takes its time both ways, in virtual time. */
export interface LatencyWorld {
  readonly chance: Chance
  readonly now: () => number
  readonly start: (name: string) => Process
  /** Runs an effect in a process until it ends, with all that goes on beside it. */
  readonly run: <A, E>(process: Process, effect: Effect.Effect<A, E, any>) => A
  /** Starts an effect beside others; a defect or a failure of it ends `run`. */
  readonly fork: (process: Process, effect: Effect.Effect<unknown, unknown, any>) => void
}

/** Makes a world; `millis` draws the way there or back, `landed` and `refused` hear of every commit, at the store. */
export const makeLatencyWorld = (options: {
  readonly seed: number
  readonly millis: (chance: Chance) => number
  readonly tombstonesDelay: number
  readonly landed?: (request: CommitRequest, process: string) => void
  readonly refused?: (request: CommitRequest, process: string) => void
}): LatencyWorld => {
  const chance = new Chance(options.seed)
  const { tombstonesDelay } = options
  const world = new World(Context.make(References.MinimumLogLevel, "Error"), chance, { isLoud: false, tombstonesDelay })
  const { backend } = Effect.runSync(InMemory.makeStore)
  const around = <A, E>(operation: Effect.Effect<A, E>): Effect.Effect<A, E> => {
    const way = Effect.suspend(() => Effect.sleep(options.millis(chance)))
    return Effect.andThen(way, Effect.andThen(Effect.exit(operation), (exit) => Effect.andThen(way, exit)))
  }
  const connect = ({ name }: Process): Backend => ({
    ...backend,
    lookup: (keys) => around(backend.lookup(keys)),
    query: (query) => around(backend.query(query)),
    commit: (request) =>
      Effect.uninterruptible(
        around(
          Effect.onExit(backend.commit(request), (exit) =>
            Effect.sync(() => (Exit.isSuccess(exit) ? options.landed : options.refused)?.(request, name)))
        )
      )
  })
  const failures: Array<Exit.Exit<unknown, unknown>> = []
  const fork = (process: Process, effect: Effect.Effect<unknown, unknown, any>) => {
    const fiber = world.fork(effect, process.context)
    fiber.addObserver((exit) => {
      if (Exit.isFailure(exit)) failures.push(exit)
    })
    return fiber
  }
  return {
    chance,
    now: () => world.now,
    start: (name) => world.start(name, 0, connect),
    fork,
    run: <A, E>(process: Process, effect: Effect.Effect<A, E, any>): A => {
      const fiber = fork(process, effect) as Fiber.Fiber<A, unknown>
      while (fiber.pollUnsafe() === undefined && failures.length === 0) {
        if (!world.step()) throw new Error("something waits for neither the store nor time")
      }
      return Effect.runSync(failures[0] ?? fiber.pollUnsafe()!) as A
    }
  }
}
