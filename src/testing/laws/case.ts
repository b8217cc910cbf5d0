/**
 * What one run of the laws of a processor is made of, drawn at random and shrunk: events, and how the state came about.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { messageOf } from "../../ground/foreign.ts"
import type { PayloadCodec } from "../../Processor.ts"
import { broken, type ShownEvent } from "./broken.ts"

/** One run as it is drawn. */
export interface Draw<A> {
  /**
   * Few values, so that many events of a run are equal: what a processor calls garbage, it calls so beside an equal.
   */
  readonly values: ReadonlyArray<A>
  /** Batches that lead to the state, as places in `values`. */
  readonly history: ReadonlyArray<ReadonlyArray<number>>
  /** The events that wait. */
  readonly waiting: ReadonlyArray<number>
  /** Seeds the histories of the library. */
  readonly walk: number
}

/** An event of a run. It is decoded anew for every call, as a listing does. */
export interface CaseEvent extends ShownEvent {
  readonly bytes: Uint8Array
}

/** Batches that lead to the state, at most. */
const maxBatches = 3

/** Runs with at most `maxEvents` waiting events. */
export const arbitrary = <A>(event: Arbitrary.Arbitrary<A>, maxEvents: number): Arbitrary.Arbitrary<Draw<A>> => {
  const places = Arbitrary.array(place, { maxLength: maxEvents })
  return Arbitrary.all({
    values: Arbitrary.array(event, { minLength: 1, maxLength: maxEvents }),
    history: Arbitrary.array(places, { maxLength: maxBatches }),
    waiting: places,
    walk: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999_999 })))
  })
}

const place = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 })))

/**
 * Events from the schema of a box; none with lone surrogates, which no entity can hold.
 *
 * A box may store a string of an event in a property or a key, and its senders are the ones to keep such strings out.
 */
export const fromSchema = <A>(schema: Schema.Codec<A, any>): Arbitrary.Arbitrary<A> => {
  const encode = Schema.encodeUnknownOption(
    Schema.fromJsonString(Schema.toCodecJson(schema)) as Schema.Codec<A, string>
  )
  return Arbitrary.filter(Arbitrary.schema(schema), (value) => {
    const text = encode(value)
    return text._tag === "None" || !loneSurrogate.test(text.value)
  })
}

/** As `JSON.stringify` writes it. */
const loneSurrogate = /\\ud[89a-f][0-9a-f]{2}/i

const textDecoder = new TextDecoder()

/** Encodes what was drawn; ids tell the waiting events, `e1` and so on, from those of the history, `h1` and so on. */
export const encode = Effect.fnUntraced(function*(draw: Draw<unknown>, codec: PayloadCodec<any>) {
  const encoded: Array<Uint8Array> = []
  for (const value of draw.values) {
    const bytes = yield* Effect.catch(codec.encode(value), (cause) => notAnEvent("encode", cause))
    yield* Effect.catch(codec.decode(bytes), (cause) => notAnEvent("decode again", cause))
    encoded.push(bytes)
  }
  const event = (id: string, at: number): CaseEvent => {
    const bytes = encoded[at % encoded.length]!
    return { id, bytes, text: textDecoder.decode(bytes) }
  }
  let serial = 0
  return {
    history: draw.history.map((batch) => batch.map((at) => event(`h${++serial}`, at))),
    waiting: draw.waiting.map((at, index) => event(`e${index + 1}`, at)),
    walk: draw.walk
  }
})

const notAnEvent = (what: string, cause: unknown) =>
  broken("Schema", `a generated event does not ${what} by the event schema of the box`, [messageOf(cause)], {}, cause)
