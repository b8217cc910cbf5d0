/**
 * What the proxy of the chaos runs says and does beyond the faults of `outcome.test.ts`: what is under way, faults that
 * are taken back, and clients that are cut off while their request goes on.
 */
import { assert } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import { client, freshProjectId } from "../utils/emuClients.ts"
import { emulatorHost, onEmulator } from "../utils/emulator.ts"
import { type Fault, isCommit, makeTcpProxy } from "../utils/tcpProxy.ts"

const projectId = freshProjectId()
const key = Key.make("Thing", "a")
const write = Effect.result(Datastore.put([Entity.make(key, { n: 1 })]))
const nothing = { requests: 0, commits: 0 }

/** A proxy, and a client that knows only it. */
const setUp = Effect.gen(function*() {
  const proxy = yield* makeTcpProxy(emulatorHost)
  return { proxy, through: client(projectId, { emulatorHost: proxy.host }) }
})

onEmulator("the proxy", (it) => {
  it.effect("lets a request go on whose client was cut off, and counts it until it is answered", () =>
    Effect.gen(function*() {
      const { proxy, through } = yield* setUp
      const held = proxy.arm("holdRequest", isCommit)
      const writing = yield* Effect.forkChild(Effect.provide(write, through))

      assert.deepStrictEqual(yield* Effect.promise(() => held.struck), { requests: 1, commits: 1 })
      assert.deepStrictEqual(proxy.underWay(), { requests: 1, commits: 1 })
      assert.strictEqual(proxy.connections(), 1)
      held.hangUp()
      const wrote = yield* Fiber.join(writing)

      assert.strictEqual(wrote._tag === "Failure" && wrote.failure.reason._tag, "OutcomeUnknown")
      assert.strictEqual(proxy.connections(), 0)
      assert.isTrue(Option.isNone(yield* Datastore.get(key)))
      held.release()
      while (proxy.underWay().commits > 0) yield* Effect.sleep("10 millis")
      assert.isTrue(Option.isSome(yield* Datastore.get(key)))
    }))

  for (const fault of ["cutRequest", "dropResponse", "holdRequest"] satisfies ReadonlyArray<Fault>) {
    it.effect(`does nothing with a fault that was taken back: ${fault}`, () =>
      Effect.gen(function*() {
        const { proxy, through } = yield* setUp
        const armed = proxy.arm(fault)

        assert.isTrue(armed.disarm())

        const wrote = yield* Effect.provide(write, through)
        assert.strictEqual(wrote._tag, "Success")
        assert.deepStrictEqual(proxy.underWay(), nothing)
      }))

    it.effect(`does not take back a fault that has struck: ${fault}`, () =>
      Effect.gen(function*() {
        const { proxy, through } = yield* setUp
        const armed = proxy.arm(fault, isCommit)
        const writing = yield* Effect.forkChild(Effect.provide(write, through))
        yield* Effect.promise(() => armed.struck)

        assert.isFalse(armed.disarm())

        armed.release()
        const wrote = yield* Fiber.join(writing)
        assert.strictEqual(wrote._tag, fault === "holdRequest" ? "Success" : "Failure")
      }))
  }

  it.effect("takes back a fault that has met its request and still waits for the answer", () =>
    Effect.gen(function*() {
      const { proxy, through } = yield* setUp
      const answer = proxy.arm("dropResponse", isCommit)
      proxy.delay(200, 0)
      const writing = yield* Effect.forkChild(Effect.provide(write, through))
      while (proxy.underWay().commits === 0) yield* Effect.sleep("5 millis")

      assert.isTrue(answer.disarm())

      assert.strictEqual((yield* Fiber.join(writing))._tag, "Success")
    }))
}, { projectId })
