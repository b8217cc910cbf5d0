/**
 * Depth first over sequences of choices, each replayed from the start.
 *
 * With pruning, histories that differ only in the order of independent steps count as one (source sets with sleep sets,
 * after Abdulla, Aronis, Jonsson and Sagonas, "Optimal dynamic partial order reduction", POPL 2014). At a new place
 * only the first choice is *wanted*. Whenever two steps of a history race, that is, depend on each other and could have
 * come in the other order, a step that leads to the other order becomes wanted where the first of them was taken. And
 * once a step was tried somewhere, it *sleeps* in what is tried there next, until a step that depends on it has been
 * taken.
 *
 * No table of visited states is kept: it would have next to nothing to find. A process is what it was told until now,
 * so two places are the same state only if every process was told the same, and then whole histories through them look
 * the same to every process. Of the histories of workers that are left, at most 1 in 50 looks like another (a test
 * counts them).
 */
import { type Footprint, isAwaitedWith, isDependent } from "./footprint.ts"
import type { Choice, World } from "./world.ts"

/** One place in the current history, and what was tried there. */
interface Place {
  readonly ids: ReadonlyArray<string>
  readonly wanted: Set<string>
  /** Steps that need not be tried here, as another history has them earlier. */
  readonly sleeping: ReadonlyMap<string, Footprint>
  /** Steps tried before the current one, as they were from here. */
  readonly tried: Map<string, Footprint>
  chosen: string
  step: Step | undefined
}

/** The step that was taken at a place. */
interface Step {
  readonly footprint: Footprint
  /** The depths of the steps that it follows from. */
  readonly causes: ReadonlySet<number>
}

/** How a history came to its end: by itself, because it equals another one, or cut off. */
export type Ending = "complete" | "pruned" | "too long"

/** Walks through histories: `run` one, then `next` until there is none. */
export class Search {
  private readonly places: Array<Place> = []
  private readonly isPruned: boolean

  constructor(isPruned: boolean) {
    this.isPruned = isPruned
  }

  /** Plays one history: the places known before, then new ones; the first choice at each. */
  run(world: World, maxSteps: number): Ending {
    const changed = this.places.length - 1
    for (let depth = 0;; depth++) {
      const choices = world.choices()
      const place = this.places[depth] ?? this.arrive(choices, this.places[depth - 1])
      if (place === "complete" || place === "pruned") return place
      const choice = choices.find(({ id }) => id === place.chosen)
      if (choice === undefined || !isSame(choices, place.ids)) throw notDeterministic(depth, place.ids, choices)
      if (depth >= maxSteps) return "too long"
      if (depth === this.places.length) this.places.push(place)
      const footprint = world.take(choice)
      if (depth >= changed) this.record(depth, footprint, choice.bornAt)
    }
  }

  /** Moves on to the next history; false when all were run. */
  next(): boolean {
    for (let place = this.places.at(-1); place !== undefined; place = this.places.at(-1)) {
      if (place.step !== undefined) place.tried.set(place.chosen, place.step.footprint)
      const next = place.ids.find((id) => place!.wanted.has(id) && !place!.tried.has(id) && !place!.sleeping.has(id))
      if (next !== undefined && place.step !== undefined) {
        place.chosen = next
        return true
      }
      this.places.pop()
    }
    return false
  }

  private arrive(choices: ReadonlyArray<Choice>, before: Place | undefined): Place | "complete" | "pruned" {
    if (choices.length === 0) return "complete"
    const sleeping = this.isPruned && before !== undefined ? stillAsleep(before) : empty
    const chosen = choices.find(({ id }) => !sleeping.has(id))
    if (chosen === undefined) return "pruned"
    const ids = choices.map(({ id }) => id)
    const place = { ids, wanted: new Set<string>(), sleeping, tried: new Map(), chosen: chosen.id, step: undefined }
    for (const id of ids) {
      // That time passes is never forced, so no race would show it.
      if (!this.isPruned || id.startsWith(":")) place.wanted.add(id)
    }
    want(place, chosen.id)
    return place
  }

  /** Notes the step that was taken at a depth, finds what it follows from, and where it races. */
  private record(depth: number, footprint: Footprint, bornAt: number): void {
    const place = this.places[depth]!
    const causes = new Set<number>()
    place.step = { footprint, causes }
    if (!this.isPruned) return
    // What was taken back is not tried later in this history, so it is tried instead.
    if (footprint.withdraws) { for (const id of place.ids) place.wanted.add(id) }
    for (let earlier = depth - 1; earlier >= 0; earlier--) {
      if (causes.has(earlier)) continue
      const step = this.places[earlier]!.step!
      const isBorn = bornAt === earlier + 1
      if (!isBorn && (!isDependent(step.footprint, footprint) || isAwaitedWith(step.footprint, footprint))) continue
      if (!isBorn && !this.isJoined(earlier, footprint, bornAt)) this.race(earlier, depth)
      causes.add(earlier)
      for (const cause of step.causes) causes.add(cause)
    }
  }

  /**
   * Whether a step was born once this answer and a later one, that was awaited with it, had come: then it must follow.
   */
  private isJoined(earlier: number, { process }: Footprint, bornAt: number): boolean {
    const { footprint } = this.places[earlier]!.step!
    if (!footprint.isQuiet || footprint.process !== process) return false
    for (let later = earlier + 1; later < bornAt; later++) {
      if (isAwaitedWith(footprint, this.places[later]!.step!.footprint)) return true
    }
    return false
  }

  /**
   * Makes the other order of two steps wanted: what comes between them and does not follow from the first may come
   * first.
   */
  private race(earlier: number, later: number): void {
    const place = this.places[earlier]!
    const between: Array<number> = []
    const first: Array<string> = []
    for (let depth = earlier + 1; depth <= later; depth++) {
      const { causes } = this.places[depth]!.step!
      if (depth < later && causes.has(earlier)) continue
      if (!between.some((other) => causes.has(other))) first.push(this.places[depth]!.chosen)
      between.push(depth)
    }
    if (first.some((id) => place.wanted.has(id) || place.sleeping.has(id) || place.tried.has(id))) return
    const found = first.find((id) => place.ids.includes(id))
    if (found !== undefined) want(place, found)
    else for (const id of place.ids) place.wanted.add(id)
  }
}

const empty: ReadonlyMap<string, Footprint> = new Map()

/** A step and its other outcomes: faults are not steps that race, but other ways for one step to go. */
const want = (place: Place, id: string): void => {
  const [base] = id.split("!")
  for (const other of place.ids) if (other === id || other.split("!")[0] === base) place.wanted.add(other)
}

const stillAsleep = ({ sleeping, step, tried }: Place): ReadonlyMap<string, Footprint> => {
  const still = new Map<string, Footprint>()
  for (const steps of [sleeping, tried]) {
    for (const [id, other] of steps) {
      if (!isDependent(other, step!.footprint)) still.set(id, other)
    }
  }
  return still
}

const isSame = (choices: ReadonlyArray<Choice>, ids: ReadonlyArray<string>): boolean =>
  choices.length === ids.length && choices.every(({ id }, index) => id === ids[index])

const notDeterministic = (depth: number, before: ReadonlyArray<string>, now: ReadonlyArray<Choice>): Error =>
  new Error(
    `Explore: the same history went another way when it was run again; at step ${depth + 1} there was ` +
      `${before.join(" ")} and now is ${
        now.map(({ id }) => id).join(" ")
      }. A program depends on something other than the ` +
      "database, Clock and Random: memory that is shared between histories, most likely."
  )
