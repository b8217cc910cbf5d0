/**
 * What tests of programs with eventbox need: databases with faults and databases that record.
 *
 * The conformance suite of backends is apart, in `effect-eventbox/testing/DatastoreSuite`, because it imports vitest.
 *
 * @since 0.1.0
 */

/**
 * Faults of a database, by rate or by name.
 *
 * @since 0.1.0
 */
export * as Faulty from "./Faulty.ts"

/**
 * A record of what a program asks of its database.
 *
 * @since 0.1.0
 */
export * as Recorder from "./Recorder.ts"
