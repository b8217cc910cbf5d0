/**
 * A processor on a store of its own, where what it does is seen.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import { Random } from "effect/Random"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Datastore from "../../Datastore.ts"
import { Ids, makeSeeded } from "../../Ids.ts"
import * as InMemory from "../../layers/InMemory.ts"
import type { Event, EVersion, Processor, Recipient, ServiceClass } from "../../Processor.ts"
import { Chance } from "../virtual/chance.ts"
import { quiet } from "../virtual/process.ts"
import { makeClock, startMillis } from "../virtual/time.ts"
import type { Name } from "./broken.ts"
import type { CaseEvent } from "./case.ts"
import { guard, type Watch } from "./pure.ts"

/** What is checked, and how strictly. Laws look at states and events only through this. */
export interface Subject {
  readonly box: ServiceClass<any, any, any, any, any>
  readonly processor: Processor<any, unknown, unknown, unknown>
  readonly recipient: Recipient<any>
  readonly equivalent: (self: unknown, that: unknown) => boolean
  readonly mayFail: (error: unknown) => boolean
  readonly isLaw: (law: Name) => boolean
  /** The state as text and back, as `entity` stores it. */
  readonly encode: (state: unknown) => Effect.Effect<string, Schema.SchemaError>
  readonly decode: (text: string) => Effect.Effect<unknown, Schema.SchemaError>
}

/** A state that was reached, with the store that holds it. */
export interface Reached {
  readonly id: number
  readonly stored: InMemory.StoreSnapshot
  readonly state: unknown
  /** The state as text. */
  readonly text: string
  readonly eversion: EVersion
}

/** The processor under watch. */
export interface Rig {
  readonly subject: Subject
  readonly store: InMemory.Store
  /** What the caller provides. */
  readonly ambient: Context.Context<never>
  readonly context: Context.Context<any>
  readonly watch: Watch
  /** All states, by their text. */
  readonly reached: Map<string, Array<Reached>>
  count: number
  /** What the store holds now, as far as that is known. */
  current: Reached | undefined
}

/** A rig over an empty store. */
export const makeRig = Effect.fnUntraced(function*(subject: Subject) {
  const store = yield* InMemory.makeStore
  const watch: Watch = { isWriting: false, strays: [] }
  const ambient = yield* Effect.context<Scope.Scope>()
  const still = Context.add(quiet(ambient, false), Clock.Clock, stillClock) as Context.Context<Scope.Scope>
  const datastore = yield* Effect.provideContext(Datastore.make(guard(store.backend, watch)), still)
  const context = Context.add(still, Datastore.Datastore, datastore)
  const rig: Rig = { subject, store, ambient, context, watch, reached: new Map(), count: 0, current: undefined }
  return rig
})

/** Runs an effect with the services of the rig. Its random numbers differ by `seed`, its ids do not. */
export const run = <X, EX>(
  rig: Rig,
  effect: () => Effect.Effect<X, EX, any>,
  seed: string
): Effect.Effect<Exit.Exit<X, EX>> =>
  Effect.gen(function*() {
    const ids = yield* Effect.provideService(makeSeeded, Random, new Chance("ids").service())
    const context = rig.context.pipe(Context.add(Random, new Chance(seed).service()), Context.add(Ids, ids))
    // Suspended, as what it throws is a defect like any other.
    return yield* Effect.exit(Effect.provideContext(Effect.suspend(effect), context) as Effect.Effect<X, EX>)
  })

/** Runs an effect that may write. What the store holds then is not known. */
export const write = Effect.fnUntraced(function*<X, EX>(rig: Rig, effect: Effect.Effect<X, EX, any>) {
  rig.watch.isWriting = true
  rig.current = undefined
  const exit = yield* run(rig, () => effect, "write")
  rig.watch.isWriting = false
  return exit
})

/** Events as a listing decodes them: every batch has its own. */
export const decodeEvents = ({ subject }: Rig, batch: ReadonlyArray<CaseEvent>): Effect.Effect<Array<Event<unknown>>> =>
  Effect.forEach(
    batch,
    ({ bytes, id }) => Effect.map(Effect.orDie(subject.box.eventCodec.decode(bytes)), (value) => ({ id, value }))
  )

/** Whether two states are as good as each other. */
export const isSame = ({ subject }: Rig, self: unknown, that: unknown): boolean =>
  Equal.equals(self, that) || subject.equivalent(self, that)

/** A state as text. */
export const show = ({ subject }: Rig, state: unknown): string => {
  const encoded = Effect.runSyncExit(subject.encode(state))
  return Exit.isSuccess(encoded) ? encoded.value : Formatter.format(state)
}

/** Ids as text. */
export const showIds = (ids: ReadonlyArray<string>): string => ids.length === 0 ? "nothing" : ids.join(", ")

/** Time stands still, and sleeping takes none. */
const stillClock = makeClock({
  now: () => startMillis,
  sleep: (_, wake) => {
    queueMicrotask(wake)
    return () => undefined
  }
})
