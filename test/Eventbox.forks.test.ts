import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"
import * as Datastore from "../src/Datastore.ts"
import * as DsSet from "../src/DsSet.ts"
import * as Eventbox from "../src/Eventbox.ts"
import * as Key from "../src/Key.ts"
import type * as Processor from "../src/Processor.ts"
import { Faulty, Recorder } from "../src/testing/index.ts"
import {
  consumeAll,
  emit,
  Journal,
  journal,
  type JournalProcessor,
  pending,
  saved,
  withJournal
} from "./utils/boxJournal.ts"
import { entity, makeGate, read, settle, world } from "./utils/boxWorld.ts"

const other = Journal.recipient("other")
const config = Key.make("Config", "c")

const places = ["loadState", "prepareMutation", "sideEffect", "saveState", "afterCommit", "postProcess"] as const
type Place = (typeof places)[number]

/** Any effect of a test as one that a processor may have. */
const inside = (effect: Effect.Effect<unknown, unknown, any>) =>
  Effect.asVoid(Effect.orDie(effect)) as Effect.Effect<void, never, Datastore.Datastore>

/** A journal that does something at one place of its batch. */
const doing = (place: Place, effect: Effect.Effect<unknown, unknown, any>) =>
  Effect.provideServiceEffect(
    Journal,
    Effect.map(Journal.entity({ initial: () => [], prepareMutation: () => Effect.die("replaced") }), (plain) => {
      const at = (here: Place) => place === here ? inside(effect) : Effect.void
      return {
        ...plain,
        loadState: (recipient) => Effect.andThen(at("loadState"), plain.loadState(recipient)),
        prepareMutation: (events, state) =>
          Effect.as(at("prepareMutation"), {
            transitions: consumeAll(events, state).transitions.map((transition) => ({
              ...transition,
              sideEffect: place === "afterCommit" ? Datastore.afterCommit(inside(effect)) : at("sideEffect"),
              postProcess: at("postProcess")
            }))
          }),
        saveState: (state, eversion, recipient) =>
          Effect.andThen(at("saveState"), plain.saveState(state, eversion, recipient))
      } satisfies JournalProcessor
    })
  )

type Fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Fiber.Fiber<A, E>, never, R>
const forks: Readonly<Record<string, Fork>> = {
  "a daemon": (effect) => Effect.forkDetach(effect),
  "a child": (effect) => Effect.forkChild(effect)
}

const everywhere = places.flatMap((place) => Object.keys(forks).map((how) => ({ place, how })))

/** Runs a batch at one place of which a fiber is forked, that goes on once the batch has ended; returns its end. */
const outliving = <A, E, R>(place: Place, how: string, later: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const gate = yield* makeGate
    const forked = yield* Deferred.make<Fiber.Fiber<A, E>>()
    yield* emit(["first"])
    // The children of a fiber end with it, so the call and what comes after it are one fiber.
    yield* Eventbox.process(Journal, journal).pipe(doing(
      place,
      Effect.flatMap(forks[how]!(Effect.andThen(gate.wait, later)), (fiber) => Deferred.succeed(forked, fiber))
    ))
    yield* emit(["second"])
    yield* gate.open
    return yield* Fiber.await(yield* Deferred.await(forked))
  })

describe.each(everywhere)("$how of $place that outlives its batch", ({ how, place }) => {
  // `loadState` runs in a fiber of its own, beside the listing, and so do post-process effects: its children end there.
  const ends = how === "a child" && (place === "loadState" || place === "postProcess")

  it.effect("processes the same recipient and others, as if it came from outside", () =>
    Effect.gen(function*() {
      yield* emit(["elsewhere"], other)
      const later = Effect.all([
        Eventbox.process(Journal, journal),
        Eventbox.drain(Journal, other),
        Eventbox.processBatch(Journal, journal)
      ]).pipe(withJournal())

      const exit = yield* outliving(place, how, later)

      if (ends) return assert.isTrue(Exit.hasInterrupts(exit))
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.deepStrictEqual([yield* pending(), yield* pending(other)], [[], []])
      assert.deepStrictEqual((yield* saved())?.state, ["first", "second"])
    }).pipe(Effect.provide(world)))

  it.effect("runs transactions, queries and listings of its own", () =>
    Effect.gen(function*() {
      const later = Effect.gen(function*() {
        yield* Datastore.query({ kind: "Config" })
        yield* DsSet.list(DsSet.make({ parent: config }), { maxItems: 1 })
        yield* Datastore.withTransaction(Effect.andThen(Datastore.get(config), Datastore.put([entity(config, 2)])))
      })

      const exit = yield* outliving(place, how, later)

      if (ends) return assert.isTrue(Exit.hasInterrupts(exit))
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.strictEqual(yield* read(config), 2)
    }).pipe(Effect.provide(world)))

  // A write of a fiber that was forked in a transaction would have joined it a moment earlier.
  const joins = place === "sideEffect" || place === "saveState"
  it.effect(
    joins ? "dies where it would join the transaction" : "reads what is stored, not what its batch saw",
    () =>
      Effect.gen(function*() {
        yield* Datastore.put([entity(config, 1)])
        const warm = yield* makeGate
        const later = Effect.gen(function*() {
          yield* warm.wait
          return yield* read(config)
        })
        const running = yield* Effect.forkChild(outliving(place, how, later))
        yield* settle
        yield* Datastore.put([entity(config, 2)])
        yield* warm.open

        const exit = yield* Fiber.join(running)

        if (ends) return assert.isTrue(Exit.hasInterrupts(exit))
        if (joins) return assert.include(String(exit), "The transaction has ended")
        assert.deepStrictEqual(exit, Exit.succeed(2))
      }).pipe(Effect.provide(world))
  )
})

describe("a fiber forked in loadState", () => {
  it.effect("does not go on reading what loadState had read", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const gate = yield* makeGate
      yield* Datastore.put([entity(config, 1)])
      const look = Effect.flatMap(read(config), (n) => Effect.sync(() => seen.push(n)))
      yield* emit(["a"])

      yield* Eventbox.process(Journal, journal).pipe(
        doing("loadState", Effect.andThen(look, Effect.forkDetach(Effect.andThen(gate.wait, look))))
      )
      yield* Datastore.put([entity(config, 2)])
      yield* gate.open
      yield* settle

      assert.deepStrictEqual(seen, [1, 2])
    }).pipe(Effect.provide(world)))

  // The batch is held at its commit, where its reads are expected to be unchanged.
  it.effect.each(["begins", "is answered"])(
    "adds nothing to what the batch expects by a read that %s later",
    (when) =>
      Effect.gen(function*() {
        const faulty = yield* Faulty.Faulty
        // Not in one RPC with what the batch itself reads.
        const apart = Effect.repeat(Effect.yieldNow, { times: 100 })
        const [reached, deciding, gate] = [yield* makeGate, yield* makeGate, yield* makeGate]
        yield* Datastore.put([entity(config, 1)])
        yield* emit(["a"])
        if (when === "is answered") {
          yield* faulty.inject("lookup", Faulty.around({ after: gate.wait }), {
            where: (call) => Recorder.keysOf(call).includes(config)
          })
        }
        const running = yield* Eventbox.process(Journal, journal).pipe(
          Effect.provideServiceEffect(
            Journal,
            Effect.map(
              Journal.entity({
                initial: () => [],
                prepareMutation: (events, state) =>
                  Effect.as(Effect.andThen(reached.open, deciding.wait), consumeAll(events, state))
              }),
              (plain): JournalProcessor => ({
                ...plain,
                loadState: (recipient) =>
                  Effect.all([
                    Effect.forkDetach(
                      Effect.andThen(when === "begins" ? gate.wait : apart, Datastore.get(config))
                    ),
                    settle,
                    plain.loadState(recipient)
                  ]).pipe(Effect.map(([, , loaded]) => loaded))
              })
            )
          ),
          Effect.forkChild
        )
        yield* reached.wait

        yield* gate.open
        yield* settle
        yield* Datastore.put([entity(config, 2)])
        yield* deciding.open
        const { consumed, retries } = yield* Fiber.join(running)

        assert.deepStrictEqual([consumed, retries], [1, 0])
      }).pipe(Effect.provide(world))
  )
})

type Call = (recipient: Processor.Recipient<Journal>) => Effect.Effect<unknown, unknown, Journal | Datastore.Datastore>
const calls = {
  process: (recipient) => Eventbox.process(Journal, recipient),
  "process, skipping": (recipient) => Eventbox.process(Journal, recipient, { whenBusy: "skip" }),
  drain: (recipient) => Eventbox.drain(Journal, recipient),
  processBatch: (recipient) => Eventbox.processBatch(Journal, recipient)
} satisfies Record<string, Call>
const callOf = (name: string): Call => calls[name as keyof typeof calls]
const inBatches = (["loadState", "prepareMutation", "sideEffect", "saveState"] as const).flatMap((place) =>
  Object.keys(calls).flatMap((inner) => Object.keys(calls).map((outer) => ({ place, inner, outer })))
)

const complaintOf = (call: Effect.Effect<unknown, unknown, any>) =>
  Effect.map(Effect.exit(call), (exit) => Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "none")

describe("a batch inside a batch", () => {
  it.effect.each(inBatches)(
    "dies at once: $inner in $place of $outer, whichever the recipient",
    ({ inner, outer, place }) =>
      Effect.gen(function*() {
        for (const recipient of [journal, other]) {
          yield* emit(["a"])
          // Whoever holds the lock of the other recipient: the call inside must not wait for it.
          const gate = yield* makeGate
          const busy = yield* Effect.forkChild(
            Eventbox.process(Journal, other).pipe(doing("prepareMutation", gate.wait))
          )
          yield* settle

          // `process` and `drain` say which event it was that they failed for.
          const message = yield* complaintOf(
            callOf(outer)(journal).pipe(doing(place, callOf(inner)(recipient).pipe(withJournal())))
          )

          assert.match(message, /inside a (transaction|batch)/)
          assert.match(message, /Emit an event instead|run it after this one/)
          yield* gate.open
          yield* Fiber.await(busy)
        }
      }).pipe(Effect.provide(world))
  )

  it.effect("dies also when two boxes would wait for each other", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      yield* emit(["b"], other)
      const [here, there] = [yield* makeGate, yield* makeGate]
      const crossing = (
        own: Processor.Recipient<Journal>,
        that: Processor.Recipient<Journal>,
        arrived: Effect.Effect<void>,
        wait: Effect.Effect<void>
      ) =>
        Effect.exit(
          Eventbox.process(Journal, own).pipe(
            doing("prepareMutation", Effect.all([arrived, wait, Eventbox.process(Journal, that).pipe(withJournal())]))
          )
        )

      const exits = yield* Effect.all([
        crossing(journal, other, here.open, there.wait),
        crossing(other, journal, there.open, here.wait)
      ], { concurrency: "unbounded" })

      for (const exit of exits) assert.include(String(exit), "a batch cannot run another one")
    }).pipe(Effect.provide(world)))

  it.effect("is allowed in a post-process effect, also of the same recipient", () =>
    Effect.gen(function*() {
      yield* emit(["b"], other)
      yield* emit(["a"])
      const again = Effect.all([
        emit(["again"]),
        Eventbox.process(Journal, journal),
        Eventbox.drain(Journal, other),
        Eventbox.processBatch(Journal, journal)
      ]).pipe(withJournal())

      const { postProcessed } = yield* Eventbox.process(Journal, journal).pipe(doing("postProcess", again))

      assert.strictEqual(postProcessed, 1)
      assert.deepStrictEqual((yield* saved())?.state, ["a", "again"])
      assert.deepStrictEqual((yield* saved(other))?.state, ["b"])
    }).pipe(Effect.provide(world)))

  it.effect("is refused in an afterCommit effect, where the batch has landed but not ended", () =>
    Effect.gen(function*() {
      yield* emit(["a"])
      let seen: Exit.Exit<unknown, unknown> | undefined
      const nested = Effect.map(Effect.exit(Eventbox.process(Journal, journal).pipe(withJournal())), (exit) => {
        seen = exit
      })

      yield* Eventbox.process(Journal, journal).pipe(doing("afterCommit", nested))

      assert.include(String(seen), "a batch cannot run another one")
      assert.isTrue(Option.isSome(yield* Datastore.get(journal.key)))
    }).pipe(Effect.provide(world)))
})
