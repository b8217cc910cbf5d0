// One counter that is too busy for one entity: sixteen of them, and a sum.
// Run: node --conditions=effect-eventbox:source examples/recipes/sharding.ts
// #region box
import { Effect, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class Visits extends Processor.Service<Visits>()("site/Visits", {
  kind: "Visits",
  state: Schema.Int,
  event: Schema.Struct({ visitor: Schema.String })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, count) =>
      Effect.succeed({ transitions: [{ events, transitionTo: count + events.length }] })
  }))
}

const shardCount = 16

/** The same text gives the same number in every process and every release: FNV-1a. */
const hash = (text: string): number => {
  let result = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) result = Math.imul(result ^ byte, 0x01000193) >>> 0
  return result
}

const shards = (page: string) => Array.from({ length: shardCount }, (_, index) => Visits.recipient(`${page}-${index}`))

/** By the id of the event, so that a request that is repeated meets its own tombstone. */
const shardOf = (page: string, id: string) => Visits.recipient(`${page}-${hash(id) % shardCount}`)

const visit = (page: string, visitor: string, requestId: string) =>
  Eventbox.emit(Visits, shardOf(page, requestId), { visitor }, { id: requestId })

const processAll = (page: string) =>
  Effect.forEach(shards(page), (shard) => Eventbox.process(Visits, shard), { concurrency: 8 })

const total = (page: string) =>
  Effect.forEach(shards(page), (shard) => Eventbox.loadState(Visits, shard), { concurrency: "unbounded" }).pipe(
    Effect.map((loaded) => loaded.reduce((sum, { state }) => sum + state, 0))
  )
// #endregion

const program = Effect.gen(function*() {
  const requests = Array.from({ length: 200 }, (_, index) => `request-${index}`)
  yield* Effect.forEach(requests, (id) => visit("home", "ada", id), { concurrency: 32 })
  yield* processAll("home")
  console.log("visits:", yield* total("home"))

  // All of them again, as a sender does that saw no answers.
  yield* Effect.forEach(requests, (id) => visit("home", "ada", id), { concurrency: 32 })
  yield* processAll("home")
  console.log("after a repetition:", yield* total("home"))

  const busiest = yield* Effect.forEach(shards("home"), (shard) => Eventbox.loadState(Visits, shard))
  console.log("shards used:", busiest.filter(({ state }) => state > 0).length)
})

await Effect.runPromise(program.pipe(Effect.provide([Visits.layer, InMemory.layer])))
// Output:
// visits: 200
// after a repetition: 200
// shards used: 16
