/**
 * Assertions on events that wait: what a program emitted, and what it did not.
 *
 * Each is an effect that fails with {@link OutstandingFailure}, whose message lists what waits; any test runner reports
 * it. Nothing waits for time, so they work on a clock that stands still.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Formatter from "effect/Formatter"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Datastore } from "../Datastore.ts"
import { isRecord } from "../Entity.ts"
import * as Eventbox from "../Eventbox.ts"
import type { DatastoreError, EventDecodeError } from "../EventboxError.ts"
import type { Event, Recipient, ServiceClass } from "../Processor.ts"

/**
 * Which events are meant: a predicate of value and id, or a value of which as much as is given must be equal.
 *
 * @category models
 * @since 0.1.0
 */
export type Matching<A> = ((value: A, id: string) => boolean) | Like<A>

/**
 * A value, or a part of it.
 *
 * **Details**
 *
 * Of a plain object the properties that are given must be equal, or be like it in the same way; arrays and all else are
 * compared as a whole.
 *
 * @category models
 * @since 0.1.0
 */
export type Like<A> = A extends ReadonlyArray<unknown> | Uint8Array ? A
  : A extends object ? { readonly [K in keyof A]?: Like<A[K]> | undefined }
  : A

/**
 * How many events are expected; see {@link assertEmitted}.
 *
 * @category models
 * @since 0.1.0
 */
export interface EmittedOptions {
  /** Exactly as many; at least one unless given. */
  readonly times?: number | undefined
}

/**
 * What waits is not what was expected.
 *
 * @category errors
 * @since 0.1.0
 */
export class OutstandingFailure
  extends Schema.TaggedError<OutstandingFailure>("eventbox/testing/OutstandingFailure")("OutstandingFailure", {
    /** Key of the recipient, as text. */
    recipient: Schema.String,
    /** What was expected. */
    expected: Schema.String,
    /** The events that wait, as text, oldest first. */
    outstanding: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    const lines = this.outstanding.map((line) => `  ${line}`)
    const listed = lines.length === 0 ? ["Nothing waits."] : [`${lines.length} wait:`, ...lines]
    return [`${this.recipient}: expected ${this.expected}.`, ...listed].join("\n")
  }
}

/**
 * The events that wait for a recipient, oldest first.
 *
 * **Details**
 *
 * Fails with `EventDecodeError` for the oldest event that does not decode, and with `DatastoreError` as `Eventbox.list`
 * does.
 *
 * @see `Eventbox.list`, which gives what does not decode beside the rest
 *
 * @category accessors
 * @since 0.1.0
 */
export const events = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>
): Effect.Effect<ReadonlyArray<Event<A>>, DatastoreError | EventDecodeError, Datastore> =>
  Effect.flatMap(Eventbox.list(box, recipient), (listed) => Effect.fromResult(Result.all(listed)))

/**
 * Asserts that an event waits, and returns those that match, oldest first.
 *
 * **Details**
 *
 * Any event of the recipient will do without `matching`. With `times` there must be exactly as many.
 *
 * Fails with {@link OutstandingFailure} otherwise, and as {@link events} does.
 *
 * **Example** (A request that emits)
 *
 * ```ts
 * import { Eventbox, Processor } from "effect-eventbox"
 * import * as InMemory from "effect-eventbox/layers/InMemory"
 * import { Outstanding } from "effect-eventbox/testing"
 * import { Effect, Schema } from "effect"
 *
 * class Mail extends Processor.Service<Mail>()("app/Mail", {
 *   kind: "Mail",
 *   state: Schema.Int,
 *   event: Schema.TaggedUnion({ Send: { to: Schema.String, text: Schema.String }, Stop: {} })
 * }) {}
 *
 * const outbox = Mail.recipient("outbox")
 * const signUp = Eventbox.emit(Mail, outbox, { _tag: "Send", to: "ada@example.org", text: "Welcome" })
 *
 * const program = Effect.gen(function*() {
 *   yield* signUp
 *   yield* Outstanding.assertEmitted(Mail, outbox, { _tag: "Send", to: "ada@example.org" })
 *   yield* Outstanding.assertNone(Mail, outbox, ({ _tag }) => _tag === "Stop")
 *   const failure = yield* Effect.flip(Outstanding.assertNone(Mail, outbox, { _tag: "Send" }))
 *   console.log(failure.message.replace(/[0-9a-f-]{36}/, "…"))
 * })
 *
 * await Effect.runPromise(Effect.provide(program, InMemory.layer))
 * // Output:
 * // Mail,"outbox": expected no event like {"_tag":"Send"}.
 * // 1 wait:
 * //   …  {"_tag":"Send","to":"ada@example.org","text":"Welcome"}
 * ```
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertEmitted = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  matching?: Matching<A>,
  options: EmittedOptions = {}
): Effect.Effect<ReadonlyArray<Event<A>>, OutstandingFailure | DatastoreError | EventDecodeError, Datastore> =>
  Effect.flatMap(events(box, recipient), (all) => {
    const found = all.filter((event) => matches(event, matching))
    const { times } = options
    const isEnough = times === undefined ? found.length > 0 : found.length === times
    if (isEnough) return Effect.succeed(found)
    const amount = times === undefined ? "an event" : times === 1 ? "one event" : `${times} events`
    return fail(recipient, amount + describe(matching), all)
  })

/**
 * Asserts that no event waits, or none that matches.
 *
 * **Details**
 *
 * Fails with {@link OutstandingFailure} otherwise, and as {@link events} does.
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertNone = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  matching?: Matching<A>
): Effect.Effect<void, OutstandingFailure | DatastoreError | EventDecodeError, Datastore> =>
  Effect.flatMap(
    events(box, recipient),
    (all) =>
      all.some((event) => matches(event, matching))
        ? fail(recipient, `no event${describe(matching)}`, all)
        : Effect.void
  )

/**
 * Asserts that the events which wait have these values and no others, in any order.
 *
 * **Details**
 *
 * Values are compared as a whole (`Equal.equals`). Fails with {@link OutstandingFailure} otherwise, and as {@link
 * events} does.
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertExactly = <Self, S, A, E>(
  box: ServiceClass<Self, any, S, A, E>,
  recipient: Recipient<NoInfer<Self>>,
  values: ReadonlyArray<NoInfer<A>>
): Effect.Effect<void, OutstandingFailure | DatastoreError | EventDecodeError, Datastore> =>
  Effect.flatMap(events(box, recipient), (all) => {
    const left = Array.from(all)
    const missing = values.filter((value) => {
      const at = left.findIndex((event) => Equal.equals(event.value, value))
      if (at !== -1) left.splice(at, 1)
      return at === -1
    })
    if (missing.length === 0 && left.length === 0) return Effect.void
    const listed = values.map((value) => Formatter.format(value)).join(", ")
    return fail(recipient, values.length === 0 ? "no event" : `exactly the events ${listed}`, all)
  })

const matches = <A>({ id, value }: Event<A>, matching: Matching<A> | undefined): boolean => {
  if (matching === undefined) return true
  return typeof matching === "function"
    ? (matching as (value: A, id: string) => boolean)(value, id)
    : isLike(value, matching)
}

const isLike = (value: unknown, pattern: unknown): boolean => {
  if (!isRecord(pattern) || typeof value !== "object" || value === null) return Equal.equals(value, pattern)
  return Object.keys(pattern).every((name) => isLike((value as Record<string, unknown>)[name], pattern[name]))
}

const describe = (matching: unknown): string => {
  if (matching === undefined) return ""
  return typeof matching === "function" ? " that matches" : ` like ${Formatter.format(matching)}`
}

const fail = <Self, A>({ key }: Recipient<Self>, expected: string, all: ReadonlyArray<Event<A>>) =>
  Effect.fail(
    new OutstandingFailure({
      recipient: key.toString(),
      expected,
      outstanding: all.map(({ id, value }) => `${id}  ${Formatter.format(value)}`)
    })
  )
