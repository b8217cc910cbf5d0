import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import { settle, world } from "../utils/boxWorld.ts"

/** One cell of a row: `+` is somebody who wants to move in, `-` an invitation to send somebody to the left. */
class Cell extends Processor.Service<Cell>()("test/Cell", {
  kind: "cell",
  state: Schema.Int,
  event: Schema.Literals(["+", "-"])
}) {}

type CellEvents = ReadonlyArray<Processor.Event<"+" | "-">>
type Transition = Processor.Transition<number, "+" | "-">

const cell = (index: number) => Cell.recipient(index)
const emit = (index: number, event: "+" | "-") => Eventbox.emit(Cell, cell(index), event)

const load = (index: number) =>
  Effect.map(Datastore.get(cell(index).key), (found) => {
    const properties = Option.getOrUndefined(found)?.properties
    return { population: Number(properties?.["Population"] ?? 0), eversion: Number(properties?.["EVersion"] ?? 0) }
  })

/** Without events a cell invites its right neighbour's people, or grows. */
const alone = (index: number, population: number): ReadonlyArray<Transition> => {
  if (population === 0) return [{ transitionTo: population, sideEffect: emit(index + 1, "-") }]
  return population < 3 ? [{ transitionTo: population + 3 }] : []
}

const decide = (index: number, events: CellEvents, before: number): ReadonlyArray<Transition> => {
  if (events.length === 0) return alone(index, before)
  const transitions: Array<Transition> = []
  const arrival = events.find(({ value }) => value === "+")
  const invitations = events.filter(({ value }) => value === "-")
  let population = before
  // One newcomer at a time; the others wait.
  if (arrival !== undefined) transitions.push({ events: [arrival], transitionTo: ++population })
  if (invitations.length > 0) {
    transitions.push(
      population <= 1
        ? { events: invitations, transitionTo: population }
        : { events: invitations, sideEffect: emit(index - 1, "+"), transitionTo: --population }
    )
  }
  return transitions
}

const cells = Cell.toLayer(Effect.succeed({
  loadState: ({ key }) =>
    Effect.map(load(Number(key.id)), ({ eversion, population }) => ({
      state: population,
      eversion: Processor.EVersion.make(eversion)
    })),
  prepareMutation: (events, population, { key }) =>
    Effect.sync(() => ({ transitions: decide(Number(key.id), events, population) })),
  fetchEVersion: ({ key }) => Effect.map(load(Number(key.id)), ({ eversion }) => Processor.EVersion.make(eversion)),
  saveState: (population, eversion, { key }) =>
    Datastore.put([Entity.make(key, { Population: population, EVersion: eversion })])
}))

/** Runs one batch, and returns what the cell is then: population, version, waiting events. */
const live = (index: number) =>
  Effect.gen(function*() {
    const { postProcess } = yield* Eventbox.processBatch(Cell, cell(index), { maxEvents: 10_000 })
    assert.deepStrictEqual(postProcess, [])
    yield* settle
    return yield* look(index)
  })

const look = (index: number) =>
  Effect.gen(function*() {
    const { eversion, population } = yield* load(index)
    return [population, eversion, (yield* Eventbox.list(Cell, cell(index))).length]
  })

// Source of the facts: luci-go box_test.go, "eventbox works": a game of life across mailboxes.
describe("cells that live by their mailboxes alone", () => {
  const life = Layer.provideMerge(cells, world)

  it.effect("are settled, grow, invite each other's people, and let them go one at a time", () =>
    Effect.gen(function*() {
      yield* emit(65, "+")
      assert.deepStrictEqual(yield* look(65), [0, 0, 1])

      assert.deepStrictEqual(yield* live(65), [1, 1, 0], "settled")
      assert.deepStrictEqual(yield* live(65), [4, 2, 0], "grown, without events")
      assert.deepStrictEqual(yield* live(65), [4, 2, 0], "nothing to do, nothing changed")

      // An empty neighbour invites, twice; its own state stays as it is.
      assert.deepStrictEqual(yield* live(64), [0, 0, 0])
      assert.deepStrictEqual(yield* live(64), [0, 0, 0])
      assert.deepStrictEqual(yield* look(65), [4, 2, 2])
      assert.deepStrictEqual(yield* live(65), [3, 3, 0], "one leaves, both invitations are consumed")

      assert.deepStrictEqual(yield* look(64), [0, 0, 1])
      assert.deepStrictEqual(yield* live(64), [1, 1, 0], "who left has arrived")

      // An invitation to somebody who lives alone is consumed, and nothing else happens.
      yield* live(63)
      assert.deepStrictEqual(yield* look(64), [1, 1, 1])
      assert.deepStrictEqual(yield* live(64), [1, 1, 0])
      assert.deepStrictEqual(yield* look(63), [0, 0, 0])
    }).pipe(Effect.provide(life)))

  it.effect("take of many events those that they can, and leave the others waiting", () =>
    Effect.gen(function*() {
      for (const event of ["+", "+", "+", "-", "-"] as const) yield* emit(49, event)
      assert.deepStrictEqual(yield* look(49), [0, 0, 5])

      assert.deepStrictEqual(yield* live(49), [1, 1, 2])
      assert.deepStrictEqual(yield* live(49), [2, 2, 1])
      assert.deepStrictEqual(yield* live(49), [3, 3, 0])
    }).pipe(Effect.provide(life)))

  it.effect("neither lose nor gain anybody while they move along a row", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 3; n++) yield* emit(15, "+")
      for (let round = 0; round < 15; round++) {
        for (let index = 15; index >= 11; index--) {
          const [population, , waiting] = yield* look(index)
          // Without the growth of cells that have no events, people only move.
          if (population === 0 || waiting !== 0) yield* live(index)
        }
      }

      let people = 0
      for (let index = 10; index <= 15; index++) {
        const arriving = (yield* Outstanding.events(Cell, cell(index))).filter(({ value }) => value === "+")
        people += (yield* load(index)).population + arriving.length
      }

      assert.strictEqual(people, 3)
      assert.isBelow((yield* load(15)).population, 3, "nobody moved")
    }).pipe(Effect.provide(life)))
})
