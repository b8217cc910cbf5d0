import {
  Datastore,
  DsSet,
  Entity,
  Eventbox,
  type EventboxError,
  Key,
  Processor,
  type Transaction
} from "effect-eventbox"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { holds, type Same } from "./types.ts"

class Refused extends Schema.TaggedError<Refused>("Refused")("Refused", {}) {}
class Broken extends Schema.TaggedError<Broken>("Broken")("Broken", {}) {}
class Mailer extends Context.Service<Mailer, { readonly send: Effect.Effect<void, Broken> }>()("app/Mailer") {}

class Counter extends Processor.Service<Counter>()("app/Counter", {
  kind: "Counter",
  state: Schema.Struct({ total: Schema.Int }),
  event: Schema.TaggedUnion({ Add: { amount: Schema.Int }, Reset: {} }),
  error: Refused
}) {}

type State = { readonly total: number }
type Value = { readonly _tag: "Add"; readonly amount: number } | { readonly _tag: "Reset" }

const visits = Counter.recipient("visits")
declare const set: DsSet.DsSet
declare const listing: DsSet.Listing
declare const mailer: Mailer["Service"]

// A side effect may do all that a transaction can: emit, write, read, pop, and fail with the box's own error.

type SideEffect = Processor.SideEffect<Refused>
const emitting: SideEffect = Eventbox.emit(Counter, visits, { _tag: "Reset" })
const putting: SideEffect = Datastore.put([Entity.make(Key.make("Other", 1), {})])
const inside: SideEffect = Effect.asVoid(Effect.orDie(DsSet.beginPop(set, listing)))
const failing: SideEffect = new Refused({})
export const chained: SideEffect | undefined = Processor.Chain(emitting, undefined, putting, inside, failing)

// @ts-expect-error Broken
export const foreignFailure: SideEffect = new Broken({})

// @ts-expect-error Mailer
export const foreignService: SideEffect = Effect.asVoid(Mailer)

// A post-process effect runs after the transaction.

export const posting: Processor.PostProcess<Refused> = Eventbox.emit(Counter, visits, { _tag: "Reset" })
// @ts-expect-error Transaction
export const popping: Processor.PostProcess<Refused> = Effect.asVoid(Effect.orDie(DsSet.beginPop(set, listing)))

// The callbacks of `toLayer` are typed from the schemas, without annotations.

const layer = Counter.toLayer(Effect.gen(function*() {
  const { send } = yield* Mailer
  return {
    loadState: (recipient) => {
      holds<Same<typeof recipient, Processor.Recipient<Counter>>>()
      return Effect.succeed({ state: { total: 0 }, eversion: Processor.EVersion.make(0) })
    },
    prepareMutation: (events, state, recipient) => {
      holds<Same<typeof events, ReadonlyArray<Processor.Event<Value>>>>()
      holds<Same<typeof state, State>>()
      holds<Same<typeof recipient, Processor.Recipient<Counter>>>()
      return events.length > 9
        ? Processor.failWithGarbage(new Refused({}), events.slice(0, 1))
        : Effect.succeed({ transitions: [{ events, transitionTo: state, postProcess: Effect.ignore(send) }] })
    },
    fetchEVersion: () => Effect.as(Datastore.get(visits.key), Processor.EVersion.make(0)),
    saveState: (state, eversion, { key }) => {
      holds<Same<typeof state, State>>()
      holds<Same<typeof eversion, Processor.EVersion>>()
      return Datastore.put([Entity.make(key, { total: state.total, eversion })])
    }
  }
}))
holds<Same<typeof layer, Layer.Layer<Counter, never, Mailer>>>()

declare const implement: (part: Partial<Processor.Processor<Counter, State, Value, Refused>>) => void

// `loadState` may have a transaction of its own, whose contention is the batch's.
implement({
  loadState: () =>
    Datastore.withTransaction(Effect.succeed({ state: { total: 0 }, eversion: Processor.EVersion.make(0) }))
})

// @ts-expect-error EVersion
implement({ loadState: () => Effect.succeed({ state: { total: 0 }, eversion: 0 }) })

// @ts-expect-error total
implement({ prepareMutation: () => Effect.succeed({ transitions: [{ transitionTo: {} }] }) })

// @ts-expect-error Broken
implement({ prepareMutation: () => new Broken({}) })

// What a processor needs of other services it gets when its layer is built.
// @ts-expect-error Mailer
implement({ saveState: () => Effect.andThen(Mailer, mailer.send) })

// Before the transaction there is none.
// @ts-expect-error Transaction
implement({ prepareMutation: () => Effect.as(DsSet.finishPop(), { transitions: [] }) })

// A transition consumes events of its own box.
declare const foreign: ReadonlyArray<Processor.Event<string>>
// @ts-expect-error string
export const stolen: Processor.Transition<State, Value> = { transitionTo: { total: 0 }, events: foreign }

// The recipient of one box is not that of another, although they look alike.

class Twin extends Processor.Service<Twin>()("app/Twin", {
  kind: "Counter",
  state: Schema.Struct({ total: Schema.Int }),
  event: Schema.Int
}) {}
// @ts-expect-error Twin
export const twin: Processor.Recipient<Counter> = Twin.recipient("visits")

// Whoever processes a box needs its processor, and sees its errors in one union.

type BatchError =
  | Refused
  | EventboxError.ContentionError
  | EventboxError.EventDecodeError
  | EventboxError.MailboxOwned
  | EventboxError.DatastoreError
  | EventboxError.EventRejected
  | EventboxError.StateDecodeError

type ProcessError = Exclude<BatchError, EventboxError.EventDecodeError> | Eventbox.EventFailed<Refused>

const processed = Eventbox.process(Counter, visits)
const drained = Eventbox.drain(Counter, visits)
const batch = Eventbox.processBatch(Counter, visits)
holds<Same<typeof processed, Effect.Effect<Eventbox.Summary<Refused>, ProcessError, Counter | Datastore.Datastore>>>()
holds<Same<typeof drained, Effect.Effect<Eventbox.Summary<Refused>, ProcessError, Counter | Datastore.Datastore>>>()
holds<Same<typeof batch, Effect.Effect<Eventbox.BatchResult<Refused>, BatchError, Counter | Datastore.Datastore>>>()
holds<
  Same<
    Effect.Success<typeof processed>["postProcessFailures"],
    ReadonlyArray<Cause.Cause<Refused | EventboxError.StoreError>>
  >
>()
holds<
  Same<Effect.Success<typeof batch>["postProcess"], ReadonlyArray<Processor.PostProcess<Refused>>>
>()

// Each failure of an event keeps the types of what it can be.
holds<
  Same<
    Eventbox.EventFailed<Refused>["failures"][number]["cause"],
    Cause.Cause<Refused | EventboxError.EventDecodeError | EventboxError.StoreError>
  >
>()

const listed = Eventbox.list(Counter, visits)
holds<
  Same<
    typeof listed,
    Effect.Effect<
      ReadonlyArray<Result.Result<Processor.Event<Value>, EventboxError.EventDecodeError>>,
      EventboxError.DatastoreError,
      Datastore.Datastore
    >
  >
>()

// Schedules see the errors that they are for.

Eventbox.process(Counter, visits, {
  retry: Schedule.recurs(3).pipe(
    Schedule.setInputType<EventboxError.ContentionError | EventboxError.DatastoreError>()
  ),
  postProcess: Schedule.recurs(3).pipe(Schedule.setInputType<Refused | EventboxError.StoreError>())
})
// @ts-expect-error Schedule
Eventbox.process(Counter, visits, { retry: Schedule.recurs(3).pipe(Schedule.setInputType<Refused>()) })

// @ts-expect-error Schedule
Eventbox.process(Counter, visits, { postProcess: Schedule.recurs(3).pipe(Schedule.setInputType<Broken>()) })

// Boxes of any kind go into one list, and generic code over it keeps the services that they need.

class Audit extends Processor.Service<Audit>()("app/Audit", {
  kind: "Audit",
  state: Schema.String,
  event: Schema.Struct({ line: Schema.String })
}) {}

export const boxes: ReadonlyArray<Processor.Any> = [Counter, Twin, Audit]
const drainAll = <Boxes extends ReadonlyArray<Processor.Any>>(
  all: Boxes
): Effect.Effect<unknown, BatchError, Context.Service.Identifier<Boxes[number]> | Datastore.Datastore> =>
  Effect.forEach(all, (box) => Eventbox.drain(box, box.recipient("x")))
const everything = drainAll([Counter, Audit])
holds<Same<typeof everything, Effect.Effect<unknown, BatchError, Counter | Audit | Datastore.Datastore>>>()
export const kinds: ReadonlyArray<string> = boxes.map(({ kind }) => kind)
// A single one keeps its types.
const one = <Box extends Processor.Any>(box: Box) => box.recipient("a")
Eventbox.emit(Counter, one(Counter), { _tag: "Reset" })

// The two mistakes that everybody makes first say what to do: `error:`, and `toLayer(Effect.gen…)`.

Twin.entity({
  initial: () => ({ total: 0 }),
  prepareMutation: (events, state) =>
    // @ts-expect-error 'Broken' is not assignable to type 'Advice<"declare this failure
    Effect.succeed({ transitions: [{ events, transitionTo: state, sideEffect: new Broken({}) }] })
})
Twin.entity({
  initial: () => ({ total: 0 }),
  // @ts-expect-error declare this failure: give Processor.Service its schema as `error:`
  prepareMutation: () => new Broken({})
})
Twin.entity({
  initial: () => ({ total: 0 }),
  // @ts-expect-error 'Mailer' is not assignable to type 'Advice<"take this service
  prepareMutation: (events, state) => Effect.as(Mailer, { transitions: [{ events, transitionTo: state }] })
})
const twinOf = (part: Partial<Processor.Processor<Twin, State, number>>) => ({
  loadState: () => Effect.succeed({ state: { total: 0 }, eversion: Processor.EVersion.make(0) }),
  prepareMutation: () => Effect.succeed({ transitions: [] }),
  saveState: () => Effect.void,
  ...part
})
Twin.toLayer(Effect.succeed(twinOf({})))
// @ts-expect-error 'Broken' is not assignable to type 'Advice<"declare this failure
Twin.toLayer(Effect.succeed({
  ...twinOf({}),
  saveState: () => new Broken({})
}))
// @ts-expect-error 'Mailer' is not assignable to type 'Advice<"take this service
Twin.toLayer(Effect.succeed({
  ...twinOf({}),
  loadState: () => Effect.as(Mailer, { state: { total: 0 }, eversion: Processor.EVersion.make(0) })
}))

type Decision = ReturnType<Processor.EntityOptions<Twin, State, number, never>["prepareMutation"]>
type Declare = Processor.Advice<"declare this failure: give Processor.Service its schema as `error:`">
type Take = Processor.Advice<"take this service where the layer is built: toLayer(Effect.gen(function*() { … }))">
holds<Same<Extract<Effect.Error<Decision>, Processor.Advice<string>>, Declare>>()
holds<Same<Extract<Effect.Services<Decision>, Processor.Advice<string>>, Take>>()
declare const advised: Processor.Processor<Twin, State, number, Declare, Take>
Twin.toLayer(Effect.succeed(advised))

// What a processor is made of shows nothing of that advice: tests run its effects.

const made = Effect.flatMap(
  Twin.entity({ initial: () => ({ total: 0 }), prepareMutation: () => Effect.succeed({ transitions: [] }) }),
  (processor) => processor.prepareMutation([], { total: 0 }, Twin.recipient("a"))
)
holds<Same<Effect.Services<typeof made>, Datastore.Datastore>>()
holds<Same<Effect.Success<typeof made>, Processor.Mutation<State, number>>>()

// Events may be bytes of one's own, from and to the type of their schema.

class Packed extends Processor.Service<Packed>()("app/Packed", {
  kind: "Packed",
  state: Schema.Int,
  event: Schema.Int,
  codec: {
    encode: (value) => Effect.succeed(Uint8Array.of(value)),
    decode: (bytes) => bytes.length === 1 ? Effect.succeed(bytes[0]!) : Effect.fail("one byte")
  }
}) {}
export const packed: Processor.Event<number> = { id: "a", value: Packed.kind.length }

Processor.Service<Packed>()("app/Packed", {
  kind: "Packed",
  state: Schema.Int,
  event: Schema.Int,
  // @ts-expect-error string
  codec: { encode: () => Effect.succeed(new Uint8Array()), decode: () => Effect.succeed("text") }
})

// What can only be done inside a transaction says so.

const begun = DsSet.beginPop(set, listing)
holds<
  Same<
    typeof begun,
    Effect.Effect<DsSet.PopOp, EventboxError.ContentionError, Datastore.Datastore | Transaction.Transaction>
  >
>()
