import { Clock, Effect, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as Explore from "../../src/testing/Explore.ts"

/** Random small programs that note all that they see: what pruning must not change is the set of what can be seen. */
const keys = ["a", "b", "c"].map((id) => Key.make("Thing", id))

export type Draw = (below: number) => number

export const makeDraw = (seed: number): Draw => {
  let state = seed * 2_654_435_761 + 1
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(state / 4_294_967_296 * below)
  }
}

const show = (found: Option.Option<Entity.Entity>) => Option.isSome(found) ? found.value.properties["v"] : "-"

const lookup = (key: Key.Key) =>
  Effect.flatMap(Datastore.Datastore, ({ backend }) => Effect.map(backend.lookup([key]), ([snapshot]) => snapshot!))

const query = Effect.flatMap(Datastore.Datastore, ({ backend }) => backend.query({ kind: "Thing" }))

/** One thing that a program does. */
const makeAction = (draw: Draw, value: string): Effect.Effect<void, unknown, Datastore.Datastore> => {
  const key = keys[draw(keys.length)]!
  const other = keys[draw(keys.length)]!
  const put = Datastore.put([Entity.make(key, { v: value })])
  const read = (one: Key.Key) => Effect.flatMap(lookup(one), ({ entity }) => Explore.note(show(entity)))
  switch (draw(12)) {
    case 0:
      return read(key)
    case 1:
      return put
    case 2:
      return Datastore.remove([key])
    case 3: // as a batch does: two reads together, then a conditional commit
      return Effect.flatMap(
        Effect.all([query, lookup(key)], { concurrency: "unbounded" }),
        ([{ results }, { entity }]) =>
          Explore.note([show(entity), ...results.map((one) => [one.key.id, show(one.entity)])])
      )
    case 4:
      return Effect.flatMap(
        Effect.exit(Datastore.withTransaction(Effect.andThen(Datastore.get(other), put))),
        (exit) => Explore.note(exit._tag)
      )
    case 5:
      return Effect.flatMap(
        Effect.all([lookup(key), lookup(other)], { concurrency: "unbounded" }),
        (found) => Explore.note(found.map(({ entity }) => show(entity)))
      )
    case 6: // the slower one is taken back
      return Effect.flatMap(
        Effect.raceFirst(Effect.as(lookup(key), "first"), Effect.as(lookup(other), "second")),
        Explore.note
      )
    case 7:
      return Effect.andThen(Effect.sleep(50), Effect.flatMap(Clock.currentTimeMillis, Explore.note))
    case 8:
      return Effect.flatMap(Effect.timeoutOption(lookup(key), 100), (found) => Explore.note(found._tag))
    case 9: // work in the background
      return Effect.flatMap(
        Datastore.Datastore,
        (datastore) => datastore.background(Effect.provideService(Effect.ignore(put), Datastore.Datastore, datastore))
      )
    case 10:
      return Effect.all([read(key), put], { concurrency: "unbounded", discard: true })
    default:
      return Effect.andThen(Explore.step("pause"), Effect.flatMap(Clock.currentTimeMillis, Explore.note))
  }
}

/** Options of a random exploration, and where what can be seen is collected. */
export const makeRandom = (seed: number) => {
  const draw = makeDraw(seed)
  const seen = new Set<string>()
  const names = ["one", "two", "three"].slice(0, 2 + draw(2))
  const programs = Object.fromEntries(names.map((name) => {
    const actions = Array.from(
      { length: 1 + draw(names.length === 3 ? 2 : 3) },
      (_, at) => makeAction(draw, `${name}${at}`)
    )
    return [name, Effect.forEach(actions, (action) => action, { discard: true })]
  }))
  const options: Explore.Options<Explore.Programs, never, never, never> = {
    setup: Datastore.put([Entity.make(keys[0]!, { v: "0" })]),
    programs,
    check: ({ exits, notes }) =>
      Effect.flatMap(Effect.orDie(Datastore.query({ kind: "Thing" })), ({ results }) =>
        Effect.sync(() => {
          seen.add(JSON.stringify([
            names.map((name) => [
              Option.map(exits[name]!, ({ _tag }) => _tag),
              notes.filter(({ program }) => program === name).map(({ note }) => note)
            ]),
            results.map(({ entity, key }) => [key.id, show(entity)])
          ]))
        })),
    processes: draw(4) === 0 ? { one: "same", two: "same" } : {},
    separateAnswers: draw(3) === 0,
    jumps: draw(4) === 0 ? ["1 second"] : [],
    faults: draw(2) === 0 ? {} : {
      responseLost: draw(2) === 0,
      requestLost: draw(2) === 0,
      late: draw(2) === 0,
      crash: draw(2) === 0,
      max: 1 + draw(2)
    }
  }
  return { options, seen }
}
