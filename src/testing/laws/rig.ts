/**
 * A processor on a store of its own, with every call of it watched: what it writes when it may not, what it changes
 * under the caller's hands, what it decides when asked twice, what it reads back of what it saved.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import { Random } from "effect/Random"
import * as References from "effect/References"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Backend } from "../../Backend.ts"
import * as Datastore from "../../Datastore.ts"
import { misuse } from "../../eventbox/decision.ts"
import { dropNoops, saveChanged } from "../../eventbox/saving.ts"
import { Ids, makeSeeded } from "../../Ids.ts"
import * as InMemory from "../../layers/InMemory.ts"
import {
  type Event,
  type EVersion,
  isPrepareFailure,
  type Mutation,
  type Processor,
  type Recipient,
  type ServiceClass,
  type Transition
} from "../../Processor.ts"
import { carryText, type Loaded } from "../../processor/entity.ts"
import { describeCall } from "../text/table.ts"
import { makeClock, makeRandom } from "../virtual/turns.ts"
import { Broken, type Name } from "./broken.ts"
import type { CaseEvent } from "./case.ts"
import { noteRewrites, type Rewritten } from "./rewrites.ts"

/** What is checked, and how strictly. */
export interface Subject<Self, S, A, E> {
  readonly box: ServiceClass<Self, any, S, A, E>
  readonly processor: Processor<Self, S, A, E>
  readonly recipient: Recipient<Self>
  readonly equivalent: (self: S, that: S) => boolean
  readonly mayFail: (error: unknown) => boolean
  readonly isLaw: (law: Name) => boolean
  /** The state as text and back, as `entity` stores it. */
  readonly encode: (state: S) => Effect.Effect<string, Schema.SchemaError>
  readonly decode: (text: string) => Effect.Effect<S, Schema.SchemaError>
}

/** A state that was reached, with the store that holds it. */
export interface Reached<S> {
  readonly id: number
  readonly stored: InMemory.StoreSnapshot
  readonly state: S
  /** The state as text. */
  readonly text: string
  readonly eversion: EVersion
}

/** What a processor decided on a batch: nothing when it failed as it may. */
export interface Decision<S> {
  /** Asks again: the processor must decide the same. */
  readonly again: Effect.Effect<void, Broken>
  readonly consumed: ReadonlyArray<string>
  readonly garbage: ReadonlyArray<string>
  /** What its side effects wrote more than once, when it has landed. */
  readonly rewritten: Rewritten
  /**
   * The state that its commit leads to; `undefined` when there is nothing to commit, or its effects fail as they may.
   */
  readonly land: Effect.Effect<Reached<S> | undefined, Broken>
}

/** When every run takes place, ms since epoch: 2025-01-01. */
export const startMillis = 1_735_689_600_000

/** Scheduler turns in which a fiber left behind has its chance to write. */
const turnsAfter = 3

/** Who writes, and who does so when nobody may. */
interface Watch {
  isWriting: boolean
  readonly strays: Array<string>
}

/** What one call of `prepareMutation` came to. */
interface Asked<S, A, E> {
  /** The very state that it was given. */
  readonly loaded: Loaded<S, EVersion>
  readonly mutation: Mutation<S, A, E>
  readonly error: unknown
}

/** The processor under watch. */
export class Rig<Self, S, A, E> {
  readonly store: InMemory.Store
  readonly subject: Subject<Self, S, A, E>
  /** What the caller provides. */
  readonly ambient: Context.Context<never>
  private readonly context: Context.Context<any>
  private readonly watch: Watch
  private readonly reached = new Map<string, Array<Reached<S>>>()
  private count = 0
  /** What the store holds now, as far as that is known. */
  private current: Reached<S> | undefined

  private constructor(
    subject: Subject<Self, S, A, E>,
    store: InMemory.Store,
    ambient: Context.Context<never>,
    context: Context.Context<any>,
    watch: Watch
  ) {
    this.subject = subject
    this.store = store
    this.ambient = ambient
    this.context = context
    this.watch = watch
  }

  /** A rig over an empty store. */
  static make<Self, S, A, E>(
    subject: Subject<Self, S, A, E>
  ): Effect.Effect<Rig<Self, S, A, E>, never, Scope.Scope> {
    return Effect.gen(function*() {
      const store = yield* InMemory.makeStore
      const watch: Watch = { isWriting: false, strays: [] }
      const ambient = yield* Effect.context<Scope.Scope>()
      const quiet = ambient.pipe(
        Context.add(Clock.Clock, stillClock),
        Context.add(References.TracerEnabled, false),
        Context.add(References.MinimumLogLevel, "None")
      )
      const datastore = yield* Effect.provideContext(Datastore.make(guard(store.backend, watch)), quiet)
      return new Rig(
        subject,
        store,
        ambient as Context.Context<never>,
        Context.add(quiet, Datastore.Datastore, datastore),
        watch
      )
    })
  }

  /** Runs an effect with the services of the rig. Its random numbers differ by `seed`, its ids do not. */
  run<X, EX, R>(effect: Effect.Effect<X, EX, R>, seed: string): Effect.Effect<Exit.Exit<X, EX>> {
    return Effect.gen({ self: this }, function*() {
      const ids = yield* Effect.provideService(makeSeeded, Random, makeRandom("ids"))
      const context = this.context.pipe(Context.add(Random, makeRandom(seed)), Context.add(Ids, ids))
      return yield* Effect.exit(Effect.updateContext(effect, () => context))
    }) as Effect.Effect<Exit.Exit<X, EX>>
  }

  /** Runs an effect that may write. What the store holds then is not known. */
  write<X, EX, R>(effect: Effect.Effect<X, EX, R>): Effect.Effect<Exit.Exit<X, EX>> {
    return Effect.suspend(() => {
      this.watch.isWriting = true
      this.current = undefined
      return Effect.map(this.run(effect, "write"), (exit) => {
        this.watch.isWriting = false
        return exit
      })
    })
  }

  /** What the store holds now, as a state that was reached; `undefined` when loading it fails as it may. */
  arrive(): Effect.Effect<Reached<S> | undefined, Broken> {
    return Effect.gen({ self: this }, function*() {
      const stored = yield* this.store.snapshot
      const loaded = yield* this.load([])
      if (loaded === undefined) return undefined
      const text = yield* this.survive(loaded.state, "the state that loadState returns", [], undefined)
      yield* this.checkEVersion(loaded.eversion, text)
      const alike = this.reached.get(text) ?? []
      const known = alike.find((one) => isSameWorld(one.stored, stored))
      const reached: Reached<S> = known ?? { id: this.count++, stored, text, ...loaded }
      if (known === undefined) this.reached.set(text, [...alike, reached])
      this.current = known === undefined ? reached : undefined
      return reached
    })
  }

  /** What the processor decides on a batch. */
  decide(reached: Reached<S>, batch: ReadonlyArray<CaseEvent>): Effect.Effect<Decision<S>, Broken> {
    return Effect.gen({ self: this }, function*() {
      const first = yield* this.ask(reached, batch, "first")
      const again = this.subject.isLaw("Decision") ? this.askAgain(reached, batch, first) : Effect.void
      const rewritten: Rewritten = new Map()
      if (first === undefined) return { again, consumed: [], garbage: [], rewritten, land: Effect.undefined }
      yield* this.checkBatch(first.mutation, reached, batch)
      const { transitions, garbage = [] } = first.mutation
      for (const [index, { transitionTo }] of transitions.entries()) {
        yield* this.survive(transitionTo, `the state of transition ${index}`, batch, reached.text)
      }
      return {
        again,
        consumed: transitions.flatMap(({ events = [] }) => events.map(({ id }) => id)),
        garbage: garbage.map(({ id }) => id),
        rewritten,
        land: this.land(reached, batch, first.loaded, transitions, rewritten)
      }
    })
  }

  private askAgain(
    reached: Reached<S>,
    batch: ReadonlyArray<CaseEvent>,
    first: Asked<S, A, E> | undefined
  ): Effect.Effect<void, Broken> {
    return Effect.gen({ self: this }, function*() {
      const difference = this.difference(first, yield* this.ask(reached, batch, "second"))
      if (difference === undefined) return
      const summary = "prepareMutation decides differently when it is asked twice with the same input"
      return yield* this.broken("Decision", summary, difference, reached.text, batch)
    })
  }

  private ask(
    reached: Reached<S>,
    batch: ReadonlyArray<CaseEvent>,
    seed: string
  ): Effect.Effect<Asked<S, A, E> | undefined, Broken> {
    return Effect.gen({ self: this }, function*() {
      if (this.current !== reached) yield* this.store.restore(reached.stored)
      this.current = reached
      const loaded = yield* this.load(batch)
      if (loaded === undefined) return undefined
      const { eversion, state } = loaded
      if (this.subject.isLaw("Decision") && (eversion !== reached.eversion || !this.isSame(state, reached.state))) {
        const detail = [
          `first   ${reached.text}, EVersion ${reached.eversion}`,
          `second  ${this.show(state)}, EVersion ${eversion}`
        ]
        const summary = "loadState returns different states while the same is stored"
        return yield* this.broken("Decision", summary, detail, reached.text, batch)
      }
      const events = yield* this.decode(batch)
      const { processor, recipient } = this.subject
      // Suspended, as what it throws is a defect like any other.
      const asked = yield* this.run(Effect.suspend(() => processor.prepareMutation(events, state, recipient)), seed)
      yield* this.checkPure("prepareMutation", batch, reached.text)
      yield* this.checkInput(reached.text, this.show(state), batch, events)
      if (Exit.isSuccess(asked)) return { loaded, mutation: asked.value, error: undefined }
      const failure = Cause.findErrorOption(asked.cause)
      const withGarbage = failure._tag === "Some" && isPrepareFailure<unknown, A>(failure.value)
        ? failure.value
        : undefined
      const error = yield* this.failed("prepareMutation", asked.cause, withGarbage?.error, batch, reached.text)
      return { loaded, mutation: { transitions: [], garbage: withGarbage?.garbage }, error }
    })
  }

  /** Events as a listing decodes them: every batch has its own. */
  private decode(batch: ReadonlyArray<CaseEvent>): Effect.Effect<Array<Event<A>>> {
    return Effect.forEach(
      batch,
      ({ bytes, id }) => Effect.map(Effect.orDie(this.subject.box.eventCodec.decode(bytes)), (value) => ({ id, value }))
    )
  }

  private load(batch: ReadonlyArray<CaseEvent>) {
    return Effect.gen({ self: this }, function*() {
      const { processor, recipient } = this.subject
      const exit = yield* this.run(Effect.suspend(() => processor.loadState(recipient)), "load")
      yield* this.checkPure("loadState", batch, undefined)
      if (Exit.isSuccess(exit)) return carryText(exit.value)
      yield* this.failed("loadState", exit.cause, undefined, batch, undefined)
      return undefined
    })
  }

  /** Commits transitions, and looks at what is stored then. */
  private land(
    reached: Reached<S>,
    batch: ReadonlyArray<CaseEvent>,
    loaded: Loaded<S, EVersion>,
    all: ReadonlyArray<Transition<S, A, E>>,
    rewritten: Rewritten
  ): Effect.Effect<Reached<S> | undefined, Broken> {
    return Effect.gen({ self: this }, function*() {
      const place = {
        box: this.subject.box,
        processor: this.subject.processor,
        recipient: this.subject.recipient,
        loaded
      }
      const dropped = yield* this.run(dropNoops(place, all), "noops")
      if (Exit.isFailure(dropped)) {
        yield* this.failed("the state of a transition", dropped.cause, undefined, batch, reached.text)
        return undefined
      }
      const transitions = dropped.value
      if (transitions.length === 0) return undefined
      let isSaved = false
      const processor: typeof place.processor = {
        ...place.processor,
        saveState: (...saved) => {
          isSaved = true
          return place.processor.saveState(...saved)
        }
      }
      const save = Effect.suspend(() => saveChanged({ ...place, processor }, transitions))
      const effects = transitions.flatMap(({ sideEffect }) => sideEffect === undefined ? [] : [sideEffect])
      const expected = () => ({
        state: isSaved ? transitions.at(-1)!.transitionTo : loaded.state,
        eversion: (reached.eversion + (isSaved ? 1 : 0)) as EVersion
      })
      // Alone first: a side effect may change what loadState reads beside what saveState wrote.
      if (effects.length > 0) yield* this.commit(reached, batch, [save], expected)
      const landed = yield* this.commit(
        reached,
        batch,
        [noteRewrites(Effect.forEach(effects, (effect) => effect, { discard: true }), rewritten), save],
        effects.length > 0 ? undefined : expected
      )
      return landed ? yield* this.arrive() : undefined
    })
  }

  private commit(
    reached: Reached<S>,
    batch: ReadonlyArray<CaseEvent>,
    effects: ReadonlyArray<Effect.Effect<unknown, unknown, any>>,
    expectation: (() => { readonly state: S; readonly eversion: EVersion }) | undefined
  ): Effect.Effect<boolean, Broken> {
    return Effect.gen({ self: this }, function*() {
      yield* this.store.restore(reached.stored)
      const body = Effect.forEach(effects, (effect) => effect, { discard: true })
      const exit = yield* this.write(Datastore.withTransaction(body))
      if (Exit.isFailure(exit)) {
        yield* this.failed("the commit of a transition", exit.cause, undefined, batch, reached.text)
        return false
      }
      const loaded = yield* this.load(batch)
      if (loaded === undefined || expectation === undefined || !this.subject.isLaw("Save")) return true
      const expected = expectation()
      if (loaded.eversion === expected.eversion && this.isSame(loaded.state, expected.state)) return true
      const summary = "loadState does not return what saveState saved"
      return yield* this.broken(
        "Save",
        summary,
        [
          `saved   ${this.show(expected.state)}, EVersion ${expected.eversion}`,
          `loaded  ${this.show(loaded.state)}, EVersion ${loaded.eversion}`
        ],
        reached.text,
        batch
      )
    })
  }

  private checkEVersion(eversion: EVersion, text: string): Effect.Effect<void, Broken> {
    return Effect.gen({ self: this }, function*() {
      const { processor: { fetchEVersion }, recipient } = this.subject
      if (fetchEVersion === undefined || !this.subject.isLaw("Save")) return
      const exit = yield* this.run(Datastore.withTransaction(Effect.suspend(() => fetchEVersion(recipient))), "fetch")
      yield* this.checkPure("fetchEVersion", [], text)
      if (Exit.isFailure(exit)) {
        yield* this.failed("fetchEVersion", exit.cause, undefined, [], text)
      } else if (exit.value !== eversion) {
        const summary = "fetchEVersion and loadState do not agree on the version, while the same is stored"
        return yield* this.broken(
          "Save",
          summary,
          [`loadState      ${eversion}`, `fetchEVersion  ${exit.value}`],
          text,
          []
        )
      }
    })
  }

  /** Nothing but a commit of transitions writes, not even a fiber that was left behind. */
  checkPure(call: string, batch: ReadonlyArray<CaseEvent>, state: string | undefined): Effect.Effect<void, Broken> {
    return Effect.gen({ self: this }, function*() {
      const strays = this.watch.strays.splice(0)
      if (strays.length === 0) return
      this.current = undefined
      if (!this.subject.isLaw("Pure")) return
      const summary = `${call} writes to the store, outside of any transaction of a batch`
      return yield* this.broken("Pure", summary, strays, state, batch)
    })
  }

  /** Gives fibers that were left behind their chance, and looks what they wrote. */
  settle(state: string | undefined): Effect.Effect<void, Broken> {
    return Effect.andThen(
      Effect.forEach(Array.from({ length: turnsAfter }), () => Effect.yieldNow, { discard: true }),
      this.checkPure("a fiber that a call of the processor left behind", [], state)
    )
  }

  private checkInput(
    before: string,
    after: string,
    batch: ReadonlyArray<CaseEvent>,
    events: ReadonlyArray<Event<A>>
  ): Effect.Effect<void, Broken> {
    return Effect.gen({ self: this }, function*() {
      if (!this.subject.isLaw("Input")) return
      if (before !== after) {
        const summary = "prepareMutation changes the state that it was given, so that the change may never be saved"
        return yield* this.broken("Input", summary, [`before  ${before}`, `after   ${after}`], before, batch)
      }
      const untouched = yield* this.decode(batch)
      for (const event of events) {
        const was = untouched.find(({ id }) => id === event.id)
        if (was === undefined || Equal.equals(was.value, event.value)) continue
        const summary = `prepareMutation changes the value of event ${event.id}`
        const detail = [`before  ${Formatter.format(was.value)}`, `after   ${Formatter.format(event.value)}`]
        return yield* this.broken("Input", summary, detail, before, batch)
      }
    })
  }

  private checkBatch(
    mutation: Mutation<S, A, E>,
    reached: Reached<S>,
    batch: ReadonlyArray<CaseEvent>
  ): Effect.Effect<void, Broken> {
    const problem = misuse(mutation, new Set(batch.map(({ id }) => id)))
    // Not to be left out: the library dies here, and nothing could be committed.
    if (problem === undefined) return Effect.void
    const summary = `a decision uses each event of its batch at most once, and no other: ${problem}`
    return this.broken("Batch", summary, this.showMutation(mutation), reached.text, batch)
  }

  /** The state as text, once it has been seen to survive its schema. */
  private survive(
    state: S,
    what: string,
    batch: ReadonlyArray<CaseEvent>,
    before: string | undefined
  ): Effect.Effect<string, Broken> {
    return Effect.gen({ self: this }, function*() {
      const isLaw = this.subject.isLaw("Schema")
      const encoded = yield* Effect.exit(this.subject.encode(state))
      if (Exit.isFailure(encoded)) {
        const shown = Formatter.format(state)
        if (!isLaw) return shown
        const summary = `${what} does not fit the state schema of the box`
        return yield* this.broken("Schema", summary, [shown, ...messageOf(encoded.cause)], before, batch)
      }
      if (!isLaw) return encoded.value
      const decoded = yield* Effect.exit(this.subject.decode(encoded.value))
      if (Exit.isSuccess(decoded) && Equal.equals(decoded.value, state)) return encoded.value
      const after = Exit.isSuccess(decoded) ? [Formatter.format(decoded.value)] : messageOf(decoded.cause)
      const summary = `${what} does not survive the state schema of the box: encoded and decoded it is another`
      const detail = [
        `before   ${Formatter.format(state)}`,
        `encoded  ${encoded.value}`,
        `decoded  ${after.join("\n")}`
      ]
      return yield* this.broken("Schema", summary, detail, before, batch)
    })
  }

  /** A failure that may be is returned. */
  private failed(
    call: string,
    cause: Cause.Cause<unknown>,
    inner: unknown,
    batch: ReadonlyArray<CaseEvent>,
    state: string | undefined
  ): Effect.Effect<unknown, Broken> {
    const found = Cause.findErrorOption(cause)
    const error = inner ?? (found._tag === "Some" ? found.value : undefined)
    const isDefect = cause.reasons.some(({ _tag }) => _tag !== "Fail")
    if (!isDefect && (!this.subject.isLaw("Success") || this.subject.mayFail(error))) return Effect.succeed(error)
    const isEmpty = call === "prepareMutation" && batch.length === 0
    const summary = `${call} ${isDefect ? "dies" : "fails"}${isEmpty ? " when there is no event" : ""}`
    const shown = inner === undefined ? Cause.pretty(cause) : Formatter.format(inner)
    return Effect.fail(
      new Broken({
        law: "Success",
        summary,
        detail: shown.split("\n"),
        state,
        events: batch,
        cause: Cause.squash(cause)
      })
    )
  }

  isSame(self: S, that: S): boolean {
    return Equal.equals(self, that) || this.subject.equivalent(self, that)
  }

  /** What tells two decisions apart, or `undefined`. */
  private difference(first: Asked<S, A, E> | undefined, second: Asked<S, A, E> | undefined) {
    const [one, two] = [this.showAsked(first), this.showAsked(second)]
    const isSameStates = first?.mutation.transitions.every(({ transitionTo }, index) => {
      const other = second?.mutation.transitions[index]
      return other !== undefined && this.isSame(transitionTo, other.transitionTo)
    }) ?? true
    if (isSameStates && one.shape === two.shape) return undefined
    return ["first", ...one.lines.map(indent), "second", ...two.lines.map(indent)]
  }

  private showAsked(asked: Asked<S, A, E> | undefined) {
    if (asked === undefined) return { shape: "failed", lines: ["loadState failed"] }
    const { error, mutation } = asked
    const shape = mutation.transitions.map(({ events = [], postProcess, sideEffect }) => [
      events.map(({ id }) => id).toSorted(),
      sideEffect !== undefined,
      postProcess !== undefined
    ])
    const garbage = (mutation.garbage ?? []).map(({ id }) => id).toSorted()
    const failure = error === undefined ? [] : [`fails with ${Formatter.format(error)}`]
    return {
      shape: JSON.stringify([shape, garbage, tagOf(error)]),
      lines: [...failure, ...this.showMutation(mutation)]
    }
  }

  /** A decision as lines of text. */
  showMutation({ garbage = [], transitions }: Mutation<S, A, E>): ReadonlyArray<string> {
    const lines = transitions.map(({ events = [], postProcess, sideEffect, transitionTo }, index) =>
      [
        `transition ${index} consumes ${showIds(events.map(({ id }) => id))}, to ${this.show(transitionTo)}`,
        ...(sideEffect === undefined ? [] : ["with a side effect"]),
        ...(postProcess === undefined ? [] : ["with a post-process effect"])
      ].join(", ")
    )
    return [...lines, `garbage ${showIds(garbage.map(({ id }) => id))}`]
  }

  /** A state as text. */
  show(state: S): string {
    const encoded = Effect.runSyncExit(this.subject.encode(state))
    return Exit.isSuccess(encoded) ? encoded.value : Formatter.format(state)
  }

  broken(
    law: Name,
    summary: string,
    detail: ReadonlyArray<string>,
    state: string | undefined,
    events: ReadonlyArray<CaseEvent>
  ): Effect.Effect<never, Broken> {
    return Effect.fail(new Broken({ law, summary, detail, state, events }))
  }
}

const messageOf = (cause: Cause.Cause<Schema.SchemaError>): ReadonlyArray<string> => {
  const found = Cause.findErrorOption(cause)
  return (found._tag === "Some" ? found.value.message : Cause.pretty(cause)).split("\n")
}

const tagOf = (error: unknown): unknown => {
  const { _tag } = (error ?? {}) as { readonly _tag?: unknown }
  return _tag ?? (error === undefined ? null : typeof error)
}

const indent = (line: string): string => `  ${line}`

/** Ids as text. */
export const showIds = (ids: ReadonlyArray<string>): string => ids.length === 0 ? "nothing" : ids.join(", ")

/** Whether two stores hold the same, but for what the library stores for mailboxes. */
const isSameWorld = (self: InMemory.StoreSnapshot, that: InMemory.StoreSnapshot): boolean =>
  InMemory.diff(self, that).every(({ key }) => key.path.some(({ kind }) => kind.startsWith("dsset.")))

/** Time stands still, and sleeping takes none. */
const stillClock = makeClock({
  now: () => startMillis,
  sleeping: ({ resume }) => {
    queueMicrotask(resume)
    return () => undefined
  }
})

const guard = (backend: Backend, watch: Watch): Backend => ({
  ...backend,
  commit: (request) =>
    Effect.suspend(() => {
      if (!watch.isWriting) watch.strays.push(describeCall({ operation: "commit", request }))
      return backend.commit(request)
    })
})
