/**
 * A process of workers that is broken on purpose: what it commits without an answer it applies again, whatever the
 * library finds out about it.
 */
import { Effect, Layer } from "effect"
import { Datastore, EventboxError, Ids, Key } from "effect-eventbox"
import { postingKind } from "../../examples/ledger/bank.ts"
import { runChild } from "../../examples/ledger/runChild.ts"
import { storeLayer } from "../../examples/ledger/stores.ts"
import type { Mutation } from "../../src/Backend.ts"

const broken = Layer.effect(
  Datastore.Datastore,
  Effect.gen(function*() {
    const { backend } = yield* Datastore.Datastore
    const ids = yield* Ids.Ids
    const again = (mutation: Mutation): Effect.Effect<Mutation> => {
      if (mutation._tag !== "Insert" || mutation.entity.key.kind !== postingKind) return Effect.succeed(mutation)
      const { entity } = mutation
      return Effect.map(ids.next, (id) => ({
        _tag: "Insert",
        entity: { ...entity, key: Key.child(entity.key.parent!, postingKind, id) }
      }))
    }
    return yield* Datastore.make({
      ...backend,
      commit: (request) =>
        Effect.catchIf(backend.commit(request), EventboxError.isUnknownOutcome, () =>
          Effect.flatMap(
            Effect.forEach(request.mutations, again),
            (mutations) => backend.commit({ mutations, expected: [] })
          ))
    })
  })
)

runChild((name) => Layer.provide(broken, storeLayer(name)))
