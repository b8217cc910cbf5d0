/**
 * A box whose batches show all that can go wrong, and a setting in which its worker is behind a network of its own.
 */
import { Effect, Option, Schema, type Scope } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import type { ContentionError, DatastoreError } from "../../src/EventboxError.ts"
import * as Processor from "../../src/Processor.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import { client, type ClientOptions, sorted } from "./emuClients.ts"
import { makeWire, type Wire } from "./emuWire.ts"

/** Applies numbers to its state, or keeps it; either way a side effect copies each number to another box. */
export class Account extends Processor.Service<Account>()("test/Account", {
  kind: "Account",
  state: Schema.Array(Schema.Int),
  event: Schema.Struct({ n: Schema.Int, changes: Schema.Boolean })
}) {}

export class Copies extends Processor.Service<Copies>()("test/Copies", {
  kind: "Copies",
  state: Schema.Void,
  event: Schema.Int
}) {}

/** The processor; its post-process effects note their numbers. */
export const accounts = (afterwards: Array<number>) =>
  Account.toLayer(Account.entity({
    initial: () => [],
    prepareMutation: (events, state, { key }) =>
      Effect.succeed({
        transitions: events.map((event, index) => ({
          events: [event],
          transitionTo: event.value.changes
            ? [...state, ...events.slice(0, index + 1).map(({ value }) => value.n)]
            : state,
          sideEffect: Eventbox.emit(Copies, Copies.recipient(key.id), event.value.n),
          postProcess: Effect.sync(() => {
            afterwards.push(event.value.n)
          })
        }))
      })
  }))

/** One account, and a worker whose requests take a way of their own. */
export interface Setting {
  readonly account: Processor.Recipient<Account>
  /** One batch and its post-process effects: what became of it. */
  readonly work: Effect.Effect<string>
  /** The same by another worker, which nothing is wrong with. */
  readonly workElsewhere: Effect.Effect<string>
  /** What became of the events: in the state, in the copies, in post-process effects, and what is left of them. */
  readonly seen: Effect.Effect<Seen, never, Datastore.Datastore>
}

export interface Seen {
  readonly state: ReadonlyArray<number>
  readonly copies: ReadonlyArray<number>
  readonly afterwards: ReadonlyArray<number>
  readonly waiting: ReadonlyArray<number>
}

/** Before the batch. */
export const untouched: Seen = { state: [], copies: [], afterwards: [], waiting: [1, 2, 3] }

/** After it. */
export const applied = (changes: boolean): Seen => ({
  state: changes ? [1, 2, 3] : [],
  copies: [1, 2, 3],
  afterwards: [1, 2, 3],
  waiting: []
})

let accountsMade = 0

/** An account and a worker behind a network of its own; see {@link setUpBehind}. */
export const setUp = (
  projectId: string,
  changes: boolean,
  options: ClientOptions = {}
): Effect.Effect<Setting & { readonly wire: Wire }, never, Datastore.Datastore | Scope.Scope> =>
  Effect.gen(function*() {
    const wire = yield* makeWire
    return { ...(yield* setUpBehind(wire.host, projectId, changes, options)), wire }
  })

/** An account with three events, 1 to 3, that change its state or keep it; its worker connects to a host. */
export const setUpBehind = (
  host: string,
  projectId: string,
  changes: boolean,
  options: ClientOptions = {}
): Effect.Effect<Setting, never, Datastore.Datastore> =>
  Effect.gen(function*() {
    const account = Account.recipient(`a${accountsMade++}`)
    const afterwards: Array<number> = []
    yield* Effect.orDie(Eventbox.emitAll(Account, account, [1, 2, 3].map((n) => ({ n, changes }))))
    const process = Effect.gen(function*() {
      const { postProcess } = yield* Eventbox.processBatch(Account, account)
      for (const effect of postProcess) yield* effect
      return postProcess.length === 0 ? "nothing to do" : "landed"
    }).pipe(
      Effect.provide(accounts(afterwards)),
      Effect.catchTag(["ContentionError", "DatastoreError"], ({ reason }: ContentionError | DatastoreError) =>
        Effect.succeed(reason._tag))
    )
    const seen = Effect.gen(function*() {
      const entity = Option.getOrUndefined(yield* Datastore.get(account.key))
      const copies = yield* Outstanding.events(Copies, Copies.recipient(account.key.id))
      const waiting = yield* Outstanding.events(Account, account)
      return {
        state: sorted(JSON.parse(String(entity?.properties["State"] ?? "[]")) as Array<number>),
        copies: sorted(copies.map(({ value }) =>
          value
        )),
        afterwards: sorted(afterwards),
        waiting: sorted(waiting.map(({ value }) => value.n))
      }
    })
    const workWith = (settings: ClientOptions) =>
      Effect.orDie(Effect.suspend(() => Effect.provide(process, client(projectId, settings))))
    return {
      account,
      work: workWith({ ...options, emulatorHost: host }),
      workElsewhere: workWith({}),
      seen: Effect.orDie(seen)
    }
  })
