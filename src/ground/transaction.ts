/**
 * One optimistic transaction: the snapshots it read, the writes it buffers, and the service that is evidence of being
 * inside. `Transaction.ts` shows what users may see of it.
 *
 * Nothing here talks to a database. `Datastore.withTransaction` opens a transaction, runs a body with {@link
 * Transaction} in its context, and ends with one conditional commit made of what the body left here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type Mutation, mutationKey, type Snapshot } from "../Backend.ts"
import { copy, type Entity, patched } from "../Entity.ts"
import { AlreadyExists, DatastoreError, InvalidArgument } from "../EventboxError.ts"
import type { Key } from "../Key.ts"

/**
 * Evidence that the fiber is inside a transaction: a function with `Transaction` in its `R` cannot be called outside
 * `Datastore.withTransaction`, and `tsc` makes the check.
 *
 * **Gotchas**
 *
 * A fiber that was forked inside and outlives the transaction still has the service. Reads, writes and emits would join
 * it, so there they die rather than do half of what was meant. What is never part of a transaction, such as
 * `Eventbox.process`, `Datastore.query` and `Datastore.withTransaction` with all inside it, works there as everywhere.
 *
 * @category services
 * @since 0.1.0
 */
export class Transaction extends Context.Service<Transaction, TransactionState>()("eventbox/Transaction") {}

/**
 * How a commit ended whose response was lost.
 */
export type Outcome = "Landed" | "Lost" | "Fenced" | "Unknown"

/**
 * What became of a commit that the server says was contended, and which of the entities that it expected have changed.
 */
export interface Contended {
  readonly outcome: Outcome
  readonly changed: ReadonlyArray<Snapshot>
}

/**
 * Finds out how a commit ended.
 */
export interface Witness {
  /** When its response was lost. */
  readonly afterDoubt: Effect.Effect<Outcome>
  /** When another writer was first, or the commit itself, delivered twice. */
  readonly afterContention: (expected: ReadonlyArray<Snapshot>) => Effect.Effect<Contended>
}

/**
 * The inside of one transaction; opaque to users.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransactionState {
  /** @internal */
  open: boolean
  /** Snapshots of reads before the transaction, that reads inside may use without an RPC. @internal */
  readonly remembered: ReadonlyMap<string, Snapshot>
  /** What the commit expects to be unchanged: the first snapshot of each key. @internal */
  readonly reads: Map<string, Snapshot>
  /** The RPCs that `reads` came from. @internal */
  readonly readRpcs: Set<object>
  /** At most one write per key. @internal */
  readonly writes: Map<string, Mutation>
  /** @internal */
  readonly afterCommit: Array<Effect.Effect<void>>
  /** Problems that must be gone when the body ends: messages of defects. @internal */
  readonly unfinished: Set<string>
  /** Stored bytes of what the commit deletes, as far as they are known: they count against its limit. @internal */
  deletedBytes: number
  /** @internal */
  witness: Witness | undefined
}

/**
 * A new, open transaction.
 */
export const makeUnsafe = (remembered: ReadonlyMap<string, Snapshot> = new Map()): TransactionState => ({
  open: true,
  remembered,
  reads: new Map(),
  readRpcs: new Set(),
  writes: new Map(),
  afterCommit: [],
  unfinished: new Set(),
  deletedBytes: 0,
  witness: undefined
})

/**
 * The transaction of the calling fiber, if there is one; dies when it has ended.
 */
export const current: Effect.Effect<TransactionState | undefined> = Effect.contextWith((context) => {
  const found = of(context)
  return found === undefined || found.open ? Effect.succeed(found) : ended
})

/**
 * The transaction of a context, if there is one; it may have ended.
 */
export const of = (context: Context.Context<never>): TransactionState | undefined =>
  Context.getOrUndefined(context, Transaction)

/**
 * Dies because a fiber that was forked inside a transaction has outlived it.
 */
export const ended: Effect.Effect<never> = Effect.suspend(() =>
  Effect.die(
    new Error(
      "The transaction has ended: this fiber was forked inside it and outlived it. " +
        "Wait for such fibers inside the transaction, or do the work in `afterCommit`."
    )
  )
)

/**
 * Dies when the calling fiber is inside a transaction that has not ended.
 */
export const refuseInside = (what: string, instead: string): Effect.Effect<void> =>
  Effect.contextWith((context) => of(context)?.open === true ? refuse(what, instead) : Effect.void)

/**
 * Dies because of a call inside a transaction.
 */
export const refuse = (what: string, instead: string): Effect.Effect<never> =>
  Effect.die(new Error(`${what} cannot be used inside a transaction: ${instead}`))

/**
 * Runs an effect as if outside of any transaction.
 */
export const outside = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(
    self,
    (context: Context.Context<R>) => Context.omit(Transaction)(context) as Context.Context<R>
  )

/**
 * Remembers what a read saw, and returns the snapshot that counts: the first one of its key.
 */
export const recordRead = (self: TransactionState, snapshot: Snapshot): Snapshot => {
  const id = snapshot.key.toString()
  const known = self.reads.get(id) ?? self.remembered.get(id)
  self.reads.set(id, known ?? snapshot)
  return known ?? snapshot
}

/**
 * What a read inside a transaction answers, once its snapshot is recorded: what the transaction has written, or else
 * what is stored. What is buffered is copied, so that whoever reads it cannot change what will be written.
 */
export const entityOf = (self: TransactionState | undefined, snapshot: Snapshot): Option.Option<Entity> => {
  const written = self === undefined || self.writes.size === 0 ? undefined : self.writes.get(snapshot.key.toString())
  return written === undefined ? snapshot.entity : Option.map(after(written, snapshot.entity), copy)
}

/**
 * What a write makes of an entity.
 */
export const after = (write: Mutation, before: Option.Option<Entity>): Option.Option<Entity> => {
  switch (write._tag) {
    case "Delete":
      return Option.none()
    case "Patch":
      return Option.some(patched(Option.getOrUndefined(before), write.entity))
    default:
      return Option.some(write.entity)
  }
}

/**
 * Buffers writes, each made one with an earlier write of the same key; all of them or none.
 *
 * **Details**
 *
 * Fails when no single write says both: an insert after a write (`AlreadyExists`), a removal after an insert
 * (`InvalidArgument`).
 */
export const buffer = (
  writes: Map<string, Mutation>,
  mutations: ReadonlyArray<Mutation>,
  operation: string
): Result.Result<void, DatastoreError> => {
  const staged = new Map<string, Mutation>()
  for (const next of mutations) {
    const key = mutationKey(next)
    const id = key.toString()
    const merged = merge(staged.get(id) ?? writes.get(id), next, key, operation)
    if (Result.isFailure(merged)) return Result.fail(merged.failure)
    staged.set(id, merged.success)
  }
  for (const [id, mutation] of staged) writes.set(id, mutation)
  return Result.void
}

const mergePatch = (before: Mutation, next: Mutation & { readonly _tag: "Patch" }): Mutation =>
  before._tag === "Delete"
    ? { _tag: "Upsert", entity: next.entity }
    : { _tag: before._tag, entity: patched(before.entity, next.entity) }

const merge = (
  before: Mutation | undefined,
  next: Mutation,
  key: Key,
  operation: string
): Result.Result<Mutation, DatastoreError> => {
  if (before === undefined) return Result.succeed(next)
  if (next._tag === "Insert") {
    if (before._tag === "Delete") return Result.succeed({ _tag: "Upsert", entity: next.entity })
    const detail = "it was written before in the same transaction"
    return Result.fail(new DatastoreError({ operation, keys: [key], reason: new AlreadyExists({ detail }) }))
  }
  if (next._tag === "Patch") return Result.succeed(mergePatch(before, next))
  if (before._tag === "Insert") {
    if (next._tag !== "Delete") return Result.succeed({ _tag: "Insert", entity: next.entity })
    const detail = "one transaction cannot insert an entity and remove it again"
    return Result.fail(new DatastoreError({ operation, keys: [key], reason: new InvalidArgument({ detail }) }))
  }
  return Result.succeed(next)
}
