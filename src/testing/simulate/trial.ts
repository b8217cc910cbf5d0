/**
 * A history that is looked into when it fails: made smaller, run once more, and shown.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Backend } from "../../Backend.ts"
import { formatRows } from "../text/table.ts"
import { startMillis } from "../virtual/time.ts"
import { type Ended, type Happened, History, type Job, type Noted, type Trial, type Violation } from "./history.ts"
import type { Trouble } from "./settings.ts"
import { type Search, smallest } from "./shrink.ts"

/** What is tried. */
export interface Plan<S extends Trouble, J extends Job> extends Omit<Search<S, Ended<J>>, "play"> {
  readonly settings: S
  readonly context: Context.Context<never>
  /** What the settings change of it; nothing unless given. */
  readonly adjust?: (context: Context.Context<never>, settings: S) => Context.Context<never>
  readonly gapsOf: (settings: S) => { readonly client: number; readonly worker: number }
  readonly makeJob: (trial: Trial, settings: S) => J
  readonly wrap?: ((database: Backend) => Backend) | undefined
  readonly shrink?: boolean | undefined
}

/** A failure, and the smallest history found in which it happens. */
export interface Found<S> {
  readonly violation: Violation
  readonly rows: ReadonlyArray<Noted>
  readonly settings: S
  /** Histories run in search of it. */
  readonly histories: number
}

/** Runs a history; when it fails, looks for the smallest that does. */
export const tryHistory = <S extends Trouble, J extends Job>(
  plan: Plan<S, J>
): Effect.Effect<Ended<J>, Found<S>> =>
  Effect.gen(function*() {
    const { adjust, context, gapsOf, makeJob, settings, shrink = true, wrap = (database) => database } = plan
    const play = (own: S, isTraced: boolean): Effect.Effect<Ended<J>> =>
      Effect.suspend(() =>
        new History({
          settings: own,
          gaps: gapsOf(own),
          context: adjust === undefined ? context : adjust(context, own),
          wrap,
          isTraced,
          makeJob: (trial) => makeJob(trial, own)
        }).run
      )
    yield* Effect.logInfo(`SEED=${settings.seed}`)
    const ended = yield* play(settings, false)
    if (ended.violation === undefined) return ended
    const found = shrink
      ? yield* smallest(settings, ended, { ...plan, play: (simpler) => play(simpler, false) })
      : { settings, histories: 1 }
    const { rows, violation } = yield* play(found.settings, true)
    return yield* Effect.fail({ violation: violation!, rows, ...found })
  })

/** Rows of a table at most, and columns of a cell. */
const maxRows = 60
const maxColumns = 160

/** The end of a history, as far as it concerns certain keys and the processes that had to do with them. */
export const tableOf = (rows: ReadonlyArray<Noted>, concerns?: (keys: string) => boolean): string => {
  const isOwn = ({ about }: Noted): boolean => concerns === undefined || (about !== undefined && concerns(about))
  const involved = new Set(rows.filter(isOwn).map(({ who }) => who))
  const kept = rows.filter((row) =>
    isOwn(row) || (row.about === undefined && (row.who === "" || involved.has(row.who)))
  )
  const left = Math.max(0, kept.length - maxRows)
  const note = left === 0 ? "" : `(${left} steps before)\n`
  const shown = kept.slice(left).map(({ atMillis, result, what, who }, at) => ({
    number: left + at + 1,
    atMillis,
    who,
    what: cut(what),
    result
  }))
  return note + formatRows(shown, startMillis)
}

const cut = (text: string): string => text.length <= maxColumns ? text : `${text.slice(0, maxColumns)} …`

/** How many faults hit something, of all kinds but delays. */
export const failuresOf = ({ deleteFaults, faults }: Pick<Happened, "faults" | "deleteFaults">): number =>
  [faults, deleteFaults].reduce(
    (sum, { Contention, Late, ReadFailure, RequestLost, ResponseLost }) =>
      sum + ReadFailure + RequestLost + ResponseLost + Late + Contention,
    0
  )
