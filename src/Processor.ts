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
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import { type Datastore, get, put } from "./Datastore.ts"
import type { DatastoreError, StoreError } from "./EventboxError.ts"
import { StateDecodeError } from "./EventboxError.ts"
import { encodeText } from "./internal/slab.ts"
import * as Key from "./Key.ts"
import type { Transaction } from "./Transaction.ts"

const RecipientTypeId = "~eventbox/Processor/Recipient"
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
 * May emit events to any box, and read and write entities by key with the functions of `Datastore`.
 *
 * @category models
 * @since 0.1.0
 */
export type SideEffect<E = never> = Effect.Effect<unknown, E | StoreError, Datastore | Transaction>

/**
 * Work to be done after the commit; not atomic with it, and lost when the process dies first. It runs also when the
 * call was interrupted meanwhile, and may process any recipient.
 *
 * @category models
 * @since 0.1.0
 */
export type PostProcess<E = never> = Effect.Effect<unknown, E | StoreError, Datastore>

/**
 * One step of a recipient: the events it consumes, the state it leads to, and the effects that belong to it.
 *
 * Source: luci-go `cv/internal/common/eventbox`, `Transition`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transition<S, A, E = never> {
  /** May be the same state. */
  readonly transitionTo: S
  /** Consumed by this transition: events of this batch, each by one transition at most. */
  readonly events?: ReadonlyArray<Event<A>> | undefined
  /** Atomic with the state; compose several with {@link Chain}. */
  readonly sideEffect?: SideEffect<E> | undefined
  /** After the commit, not atomic. */
  readonly postProcess?: PostProcess<E> | undefined
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
export interface Mutation<S, A, E = never> {
  readonly transitions: ReadonlyArray<Transition<S, A, E>>
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
export interface Processor<in out Self, S, A, E = never> {
  /**
   * Loads state and version, before the transaction; a missing entity is the initial state with version 0. What it
   * looks up with `Datastore.get` is remembered for the batch: reading it again costs nothing, and the commit expects
   * it unchanged.
   */
  readonly loadState: (
    recipient: Recipient<Self>
  ) => Effect.Effect<{ readonly state: S; readonly eversion: EVersion }, E | StoreError, Datastore>
  /**
   * Decides, before the transaction. The events are an arbitrary subset of the outstanding ones, oldest first as far as
   * clocks agree. Must have no effects of its own: what must happen goes into transitions. May run many times.
   */
  readonly prepareMutation: (
    events: ReadonlyArray<Event<A>>,
    state: S,
    recipient: Recipient<Self>
  ) => Effect.Effect<Mutation<S, A, E>, E | StoreError | PrepareFailure<E, A>, Datastore>
  /**
   * Reads the version again, first thing inside the transaction. Optional: without it every entity that `loadState`
   * looked up is expected to be unchanged.
   */
  readonly fetchEVersion?:
    | ((recipient: Recipient<Self>) => Effect.Effect<EVersion, E | StoreError, Datastore | Transaction>)
    | undefined
  /** Saves, inside the transaction, and only when the state changed; `eversion` is the loaded one plus 1. */
  readonly saveState: (
    state: S,
    eversion: EVersion,
    recipient: Recipient<Self>
  ) => Effect.Effect<unknown, E | StoreError, Datastore | Transaction>
}

/**
 * The declaration of a box: what senders and workers name.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<in out Self, in out Id extends string, in out S, in out A, in out E>
  extends Context.ServiceClass<Self, Id, Processor<Self, S, A, E>>
{
  /** Datastore kind of the recipients. */
  readonly kind: string
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
  /** The layer of an implementation; its callbacks are typed from the schemas. */
  readonly toLayer: <EX, RX>(
    build: Effect.Effect<Processor<Self, S, A, E>, EX, RX>
  ) => Layer.Layer<Self, EX, RX>
  /**
   * An implementation whose state lives in the recipient's own entity, in the properties `EVersion` and `State` (JSON
   * text), neither indexed; other properties of that entity are kept. Costs 1 read, and 1 write per batch.
   */
  readonly entity: (options: EntityOptions<Self, S, A, E>) => Effect.Effect<Processor<Self, S, A, E>>
}

/**
 * What `entity` needs beside the schemas.
 *
 * @category models
 * @since 0.1.0
 */
export interface EntityOptions<in out Self, S, A, E> {
  /** The state of a recipient that has no entity yet. */
  readonly initial: (recipient: Recipient<Self>) => S
  readonly prepareMutation: Processor<Self, S, A, E>["prepareMutation"]
}

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
 * Declares a box.
 *
 * **Details**
 *
 * `id` names the service and must be unique in the program. `kind` is the Datastore kind of the recipients. `state` and
 * `event` are schemas that need no services; events are stored as the JSON text of `event` (`Schema.toCodecJson`), so
 * change the schema only in ways that still decode what is stored. `error` gives the type of the processor's own
 * failures.
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
>(id: Id, options: {
  readonly kind: string
  readonly state: S
  readonly event: A
  readonly error?: E | undefined
}): [Self] extends [never] ? "Missing `Self`: write class Box extends Processor.Service<Box>()(…)"
  : ServiceClass<Self, Id, S["Type"], A["Type"], E["Type"]> =>
{
  // Checked now, not at the first recipient.
  Key.make(options.kind, "check")
  const Base = Context.Service<Self, Processor<Self, S["Type"], A["Type"], E["Type"]>>()(id)
  const stateCodec = Schema.fromJsonString(Schema.toCodecJson(options.state)) as Schema.Codec<S["Type"], string>
  return Object.assign(Base, {
    kind: options.kind,
    eventSchema: options.event,
    eventCodec: makePayloadCodec(makeTextCodec(options.event)),
    stateCodec,
    recipient: (idOrKey: Key.Id | Key.Key, monitoringString?: string) =>
      makeRecipient(id, options.kind, idOrKey, monitoringString),
    toLayer: (build: Effect.Effect<Processor<Self, S["Type"], A["Type"], E["Type"]>, unknown, unknown>) =>
      Layer.effect(Base, build),
    entity: (entityOptions: EntityOptions<Self, S["Type"], A["Type"], E["Type"]>) =>
      Effect.succeed(entityProcessor(makeTextCodec(options.state), entityOptions))
  }) as any
}

/**
 * Encodes values to bytes and back.
 *
 * @category models
 * @since 0.1.0
 */
export interface PayloadCodec<in out A> {
  readonly encode: (value: A) => Effect.Effect<Uint8Array, Schema.SchemaError>
  readonly decode: (bytes: Uint8Array) => Effect.Effect<A, Schema.SchemaError>
}

const textDecoder = new TextDecoder()

const parseJson = (text: string): Schema.Json | undefined => {
  try {
    return JSON.parse(text) as Schema.Json
  } catch {
    return undefined
  }
}

/** Values to JSON text and back: at once, as an `Exit`, where the schema needs no fiber. */
interface TextCodec<in out A> {
  readonly encode: (value: A) => Effect.Effect<string, Schema.SchemaError>
  readonly decode: (text: unknown) => Effect.Effect<A, Schema.SchemaError>
}

const makeTextCodec = <A>(schema: Schema.Codec<A, any>): TextCodec<A> => {
  const json = Schema.toCodecJson(schema) as Schema.Codec<A, Schema.Json>
  const encodeJson = Schema.encodeEffect(json)
  const decodeJson = Schema.decodeEffect(json)
  const decodeText = Schema.decodeUnknownEffect(Schema.fromJsonString(json) as Schema.Codec<A, string>)
  return {
    // The text is no step of the schema, which would need a fiber for it.
    encode: (value) => mapAtOnce(encodeJson(value), (encoded) => JSON.stringify(encoded)),
    decode: (text) => {
      const parsed = typeof text === "string" ? parseJson(text) : undefined
      // What is wrong with a text that is not JSON, the schema says.
      return parsed === undefined ? decodeText(text) : decodeJson(parsed)
    }
  }
}

const makePayloadCodec = <A>({ decode, encode }: TextCodec<A>): PayloadCodec<A> => ({
  encode: (value) => mapAtOnce(encode(value), encodeText),
  decode: (bytes) => decode(textDecoder.decode(bytes))
})

/** As `Effect.map`, and without a fiber where there is a result already. */
const mapAtOnce = <A, B, E>(effect: Effect.Effect<A, E>, f: (value: A) => B): Effect.Effect<B, E> =>
  Exit.isExit(effect) ? Exit.map(effect as Exit.Exit<A, E>, f) : Effect.map(effect, f)

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
  codec: TextCodec<S>,
  options: EntityOptions<Self, S, A, E>
): Processor<Self, S, A, E> => {
  const decodeVersion = Schema.decodeUnknownEffect(EVersion)
  return {
    loadState: (recipient) =>
      Effect.flatMap(get(recipient.key), (found) => {
        const properties = Option.getOrUndefined(found)?.properties
        // An entity without a version was never saved by a box: someone else's properties may already be there.
        if (properties?.["EVersion"] === undefined) {
          return Effect.succeed({ state: options.initial(recipient), eversion: EVersion.make(0) })
        }
        return Effect.mapError(
          Effect.flatMap(codec.decode(properties["State"]), (state) =>
            mapAtOnce(decodeVersion(properties["EVersion"]), (eversion) => ({ state, eversion }))),
          (cause) =>
            new StateDecodeError({ recipient: recipient.key, cause })
        )
      }),
    prepareMutation: options.prepareMutation,
    saveState: (state, eversion, { key }) =>
      Effect.flatMap(encodeState(codec.encode, state, key), (text) => saveEntity(key, text, eversion))
  }
}

/** A state that does not fit its own schema is a mistake of the processor, not a failure that a caller can act on. */
const encodeState = <S>(
  encode: (state: S) => Effect.Effect<string, Schema.SchemaError>,
  state: S,
  key: Key.Key
): Effect.Effect<string> =>
  Effect.catch(
    encode(state),
    (cause) =>
      Effect.die(
        new Error(`The new state of ${key} does not fit the state schema of its box: ${cause.message}`, { cause })
      )
  )

const saveEntity = (
  key: Key.Key,
  state: string,
  eversion: EVersion
): Effect.Effect<void, DatastoreError, Datastore> =>
  Effect.flatMap(get(key), (found) => {
    const before = Option.getOrUndefined(found)
    const unindexed = before?.unindexed === "all" ? "all" : new Set([...before?.unindexed ?? [], "State", "EVersion"])
    return put([{ key, properties: { ...before?.properties, EVersion: eversion, State: state }, unindexed }])
  })
