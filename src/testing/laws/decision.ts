/**
 * The law `Decision`: asked twice, a processor decides the same, and loads the same while the same is stored.
 */
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import type { EVersion, Mutation } from "../../Processor.ts"
import type { Loaded } from "../../processor/entity.ts"
import { type Broken, broken, type Place } from "./broken.ts"
import { isSame, type Reached, type Rig, show, showIds } from "./rig.ts"

/** What `prepareMutation` returned. */
export type Decided = Mutation<unknown, unknown, unknown>

/** What one call of `prepareMutation` came to. */
export interface Asked {
  /** The very state that it was given. */
  readonly loaded: Loaded<unknown, EVersion>
  readonly mutation: Decided
  readonly error: unknown
}

/** Looks at a state that was loaded once more. */
export const checkLoaded = (
  rig: Rig,
  reached: Reached,
  { eversion, state }: Asked["loaded"],
  place: Place
): Effect.Effect<void, Broken> => {
  if (!rig.subject.isLaw("Decision")) return Effect.void
  if (eversion === reached.eversion && isSame(rig, state, reached.state)) return Effect.void
  const detail = [
    `first   ${reached.text}, EVersion ${reached.eversion}`,
    `second  ${show(rig, state)}, EVersion ${eversion}`
  ]
  return broken("Decision", "loadState returns different states while the same is stored", detail, place)
}

/** Looks at what was decided at first, and once more; `undefined` when loading failed as it may. */
export const checkAgain = (
  rig: Rig,
  first: Asked | undefined,
  second: Asked | undefined,
  place: Place
): Effect.Effect<void, Broken> => {
  const [one, two] = [showAsked(rig, first), showAsked(rig, second)]
  const isSameStates = first?.mutation.transitions.every(({ transitionTo }, index) => {
    const other = second?.mutation.transitions[index]
    return other !== undefined && isSame(rig, transitionTo, other.transitionTo)
  }) ?? true
  if (isSameStates && one.shape === two.shape) return Effect.void
  const summary = "prepareMutation decides differently when it is asked twice with the same input"
  const detail = ["first", ...one.lines.map(indent), "second", ...two.lines.map(indent)]
  return broken("Decision", summary, detail, place)
}

const showAsked = (rig: Rig, asked: Asked | undefined) => {
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
    lines: [...failure, ...showMutation(rig, mutation)]
  }
}

/** A decision as lines of text. */
export const showMutation = (rig: Rig, { garbage = [], transitions }: Decided): ReadonlyArray<string> => {
  const lines = transitions.map(({ events = [], postProcess, sideEffect, transitionTo }, index) =>
    [
      `transition ${index} consumes ${showIds(events.map(({ id }) => id))}, to ${show(rig, transitionTo)}`,
      ...(sideEffect === undefined ? [] : ["with a side effect"]),
      ...(postProcess === undefined ? [] : ["with a post-process effect"])
    ].join(", ")
  )
  return [...lines, `garbage ${showIds(garbage.map(({ id }) => id))}`]
}

const tagOf = (error: unknown): unknown => {
  const { _tag } = (error ?? {}) as { readonly _tag?: unknown }
  return _tag ?? (error === undefined ? null : typeof error)
}

const indent = (line: string): string => `  ${line}`
