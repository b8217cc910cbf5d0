import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Random } from "effect"
import { makePlan, type Plan, type Posting } from "../../examples/ledger/bank.ts"
import { type Books, check } from "../../examples/ledger/check.ts"
import { checkHistories } from "../../examples/ledger/history.ts"
import { ledgerCommand, type Options } from "../../examples/ledger/options.ts"
import { formatResult, formatVerdict, showProgress } from "../../examples/ledger/report.ts"
import { localCrew, run } from "../../examples/ledger/run.ts"
import { emptyTally } from "../../examples/ledger/tally.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { Faulty } from "../../src/testing/index.ts"
import { readOptions } from "../utils/options.ts"
import { runProgram } from "../utils/program.ts"

const main = "examples/ledger/main.ts"

const optionsOf = (...args: ReadonlyArray<string>): Options => readOptions(ledgerCommand, args).options!

const runQuietly = (options: Options) => Effect.scoped(run(options, localCrew, () => Effect.void))

describe("ledger", () => {
  it.live("the books balance after workers have fought over the accounts", () =>
    Effect.gen(function*() {
      const options = optionsOf("--transfers", "300", "--accounts", "8", "--workers", "8", "--max-events", "5")

      const { tally, verdict } = yield* runQuietly(options)

      assert.deepStrictEqual(verdict.problems, [])
      assert.strictEqual(verdict.paid + verdict.refused + verdict.returned, 300)
      assert.isAbove(verdict.refused, 0, "none was refused")
      assert.isAbove(verdict.returned, 0, "none was returned")
      assert.strictEqual(tally.settled, 300)
      assert.isAbove(tally.resent, 0, "none was emitted twice")
      assert.isAbove(tally.contention, 0, "nobody fought")
      assert.isAtLeast(tally.batches * 5, tally.events)
      // Two round trips and three RPCs; where workers fight, some listings must read the items again.
      assert.isAtLeast(tally.rounds, 2 * tally.batches)
      assert.isAtMost(tally.rounds, 2.4 * tally.batches)
      assert.isAtLeast(tally.rpcs, 3 * tally.batches)
      assert.isAtMost(tally.rpcs, 3.4 * tally.batches)
    }).pipe(Effect.provide(Layer.fresh(InMemory.layer))))

  // The check is the independent one, so this is a test of the library as much as of the ledger.
  it.live("the books balance although requests and responses are lost, late and refused", () =>
    Effect.gen(function*() {
      const faulty = yield* Faulty.Faulty

      const { verdict } = yield* runQuietly(optionsOf("--transfers", "150", "--workers", "6", "--max-events", "10"))

      assert.deepStrictEqual(verdict.problems, [])
      const { Contention, Late, ReadFailure, RequestLost, ResponseLost } = yield* faulty.counts
      for (const count of [Contention, Late, ReadFailure, RequestLost, ResponseLost]) assert.isAbove(count, 0)
    }).pipe(
      Effect.provide(Layer.provide(
        Faulty.layer({
          rates: { contention: 0.03, late: 0.03, readFailure: 0.02, requestLost: 0.03, responseLost: 0.03 },
          maxLateness: "300 millis"
        }),
        Layer.fresh(InMemory.layer)
      )),
      // Popped items whose deletion fails are left as garbage, with a warning each.
      Effect.provide(Logger.layer([])),
      Random.withSeed("faults")
    ))

  it.effect("the seed alone decides what is transferred", () =>
    Effect.gen(function*() {
      const options = { accounts: 10, transfers: 50, seed: "a" }

      const [first, again, other] = yield* Effect.all([
        makePlan(options),
        Random.withSeed(makePlan(options), "something else"),
        makePlan({ ...options, seed: "b" })
      ])

      assert.deepStrictEqual(again, first)
      assert.notDeepEqual(other, first)
    }))
})

const transfers = [
  { id: "t0", from: "a", to: "b", cents: 30 },
  { id: "t1", from: "b", to: "a", cents: 500 },
  { id: "t2", from: "a", to: "c", cents: 20 }
]
const plan: Plan = { accounts: new Map([["a", 100], ["b", 100], ["c", 0]]), transfers }

const posting = (account: string, kind: Posting["kind"], transfer: string, cents: number, nth = 0): Posting => ({
  account,
  kind,
  transfer,
  cents,
  nth
})

/** Paid, refused, returned. */
const honest: Books = {
  balances: new Map([["a", 70], ["b", 130]]),
  postings: [
    posting("a", "opened", "", 100, 1),
    posting("b", "opened", "", 100, 1),
    posting("a", "withdrawn", "t0", -30, 2),
    posting("b", "deposited", "t0", 30, 2),
    posting("b", "refused", "t1", 0, 2),
    posting("a", "withdrawn", "t2", -20, 3),
    posting("c", "returned", "t2", 0, 0),
    posting("a", "refunded", "t2", 20, 4)
  ],
  pasts: new Map([["a", { moves: 4, eversion: 3 }], ["b", { moves: 2, eversion: 2 }]]),
  outstanding: new Map()
}

const without = (kind: Posting["kind"]) => honest.postings.filter((one) => one.kind !== kind)
const twice = (kind: Posting["kind"]) => [...honest.postings, ...honest.postings.filter((one) => one.kind === kind)]

describe("check of the ledger", () => {
  it("finds nothing in honest books, and counts how the transfers ended", () => {
    assert.deepStrictEqual(check(plan, honest), {
      problems: [],
      paid: 1,
      refused: 1,
      returned: 1,
      cents: 200,
      openedCents: 200
    })
  })

  // Each case names all that must be found, so no doctored book may pass for another reason.
  it.each<readonly [name: string, books: Partial<Books>, problems: ReadonlyArray<string>]>([
    ["a deposit that was lost", { postings: without("deposited"), balances: new Map([["a", 70], ["b", 100]]) }, [
      "transfer t0 (0.30 from a to b): posted withdrawn a -30",
      "0.30 were lost"
    ]],
    ["a deposit that was applied twice", {
      postings: twice("deposited"),
      balances: new Map([["a", 70], ["b", 160]])
    }, [
      "transfer t0 (0.30 from a to b): posted withdrawn a -30, 2 times deposited b 30",
      "0.30 were made from nothing"
    ]],
    ["a transfer that left no trace", { postings: without("refused") }, [
      "transfer t1 (5.00 from b to a): no trace of it: lost"
    ]],
    ["a transfer that was refused twice", { postings: twice("refused") }, [
      "transfer t1 (5.00 from b to a): posted 2 times refused b 0"
    ]],
    ["a transfer that was both refused and paid", {
      postings: [...honest.postings, posting("a", "refused", "t0", 0)]
    }, ["transfer t0 (0.30 from a to b): posted withdrawn a -30, deposited b 30, refused a 0"]],
    ["a transfer whose money did not come back", {
      postings: without("refunded"),
      balances: new Map([["a", 50], ["b", 130]])
    }, [
      "transfer t2 (0.20 from a to c): posted withdrawn a -20, returned c 0",
      "0.20 were lost"
    ]],
    ["a state that was saved over a newer one", { balances: new Map([["a", 100], ["b", 130]]) }, [
      "account a: holds 1.00, its postings say 0.70",
      "0.30 were made from nothing"
    ]],
    ["the right sum in the wrong places", { balances: new Map([["a", 71], ["b", 129]]) }, [
      "account a: holds 0.71, its postings say 0.70",
      "account b: holds 1.29, its postings say 1.30"
    ]],
    ["a transfer that nobody ordered", { postings: [...honest.postings, posting("a", "refused", "t9", 0)] }, [
      "1 postings of t9, which nobody ordered"
    ]],
    ["an account that was opened twice", {
      postings: [...honest.postings, posting("a", "opened", "", 100)],
      balances: new Map([["a", 170], ["b", 130]])
    }, ["account a: opened 2 times, should be 1", "1.00 were made from nothing"]],
    ["events that still wait", { outstanding: new Map([["c", 2]]) }, ["account c: 2 events still wait"]],
    ["an account that is overdrawn", {
      balances: new Map([["a", -30], ["b", 230]])
    }, [
      "account a: holds -0.30, its postings say 0.70",
      "account a: overdrawn, -0.30",
      "account b: holds 2.30, its postings say 1.30"
    ]]
  ])("finds %s", (_, books, problems) => {
    const verdict = check(plan, { ...honest, ...books })

    assert.deepStrictEqual(verdict.problems, problems)
    assert.include(formatVerdict(verdict), "do NOT balance")
    assert.include(formatVerdict(verdict), problems[0]!)
  })

  it("finds nothing in the histories of honest books", () => {
    assert.deepStrictEqual(checkHistories(plan, honest), [])
  })

  it.each<readonly [name: string, books: Partial<Books>, problems: ReadonlyArray<string>]>([
    ["two batches that went on from one state", {
      postings: honest.postings.map((one) => one.kind === "refunded" ? { ...one, nth: 3 } : one)
    }, [
      "account a: its move 3 was made 2 times, by withdrawn t2, refunded t2",
      "account a: its move 4 is missing"
    ]],
    ["a move that left no posting", { postings: without("deposited") }, [
      "account b: its state counts 2 moves, its postings 1",
      "account b: its state was saved 2 times, for 1 moves"
    ]],
    ["a posting after a gap", {
      postings: honest.postings.map((one) => one.kind === "deposited" ? { ...one, nth: 9 } : one)
    }, ["account b: its move 2 is missing", "account b: deposited t0 is its move 9, after a gap"]],
    ["a state that was saved over a newer one", {
      pasts: new Map([...honest.pasts, ["a", { moves: 3, eversion: 3 }]])
    }, ["account a: its state counts 3 moves, its postings 4"]],
    ["more versions than moves", { pasts: new Map([...honest.pasts, ["b", { moves: 2, eversion: 3 }]]) }, [
      "account b: its state was saved 3 times, for 2 moves"
    ]],
    ["an account that was overdrawn for a while", {
      postings: honest.postings.map((one) =>
        one.kind === "withdrawn" && one.transfer === "t2" ? { ...one, cents: -90 } : one
      )
    }, ["account a: overdrawn after its move 3, -0.20"]],
    ["a refusal without need", {
      postings: [...honest.postings, posting("a", "refused", "t0", 0, 1)]
    }, ["account a: refused t0 of 0.30 after its move 1, when it held 1.00"]]
  ])("finds in a history %s", (_, books, problems) => {
    assert.deepStrictEqual(checkHistories(plan, { ...honest, ...books }), problems)
  })

  it("shows twenty problems and counts the rest", () => {
    const problems = Array.from({ length: 25 }, (_, index) => `problem ${index}`)

    const text = formatVerdict({ problems, paid: 0, refused: 0, returned: 0, cents: 0, openedCents: 0 })

    assert.include(text, "problem 19\n  and 5 more")
    assert.notInclude(text, "problem 20")
  })
})

describe("options of the ledger", () => {
  it("has defaults that depend on the database", () => {
    assert.deepStrictEqual(optionsOf(), {
      accounts: 10,
      transfers: 2_000,
      workers: 8,
      senders: 4,
      seed: "1",
      datastore: "memory",
      processes: 1,
      maxEvents: 100,
      sabotage: undefined
    })
    assert.deepInclude(optionsOf("--datastore=emulator"), { transfers: 500, processes: 4 })
    assert.deepInclude(optionsOf("--datastore", "google", "--workers", "2"), { transfers: 500, processes: 2 })
  })

  it.each([
    [["--workers", "zero"], "an integer from 1 to 256"],
    [["--accounts=1"], "an integer from 2 to 1000"],
    [["--datastore", "disk"], "disk"],
    [["--seed"], "--seed"],
    [["--seed", "1", "--seed", "2"], "at most 1 value"],
    [["--acounts", "3"], "--accounts"],
    [["fast"], `"fast"`],
    [["--processes", "2"], "--processes needs --datastore emulator or google: memory belongs to one process"],
    [
      ["--datastore", "emulator", "--workers", "2", "--processes", "3"],
      "--processes is at most --workers: 3 processes would share 2 workers"
    ]
  ])("refuses %j", (args, message) => {
    const { code, said } = readOptions(ledgerCommand, args)

    assert.include(said, message)
    assert.strictEqual(code, 2)
  })
})

describe("report of the ledger", () => {
  const result = {
    tally: { ...emptyTally(), batches: 10, contention: 5, events: 40, rounds: 20, rpcs: 31, deletes: 12, sent: 20 },
    elapsedMillis: 2_000,
    verdict: { problems: [], paid: 18, refused: 1, returned: 1, cents: 200, openedCents: 200 }
  }

  it("has one line for each figure", () => {
    const text = formatResult(optionsOf("--transfers", "20"), result)

    assert.match(text, /^ {2}events +40 {2}4\.0 per batch$/m)
    assert.match(text, /^ {2}contention +5 {2}33 % /m)
    assert.match(text, /^ {2}retries +5 /m)
    assert.match(text, /^ {2}round trips +2\.0 /m)
    assert.match(text, /^ {2}RPCs +3\.1 .* 1\.2 more/m)
    assert.match(text, /^ {2}throughput +20 {2}events per second, 10 transfers/m)
    assert.match(text, /^The books balance: /m)
  })

  it("divides nothing by nothing", () => {
    const text = formatResult(optionsOf(), { ...result, tally: emptyTally(), elapsedMillis: 0 })

    assert.notMatch(text, /NaN|Infinity/)
  })

  it.live("rewrites one line on a terminal and is sparse elsewhere", () =>
    Effect.gen(function*() {
      const [live, sparse]: [Array<string>, Array<string>] = [[], []]
      const watch = (isTTY: boolean, written: Array<string>) =>
        showProgress({ isTTY, columns: 40, write: (text) => written.push(text) }, 10)(() => emptyTally())

      yield* Effect.scoped(Effect.all([watch(true, live), watch(false, sparse), Effect.sleep("350 millis")]))

      assert.isAtLeast(live.length, 2)
      for (const text of live) assert.isTrue(text.startsWith("\r\x1b[K") && text.length <= 4 + 39, JSON.stringify(text))
      assert.strictEqual(live.at(-1), "\r\x1b[K")
      assert.deepStrictEqual(sparse, [])
    }))
})

describe("ledger as a program", () => {
  it("ends with 0 when the books balance", async () => {
    const { code, stdout } = await runProgram(main, ["--transfers", "200"])

    assert.match(
      stdout,
      /^The books balance: .*\s+every\s+transfer was applied exactly once; nothing is outstanding\.$/m
    )
    assert.strictEqual(code, 0)
  })

  it.each(["lose", "double"])("ends with 1 when an applied event is broken: %s", async (sabotage) => {
    const { code, stdout } = await runProgram(main, ["--transfers", "60", "--sabotage", sabotage])

    assert.match(stdout, /^The books do NOT balance, 2 problems:\n {2}transfer t\d+ /m)
    assert.match(stdout, sabotage === "lose" ? / were lost$/m : / were made from nothing$/m)
    assert.strictEqual(code, 1)
  })

  it("ends with 0 after its help", async () => {
    const { code, stdout } = await runProgram(main, ["--help"])

    for (const name of Object.keys(optionsOf())) {
      assert.include(stdout, `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} `)
    }
    assert.strictEqual(code, 0)
  })

  it("ends with 2 and a message after bad options", async () => {
    const { code, stderr, stdout } = await runProgram(main, ["--workers", "many"])

    assert.match(stderr, /--workers: "many".* an integer from 1 to 256/)
    assert.include(stderr, "--help")
    assert.strictEqual(stdout, "")
    assert.strictEqual(code, 2)
  })

  it("ends with 1 and a message when there is no emulator", async () => {
    const { code, stderr } = await runProgram(main, ["--datastore", "emulator"], {
      env: { DATASTORE_EMULATOR_HOST: "127.0.0.1:9" }
    })

    assert.match(stderr, /^ledger: Datastore emulator: none answers at 127\.0\.0\.1:9/m)
    assert.strictEqual(code, 1)
  })

  it("stops with 130 when it is interrupted", async () => {
    const { code, stderr, stdout } = await runProgram(main, ["--transfers", "1000000"], { signal: "SIGINT" })

    assert.match(stderr, /^ledger: stopped, with \d+ of 1000000 transfers settled$/m)
    assert.strictEqual(stdout, "")
    assert.strictEqual(code, 130)
  })
})
