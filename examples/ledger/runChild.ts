/**
 * A process of workers, as a program.
 */
import { Effect, type Layer, Random, type Scope } from "effect"
import { type Datastore, Key } from "effect-eventbox"
import { type Orders, say, sayOften, sendersAreDone } from "./processes.ts"
import { localCrew } from "./run.ts"
import { messageOf, runMain } from "./runMain.ts"
import type { StoreError } from "./stores.ts"

/** Runs the workers that the argument of this process orders; `store` leads to the database. */
export const runChild = (
  store: (name: Orders["datastore"]) => Layer.Layer<Datastore.Datastore, StoreError>
): void => {
  const program = Effect.gen(function*() {
    const { seed, ...orders } = JSON.parse(process.argv[2] ?? "") as Orders
    const crew = localCrew({ ...orders, bank: yield* Effect.fromResult(Key.parse(orders.bank)) })
    process.on("message", (told) => {
      if (told === sendersAreDone) crew.sendersAreDone()
    })
    yield* sayOften(crew.tally)
    const work = Effect.provide(crew.work, store(orders.datastore))
    yield* seed === undefined ? work : Random.withSeed(work, seed)
    yield* Effect.suspend(() => say({ tally: crew.tally() }))
  })
  runMain(reporting(program), asChild)
}

/** Tells of a failure in place of failing. */
export const reporting = <E>(program: Effect.Effect<void, E, Scope.Scope>): Effect.Effect<number> =>
  Effect.scoped(program).pipe(
    Effect.as(0),
    Effect.catchCause((cause) => Effect.as(say({ failure: messageOf(cause) }), 1))
  )

/** Ctrl-C reaches every process of a terminal: here whoever started this one decides, by ending it or leaving it. */
export const asChild = { signals: ["SIGTERM"], ignored: ["SIGINT"], disconnects: true } as const
