/**
 * The life of a layer: its background work, and what closing it does.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { Backend } from "../Backend.ts"
import { DatastoreError, LayerClosed } from "../EventboxError.ts"
import { Transaction } from "../ground/transaction.ts"
import { chunksOf } from "./chunks.ts"
import { makeMerged, maxLookupKeys } from "./lookups.ts"
import type { Datastore } from "./service.ts"

/** How long closing a layer waits for its background work. */
const closeTimeout = "10 seconds"

/** Turns a backend into the service; see `Datastore.make`. */
export const open = (backend: Backend): Effect.Effect<Datastore["Service"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const fibers = yield* FiberSet.make<void>()
    const closing = yield* Latch.make(false)
    const outside = Context.omit(Transaction)(context)
    const { close, guarded, isClosed } = closable(backend)
    const { failAll, lookup } = makeMerged(guarded, outside)
    yield* Effect.addFinalizer(() =>
      closing.open.pipe(
        Effect.andThen(FiberSet.awaitEmpty(fibers)),
        Effect.timeoutOption(closeTimeout),
        Effect.andThen(Effect.sync(() => {
          close()
          failAll(closed("lookup"))
        }))
      )
    )
    return {
      backend: guarded,
      lookup: (keys) =>
        keys.length <= maxLookupKeys
          ? Effect.map(lookup(keys), (looked) => [looked])
          : Effect.forEach(chunksOf(keys, maxLookupKeys), lookup, { concurrency: "unbounded" }),
      background: (effect) =>
        Effect.suspend(() => {
          if (isClosed()) return Effect.succeed(false)
          const running = effect.pipe(
            Effect.tapCause((cause) =>
              Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("Background work failed", cause)
            ),
            Effect.updateContext((_: Context.Context<never>) => outside)
          )
          return Effect.as(FiberSet.run(fibers, running), true)
        }),
      closing: closing.await,
      remembered: new Map()
    }
  })

/** A backend that can be shut: then it is asked nothing more. */
const closable = (backend: Backend) => {
  let isClosed = false
  const unless = <A, E>(operation: string, effect: () => Effect.Effect<A, E>) =>
    Effect.suspend((): Effect.Effect<A, E | DatastoreError> => isClosed ? Effect.fail(closed(operation)) : effect())
  const guarded: Backend = {
    ...backend,
    lookup: (keys) => unless("lookup", () => backend.lookup(keys)),
    query: (request) => unless("query", () => backend.query(request)),
    commit: (request) => unless("commit", () => backend.commit(request))
  }
  return {
    guarded,
    isClosed: () => isClosed,
    close: () => {
      isClosed = true
    }
  }
}

const closed = (operation: string): DatastoreError =>
  new DatastoreError({ operation, reason: new LayerClosed({ detail: "nothing was sent" }) })
