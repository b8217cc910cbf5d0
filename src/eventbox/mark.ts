/**
 * The mark of a batch: what a fiber has in its context while its batch runs, so that another batch inside can be
 * refused.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Transaction from "../ground/transaction.ts"
import type { Key } from "../Key.ts"

/** A mark is no longer open when its batch has ended: fibers that were forked inside keep it, and may outlive it. */
interface Mark {
  open: boolean
  readonly recipient: Key
}

const Current = Context.Reference<Mark | undefined>("eventbox/internal/batchMark", { defaultValue: () => undefined })

/**
 * Runs an effect as a batch of a recipient; dies inside a transaction and inside a batch, whichever recipient that is
 * of: two batches that run each other would wait for each other for ever.
 */
export const inBatch = <A, E, R>(what: string, recipient: Key, batch: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.contextWith((context: Context.Context<R>) => {
    const transaction = Transaction.of(context)
    if (transaction?.open === true) {
      return Transaction.refuse(what, "it is a transaction of its own; run it after this one")
    }
    const around = Context.get(context, Current)
    if (around?.open === true) return refuse(what, recipient, around.recipient)
    const mark: Mark = { open: true, recipient }
    const marked = Effect.onExit(Effect.provideService(batch, Current, mark), () => {
      mark.open = false
      return Effect.void
    })
    // A transaction that has ended is no longer the fiber's, which was forked inside and outlived it.
    return transaction === undefined ? marked : Transaction.outside(marked)
  })

const refuse = (what: string, recipient: Key, around: Key) =>
  Effect.die(
    new Error(
      `${what} of ${recipient} inside a batch of ${around}: a batch cannot run another one, since both might wait for ` +
        "each other for ever. Emit an event instead, or run it in a post-process effect or after the batch."
    )
  )
