import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import { makeLatencyWorld } from "../utils/latencyWorld.ts"

/** Counts ordinary events, and those that were emitted again and again. */
class Box extends Processor.Service<Box>()("test/HotBox", {
  kind: "HotBox",
  state: Schema.Struct({ ordinary: Schema.Int, hot: Schema.Int, batches: Schema.Int }),
  event: Schema.Int
}) {}

const box = Effect.runSync(Box.entity({
  initial: () => ({ ordinary: 0, hot: 0, batches: 0 }),
  prepareMutation: (events, { batches, hot, ordinary }) => {
    if (events.length === 0) return Effect.succeed({ transitions: [] })
    const again = events.filter(({ id }) => id.startsWith("hot-")).length
    const transitionTo = { ordinary: ordinary + events.length - again, hot: hot + again, batches: batches + 1 }
    return Effect.succeed({ transitions: [{ events, transitionTo }] })
  }
}))
const recipient = Box.recipient("one")
const withBox = Effect.provideService(Box, box)

const ways = {
  processBatch: Effect.ignore(Eventbox.processBatch(Box, recipient)),
  process: Effect.ignore(Eventbox.process(Box, recipient)),
  drain: Effect.ignore(Eventbox.drain(Box, recipient))
}

/** A worker beside emits of an ordinary event every 20 ms and of hot ids in turn, with the latency of a service. */
const load = (
  options: {
    readonly way: keyof typeof ways
    readonly hotIds: number
    readonly everyMillis: number
    readonly backlog: boolean
  }
) => {
  const millis = 8_000
  const world = makeLatencyWorld({
    seed: 1,
    tombstonesDelay: 300_000,
    millis: (chance) => chance.between(8, 14)
  })
  const [emitter, worker] = [world.start("emitter"), world.start("worker")]
  const { hotIds } = options
  if (options.backlog) {
    const id = (_: number, n: number) => `hot-${n}`
    world.run(emitter, Eventbox.emitAll(Box, recipient, Array.from({ length: hotIds }, () => 0), { id }))
  }
  const end = world.now() + millis
  let emitted = 0
  let again = 0
  /** Starts one after the other, without waiting for them. */
  const every = (pause: number, emit: () => Effect.Effect<unknown, unknown, any>) =>
    Effect.gen(function*() {
      while (world.now() < end) {
        world.fork(emitter, emit())
        yield* Effect.sleep(pause)
      }
    })
  world.fork(
    emitter,
    every(options.everyMillis, () => Eventbox.emit(Box, recipient, again, { id: `hot-${again++ % hotIds}` }))
  )
  world.fork(
    emitter,
    every(20, () => {
      emitted++
      return Eventbox.emit(Box, recipient, 1)
    })
  )
  const work = Effect.gen(function*() {
    while (world.now() < end) {
      yield* ways[options.way]
      // A worker that finds nothing does not spin.
      yield* Effect.sleep(1)
    }
  })
  world.run(worker, withBox(Effect.timeoutOption(work, millis)))
  const meanwhile = world.run(worker, withBox(Eventbox.loadState(Box, recipient))).state
  world.run(worker, withBox(Effect.andThen(Effect.sleep(500), Eventbox.drain(Box, recipient))))
  const { state } = world.run(worker, withBox(Eventbox.loadState(Box, recipient)))
  return { meanwhile, state, emitted }
}

describe("ids that are emitted again while they wait", () => {
  for (const way of ["processBatch", "process", "drain"] as const) {
    // Kills: an attempt that expects the versions of items although it lost a race to items before.
    it(`one id every 10 ms does not keep ordinary events from landing: ${way}`, () => {
      const { emitted, meanwhile, state } = load({ way, hotIds: 1, everyMillis: 10, backlog: false })

      assert.isAtLeast(meanwhile.ordinary, emitted - 30, `of ${emitted}, in ${meanwhile.batches} batches`)
      assert.deepStrictEqual([state.ordinary, state.hot], [emitted, 1])
    })

    it(`a backlog of 1,000 ids that are delivered again, one every 10 ms, drains: ${way}`, () => {
      const { emitted, meanwhile, state } = load({ way, hotIds: 1_000, everyMillis: 10, backlog: true })

      assert.strictEqual(meanwhile.hot, 1_000)
      assert.isAtLeast(meanwhile.ordinary, emitted - 30, `of ${emitted}, in ${meanwhile.batches} batches`)
      assert.deepStrictEqual([state.ordinary, state.hot], [emitted, 1_000])
    })
  }
})
