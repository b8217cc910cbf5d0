// A state in several entities that other code knows too: `loadState`, `fetchEVersion` and `saveState` by hand.
// Run: node --conditions=effect-eventbox:source examples/05-custom-processor.ts
import { Effect, Option, Schema } from "effect"
import { Datastore, Entity, Eventbox, Key, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

// A build has a header, which only its processor writes, and a settings entity below it, which an administrator edits.
const Header = Schema.Struct({ EVersion: Processor.EVersion, passed: Schema.Int, failed: Schema.Int })
const settingsKey = (build: Key.Key) => Key.child(build, "Settings", 1)

const decodeHeader = (entity: Option.Option<Entity.Entity>) =>
  Option.match(entity, {
    onNone: () => Effect.succeed({ EVersion: Processor.EVersion.make(0), passed: 0, failed: 0 }),
    onSome: ({ properties }) => Effect.orDie(Schema.decodeUnknownEffect(Header)(properties))
  })

class Build extends Processor.Service<Build>()("app/Build", {
  kind: "Build",
  state: Schema.Struct({ passed: Schema.Int, failed: Schema.Int, ignoreFailures: Schema.Boolean }),
  event: Schema.TaggedUnion({ TestPassed: {}, TestFailed: {} })
}) {
  static readonly layer = this.toLayer(Effect.succeed({
    // One call, one read of both. What it looks up is remembered for the batch.
    loadState: ({ key }) =>
      Effect.gen(function*() {
        const [header = Option.none(), settings = Option.none()] = yield* Datastore.getAll([key, settingsKey(key)])
        const { EVersion, failed, passed } = yield* decodeHeader(header)
        const ignoreFailures = Option.getOrUndefined(settings)?.properties["ignoreFailures"] === true
        return { state: { passed, failed, ignoreFailures }, eversion: EVersion }
      }),
    // Only the header must be unchanged: without this function a change of the settings would be contention too. It
    // costs no RPC, since the header was read before, and the commit validates that read.
    fetchEVersion: ({ key }) =>
      Datastore.get(key).pipe(Effect.flatMap(decodeHeader), Effect.map(({ EVersion }) => EVersion)),
    prepareMutation: (events, state) => {
      const passed = events.filter(({ value }) => value._tag === "TestPassed").length
      const failed = state.ignoreFailures ? 0 : events.length - passed
      const next = { ...state, passed: state.passed + passed, failed: state.failed + failed }
      return Effect.succeed({ transitions: [{ events, transitionTo: next }] })
    },
    saveState: ({ failed, passed }, eversion, { key }) =>
      Datastore.put([Entity.make(key, { EVersion: eversion, passed, failed })])
  }))
}

const build = Build.recipient(Key.make("Project", "p1", "Build", 7))
const show = Effect.map(Datastore.get(build.key), (found) => console.log(Option.getOrThrow(found).properties))

const program = Effect.gen(function*() {
  yield* Eventbox.emitAll(Build, build, [{ _tag: "TestPassed" }, { _tag: "TestFailed" }])
  yield* Eventbox.process(Build, build)
  yield* show

  yield* Datastore.put([Entity.make(settingsKey(build.key), { ignoreFailures: true })])
  yield* Eventbox.emitAll(Build, build, [{ _tag: "TestPassed" }, { _tag: "TestFailed" }])
  yield* Eventbox.process(Build, build)
  yield* show
})

await Effect.runPromise(program.pipe(Effect.provide([Build.layer, InMemory.layer])))
// Output:
// { EVersion: 1, passed: 1, failed: 1 }
// { EVersion: 2, passed: 2, failed: 1 }
