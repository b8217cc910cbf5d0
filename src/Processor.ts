/**
 * What the owner of a recipient writes: a processor, declared once with its schemas, and the transitions that it
 * decides on.
 *
 * A processor is a service. Its *declaration* (a class made with {@link Service}) holds the kind of its recipients and
 * the schemas of their state and events, and is all that senders need; its *layer* holds the implementation. The
 * library calls it at four points, and nowhere else:
 *
 * | when | call |
 * |---|---|
 * | before the transaction | `loadState`, beside the listing of the events |
 * | before the transaction | `prepareMutation`, a pure decision: transitions and garbage |
 * | inside the transaction | `fetchEVersion`, first, if there is one |
 * | inside the transaction | `saveState`, last, if the state changed |
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import type { Datastore } from "./Datastore.ts"
import type { ContentionError, StoreError } from "./EventboxError.ts"
import { isBytes } from "./ground/foreign.ts"
import type { Transaction } from "./ground/transaction.ts"
import * as Key from "./Key.ts"
import { flatMapAtOnce, type JsonCodec, makeJsonCodec, mapAtOnce, parse, safely, toText } from "./processor/codec.ts"
import { makeEntityProcessor, type StateText, StateTextId } from "./processor/entity.ts"

const RecipientTypeId = "~eventbox/Processor/Recipient"
declare const AdviceTypeId: unique symbol
const PrepareFailureTypeId = "~eventbox/Processor/PrepareFailure"

/**
 * The owner of one mailbox: the entity that events are for.
 *
 * **Details**
 *
 * Carries the box that it belongs to in its type: emitting to a recipient of another box does not compile. The entity
 * need not exist. Made by the `recipient` of a box.
 *
 * Source: luci-go `cv/internal/common/eventbox`, `Recipient`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recipient<in out Self> {
  readonly [RecipientTypeId]: Types.Invariant<Self>
  readonly key: Key.Key
  /** The metric label `recipient`. Must have few distinct values: the kind, by default. */
  readonly monitoringString: string
}

/**
 * An event: its id and its decoded value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Event<out A> {
  readonly id: string
  readonly value: A
}

/**
 * Version of a recipient's state: 0 before the first save, one more with every saved state.
 *
 * @category models
 * @since 0.1.0
 */
export type EVersion = typeof EVersion.Type

/**
 * Schema of an {@link EVersion}, a non-negative safe integer; `EVersion.make(0)` makes one.
 *
 * @category schemas
 * @since 0.1.0
 */
export const EVersion = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).pipe(Schema.brand("eventbox/EVersion"))

/**
 * Work that is atomic with the state change: it runs inside the transaction, and lands with it or not at all.
 *
 * **Details**
 *
 * May emit events to any box, and read and write entities by key with the functions of `Datastore`. It sees what side
 * effects of the same batch have written before it: read what you change inside of it, not in `prepareMutation`. `R` is
 * for services beside these two; the effects of a box have none.
 *
 * @category models
 * @since 0.1.0
 */
export type SideEffect<E = never, R = never> = Effect.Effect<unknown, E | StoreError, Datastore | Transaction | R>

/**
 * Work to be done after the commit; not atomic with it, and lost when the process dies first. It runs also when the
 * call was interrupted meanwhile, and may process any recipient.
 *
 * @category models
 * @since 0.1.0
 */
export type PostProcess<E = never, R = never> = Effect.Effect<unknown, E | StoreError, Datastore | R>

/**
 * One step of a recipient: the events it consumes, the state it leads to, and the effects that belong to it.
 *
 * Source: luci-go `cv/internal/common/eventbox`, `Transition`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transition<S, A, E = never, R = never> {
  /** May be the same state. */
  readonly transitionTo: S
  /**
   * Consumed by this transition: events of this batch, each by one transition at most. Left out, none is consumed: they
   * wait, and the next batch sees them again. Where no transition of a batch consumes any of its events, a warning says
   * so, once per recipient.
   */
  readonly events?: ReadonlyArray<Event<A>> | undefined
  /** Atomic with the state; compose several with {@link Chain}. */
  readonly sideEffect?: SideEffect<E, R> | undefined
  /** Saves the state, and raises its version, also when it is equal to the one that was loaded. */
  readonly touch?: boolean | undefined
  /** After the commit, not atomic. */
  readonly postProcess?: PostProcess<E, R> | undefined
}

/**
 * What a processor decided: transitions in order, and events that are worthless.
 *
 * **Details**
 *
 * Garbage is deleted outside the transaction, also when the transaction fails. Two concurrent invocations must choose
 * the same garbage: if one deletes A and means to process B, and the other deletes B and means to process A, both are
 * lost when neither commits (E6).
 *
 * @category models
 * @since 0.1.0
 */
export interface Mutation<S, A, E = never, R = never> {
  readonly transitions: ReadonlyArray<Transition<S, A, E, R>>
  readonly garbage?: ReadonlyArray<Event<A>> | undefined
}

/**
 * The implementation of a box.
 *
 * Source: luci-go `cv/internal/common/eventbox`, `Processor`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Processor<in out Self, S, A, E = never, R = never> {
  /**
   * Loads state and version, before the transaction; a missing entity is the initial state with version 0. What it
   * looks up with `Datastore.get`, also in a transaction of its own, is remembered for the batch: reading it again
   * costs nothing, and the commit expects it unchanged. It should write nothing; what it writes to a key that it has
   * read costs one more read, and is expected as it was written.
   */
  readonly loadState: (
    recipient: Recipient<Self>
  ) => Effect.Effect<
    { readonly state: S; readonly eversion: EVersion },
    E | ContentionError | StoreError,
    Datastore | R
  >
  /**
   * Decides, before the transaction. The events are an arbitrary subset of the outstanding ones, oldest first as far as
   * clocks agree, and there may be none: a call that finds nothing asks with an empty list, and then a transition with
   * an effect runs it. Must have no effects of its own: what must happen goes into transitions. May run many times.
   */
  readonly prepareMutation: (
    events: ReadonlyArray<Event<A>>,
    state: S,
    recipient: Recipient<Self>
  ) => Effect.Effect<Mutation<S, A, E, R>, E | StoreError | PrepareFailure<E, A>, Datastore | R>
  /**
   * Reads the version again, first thing inside the transaction. Optional: without it every entity that `loadState`
   * looked up is expected to be unchanged.
   */
  readonly fetchEVersion?:
    | ((recipient: Recipient<Self>) => Effect.Effect<EVersion, E | StoreError, Datastore | Transaction | R>)
    | undefined
  /**
   * Saves, inside the transaction, and only when the state changed (another object, and not equal by `Equal.equals`; of
   * `entity`: another text) or a transition touches it; `eversion` is the loaded one plus 1.
   */
  readonly saveState: (
    state: S,
    eversion: EVersion,
    recipient: Recipient<Self>
  ) => Effect.Effect<unknown, E | StoreError, Datastore | Transaction | R>
  /** How `entity` compares and saves states. @internal */
  readonly [StateTextId]?: StateText<S> | undefined
}

/**
 * The declaration of a box: what senders and workers name.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<in out Self, in out Id extends string, in out S, in out A, E>
  extends Context.ServiceClass<Self, Id, Processor<Self, S, A, E>>
{
  /** Datastore kind of the recipients. */
  readonly kind: string
  /** Tells this declaration from others, also of the same id. @internal */
  readonly declaration: object
  /** The schema of the events: tests make events from it. @internal */
  readonly eventSchema: Schema.Codec<A, any>
  /** How events are stored: JSON text of the event schema, as bytes. @internal */
  readonly eventCodec: PayloadCodec<A>
  /** How `entity` stores the state: JSON text. @internal */
  readonly stateCodec: Schema.Codec<S, string>
  /**
   * The recipient of an id, or of a key of this box's kind; the label of its metrics is the kind unless given.
   * Throws for a key of another kind, and a `KeyError` for an id that breaks the rules of `Key`.
   */
  readonly recipient: (idOrKey: Key.Id | Key.Key, monitoringString?: string) => Recipient<Self>
  /** As `recipient`, with a `KeyError` as a value: for ids that come from outside the program. */
  readonly recipientResult: (
    id: Key.Id,
    monitoringString?: string
  ) => Result.Result<Recipient<Self>, Key.KeyError>
  /** The layer of an implementation; its callbacks are typed from the schemas. */
  toLayer<EX, RX>(
    build: Effect.Effect<Processor<Self, S, A, E | Advice<UndeclaredError>, Advice<MissingService>>, EX, RX>
  ): Layer.Layer<Self, EX, RX>
  /**
   * An implementation whose state lives in the recipient's own entity, in the properties `EVersion` and `State` (JSON
   * text), neither indexed; other properties of that entity are kept. Costs 1 read, and 1 write per batch.
   * Its batches fail with `StateDecodeError` for a stored state that does not fit the schema, and die of a new one.
   */
  entity(options: EntityOptions<Self, S, A, E>): Effect.Effect<Processor<Self, S, A, E>>
}

/**
 * Any box: the type of one in a list, as in `const boxes: ReadonlyArray<Processor.Any> = [Orders, Invoices]`.
 *
 * **Details**
 *
 * What is emitted to it and what its batches fail with is `any`; so are the services that they need.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = ServiceClass<any, any, any, any, any>

/**
 * What `entity` needs beside the schemas.
 *
 * @category models
 * @since 0.1.0
 */
export interface EntityOptions<in out Self, S, A, E> {
  /** The state of a recipient that has no entity yet. */
  readonly initial: (recipient: Recipient<Self>) => S
  /**
   * What becomes of fields of a stored state that its schema does not know, as a newer version of the program may have
   * written them: kept unless told to `drop` them. Of nested objects too, unless their `_tag` changes or they are
   * replaced by another kind of value; an element of an array keeps its own as long as the element is left as it is.
   */
  readonly excess?: "preserve" | "drop" | undefined
  /**
   * Decides what becomes of these events: see `Processor.prepareMutation`. Depends on events and state alone, and must
   * not change either in place.
   */
  readonly prepareMutation: Processor<
    Self,
    S,
    A,
    E | Advice<UndeclaredError>,
    Advice<MissingService>
  >["prepareMutation"]
}

/**
 * Stands in the types of callbacks so that a compiler's message shows what to do; nothing has this type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Advice<out Text extends string> {
  readonly [AdviceTypeId]: Text
}

type UndeclaredError = "declare this failure: give Processor.Service its schema as `error:`"

type MissingService = "take this service where the layer is built: toLayer(Effect.gen(function*() { … }))"

/**
 * The failure of a `prepareMutation` that nevertheless declares garbage; made by {@link failWithGarbage}.
 *
 * @category models
 * @since 0.1.0
 */
export interface PrepareFailure<out E, out A> {
  readonly [PrepareFailureTypeId]: typeof PrepareFailureTypeId
  readonly _tag: "PrepareFailure"
  readonly error: E
  readonly garbage: ReadonlyArray<Event<A>>
}

/**
 * Fails a `prepareMutation`, and still has garbage deleted; the caller of `processBatch` sees `error`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failWithGarbage = <E, A>(
  error: E,
  garbage: ReadonlyArray<Event<A>>
): Effect.Effect<never, PrepareFailure<E, A>> =>
  Effect.fail({ [PrepareFailureTypeId]: PrepareFailureTypeId, _tag: "PrepareFailure", error, garbage })

/**
 * Whether a failure was made by {@link failWithGarbage}.
 *
 * @internal
 */
export const isPrepareFailure = <E, A>(error: E | PrepareFailure<E, A>): error is PrepareFailure<E, A> =>
  typeof error === "object" && error !== null && PrepareFailureTypeId in error

/**
 * Composes side effects: they run in order, `undefined` is skipped, the first failure stops; `undefined` when none is
 * left.
 *
 * **Example** (Two effects of one transition)
 *
 * ```ts
 * import { Processor } from "effect-eventbox"
 * import { Effect } from "effect"
 *
 * Processor.Chain(undefined, undefined) // => undefined
 * Processor.Chain(undefined, Effect.void) !== undefined // => true
 * ```
 *
 * Source: luci-go `cv/internal/common/eventbox`, `Chain`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const Chain = <E = never, R = never>(
  ...effects: ReadonlyArray<Effect.Effect<unknown, E, R> | undefined>
): Effect.Effect<void, E, R> | undefined => {
  const present = effects.filter((effect) => effect !== undefined)
  return present.length === 0 ? undefined : Effect.forEach(present, (effect) => effect, { discard: true })
}

/**
 * Options of {@link Service}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceOptions<out S, in out A extends Schema.Constraint, out E> {
  /** Datastore kind of the recipients: one box for each kind. Keep it: what is stored lies under it. */
  readonly kind: string
  /** Schema of the state; needs no services. With `entity` it is stored as its JSON text. */
  readonly state: S
  /**
   * Schema of the events, a tagged union as a rule; needs no services. They are stored as the JSON text of it
   * (`Schema.toCodecJson`): change it only in ways that still decode what is stored.
   */
  readonly event: A
  /** Schema of the processor's own failures, for its type; without it callbacks fail with the library's errors only. */
  readonly error?: E | undefined
  /** How events are stored, in place of JSON text. */
  readonly codec?: PayloadCodec<A["Type"]> | undefined
}

/**
 * Declares a box.
 *
 * **Details**
 *
 * `id` names the service, must be unique in the program, and is stored in each mailbox as its owner: keep it.
 *
 * Throws when `kind` breaks the rules of `Key`.
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { Processor } from "effect-eventbox"
 * import { Effect, Schema } from "effect"
 *
 * class Counter extends Processor.Service<Counter>()("app/Counter", {
 *   kind: "Counter",
 *   state: Schema.Int,
 *   event: Schema.Struct({ amount: Schema.Int })
 * }) {
 *   static readonly layer = this.toLayer(this.entity({
 *     initial: () => 0,
 *     prepareMutation: (events, total) =>
 *       Effect.succeed({
 *         transitions: [{ events, transitionTo: events.reduce((sum, event) => sum + event.value.amount, total) }]
 *       })
 *   }))
 * }
 *
 * Counter.recipient("visits").key.toString() // => 'Counter,"visits"'
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <Self = never>() =>
<
  const Id extends string,
  S extends Schema.Codec<any, any>,
  A extends Schema.Codec<any, any>,
  E extends Schema.Constraint = typeof Schema.Never
>(
  id: Id,
  options: ServiceOptions<S, A, E>
): [Self] extends [never] ? "Missing `Self`: write class Box extends Processor.Service<Box>()(…)"
  : ServiceClass<Self, Id, S["Type"], A["Type"], E["Type"]> =>
{
  // Checked now, not at the first recipient.
  const kind = Key.makeResult(options.kind, 1)
  if (Result.isFailure(kind)) {
    const { reason } = kind.failure
    throw new Key.KeyError({ input: JSON.stringify(options.kind) ?? "undefined", reason: `${reason} (the box ${id})` })
  }
  const Base = Context.Service<Self, Processor<Self, S["Type"], A["Type"], E["Type"]>>()(id)
  const stateCodec = Schema.fromJsonString(Schema.toCodecJson(options.state)) as Schema.Codec<S["Type"], string>
  const declaration = { id }
  const stateJson = makeJsonCodec<S["Type"]>(options.state)
  return Object.assign(Base, {
    kind: options.kind,
    declaration,
    eventSchema: options.event,
    eventCodec: options.codec === undefined
      ? makePayloadCodec(makeJsonCodec<A["Type"]>(options.event))
      : guardPayloadCodec(options.codec),
    stateCodec,
    recipient: (idOrKey: Key.Id | Key.Key, monitoringString?: string) =>
      makeRecipient(id, options.kind, idOrKey, monitoringString),
    recipientResult: (idOf: Key.Id, monitoringString?: string) =>
      Result.map(Key.makeResult(options.kind, idOf), (key) => makeRecipient(id, options.kind, key, monitoringString)),
    toLayer: (build: Effect.Effect<Processor<Self, S["Type"], A["Type"], E["Type"]>, unknown, unknown>) =>
      Layer.effect(Base, Effect.tap(build, (processor) => claim(declaration, processor))),
    entity: (entityOptions: EntityOptions<Self, S["Type"], A["Type"], E["Type"]>) =>
      Effect.succeed(entityProcessor(declaration, stateJson, entityOptions))
  }) as any
}

/** Which declarations a processor was given to, by their layers. */
const claims = new WeakMap<object, Set<object>>()

/** A declaration takes an implementation. It dies of one that was made by another declaration. */
const claim = (declaration: Declaration, processor: Processor<any, any, any, any>): Effect.Effect<void> => {
  const problem = foreign(declaration, processor[StateTextId]?.declaration as Declaration | undefined)
  if (problem !== undefined) return Effect.die(new Error(problem))
  const known = claims.get(processor)
  if (known === undefined) claims.set(processor, new Set([declaration]))
  else known.add(declaration)
  return Effect.void
}

/** What tells one declaration from another, also of the same id. */
interface Declaration {
  readonly id: string
}

const foreign = (own: Declaration, maker: Declaration | undefined): string | undefined => {
  if (maker === undefined || maker === own) return undefined
  return own.id === maker.id
    ? `Two boxes are declared with the id ${own.id}, and the implementation of one would run for the other: ` +
      "give each declaration an id of its own, and declare each box once"
    : `The implementation that is provided for the box ${own.id} is that of the box ${maker.id}: ` +
      `provide ${own.id} with a layer that its own \`toLayer\` made`
}

/**
 * What is wrong with the implementation that was provided for a box, or `undefined`: it must not be another box's. One
 * that no box has made, as tests provide, may be anyone's.
 *
 * @internal
 */
export const misprovided = (
  { declaration }: ServiceClass<any, any, any, any, any>,
  processor: Processor<any, any, any, any>
): string | undefined => {
  const own = declaration as Declaration
  const claimed = claims.get(processor)
  const [other] = claimed === undefined || claimed.has(own) ? [] : claimed
  return foreign(own, (other ?? processor[StateTextId]?.declaration) as Declaration | undefined)
}

/**
 * Encodes values to bytes and back.
 *
 * **Details**
 *
 * A value that `encode` fails for, throws at or makes no bytes of is refused by emit as `EventRejected`/`Encode`; bytes
 * that `decode` fails for are an `EventDecodeError`. Effects that are done at once (`Effect.succeed`) cost no fiber.
 *
 * @category models
 * @since 0.1.0
 */
export interface PayloadCodec<in out A> {
  readonly encode: (value: A) => Effect.Effect<Uint8Array, unknown>
  readonly decode: (bytes: Uint8Array) => Effect.Effect<A, unknown>
}

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder()

/** Events as the JSON text of their schema. */
const makePayloadCodec = <A>({ decode, decodeText, encode }: JsonCodec<A>): PayloadCodec<A> => ({
  // The text is no step of the schema, which would need a fiber for it.
  encode: (value) =>
    flatMapAtOnce(encode(value), (json) => mapAtOnce(toText(json), (text) => textEncoder.encode(text))),
  decode: (bytes) => {
    const text = textDecoder.decode(bytes)
    const json = parse(text)
    return json === undefined ? decodeText(text) : decode(json)
  }
})

/**
 * A codec of the user's: what it throws or dies of is a failure too, and what it gives must be bytes. These are copied,
 * since it may use their memory again, as are those that it gets, which may be decoded once more.
 */
const guardPayloadCodec = <A>(codec: PayloadCodec<A>): PayloadCodec<A> => ({
  encode: (value) =>
    flatMapAtOnce(
      safely((input) => given(codec.encode(input)), value),
      (bytes) =>
        isBytes(bytes)
          ? Exit.succeed(new Uint8Array(bytes))
          : Exit.fail(new Error("the codec of the box gave no Uint8Array"))
    ),
  decode: (bytes) => safely((input) => given(codec.decode(input)), new Uint8Array(bytes))
})

const given = <B>(effect: Effect.Effect<B, unknown>): Effect.Effect<B, unknown> => {
  if (Effect.isEffect(effect)) return effect
  throw new Error("the codec of the box gave no Effect")
}

const makeRecipient = <Self>(
  service: string,
  kind: string,
  idOrKey: Key.Id | Key.Key,
  monitoringString: string = kind
): Recipient<Self> => {
  const key = Key.isKey(idOrKey) ? idOrKey : Key.make(kind, idOrKey)
  if (key.kind !== kind) {
    throw new Error(`${service}.recipient: the key is of kind ${key.kind} (${key}), this box is for kind ${kind}`)
  }
  return { [RecipientTypeId]: invariant as Types.Invariant<Self>, key, monitoringString }
}

const invariant: unknown = (_: never) => _

const entityProcessor = <Self, S, A, E>(
  declaration: Declaration,
  codec: JsonCodec<S>,
  { excess = "preserve", initial, prepareMutation }: EntityOptions<Self, S, A, E>
): Processor<Self, S, A, E> => {
  const { loadState, ...rest } = makeEntityProcessor({ box: declaration.id, declaration, codec, decodeVersion, excess })
  return {
    ...rest,
    loadState: (recipient) => loadState(recipient, () => ({ state: initial(recipient), eversion: EVersion.make(0) })),
    // Nothing has the type of an advice.
    prepareMutation: prepareMutation as Processor<Self, S, A, E>["prepareMutation"]
  }
}

const decodeVersion = Schema.decodeUnknownEffect(EVersion)
