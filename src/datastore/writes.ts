/**
 * Writes: they join the transaction of the fiber, or are one commit without expectations.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type Mutation, mutationKey } from "../Backend.ts"
import * as Entity from "../Entity.ts"
import { DatastoreError, InvalidArgument } from "../EventboxError.ts"
import * as Transaction from "../ground/transaction.ts"
import { isKey } from "../Key.ts"
import { openMemory, rememberWrites } from "./reads.ts"
import { sendBlind } from "./sending.ts"
import { Datastore } from "./service.ts"

/** Checks writes, and buffers or sends them. */
export const write = <A>(
  operation: string,
  items: ReadonlyArray<A>,
  toMutation: (item: A) => Mutation
): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.contextWith((context: Context.Context<Datastore>) => {
    if (!Array.isArray(items)) return Effect.die(new Error(`Datastore.${operation} takes an array`))
    const mutations = items.map(toMutation)
    const stray = mutations.map(mutationKey).find((key) => !isKey(key))
    if (stray !== undefined) {
      return Effect.die(new Error(`Datastore.${operation}: ${String(stray)} is not a Key; see Key.make`))
    }
    const transaction = Transaction.of(context)
    if (transaction?.open === false) return Transaction.ended
    const writes = transaction?.writes ?? new Map<string, Mutation>()
    for (const mutation of mutations) {
      const problem = mutation._tag === "Delete" ? undefined : Entity.check(mutation.entity)
      if (problem !== undefined) return invalidEntity(operation, mutation, problem)
    }
    const buffered = Transaction.buffer(writes, mutations, operation)
    if (transaction !== undefined || writes.size === 0 || Result.isFailure(buffered)) {
      return Effect.fromResult(buffered)
    }
    const datastore = Context.get(context, Datastore)
    const sent = sendBlind(datastore, Array.from(writes.values()), operation)
    return openMemory(context) === undefined
      ? sent
      : Effect.andThen(sent, Effect.suspend(() => rememberWrites(datastore, context, writes)))
  })

const invalidEntity = (operation: string, mutation: Mutation, problem: Entity.Problem) => {
  const detail = problem.property === "" ? problem.reason : `property ${problem.property}: ${problem.reason}`
  return Effect.fail(
    new DatastoreError({ operation, keys: [mutationKey(mutation)], reason: new InvalidArgument({ detail }) })
  )
}
