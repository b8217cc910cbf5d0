/**
 * Transactional, batched mailboxes for single Datastore entities.
 *
 * One namespace per module, lowest first. Layers and the test kit have entries of their own: `effect-eventbox/layers/*`
 * and `effect-eventbox/testing`.
 *
 * @since 0.1.0
 */

/**
 * Datastore keys: structural equality, Datastore's own order, string form.
 *
 * @since 0.1.0
 */
export * as Key from "./Key.ts"

/**
 * Where the ids of events come from; replaceable, so that tests can replay them.
 *
 * @since 0.1.0
 */
export * as Ids from "./Ids.ts"

/**
 * Entities and property values, their validity, equality and size.
 *
 * @since 0.1.0
 */
export * as Entity from "./Entity.ts"

/**
 * Every typed failure, and what the caller should do about each.
 *
 * @since 0.1.0
 */
export * as EventboxError from "./EventboxError.ts"

/**
 * The port: what the library needs of a database.
 *
 * @since 0.1.0
 */
export * as Backend from "./Backend.ts"

/**
 * The evidence of being inside a transaction.
 *
 * @since 0.1.0
 */
export * as Transaction from "./Transaction.ts"

/**
 * Reads, writes and optimistic transactions over a backend.
 *
 * @since 0.1.0
 */
export * as Datastore from "./Datastore.ts"

/**
 * An idempotent set of items with tombstones, stored below one key.
 *
 * @since 0.1.0
 */
export * as DsSet from "./DsSet.ts"

/**
 * What the owner of a recipient writes: schemas, state, transitions.
 *
 * @since 0.1.0
 */
export * as Processor from "./Processor.ts"

/**
 * The metrics of the library and their labels.
 *
 * @since 0.1.0
 */
export * as EventboxMetrics from "./EventboxMetrics.ts"

/**
 * Emit, list, process: the mailboxes themselves.
 *
 * @since 0.1.0
 */
export * as Eventbox from "./Eventbox.ts"
