/**
 * What overlapping batches do to the garbage of each other (E6), against what batches do one after another.
 *
 * The events of a run are few, so that everything is tried: every batch is a set of bits, and every end that batches
 * come to one after another is known. An end is what was consumed, what was deleted without being consumed, and the
 * state. A batch is one of these: it commits and deletes its garbage, it stops after its commit, or it stops before it,
 * its garbage deleted. Batches that overlap come to an end that is *explained*: to the same end as some that do not,
 * or, once all that waits is processed, to a state that those come to as well, without deleting more than they do.
 */
import * as Effect from "effect/Effect"
import type { Broken } from "./broken.ts"
import type { CaseEvent } from "./case.ts"
import { type Decision, type Reached, type Rig, showIds } from "./rig.ts"

/** Where batches have come to: a state, and what became of the events. */
export interface End<S> {
  readonly reached: Reached<S>
  readonly consumed: number
  readonly deleted: number
}

/** How a batch comes to its end. */
export type Outcome = "commits" | "stops after its commit" | "stops before its commit"

/** One batch of a worker. */
export interface Step<S> {
  readonly batch: number
  readonly decided: Decided<S>
  readonly outcome: Outcome
}

/** A decision, its events as bits. */
interface Decided<S> extends Omit<Decision<S>, "consumed" | "garbage"> {
  readonly consumed: number
  readonly garbage: number
}

/** A batch that is decided at the start. */
interface First<S> extends Step<S> {
  readonly landed: Reached<S> | undefined
}

/** A place among all ends, and the batches that lead there. */
interface Place<S> extends End<S> {
  readonly steps: ReadonlyArray<Step<S>>
  /** Commits that consumed nothing. */
  readonly idle: number
}

/** What an end is, measured by what batches come to one after another. */
type Verdict =
  | "explained"
  /** Events are deleted that they never delete together. */
  | "lost"
  /** They come to other states when they delete as much. */
  | "astray"
  /** They come to too many ends to tell. */
  | "undecided"

/** Batches that overlap, and the end that they alone come to. */
export interface Overlap<S> {
  /** The batch of the first worker, decided before all others. */
  readonly first: Step<S>
  /** The batches of others, meanwhile. */
  readonly meanwhile: ReadonlyArray<Step<S>>
  readonly end: End<S>
  readonly verdict: "lost" | "astray"
}

/** What batches come to one after another. */
interface Known<S> {
  /** The states of all ends, by what was consumed and deleted. */
  readonly ends: ReadonlyMap<string, ReadonlyArray<Reached<S>>>
  /** The ends after which nothing more happens. */
  readonly finals: ReadonlyArray<End<S>>
}

/** Commits that consume nothing: one overlapping, and as many again in the history that explains it. */
const maxIdle = 1

/** Ends that are looked at in one run; a processor that comes to more is not judged by it. */
const maxEnds = 4_000

/** Batches that others finish while the first one is under way. */
const maxMeanwhile = 2

/** The batches of one run, and where they lead. */
export class Batches<Self, S, A, E> {
  readonly rig: Rig<Self, S, A, E>
  readonly base: Reached<S>
  readonly events: ReadonlyArray<CaseEvent>
  /** Pairs of a batch and of what others did meanwhile. */
  pairs = 0
  private readonly start: Place<S>
  private readonly decisions = new Map<string, Decided<S>>()
  private readonly landings = new Map<Decided<S>, Reached<S> | undefined>()
  private readonly verdicts = new Map<string, Verdict>()
  private known: Known<S> | "too many" | undefined
  /** Whether there were too many ends to tell. */
  isUndecided = false

  constructor(rig: Rig<Self, S, A, E>, base: Reached<S>, events: ReadonlyArray<CaseEvent>) {
    this.rig = rig
    this.base = base
    this.start = { reached: base, consumed: 0, deleted: 0, steps: [], idle: 0 }
    this.events = events
  }

  /** Batches that were decided on. */
  get count(): number {
    return this.decisions.size
  }

  get all(): number {
    return (1 << this.events.length) - 1
  }

  /** The decision on a set of events. */
  decide(reached: Reached<S>, batch: number): Effect.Effect<Decided<S>, Broken> {
    return Effect.gen({ self: this }, function*() {
      const name = `${reached.id} ${batch}`
      const known = this.decisions.get(name)
      if (known !== undefined) return known
      const decision = yield* this.rig.decide(reached, this.eventsOf(batch))
      const decided: Decided<S> = {
        ...decision,
        consumed: this.bitsOf(decision.consumed),
        garbage: this.bitsOf(decision.garbage)
      }
      this.decisions.set(name, decided)
      return decided
    })
  }

  /** Where the commit of a decision leads. */
  land(decided: Decided<S>): Effect.Effect<Reached<S> | undefined, Broken> {
    return Effect.gen({ self: this }, function*() {
      if (!this.landings.has(decided)) this.landings.set(decided, yield* decided.land)
      return this.landings.get(decided)
    })
  }

  /**
   * An overlap whose end is not explained, one that loses events before any other; nothing when there are too many ends
   * to tell.
   */
  findUnexplained(): Effect.Effect<Overlap<S> | undefined, Broken> {
    return Effect.gen({ self: this }, function*() {
      // Without garbage at the start batches that overlap do nothing to each other: one of them commits.
      if (!(yield* this.hasGarbage())) return undefined
      this.known ??= yield* this.explore()
      const places = [this.start]
      for (let from = 0, length = 0; length < maxMeanwhile; length++) {
        const until = places.length
        for (; from < until; from++) places.push(...yield* this.steps(places[from]!))
        this.isUndecided ||= places.length > maxEnds
        if (this.isUndecided) return undefined
      }
      const firsts = yield* this.firsts()
      let astray: Overlap<S> | undefined
      for (const place of unique(places.filter(({ idle }) => idle <= maxIdle))) {
        for (const first of firsts) {
          if (first.outcome === outcomes[0]) this.pairs++
          const end = overlap(first, place)
          if (end === undefined) continue
          // Many overlaps come to one end, and this is done very often.
          const verdict = this.verdicts.get(nameOf(end)) ?? (yield* this.judge(end))
          if (verdict === "explained" || verdict === "undecided") continue
          const found: Overlap<S> = { first, meanwhile: place.steps, end, verdict }
          if (verdict === "lost") return found
          astray ??= found
        }
      }
      return astray
    })
  }

  private hasGarbage(): Effect.Effect<boolean, Broken> {
    return Effect.gen({ self: this }, function*() {
      for (let batch = 1; batch <= this.all; batch++) {
        if ((yield* this.decide(this.base, batch)).garbage !== 0) return true
      }
      return false
    })
  }

  /** Batches that are decided at the start, each in all outcomes, with the state that its commit leads to. */
  private firsts(): Effect.Effect<ReadonlyArray<First<S>>, Broken> {
    return Effect.gen({ self: this }, function*() {
      const firsts: Array<First<S>> = []
      for (let batch = 1; batch <= this.all; batch++) {
        const decided = yield* this.decide(this.base, batch)
        const landed = yield* this.land(decided)
        for (const outcome of outcomes) firsts.push({ batch, decided, outcome, landed })
      }
      return firsts
    })
  }

  /** Measures an end by what batches come to one after another. */
  judge(end: End<S>): Effect.Effect<Verdict, Broken> {
    const known = this.verdicts.get(nameOf(end))
    if (known !== undefined) return Effect.succeed(known)
    return Effect.tap(this.judgeAnew(end), (verdict) =>
      Effect.sync(() => {
        this.verdicts.set(nameOf(end), verdict)
      }))
  }

  private judgeAnew(end: End<S>): Effect.Effect<Verdict, Broken> {
    return Effect.gen({ self: this }, function*() {
      if (this.known === undefined && (yield* this.isReached(end, this.start, new Set()))) return "explained"
      this.known ??= yield* this.explore()
      if (this.known === "too many") {
        this.isUndecided = true
        return "undecided"
      }
      const states = this.known.ends.get(`${end.consumed} ${end.deleted}`) ?? []
      if (states.some((one) => this.isSame(one, end.reached))) return "explained"
      const last = yield* this.finish(end)
      const likely = this.known.finals.filter(({ deleted }) => (last.deleted & ~deleted) === 0)
      if (likely.length === 0) return "lost"
      return likely.some(({ reached }) => this.isSame(reached, last.reached)) ? "explained" : "astray"
    })
  }

  /** Whether batches one after another come from a place to an end; great batches first, as most ends need few. */
  private isReached(end: End<S>, from: Place<S>, seen: Set<string>): Effect.Effect<boolean, Broken> {
    return Effect.gen({ self: this }, function*() {
      if (from.consumed === end.consumed && from.deleted === end.deleted && this.isSame(from.reached, end.reached)) {
        return true
      }
      const left = this.all & ~from.consumed & ~from.deleted
      for (const batch of subsetsOf(left).toReversed()) {
        for (const place of yield* this.stepsOf(from, batch)) {
          const name = `${nameOf(place)} ${place.idle}`
          const isTooFar = (place.consumed & ~end.consumed) !== 0 || (place.deleted & ~end.deleted) !== 0
          if (isTooFar || place.idle > 2 * maxIdle || seen.size > maxEnds || seen.has(name)) continue
          seen.add(name)
          if (yield* this.isReached(end, place, seen)) return true
        }
      }
      return false
    })
  }

  private isSame(self: Reached<S>, that: Reached<S>): boolean {
    return self.id === that.id || this.rig.isSame(self.state, that.state)
  }

  /** Processes all that waits, batch after batch, until nothing happens any more. */
  private finish(from: End<S>): Effect.Effect<End<S>, Broken> {
    return Effect.gen({ self: this }, function*() {
      let end = from
      while (true) {
        const next = yield* this.stepOfAll(end)
        if (next === undefined) return end
        end = next
      }
    })
  }

  /** Where a batch of all that waits leads; `undefined` when nothing happens to any event. */
  private stepOfAll({ consumed, deleted, reached }: End<S>): Effect.Effect<End<S> | undefined, Broken> {
    return Effect.gen({ self: this }, function*() {
      const decided = yield* this.decide(reached, this.all & ~consumed & ~deleted)
      const landed = yield* this.land(decided)
      if (decided.garbage === 0 && (landed === undefined || decided.consumed === 0)) return undefined
      const end: End<S> = {
        reached: landed ?? reached,
        consumed: consumed | (landed === undefined ? 0 : decided.consumed),
        deleted: deleted | decided.garbage
      }
      return end
    })
  }

  /** All that batches come to one after another. */
  private explore(): Effect.Effect<Known<S> | "too many", Broken> {
    return Effect.gen({ self: this }, function*() {
      const places = [this.start]
      const seen = new Set<string>()
      const ends = new Map<string, Array<Reached<S>>>()
      const finals = new Map<string, End<S>>()
      for (let next = 0; next < places.length; next++) {
        const place = places[next]!
        const name = `${place.consumed} ${place.deleted}`
        const states = ends.get(name) ?? []
        if (!states.includes(place.reached)) ends.set(name, [...states, place.reached])
        if ((yield* this.stepOfAll(place)) === undefined) finals.set(nameOf(place), place)
        for (const step of yield* this.steps(place)) {
          const id = `${nameOf(step)} ${step.idle}`
          if (step.idle > 2 * maxIdle || seen.has(id)) continue
          seen.add(id)
          places.push({ ...step, steps: [] })
        }
        if (places.length > maxEnds) return "too many"
      }
      return { ends, finals: Array.from(finals.values()) }
    })
  }

  /** Where one more batch of those that are left leads. */
  private steps(place: Place<S>): Effect.Effect<ReadonlyArray<Place<S>>, Broken> {
    const left = this.all & ~place.consumed & ~place.deleted
    return Effect.map(Effect.forEach(subsetsOf(left), (batch) => this.stepsOf(place, batch)), (found) => found.flat())
  }

  /** Where a batch leads, in each of its outcomes. */
  private stepsOf(place: Place<S>, batch: number): Effect.Effect<ReadonlyArray<Place<S>>, Broken> {
    return Effect.gen({ self: this }, function*() {
      const { consumed, deleted, idle, reached } = place
      const decided = yield* this.decide(reached, batch)
      const next: Array<Place<S>> = []
      const add = (outcome: Outcome, end: End<S>, isIdle: boolean) => {
        const steps = [...place.steps, { batch, decided, outcome }]
        next.push({ ...end, steps, idle: idle + (isIdle ? 1 : 0) })
      }
      const without = deleted | decided.garbage
      if (decided.garbage !== 0) add("stops before its commit", { reached, consumed, deleted: without }, false)
      const landed = idle > 2 * maxIdle ? undefined : yield* this.land(decided)
      if (landed === undefined) return next
      const isIdle = decided.consumed === 0
      const end = { reached: landed, consumed: consumed | decided.consumed, deleted: without }
      add("commits", end, isIdle && decided.garbage === 0)
      if (decided.garbage !== 0) add("stops after its commit", { ...end, deleted }, isIdle)
      return next
    })
  }

  /** A set of ids as bits. */
  bitsOf(ids: ReadonlyArray<string>): number {
    return this.events.reduce((bits, { id }, index) => ids.includes(id) ? bits | (1 << index) : bits, 0)
  }

  /** The events of a set, in order. */
  eventsOf(batch: number): ReadonlyArray<CaseEvent> {
    return this.events.filter((_, index) => (batch & (1 << index)) !== 0)
  }

  /** The ids of a set of events, as text. */
  idsOf(batch: number): string {
    return showIds(this.eventsOf(batch).map(({ id }) => id))
  }

  /** What batches that overlap do, and what they come to, as lines of text. */
  showOverlap(overlap: Overlap<S>): Effect.Effect<ReadonlyArray<string>, Broken> {
    return Effect.map(this.showEnds(overlap.end), (ends) => [
      `worker 1 ${this.showDecision(overlap.first)}`,
      ...overlap.meanwhile.map((step, index) =>
        `meanwhile worker ${index + 2} ${this.showDecision(step)}, and ${step.outcome}`
      ),
      `then worker 1 ${overlap.first.outcome}`,
      "",
      ...ends
    ])
  }

  /** An end as lines of text, beside those that batches come to one after another. */
  showEnds(end: End<S>): Effect.Effect<ReadonlyArray<string>, Broken> {
    return Effect.gen({ self: this }, function*() {
      const last = yield* this.finish(end)
      const finals = this.known === undefined || this.known === "too many" ? [] : this.known.finals
      const shown = new Set(finals.map((one) => this.showEnd(one)))
      return [
        `then          ${this.showEnd(end)}`,
        `in the end    ${this.showEnd(last)}`,
        ...Array.from(shown).slice(0, maxShown).map((line, index) =>
          `${index === 0 ? "one by one to" : "           or"} ${line}`
        ),
        ...(shown.size > maxShown ? [`${shown.size - maxShown} more`.padStart(23)] : [])
      ]
    })
  }

  private showDecision({ batch, decided }: Step<S>): string {
    return `sees ${this.idsOf(batch)}: consumes ${this.idsOf(decided.consumed)}, garbage ${this.idsOf(decided.garbage)}`
  }

  private showEnd({ consumed, deleted, reached }: End<S>): string {
    const waiting = this.all & ~consumed & ~deleted
    return [
      `state ${reached.text}`,
      `consumed ${this.idsOf(consumed)}`,
      `deleted ${this.idsOf(deleted)}`,
      ...(waiting === 0 ? [] : [`waiting ${this.idsOf(waiting)}`])
    ].join("; ")
  }
}

/** Ends that are shown, of all that batches come to one after another. */
const maxShown = 4

const outcomes: ReadonlyArray<Outcome> = ["stops before its commit", "commits", "stops after its commit"]

/** Where a batch leads that was decided at the start, and comes to its end now; `undefined` where it cannot. */
const overlap = <S>({ decided, landed, outcome }: First<S>, place: Place<S>): End<S> | undefined => {
  const { consumed, deleted, reached } = place
  if (outcome === "stops before its commit") {
    return decided.garbage === 0 ? undefined : { reached, consumed, deleted: deleted | (decided.garbage & ~consumed) }
  }
  if (landed === undefined || (outcome === "stops after its commit" && decided.garbage === 0)) return undefined
  // Any commit in between is contention.
  if (place.steps.some((step) => step.outcome !== "stops before its commit")) return undefined
  const garbage = outcome === "commits" ? decided.garbage : 0
  return { reached: landed, consumed: decided.consumed, deleted: (deleted | garbage) & ~decided.consumed }
}

const nameOf = <S>({ consumed, deleted, reached }: End<S>): string => `${reached.id} ${consumed} ${deleted}`

/** Each place once; with and without a commit on the way are two, since a commit is contention for others. */
const unique = <S>(places: ReadonlyArray<Place<S>>): ReadonlyArray<Place<S>> => {
  const seen = new Map<string, Place<S>>()
  for (const place of places) {
    const commits = place.steps.some(({ outcome }) => outcome !== "stops before its commit")
    const name = `${nameOf(place)} ${commits}`
    if (!seen.has(name)) seen.set(name, place)
  }
  return Array.from(seen.values())
}

/** All subsets of a set of bits, the empty one included, smaller ones first by number. */
export const subsetsOf = (bits: number): ReadonlyArray<number> => {
  const subsets: Array<number> = []
  for (let subset = bits;; subset = (subset - 1) & bits) {
    subsets.push(subset)
    if (subset === 0) return subsets.toReversed()
  }
}
