import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Layer, Logger, Option, References, Schedule, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { Backend, CommitRequest } from "../src/Backend.ts"
import * as Datastore from "../src/Datastore.ts"
import { lockCount } from "../src/dsset/memory.ts"
import * as Eventbox from "../src/Eventbox.ts"
import { DatastoreError, OutcomeUnknown } from "../src/EventboxError.ts"
import * as InMemory from "../src/layers/InMemory.ts"
import * as Processor from "../src/Processor.ts"
import * as Explore from "../src/testing/Explore.ts"
import { Faulty } from "../src/testing/index.ts"
import { makeGate, settle, world, writesHead } from "./utils/boxWorld.ts"
import { isLong } from "./utils/explore.ts"
import {
  boxes,
  emit as emitTo,
  exactlyOnce,
  layer as boxLayers,
  recipient as recipientOf,
  work
} from "./utils/exploreBox.ts"

/** What post-process effects do, beside what they note. */
class Work extends Context.Service<Work, { readonly log: Array<string>; readonly each: Effect.Effect<void, string> }>()(
  "test/Work"
) {}

class Box extends Processor.Service<Box>()("test/Box", {
  kind: "Box",
  state: Schema.Int,
  event: Schema.String,
  error: Schema.String
}) {
  static readonly layer = this.toLayer(Effect.gen(function*() {
    const { each, log } = yield* Work
    const note = (text: string) =>
      Effect.sync(() => {
        log.push(text)
      })
    return yield* Box.entity({
      initial: () => 0,
      prepareMutation: (events, state) =>
        Effect.succeed({
          transitions: events.map((event, index) => ({
            events: [event],
            transitionTo: state + index + 1,
            postProcess: note(`start ${event.value}`).pipe(
              Effect.andThen(each),
              Effect.andThen(note(`end ${event.value}`))
            )
          }))
        })
    })
  }))
}

const box = Box.recipient("one")
const process = (options?: Eventbox.ProcessOptions<string>) => Eventbox.process(Box, box, options)
const emit = (...values: ReadonlyArray<string>) => Eventbox.emitAll(Box, box, values, { id: (value) => value })

/** Runs with the box, whose post-process effects do this. */
const withBox = (log: Array<string>, each: Effect.Effect<void, string> = Effect.yieldNow) =>
  Effect.provide(Layer.provide(Box.layer, Layer.succeed(Work, { log, each })))

const isHead = ({ mutations }: CommitRequest) =>
  mutations.some((mutation) => mutation._tag !== "Delete" && mutation.entity.key.kind === "dsset.Tombstones")

/** Yields as often as the loop of Effect lets a fiber and still moves on: after about every operation. */
const stepByStep = Effect.provideService(References.MaxOpsBeforeYield, 4)

const turns = (count: number) => Effect.forEach(Array.from({ length: count }), () => Effect.yieldNow, { discard: true })

/** A backend that answers in the next turn, and may lose the responses of batches that landed, or their requests. */
const slow = (backend: Backend, lose?: "response" | "request"): Backend => {
  const apart = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.yieldNow.pipe(Effect.andThen(effect), Effect.tap(turns(1)))
  const unknown = Effect.fail(
    new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail: "lost" }) })
  )
  return {
    ...backend,
    lookup: (keys) => apart(backend.lookup(keys)),
    query: (query) => apart(backend.query(query)),
    commit: (request) => {
      // The fence comes without deletes.
      const isBatch = isHead(request) && request.mutations.some(({ _tag }) => _tag === "Delete")
      if (!isBatch || lose === undefined) return apart(backend.commit(request))
      return apart(lose === "request" ? unknown : Effect.andThen(backend.commit(request), unknown))
    }
  }
}

/** What a call that was interrupted at one point left behind. */
interface Aftermath {
  readonly state: number
  readonly log: ReadonlyArray<string>
  readonly wasDone: boolean
}

/** Runs a call in a world of its own and interrupts it after so many turns; then lets everything end. */
const interruptedAfter = <A, E>(
  call: Effect.Effect<A, E, Box | Datastore.Datastore>,
  turn: number,
  lose?: "response" | "request"
): Effect.Effect<Aftermath> =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const store = yield* InMemory.makeStore
    const datastore = yield* Datastore.make(slow(store.backend, lose))
    return yield* Effect.gen(function*() {
      yield* emit("a", "b")
      const fiber = yield* Effect.forkChild(stepByStep(call))
      yield* turns(turn)
      const wasDone = fiber.pollUnsafe() !== undefined
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* turns(400)
      assert.isDefined(interrupting.pollUnsafe(), `interrupted after turn ${turn}: returns without waiting for time`)
      const { state } = yield* Eventbox.loadState(Box, box)
      assert.strictEqual(state + (yield* Eventbox.list(Box, box)).length, 2, "no event is lost")
      assert.strictEqual(lockCount(datastore), 0, "no lock is left")
      return { state, log, wasDone }
    }).pipe(withBox(log, turns(3)), Effect.provideService(Datastore.Datastore, datastore))
  }).pipe(Effect.scoped, Effect.orDie)

/** Interrupts a call at every point, the last of which is its end, and returns what was left behind at each. */
const atEveryPoint = <A, E>(
  call: Effect.Effect<A, E, Box | Datastore.Datastore>,
  lose?: "response" | "request"
): Effect.Effect<ReadonlyArray<Aftermath>> =>
  Effect.gen(function*() {
    const all: Array<Aftermath> = []
    do all.push(yield* interruptedAfter(call, all.length, lose))
    while (!all.at(-1)!.wasDone)
    return all
  })

const both = ["start a", "end a", "start b", "end b"]

/** Each point: nothing landed, or it landed and was post-processed, in order. */
const landedWhole = (all: ReadonlyArray<Aftermath>): void => {
  for (const [turn, { log, state }] of all.entries()) {
    assert.deepStrictEqual(log, both.slice(0, 2 * state), `interrupted after turn ${turn}, with ${state} consumed`)
  }
}

describe("a call that is interrupted, at every point", () => {
  it.effect("process: nothing landed, or it landed and its post-process effects ran", () =>
    Effect.gen(function*() {
      const all = yield* atEveryPoint(process())

      landedWhole(all)
      assert.isAtLeast(all.filter(({ state }) => state === 0).length, 50)
      assert.isAtLeast(all.filter(({ state }) => state === 2).length, 50)
    }))

  it.effect("drain: the same for each of its batches", () =>
    Effect.gen(function*() {
      const all = yield* atEveryPoint(Eventbox.drain(Box, box, { maxEvents: 1 }))

      landedWhole(all)
      assert.deepStrictEqual(Array.from(new Set(all.map(({ state }) => state))).toSorted(), [0, 1, 2])
    }))

  it.effect("process in doubt: what has landed is found out in the background, and its effects run there", () =>
    Effect.gen(function*() {
      const all = yield* atEveryPoint(process(), "response")

      landedWhole(all)
      assert.isAtLeast(all.filter(({ state }) => state === 2).length, 50)
    }))

  it.effect("process in doubt of what has not landed: no effect runs", () =>
    Effect.gen(function*() {
      const all = yield* atEveryPoint(process({ retry: Schedule.recurs(0) }), "request")

      landedWhole(all)
      assert.isTrue(all.every(({ state }) => state === 0))
    }))

  it.effect("processBatch: the same, or they are returned; but for the one step in which it returns", () =>
    Effect.gen(function*() {
      const call = Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(Eventbox.processBatch(Box, box)), ({ postProcess }) => Effect.all(postProcess))
      )

      const all = yield* atEveryPoint(call)

      const lost = all.filter(({ log, state }) => state === 2 && log.length === 0)
      landedWhole(all.filter((one) => !lost.includes(one)))
      assert.isAtMost(lost.length, 1)
    }))

  it.effect("processBatch: an interruption while its commit is under way loses nothing, whatever the caller does", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const faulty = yield* Faulty.Faulty
      const [sent, gate] = [yield* makeGate, yield* makeGate]
      yield* emit("a", "b")
      yield* faulty.inject("commit", Faulty.around({ before: Effect.andThen(sent.open, gate.wait) }))
      const fiber = yield* Effect.forkChild(Eventbox.processBatch(Box, box).pipe(withBox(log)))
      yield* sent.wait

      fiber.interruptUnsafe()
      yield* gate.open
      yield* Fiber.await(fiber)

      assert.deepStrictEqual(log, both)
    }).pipe(Effect.provide(world)))
})

// The time-out hits anywhere between two steps: before the batch lands, while it is in doubt, while it is looked for.
describe.each(boxes)("a worker that runs out of time, with an answer or a request lost ($name)", (chosen) => {
  it.effect("post-processes what landed, once, wherever its time ends", () =>
    Effect.gen(function*() {
      const worker = Eventbox.process(chosen.box as typeof boxes[0]["box"], recipientOf(chosen.box), {
        retry: Schedule.recurs(0)
      })
      let outOfTime = 0

      const report = yield* Explore.explore({
        setup: emitTo(chosen.box, "e1"),
        programs: {
          one: Effect.timeoutOption(worker, "1 second"),
          ...isLong ? { two: work(chosen.box) } : {}
        },
        check: (history) => {
          const { one } = history.exits
          const isOut = Option.exists(one, (exit) => Exit.isSuccess(exit) && Option.isNone(exit.value))
          if (isOut && history.notes.length > 0) outOfTime++
          return exactlyOnce(chosen.box, chosen.stateAfter, ["e1"])(history)
        },
        faults: { responseLost: true, requestLost: true, where: (_, process) => process === "one" },
        jumps: ["1 second"]
      })

      assert.isTrue(report.isComplete)
      assert.isAtLeast(report.faulty, 30)
      assert.isAtLeast(outOfTime, 10)
    }).pipe(Effect.provide(boxLayers)), isLong ? 600_000 : undefined)
})

/** What was logged, as text. */
const logging = () => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    const annotations = fiber.getRef(References.CurrentLogAnnotations)
    lines.push(`${logLevel} ${String(message)} ${JSON.stringify(annotations)} ${String(cause)}`)
  })
  return { lines, layer: Layer.fresh(Logger.layer([logger])) }
}

describe("the grace of post-process effects", () => {
  it.effect("lets them end after a time-out, which returns then", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* emit("a", "b")
      const fiber = yield* process().pipe(
        Effect.timeout("1 second"),
        Effect.flip,
        withBox(log, Effect.sleep("3 seconds")),
        Effect.forkChild
      )
      yield* settle

      yield* TestClock.adjust("3 seconds")
      yield* settle
      assert.deepStrictEqual([log, fiber.pollUnsafe()], [["start a", "end a", "start b"], undefined])
      yield* TestClock.adjust("3 seconds")
      const error = yield* Fiber.join(fiber)

      assert.strictEqual((error as { readonly _tag: string })._tag, "TimeoutError")
      assert.deepStrictEqual(log, both)
    }).pipe(Effect.provide(world)))

  it.effect("is bounded: what has not ended then is dropped, and a warning names the recipient", () => {
    const { layer, lines } = logging()
    return Effect.gen(function*() {
      const log: Array<string> = []
      yield* emit("a", "b", "c")
      const fiber = yield* process({ postProcessGrace: "2 seconds" }).pipe(
        withBox(log, Effect.sleep("1500 millis")),
        Effect.forkChild
      )
      yield* settle

      fiber.interruptUnsafe()
      yield* TestClock.adjust("1500 millis")
      yield* settle
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("500 millis")
      yield* Fiber.await(fiber)

      assert.deepStrictEqual(log, ["start a", "end a", "start b"])
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /^Warn Post-process effects were dropped .*Box,\\"one\\".*"eventbox.dropped":2/)
    }).pipe(Effect.provide(world), Effect.provide(layer))
  })

  it.effect("is over in time also where an effect does not let itself be interrupted", () =>
    Effect.gen(function*() {
      yield* emit("a")
      const fiber = yield* process({ postProcessGrace: 0 }).pipe(
        withBox([], Effect.uninterruptible(Effect.sleep("1 hour"))),
        Effect.forkChild
      )
      yield* settle

      yield* Fiber.interrupt(fiber)

      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      yield* TestClock.adjust("1 hour")
    }).pipe(Effect.provide(world)))

  it.effect("does not bound effects that somebody waits for", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* emit("a", "b")
      const fiber = yield* Effect.forkChild(process().pipe(withBox(log, Effect.sleep("1 hour"))))
      yield* settle

      yield* TestClock.adjust("1 hour")
      yield* settle
      yield* TestClock.adjust("1 hour")
      const { postProcessed } = yield* Fiber.join(fiber)

      assert.deepStrictEqual([postProcessed, log], [2, both])
    }).pipe(Effect.provide(world)))

  it.effect("a post-process effect that fails is a warning with its recipient", () => {
    const { layer, lines } = logging()
    return Effect.gen(function*() {
      yield* emit("secret value")

      const { postProcessFailures } = yield* process().pipe(withBox([], Effect.fail("mail server down")))

      assert.lengthOf(postProcessFailures, 1)
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /^Warn A post-process effect failed .*Box,\\"one\\".*mail server down/)
      assert.notInclude(lines[0]!, "secret value")
    }).pipe(Effect.provide(world), Effect.provide(layer))
  })
})

describe("a post-process effect that is no effect", () => {
  it.effect("ends those behind it, which is a warning with their number", () => {
    const { layer, lines } = logging()
    return Effect.gen(function*() {
      yield* emit("a", "b")

      const { postProcessed } = yield* process().pipe(withBox([], Effect.flatMap(Effect.void, () => undefined as any)))

      assert.strictEqual(postProcessed, 0)
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /^Warn Post-process effects were dropped .*2/)
    }).pipe(Effect.provide(world), Effect.provide(layer))
  })
})

/**
 * A service silent from the commit of a batch on: the commit is in doubt, and no read is answered until it is opened.
 */
const silence = Effect.gen(function*() {
  const gate = yield* makeGate
  const store = yield* InMemory.makeStore
  let isSilent = false
  const wait = Effect.suspend(() => isSilent ? gate.wait : Effect.void)
  const backend: Backend = {
    ...store.backend,
    lookup: (keys) => Effect.andThen(wait, store.backend.lookup(keys)),
    query: (query) => Effect.andThen(wait, store.backend.query(query)),
    commit: (request) => {
      if (!isHead(request) || isSilent) return store.backend.commit(request)
      const lost = Effect.fail(
        new DatastoreError({ operation: "commit", reason: new OutcomeUnknown({ detail: "deadline" }) })
      )
      return Effect.sync(() => {
        isSilent = true
      }).pipe(Effect.andThen(store.backend.commit(request)), Effect.delay("10 seconds"), Effect.andThen(lost))
    }
  }
  const scope = yield* Scope.make()
  const datastore = yield* Effect.provideService(Datastore.make(backend), Scope.Scope, scope)
  return { gate, datastore, store, close: Scope.close(scope, Exit.void) }
})

describe("a batch whose commit is in doubt", () => {
  it.effect("lets a time-out return within the deadline of the commit, and post-processes later what has landed", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { datastore, gate } = yield* silence
      const run = <A, E>(effect: Effect.Effect<A, E, Box | Datastore.Datastore>) =>
        effect.pipe(withBox(log), Effect.provideService(Datastore.Datastore, datastore))
      yield* run(emit("a", "b"))
      const fiber = yield* Effect.forkChild(run(Effect.timeout(process(), "1 second")))

      yield* settle
      yield* TestClock.adjust("10 seconds")
      yield* settle
      assert.isDefined(fiber.pollUnsafe(), "it has returned")
      assert.deepStrictEqual(log, [])
      yield* gate.open
      yield* settle

      assert.deepStrictEqual(log, both)
      assert.deepStrictEqual(yield* run(Eventbox.list(Box, box)), [])
    }).pipe(Effect.provide(world)))

  it.effect("is still looked for while the layer closes, which waits for its post-process effects", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close, datastore, gate } = yield* silence
      yield* Effect.gen(function*() {
        yield* emit("a", "b")
        const fiber = yield* Effect.forkChild(process())
        yield* settle
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.interrupt(fiber)
      }).pipe(withBox(log, Effect.sleep("2 seconds")), Effect.provideService(Datastore.Datastore, datastore))

      const closing = yield* Effect.forkChild(close)
      yield* gate.open
      yield* settle
      yield* TestClock.adjust("2 seconds")
      yield* settle
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(closing)

      assert.deepStrictEqual(log, both)
    }).pipe(Effect.provide(world)))

  it.effect("drops its post-process effects with a warning, when the layer closes under them", () => {
    const { layer, lines } = logging()
    return Effect.gen(function*() {
      const log: Array<string> = []
      const { close, datastore, gate } = yield* silence
      yield* Effect.gen(function*() {
        yield* emit("a", "b")
        const fiber = yield* Effect.forkChild(process({ postProcessGrace: "1 hour" }))
        yield* settle
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.interrupt(fiber)
      }).pipe(withBox(log, Effect.never), Effect.provideService(Datastore.Datastore, datastore))
      yield* gate.open
      yield* settle
      assert.deepStrictEqual(log, ["start a"])

      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)

      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /^Warn Post-process effects were dropped/)
    }).pipe(Effect.provide(world), Effect.provide(layer))
  })

  it.effect("has post-process effects with the services of the call, not with those of the layer", () =>
    Effect.gen(function*() {
      class Caller extends Context.Service<Caller, string>()("test/Caller") {}
      const seen: Array<unknown> = []
      const { datastore, gate } = yield* silence
      const look = Effect.map(Effect.serviceOption(Caller), (caller) => {
        seen.push(Option.getOrUndefined(caller))
      })
      yield* Effect.gen(function*() {
        yield* emit("a")
        const fiber = yield* Effect.forkChild(process())
        yield* settle
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.interrupt(fiber)
      }).pipe(
        withBox([], look),
        Effect.provideService(Datastore.Datastore, datastore),
        Effect.provideService(Caller, "mine")
      )
      yield* gate.open
      yield* settle

      assert.deepStrictEqual(seen, ["mine"])
    }).pipe(Effect.provide(world)))

  it.effect("is done and returned as before when nobody interrupts it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const faulty = yield* Faulty.Faulty
      yield* emit("a", "b")
      yield* faulty.inject("commit", Faulty.responseLost, { where: writesHead })

      const { consumed, postProcessed } = yield* process().pipe(withBox(log))

      assert.deepStrictEqual([consumed, postProcessed, log], [2, 2, both])
    }).pipe(Effect.provide(world)))

  it.effect("runs afterCommit effects in the background as well, once it is found to have landed", () =>
    Effect.gen(function*() {
      const { datastore, gate } = yield* silence
      const seen: Array<string> = []
      class Told
        extends Processor.Service<Told>()("test/Told", { kind: "Told", state: Schema.Int, event: Schema.Int })
      {}
      const told = Told.recipient("t")
      const layer = Told.toLayer(Told.entity({
        initial: () => 0,
        prepareMutation: (events, state) =>
          Effect.succeed({
            transitions: [{
              events,
              transitionTo: state + 1,
              sideEffect: Datastore.afterCommit(Effect.sync(() => {
                seen.push("after the commit")
              }))
            }]
          })
      }))
      yield* Effect.gen(function*() {
        yield* Eventbox.emit(Told, told, 1)
        const fiber = yield* Effect.forkChild(Eventbox.process(Told, told))
        yield* settle
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(layer), Effect.provideService(Datastore.Datastore, datastore))
      assert.deepStrictEqual(seen, [])
      yield* gate.open
      yield* settle

      assert.deepStrictEqual(seen, ["after the commit"])
    }).pipe(Effect.provide(world)))
})

describe("a transaction that only reads", () => {
  it.effect("can be interrupted while its reads are validated", () =>
    Effect.gen(function*() {
      const [one, two] = [Box.recipient("x").key, Box.recipient("y").key]
      const gate = yield* makeGate
      const faulty = yield* Faulty.Faulty
      yield* faulty.inject("lookup", Faulty.around({ before: gate.wait }), { nth: 3 })
      const fiber = yield* Effect.forkChild(
        Datastore.withTransaction(Effect.andThen(Datastore.get(one), Datastore.get(two)))
      )
      yield* settle

      yield* Effect.timeoutOption(Fiber.interrupt(fiber), "1 second").pipe(Effect.forkChild)
      yield* settle

      assert.isDefined(fiber.pollUnsafe())
    }).pipe(Effect.provide(world)))
})

describe("locks", () => {
  it.effect("of many recipients leave nothing behind: failed, dead, interrupted, skipped, and while waiting", () =>
    Effect.gen(function*() {
      const datastore = yield* Datastore.Datastore
      const gate = yield* makeGate
      const stuck = Box.of({
        loadState: () => Effect.andThen(gate.wait, Effect.fail("no")),
        prepareMutation: () => Effect.die("unexpected"),
        saveState: () => Effect.void
      })
      const run = (n: number, whenBusy: "wait" | "skip" = "wait") =>
        Eventbox.process(Box, Box.recipient(`r${n}`), { whenBusy }).pipe(
          Effect.provideService(Box, n % 2 === 0 ? stuck : { ...stuck, loadState: () => Effect.die("bug") }),
          stepByStep,
          Effect.forkChild
        )
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      for (let n = 0; n < 200; n++) {
        fibers.push(yield* run(n))
        fibers.push(yield* run(n))
        fibers.push(yield* run(n, "skip"))
        // Interrupted at all stages of taking and waiting.
        yield* turns(n % 17)
        fibers.at(n % 3 - 3)!.interruptUnsafe()
      }
      yield* turns(2_000)
      yield* gate.open
      for (const fiber of fibers) yield* Fiber.await(fiber)

      assert.strictEqual(lockCount(datastore), 0)
    }).pipe(Effect.provide(world)))

  it.effect.each(["undefined", "a promise"])(
    "are given back where a processor returns %s, which is no effect and ends the fiber without its finalizers",
    (what) =>
      Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        yield* emit("a")
        const noEffect: any = what === "undefined" ? undefined : Promise.resolve()
        const call = process().pipe(
          Effect.provideService(
            Box,
            Box.of({
              loadState: () => Effect.succeed({ state: 0, eversion: Processor.EVersion.make(0) }),
              prepareMutation: () => Effect.flatMap(Effect.void, () => noEffect) as any,
              saveState: () => Effect.void
            })
          )
        )
        const ended = yield* Fiber.await(yield* Effect.forkChild(call))
        assert.include(String(ended), "Not a valid effect")

        const { consumed } = yield* process().pipe(withBox([]))

        assert.strictEqual(consumed, 1)
        assert.strictEqual(lockCount(datastore), 0)
      }).pipe(Effect.provide(world))
  )
})
