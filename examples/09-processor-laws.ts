// Laws of a processor: sound ones, one that breaks each law, and the smallest example that shows what is wrong.
// Run: node --conditions=effect-eventbox:source examples/09-processor-laws.ts
import { Effect, Schema } from "effect"
import { Datastore, Entity, Key, Processor } from "effect-eventbox"
import { ProcessorLaws } from "effect-eventbox/testing"

const Refresh = Schema.Struct({ page: Schema.Literals(["home", "news"]) })
type Refresh = Processor.Event<typeof Refresh.Type>

/** A site counts how often its pages were refreshed. */
const site = { kind: "Site", state: Schema.Int, event: Refresh }
const initial = () => 0

/** Consumes some events, and calls the others garbage. */
const consume = (count: number, kept: ReadonlyArray<Refresh>, events: ReadonlyArray<Refresh> = kept) =>
  Effect.succeed({
    transitions: [{ events: kept, transitionTo: count + kept.length }],
    garbage: events.filter((event) => !kept.includes(event))
  })

/** Many wishes to refresh a page are as good as one. */
const oneOfEach = (events: ReadonlyArray<Refresh>) =>
  events.filter((event, index) => events.findIndex(({ value }) => value.page === event.value.page) === index)

// Which of equal events is kept depends on nothing but their order: the first one, for every worker that sees it.
class Sound extends Processor.Service<Sound>()("app/Sound", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) => consume(count, oneOfEach(events), events)
  }))
}

// Which one is kept depends on how many events there are: two workers together can throw away all of them.
class Garbage extends Processor.Service<Garbage>()("app/Garbage", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) =>
      consume(count, oneOfEach(events.length % 2 === 0 ? events : events.toReversed()), events)
  }))
}

// The event of the second transition was consumed by the first.
class Batch extends Processor.Service<Batch>()("app/Batch", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) =>
      Effect.succeed({
        transitions: [
          { events: events.slice(0, 2), transitionTo: count + 1 },
          { events: events.slice(1), transitionTo: count + 2 }
        ]
      })
  }))
}

// What is decided depends on what was decided before, which no other worker knows.
let calls = 0
class Decision extends Processor.Service<Decision>()("app/Decision", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) => consume(count, ++calls % 10 === 0 ? [] : events)
  }))
}

// The half of an integer need not be one.
class StateSchema extends Processor.Service<StateSchema>()("app/Schema", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) =>
      Effect.succeed({ transitions: [{ events, transitionTo: (count + events.length) / 2 }] })
  }))
}

// The log is written for every attempt, also for one that loses its race.
class Pure extends Processor.Service<Pure>()("app/Pure", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) => {
      const log = Datastore.put([Entity.make(Key.make("Log", 1), { events: events.length })])
      return Effect.andThen(events.length < 2 ? Effect.void : log, consume(count, events))
    }
  }))
}

// The state is changed in place: compared with itself it has not changed, and is not saved.
class Input extends Processor.Service<Input>()("app/Input", {
  ...site,
  state: Schema.mutable(Schema.Array(Schema.String))
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => [],
    prepareMutation: (events, pages) => {
      for (const { value } of events) pages.push(value.page)
      return Effect.succeed({ transitions: [{ events, transitionTo: pages }] })
    }
  }))
}

// A batch may hold no event at all.
class Success extends Processor.Service<Success>()("app/Success", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) => {
      const longest = events.map(({ value }) => value.page).reduce((page, other) => page.length < 5 ? other : page)
      return consume(count + longest.length, events)
    }
  }))
}

// A state in an entity of its own, below the recipient's, which holds the version.
const counterKey = (key: Key.Key) => Key.child(key, "Counter", 1)
const loadVersion = (key: Key.Key) =>
  Effect.map(
    Datastore.get(key),
    (found) => Processor.EVersion.make(found._tag === "Some" ? Number(found.value.properties["version"]) : 0)
  )
const queryCount = (key: Key.Key) =>
  Effect.map(
    Datastore.query({ kind: "Counter", ancestor: key }),
    ({ results: [found] }) => found?.entity._tag === "Some" ? Number(found.entity.value.properties["count"]) : 0
  )

const custom: Processor.Processor<any, number, typeof Refresh.Type> = {
  // First the version: what another worker saves between the two reads makes this batch lose its race.
  loadState: ({ key }) => Effect.all({ eversion: loadVersion(key), state: queryCount(key) }),
  fetchEVersion: ({ key }) => loadVersion(key),
  prepareMutation: (events, count) => consume(count, events),
  saveState: (count, version, { key }) =>
    Datastore.put([Entity.make(key, { version }), Entity.make(counterKey(key), { count })])
}

class SoundCustom extends Processor.Service<SoundCustom>()("app/SoundCustom", site) {
  static readonly layer = this.toLayer(Effect.succeed(custom))
}

// The version does not change with the state.
class Save extends Processor.Service<Save>()("app/Save", site) {
  static readonly layer = this.toLayer(Effect.succeed({
    ...custom,
    saveState: (count, _, { key }) =>
      Datastore.put([Entity.make(key, { version: 1 }), Entity.make(counterKey(key), { count })])
  }))
}

// Each side effect writes what was read before the batch, so that of two the first is lost.
class Updates extends Processor.Service<Updates>()("app/Updates", site) {
  static readonly layer = this.toLayer(this.entity({
    initial,
    prepareMutation: (events, count) =>
      Effect.map(queryCount(total), (read) => ({
        transitions: events.map((event, index) => ({
          events: [event],
          transitionTo: count + index + 1,
          sideEffect: Datastore.put([Entity.make(counterKey(total), { count: read + 1 })])
        }))
      }))
  }))
}
const total = Key.make("Site", "all")

// First the state, then the version: an old state may meet a new version, and overwrite what another worker saved.
class Concurrency extends Processor.Service<Concurrency>()("app/Concurrency", site) {
  static readonly layer = this.toLayer(Effect.succeed({
    ...custom,
    loadState: ({ key }) => Effect.all({ state: queryCount(key), eversion: loadVersion(key) })
  }))
}

const report = <R>(check: Effect.Effect<ProcessorLaws.Report, ProcessorLaws.LawViolation, R>) =>
  Effect.match(check, {
    onSuccess: ({ runs }) => console.log(`keeps all laws in ${runs} cases`),
    onFailure: ({ events, law, summary }) => console.log(`${law}, seen with ${events.length} events: ${summary}`)
  })

const options = { seed: 1, runs: 20 }

const program = Effect.gen(function*() {
  yield* report(ProcessorLaws.check(Sound, options))
  yield* report(ProcessorLaws.check(SoundCustom, options))
  yield* report(ProcessorLaws.check(Garbage, options))
  yield* report(ProcessorLaws.check(Batch, options))
  yield* report(ProcessorLaws.check(Decision, options))
  yield* report(ProcessorLaws.check(StateSchema, options))
  yield* report(ProcessorLaws.check(Pure, options))
  yield* report(ProcessorLaws.check(Input, options))
  yield* report(ProcessorLaws.check(Success, options))
  yield* report(ProcessorLaws.check(Save, options))
  yield* report(ProcessorLaws.check(Updates, options))
  yield* report(ProcessorLaws.check(Concurrency, { ...options, runs: 50, histories: 10 }))

  // The message of a violation holds all of it: state, events, what happened, and how to see it again.
  const { message } = yield* Effect.flip(ProcessorLaws.check(StateSchema, options))
  console.log(`\n${message}`)
})

const layers = [Garbage, Batch, Decision, StateSchema, Pure, Input, Success, Save, Updates, Concurrency].map((
  { layer }
) => layer)
await Effect.runPromise(program.pipe(Effect.provide([Sound.layer, SoundCustom.layer, ...layers])))
// Output:
// keeps all laws in 20 cases
// keeps all laws in 20 cases
// Garbage, seen with 3 events: overlapping batches delete e1, e2, e3 as garbage, which batches one after another never do
// Batch, seen with 2 events: a decision uses each event of its batch at most once, and no other: transition 1 names event "e2", which was used before
// Decision, seen with 1 events: prepareMutation decides differently when it is asked twice with the same input
// Schema, seen with 1 events: the state of transition 0 does not fit the state schema of the box
// Pure, seen with 2 events: prepareMutation writes to the store, outside of any transaction of a batch
// Input, seen with 1 events: prepareMutation changes the state that it was given, so that the change may never be saved
// Success, seen with 0 events: prepareMutation dies when there is no event
// Save, seen with 1 events: loadState does not return what saveState saved
// Updates, seen with 2 events: the side effects of one batch write Site,"all"/Counter,1 more than once, and what they write does not add up
// Concurrency, seen with 2 events: overlapping batches come to an end that batches one after another do not come to
//
// app/Schema breaks the law Schema: the state of transition 0 does not fit the state schema of the box.
//
//   state   0
//   events  h1 {"page":"news"}
//
//   0.5
//   Expected an integer
//
// Seed 1; this example alone: replay: "[0,\"1\",1,1,[2],\"PropertyError\"]"
