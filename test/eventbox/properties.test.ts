import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import {
  Journal,
  journal,
  type JournalEvents,
  type JournalMutation,
  type JournalProcessor,
  pending,
  version
} from "../utils/boxJournal.ts"
import { type Process, twoProcesses } from "../utils/boxProcesses.ts"
import { storedItems } from "../utils/boxWorld.ts"
import { settle } from "../utils/settle.ts"

const Worker = Schema.Literals([0, 1])
const Id = Schema.Literals(["a", "b", "c", "garbage"]) // few, so that they collide

const Step = Schema.TaggedUnion({
  Emit: { id: Id },
  /** A worker lists and loads, and comes to a decision that changes the state or keeps it. */
  Begin: { worker: Worker, keeps: Schema.Boolean, all: Schema.Boolean },
  /** It commits that decision. */
  End: { worker: Worker },
  /** Somebody else changes the state of the recipient, correctly. */
  Outside: {},
  /** From now on the deletes of this worker fail, or work again. */
  Deletes: { worker: Worker, work: Schema.Boolean }
})

const audit = Journal.recipient("audit")

/** Consumes all but garbage, and emits the id of each to the audit, in the same transaction. */
const decide = (events: JournalEvents, state: ReadonlyArray<string>, keeps: boolean): JournalMutation => {
  const chosen = events.filter(({ id }) => id !== "garbage")
  const garbage = events.filter(({ id }) => id === "garbage")
  if (chosen.length === 0) return { transitions: [], garbage }
  const sideEffect = Eventbox.emitAll(Journal, audit, chosen.map(({ id }) => id))
  return {
    transitions: [{
      events: chosen,
      transitionTo: keeps ? state : [...state, ...chosen.map(({ id }) => id)],
      sideEffect
    }],
    garbage
  }
}

const load = Effect.map(Datastore.get(journal.key), (found) => {
  const properties = Option.getOrUndefined(found)?.properties
  const state = (properties?.["State"] ?? []) as ReadonlyArray<string>
  return { state, eversion: version(Number(properties?.["EVersion"] ?? 0)) }
})

const save = (state: ReadonlyArray<string>, eversion: number) =>
  Datastore.put([Entity.make(journal.key, { State: state, EVersion: eversion })])

/** A processor that reads its state once, before the transaction, and decides when the gate opens. */
const processor = (keeps: boolean, gate: Effect.Effect<void>): JournalProcessor => ({
  loadState: () => load,
  prepareMutation: (events, state) => Effect.as(gate, decide(events, state, keeps)),
  saveState: (state, eversion) => save(state, eversion)
})

const withProcessor = (keeps: boolean, gate: Effect.Effect<void>) =>
  Effect.provideService(Journal, processor(keeps, gate))

interface Running {
  readonly gate: Deferred.Deferred<void>
  readonly keeps: boolean
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const begin = (process: Process, keeps: boolean, all: boolean) =>
  Effect.gen(function*() {
    const gate = yield* Deferred.make<void>()
    const batch = Eventbox.processBatch(Journal, journal, { maxEvents: all ? 100 : 2 })
    const fiber = yield* Effect.forkChild(process.run(batch.pipe(withProcessor(keeps, Deferred.await(gate)))))
    return { gate, keeps, fiber } satisfies Running
  })

describe("any history of two workers on one recipient", () => {
  // Both may have listed and loaded before either commits. Time stands still, so no id may be consumed twice.
  //
  // Kills these mutants, at this size within half of the histories in every run that was tried: a `pop` that does
  // nothing; a head that is not expected (E7), or is written without what was popped; the state that was loaded not
  // expected (E1, the EVersion check); garbage of the processor that is not deleted; popped items that a listing does
  // not hide; a state that is saved without its pops (E3).
  it.effect.prop(
    "consumes every event once, loses no change of the state, and keeps no garbage",
    [Schema.Array(Step)],
    ([steps]) =>
      Effect.gen(function*() {
        const { observer, workers } = yield* twoProcesses
        const emitted = new Set<string>()
        const running: Array<Running | undefined> = [undefined, undefined]
        const inState: Array<string> = []
        let outside = 0
        const end = (worker: 0 | 1) =>
          Effect.gen(function*() {
            const one = running[worker]
            if (one === undefined) return
            running[worker] = undefined
            yield* Deferred.succeed(one.gate, undefined)
            const exit = yield* Fiber.await(one.fiber)
            // A refused delete fails a batch that has nothing but garbage.
            if (Exit.isFailure(exit)) assert.match(String(exit), /ContentionError|permission denied/)
          })
        const run = Step.match({
          Emit: ({ id }) => {
            emitted.add(id)
            return observer.run(Eventbox.emit(Journal, journal, id, { id }))
          },
          Begin: ({ all, keeps, worker }) =>
            running[worker] !== undefined ? Effect.void : Effect.map(begin(workers[worker], keeps, all), (one) => {
              running[worker] = one
            }),
          End: ({ worker }) => end(worker),
          Outside: () => {
            const id = `outside ${outside++}`
            inState.push(id)
            return observer.run(Effect.flatMap(load, ({ eversion, state }) => save([...state, id], eversion + 1)))
          },
          Deletes: ({ work, worker }) =>
            Effect.sync(() => {
              workers[worker].deletes = work
            })
        })

        for (const step of steps) yield* Effect.andThen(run(step), settle)
        yield* Effect.andThen(end(0), end(1))
        workers[0].deletes = workers[1].deletes = true
        const rest = Eventbox.processBatch(Journal, journal).pipe(withProcessor(false, Effect.void))
        for (let n = 0; n < 3; n++) yield* Effect.andThen(observer.run(rest), settle)

        const expected = Array.from(emitted).filter((id) => id !== "garbage").toSorted()
        const audited = yield* observer.run(pending(audit))
        assert.deepStrictEqual(audited.toSorted(), expected)
        const { state } = yield* observer.run(load)
        assert.deepStrictEqual(state.filter((id) => id.startsWith("outside")), inState)
        assert.strictEqual(new Set(state).size, state.length)
        assert.deepStrictEqual(yield* observer.run(storedItems(journal.key)), [])
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 200, size: 120 } }
  )
})
