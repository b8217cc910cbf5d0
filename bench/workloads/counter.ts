/**
 * The work that every competitor does: adding the amounts of events to one entity, and the proof that it was done.
 */
import { Effect, Option, Schema } from "effect"
import { Datastore, Eventbox, Processor } from "effect-eventbox"

/** What the entity holds in the end. */
export interface Total {
  readonly count: number
  readonly sum: number
}

/** One event, about 35 bytes of JSON. */
export interface Tick {
  readonly sender: string
  readonly amount: number
}

/** A box that counts its events and sums up their amounts; the state lives in the recipient's own entity. */
export class Counter extends Processor.Service<Counter>()("bench/Counter", {
  kind: "BenchCounter",
  state: Schema.Struct({ count: Schema.Int, sum: Schema.Int }),
  event: Schema.Struct({ sender: Schema.String, amount: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => ({ count: 0, sum: 0 }),
    prepareMutation: (events, state) =>
      Effect.succeed({
        transitions: [{
          events,
          transitionTo: {
            count: state.count + events.length,
            sum: events.reduce((sum, { value }) => sum + value.amount, state.sum)
          }
        }]
      })
  }))
}

/** The events number `from` to `from + count - 1` of a recipient; always the same. */
export const ticks = (from: number, count: number): ReadonlyArray<Tick> =>
  Array.from({ length: count }, (_, index) => ({
    sender: `sender-${(from + index) % 10}`,
    amount: (from + index) * 31 % 97
  }))

/** What the first `count` events come to. */
export const totalOf = (count: number): Total => ({
  count,
  sum: ticks(0, count).reduce((sum, { amount }) => sum + amount, 0)
})

/** Work that was not done, or done twice. */
export class WrongResultError extends Error {
  override readonly name = "WrongResultError"
}

/** Gives back what an entity holds; dies unless it is the total of the first `count` events. */
export const checkTotal = (where: string, found: Total, count: number): Effect.Effect<Total> => {
  const expected = totalOf(count)
  if (found.count === expected.count && found.sum === expected.sum) return Effect.succeed(found)
  const text = (total: Total) => `${total.count} events with the sum ${total.sum}`
  return Effect.die(new WrongResultError(`${where} holds ${text(found)}, must hold ${text(expected)}`))
}

/** As `checkTotal`, of the states of recipients together; their mailboxes must be empty. */
export const checkMailboxes = (recipients: ReadonlyArray<Processor.Recipient<Counter>>, countOfEach: number) =>
  Effect.gen(function*() {
    let total: Total = { count: 0, sum: 0 }
    for (const recipient of recipients) {
      const { state } = yield* Effect.flatMap(Counter, (counter) => counter.loadState(recipient))
      total = addTotal(total, yield* checkTotal(recipient.key.toString(), state, countOfEach))
      const left = yield* Eventbox.list(Counter, recipient)
      if (left.length > 0) {
        return yield* Effect.die(new WrongResultError(`${left.length} events are left for ${recipient.key}`))
      }
    }
    return total
  })

/** What two entities hold together. */
export const addTotal = (self: Total, that: Total): Total => ({
  count: self.count + that.count,
  sum: self.sum + that.sum
})

/** The total in the plain entity that competitors without a mailbox write. */
export const readTotal = (recipient: Processor.Recipient<Counter>) =>
  Effect.map(Datastore.get(recipient.key), (found): Total => {
    const properties = Option.getOrUndefined(found)?.properties
    return { count: Number(properties?.["count"] ?? 0), sum: Number(properties?.["sum"] ?? 0) }
  })
