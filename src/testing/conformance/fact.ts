/**
 * What a fact of the conformance suite is, and how a file of facts states them.
 */
import type * as Effect from "effect/Effect"
import type { Backend } from "../../Backend.ts"
import type { Datastore } from "../../Datastore.ts"
import type { ContentionError, DatastoreError } from "../../EventboxError.ts"
import type { Key } from "../../Key.ts"

/** Where a backend may differ, and how much is tried. */
export interface Options {
  /** Bytes of data in a commit that is refused as too large. */
  readonly tooLargeCommitBytes: number
  /** How often each race is run. */
  readonly rounds: number
  /** Whether a reader beside a commit may see a part of it; then the fact that it does not is left out. */
  readonly tornReads: boolean
}

/** Checks one fact below a fresh root; dies with an `UnmetError` when it does not hold. */
export type Check = Effect.Effect<void, ContentionError | DatastoreError, Datastore>

/** Something that every backend does. */
export interface Fact {
  readonly name: string
  readonly topic: Topic
  readonly check: Check
}

/** What a fact is about. */
export type Topic = "reading" | "commits" | "values and limits" | "races"

/** Where a fact is checked: a backend, and a root key that no other fact uses. */
export interface Place {
  readonly backend: Backend
  readonly root: Key
}

/** How a check runs. */
export type Checking = Effect.fn.Return<void, ContentionError | DatastoreError>

/** How a file of facts states them. */
export interface Declare {
  readonly fact: (name: string, check: (place: Place) => Checking) => void
  /** One fact for each row of a table. */
  readonly each: <A>(
    table: ReadonlyArray<A>,
    name: (row: A) => string,
    check: (row: A, place: Place) => Checking
  ) => void
}
