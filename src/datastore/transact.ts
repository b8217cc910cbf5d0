/**
 * Transactions: a body that reads and buffers, and the one conditional commit that it ends with.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Snapshot } from "../Backend.ts"
import { ContentionError, DatastoreError, Fenced, isUnknownOutcome, OutcomeUnknown } from "../EventboxError.ts"
import * as Transaction from "../ground/transaction.ts"
import { entityChanged } from "./contention.ts"
import { awaitOutcome, type Restore } from "./doubt.ts"
import { changedAmong, keepReads, openMemory, type Remembered, rememberWrites } from "./reads.ts"
import { bytesOf, sendCommit } from "./sending.ts"
import { Datastore } from "./service.ts"

/** `Datastore.withTransaction`, with reads that were remembered before it (`remembering`). */
export const transact = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  remembered: ReadonlyMap<string, Snapshot>
): Effect.Effect<A, E | ContentionError | DatastoreError, Exclude<R, Transaction.Transaction> | Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    if (Transaction.of(context)?.open === true) {
      return Transaction.refuse("withTransaction", "transactions do not nest; call the body directly")
    }
    const datastore = Context.get(context, Datastore)
    const transaction = Transaction.makeUnsafe(remembered)
    return Effect.uninterruptibleMask((restore) =>
      restore(Effect.provideService(body, Transaction.Transaction, transaction)).pipe(
        Effect.onExit((exit) => Effect.sync(() => close(transaction, exit, openMemory(context)))),
        Effect.tap(() => Effect.andThen(end(datastore, transaction, context, restore), runAfterCommit(transaction)))
      )
    )
  })

/** Commits; where reads are being remembered, so are those of the transaction. // E1 */
const end = (
  datastore: Datastore["Service"],
  transaction: Transaction.TransactionState,
  context: Context.Context<never>,
  restore: Restore
): Effect.Effect<void, ContentionError | DatastoreError> =>
  Effect.flatMap(commit(datastore, transaction, restore), () => {
    const memory = openMemory(context)
    if (memory !== undefined) keepReads(memory, transaction)
    return rememberWrites(datastore, context, transaction.writes)
  })

/** A body that failed wrote nothing, but what it failed with may be told by what it read. // E1 */
const close = (
  transaction: Transaction.TransactionState,
  exit: Exit.Exit<unknown, unknown>,
  memory: Remembered | undefined
): void => {
  transaction.open = false
  if (memory !== undefined && Exit.isFailure(exit)) keepReads(memory, transaction)
}

const commit = (
  datastore: Datastore["Service"],
  transaction: Transaction.TransactionState,
  restore: Restore
): Effect.Effect<void, ContentionError | DatastoreError> => {
  for (const problem of transaction.unfinished) return Effect.die(new Error(problem))
  const expected = Array.from(transaction.reads.values())
  if (transaction.writes.size === 0) {
    return transaction.readRpcs.size > 1 ? restore(validate(datastore, expected)) : Effect.void
  }
  const mutations = Array.from(transaction.writes.values())
  const bytes = transaction.deletedBytes + bytesOf(mutations)
  const { witness } = transaction
  const sending = sendCommit(datastore, { mutations, expected }, bytes)
  return witness === undefined ? sending : Effect.catch(sending, (error) => {
    const isContended = error._tag === "ContentionError"
    if (!isContended && !isUnknownOutcome(error)) return Effect.fail(error)
    const search = isContended
      ? witness.afterContention(expected)
      : Effect.map(witness.afterDoubt, (outcome): Transaction.Contended => ({ outcome, changed: [] }))
    return Effect.flatMap(
      awaitOutcome(datastore.background, search, runAfterCommit(transaction), restore),
      ({ changed, outcome }) =>
        settle(
          outcome,
          error,
          changed.length > 0 || !isContended ? contention(isContended ? changed : expected) : error
        )
    )
  })
}

/** What a commit comes to that was in doubt or contended, once its outcome was looked for. */
const settle = (
  outcome: Transaction.Outcome,
  error: ContentionError | DatastoreError,
  lost: ContentionError
): Effect.Effect<void, ContentionError | DatastoreError> => {
  switch (outcome) {
    case "Landed":
      return Effect.void
    case "Lost":
      return Effect.fail(lost)
    case "Fenced":
      return Effect.fail(new ContentionError({ reason: new Fenced({ cause: error }) }))
    case "Unknown":
      return Effect.fail(error._tag === "DatastoreError" ? error : inDoubt(error))
  }
}

const inDoubt = (cause: ContentionError): DatastoreError => {
  const detail = "the service said that another writer was first, and it could not be found out whether that was " +
    "this very commit, delivered twice"
  return new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail, cause }) })
}

const contention = (changed: ReadonlyArray<Snapshot>): ContentionError => entityChanged(changed.map(({ key }) => key))

/**
 * Checks that everything a read-only transaction saw was true at one moment: what is unchanged now, after the last
 * read, was so since its own read.
 */
const validate = (
  datastore: Datastore["Service"],
  expected: ReadonlyArray<Snapshot>
): Effect.Effect<void, ContentionError | DatastoreError> =>
  Effect.flatMap(datastore.lookup(expected.map((snapshot) => snapshot.key)), (looked) => {
    const changed = changedAmong(expected, looked.flatMap((part) => part.snapshots))
    return changed.length === 0 ? Effect.void : Effect.fail(contention(changed))
  })

const runAfterCommit = (transaction: Transaction.TransactionState): Effect.Effect<void> =>
  Effect.forEach(
    transaction.afterCommit,
    (effect) => Effect.catchCause(effect, (cause) => Effect.logError("An afterCommit effect died", cause)),
    { discard: true }
  )
