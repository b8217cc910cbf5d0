/**
 * Emits whose responses are lost, or that land late, on the real protocol: each event is consumed once.
 */
import { assert } from "@effect/vitest"
import { Duration, Effect, Fiber, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { isUnknownOutcome } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import { Account, setUp } from "../utils/emuAccounts.ts"
import { client, freshProjectId, sorted, storedIds, upTo } from "../utils/emuClients.ts"
import { onEmulator } from "../utils/emulator.ts"
import { makeWire } from "../utils/emuWire.ts"
import { isCommit } from "../utils/tcpProxy.ts"

const projectId = freshProjectId()
const value = { n: 4, changes: true }

onEmulator("emit", (it) => {
  for (const fault of ["dropResponse", "cutRequest"] as const) {
    it.effect(`stores its event once when its commit meets ${fault}`, () =>
      Effect.gen(function*() {
        const { account, wire } = yield* setUp(projectId, true)
        const lost = yield* wire.arm(fault, isCommit)
        const rpcs: Array<string> = []

        const id = yield* Eventbox.emit(Account, account, value).pipe(
          Effect.provide(client(projectId, { emulatorHost: wire.host, onRpc: (method) => rpcs.push(method) }))
        )

        yield* lost.struck
        assert.deepStrictEqual(rpcs, ["Commit", "Commit"])
        const events = yield* Outstanding.events(Account, account)
        assert.deepStrictEqual(sorted(events.map((event) => event.value.n)), [1, 2, 3, 4])
        assert.deepStrictEqual(events.filter((event) => event.value.n === 4).map((event) => event.id), [id])
      }))
  }

  it.effect("adds nothing when its retry lands after the event was consumed", () =>
    Effect.gen(function*() {
      const { account, seen, wire, workElsewhere } = yield* setUp(projectId, true)
      const lost = yield* wire.arm("dropResponse", isCommit)
      const retry = yield* wire.arm("holdRequest", isCommit)
      const emitting = yield* Eventbox.emit(Account, account, value).pipe(
        Effect.provide(client(projectId, { emulatorHost: wire.host })),
        Effect.forkChild
      )
      yield* lost.struck
      yield* retry.struck
      assert.strictEqual(yield* workElsewhere, "landed")
      assert.deepStrictEqual((yield* seen).state, [1, 2, 3, 4])

      yield* retry.release()
      const id = yield* Fiber.join(emitting)

      assert.include(yield* storedIds(account.key), id)
      assert.strictEqual(yield* workElsewhere, "nothing to do")
      assert.deepStrictEqual((yield* seen).state, [1, 2, 3, 4])
    }))

  it.effect("adds nothing when its first try lands after the event was consumed", () =>
    Effect.gen(function*() {
      const { account, seen, wire, workElsewhere } = yield* setUp(projectId, true)
      const late = yield* wire.arm("holdRequest", isCommit)
      const emitting = yield* Eventbox.emit(Account, account, value).pipe(
        Effect.provide(client(projectId, { emulatorHost: wire.host })),
        Effect.forkChild
      )
      yield* late.struck
      yield* wire.hangUp
      const id = yield* Fiber.join(emitting)
      assert.strictEqual(yield* workElsewhere, "landed")

      yield* late.release()

      assert.include(yield* storedIds(account.key), id)
      assert.strictEqual(yield* workElsewhere, "nothing to do")
      assert.deepStrictEqual((yield* seen).state, [1, 2, 3, 4])
    }))

  it.effect("has an unknown outcome when the server stays away, and can be repeated with its id", () =>
    Effect.gen(function*() {
      const { account, seen, wire, workElsewhere } = yield* setUp(projectId, true)
      yield* wire.arm("dropResponse", (message) => {
        if (isCommit(message)) wire.refuse()
        return isCommit(message)
      })

      const error = yield* Eventbox.emit(Account, account, value, { id: "mine" }).pipe(
        Effect.provide(client(projectId, { emulatorHost: wire.host })),
        // It tries for a fifth of the tombstones delay.
        Effect.provideService(Eventbox.TombstonesDelay, Duration.seconds(3)),
        Effect.flip
      )

      assert.isTrue(isUnknownOutcome(error), String(error))
      yield* Eventbox.emit(Account, account, value, { id: "mine" })
      assert.strictEqual(yield* workElsewhere, "landed")
      yield* Eventbox.emit(Account, account, value, { id: "mine" })
      assert.strictEqual(yield* workElsewhere, "nothing to do")
      assert.deepStrictEqual((yield* seen).state, [1, 2, 3, 4])
    }))

  it.effect("of many events stores each once when the response to one of its commits is lost", () =>
    Effect.gen(function*() {
      const account = Account.recipient("many")
      const wire = yield* makeWire
      const lost = yield* wire.arm("dropResponse", isCommit)

      yield* Eventbox.emitAll(Account, account, upTo(1_100).map((n) => ({ n, changes: true }))).pipe(
        Effect.provide(client(projectId, { emulatorHost: wire.host }))
      )

      yield* lost.struck
      const events = yield* Outstanding.events(Account, account)
      assert.deepStrictEqual(sorted(events.map((event) => event.value.n)), upTo(1_100))
    }))
}, { projectId })

onEmulator("a transaction without a batch", (it) => {
  it.effect("is never sent twice: it has an unknown outcome when its response is lost", () =>
    Effect.gen(function*() {
      const key = Key.make("Counter", "a")
      const wire = yield* makeWire
      yield* wire.arm("dropResponse", isCommit)
      const increment = Effect.gen(function*() {
        const before = Option.getOrUndefined(yield* Datastore.get(key))?.properties["n"] ?? 0
        yield* Datastore.put([Entity.make(key, { n: Number(before) + 1 })])
      })

      const error = yield* Datastore.withTransaction(increment).pipe(
        Effect.provide(client(projectId, { emulatorHost: wire.host })),
        Effect.flip
      )

      assert.isTrue(isUnknownOutcome(error), String(error))
      assert.deepStrictEqual(Option.getOrUndefined(yield* Datastore.get(key))?.properties, { n: 1 })
    }))
}, { projectId })
