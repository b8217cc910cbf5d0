/**
 * The service that is evidence of being inside a transaction. `Datastore.withTransaction` opens one.
 *
 * @since 0.1.0
 */
export { Transaction, type TransactionState } from "./ground/transaction.ts"
