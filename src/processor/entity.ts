/**
 * A state in the recipient's own entity: the properties `State`, JSON text, and `EVersion`.
 *
 * States are compared by their text, with the text that was read: what a schema stores is what counts, also where two
 * values are equal by JavaScript's rules, or one object was changed in place. Both properties are written as a patch,
 * so that the others stay as they are stored, or as the same batch has written them.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { type Datastore, get, patch } from "../Datastore.ts"
import type { Properties } from "../Entity.ts"
import { type DatastoreError, StateDecodeError } from "../EventboxError.ts"
import { messageOf } from "../ground/foreign.ts"
import { Transaction } from "../ground/transaction.ts"
import type { Key } from "../Key.ts"
import { flatMapAtOnce, type JsonCodec, mapAtOnce, parse, toText } from "./codec.ts"
import { mayHaveExcess, withExcess } from "./excess.ts"

/** Where a processor carries its {@link StateText}: an own property, which a copy of the processor has as well. */
export const StateTextId: unique symbol = Symbol.for("~eventbox/Processor/stateText")

/** Where a batch carries the text of the state that it has loaded. */
const StoredId: unique symbol = Symbol.for("~eventbox/Processor/stored")

/** The texts of what `loadState` has returned, whose form is the user's. */
const texts = new WeakMap<object, Stored>()

/** What was read, beside the state that came of it. */
interface Stored {
  /** `undefined` for an initial state that does not fit its schema. */
  readonly text: string | undefined
  /** The text as JSON; `undefined` for an initial state, of which nothing is stored. */
  readonly json: Schema.Json | undefined
}

/** What `loadState` returns. */
interface Read<out S, out V> {
  readonly state: S
  readonly eversion: V
}

/** A state and its version, as a batch carries them. */
export interface Loaded<out S, out V extends number = number> extends Read<S, V> {
  /** Only of a state that {@link makeEntityProcessor} has loaded. */
  readonly [StoredId]: Stored | undefined
}

/** What `loadState` has returned, with its text where it has one. */
export const carryText = <S, V extends number>(read: Read<S, V>): Loaded<S, V> => ({
  state: read.state,
  eversion: read.eversion,
  [StoredId]: texts.get(read)
})

const noteText = <S, V>(read: Read<S, V>, text: string | undefined, json: Schema.Json | undefined): Read<S, V> => {
  texts.set(read, { text, json })
  return read
}

/** What a batch asks beside the functions of a processor. */
export interface StateText<in out S> {
  /** The declaration whose state this is. */
  readonly declaration: object
  /** The function that it stands for: a processor may have one of its own in its place. */
  readonly saveState: unknown
  /**
   * The text to be saved of a state; `undefined` when it says what is stored. Dies for a state that does not fit its
   * schema, or that was changed in place.
   */
  readonly textToSave: (
    loaded: Loaded<S>,
    state: S,
    key: Key,
    touched: boolean
  ) => Effect.Effect<string | undefined>
  /** The text of a state, without what its schema does not know. */
  readonly textOf: (state: S, key: Key) => Effect.Effect<string>
  readonly saveText: (text: string, eversion: number, key: Key) => Effect.Effect<void, DatastoreError, Datastore>
  /** Writes what is stored over what a side effect has put in its place. */
  readonly keep: (loaded: Loaded<S>, key: Key) => Effect.Effect<void, DatastoreError, Datastore | Transaction>
}

/** Whether a state came as the entity processor has loaded it: a processor may have made another of it. */
export const hasText = ({ [StoredId]: stored }: Loaded<unknown>): boolean => stored !== undefined

/** What the state of a recipient needs. */
interface Options<S, V extends number> {
  readonly box: string
  readonly declaration: object
  readonly codec: JsonCodec<S>
  readonly decodeVersion: (input: unknown) => Effect.Effect<V, unknown>
  readonly excess: "preserve" | "drop"
}

/** A state as JSON and as text. */
interface Encoded {
  readonly json: Schema.Json
  readonly text: string
}

const saveText = (text: string, eversion: number, key: Key) =>
  patch(key, { EVersion: eversion, State: text }, { unindexed: ["EVersion", "State"] })

/** The functions of a processor that load and save. */
export const makeEntityProcessor = <S, V extends number>(options: Options<S, V>) => {
  const { box, codec, excess } = options
  const encode = (state: S, key: Key): Effect.Effect<Encoded> => {
    const encoded = flatMapAtOnce(codec.encode(state), (json) => mapAtOnce(toText(json), (text) => ({ json, text })))
    const isDone = Exit.isExit(encoded) && Exit.isSuccess(encoded as Exit.Exit<Encoded, unknown>)
    // At once, as nearly always.
    return isDone
      ? encoded as unknown as Effect.Effect<Encoded>
      : Effect.catch(encoded, (cause) => unfit(box, key, cause))
  }
  /** What is stored as this schema writes it, anew from its text: parts of a decoded state may be parts of the JSON. */
  const known = (text: string, key: Key): Effect.Effect<Encoded> =>
    Effect.flatMap(Effect.orDie(codec.decode(parse(text)!)), (state) => encode(state, key))
  const needsMerge = ({ json }: Stored, next: Encoded): boolean =>
    excess === "preserve" && json !== undefined && mayHaveExcess(json, next.json)
  const merge = Effect.fnUntraced(function*(stored: Stored, next: Encoded, key: Key): Effect.fn.Return<string> {
    if (!needsMerge(stored, next)) return next.text
    const before = yield* known(stored.text!, key)
    return JSON.stringify(withExcess(parse(stored.text!)!, before.json, next.json))
  })
  const compare = Effect.fnUntraced(function*(
    stored: Stored,
    next: Encoded,
    key: Key,
    isSame: boolean
  ): Effect.fn.Return<string | undefined> {
    const text = yield* merge(stored, next, key)
    if (text === stored.text) return undefined
    if (!isSame) return text
    // The state was handed back. What is stored may only be written in another way, by another version of the schema.
    if (stored.text === undefined) return undefined
    if (stored.json === undefined) return yield* changedInPlace(box, key)
    const [one, two] = [yield* known(stored.text, key), yield* known(stored.text, key)]
    // A schema that decodes one text to two states cannot be held to it.
    return one.text === next.text || one.text !== two.text ? undefined : yield* changedInPlace(box, key)
  })
  const saveState = (state: S, eversion: V, { key }: { readonly key: Key }) =>
    Effect.gen(function*() {
      const next = yield* encode(state, key)
      // Mostly remembered: the state was loaded from it.
      const text = textIn(Option.getOrUndefined(yield* get(key))?.properties)
      const json = text === undefined ? undefined : parse(text)
      yield* saveText(yield* merge({ text, json }, next, key), eversion, key)
    })
  const stateText: StateText<S> = {
    declaration: options.declaration,
    saveState,
    textOf: (state, key) => mapAtOnce(encode(state, key), ({ text }) => text),
    textToSave: ({ [StoredId]: stored, state: before }, state, key, touched) => {
      const isSame = Object.is(before, state)
      if (isSame && !touched && (typeof state !== "object" || state === null)) return Effect.undefined
      return flatMapAtOnce(encode(state, key), (next) => {
        if (!touched && next.text === stored!.text) return Effect.undefined
        // Another state, as mostly.
        if (!isSame && !needsMerge(stored!, next)) return Effect.succeed(next.text)
        return touched ? merge(stored!, next, key) : compare(stored!, next, key, isSame)
      })
    },
    saveText,
    keep: ({ [StoredId]: stored, eversion }, key) =>
      stored?.json === undefined ? Effect.void : Effect.flatMap(Transaction, ({ writes }) => {
        const write = writes.get(key.toString())
        const isLost = write !== undefined && write._tag !== "Delete" &&
          (write._tag !== "Patch" || textIn(write.entity.properties) !== undefined)
        return isLost ? saveText(stored.text!, eversion, key) : Effect.void
      })
  }
  return { loadState: makeLoad(options, encode), saveState, [StateTextId]: stateText }
}

const makeLoad = <S, V extends number>(
  { codec, decodeVersion }: Options<S, V>,
  encode: (state: S, key: Key) => Effect.Effect<Encoded>
) =>
(
  { key }: { readonly key: Key },
  initial: () => Read<S, V>
): Effect.Effect<Read<S, V>, DatastoreError | StateDecodeError, Datastore> =>
  Effect.flatMap(get(key), (found): Effect.Effect<Read<S, V>, StateDecodeError> => {
    const { EVersion: version, State: text } = Option.getOrUndefined(found)?.properties ?? {}
    if (version === undefined && text === undefined) {
      const read = initial()
      // Its text shows whether it is changed in place: it may be one object for all recipients.
      return Effect.map(
        Effect.exit(encode(read.state, key)),
        (exit) => noteText(read, Exit.isSuccess(exit) ? exit.value.text : undefined, undefined)
      )
    }
    if (version === undefined) {
      const detail = "the entity has State and no EVersion, so State is something else's, and would be overwritten"
      return Effect.fail(new StateDecodeError({ recipient: key, cause: new Error(detail) }))
    }
    const json = typeof text === "string" ? parse(text) : undefined
    const decoded = flatMapAtOnce(
      json === undefined ? codec.decodeText(text) : codec.decode(json),
      (state) => mapAtOnce(decodeVersion(version), (eversion) => noteText({ state, eversion }, text as string, json))
    )
    return Effect.mapError(decoded, (cause) => new StateDecodeError({ recipient: key, cause }))
  })

/** The state that properties hold, if they hold one. */
const textIn = (properties: Properties | undefined): string | undefined => {
  const text = properties?.["State"]
  return typeof text === "string" ? text : undefined
}

/** A state that does not fit its own schema is a mistake of the processor, not a failure that a caller can act on. */
const unfit = (box: string, key: Key, cause: unknown): Effect.Effect<never> => {
  const message = `The new state of ${key} does not fit the state schema of ${box}: ${messageOf(cause)}`
  return Effect.die(new Error(message, { cause }))
}

const changedInPlace = (box: string, key: Key): Effect.Effect<never> =>
  Effect.die(
    new Error(
      `The state of ${key} was changed in place, and a transition of ${box} leads to the same object: nothing was ` +
        "written. Make a new state, or give the transition `touch: true`."
    )
  )
