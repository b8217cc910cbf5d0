/**
 * Breaks the stored books on purpose, as a library that lost or doubled an event would, to see that the check notices.
 */
import { Effect, Option, Schema } from "effect"
import { Datastore, Entity, type EventboxError, Ids, Key } from "effect-eventbox"
import { postingKind } from "./bank.ts"

export const Sabotage = Schema.Literals(["lose", "double"])
export type Sabotage = typeof Sabotage.Type

const StoredState = Schema.fromJsonString(
  Schema.Struct({ balance: Schema.Int, isOpen: Schema.Boolean, moves: Schema.Int })
)

/** Undoes or repeats the first deposit that is found, in the posting and in the balance; nothing when there is none. */
export const sabotage = (
  bank: Key.Key,
  kind: Sabotage
): Effect.Effect<
  void,
  EventboxError.ContentionError | EventboxError.DatastoreError | Schema.SchemaError,
  Datastore.Datastore
> =>
  Effect.gen(function*() {
    const { results } = yield* Datastore.query({ kind: postingKind, ancestor: bank })
    const deposit = results.map(({ entity }) => Option.getOrThrow(entity))
      .find(({ properties }) => properties["kind"] === "deposited")
    if (deposit === undefined) return
    const accountKey = deposit.key.parent!
    const sign = kind === "lose" ? -1 : 1
    yield* Datastore.withTransaction(Effect.gen(function*() {
      const account = Option.getOrThrow(yield* Datastore.get(accountKey))
      const state = yield* Schema.decodeUnknownEffect(StoredState)(account.properties["State"])
      const balance = state.balance + sign * Number(deposit.properties["cents"])
      const State = yield* Schema.encodeEffect(StoredState)({ ...state, balance })
      yield* Datastore.put([{ ...account, properties: { ...account.properties, State } }])
      if (kind === "lose") return yield* Datastore.remove([deposit.key])
      const ids = yield* Ids.Ids
      const copy = Key.child(accountKey, postingKind, yield* ids.next)
      yield* Datastore.put([Entity.make(copy, deposit.properties, { unindexed: "all" })])
    }))
  })
