/**
 * Values to JSON and back by a schema, with every way in which that can go wrong as a failure: schemas and values come
 * from users, and some throw, run out of stack, or have no JSON text at all.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"

/** At once, as an `Exit`, where the schema needs no fiber. Fails with a `SchemaError`, or with what was thrown. */
export interface JsonCodec<in out A> {
  readonly encode: (value: A) => Effect.Effect<Schema.Json, unknown>
  readonly decode: (json: Schema.Json) => Effect.Effect<A, unknown>
  /** What is wrong with a text that is not JSON. */
  readonly decodeText: (text: unknown) => Effect.Effect<A, unknown>
}

/** The codec of a schema. */
export const makeJsonCodec = <A>(schema: Schema.Codec<A, any>): JsonCodec<A> => {
  const json = Schema.toCodecJson(schema) as Schema.Codec<A, Schema.Json>
  const encode = Schema.encodeEffect(json)
  const decode = Schema.decodeEffect(json)
  const decodeText = Schema.decodeUnknownEffect(Schema.fromJsonString(json) as Schema.Codec<A, string>)
  return {
    encode: (value) => safely(encode, value),
    decode: (value) => safely(decode, value),
    decodeText: (text) => safely(decodeText, text)
  }
}

/** What a function throws or dies of, as its failure. */
export const safely = <I, A, E>(f: (input: I) => Effect.Effect<A, E>, input: I): Effect.Effect<A, unknown> => {
  try {
    const result: Effect.Effect<A, unknown> = f(input)
    if (!Exit.isExit(result)) return Effect.catchDefect(result, Effect.fail)
    if (Exit.isSuccess(result) || !Cause.hasDies(result.cause)) return result
    return Exit.fail(Cause.squash(result.cause))
  } catch (cause) {
    return Exit.fail(cause)
  }
}

/** As `Effect.map`, and without a fiber where there is a result already. */
export const mapAtOnce = <A, B, E>(effect: Effect.Effect<A, E>, f: (value: A) => B): Effect.Effect<B, E> =>
  Exit.isExit(effect) ? Exit.map(effect as Exit.Exit<A, E>, f) : Effect.map(effect, f)

/** As `Effect.flatMap`, and without a fiber where there is a result already. */
export const flatMapAtOnce = <A, B, E, E2>(
  effect: Effect.Effect<A, E>,
  f: (value: A) => Effect.Effect<B, E2>
): Effect.Effect<B, E | E2> =>
  Exit.isExit(effect) && Exit.isSuccess(effect as Exit.Exit<A, E>)
    ? f((effect as Exit.Success<A, E>).value)
    : Effect.flatMap(effect, f)

/** The text of a JSON value, if it has one that can be read back. */
export const toText = (json: Schema.Json): Effect.Effect<string, unknown> => {
  let text: string | undefined
  try {
    text = JSON.stringify(json)
  } catch (cause) {
    return Exit.fail(cause)
  }
  if (text === undefined) return Exit.fail(new Error(`${typeof json} has no JSON text`))
  if (isDeep(text)) return Exit.fail(new Error(`its JSON has more than ${maxDepth} levels, and may not decode again`))
  return Exit.succeed(text)
}

/** The value of a JSON text, `undefined` if it is none. */
export const parse = (text: string): Schema.Json | undefined => {
  try {
    return JSON.parse(text) as Schema.Json
  } catch {
    return undefined
  }
}

/** Levels of JSON. Decoders call themselves for each, and where one of them has little stack left, nobody knows. */
export const maxDepth = 500

/** Whether a JSON text has too many levels. */
const isDeep = (text: string): boolean => {
  // Each level takes two characters.
  if (text.length <= 2 * maxDepth) return false
  let depth = 0
  let deepest = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at)
        break
      case openBracket:
      case openBrace:
        if (++depth > deepest) deepest = depth
        break
      case closeBracket:
      case closeBrace:
        depth--
    }
  }
  return deepest > maxDepth
}

const [quote, backslash, openBracket, closeBracket, openBrace, closeBrace] = [34, 92, 91, 93, 123, 125]

/** Where the string ends that begins at a place. */
const endOfString = (text: string, from: number): number => {
  let at = text.indexOf("\"", from + 1)
  while (isEscaped(text, at)) at = text.indexOf("\"", at + 1)
  return at
}

const isEscaped = (text: string, at: number): boolean => {
  let count = 0
  while (text.charCodeAt(at - 1 - count) === backslash) count++
  return count % 2 === 1
}
