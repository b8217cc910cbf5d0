import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, type Layer, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { Ids } from "../../src/Ids.ts"
import * as Key from "../../src/Key.ts"
import * as Processor from "../../src/Processor.ts"
import * as ProcessorLaws from "../../src/testing/ProcessorLaws.ts"

type Events<A> = ReadonlyArray<Processor.Event<A>>
type Of = Processor.Event<{ readonly of: string }>
type Decide<S> = (events: ReadonlyArray<Of>, state: S) => Effect.Effect<any, any, Datastore.Datastore>
type Options = ProcessorLaws.Options<any, any, any, any>

/** Boxes of all kinds go through these tests, so the helpers do not care for their types. */
interface Box {
  readonly box: Processor.ServiceClass<any, any, any, any, any>
  readonly layer: Layer.Layer<any>
}

const asBox = (box: { readonly layer: Layer.Layer<any> }): Box => ({ box: box as any, layer: box.layer })

/** A box whose state lives in its entity; its events name a class, of which there are few. */
const makeBox = <S>(state: Schema.Codec<S, any>, initial: S, prepareMutation: Decide<S>): Box => {
  class Box extends Processor.Service<Box>()("test/Box", {
    kind: "Box",
    state,
    event: Schema.Struct({ of: Schema.Literals(["x", "y", "z"]) })
  }) {
    static readonly layer = this.toLayer(this.entity({ initial: () => initial, prepareMutation }))
  }
  return asBox(Box)
}

const check = ({ box, layer }: Box, options: Options = {}) =>
  ProcessorLaws.check(box, { seed: 1, runs: 30, ...options }).pipe(Effect.provide(layer))

const violation = (box: Box, options?: Options) => Effect.flip(check(box, options))

const consumeAll = <S>(next: (state: S, events: ReadonlyArray<Of>) => S): Decide<S> => (events, state) =>
  Effect.succeed({ transitions: [{ events, transitionTo: next(state, events) }] })

/** Keeps the events that `isKept` says, and consumes them; the others are garbage. */
const keeping = <S>(
  isKept: (event: Of, events: ReadonlyArray<Of>, state: S) => boolean,
  next: (state: S, kept: ReadonlyArray<Of>) => S
): Decide<S> =>
(events, state) => {
  const kept = events.filter((event) => isKept(event, events, state))
  const garbage = events.filter((event) => !kept.includes(event))
  return Effect.succeed({ garbage, transitions: [{ events: kept, transitionTo: next(state, kept) }] })
}

const alike = (event: Of, events: ReadonlyArray<Of>) => events.filter(({ value }) => value.of === event.value.of)

const Names: Schema.Codec<ReadonlyArray<string>> = Schema.Array(Schema.String)
const named = (
  state: ReadonlyArray<string>,
  kept: ReadonlyArray<Of>
): ReadonlyArray<string> => [...state, ...kept.map(({ value }) => value.of)]

const Counter = makeBox(Schema.Int, 0, consumeAll((total, events) => total + events.length))

/** Remembers the classes it has seen, and keeps the first event of each other. */
const firstOfEach = makeBox(
  Names,
  [],
  keeping((event, events, seen) => !seen.includes(event.value.of) && alike(event, events)[0] === event, named)
)

/** Keeps one of each class: which one depends on how many events there are. That is LUCI's example. */
const oneOfEach = makeBox(
  Names,
  [],
  keeping((event, events) => alike(event, events).at(events.length % 2 === 0 ? 0 : -1) === event, named)
)

describe("ProcessorLaws", () => {
  describe("sound processors keep all laws", () => {
    const sound: ReadonlyArray<readonly [string, Box, Options?]> = [
      ["a counter", Counter],
      ["one that remembers what it has seen, and keeps the first of equal events", firstOfEach],
      [
        "one that keeps the first of equal events, and does not remember them",
        makeBox(Schema.Int, 0, keeping((event, events) => alike(event, events)[0] === event, (count) => count)),
        {}
      ],
      [
        "the last one wins, all others are garbage",
        makeBox(
          Schema.String,
          "",
          keeping((event, events) => events.at(-1) === event, (state, [event]) => event?.value.of ?? state)
        )
      ],
      [
        "the last one wins, all are consumed",
        makeBox(Schema.String, "", consumeAll((state, events) => events.at(-1)?.value.of ?? state))
      ],
      [
        "one that throws away what its state makes worthless",
        makeBox(
          Schema.String,
          "",
          keeping(
            (event, _, highest) => event.value.of > highest,
            (state, kept) => [state, ...kept.map(({ value }) => value.of)].toSorted().at(-1)!
          )
        )
      ],
      [
        "one that thins out equal events only when there are three, and counts no event twice",
        makeBox(
          Names,
          [],
          keeping(
            (event, events) => alike(event, events).length < 3 || alike(event, events).at(-1) === event,
            (state, kept) => Array.from(new Set(named(state, kept))).toSorted()
          )
        )
      ],
      [
        "one that waits for two events, and commits something meanwhile",
        makeBox(Schema.Int, 0, (events, tries) =>
          Effect.succeed({
            transitions: [{ events: events.length < 2 ? [] : events, transitionTo: Math.min(tries + 1, 9) }]
          }))
      ],
      [
        "one with side effects that read, write and emit",
        makeBox(Schema.Int, 0, (events, total) =>
          Effect.succeed({
            transitions: events.map((event, index) => ({
              events: [event],
              transitionTo: total + index + 1,
              sideEffect: Processor.Chain(
                Datastore.put([Entity.make(Key.make("Done", event.id), { of: event.value.of })]),
                Eventbox.emit(Counter.box, Counter.box.recipient("other"), event.value)
              )
            }))
          }))
      ],
      [
        "one that draws ids, in a state that is as good with others",
        makeBox(Names, [], (events, state) =>
          Effect.gen(function*() {
            const ids = yield* Ids
            const drawn = yield* Effect.forEach(events, () => ids.next)
            return { transitions: [{ events, transitionTo: [...state, ...drawn] }] }
          })),
        { equivalent: (self: ReadonlyArray<string>, that: ReadonlyArray<string>) => self.length === that.length }
      ],
      [
        "one whose decisions take time",
        makeBox(Schema.Int, 0, (events, total) =>
          Effect.delay(
            Effect.succeed({ transitions: [{ events, transitionTo: total + events.length }] }),
            "1 minute"
          ))
      ]
    ]
    for (const [name, box, options] of sound) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const report = yield* check(box, options)

          assert.strictEqual(report.runs, 30)
          assert.isAbove(report.batches, 50)
          assert.isAbove(report.histories, 20)
          assert.strictEqual(report.undecided, 0)
        }), 120_000)
    }
  })

  it.effect(
    "Garbage: a choice that depends on the rest of the batch loses events, as the library then shows",
    () =>
      Effect.gen(function*() {
        const { detail, events, law, message, state, summary } = yield* violation(oneOfEach)

        assert.strictEqual(law, "Garbage")
        assert.strictEqual(state, "[]")
        // An even number of events is needed, and an odd one.
        assert.deepStrictEqual(events.map(({ id }) => id), ["e1", "e2", "e3"])
        assert.strictEqual(new Set(events.map(({ text }) => text)).size, 1)
        assert.match(summary, /delete e1, e2, e3 as garbage, which batches one after another never do/)
        assert.isTrue(
          detail.some((line) => /^in the end {4}state \[\]; consumed nothing/.test(line)),
          detail.join("\n")
        )
        assert.match(message, /worker \d +commit delete Box,"laws"\/dsset.Item,"e1".*landed/)
        assert.match(message, /Seed 1; this example alone: replay: "/)
      }),
    120_000
  )

  it.effect(
    "Garbage: events that cancel each other are lost when another worker consumes one of them",
    () =>
      Effect.gen(function*() {
        const sum = (events: Events<any>) =>
          events.reduce((total, { value }) => total + (value.of === "x" ? 1 : value.of === "y" ? -1 : 0), 0)
        const box = makeBox(Schema.Int, 0, (events, total) =>
          Effect.succeed(
            events.length === 2 && sum(events) === 0 && events[0]!.value.of !== events[1]!.value.of
              ? { garbage: events, transitions: [] }
              : { transitions: [{ events, transitionTo: total + sum(events) }] }
          ))

        const { detail, events, law, summary } = yield* violation(box)

        assert.strictEqual(law, "Garbage")
        assert.deepStrictEqual(events.map(({ text }) => text).toSorted(), [`{"of":"x"}`, `{"of":"y"}`])
        assert.match(summary, /come to a state/)
        assert.match(detail.join("\n"), /meanwhile worker 2 sees e\d: consumes e\d, garbage nothing, and commits/)
      }),
    120_000
  )

  it.effect(
    "Garbage: a choice that depends on the state loses events when another batch lands in between",
    () =>
      Effect.gen(function*() {
        const box = makeBox(
          Schema.Int,
          0,
          keeping(
            (event, events, count) => alike(event, events).at(count % 2 === 0 ? 0 : -1) === event,
            (count, kept) => count + kept.length
          )
        )
        const { detail, law } = yield* violation(box)

        assert.strictEqual(law, "Garbage")
        assert.match(detail.join("\n"), /meanwhile worker 2 .*, and commits\nmeanwhile worker 3 .*, and stops before/)
      }),
    120_000
  )

  it.effect("Batch: an event that is not in the batch, and one that is used twice", () =>
    Effect.gen(function*() {
      const stranger = yield* violation(makeBox(Schema.Int, 0, (events, state) =>
        Effect.succeed({
          transitions: [{ events: events.map(({ value }) => ({ id: "?", value })), transitionTo: state }]
        })))
      const twice = yield* violation(makeBox(Schema.Int, 0, (events, state) =>
        Effect.succeed({ transitions: [{ events, transitionTo: state + 1 }], garbage: events.slice(1) })))

      assert.strictEqual(stranger.law, "Batch")
      assert.strictEqual(stranger.events.length, 1)
      assert.match(stranger.summary, /transition 0 names event "\?", which is not in this batch/)
      assert.strictEqual(twice.law, "Batch")
      assert.strictEqual(twice.events.length, 2)
      assert.match(twice.summary, /garbage names event "[eh]2", which was used before/)
    }))

  it.effect("Decision: memory of earlier calls, random numbers, and a state that is cached", () =>
    Effect.gen(function*() {
      let calls = 0
      const remembering = makeBox(
        Schema.Int,
        0,
        (events, total) =>
          Effect.succeed({ transitions: [{ events: ++calls % 2 === 0 ? [] : events, transitionTo: total + 1 }] })
      )
      const random = makeBox(
        Schema.Int,
        0,
        (events, total) =>
          Effect.succeed({ transitions: [{ events, transitionTo: total + Math.random() * 1_000 | 0 }] })
      )
      let cached: { readonly state: number; readonly eversion: Processor.EVersion } | undefined
      class Caching extends Processor.Service<Caching>()("test/Caching", {
        kind: "Caching",
        state: Schema.Int,
        event: Schema.Struct({})
      }) {
        static readonly layer = this.toLayer(Effect.map(
          this.entity({
            initial: () => 0,
            prepareMutation: (events, total) =>
              Effect.succeed({ transitions: [{ events, transitionTo: total + events.length }] })
          }),
          (entity) => ({
            ...entity,
            loadState: (recipient) => cached === undefined ? entity.loadState(recipient) : Effect.succeed(cached),
            saveState: (state, eversion, recipient) => {
              cached = { state, eversion }
              return entity.saveState(state, eversion, recipient)
            }
          })
        ))
      }

      const remembered = yield* violation(remembering)
      const drawn = yield* violation(random)
      const stale = yield* violation(asBox(Caching))

      assert.deepStrictEqual([remembered.law, drawn.law, stale.law], ["Decision", "Decision", "Decision"])
      assert.match(remembered.summary, /asked twice/)
      assert.match(
        remembered.detail.join("\n"),
        /first\n {2}transition 0 consumes [eh]1.*\n.*\nsecond\n {2}transition 0 consumes nothing/
      )
      assert.strictEqual(drawn.events.length, 0)
      assert.match(stale.summary, /loadState returns different states while the same is stored/)
    }))

  it.effect("Schema: a state that its schema changes, and one that does not fit it", () =>
    Effect.gen(function*() {
      const narrow: Schema.Codec<any, any> = Schema.Struct({ count: Schema.Int })
      const extra = yield* violation(
        makeBox(narrow, { count: 0 }, consumeAll((state, events) => ({ count: state.count + 1, last: events[0]?.id })))
      )
      class Total extends Schema.Class<Total>("Total")({ count: Schema.Int }) {}
      const plain = yield* violation(
        makeBox(Total as Schema.Codec<any, any>, new Total({ count: 0 }), consumeAll(({ count }) => ({ count })))
      )
      const notANumber = yield* violation(
        makeBox(Schema.Int as Schema.Codec<any, any>, 0, consumeAll((state, events) => state / events.length))
      )
      const infinite = yield* check(
        makeBox(Schema.Number, 1, consumeAll((state, events) => -state / events.length)),
        { runs: 10 }
      )

      assert.deepStrictEqual([extra.law, plain.law, notANumber.law], ["Schema", "Schema", "Schema"])
      assert.match(extra.summary, /the state of transition 0 does not survive/)
      assert.include(extra.detail[1], `{"count":1}`)
      assert.match(plain.summary, /the state of transition 0 does not fit the state schema/)
      assert.match(notANumber.detail.join("\n"), /NaN/)
      assert.strictEqual(infinite.runs, 10)
    }))

  it.effect("Schema: the initial state too, and undefined where a schema has no room for it", () =>
    Effect.gen(function*() {
      const state: Schema.Codec<any, any> = Schema.Struct({ note: Schema.optionalKey(Schema.String) })
      const { events, law, summary } = yield* violation(makeBox(state, { note: undefined }, consumeAll((all) => all)))

      assert.strictEqual(law, "Schema")
      assert.match(summary, /the state that loadState returns does not/)
      assert.deepStrictEqual(events, [])
    }))

  it.effect("Pure: prepareMutation and loadState write nothing, nor does a fiber that they leave behind", () =>
    Effect.gen(function*() {
      const put = Datastore.put([Entity.make(Key.make("Log", 1), { n: 1 })])
      const done = (events: Events<any>, total: number) =>
        Effect.succeed({ transitions: [{ events, transitionTo: total + events.length }] })
      const writing = makeBox(Schema.Int, 0, (events, total) => Effect.andThen(put, done(events, total)))
      const emitting = makeBox(Schema.Int, 0, (events, total) =>
        Effect.andThen(
          events.length < 2 ? Effect.void : Eventbox.emit(Counter.box, Counter.box.recipient("c"), { of: "x" }),
          done(events, total)
        ))
      const forking = makeBox(
        Schema.Int,
        0,
        (events, total) => Effect.andThen(Effect.forkDetach(Effect.delay(put, 1)), done(events, total))
      )
      class Touching extends Processor.Service<Touching>()("test/Touching", {
        kind: "Touching",
        state: Schema.Int,
        event: Schema.Struct({})
      }) {
        static readonly layer = this.toLayer(
          Effect.map(this.entity({ initial: () => 0, prepareMutation: done }), (entity) => ({
            ...entity,
            loadState: (recipient) => Effect.andThen(put, entity.loadState(recipient))
          }))
        )
      }

      const found = yield* Effect.forEach([writing, emitting, forking, asBox(Touching)], (box) => violation(box))

      assert.deepStrictEqual(found.map(({ law }) => law), ["Pure", "Pure", "Pure", "Pure"])
      assert.deepStrictEqual(found[0]!.detail, [`commit put Log,1`])
      assert.match(found[0]!.summary, /^prepareMutation writes/)
      assert.strictEqual(found[1]!.events.length, 2)
      assert.match(found[3]!.summary, /^loadState writes/)
    }))

  it.effect("Pure: reading is allowed, and set-up entities are there in every case", () =>
    Effect.gen(function*() {
      const settings = Key.make("Settings", 1)
      const box = makeBox(Schema.Int, 0, (events, total) =>
        Effect.map(Datastore.get(settings), (found) => ({
          transitions: [{ events, transitionTo: total + Number(Option.getOrThrow(found).properties["step"]) }]
        })))
      const setup = Datastore.put([Entity.make(settings, { step: 5 })])

      const without = yield* violation(box)
      const report = yield* check(box, { setup, runs: 20 })

      assert.strictEqual(without.law, "Success")
      assert.strictEqual(report.runs, 20)
    }))

  it.effect("Input: a state that is changed in place, which the library would not save", () =>
    Effect.gen(function*() {
      const box = makeBox(Names, [], (events, state) => {
        for (const { value } of events) (state as Array<string>).push(value.of)
        return Effect.succeed({ transitions: [{ events, transitionTo: state }] })
      })
      const { detail, events, law } = yield* violation(box)

      assert.strictEqual(law, "Input")
      assert.strictEqual(events.length, 1)
      assert.match(detail[1]!, /^after {3}\["[xyz]"\]$/)
    }))

  describe("Updates: what side effects of one batch write to one entity adds up", () => {
    const total = Key.make("Total", "t")
    const amount = Effect.map(
      Datastore.get(total),
      (found) => found._tag === "None" ? 0 : Number(found.value.properties["n"])
    )
    const put = (n: number) => Datastore.put([Entity.make(total, { n })])
    const oneEach = (effectOf: (event: Of) => Processor.SideEffect): Decide<number> => (events, n) =>
      Effect.succeed({
        transitions: events.map((event, index) => ({
          events: [event],
          transitionTo: n + index + 1,
          sideEffect: effectOf(event)
        }))
      })

    it.effect(
      "each reads what it changes, in transitions of their own and in a chain: sound",
      () =>
        Effect.gen(function*() {
          const increment = Effect.flatMap(amount, (n) => put(n + 1))
          const log = ({ value }: Of) =>
            Effect.flatMap(Datastore.get(total), (found) =>
              Datastore.put([
                Entity.make(total, {
                  list: [...found._tag === "None" ? [] : found.value.properties["list"] as Array<string>, value.of]
                })
              ]))
          const sound = [
            makeBox(Schema.Int, 0, oneEach(() => increment)),
            makeBox(Schema.Int, 0, oneEach(log)),
            makeBox(Schema.Int, 0, oneEach(({ value }) => Datastore.put([Entity.make(total, { last: value.of })]))),
            makeBox(Schema.Int, 0, (events, n) =>
              Effect.succeed({
                transitions: [{
                  events,
                  transitionTo: n + events.length,
                  sideEffect: Processor.Chain(...events.map(() => increment))
                }]
              }))
          ]
          for (const box of sound) assert.strictEqual((yield* check(box)).runs, 30)
        }),
      120_000
    )

    it.effect("one writes what prepareMutation has read, and is caught", () =>
      Effect.gen(function*() {
        const lost = [
          makeBox(Schema.Int, 0, (events, n) =>
            Effect.flatMap(Effect.orDie(amount), (read) =>
              oneEach(() => put(read + 1))(events, n))),
          makeBox(Schema.Int, 0, (events, n) =>
            Effect.map(Effect.orDie(amount), (read) => ({
              transitions: [{
                events,
                transitionTo: n + events.length,
                sideEffect: Processor.Chain(...events.map(() =>
                  put(read + 1)
                ))
              }]
            })))
        ]
        for (const box of lost) {
          const { detail, events, law, summary } = yield* violation(box)

          assert.strictEqual(law, "Updates")
          assert.lengthOf(events, 2)
          assert.include(summary, "write Total,\"t\" more than once")
          assert.deepStrictEqual(detail.slice(0, 2), [
            "together    Total,\"t\" {n: 1}",
            "one by one  Total,\"t\" {n: 2}"
          ])
          yield* check(box, { except: ["Updates"] })
        }
      }), 120_000)
  })

  it.effect("Success: a failure is reported unless it may be, a defect always", () =>
    Effect.gen(function*() {
      const box = makeBox(Schema.Int, 0, (events, total) =>
        events.some(({ value }) => value.of === "y")
          ? Processor.failWithGarbage("no y" as never, events.filter(({ value }) => value.of === "y"))
          : Effect.succeed({ transitions: [{ events, transitionTo: total + events.length }] }))
      const empty = makeBox(Schema.String, "", consumeAll((_, events) => events[0]!.value.of))

      const failed = yield* violation(box)
      const allowed = yield* check(box, { mayFail: (error: unknown) => error === "no y" })
      const others = yield* violation(box, { mayFail: (error: unknown) => error !== "no y" })
      const died = yield* violation(empty, { mayFail: true })

      assert.strictEqual(failed.law, "Success")
      assert.deepStrictEqual(failed.events.map(({ text }) => text), [`{"of":"y"}`])
      assert.match(failed.detail.join(), /no y/)
      assert.isAbove(allowed.pairs, 0)
      assert.strictEqual(others.law, "Success")
      assert.strictEqual(died.law, "Success")
      assert.strictEqual(died.summary, "prepareMutation dies when there is no event")
    }), 120_000)

  describe("processors with functions of their own", () => {
    const version = (found: Option.Option<Entity.Entity>) =>
      Processor.EVersion.make(Number(Option.getOrUndefined(found)?.properties["V"] ?? 0))

    /** The state in two entities below the recipient's own one, which holds the version. */
    const makeParts = (functions: {
      readonly loadState: (key: Key.Key) => Effect.Effect<any, any, Datastore.Datastore>
      readonly saved?: (state: { readonly a: number; readonly b: number }) => { readonly a: number; readonly b: number }
      readonly fetchEVersion?: Processor.EVersion | undefined
    }) => {
      class Parts extends Processor.Service<any>()("test/Parts", {
        kind: "Parts",
        state: Schema.Struct({ a: Schema.Int, b: Schema.Int }),
        event: Schema.Struct({ to: Schema.Literals(["a", "b"]) })
      }) {
        static readonly layer: Layer.Layer<any> = this.toLayer(Effect.succeed<any>({
          loadState: ({ key }: any) => functions.loadState(key),
          fetchEVersion: ({ key }: any) =>
            functions.fetchEVersion === undefined
              ? Effect.map(Datastore.get(key), version)
              : Effect.succeed(functions.fetchEVersion),
          prepareMutation: (events: Events<any>, state: any) => {
            const count = (to: string) => events.filter(({ value }) => value.to === to).length
            const transitionTo = { a: state.a + count("a"), b: state.b + count("b") }
            return Effect.succeed({ transitions: [{ events, transitionTo }] })
          },
          saveState: (state: any, eversion: number, { key }: any) => {
            const { a, b } = functions.saved?.(state) ?? state
            return Datastore.put([
              Entity.make(key, { V: eversion }),
              Entity.make(Key.child(key, "Part", "a"), { n: a }),
              Entity.make(Key.child(key, "Part", "b"), { n: b })
            ])
          }
        }))
      }
      return asBox(Parts)
    }

    const amount = (found: Option.Option<Entity.Entity> | undefined) =>
      Number(Option.getOrUndefined(found ?? Option.none())?.properties["n"] ?? 0)

    const byKey = (key: Key.Key) =>
      Effect.map(
        Datastore.getAll([key, Key.child(key, "Part", "a"), Key.child(key, "Part", "b")]),
        ([own, a, b]) => ({ state: { a: amount(a), b: amount(b) }, eversion: version(own!) })
      )

    const byQuery = (key: Key.Key) =>
      Effect.map(Datastore.query({ kind: "Part", ancestor: key }), ({ results }) => {
        const of = (id: string) => amount(results.find((result) => result.key.id === id)?.entity)
        return { a: of("a"), b: of("b") }
      })

    it.effect("keep all laws when they read and write what they say", () =>
      Effect.gen(function*() {
        const report = yield* check(makeParts({ loadState: byKey }))
        const careful = yield* check(
          makeParts({
            // The version first: a change of the parts after it shows in the commit.
            loadState: (key) =>
              Effect.gen(function*() {
                const eversion = version(yield* Datastore.get(key))
                return { eversion, state: yield* byQuery(key) }
              })
          }),
          { histories: 5 }
        )

        assert.strictEqual(report.runs, 30)
        assert.isAbove(careful.histories, 70)
      }), 120_000)

    it.effect("Save: a property that saveState forgets, and a version that fetchEVersion makes up", () =>
      Effect.gen(function*() {
        const forgetful = yield* violation(makeParts({ loadState: byKey, saved: ({ a }) => ({ a, b: 0 }) }))
        const wrong = yield* violation(makeParts({ loadState: byKey, fetchEVersion: Processor.EVersion.make(0) }))

        assert.deepStrictEqual([forgetful.law, wrong.law], ["Save", "Save"])
        assert.deepStrictEqual(forgetful.detail, [
          `saved   {"a":0,"b":1}, EVersion 1`,
          `loaded  {"a":0,"b":0}, EVersion 1`
        ])
        assert.match(wrong.summary, /fetchEVersion and loadState do not agree/)
      }))

    it.effect("Concurrency: a version that is read after the state it belongs to", () =>
      Effect.gen(function*() {
        const late = makeParts({
          loadState: (key) =>
            Effect.gen(function*() {
              const state = yield* byQuery(key)
              return { state, eversion: version(yield* Datastore.get(key)) }
            })
        })
        const { detail, events, law, replay } = yield* violation(late, { histories: 40 })
        const again = yield* violation(late, { histories: 40, replay })

        assert.strictEqual(law, "Concurrency")
        assert.isAtMost(events.length, 3)
        assert.match(detail.join("\n"), /query Part of Parts,"laws"/)
        assert.deepStrictEqual(again.detail, detail)
      }), 120_000)
  })

  it.effect("a seed repeats a check, and a replay the example alone", () =>
    Effect.gen(function*() {
      const first = yield* violation(oneOfEach, { seed: "s" })
      const second = yield* violation(oneOfEach, { seed: "s" })
      const replayed = yield* violation(oneOfEach, { replay: first.replay })

      assert.strictEqual(second.message, first.message)
      assert.deepStrictEqual(replayed.events, first.events)
      assert.strictEqual(first.seed, "s")
    }), 120_000)

  it.effect("a law can be left out", () =>
    Effect.gen(function*() {
      const report = yield* check(oneOfEach, { except: ["Garbage", "Concurrency"] })

      assert.strictEqual(report.runs, 30)
      assert.strictEqual(report.pairs, 0)
      assert.strictEqual(report.histories, 0)
    }), 120_000)

  it.effect("the library itself shows what the law Garbage says", () =>
    Effect.gen(function*() {
      const { detail, law } = yield* violation(oneOfEach, {
        except: ["Garbage"],
        events: Arbitrary.Constant({ of: "x" }),
        histories: 40
      })

      assert.strictEqual(law, "Concurrency")
      assert.match(detail.join("\n"), /commit delete Box,"laws"\/dsset.Item,"e\d".*landed/)
    }), 240_000)

  it.effect("events of one's own, and a state that is compared in one's own way", () =>
    Effect.gen(function*() {
      const seen = new Set<string>()
      const box = makeBox(Names, [], (events, state) => {
        for (const { value } of events) seen.add(value.of)
        return Effect.succeed({ transitions: [{ events, transitionTo: [...state, ...events.map(({ id }) => id)] }] })
      })
      const events = Arbitrary.Constant({ of: "z" })
      // Two batches that overlap and both consume would never come to an equal state here: the order shows.
      const report = yield* check(box, { events, runs: 20, equivalent: () => true })

      assert.deepStrictEqual(Array.from(seen), ["z"])
      assert.isAbove(report.histories, 10)
    }))

  it.effect("misuse dies with what to do", () =>
    Effect.gen(function*() {
      const messageOf = (options: Options) =>
        Effect.map(Effect.exit(check(Counter, options)), (exit) =>
          Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "no failure")

      assert.match(yield* messageOf({ maxEvents: 7 }), /maxEvents is an integer from 1 to 6, got 7/)
      assert.match(yield* messageOf({ runs: 0 }), /runs is an integer from 1/)
      assert.match(yield* messageOf({ setup: Effect.fail("no") }), /the set-up failed/)
      const opaque = Schema.declare((_): _ is object =>
        true
      )
      class Opaque extends Processor.Service<Opaque>()("test/Opaque", {
        kind: "Opaque",
        state: Schema.Int,
        event: opaque
      }) {
        static readonly layer = this.toLayer(this.entity({
          initial: () => 0,
          prepareMutation: () => Effect.succeed({ transitions: [] })
        }))
      }
      const exit = yield* Effect.exit(check(asBox(Opaque)))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) assert.match(String(Cause.squash(exit.cause)), /no events can be made.*give `events`/)
    }))

  it("a report reads as one line", () => {
    const report = { runs: 100, batches: 1_234, pairs: 0, histories: 7, undecided: 1 }
    assert.strictEqual(
      ProcessorLaws.format(report),
      "100 cases, 1,234 batches, 0 overlapping pairs, 7 histories, 1 cases with too many ends to decide on garbage"
    )
  })
})
