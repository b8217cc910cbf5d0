/**
 * A small fight: workers with clients of their own process one recipient at the same time.
 */
import { Effect, type Layer, Schedule, Schema } from "effect"
import type * as Datastore from "../../Datastore.ts"
import * as Eventbox from "../../Eventbox.ts"
import {
  ContentionError,
  DatastoreError,
  type EventDecodeError,
  isUnknownOutcome,
  type MailboxOwned,
  type StoreError
} from "../../EventboxError.ts"
import * as Processor from "../../Processor.ts"
import * as Outstanding from "../../testing/Outstanding.ts"
import { listed } from "./question.ts"

/**
 * What they fight over: numbers, of which every third keeps the state, so that only the set knows of its consumption.
 */
class Arena extends Processor.Service<Arena>()("verify/Arena", {
  kind: "Arena",
  state: Schema.Array(Schema.Int),
  event: Schema.Int
}) {}

/** Hears of every consumed event by a side effect; nobody processes it. */
class Echo extends Processor.Service<Echo>()("verify/Echo", { kind: "Echo", state: Schema.Int, event: Schema.Int }) {}

const arena = Arena.recipient("arena")
const echo = Echo.recipient("echo")

const keeps = (n: number): boolean => n % 3 === 0

const processor = Arena.toLayer(Arena.entity({
  initial: () => [],
  prepareMutation: (events, state) => {
    let next: ReadonlyArray<number> = state
    return Effect.succeed({
      transitions: events.map((event) => {
        if (!keeps(event.value)) next = [...next, event.value]
        return { events: [event], transitionTo: next, sideEffect: Eventbox.emit(Echo, echo, event.value) }
      })
    })
  }
}))

/** How large it is. */
export const size = { workers: 8, events: 40, maxEvents: 5, maxAttempts: 300 }

/** How it went. */
export interface Fought {
  readonly batches: number
  readonly lost: number
  /** What is wrong afterwards, in words. */
  readonly mistakes: ReadonlyArray<string>
}

type Failure = ContentionError | EventDecodeError | MailboxOwned | StoreError

/** Runs the fight; `client` makes one more client of the database. */
export const fight = (
  client: () => Layer.Layer<Datastore.Datastore, DatastoreError>
): Effect.Effect<Fought, Failure> =>
  Effect.gen(function*() {
    const all = Array.from({ length: size.events }, (_, index) => index + 1)
    const tally = { batches: 0, lost: 0, attempts: 0, sending: true }
    const send = Effect.forEach(all, (n) => {
      const emit = Eventbox.emit(Arena, arena, n, { id: `e${n}` })
      // Every fourth is sent twice with one id, which must change nothing.
      return n % 4 === 0 ? Effect.andThen(emit, emit) : emit
    }, { concurrency: 4, discard: true }).pipe(Effect.ensuring(Effect.sync(() => {
      tally.sending = false
    })))
    const work = Effect.gen(function*() {
      while (tally.attempts < size.maxAttempts) {
        const isLast = !tally.sending
        const batch = yield* untilItLands(tally, Eventbox.processBatch(Arena, arena, { maxEvents: size.maxEvents }))
        if (batch === undefined) return
        if (batch.consumed > 0) tally.batches++
        else if (isLast && !batch.truncated) return
        else yield* Effect.sleep("20 millis")
      }
    })
    yield* Effect.all([
      Effect.provide(send, client()),
      ...all.slice(0, size.workers).map(() => Effect.provide(work, client()))
    ], { concurrency: "unbounded", discard: true })
    const mistakes = yield* Effect.provide(inspect(all), client())
    const { attempts, batches, lost } = tally
    const gaveUp = attempts < size.maxAttempts ? [] : [`the workers were not done after ${attempts} attempts`]
    return { batches, lost, mistakes: [...gaveUp, ...mistakes] }
  }).pipe(Effect.provide(processor))

/** Tries a batch until it lands or all attempts are used up; a failed attempt has written nothing, or its events. */
const untilItLands = <A, E, R>(
  tally: { lost: number; attempts: number },
  batch: Effect.Effect<A, E, R>
): Effect.Effect<A | undefined, E, R> =>
  Effect.suspend(() => {
    tally.attempts++
    return batch
  }).pipe(
    Effect.tapError((error) =>
      Effect.sync(() => {
        if (error instanceof ContentionError) tally.lost++
      })
    ),
    Effect.retry({
      schedule: pauses,
      while: (error) => tally.attempts < size.maxAttempts && mayRepeat(error)
    }),
    Effect.catch((error) =>
      tally.attempts >= size.maxAttempts && mayRepeat(error) ? Effect.succeed(undefined) : Effect.fail(error)
    )
  )

const mayRepeat = (error: unknown): boolean =>
  error instanceof ContentionError ||
  (error instanceof DatastoreError && (error.isRetryable || isUnknownOutcome(error)))

const pauses = Schedule.min([Schedule.exponential("10 millis"), Schedule.spaced("500 millis")]).pipe(Schedule.jittered)

/** What is wrong with what the fight has left. */
const inspect = (all: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const { eversion, state } = yield* Eventbox.loadState(Arena, arena)
    const heard = (yield* Outstanding.events(Echo, echo)).map(({ value }) => value)
    const left = yield* Eventbox.list(Arena, arena)
    const changing = all.filter((n) => !keeps(n))
    return [
      ...compare("the state", state, changing),
      ...compare("the side effects", heard, all),
      ...(left.length === 0 ? [] : [`${left.length} events are left over`]),
      ...(eversion >= 1 && eversion <= changing.length ? [] : [`the state was saved ${eversion} times`])
    ]
  })

/** How numbers that should each be there once are not, in words. */
export const compare = (
  what: string,
  found: ReadonlyArray<number>,
  expected: ReadonlyArray<number>
): ReadonlyArray<string> => {
  const times = new Map<number, number>()
  for (const n of found) times.set(n, (times.get(n) ?? 0) + 1)
  const lost = expected.filter((n) => !times.has(n))
  const doubled = expected.filter((n) => (times.get(n) ?? 0) > 1)
  return [
    ...(lost.length === 0
      ? []
      : [`${what} lost ${lost.length} of ${expected.length} events (${listed(lost.map(String))})`]),
    ...(doubled.length === 0 ? [] : [`${what} doubled ${doubled.length} events (${listed(doubled.map(String))})`])
  ]
}
