/**
 * Answers that were spoilt on the way: whatever gRPC's client makes of them, nothing is lost, nothing is doubled, and a
 * batch finds out whether it landed.
 */
import { assert } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import { type Seen, setUpBehind } from "../utils/emuAccounts.ts"
import { client, freshProjectId } from "../utils/emuClients.ts"
import { emulatorHost, onEmulator } from "../utils/emulator.ts"
import { type Fault, faults, makeH2Proxy } from "../utils/h2Proxy.ts"

const projectId = freshProjectId()

const untouched: Seen = { state: [], copies: [], afterwards: [], waiting: [1, 2, 3] }
const applied: Seen = { state: [], copies: [1, 2, 3], afterwards: [1, 2, 3], waiting: [] }

let counters = 0

/** Of a client that meets the fault; the outcome is the same when a deadline passes for another reason. */
const deadline = ({ hangs = false }: Fault) => hangs ? { commitDeadline: "1 second" as const } : {}

/** Situations in which a fault may strike: three sorts of work, in two modes. */
const situations = 6

/** The part of all pairs of a fault and a situation that tells most: each fault strikes once. */
export const sample = (fault: number, situation: number): boolean => fault % situations === situation

/** Runs those pairs of a fault, by its number, and a situation that are wanted. */
export const verdicts = (isWanted: (fault: number, situation: number) => boolean): void => {
  const chosen = (situation: number) => faults.filter((_, fault) => isWanted(fault, situation))

  for (const [mode, unwrittenExpectations] of (["noop", "interactive"] as const).entries()) {
    onEmulator(`a commit whose answer is spoilt: ${unwrittenExpectations}`, (it) => {
      // It keeps its state, so that it also expects what it does not write.
      it.effect.each(chosen(3 * mode))(
        "after it landed: a batch has landed ($name)",
        (fault) =>
          Effect.gen(function*() {
            const proxy = yield* makeH2Proxy(emulatorHost)
            const { seen, work, workElsewhere } = yield* setUpBehind(proxy.host, projectId, false, {
              unwrittenExpectations,
              ...deadline(fault)
            })
            const hasStruck = proxy.arm("Commit", fault, "after")

            const outcome = yield* work

            assert.isTrue(hasStruck())
            // Sent again by the client, against HTTP/2's own rule: it then meets itself.
            if (fault.isRefusal !== true) {
              assert.strictEqual(outcome, "landed")
              assert.deepStrictEqual(yield* seen, applied)
            }
            assert.strictEqual(yield* workElsewhere, "nothing to do")
            assert.deepStrictEqual((yield* seen).copies, [1, 2, 3])
          })
      )

      it.effect.each(chosen(1 + 3 * mode))(
        "before it got there: a batch is contention, and lands when it is run again ($name)",
        (fault) =>
          Effect.gen(function*() {
            const proxy = yield* makeH2Proxy(emulatorHost)
            const { seen, work } = yield* setUpBehind(proxy.host, projectId, false, {
              unwrittenExpectations,
              ...deadline(fault)
            })
            const hasStruck = proxy.arm("Commit", fault, "before")

            const outcome = yield* work

            assert.isTrue(hasStruck())
            assert.strictEqual(outcome, fault.isRefusal === true ? "landed" : "Fenced")
            if (outcome !== "landed") {
              assert.deepStrictEqual(yield* seen, untouched)
              assert.strictEqual(yield* work, "landed")
            }
            assert.deepStrictEqual(yield* seen, applied)
          })
      )

      it.effect.each(chosen(2 + 3 * mode))(
        "a transaction is in doubt, and never retryable ($name)",
        (fault) =>
          Effect.gen(function*() {
            const proxy = yield* makeH2Proxy(emulatorHost)
            for (const moment of ["before", "after"] as const) {
              const [counter, other] = ["Counter", "Other"].map((kind) => Key.make(kind, ++counters))
              yield* Datastore.put([Entity.make(counter!, { n: 0 })])
              const hasStruck = proxy.arm("Commit", fault, moment)

              const error = yield* Effect.flip(
                Datastore.withTransaction(Effect.gen(function*() {
                  yield* Datastore.getAll([other!])
                  const found = Option.getOrThrow(yield* Datastore.get(counter!))
                  yield* Datastore.put([Entity.make(counter!, { n: Number(found.properties["n"]) + 1 })])
                }))
              ).pipe(
                Effect.provide(client(projectId, {
                  unwrittenExpectations,
                  emulatorHost: proxy.host,
                  ...deadline(fault)
                })),
                Effect.option
              )

              assert.isTrue(hasStruck())
              const { n } = Option.getOrThrow(yield* Datastore.get(counter!)).properties
              if (fault.isRefusal === true) continue
              const { reason } = Option.getOrThrow(error)
              assert.strictEqual(reason._tag, "OutcomeUnknown")
              assert.isFalse(Option.getOrThrow(error).isRetryable)
              assert.strictEqual(n, moment === "after" ? 1 : 0)
            }
          })
      )
    }, { projectId })
  }

  onEmulator("reads whose answers are spoilt", (it) => {
    it.effect.each(chosen(0).filter(({ hangs, isAnswer }) => hangs !== true && isAnswer !== true))(
      "are asked again, a query, a lookup and the begin of a transaction ($name)",
      (fault) =>
        Effect.gen(function*() {
          const proxy = yield* makeH2Proxy(emulatorHost)
          const { seen, work } = yield* setUpBehind(proxy.host, projectId, false, {
            unwrittenExpectations: "interactive"
          })
          const struck = (["RunQuery", "Lookup", "BeginTransaction"] as const).map((method) =>
            proxy.arm(method, fault, "after")
          )

          assert.strictEqual(yield* work, "landed")

          assert.deepStrictEqual(struck.map((has) => has()), [true, true, true])
          assert.deepStrictEqual(yield* seen, applied)
        })
    )
  }, { projectId })
}
