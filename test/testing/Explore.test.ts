import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Option, References } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import { ContentionError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Explore from "../../src/testing/Explore.ts"
import { allApplied, isLong } from "../utils/explore.ts"
import { boxes, emit, layer, recipient, work } from "../utils/exploreBox.ts"
import { makeRandom } from "../utils/exploreRandom.ts"

const key = (id: string) => Key.make("Thing", id)
const put = (id: string, value: number) => Datastore.put([Entity.make(key(id), { value })])
const get = (id: string) =>
  Effect.map(Datastore.get(key(id)), (found) => Option.isSome(found) ? Number(found.value.properties["value"]) : 0)

/** Adds one to a counter; not safe, as nothing makes the write depend on the read. */
const unsafe = Effect.flatMap(get("n"), (n) => put("n", n + 1))

/** Adds one to a counter, in a transaction. */
const safe = Datastore.withTransaction(unsafe)

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

type Scenario = Pick<Explore.Options<Explore.Programs, never, never, never>, "programs" | "faults" | "processes">

const all = <P extends Explore.Programs>(programs: P, options: Partial<Explore.Options<P, never, any, never>> = {}) =>
  quiet(Explore.explore({ programs, check: () => Effect.void, prune: false, ...options }))

/** What each process asked and was told, in its own order, without the versions, which count all commits. */
const viewsOf = (table: string): string => {
  const lines = table.split("\n").slice(1).map((line) => line.replaceAll(/\bv\d+/g, "v").split(/ {2,}/))
  const whose = Array.from(new Set(lines.map(([, who]) => who))).toSorted()
  return JSON.stringify(whose.map((name) => lines.filter(([, who]) => who === name).map((line) => line.slice(1))))
}

describe("Explore", () => {
  it.effect("runs every interleaving of operations once", () =>
    Effect.gen(function*() {
      const steps = (name: string, count: number) =>
        Effect.forEach(Array.from({ length: count }), (_, at) => put(`${name}${at}`, at), { discard: true })
      const tokens: Array<string> = []
      const check = ({ token }: Explore.History<any>) => Effect.sync(() => tokens.push(token))

      const two = yield* all({ one: steps("one", 3), two: steps("two", 2) }, { check })
      const three = yield* all({ one: steps("one", 2), two: steps("two", 2), three: steps("three", 2) })

      assert.deepStrictEqual(two, {
        histories: 10, // 5! / (3! 2!)
        pruned: 0,
        isComplete: true,
        contended: 0,
        faulty: 0,
        longest: 5
      })
      assert.strictEqual(new Set(tokens).size, 10)
      assert.strictEqual(three.histories, 90) // 6! / (2! 2! 2!)
    }))

  it.effect("takes each lookup, query and commit as one step, and crashes at the commits", () =>
    Effect.gen(function*() {
      const { box } = boxes[0]
      const seen = new Set<string>()
      const options = {
        setup: emit(box, "a"),
        programs: { one: work(box) },
        check: () =>
          Effect.map(Datastore.query({ kind: "dsset.Item" }), ({ results }) => seen.add(`${results.length} left`))
      }

      const table = yield* Explore.replay(options, "")
      const crashing = yield* quiet(Explore.explore({ ...options, faults: { crash: true } }))

      const steps = table.split("\n").filter((line) => /^\d/.test(line)).map((line) => line.split(/ {2,}/)[2])
      assert.deepStrictEqual(steps.map((step) => step!.split(" ").slice(0, 3).join(" ")), [
        `query dsset.Item of`,
        `lookup Box,"r"/dsset.Tombstones,1, Box,"r"`,
        `commit put Applied,"a`
      ])
      assert.deepStrictEqual([crashing.histories, crashing.faulty], [3, 2])
      assert.deepStrictEqual([...seen].toSorted(), ["0 left", "1 left"])
    }).pipe(Effect.provide(layer)))

  it.effect("leaves out orders of operations on different keys, and none on the same key", () =>
    Effect.gen(function*() {
      const apart = yield* all({ one: Effect.andThen(put("a", 1), put("a", 2)), two: put("b", 1) }, { prune: true })
      const together = yield* all({ one: Effect.andThen(put("a", 1), put("a", 2)), two: put("a", 3) }, { prune: true })

      assert.deepStrictEqual([apart.histories, together.histories], [1, 3])
    }))

  // What can be seen must be the same with and without pruning. Kills: a query, a read or a process taken for
  // independent of what it depends on; time taken for independent; withdrawn operations, jumps or faults not tried; a
  // race overlooked.
  it.effect("sees the same with and without pruning, in random programs", () =>
    Effect.gen(function*() {
      const [from, to] = isLong ? [0, 2_000] : [0, 40]
      let compared = 0
      let left = 0
      for (let seed = from; seed < to; seed++) {
        const full = makeRandom(seed)
        const pruned = makeRandom(seed)
        const report = yield* quiet(Explore.explore({ ...full.options, prune: false, maxHistories: 400 }))
        if (!report.isComplete) continue
        const less = yield* quiet(Explore.explore({ ...pruned.options, prune: true }))
        assert.deepStrictEqual([...pruned.seen].toSorted(), [...full.seen].toSorted(), `seed ${seed}`)
        assert.isAtMost(less.histories, report.histories)
        compared += report.histories
        left += less.histories
      }

      assert.isAbove(compared, 1_000)
      assert.isBelow(left, compared / 2)
    }), 1_200_000)

  it.effect("sees the same with and without pruning, in workers of this library", () =>
    Effect.gen(function*() {
      const { box } = boxes[0]
      const setup = Effect.andThen(emit(box, "a"), emit(box, "b"))
      const one = work(box, { maxEvents: 1 })
      const lossy = { responseLost: true, requestLost: true, late: true }
      const scenarios: ReadonlyArray<Scenario> = [
        { programs: { one: work(box), two: work(box) } },
        { programs: { one: work(box), two: work(box) }, faults: { crash: true } },
        { programs: { one: work(box), again: emit(box, "b") }, faults: { ...lossy, where: (_, by) => by === "again" } },
        { programs: { one, two: Effect.andThen(Explore.step("late"), one) }, processes: { one: "p", two: "p" } },
        ...(isLong
          ? [
            { programs: { one: work(box), two: work(box) }, faults: lossy },
            { programs: { one, two: work(box, { maxEvents: 1, tries: 2 }), again: emit(box, "a") } }
          ]
          : [])
      ]
      for (const scenario of scenarios) {
        const seen = [new Set<string>(), new Set<string>()]
        const reports = yield* Effect.forEach(seen, (into, at) =>
          quiet(Explore.explore({
            setup,
            ...scenario,
            prune: at === 1,
            check: ({ exits, notes }) =>
              Effect.gen(function*() {
                const { results } = yield* Datastore.query({ kind: "dsset.Item" })
                const state = Option.map(yield* Datastore.get(recipient(box).key), ({ properties }) => properties)
                const said = Object.keys(exits).map((
                  name
                ) => [exits[name], notes.filter((one) => one.program === name)])
                into.add(JSON.stringify([said, yield* allApplied, state, results.map((one) => one.key.toString())]))
              })
          })))

        assert.deepStrictEqual([...seen[1]!].toSorted(), [...seen[0]!].toSorted())
        assert.isBelow(reports[1]!.histories, reports[0]!.histories)
        assert.isAbove(seen[0]!.size, 1)
      }
    }).pipe(Effect.provide(layer)), 600_000)

  // So a table of visited states would find next to nothing that pruning has left.
  it.effect(
    "runs few histories that look the same to every process, in workers of this library",
    () =>
      Effect.gen(function*() {
        const { box } = boxes[1]
        const two = { one: work(box), two: work(box) }
        const again = work(box, { tries: 2 })
        const scenarios: ReadonlyArray<Scenario> = [
          { programs: two },
          { programs: { ...two, three: work(box) } },
          { programs: { one: again, two: again, three: again } },
          { programs: two, faults: { responseLost: true, requestLost: true, late: true } },
          { programs: two, faults: { crash: true, max: 2 } }
        ]
        for (const scenario of scenarios) {
          const views = new Set<string>()
          const { histories } = yield* quiet(Explore.explore({
            setup: Effect.andThen(emit(box, "a"), emit(box, "b")),
            ...scenario,
            check: ({ table }) => Effect.sync(() => views.add(viewsOf(table())))
          }))

          console.log(`${histories} histories, ${views.size} of them look unlike all others`)
          assert.isAbove(histories, 5)
          // Some are left, of processes that look at what lost them a race.
          assert.isAtLeast(views.size, 0.8 * histories)
        }
      }).pipe(Effect.provide(layer)),
    120_000
  )

  it.effect("finds a lost update, and shows its shortest history", () =>
    Effect.gen(function*() {
      const options = {
        programs: { one: unsafe, two: unsafe },
        check: () => Effect.map(get("n"), (n) => assert.strictEqual(n, 2))
      }

      const failure = yield* Effect.flip(quiet(Explore.explore(options)))
      const again = yield* Effect.flip(quiet(Explore.replay(options, failure.token)))

      assert.strictEqual(failure.reason, "CheckFailed")
      assert.strictEqual(failure.token, "one.1 two.1 two.2 one.2")
      assert.strictEqual(
        failure.table,
        [
          `step  fiber  operation             result`,
          `1     one    lookup Thing,"n"      absent`,
          `2     two    lookup Thing,"n"      absent`,
          `3     two    commit put Thing,"n"  landed`,
          `      two    ends                  success`,
          `4     one    commit put Thing,"n"  landed`,
          `      one    ends                  success`
        ].join("\n")
      )
      assert.strictEqual(again.table, failure.table)
      assert.include(failure.message, failure.table)
    }))

  it.effect("finds the same, in as many histories, whenever it is asked", () =>
    Effect.gen(function*() {
      const programs = { one: unsafe, two: unsafe, three: safe }
      const options = {
        programs,
        faults: { late: true },
        check: () => Effect.map(get("n"), (n) => assert.isAbove(n, 1))
      }

      const failure = yield* Effect.flip(quiet(Explore.explore(options)))
      const again = yield* Effect.flip(quiet(Explore.explore(options)))

      assert.deepStrictEqual(
        [again.message, again.token, again.histories],
        [failure.message, failure.token, failure.histories]
      )
    }))

  it.effect("finds none where the write depends on the read", () =>
    Effect.gen(function*() {
      const report = yield* all({ one: safe, two: safe }, {
        check: ({ contentions, exits }) =>
          Effect.gen(function*() {
            const failed = [exits["one"]!, exits["two"]!].filter((exit) => Exit.isFailure(Option.getOrThrow(exit)))
            assert.strictEqual((yield* Effect.orDie(get("n"))) + failed.length, 2)
            assert.strictEqual(contentions, failed.length)
          })
      })

      assert.deepStrictEqual([report.histories, report.contended], [6, 4])
    }))

  it.effect("replays a history that is no finding, and refuses a step that cannot be taken", () =>
    Effect.gen(function*() {
      const options = { programs: { one: safe, two: safe }, check: () => Effect.void }

      const table = yield* Explore.replay(options, "two.1 two.2")
      const refused = yield* Effect.exit(Explore.replay(options, "one.2"))

      assert.match(table, /^1 +two +lookup/m)
      assert.match(table, /^3 +one +lookup/m)
      assert.match(
        String(Exit.isFailure(refused) ? refused.cause : ""),
        /step 1, one\.2, cannot be taken here; possible: one\.1 two\.1/
      )
    }))

  it.effect("tries every fault at every commit, and as many as it may", () =>
    Effect.gen(function*() {
      const seen = new Map<string, number>()
      const check = (history: Explore.History<any>) =>
        Effect.gen(function*() {
          const exit = Option.match(history.exits["one"]!, { onNone: () => "crashed", onSome: ({ _tag }) => _tag })
          const saw = `${exit} ${yield* Effect.orDie(get("a"))} ${yield* Effect.orDie(get("b"))}`
          seen.set(saw, (seen.get(saw) ?? 0) + 1)
        })
      const one = Effect.andThen(put("a", 1), put("b", 1))

      const once = yield* all({ one }, {
        check,
        faults: { responseLost: true, requestLost: true, late: true, crash: true }
      })
      const outcomes = Object.fromEntries(Array.from(seen).toSorted())
      const twice = yield* all({ one: Effect.andThen(Effect.ignore(put("a", 1)), put("b", 1)) }, {
        faults: { responseLost: true, max: 2 }
      })
      const none = yield* all({ one }, { faults: { crash: true, where: () => false } })

      // A program that is told of a fault ends; a late commit lands after that.
      assert.deepStrictEqual(outcomes, {
        "Failure 0 0": 1, // a: request lost
        "Failure 1 0": 3, // a: response lost, a: late; b: request lost
        "Failure 1 1": 2, // b: response lost, b: late
        "Success 1 1": 1,
        "crashed 0 0": 1,
        "crashed 1 0": 2,
        "crashed 1 1": 1
      })
      assert.deepStrictEqual([once.histories, once.faulty], [11, 10])
      assert.deepStrictEqual([twice.histories, twice.faulty], [4, 3])
      assert.strictEqual(none.histories, 1)
    }))

  it.effect("lands a late commit at every later step, where its expectations are judged then", () =>
    Effect.gen(function*() {
      const landings: Array<number> = []
      yield* all({ one: Effect.ignore(safe), two: put("x", 1), three: Effect.asVoid(safe) }, {
        faults: { late: true, where: (_, process) => process === "one" },
        check: ({ faults, contentions }) =>
          Effect.gen(function*() {
            const n = yield* Effect.orDie(get("n"))
            // Whoever was first, a conditional commit is applied once or not at all.
            assert.strictEqual(n + contentions, 2)
            if (faults > 0) landings.push(n)
          })
      })

      assert.deepStrictEqual([...new Set(landings)].toSorted(), [1, 2])
    }))

  it.effect("moves time at every step, or not at all, and sleeping costs nothing", () =>
    Effect.gen(function*() {
      const starts: Array<string> = []
      const clock = Effect.map(Clock.currentTimeMillis, (now) => now - 1_735_689_600_000)
      const report = yield* all({
        one: Effect.gen(function*() {
          const before = yield* clock
          yield* put("a", 1)
          yield* Effect.sleep("1 minute")
          yield* Explore.note([before, yield* clock])
        })
      }, {
        jumps: ["1 hour"],
        check: ({ notes }) => Effect.sync(() => starts.push(JSON.stringify(notes[0]!.note)))
      })

      assert.strictEqual(report.histories, 5)
      assert.deepStrictEqual(starts.toSorted(), [
        "[0,3600000]", // while it slept: the jump woke it
        "[0,3660000]",
        "[0,3660000]",
        "[0,60000]",
        "[3600000,3660000]"
      ])
    }))

  it.effect("lets two programs of one process share its Datastore, and so merge their lookups", () =>
    Effect.gen(function*() {
      const apart = yield* all({ one: get("a"), two: get("a") })
      const together = yield* all({ one: get("a"), two: get("b") }, { processes: { one: "p", two: "p" } })

      assert.deepStrictEqual([apart.histories, apart.longest], [2, 2])
      assert.deepStrictEqual([together.histories, together.longest], [1, 1])
    }))

  it.effect("reports a program that dies, waits for a promise, or never ends", () =>
    Effect.gen(function*() {
      const reasons: Array<string> = []
      const programs: ReadonlyArray<Effect.Effect<unknown, unknown, Datastore.Datastore>> = [
        Effect.die(new Error("boom")),
        Effect.promise(() => Promise.resolve(1)),
        Effect.forever(put("a", 1)),
        Effect.never
      ]
      for (const one of programs) reasons.push((yield* Effect.flip(all({ one }, { maxSteps: 20 }))).reason)

      assert.deepStrictEqual(reasons, ["ProgramDied", "Stuck", "TooLong", "Stuck"])
    }))

  it.effect("says that it was cut off, and then proves nothing", () =>
    Effect.gen(function*() {
      const report = yield* all({ one: safe, two: safe }, { maxHistories: 3 })

      assert.deepStrictEqual([report.isComplete, report.histories], [false, 3])
      assert.match(Explore.format(report), /^CUT OFF, nothing is proved, after 3 histories/)
    }))

  it.effect("refuses programs that remember something from one history to the next", () =>
    Effect.gen(function*() {
      let runs = 0
      const one = Effect.suspend(() => runs++ === 1 ? Effect.void : put("a", 1))
      const exit = yield* Effect.exit(all({ one, two: put("b", 1) }))

      assert.match(String(Exit.isFailure(exit) ? exit.cause : ""), /the same history went another way/)
    }))

  it.effect("does nothing outside of an exploration when a program takes notes and steps", () =>
    Effect.gen(function*() {
      yield* Explore.note("x")
      yield* Explore.step("y")
    }))

  it.effect("gives the check what programs said, and how they ended", () =>
    Effect.gen(function*() {
      const report = yield* all({
        one: Effect.as(Explore.note({ saw: 1 }), "done"),
        two: Effect.fail(new ContentionError({ reason: { _tag: "Aborted" } as any }))
      }, {
        check: ({ exits, notes }) =>
          Effect.sync(() => {
            assert.deepStrictEqual(notes, [{ program: "one", note: { saw: 1 } }])
            assert.deepStrictEqual(Option.getOrThrow(exits["one"]!), Exit.succeed("done"))
            assert.isTrue(Exit.isFailure(Option.getOrThrow(exits["two"]!)))
          })
      })

      assert.strictEqual(report.histories, 1)
    }))
})
