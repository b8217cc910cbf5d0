/**
 * How a processor is asked: every call of it is looked at by the laws that it may break.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Datastore from "../../Datastore.ts"
import { dropNoops, saveChanged } from "../../eventbox/saving.ts"
import * as InMemory from "../../layers/InMemory.ts"
import { type EVersion, isPrepareFailure } from "../../Processor.ts"
import { carryText } from "../../processor/entity.ts"
import { checkBatch } from "./batch.ts"
import type { Broken, Place } from "./broken.ts"
import type { CaseEvent } from "./case.ts"
import { type Asked, checkAgain, checkLoaded } from "./decision.ts"
import { checkInput } from "./input.ts"
import { checkPure } from "./pure.ts"
import { noteRewrites, type Rewritten } from "./rewrites.ts"
import { decodeEvents, type Reached, type Rig, run, write } from "./rig.ts"
import { checkEVersion, checkSaved, type Saved } from "./save.ts"
import { survive } from "./schema.ts"
import { failed } from "./success.ts"

/** What a processor decided on a batch: nothing when it failed as it may. */
export interface Decision {
  /** Asks again: the processor must decide the same. */
  readonly again: Effect.Effect<void, Broken>
  readonly consumed: ReadonlyArray<string>
  readonly garbage: ReadonlyArray<string>
  /** What its side effects wrote more than once, when it has landed. */
  readonly rewritten: Rewritten
  /**
   * The state that its commit leads to; `undefined` when there is nothing to commit, or its effects fail as they may.
   */
  readonly land: Effect.Effect<Reached | undefined, Broken>
}

/** What the store holds now, as a state that was reached; `undefined` when loading it fails as it may. */
export const arrive = Effect.fnUntraced(function*(rig: Rig) {
  const stored = yield* rig.store.snapshot
  const loaded = yield* load(rig, { events: [] })
  if (loaded === undefined) return undefined
  const text = yield* survive(rig, loaded.state, "the state that loadState returns", { events: [] })
  yield* checkEVersion(rig, loaded.eversion, text)
  const alike = rig.reached.get(text) ?? []
  const known = alike.find((one) => isSameWorld(one.stored, stored))
  const reached: Reached = known ?? { id: rig.count++, stored, text, ...loaded }
  if (known === undefined) rig.reached.set(text, [...alike, reached])
  rig.current = known === undefined ? reached : undefined
  return reached
})

/** What the processor decides on a batch. */
export const decide = Effect.fnUntraced(function*(rig: Rig, reached: Reached, batch: ReadonlyArray<CaseEvent>) {
  const first = yield* ask(rig, reached, batch, "first")
  const place = { state: reached.text, events: batch }
  const again = rig.subject.isLaw("Decision")
    ? Effect.flatMap(ask(rig, reached, batch, "second"), (second) => checkAgain(rig, first, second, place))
    : Effect.void
  const rewritten: Rewritten = new Map()
  const nothing: Decision = { again, consumed: [], garbage: [], rewritten, land: Effect.undefined }
  if (first === undefined) return nothing
  yield* checkBatch(rig, first.mutation, place)
  const { transitions, garbage = [] } = first.mutation
  for (const [index, { transitionTo }] of transitions.entries()) {
    yield* survive(rig, transitionTo, `the state of transition ${index}`, place)
  }
  return {
    ...nothing,
    consumed: transitions.flatMap(({ events = [] }) => events.map(({ id }) => id)),
    garbage: garbage.map(({ id }) => id),
    land: land(rig, reached, first, place, rewritten)
  }
})

const ask = Effect.fnUntraced(function*(rig: Rig, reached: Reached, batch: ReadonlyArray<CaseEvent>, seed: string) {
  if (rig.current !== reached) yield* rig.store.restore(reached.stored)
  rig.current = reached
  const loaded = yield* load(rig, { events: batch })
  if (loaded === undefined) return undefined
  const place = { state: reached.text, events: batch }
  yield* checkLoaded(rig, reached, loaded, place)
  const events = yield* decodeEvents(rig, batch)
  const { processor, recipient } = rig.subject
  const { state } = loaded
  const exit = yield* run(rig, () => processor.prepareMutation(events, state, recipient), seed)
  yield* checkPure(rig, "prepareMutation", place)
  yield* checkInput(rig, reached, batch, { state, events })
  if (Exit.isSuccess(exit)) return { loaded, mutation: exit.value, error: undefined }
  const failure = Cause.findErrorOption(exit.cause)
  const inner = failure._tag === "Some" && isPrepareFailure<unknown, unknown>(failure.value) ? failure.value : undefined
  const error = yield* failed(rig, "prepareMutation", exit.cause, place, inner?.error)
  const asked: Asked = { loaded, mutation: { transitions: [], garbage: inner?.garbage }, error }
  return asked
})

const load = Effect.fnUntraced(function*(rig: Rig, place: Place) {
  const { processor, recipient } = rig.subject
  const exit = yield* run(rig, () => processor.loadState(recipient), "load")
  yield* checkPure(rig, "loadState", place)
  if (Exit.isSuccess(exit)) return carryText(exit.value)
  yield* failed(rig, "loadState", exit.cause, place)
  return undefined
})

/** Commits transitions, and looks at what is stored then. */
const land = Effect.fnUntraced(
  function*(rig: Rig, reached: Reached, { loaded, mutation }: Asked, place: Place, rewritten: Rewritten) {
    const { box, processor, recipient } = rig.subject
    const own = { box, processor, recipient, loaded }
    const dropped = yield* run(rig, () => dropNoops(own, mutation.transitions), "noops")
    if (Exit.isFailure(dropped)) {
      yield* failed(rig, "the state of a transition", dropped.cause, place)
      return undefined
    }
    const transitions = dropped.value
    if (transitions.length === 0) return undefined
    let isSaved = false
    const saveState: typeof processor.saveState = (...saved) => {
      isSaved = true
      return processor.saveState(...saved)
    }
    const save = Effect.suspend(() => saveChanged({ ...own, processor: { ...processor, saveState } }, transitions))
    const effects = transitions.flatMap(({ sideEffect }) => sideEffect === undefined ? [] : [sideEffect])
    const saved = (): Saved => ({
      state: isSaved ? transitions.at(-1)!.transitionTo : loaded.state,
      eversion: (reached.eversion + (isSaved ? 1 : 0)) as EVersion
    })
    // Alone first: a side effect may change what loadState reads beside what saveState wrote.
    if (effects.length > 0) yield* commit(rig, reached, save, place, saved)
    const all = Effect.andThen(noteRewrites(Effect.all(effects, { discard: true }), rewritten), save)
    const hasLanded = yield* commit(rig, reached, all, place, effects.length > 0 ? undefined : saved)
    return hasLanded ? yield* arrive(rig) : undefined
  }
)

const commit = Effect.fnUntraced(function*(
  rig: Rig,
  reached: Reached,
  body: Effect.Effect<unknown, unknown, any>,
  place: Place,
  saved: (() => Saved) | undefined
) {
  yield* rig.store.restore(reached.stored)
  const exit = yield* write(rig, Datastore.withTransaction(body))
  if (Exit.isFailure(exit)) {
    yield* failed(rig, "the commit of a transition", exit.cause, place)
    return false
  }
  const loaded = yield* load(rig, { events: place.events ?? [] })
  if (loaded !== undefined && saved !== undefined) yield* checkSaved(rig, saved(), loaded, place)
  return true
})

/** Whether two stores hold the same, but for what the library stores for mailboxes. */
const isSameWorld = (self: InMemory.StoreSnapshot, that: InMemory.StoreSnapshot): boolean =>
  InMemory.diff(self, that).every(({ key }) => key.path.some(({ kind }) => kind.startsWith("dsset.")))
