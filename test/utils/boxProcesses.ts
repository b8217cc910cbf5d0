import { Effect } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import { DatastoreError, PermissionDenied } from "../../src/EventboxError.ts"
import * as InMemory from "../../src/layers/InMemory.ts"

/** One process over a shared store: with a memory of its own, and a switch that makes its background deletes fail. */
export interface Process {
  deletes: boolean
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Datastore.Datastore>>
}

const makeProcess = (backend: Backend) =>
  Effect.gen(function*() {
    // A failure that is not tried again, so that no history has to wait for pauses.
    const refused = new DatastoreError({
      operation: "commit",
      reason: new PermissionDenied({ detail: "switched off" })
    })
    const process = { deletes: true }
    const datastore = yield* Datastore.make({
      ...backend,
      commit: (request) =>
        Effect.suspend(() =>
          !process.deletes && request.mutations.every(({ _tag }) => _tag === "Delete")
            ? Effect.fail(refused)
            : backend.commit(request)
        )
    })
    return Object.assign(process, {
      run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Datastore.Datastore, datastore)
    })
  })

/** Two processes over one new store, and an undisturbed one to look with. */
export const twoProcesses = Effect.gen(function*() {
  const { backend } = yield* InMemory.makeStore
  return {
    workers: [yield* makeProcess(backend), yield* makeProcess(backend)] as const,
    observer: yield* makeProcess(backend)
  }
})
