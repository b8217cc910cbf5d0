// Testing a box: a database in memory, a clock that stands still, faults by name, and a record of every RPC.
// Run: node --conditions=effect-eventbox:source examples/08-testing.ts
import { Effect, Layer, Random, Schema } from "effect"
import { Eventbox, Ids, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { Faulty, Recorder } from "effect-eventbox/testing"
import { TestClock } from "effect/testing"

class Tally extends Processor.Service<Tally>()("app/Tally", {
  kind: "Tally",
  state: Schema.Int,
  event: Schema.Struct({ votes: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, votes) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: events.reduce((sum, { value }) => sum + value.votes, votes) }]
      })
  }))
}

const tally = Tally.recipient("t1")
const stored = Effect.map(Eventbox.loadState(Tally, tally), ({ state }) => state)

const program = Effect.gen(function*() {
  const faulty = yield* Faulty.Faulty
  const recorder = yield* Recorder.Recorder

  // Ids come from the clock and from `Random`: the same in every run.
  console.log("id:", yield* Eventbox.emit(Tally, tally, { votes: 1 }))

  // What a batch costs before it returns: the consumed events are deleted by its commit.
  const [, report] = yield* recorder.during(Eventbox.processBatch(Tally, tally))
  const before = report.operations.filter(({ outcome }) => outcome !== "Running")
  console.log("asks for:", before.map(({ call }) => call.operation).toSorted(), "in", report.rounds, "rounds")

  // The answer of the commit is lost after it landed: the library finds out, and nobody needs to know.
  yield* Eventbox.emit(Tally, tally, { votes: 10 }, { id: "ten" })
  yield* faulty.inject("commit", Faulty.responseLost)
  const { consumed } = yield* Eventbox.processBatch(Tally, tally)
  console.log("response lost: consumed", consumed, "total", yield* stored)

  // The request is lost before it landed: the library makes sure that it never will, and says so.
  yield* Eventbox.emit(Tally, tally, { votes: 100 })
  yield* faulty.inject("commit", Faulty.requestLost)
  const lost = yield* Effect.flip(Eventbox.processBatch(Tally, tally))
  console.log("request lost:", lost._tag, "total", yield* stored)
  yield* Eventbox.processBatch(Tally, tally)
  console.log("again: total", yield* stored)

  // An id that was consumed stays hidden for five minutes; after that it is a new event.
  yield* Eventbox.emit(Tally, tally, { votes: 10 }, { id: "ten" })
  console.log("at once:", (yield* Eventbox.list(Tally, tally)).length)
  yield* TestClock.adjust("6 minutes")
  yield* Eventbox.emit(Tally, tally, { votes: 10 }, { id: "ten" })
  console.log("after 6 minutes:", (yield* Eventbox.list(Tally, tally)).length)
})

// From the program to the database: the record, then the faults.
const Database = Recorder.layer.pipe(Layer.provideMerge(Faulty.layer()), Layer.provide(InMemory.layer))

await Effect.runPromise(program.pipe(
  Effect.provide([Tally.layer, Database]),
  Effect.provide(TestClock.layer()),
  Effect.provideServiceEffect(Ids.Ids, Ids.makeSeeded),
  Random.withSeed("eventbox")
))
// Output:
// id: 00000000-0000-76f6-9bcb-f824853bbc7c
// asks for: [ 'commit', 'lookup', 'query' ] in 2 rounds
// response lost: consumed 1 total 11
// request lost: ContentionError total 11
// again: total 111
// at once: 0
// after 6 minutes: 1
