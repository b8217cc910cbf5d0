import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Random, Schema } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import * as Simulate from "../../src/testing/Simulate.ts"

class Account extends Processor.Service<Account>()("test/testing/Account", {
  kind: "Account",
  state: Schema.Int,
  event: Schema.Struct({ amount: Schema.Int })
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, total) =>
      Effect.succeed({
        transitions: [{ events, transitionTo: events.reduce((sum, { value }) => sum + value.amount, total) }]
      })
  }))
}

const accounts = [1, 2, 3].map((id) => Account.recipient(id))

/** Deposits of 1, each under an id of its own so that it can be tried again; the accounts hold what was deposited. */
const deposits = (forget: number = 0) => (): Simulate.Workload<Account> => {
  const pick = Random.choice(accounts)
  let confirmed = 0
  let tried = 0
  return {
    client: Effect.gen(function*() {
      tried++
      yield* Eventbox.emit(Account, yield* pick, { amount: 1 })
      confirmed++
    }),
    worker: Effect.flatMap(pick, (account) => Eventbox.process(Account, account)),
    check: Effect.gen(function*() {
      let sum = 0
      for (const account of accounts) {
        yield* Eventbox.drain(Account, account)
        sum += (yield* Eventbox.loadState(Account, account)).state
      }
      assert.isAtLeast(sum, confirmed + forget)
      assert.isAtMost(sum, tried)
    })
  }
}

describe("Simulate", () => {
  it.effect("tries a box of one's own", () =>
    Effect.gen(function*() {
      const report = yield* Simulate.run(deposits(), { seed: 1, clientCalls: 1_000, processes: 5 })

      assert.isAtLeast(report.clientCalls, 1_000)
      // That nothing was found means nothing unless there was trouble.
      assert.isAbove(report.workerCalls, 500)
      assert.isAbove(report.commits, 500)
      assert.isAbove(report.contentions, 10)
      for (const count of [report.crashes, report.stops, report.pauses, report.skews]) assert.isAbove(count, 3)
      assert.isAbove(report.faults.ResponseLost, 10)
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("reports a check that fails, and the smallest history in which it does", () =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(Simulate.run(deposits(1_000), { seed: 1, clientCalls: 500, processes: 5 }))

      assert.strictEqual(failure.rule, "Died")
      assert.strictEqual(failure.settings.clientCalls, 1)
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("reports a check that fails with an error", () =>
    Effect.gen(function*() {
      const check = Effect.andThen(
        Eventbox.emit(Account, accounts[0]!, { amount: 7 }),
        Outstanding.assertNone(Account, accounts[0]!)
      )
      const workload = () => ({ ...deposits()(), check })
      const failure = yield* Effect.flip(Simulate.run(workload, { seed: 1, clientCalls: 10, shrink: false }))

      assert.strictEqual(failure.rule, "Check")
      assert.match(failure.message, /^SEED=1 Check: .*Account,1: expected no event\.\n\d wait:\n[^]*\{"amount":7\}\n/)
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("finds a program stuck that waits for something outside", () =>
    Effect.gen(function*() {
      const workload = () => ({ ...deposits()(), check: Effect.never })
      const failure = yield* Effect.flip(Simulate.run(workload, { seed: 1, clientCalls: 10, shrink: false }))

      assert.strictEqual(failure.rule, "Stuck")
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("the same seed is the same history", () =>
    Effect.gen(function*() {
      const run = Simulate.run(deposits(), { seed: 3, clientCalls: 100 })

      assert.deepStrictEqual(yield* run, yield* run)
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("logs its seed before it begins, also when it is drawn", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const run = (options: Simulate.Options) =>
        Effect.provide(Simulate.run(deposits(), { clientCalls: 50, ...options }), Logger.layer([logger]))

      const died = yield* Effect.exit(run({
        seed: 5,
        wrap: () => {
          throw new Error("boom")
        }
      }))
      const { seed } = yield* run({})

      assert.strictEqual(died._tag, "Failure")
      assert.deepStrictEqual(logged, ["SEED=5", `SEED=${seed}`])
    }).pipe(Effect.provide(Account.layer)))

  it.effect("a seed that is not given is drawn from Random", () =>
    Effect.gen(function*() {
      const drawn = Simulate.run(deposits(), { clientCalls: 50 })
      const one = yield* Random.withSeed(drawn, "one")

      assert.deepStrictEqual(yield* Random.withSeed(drawn, "one"), one)
      assert.notStrictEqual((yield* Random.withSeed(drawn, "two")).seed, one.seed)
    }).pipe(Effect.provide(Account.layer)))

  it.effect("what a failure prints repeats it", () =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(Simulate.run(deposits(1_000), { seed: 2, clientCalls: 50, processes: 3 }))

      const [, printed] = /Simulate\.run\(…, (.*)\)$/.exec(failure.message)!
      const again = yield* Effect.flip(Simulate.run(deposits(1_000), JSON.parse(printed!) as Simulate.Options))
      assert.deepStrictEqual([again.rule, again.detail, again.table], [failure.rule, failure.detail, failure.table])
      assert.match(failure.table, /all faults stop/)
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("a database that is wrong on purpose is seen by the check, and made small", () =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(Simulate.run(deposits(), {
        seed: 1,
        clientCalls: 300,
        workerEvery: "200 millis",
        maxDelay: "1 second",
        faults: { delay: 0.8 },
        wrap: (database) => ({
          ...database,
          // Whoever was first does not count.
          commit: (request) => database.commit({ ...request, expected: [] })
        })
      }))

      assert.include(["Check", "Died"], failure.rule, failure.message)
      assert.isAtMost(failure.settings.clientCalls, 20, failure.message)
    }).pipe(Effect.provide(Account.layer)), 120_000)

  it.effect("options out of range die", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Simulate.run(deposits(), { clientCalls: 0 }))

      assert.match(String(exit), /Simulate: clientCalls is a positive integer, got 0/)
    }).pipe(Effect.provide(Account.layer)))
})
