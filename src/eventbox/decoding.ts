/**
 * From stored items to events.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Item } from "../DsSet.ts"
import { EventDecodeError } from "../EventboxError.ts"
import type { Event, Recipient, ServiceClass } from "../Processor.ts"

/** The events of a listing, oldest first, and what is not one. */
export interface Decoded<A> {
  readonly events: Array<Event<A>>
  readonly undecodable: Array<EventDecodeError>
}

/** Items oldest first. The sort is stable: those of one millisecond stay in key order. */
export const oldestFirst = (items: ReadonlyArray<Item>): ReadonlyArray<Item> =>
  items.toSorted((self, that) => age(self) - age(that))

/** Decodes the items of a listing, in their order. */
export const decodeItems = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  items: ReadonlyArray<Item>
): Effect.Effect<Decoded<A>> => {
  const decoded: Decoded<A> = { events: [], undecodable: [] }
  let index = 0
  for (const item of items) {
    const exit = box.eventCodec.decode(item.value)
    // Decoding that needs no fiber is the rule, and a fiber step per event is what it would cost.
    if (!Exit.isExit(exit)) return decodeRest(box, recipient, items.slice(index), decoded, exit)
    take(recipient, decoded, item, exit as Exit.Exit<A, unknown>)
    index++
  }
  return Effect.succeed(decoded)
}

/** Goes on with the first of these items, which is being decoded. */
const decodeRest = Effect.fnUntraced(function*<Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<Self>,
  items: ReadonlyArray<Item>,
  decoded: Decoded<A>,
  first: Effect.Effect<A, unknown>
): Effect.fn.Return<Decoded<A>> {
  for (const [index, item] of items.entries()) {
    const exit = yield* Effect.exit(index === 0 ? first : box.eventCodec.decode(item.value))
    take(recipient, decoded, item, exit)
  }
  return decoded
})

const take = <A>(
  { key }: Recipient<any>,
  { events, undecodable }: Decoded<A>,
  { id }: Item,
  exit: Exit.Exit<A, unknown>
): void => {
  if (Exit.isSuccess(exit)) events.push({ id, value: exit.value })
  else undecodable.push(new EventDecodeError({ recipient: key, eventId: id, cause: Cause.squash(exit.cause) }))
}

/** When an item was first added, ms since epoch. */
export const age = (item: Item): number => item.atMillis ?? 0
