/**
 * From values to stored events: encoding, ids, checks and trace, all before anything is sent.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import { afterCommit, type Datastore } from "../Datastore.ts"
import { make as makeSet } from "../DsSet.ts"
import { addItems, giveUpAt, isRefusal, makeItem, type Refusal } from "../dsset/add.ts"
import { tombstonesDelayMillis } from "../dsset/delay.ts"
import type { NewItem } from "../dsset/format/stored.ts"
import { maxEntityBytes } from "../dsset/model.ts"
import { type DatastoreError, Encode, EventRejected, InvalidId, isUnknownOutcome, TooLarge } from "../EventboxError.ts"
import * as Metrics from "../EventboxMetrics.ts"
import { messageOf } from "../ground/foreign.ts"
import { retryUntil } from "../ground/retries.ts"
import * as Transaction from "../ground/transaction.ts"
import { Ids } from "../Ids.ts"
import type { Recipient, ServiceClass } from "../Processor.ts"
import { isTransient } from "./batch.ts"
import { checkAddress } from "./callbacks.ts"
import { currentTrace } from "./traces.ts"

/** A value to emit, and its id when the caller gave one. */
export interface Emission<A> {
  readonly value: A
  readonly id: string | undefined
}

/** Emits values to one recipient, and returns their ids. */
export const send = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  emissions: ReadonlyArray<Emission<A>>
): Effect.fn.Return<ReadonlyArray<string>, DatastoreError | EventRejected, Datastore> {
  checkAddress("Eventbox.emit", box, recipient)
  makeSet({ parent: recipient.key })
  const items = yield* makeItems(box, recipient, emissions)
  const all = Array.from(items.values())
  const isInside = (yield* Transaction.current) !== undefined
  // P3: every try writes the same items with the same time, so a late one is hidden by the tombstone of an early one.
  yield* isInside ? addItems(all, Number.POSITIVE_INFINITY) : addUntilLate(all)
  yield* afterCommit(Metrics.update(recipient.monitoringString, [Metrics.eventsSent, items.size]))
  return Array.from(items.keys())
})

/** Items of one emit by id, all with the same time: the time of the first try, which retries keep. */
const makeItems = Effect.fnUntraced(function*<Self, S, A, E>(
  { eventCodec }: ServiceClass<Self, any, S, A, E>,
  { key }: Recipient<Self>,
  emissions: ReadonlyArray<Emission<A>>
): Effect.fn.Return<ReadonlyMap<string, NewItem>, EventRejected> {
  const context = yield* Effect.context<never>()
  const source = Context.get(context, Ids)
  const trace = currentTrace(context)
  const atMillis = yield* Clock.currentTimeMillis
  const items = new Map<string, NewItem>()
  for (const emission of emissions) {
    const encoded = eventCodec.encode(emission.value)
    // A fiber step per event is what it would cost.
    const value = Exit.isExit(encoded) && Exit.isSuccess(encoded)
      ? encoded.value as Uint8Array
      : yield* Effect.mapError(
        encoded,
        (cause) => new EventRejected({ recipient: key, reason: new Encode({ detail: messageOf(cause), cause }) })
      )
    const id = emission.id ?? (yield* source.next)
    const made = items.has(id) ? twice : makeItem(key, { id, value, trace }, atMillis)
    if (isRefusal(made)) return yield* new EventRejected({ recipient: key, reason: reasonOf(made, id, value) })
    items.set(id, made)
  }
  return items
})

const twice: Refusal = { _tag: "Id", detail: "given twice in one call, where the second would replace the first" }

const reasonOf = (refusal: Refusal, id: unknown, { length }: Uint8Array): EventRejected["reason"] => {
  switch (refusal._tag) {
    case "Id":
      return new InvalidId({ id: typeof id === "object" ? "an object" : String(id), detail: refusal.detail })
    case "Shape":
      return new Encode({ detail: refusal.detail, cause: undefined })
    case "TooLarge":
      return new TooLarge({ sizeBytes: length, limitBytes: maxEntityBytes - (refusal.bytes - length) })
  }
}

/** Tries again, well within the tombstones delay: a retry after it would be a new event. */
const addUntilLate = Effect.fnUntraced(function*(
  items: ReadonlyArray<NewItem>
): Effect.fn.Return<void, DatastoreError, Datastore> {
  const delayMillis = yield* tombstonesDelayMillis
  const giveUpAtMillis = yield* giveUpAt
  // What the caller is told: the last failure, but once a try may have landed no later one can take that back.
  let told: DatastoreError | undefined
  const add = Effect.tapError(addItems(items, giveUpAtMillis, () => told), (error) =>
    Effect.sync(() => {
      if (told === undefined || isUnknownOutcome(error) || !isUnknownOutcome(told)) told = error
    }))
  const retried = retryUntil(add, giveUpAtMillis, () => ({
    while: isTransient,
    schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
      Schedule.jittered,
      Schedule.upTo({ duration: Math.min(30_000, delayMillis / 5) })
    )
  }))
  yield* Effect.mapError(retried, () => told!)
})
