/**
 * The law `Concurrency`: histories of the library itself, in which two batches of a processor overlap, and an event is
 * emitted meanwhile.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Datastore from "../../Datastore.ts"
import * as DsSet from "../../DsSet.ts"
import { headKey, itemKind, readHead } from "../../dsset/format/stored.ts"
import { idsOf } from "../../dsset/format/tombstones.ts"
import * as Eventbox from "../../Eventbox.ts"
import { type Choice, type Scenario, World } from "../explore/world.ts"
import { formatRows } from "../text/table.ts"
import { Chance } from "../virtual/chance.ts"
import { startMillis } from "../virtual/time.ts"
import { type Batches, bitsOf, type End, type Outcome } from "./batches.ts"
import { broken } from "./broken.ts"
import type { CaseEvent } from "./case.ts"
import { arrive } from "./decide.ts"
import { judge, showEnds } from "./ends.ts"
import type { Overlap } from "./garbage.ts"
import { write } from "./rig.ts"

/** Steps after which a history is given up. */
const maxSteps = 500

/** Histories that are tried in search of one that comes to a certain end, and after it in search of a shorter one. */
const maxTries = 400
const keepLooking = 30

/** Draws an integer below a bound. */
type Draw = (below: number) => number

const drawFrom = (seed: string): Draw => {
  const chance = new Chance(seed)
  return (below) => chance.below(below)
}

/**
 * Runs histories at random, and looks for one whose end is not explained. Returns how many were run; none
 * for a processor that waits for something other than the database and time.
 */
export const checkConcurrency = Effect.fnUntraced(function*(batches: Batches, count: number, seed: number) {
  const { all, base, events } = batches
  if (events.length === 0) return 0
  for (let number = 0; number < count; number++) {
    const draw = drawFrom(`${seed} ${number}`)
    const late = events.length > 1 && draw(2) === 0 ? events.at(-1) : undefined
    const workers = { one: all, two: draw(2) === 0 ? all : draw(all + 1) }
    const scenario = yield* prepare(batches, workers, late, 1 + draw(2))
    const { end, world } = yield* walk(batches, scenario, draw)
    if (end === undefined) return number
    const verdict = yield* judge(batches, end)
    if (verdict === "explained" || verdict === "undecided") continue
    const summary = "overlapping batches come to an end that batches one after another do not come to"
    const detail = [...(yield* showEnds(batches, end)), "", ...table(world)]
    return yield* broken("Concurrency", summary, detail, { state: base.text, events })
  }
  return count
})

/** Looks for a history of the library that shows an overlap; its steps as lines of text. */
export const demonstrate = Effect.fnUntraced(function*(batches: Batches, { end: wanted, first, meanwhile }: Overlap) {
  const steps = [first, ...meanwhile]
  const workers = Object.fromEntries(steps.map(({ batch }, index) => [`worker ${index + 1}`, batch]))
  const crashes = steps.filter(({ outcome }) => outcome !== ("commits" satisfies Outcome)).length
  const scenario = yield* prepare(batches, workers, undefined, crashes)
  let shortest: World | undefined
  let tries = maxTries
  for (let number = 0; number < tries; number++) {
    const { end, world } = yield* walk(batches, scenario, drawFrom(`demonstrate ${number}`))
    if (end === undefined) break
    if (end.consumed !== wanted.consumed || end.deleted !== wanted.deleted) continue
    if (end.reached.id !== wanted.reached.id) continue
    if (shortest === undefined) tries = Math.min(tries, number + keepLooking)
    if (shortest === undefined || world.taken.length < shortest.taken.length) shortest = world
  }
  return shortest === undefined ? [] : ["", "One history of the library that comes to it:", "", ...table(shortest)]
})

const table = (world: World): ReadonlyArray<string> => formatRows(world.rows, startMillis).split("\n")

/** A scenario that begins where the run stands, its events stored; `late` is emitted by a program of its own. */
const prepare = (
  { base, events, rig }: Batches,
  workers: Readonly<Record<string, number>>,
  late: CaseEvent | undefined,
  maxFaults: number
): Effect.Effect<Scenario> =>
  Effect.gen(function*() {
    const { box, recipient } = rig.subject
    const set = DsSet.make({ parent: recipient.key })
    const add = (added: ReadonlyArray<CaseEvent>) =>
      DsSet.add(set, added.map(({ bytes, id }) => ({ id, value: bytes, atMillis: startMillis })))
    yield* rig.store.restore(base.stored)
    yield* Effect.flatten(write(rig, add(events.filter((event) => event !== late))))
    const programs = Object.entries(workers).map(([name, batch]) => {
      const hidden = new Set(events.filter((_, index) => (batch & (1 << index)) === 0).map(({ id }) => id))
      return { name, process: name, effect: without(hidden, Eventbox.processBatch(box, recipient)) }
    })
    const sender = { name: "sender", process: "sender", effect: add(late === undefined ? [] : [late]) }
    return {
      store: rig.store,
      stored: yield* rig.store.snapshot,
      context: rig.ambient,
      programs: late === undefined ? programs : [...programs, sender],
      startMillis,
      jumpsMillis: [],
      faults: ["crash-before", "crash-after"] as const,
      maxFaults,
      mayFail: (call, process) => call.operation === "commit" && process !== "sender",
      isSeparate: false
    } satisfies Scenario
  }).pipe(Effect.orDie)

/** Runs an effect on a database whose listings do not show some events, as if they had not been emitted yet. */
const without = <X, EX, R>(hidden: ReadonlySet<string>, effect: Effect.Effect<X, EX, R>) =>
  Effect.gen(function*() {
    const { backend } = yield* Datastore.Datastore
    const partial = yield* Datastore.make({
      ...backend,
      query: (query) =>
        Effect.map(backend.query(query), (found) => ({
          ...found,
          results: found.results.filter(({ key }) => key.kind !== itemKind || !hidden.has(String(key.id)))
        }))
    })
    return yield* Effect.provideService(effect, Datastore.Datastore, partial)
    // Never closed: a process of a history just stops.
  }).pipe(Effect.provideService(Scope.Scope, Scope.makeUnsafe()))

/**
 * One history, its steps chosen at random; a fault at one step in four where there may be one. Without an end when the
 * processor waits for something other than the database and time, or loading fails.
 */
const walk = Effect.fnUntraced(function*(batches: Batches, scenario: Scenario, draw: Draw) {
  const world = new World(scenario, false)
  for (let choices = world.choices(); choices.length > 0; choices = world.choices()) {
    if (world.taken.length >= maxSteps) return { world, end: undefined }
    world.take(choose(choices, draw))
  }
  if (world.unfinished().length > 0) return { world, end: undefined }
  for (const [name, exit] of world.exits) {
    if (Exit.isSuccess(exit) || exit.cause.reasons.every(({ _tag }) => _tag === "Fail")) continue
    const detail = [String(exit.cause), "", ...table(world)]
    const place = { state: batches.base.text, events: batches.events }
    return yield* broken("Concurrency", `${name} dies in a batch of the library`, detail, place)
  }
  return { world, end: yield* endOf(batches) }
})

const choose = (choices: ReadonlyArray<Choice>, draw: Draw): Choice => {
  const faults = choices.filter(({ fault }) => fault !== undefined)
  const others = choices.filter(({ fault }) => fault === undefined)
  const among = faults.length > 0 && (others.length === 0 || draw(4) === 0) ? faults : others
  return among[draw(among.length)]!
}

/** What a history came to, read from the store. */
const endOf = Effect.fnUntraced(function*(batches: Batches) {
  const { all, rig } = batches
  const { backend } = rig.store
  const parent = rig.subject.recipient.key
  const [head] = yield* Effect.orDie(backend.lookup([headKey(parent)]))
  const { results } = yield* Effect.orDie(backend.query({ kind: itemKind, ancestor: parent }))
  const popped = Option.getOrThrow(Option.fromUndefinedOr(readHead(head!))).pops.flatMap(idsOf)
  const consumed = bitsOf(batches, popped)
  const waiting = bitsOf(batches, results.map(({ key }) => String(key.id)))
  const reached = yield* arrive(rig)
  const end: End | undefined = reached && { reached, consumed, deleted: all & ~consumed & ~waiting }
  return end
})
