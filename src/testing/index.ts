/**
 * What tests of programs with eventbox need: every interleaving, laws of processors, databases with faults, databases
 * that record, and looks at what waits and what is stored.
 *
 * The conformance suite of backends is apart, in `effect-eventbox/testing/DatastoreSuite`, because it imports vitest.
 *
 * @since 0.1.0
 */

/**
 * Every order in which programs can reach their database.
 *
 * @since 0.1.0
 */
export * as Explore from "./Explore.ts"

/**
 * Faults of a database, by rate or by name.
 *
 * @since 0.1.0
 */
export * as Faulty from "./Faulty.ts"

/**
 * Assertions on events that wait.
 *
 * @since 0.1.0
 */
export * as Outstanding from "./Outstanding.ts"

/**
 * Laws that a processor must keep, checked over generated events and interleavings.
 *
 * @since 0.1.0
 */
export * as ProcessorLaws from "./ProcessorLaws.ts"

/**
 * A record of what a program asks of its database.
 *
 * @since 0.1.0
 */
export * as Recorder from "./Recorder.ts"

/**
 * Seeded histories of your programs at scale, in virtual time: processes that crash, networks that lose and delay.
 *
 * @since 0.1.0
 */
export * as Simulate from "./Simulate.ts"

/**
 * A store in memory as text.
 *
 * @since 0.1.0
 */
export * as StoreDump from "./StoreDump.ts"
