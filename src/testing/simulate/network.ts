/**
 * What lies between a process and the database: delays, losses, and requests that outlive their sender.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Backend, CommitRequest } from "../../Backend.ts"
import { isUnknownOutcome } from "../../EventboxError.ts"
import * as Faulty from "../Faulty.ts"
import type { Call } from "../Recorder.ts"
import { gated } from "../virtual/gated.ts"
import type { Trouble } from "./settings.ts"
import type { Process, World } from "./world.ts"

/** The two ways to the database: deletes that nobody waits for are slower and fail more often than all else. */
export interface Network {
  readonly connect: (process: Process) => Backend
  readonly heal: () => void
  readonly counts: () => {
    readonly faults: Readonly<Record<Faulty.FaultTag, number>>
    readonly deleteFaults: Readonly<Record<Faulty.FaultTag, number>>
  }
}

/** Whose request it is, where the database sees it. */
export const Sender: Context.Reference<string> = Context.Reference<string>("eventbox/testing/Simulate/Sender", {
  defaultValue: () => ""
})

/**
 * Makes the network before a database; `tell` hears of every failure at the moment at which its process does, `falter`
 * of every lost response before that: then it is worst to stand still.
 */
export const makeNetwork = (
  world: World,
  settings: Trouble,
  database: Backend,
  tell: (process: Process, call: Call, exit: Exit.Exit<unknown, unknown>) => void,
  falter: (process: Process) => void
): Network => {
  const context = Context.add(world.outside, Scope.Scope, Scope.makeUnsafe())
  const make = (rates: Faulty.Rates, maxDelay: number): Faulty.Faulty["Service"] =>
    Effect.runSyncWith(context)(Faulty.make(database, { rates, maxDelay, maxLateness: settings.maxLateness }))
  const main = make(settings.faults, settings.maxDelay)
  const deletes = make(settings.deleteFaults, settings.maxDeleteDelay)
  return {
    connect: (process) => {
      const sending = Context.add(context, Sender, process.name)
      /** The request runs outside: it goes on when its sender is gone. */
      const send = <A, E>(call: Call, run: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.callback<A, E>((resume) => {
          const fiber = Effect.runForkWith(sending)(run)
          fiber.addObserver((exit) => {
            if (Exit.isFailure(exit) && isUnknownOutcome(Cause.squash(exit.cause))) falter(process)
            world.deliver(process, () => {
              if (Exit.isFailure(exit)) tell(process, call, exit)
              resume(exit)
            })
          })
          return Effect.sync(() => fiber.interruptUnsafe())
        })
      // A commit that was sent cannot be taken back.
      return gated(
        { ...main.backend, commit: (request) => (isDeletion(request) ? deletes : main).backend.commit(request) },
        (call, run) => call.operation === "commit" ? Effect.uninterruptible(send(call, run)) : send(call, run)
      )
    },
    heal: () => {
      Effect.runSync(Effect.andThen(main.heal, deletes.heal))
    },
    counts: () => ({ faults: Effect.runSync(main.counts), deleteFaults: Effect.runSync(deletes.counts) })
  }
}

const isDeletion = ({ mutations }: CommitRequest): boolean => mutations.every(({ _tag }) => _tag === "Delete")
