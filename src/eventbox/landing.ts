/**
 * What follows a batch that has landed: its post-process effects run, also when whoever asked for the batch is gone.
 *
 * An interruption does not undo a commit. So the result of a batch does not travel through code that can be
 * interrupted: the commit leaves it in a {@link Landing}, inside its uninterruptible region, and what was left there is
 * done once the call has ended, however it did.
 */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type { Datastore } from "../Datastore.ts"
import type { Restore } from "../datastore/doubt.ts"
import type { StoreError } from "../EventboxError.ts"
import * as Metrics from "../EventboxMetrics.ts"
import type { PostProcess, Recipient } from "../Processor.ts"

/** How post-process effects are run. */
export interface PostProcessOptions<E> {
  /** When to run a failed one again. */
  readonly postProcess?: Schedule.Schedule<unknown, E | StoreError> | undefined
  /** How long they may take once nobody waits for them any more; 10 seconds unless given. */
  readonly postProcessGrace?: Duration.Input | undefined
}

/** What the batches of one call have landed. */
export interface Landing<E> {
  readonly recipient: Recipient<any>
  /** Post-process effects of what has landed, in order. */
  readonly effects: Array<PostProcess<E>>
  /** Whether the call has ended: what lands now, its outcome having been in doubt, must see to its effects itself. */
  over: boolean
  /** Runs effects with the services of the call, in whatever fiber. */
  readonly runLate: (effects: ReadonlyArray<PostProcess<E>>) => Effect.Effect<void>
}

/** What became of post-process effects. */
export interface PostProcessed<E> {
  /** How many succeeded. */
  readonly succeeded: number
  /** Causes of those that failed in spite of their schedule. */
  readonly failures: ReadonlyArray<Cause.Cause<E | StoreError>>
}

const defaultGrace = "10 seconds"

/**
 * Runs a call that may land batches, then the post-process effects of all that landed, in order: also when the call
 * failed afterwards or was interrupted.
 *
 * An interruption leaves the effects the time of `postProcessGrace`, the one that is running included; those that have
 * not ended then are dropped. Without one they take as long as they take.
 */
export const withPostProcess = <A, X, E, R>(
  recipient: Recipient<any>,
  options: PostProcessOptions<E> | undefined,
  call: (landing: Landing<E>) => Effect.Effect<A, X, R>
): Effect.Effect<readonly [A, PostProcessed<E>], X, R | Datastore> =>
  Effect.contextWith((context: Context.Context<R | Datastore>) => {
    const landing = makeLanding(recipient, options, context)
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(toEnd(landing, call(landing)))), (exit) => {
        const { effects } = landing
        const done = effects.length === 0
          ? Effect.succeed(nothing)
          : new Run(recipient, options, effects).runAll(restore)
        return Effect.flatMap(done, (result) => Exit.map(exit, (value) => [value, result] as const))
      })
    )
  })

/**
 * Runs a call that returns the post-process effects of what it lands; they run here only when it does not return.
 *
 * Between this and the caller is a last step in which an interruption still loses the result: it cannot be told here.
 */
export const handingOver = <A, X, E, R>(
  recipient: Recipient<any>,
  call: (landing: Landing<E>) => Effect.Effect<A, X, R>
): Effect.Effect<A, X, R | Datastore> =>
  Effect.contextWith((context: Context.Context<R | Datastore>) => {
    const landing = makeLanding<E>(recipient, undefined, context)
    return Effect.onExit(toEnd(landing, call(landing)), (exit) => {
      const { effects } = landing
      return Exit.isSuccess(exit) || effects.length === 0
        ? Effect.void
        : Effect.asVoid(new Run(recipient, undefined, effects).runAll(Effect.interruptible))
    })
  })

const nothing: PostProcessed<never> = { succeeded: 0, failures: [] }

const makeLanding = <E>(
  recipient: Recipient<any>,
  options: PostProcessOptions<E> | undefined,
  context: Context.Context<Datastore>
): Landing<E> => ({
  recipient,
  effects: [],
  over: false,
  runLate: (effects) => Effect.provideContext(new Run(recipient, options, effects).runLate, context)
})

/** Runs a call to its end, after which what lands late sees to its effects itself. */
const toEnd = <A, X, R>(landing: Landing<any>, call: Effect.Effect<A, X, R>): Effect.Effect<A, X, R> =>
  Effect.onExit(call, () => {
    landing.over = true
    return Effect.void
  })

/** One run of post-process effects. */
class Run<E> {
  readonly recipient: Recipient<any>
  readonly options: PostProcessOptions<E> | undefined
  readonly effects: ReadonlyArray<PostProcess<E>>
  readonly failures: Array<Cause.Cause<E | StoreError>> = []
  succeeded = 0
  isCut = false

  constructor(
    recipient: Recipient<any>,
    options: PostProcessOptions<E> | undefined,
    effects: ReadonlyArray<PostProcess<E>>
  ) {
    this.recipient = recipient
    this.options = options
    this.effects = effects
  }

  /** For whoever waits for the effects, in an uninterruptible region: an interruption begins the grace. */
  runAll(restore: Restore): Effect.Effect<PostProcessed<E>, never, Datastore> {
    // A fiber of their own: an interruption of this one must not hit the effect that is running.
    return Effect.flatMap(
      Effect.forkDetach(inOrder(this), { startImmediately: true }),
      (fiber) =>
        Effect.exit(restore(Fiber.await(fiber))).pipe(
          Effect.flatMap((waited) => Exit.isSuccess(waited) ? Effect.void : this.endWithin(fiber)),
          Effect.andThen(Effect.suspend(() => this.report))
        )
    )
  }

  /** For nobody: within the grace, in a fiber that may be interrupted, which drops them. */
  get runLate(): Effect.Effect<void, never, Datastore> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(
        Effect.forkDetach(inOrder(this), { startImmediately: true }),
        (fiber) =>
          Effect.exit(restore(this.endWithin(fiber))).pipe(
            Effect.andThen(Effect.suspend(() => {
              this.cut(fiber)
              return this.report
            })),
            Effect.asVoid
          )
      )
    )
  }

  endWithin(fiber: Fiber.Fiber<void>): Effect.Effect<void> {
    const grace = Duration.fromInputUnsafe(this.options?.postProcessGrace ?? defaultGrace)
    return Effect.map(Effect.timeoutOption(Fiber.await(fiber), grace), (ended) => {
      if (Option.isNone(ended)) this.cut(fiber)
    })
  }

  cut(fiber: Fiber.Fiber<void>): void {
    if (fiber.pollUnsafe() !== undefined) return
    this.isCut = true
    // Not awaited: the time is up, whatever the effect still does about it.
    fiber.interruptUnsafe()
  }

  get report(): Effect.Effect<PostProcessed<E>> {
    const { failures, recipient, succeeded } = this
    // Cut off, or behind one that ended their fiber.
    const dropped = this.effects.length - succeeded - failures.length
    const counted = Metrics.update(
      recipient.monitoringString,
      ...Metrics.counts(Metrics.postProcess, { success: succeeded, failure: failures.length, dropped })
    )
    const warned = dropped === 0 ? Effect.void : Effect.logWarning("Post-process effects were dropped").pipe(
      Effect.annotateLogs({ "eventbox.recipient": recipient.key.toString(), "eventbox.dropped": dropped })
    )
    return Effect.as(Effect.andThen(counted, warned), { succeeded, failures })
  }
}

const inOrder = Effect.fnUntraced(function*<E>(run: Run<E>): Effect.fn.Return<void, never, Datastore> {
  const schedule = run.options?.postProcess
  for (const effect of run.effects) {
    const exit = yield* Effect.exit(schedule === undefined ? effect : Effect.retry(effect, schedule))
    // What was cut off is counted already.
    if (run.isCut) return
    if (Exit.isSuccess(exit)) {
      run.succeeded++
      continue
    }
    run.failures.push(exit.cause)
    yield* Effect.logWarning("A post-process effect failed", exit.cause).pipe(
      Effect.annotateLogs({ "eventbox.recipient": run.recipient.key.toString() })
    )
  }
})
