/**
 * Faults of a database: lost requests, lost responses, commits that land late, contention, failed and slow operations.
 *
 * Faults come by rate, drawn from a seed, or by name: "the next commit", "the second lookup that reads this key". The
 * nemesis of every simulation, and the way to script one rare order of events.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { Backend, CommitRequest } from "../Backend.ts"
import * as Datastore from "../Datastore.ts"
import { Aborted, ContentionError, DatastoreError, OutcomeUnknown, Unavailable } from "../EventboxError.ts"
import { type Call, keysOf } from "./Recorder.ts"

/**
 * What runs around an operation; see {@link around}.
 *
 * @category models
 * @since 0.1.0
 */
export interface AroundOptions {
  /** Runs before the operation takes effect, as if the request had travelled that long. */
  readonly before?: Effect.Effect<void> | undefined
  /** Runs after the operation took effect, before its caller learns of it. */
  readonly after?: Effect.Effect<void> | undefined
}

/**
 * What can be done to any operation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Around extends AroundOptions {
  readonly _tag: "Around"
}

/**
 * How long an operation is under way; see {@link delay}.
 *
 * @category models
 * @since 0.1.0
 */
export interface DelayOptions {
  /** Until it reaches the database; no time unless given. */
  readonly before?: Duration.Input | undefined
  /** Until its caller learns of it; no time unless given. */
  readonly after?: Duration.Input | undefined
}

/**
 * What can go wrong with a lookup or a query.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadFault = Around | { readonly _tag: "ReadFailure" }

/**
 * What can go wrong with a commit.
 *
 * @category models
 * @since 0.1.0
 */
export type CommitFault =
  | Around
  | { readonly _tag: "RequestLost" }
  | { readonly _tag: "ResponseLost" }
  | { readonly _tag: "Late"; readonly lateness?: Duration.Input | undefined }
  | { readonly _tag: "Contention" }

/**
 * Fails a lookup or a query with `DatastoreError`/`Unavailable`.
 *
 * @category faults
 * @since 0.1.0
 */
export const readFailure: ReadFault = { _tag: "ReadFailure" }

/**
 * Loses a commit before it lands: `DatastoreError`/`OutcomeUnknown`, and it never lands.
 *
 * @category faults
 * @since 0.1.0
 */
export const requestLost: CommitFault = { _tag: "RequestLost" }

/**
 * Loses the response of a commit: `DatastoreError`/`OutcomeUnknown`, after it landed or met contention.
 *
 * @category faults
 * @since 0.1.0
 */
export const responseLost: CommitFault = { _tag: "ResponseLost" }

/**
 * Holds a commit back: `DatastoreError`/`OutcomeUnknown` now, while it reaches the database later, where its
 * expectations are judged by what is stored then.
 *
 * **Details**
 *
 * It lands when `lateness` has passed on the `Clock`, or at `releaseLate`, whichever is first; without `lateness` only
 * then.
 *
 * @category faults
 * @since 0.1.0
 */
export const late = (lateness?: Duration.Input): CommitFault => ({ _tag: "Late", lateness })

/**
 * Fails a commit with `ContentionError`/`Aborted`; nothing is written.
 *
 * @category faults
 * @since 0.1.0
 */
export const contention: CommitFault = { _tag: "Contention" }

/**
 * Runs effects around an operation: another writer just before a commit, a pause between the effect of a read and its
 * answer.
 *
 * @category faults
 * @since 0.1.0
 */
export const around = (options: AroundOptions): Around => ({ _tag: "Around", ...options })

/**
 * Delays an operation on the `Clock`, on its way to the database and back.
 *
 * @category faults
 * @since 0.1.0
 */
export const delay = ({ after, before }: DelayOptions): Around =>
  around({
    before: before === undefined ? undefined : Effect.sleep(before),
    after: after === undefined ? undefined : Effect.sleep(after)
  })

/**
 * How often each fault happens by chance: probabilities from 0 to 1, 0 when absent.
 *
 * **Details**
 *
 * Those of one operation exclude each other, so their sum is at most 1; `delay` comes on top, once per way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rates {
  readonly readFailure?: number | undefined
  readonly requestLost?: number | undefined
  readonly responseLost?: number | undefined
  readonly late?: number | undefined
  readonly contention?: number | undefined
  readonly delay?: number | undefined
}

/**
 * Options of {@link make} and {@link layer}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** None by default: only faults that are asked for by name then happen. */
  readonly rates?: Rates | undefined
  /** Delays by chance take up to this long per way; 100 milliseconds by default. */
  readonly maxDelay?: Duration.Input | undefined
  /** Late commits by chance are up to this late; 1 second by default. */
  readonly maxLateness?: Duration.Input | undefined
}

/**
 * Which call a named fault waits for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  /** 1 for the next call that matches, which is the default, 2 for the one after it, and so on. */
  readonly nth?: number | undefined
  /** Counts only calls that pass; all of the operation by default. */
  readonly where?: ((call: Call) => boolean) | undefined
}

/**
 * A backend with faults, and what a test can do with it.
 *
 * @category services
 * @since 0.1.0
 */
export class Faulty extends Context.Service<Faulty, {
  readonly backend: Backend
  /**
   * Plans one fault. Calls are counted from now on. A call meets one fault at most: when two are due, the one that was
   * planned first happens, and the other one happens to the next call that matches.
   */
  readonly inject: <O extends Call["operation"]>(
    operation: O,
    fault: O extends "commit" ? CommitFault : ReadFault,
    target?: Target
  ) => Effect.Effect<void>
  /** Replaces the rates. */
  readonly setRates: (rates: Rates) => Effect.Effect<void>
  /** No more faults: rates become 0 and planned faults are dropped. Late commits that are held stay held. */
  readonly heal: Effect.Effect<void>
  /** How many faults are planned and have not happened. */
  readonly planned: Effect.Effect<number>
  /** How often each fault has happened, by its tag; `Delay` counts delays by chance. */
  readonly counts: Effect.Effect<Readonly<Record<FaultTag, number>>>
  /** The late commits that have not reached the database, in the order in which they were sent. */
  readonly held: Effect.Effect<ReadonlyArray<CommitRequest>>
  /** Lets every late commit reach the database now, in the order of sending, and tells what became of each. */
  readonly releaseLate: Effect.Effect<ReadonlyArray<Exit.Exit<void, ContentionError | DatastoreError>>>
}>()("eventbox/testing/Faulty") {}

/**
 * Names of what can happen.
 *
 * @category models
 * @since 0.1.0
 */
export type FaultTag = ReadFault["_tag"] | CommitFault["_tag"] | "Delay"

/**
 * Wraps a backend in faults.
 *
 * **Details**
 *
 * Chance is drawn from the `Random` of the fiber that runs this: one seed, one history. Late commits wait in the scope,
 * and those that are held when it closes never land.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (backend: Backend, options: Options = {}): Effect.Effect<Faulty["Service"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const nemesis = new Nemesis(backend, options, yield* Random.Random, yield* Effect.scope)
    return {
      backend: {
        lookup: (keys) => nemesis.read({ operation: "lookup", keys }, backend.lookup(keys)),
        query: (query) => nemesis.read({ operation: "query", query }, backend.query(query)),
        commit: (request) => nemesis.commit(request),
        limits: backend.limits
      },
      inject: (operation, fault, target = {}) =>
        Effect.sync(() => {
          const { nth = 1, where = () => true } = target
          nemesis.plan.push({ operation, fault, where, remaining: nth })
        }),
      setRates: (rates) =>
        Effect.sync(() => {
          nemesis.rates = rates
        }),
      heal: Effect.sync(() => {
        nemesis.rates = {}
        nemesis.plan.length = 0
      }),
      planned: Effect.sync(() => nemesis.plan.length),
      counts: Effect.sync(() => ({ ...nemesis.counts })),
      held: Effect.sync(() => Array.from(nemesis.held, ({ request }) => request)),
      releaseLate: Effect.suspend(() =>
        Effect.forEach(Array.from(nemesis.held), (one) => Effect.exit(nemesis.land(one)))
      )
    }
  })

/**
 * Puts faults between the provided `Datastore` and its backend.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Datastore.Datastore | Faulty, never, Datastore.Datastore> =>
  Layer.effectContext(Effect.gen(function*() {
    const { backend } = yield* Datastore.Datastore
    const faulty = yield* make(backend, options)
    const datastore = yield* Datastore.make(faulty.backend)
    return Context.make(Datastore.Datastore, datastore).pipe(Context.add(Faulty, faulty))
  }))

interface Planned {
  readonly operation: Call["operation"]
  readonly fault: ReadFault | CommitFault
  readonly where: (call: Call) => boolean
  remaining: number
}

interface Held {
  readonly request: CommitRequest
}

class Nemesis {
  readonly plan: Array<Planned> = []
  readonly held = new Set<Held>()
  readonly counts: Record<FaultTag, number> = {
    Around: 0,
    ReadFailure: 0,
    RequestLost: 0,
    ResponseLost: 0,
    Late: 0,
    Contention: 0,
    Delay: 0
  }
  rates: Rates
  private readonly backend: Backend
  private readonly random: (typeof Random.Random)["Service"]
  private readonly scope: Scope.Scope
  private readonly maxDelayMillis: number
  private readonly maxLatenessMillis: number

  constructor(backend: Backend, options: Options, random: (typeof Random.Random)["Service"], scope: Scope.Scope) {
    this.backend = backend
    this.random = random
    this.scope = scope
    this.rates = options.rates ?? {}
    this.maxDelayMillis = Duration.toMillis(Duration.fromInputUnsafe(options.maxDelay ?? "100 millis"))
    this.maxLatenessMillis = Duration.toMillis(Duration.fromInputUnsafe(options.maxLateness ?? "1 second"))
  }

  read<A>(call: Call, run: Effect.Effect<A, DatastoreError>): Effect.Effect<A, DatastoreError> {
    return Effect.suspend(() => {
      const fault = this.next(call) ?? this.draw([[this.rates.readFailure, () => readFailure]])
      if (fault?._tag !== "ReadFailure") return this.travel(fault, run)
      this.counts.ReadFailure++
      return this.travel(undefined, fail(call, new Unavailable({ detail: "injected" })))
    })
  }

  commit(request: CommitRequest): Effect.Effect<void, ContentionError | DatastoreError> {
    return Effect.suspend(() => {
      const call: Call = { operation: "commit", request }
      const fault = this.next(call) ?? this.draw<CommitFault>([
        [this.rates.requestLost, () => requestLost],
        [this.rates.responseLost, () => responseLost],
        [this.rates.late, () => late(this.random.nextDoubleUnsafe() * this.maxLatenessMillis)],
        [this.rates.contention, () => contention]
      ])
      const unknown = (detail: string) => fail(call, new OutcomeUnknown({ detail }))
      switch (fault?._tag) {
        case "RequestLost":
          this.counts.RequestLost++
          return this.travel(undefined, unknown("injected: the request was lost"))
        case "ResponseLost":
          this.counts.ResponseLost++
          return this.travel(
            undefined,
            Effect.andThen(Effect.exit(this.backend.commit(request)), unknown("injected: the response was lost"))
          )
        case "Late":
          this.counts.Late++
          return Effect.andThen(
            this.hold({ request }, fault.lateness),
            this.travel(undefined, unknown("injected: the request is late"))
          )
        case "Contention":
          this.counts.Contention++
          return this.travel(undefined, Effect.fail(new ContentionError({ reason: new Aborted({}) })))
        default:
          return this.travel(fault, this.backend.commit(request))
      }
    })
  }

  /** Lets a late commit reach the database, once. */
  land(one: Held): Effect.Effect<void, ContentionError | DatastoreError> {
    return Effect.suspend(() => this.held.delete(one) ? this.backend.commit(one.request) : Effect.void)
  }

  private hold(one: Held, lateness: Duration.Input | undefined): Effect.Effect<void> {
    this.held.add(one)
    if (lateness === undefined) return Effect.void
    return Effect.asVoid(Effect.forkIn(Effect.delay(Effect.exit(this.land(one)), lateness), this.scope))
  }

  /** The planned fault that this call meets. */
  private next(call: Call): ReadFault | CommitFault | undefined {
    const matching = this.plan.filter((one) => one.operation === call.operation && one.where(call))
    for (const one of matching) one.remaining--
    const due = matching.find((one) => one.remaining <= 0)
    if (due === undefined) return undefined
    this.plan.splice(this.plan.indexOf(due), 1)
    return due.fault
  }

  /** One draw decides between all faults that exclude each other, so that a history depends on few numbers. */
  private draw<F>(chances: ReadonlyArray<readonly [rate: number | undefined, fault: () => F]>): F | undefined {
    if (chances.every(([rate = 0]) => rate === 0)) return undefined
    let left = this.random.nextDoubleUnsafe()
    for (const [rate = 0, fault] of chances) {
      if (left < rate) return fault()
      left -= rate
    }
    return undefined
  }

  /** Runs an operation with what happens on its way and on its way back. */
  private travel<A, E>(fault: ReadFault | CommitFault | undefined, run: Effect.Effect<A, E>): Effect.Effect<A, E> {
    const planned = fault?._tag === "Around" ? fault : undefined
    if (planned !== undefined) this.counts.Around++
    const [before, after] = [planned?.before ?? this.drawDelay(), planned?.after ?? this.drawDelay()]
    if (before === undefined && after === undefined) return run
    return Effect.flatMap(
      Effect.andThen(before ?? Effect.void, Effect.exit(run)),
      (exit) => Effect.andThen(after ?? Effect.void, exit)
    )
  }

  private drawDelay(): Effect.Effect<void> | undefined {
    const chance = this.draw([[this.rates.delay, () => this.random.nextDoubleUnsafe()]])
    if (chance === undefined) return undefined
    this.counts.Delay++
    return Effect.sleep(chance * this.maxDelayMillis)
  }
}

const fail = (call: Call, reason: OutcomeUnknown | Unavailable): Effect.Effect<never, DatastoreError> => {
  const keys = keysOf(call)
  return Effect.fail(new DatastoreError({ operation: call.operation, reason, ...(keys.length === 0 ? {} : { keys }) }))
}
