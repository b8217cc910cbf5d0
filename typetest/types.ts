/**
 * Assertions about types: a call compiles if they hold.
 */

/** Whether two types are the same, `any` and modifiers included. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** Compiles if the types are the same: `holds<Same<A, B>>()`. */
export declare const holds: <T extends true>() => [T]
