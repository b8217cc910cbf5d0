/**
 * Whether the state of a batch is saved, and which of its transitions do nothing: by value, or by text where the state
 * lives in the recipient's entity.
 */
import * as Effect from "effect/Effect"
import type { Datastore } from "../Datastore.ts"
import type { StoreError } from "../EventboxError.ts"
import type { Transaction } from "../ground/transaction.ts"
import type { EVersion, Processor, Recipient, Transition } from "../Processor.ts"
import { hasText, type Loaded, type StateText, StateTextId } from "../processor/entity.ts"
import { asEffect } from "./callbacks.ts"
import { isChanged, isIdle, withoutNoops } from "./decision.ts"

/** What a batch knows when it has loaded. */
export interface Place<Self, S, A, E> {
  readonly box: { readonly key: string }
  readonly processor: Processor<Self, S, A, E>
  readonly recipient: Recipient<Self>
  readonly loaded: Loaded<S, EVersion>
}

/** How states are compared by text, where they can be. */
const textOf = <Self, S, A, E>({ loaded, processor }: Place<Self, S, A, E>): StateText<S> | undefined =>
  hasText(loaded) ? processor[StateTextId] : undefined

/** Drops transitions that have no events, no effects and lead to the state that is there already. */
export const dropNoops = <Self, S, A, E>(
  place: Place<Self, S, A, E>,
  transitions: ReadonlyArray<Transition<S, A, E>>
): Effect.Effect<ReadonlyArray<Transition<S, A, E>>> => {
  const texts = textOf(place)
  if (!transitions.some(isIdle)) return Effect.succeed(transitions)
  return texts === undefined
    ? Effect.succeed(withoutNoops(transitions, place.loaded.state))
    : dropByText(texts, place, transitions)
}

const dropByText = Effect.fnUntraced(function*<Self, S, A, E>(
  texts: StateText<S>,
  { loaded, recipient: { key } }: Place<Self, S, A, E>,
  transitions: ReadonlyArray<Transition<S, A, E>>
): Effect.fn.Return<ReadonlyArray<Transition<S, A, E>>> {
  const kept: Array<Transition<S, A, E>> = []
  let current = loaded.state
  for (const transition of transitions) {
    const next = transition.transitionTo
    if (isIdle(transition)) {
      const isSame = Object.is(current, loaded.state)
        ? (yield* texts.textToSave(loaded, next, key, false)) === undefined
        : Object.is(current, next) || (yield* texts.textOf(current, key)) === (yield* texts.textOf(next, key))
      if (isSame) continue
    }
    current = next
    kept.push(transition)
  }
  return kept
})

/** Saves the state that transitions lead to, if it is another one, or one of them says so. */
export const saveChanged = <Self, S, A, E>(
  place: Place<Self, S, A, E>,
  transitions: ReadonlyArray<Transition<S, A, E>>
): Effect.Effect<unknown, E | StoreError, Datastore | Transaction> => {
  const { loaded, processor, recipient } = place
  const state = transitions[transitions.length - 1]!.transitionTo
  const touched = transitions.some(({ touch }) => touch === true)
  const eversion = (loaded.eversion + 1) as EVersion
  const texts = textOf(place)
  const save = () => asEffect(place, "saveState", processor.saveState(state, eversion, recipient))
  if (texts === undefined) {
    return touched || isChanged(loaded.state, state) ? save() : Effect.void
  }
  return Effect.flatMap(
    texts.textToSave(loaded, state, recipient.key, touched),
    (text): Effect.Effect<unknown, E | StoreError, Datastore | Transaction> => {
      if (text === undefined) return texts.keep(loaded, recipient.key)
      return processor.saveState === texts.saveState
        ? texts.saveText(text, eversion, recipient.key)
        : save()
    }
  )
}
