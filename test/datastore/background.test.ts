import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Layer, Logger, Option, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Datastore from "../../src/Datastore.ts"
import * as Transaction from "../../src/ground/transaction.ts"
import * as Key from "../../src/Key.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { Faulty } from "../../src/testing/index.ts"
import { defectOf, entity, makeGate, read, settle, world } from "../utils/boxWorld.ts"

const a = Key.make("K", "a")

class Secret extends Context.Service<Secret, string>()("test/Secret") {}

/** Collects what is logged. */
const logging = () => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
    lines.push(`${logLevel} ${String(message)} ${cause.reasons.map((reason) => JSON.stringify(reason)).join()}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

/** A Datastore whose closing the test decides on. */
const closable = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const datastore = yield* Scope.provide(Effect.flatMap(InMemory.makeBackend, Datastore.make), scope)
  return { datastore, close: Scope.close(scope, Exit.void) }
})

describe("afterCommit", () => {
  it.effect("runs effects in the order of registration, after the commit and before withTransaction returns", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const note = (name: string) =>
        Datastore.afterCommit(Effect.orDie(Effect.map(read(a), (n) => {
          seen.push([name, n])
        })))

      yield* Datastore.withTransaction(Effect.gen(function*() {
        yield* note("first")
        yield* Datastore.put([entity(a, 1)])
        yield* note("second")
        assert.deepStrictEqual(seen, [])
      }))

      assert.deepStrictEqual(seen, [["first", 1], ["second", 1]])
    }).pipe(Effect.provide(world)))

  it.effect("runs an effect at once when there is no transaction", () =>
    Effect.gen(function*() {
      let ran = false

      yield* Datastore.afterCommit(Effect.sync(() => {
        ran = true
      }))

      assert.isTrue(ran)
    }))

  it.effect("runs effects of a transaction that wrote nothing", () =>
    Effect.gen(function*() {
      let ran = false

      yield* Datastore.withTransaction(Datastore.afterCommit(Effect.sync(() => {
        ran = true
      })))

      assert.isTrue(ran)
    }).pipe(Effect.provide(world)))

  it.effect("drops effects when the body fails, when the commit does not land, and when its outcome is unknown", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty
      let ran = 0
      const body = Effect.andThen(
        Datastore.put([entity(a, 1)]),
        Datastore.afterCommit(Effect.sync(() => {
          ran++
        }))
      )

      yield* Effect.flip(Datastore.withTransaction(Effect.andThen(body, Effect.fail("no"))))
      yield* faulty.inject("commit", Faulty.contention)
      yield* Effect.flip(Datastore.withTransaction(body))
      yield* faulty.inject("commit", Faulty.responseLost)
      yield* Effect.flip(Datastore.withTransaction(body))

      assert.strictEqual(ran, 0)
    }).pipe(Effect.provide(world)))

  it.effect("logs an effect that dies, runs the others, and the transaction still succeeds", () => {
    const { layer, lines } = logging()
    return Effect.gen(function*() {
      let ran = false

      const result = yield* Datastore.withTransaction(Effect.gen(function*() {
        yield* Datastore.put([entity(a, 1)])
        yield* Datastore.afterCommit(Effect.die("bug"))
        yield* Datastore.afterCommit(Effect.sync(() => {
          ran = true
        }))
        return "done"
      }))

      assert.strictEqual(result, "done")
      assert.isTrue(ran)
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /^Error An afterCommit effect died .*bug/)
    }).pipe(Effect.provide(Layer.merge(world, layer)))
  })

  it.effect("runs an effect with the services of the fiber that registered it, without the transaction", () =>
    Effect.gen(function*() {
      let seen: unknown

      yield* Datastore.withTransaction(Effect.provideService(
        Datastore.afterCommit(Effect.gen(function*() {
          const transaction = yield* Effect.serviceOption(Transaction.Transaction)
          seen = [yield* Secret, Option.isSome(transaction)]
        })),
        Secret,
        "mine"
      ))

      assert.deepStrictEqual(seen, ["mine", false])
    }).pipe(Effect.provide(world)))

  it.effect("may itself run a transaction", () =>
    Effect.gen(function*() {
      yield* Datastore.withTransaction(Datastore.afterCommit(
        Effect.orDie(Datastore.withTransaction(Datastore.put([entity(a, 2)])))
      ))

      assert.strictEqual(yield* read(a), 2)
    }).pipe(Effect.provide(world)))
})

describe("background work", () => {
  it.effect("runs beside the caller, outside of its transaction, span and services", () =>
    Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      const gate = yield* makeGate
      let seen: unknown
      const work = Effect.gen(function*() {
        yield* gate.wait
        const transaction = yield* Effect.serviceOption(Transaction.Transaction)
        const secret = yield* Effect.serviceOption(Secret)
        const span = yield* Effect.option(Effect.currentSpan)
        seen = [transaction, secret, span].map(({ _tag }) => _tag)
      })

      yield* Datastore.withTransaction(Effect.withSpan(datastore.background(work), "caller")).pipe(
        Effect.provideService(Secret, "of the caller")
      )
      assert.isUndefined(seen)
      yield* gate.open
      yield* settle

      assert.deepStrictEqual(seen, ["None", "None", "None"])
    }).pipe(Effect.provide(world)))

  it.effect("outlives the fiber that asked for it", () =>
    Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      const gate = yield* makeGate
      let done = false
      const work = Effect.andThen(
        gate.wait,
        Effect.sync(() => {
          done = true
        })
      )

      yield* Fiber.join(yield* Effect.forkChild(datastore.background(work)))
      yield* gate.open
      yield* settle

      assert.isTrue(done)
    }).pipe(Effect.provide(world)))

  it.effect("that dies is logged, and other work goes on", () => {
    const { layer, lines } = logging()
    return Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      let done = false

      yield* datastore.background(Effect.andThen(Effect.yieldNow, Effect.die("bug")))
      yield* datastore.background(Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => {
          done = true
        })
      ))
      yield* settle

      assert.isTrue(done)
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /^Warn Background work failed .*bug/)
    }).pipe(Effect.provide(layer), Effect.provide(world), Effect.provide(layer))
  })
})

describe("closing a layer", () => {
  it.effect("waits for background work", () =>
    Effect.gen(function*() {
      const { close, datastore } = yield* closable
      let done = false
      yield* datastore.background(Effect.delay(
        Effect.sync(() => {
          done = true
        }),
        "5 seconds"
      ))

      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("4 seconds")
      const endedEarly = closing.pollUnsafe() !== undefined
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)

      assert.isFalse(endedEarly)
      assert.isTrue(done)
    }))

  it.effect("waits for ten seconds at most, and then interrupts what is left", () =>
    Effect.gen(function*() {
      const { close, datastore } = yield* closable
      let interruptedAt: number | undefined
      const note = Effect.map(Clock.currentTimeMillis, (now) => {
        interruptedAt = now
      })
      yield* datastore.background(Effect.onInterrupt(Effect.never, () => note))

      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("9999 millis")
      const endedEarly = closing.pollUnsafe() !== undefined
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)

      assert.isFalse(endedEarly)
      assert.strictEqual(interruptedAt, 10_000)
    }))

  it.effect("interrupts also work that was asked for where interruption was off", () =>
    Effect.gen(function*() {
      const { close, datastore } = yield* closable
      yield* Effect.uninterruptible(datastore.background(Effect.never))

      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("10 seconds")
      yield* settle

      assert.isDefined(closing.pollUnsafe())
    }))

  it.effect("tells background work that it begins, so that pauses end", () =>
    Effect.gen(function*() {
      const { close, datastore } = yield* closable
      let told = false
      yield* datastore.background(Effect.andThen(
        datastore.closing,
        Effect.sync(() => {
          told = true
        })
      ))
      yield* settle
      const early = told

      yield* close

      assert.isFalse(early)
      assert.isTrue(told)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }))

  it.effect("without background work is at once", () =>
    Effect.gen(function*() {
      const { close } = yield* closable

      yield* close

      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }))

  it.effect("asked for inside a transaction still dies, as a misuse of the transaction and not of the layer", () =>
    Effect.gen(function*() {
      const message = yield* defectOf(Datastore.withTransaction(Datastore.withTransaction(Effect.void)))

      assert.include(message, "transactions do not nest")
    }).pipe(Effect.provide(world)))
})
