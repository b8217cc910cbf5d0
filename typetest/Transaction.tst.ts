import { Datastore, DsSet, type EventboxError, Key, type Transaction } from "effect-eventbox"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { holds, type Same } from "./types.ts"

declare const set: DsSet.DsSet
declare const listing: DsSet.Listing
declare const provided: Context.Context<Datastore.Datastore>

const outside = <A, E>(effect: Effect.Effect<A, E, Datastore.Datastore>) => Effect.provide(effect, provided)

// What must run inside a transaction does not compile outside one.

// @ts-expect-error Transaction
outside(DsSet.beginPop(set, listing))

// @ts-expect-error Transaction
outside(Effect.flatMap(Datastore.withTransaction(Effect.succeed(0)), () => DsSet.finishPop()))

outside(Datastore.withTransaction(DsSet.beginPop(set, listing)))

// `withTransaction` takes away the need for a transaction, nothing else, and adds its own failures.

declare const body: Effect.Effect<"done", "refused", Transaction.Transaction | { readonly other: true }>
const committed = Datastore.withTransaction(body)

holds<
  Same<
    typeof committed,
    Effect.Effect<
      "done",
      "refused" | EventboxError.ContentionError | EventboxError.DatastoreError,
      { readonly other: true } | Datastore.Datastore
    >
  >
>()

// The ambient functions need the Datastore alone, so they are the same inside and outside.

const got = Datastore.get(Key.make("Account", 1))
holds<Same<Effect.Services<typeof got>, Datastore.Datastore>>()
holds<Same<Effect.Error<typeof got>, EventboxError.DatastoreError>>()
