/**
 * What side effects write more than once in one transaction.
 */
import * as Effect from "effect/Effect"
import { type Mutation, mutationKey } from "../../Backend.ts"
import { Transaction } from "../../ground/transaction.ts"
import type * as Key from "../../Key.ts"

/** Entities that one transaction has written more than once, by name. */
export type Rewritten = Map<string, Key.Key>

/** Runs side effects inside a transaction, and notes what they write more than once. */
export const noteRewrites = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  rewritten: Rewritten
): Effect.Effect<A, E, R | Transaction> =>
  Effect.flatMap(Transaction, ({ writes }) => {
    const written = new Set<string>()
    const set = writes.set.bind(writes)
    writes.set = (name: string, mutation: Mutation) => {
      if (written.has(name)) rewritten.set(name, mutationKey(mutation))
      written.add(name)
      return set(name, mutation)
    }
    return effect
  })
