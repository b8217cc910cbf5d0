/**
 * The floor in memory: the store operations that batches of the library caused, replayed without the library.
 */
import { Effect } from "effect"
import { type Backend, Datastore } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { mark, type Sample, since } from "../measure.ts"
import { checkMailboxes, Counter } from "./counter.ts"
import { mailbox, recipientsOf, type Size } from "./mailbox.ts"

type Replay = (backend: Backend.Backend) => Effect.Effect<unknown, unknown>

const recording = (backend: Backend.Backend, calls: Array<Replay>): Backend.Backend => ({
  lookup: (keys) => {
    calls.push(({ lookup }) => lookup(keys))
    return backend.lookup(keys)
  },
  query: (request) => {
    calls.push(({ query }) => query(request))
    return backend.query(request)
  },
  commit: (request) => {
    calls.push(({ commit }) => commit(request))
    return backend.commit(request)
  },
  limits: backend.limits
})

/** Prepares a sample that makes the same calls as `mailbox` of this size, on an empty store. */
export const makeStoreAlone = (size: Size): Effect.Effect<Effect.Effect<Sample>> =>
  Effect.gen(function*() {
    const calls: Array<Replay> = []
    const open = Effect.map(InMemory.makeStore, (store) => ({
      layer: Datastore.layer(Effect.succeed(recording(store.backend, calls)))
    }))
    yield* Effect.orDie(mailbox(open, size))
    const { batchSize, batches, recipients } = size
    return Effect.gen(function*() {
      const { backend } = yield* InMemory.makeStore
      const begin = mark()
      // Versions are drawn in order, so every expectation of the recording holds again; one that does not is a defect.
      for (const call of calls) yield* Effect.orDie(call(backend))
      const all = since(begin)
      const total = yield* Effect.orDie(checkMailboxes(recipientsOf(recipients), batches * batchSize)).pipe(
        Effect.provide([Datastore.layer(Effect.succeed(backend)), Counter.layer])
      )
      return { events: recipients * batches * batchSize, batches: recipients * batches, total, all }
    })
  })
