/**
 * A batch that keeps its state still rests on it: the commit expects an entity that it does not write.
 */
import { assert } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { ContentionError } from "../../src/EventboxError.ts"
import * as Processor from "../../src/Processor.ts"
import { client, countBy, freshProjectId } from "../utils/emuClients.ts"
import { onEmulator } from "../utils/emulator.ts"

const projectId = freshProjectId()

/** Has a limit that somebody else sets, and grants what is within it; it keeps its state. */
class Gate extends Processor.Service<Gate>()("test/Gate", {
  kind: "Gate",
  state: Schema.Int,
  event: Schema.Int
}) {}

class Granted extends Processor.Service<Granted>()("test/Granted", {
  kind: "Granted",
  state: Schema.Void,
  event: Schema.Int
}) {}

/** The processor of gates, to whose decision something happens meanwhile. */
const gates = (meanwhile: Effect.Effect<void>) =>
  Gate.toLayer(Gate.entity({
    initial: () => 0,
    prepareMutation: (events, limit, { key }) =>
      Effect.as(meanwhile, {
        transitions: events.filter(({ value }) => value <= limit).map((event) => ({
          events: [event],
          transitionTo: limit,
          sideEffect: Eventbox.emit(Granted, Granted.recipient(key.id), event.value)
        }))
      })
  }))

/** The gate's entity as this library stores it, beside properties of its owner that must stay as they are. */
const gateEntity = (recipient: Processor.Recipient<Gate>, limit: number, eversion: number): Entity.Entity =>
  Entity.make(recipient.key, {
    EVersion: eversion,
    State: String(limit),
    name: "gate",
    long: "x".repeat(2_000),
    nested: { a: 1.5, b: [null, true, 9_007_199_254_740_993n] }
  }, { unindexed: ["EVersion", "State", "long"] })

for (const unwrittenExpectations of ["noop", "interactive"] as const) {
  onEmulator(`unwritten expectations: ${unwrittenExpectations}`, (it) => {
    const rpcs: Array<string> = []
    const worker = (recipient: Processor.Recipient<Gate>, meanwhile: Effect.Effect<void>) =>
      Effect.gen(function*() {
        rpcs.length = 0
        return yield* Eventbox.processBatch(Gate, recipient).pipe(
          Effect.provide(gates(meanwhile)),
          Effect.provide(client(projectId, { unwrittenExpectations, onRpc: (method) => rpcs.push(method) }))
        )
      })
    const granted = (recipient: Processor.Recipient<Gate>) =>
      Effect.map(
        Eventbox.list(Granted, Granted.recipient(recipient.key.id)),
        (events) => events.map(({ value }) => value)
      )
    const others = <E>(effect: Effect.Effect<void, E, Datastore.Datastore>) =>
      Effect.orDie(Effect.provide(effect, client(projectId)))

    for (
      const [name, before, meanwhile] of [
        ["changes", true, (gate: Processor.Recipient<Gate>) => Datastore.put([gateEntity(gate, 1, 8)])],
        ["removes", true, (gate: Processor.Recipient<Gate>) => Datastore.remove([gate.key])],
        ["creates", false, (gate: Processor.Recipient<Gate>) => Datastore.put([gateEntity(gate, -5, 1)])]
      ] as const
    ) {
      it.effect(`a batch that keeps the state meets contention when somebody ${name} it meanwhile`, () =>
        Effect.gen(function*() {
          const gate = Gate.recipient(`${unwrittenExpectations} ${name}`)
          if (before) yield* Datastore.put([gateEntity(gate, 10, 7)])
          const wish = before ? 5 : 0
          yield* Eventbox.emit(Gate, gate, wish)

          const error = yield* Effect.flip(worker(gate, others(meanwhile(gate))))

          assert.instanceOf(error, ContentionError)
          assert.strictEqual(error.reason._tag, "EntityChanged")
          assert.deepStrictEqual(yield* granted(gate), [])
          assert.deepStrictEqual((yield* Eventbox.list(Gate, gate)).map(({ value }) => value), [wish])
          // On the state as it is now, the same wish is not granted.
          assert.strictEqual((yield* worker(gate, Effect.void)).consumed, 0)
        }))
    }

    it.effect("a batch that keeps an undisturbed state lands, and leaves the entity as it was", () =>
      Effect.gen(function*() {
        const gate = Gate.recipient(`${unwrittenExpectations} undisturbed`)
        yield* Datastore.put([gateEntity(gate, 10, 7)])
        yield* Eventbox.emit(Gate, gate, 5)
        const { backend } = yield* Datastore.Datastore
        const [before] = yield* backend.lookup([gate.key])

        assert.strictEqual((yield* worker(gate, Effect.void)).consumed, 1)

        const [after] = yield* backend.lookup([gate.key])
        assert.deepStrictEqual(Option.getOrThrow(after!.entity), Option.getOrThrow(before!.entity))
        assert.strictEqual(after!.version, before!.version)
        assert.deepStrictEqual(yield* granted(gate), [5])
        assert.deepStrictEqual(
          countBy(rpcs),
          unwrittenExpectations === "noop"
            ? { RunQuery: 1, Lookup: 1, Commit: 1 }
            : { RunQuery: 1, Lookup: 2, BeginTransaction: 1, Commit: 1 }
        )
      }))

    it.effect("a batch on a state that was never saved lands without creating it", () =>
      Effect.gen(function*() {
        const gate = Gate.recipient(`${unwrittenExpectations} absent`)
        yield* Eventbox.emit(Gate, gate, 0)

        assert.strictEqual((yield* worker(gate, Effect.void)).consumed, 1)

        assert.isTrue(Option.isNone(yield* Datastore.get(gate.key)))
        assert.deepStrictEqual(yield* granted(gate), [0])
      }))
  }, { projectId })
}
