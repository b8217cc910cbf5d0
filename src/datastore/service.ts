/**
 * The service that every layer provides, and what one layer remembers.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Backend } from "../Backend.ts"
import type { DatastoreError } from "../EventboxError.ts"
import type { Key } from "../Key.ts"
import type { Looked } from "./lookups.ts"

/**
 * What a layer provides: a backend, with merged lookups and a place for background work.
 *
 * **Details**
 *
 * Use the functions of this module rather than the members: they join the fiber's transaction and check what they send.
 *
 * @category services
 * @since 0.1.0
 */
export class Datastore extends Context.Service<Datastore, {
  /** The three operations as the layer made them: no merging, no transaction, no checks. */
  readonly backend: Backend
  /** Lookup merged with concurrent ones. Distinct keys; a call of at most 1,000 is one consistent read. @internal */
  readonly lookup: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyArray<Looked>, DatastoreError>
  /**
   * Runs an effect in the background of the layer, in the layer's own context; `false` when that is closed. @internal
   */
  readonly background: (effect: Effect.Effect<void>) => Effect.Effect<boolean>
  /** Returns when the layer begins to close: background work should then stop pausing and retrying. @internal */
  readonly closing: Effect.Effect<void>
  /** What {@link perLayer} has made, by its maker. @internal */
  readonly remembered: Map<object, unknown>
}>()("eventbox/Datastore") {}

/** What a layer remembers of one kind: made when it is first asked for, and gone with the layer. */
export const perLayer = <A>(make: () => A): (datastore: Datastore["Service"]) => A => ({ remembered }) => {
  let found = remembered.get(make) as A | undefined
  if (found === undefined) remembered.set(make, found = make())
  return found
}
