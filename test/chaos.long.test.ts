/**
 * `npm run chaos`: a short run on the emulator, that the check notices a worker which applies a commit twice, and that
 * nothing is left running, however a run ends.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { cut, cutKinds, cutsOf, kill, noStrikes, type Strikes } from "../chaos/nemesis.ts"
import { chaosCommand, type Options } from "../chaos/options.ts"
import { formatResult } from "../chaos/report.ts"
import { chaos, type Programs, type Result, stall } from "../chaos/run.ts"
import type { Slot } from "../chaos/slot.ts"
import { emptyTally, type Tally } from "../examples/ledger/tally.ts"
import { emulatorHost, isMissing } from "./utils/emulator.ts"
import { readOptions } from "./utils/options.ts"
import { root, runProgram } from "./utils/program.ts"

const short: Options = {
  seed: "short",
  kills: 10,
  cuts: 10,
  workers: 2,
  senders: 1,
  accounts: 6,
  transfers: 150,
  minutes: 3
}

/** How long a run may take where other work takes most of the machine; it takes some 15 s on two idle cores. */
const patienceMillis = 300_000

/** Runs in this process, on the emulator of this run. */
const run = (options: Options, programs?: Partial<Programs>) =>
  chaos(options, () => Effect.void, { host: emulatorHost, programs })

const utils = join(import.meta.dirname, "utils")

const optionsOf = (...args: ReadonlyArray<string>) => readOptions(chaosCommand, args).options

describe("chaos: the command line", () => {
  it("has defaults, and a seed of its own each time", () => {
    const [first, second] = [optionsOf()!, optionsOf()!]

    assert.deepStrictEqual({ ...first, seed: "" }, {
      seed: "",
      kills: 200,
      cuts: 200,
      workers: 4,
      senders: 2,
      accounts: 10,
      transfers: 4_000,
      minutes: 45
    })
    assert.notStrictEqual(first.seed, second.seed)
    assert.strictEqual(optionsOf("--seed", "x", "--kills=0")?.kills, 0)
  })

  it.each([
    [["--kills", "many"], "an integer from 0 to 100000"],
    [["--workers", "0"], "an integer from 1 to 32"],
    [["--cuts", "1.5"], "an integer"],
    [["--minutes="], "an integer from 1 to 1440"],
    [["--seed", ""], "a text that is not empty"],
    [["--frobnicate"], "--frobnicate"],
    [["fast"], `"fast"`]
  ])("refuses %j", (args, message) => {
    const { code, said } = readOptions(chaosCommand, args)

    assert.include(said, message)
    assert.strictEqual(code, 2)
  })

  it("ends with 2 and a message after bad options, with 0 after its help", async () => {
    const [bad, help] = await Promise.all([
      runProgram("chaos/main.ts", ["--kills", "-1"]),
      runProgram("chaos/main.ts", ["--help"])
    ])

    assert.include(bad.stderr, "--help shows the options")
    assert.deepInclude(bad, { code: 2, stdout: "" })
    for (const name of Object.keys(short)) assert.include(help.stdout, `--${name} `)
    assert.deepInclude(help, { code: 0, stderr: "" })
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Decisions
// ---------------------------------------------------------------------------------------------------------------------

/** A slot whose process always works and whose faults always strike a commit; writes down what is done to it. */
const fakeSlot = (name: string, log: Array<string>, tally: () => Tally = emptyTally): Slot => ({
  name,
  proxy: {
    host: "",
    bytes: () => ({ toServer: 0, toClient: 0 }),
    delay: (toServer, toClient) => log.push(`${name} delay ${toServer} ${toClient}`),
    arm: (fault) => {
      log.push(`${name} ${fault}`)
      return {
        struck: Promise.resolve({ requests: 1, commits: 1 }),
        disarm: () => false,
        hangUp: () => log.push(`${name} hangUp`),
        release: () => log.push(`${name} release`)
      }
    },
    cutAll: () => log.push(`${name} cutAll`),
    requests: () => 0,
    connections: () => 1,
    underWay: () => ({ requests: 0, commits: 0 })
  },
  tally,
  starts: () => 1,
  workDone: () => 100,
  kill: (pauseMillis) => {
    log.push(`${name} kill ${pauseMillis}`)
    return Promise.resolve()
  },
  tell: () => {},
  run: Effect.never
})

/** Lets time pass until a fiber ends. */
const passTime = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    while (fiber.pollUnsafe() === undefined) {
      yield* TestClock.adjust("100 millis")
      yield* Effect.promise(() => new Promise((done) => setImmediate(done)))
    }
    return yield* Fiber.join(fiber)
  })

describe("chaos: decisions", () => {
  const decisions = (seed: string) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const strikes = noStrikes()
      const slots = ["a", "b", "c"].map((name) => fakeSlot(name, log))
      yield* passTime(
        yield* Effect.forkChild(
          Random.withSeed(kill(slots[0]!, strikes, () => strikes.kills.total >= 30), seed)
        )
      )
      yield* passTime(yield* Effect.forkChild(Random.withSeed(cut(slots, strikes, () => cutsOf(strikes) >= 60), seed)))
      return { log, strikes }
    })

  it.effect("depend on the seed alone, and are of every kind", () =>
    Effect.gen(function*() {
      const first = yield* decisions("x")
      const again = yield* decisions("x")
      const other = yield* decisions("y")

      assert.deepStrictEqual(again, first)
      assert.notDeepEqual(other.log, first.log)
      for (const kind of cutKinds) assert.isAbove(first.strikes.cuts[kind].total, 5)
      for (const name of ["a", "b", "c"]) assert.include(first.log.join("\n"), `${name} cutRequest`)
      // Half of the kills have a commit under way because they waited for one.
      assert.strictEqual(first.strikes.kills.total, 30)
      assert.isAbove(first.strikes.kills.onCommit, 5)
      assert.isBelow(first.strikes.kills.onCommit, 25)
    }))

  it.effect("a late cut lets the request go only after its sender was cut off", () =>
    Effect.gen(function*() {
      const { log } = yield* decisions("x")

      const late = log.filter((line) => /holdRequest|hangUp|release/.test(line)).slice(-30)
      const hangUps = late.flatMap((line, index) => line.endsWith("hangUp") ? [index] : [])
      assert.isNotEmpty(hangUps)
      for (const index of hangUps.filter((at) => at > 0 && at < late.length - 1)) {
        assert.match(late[index - 1]!, /holdRequest$/)
        assert.match(late[index + 1]!, /release$/)
      }
    }))

  // What is held is held for ever, and so is every later request on its connection.
  it.effect("a strike that is stopped takes its fault back, and lets go of what it holds", () =>
    Effect.gen(function*() {
      for (const strikes of [kill, (slot: Slot, ...rest: [Strikes, () => boolean]) => cut([slot], ...rest)]) {
        const log: Array<string> = []
        const slot = fakeSlot("a", log)
        const waiting: Slot = {
          ...slot,
          proxy: {
            ...slot.proxy,
            arm: (fault, when) => ({
              ...slot.proxy.arm(fault, when),
              struck: new Promise(() => {}),
              disarm: () => {
                log.push("a disarm")
                return true
              }
            })
          }
        }
        const striking = yield* Effect.forkChild(Random.withSeed(strikes(waiting, noStrikes(), () => false), "x"))
        for (let n = 0; n < 500 && !/(Request|Response)$/.test(log.at(-1) ?? ""); n++) {
          yield* TestClock.adjust("10 millis")
          yield* Effect.promise(() => new Promise((done) => setImmediate(done)))
        }
        assert.match(log.at(-1) ?? "", /(Request|Response)$/)

        yield* Fiber.interrupt(striking)

        assert.deepStrictEqual(log.slice(-3), ["a disarm", "a hangUp", "a release"])
      }
    }))

  it.effect("a run in which nothing moves is given up after two minutes, one that goes on is not", () =>
    Effect.gen(function*() {
      let sent = 0
      const stuck = yield* Effect.forkChild(stall([fakeSlot("a", [])]))
      const going = yield* Effect.forkChild(stall([fakeSlot("b", [], () => ({ ...emptyTally(), sent: sent++ }))]))

      yield* TestClock.adjust("3 minutes")

      assert.isDefined(stuck.pollUnsafe())
      assert.isUndefined(going.pollUnsafe())
    }))
})

// ---------------------------------------------------------------------------------------------------------------------
// Runs
// ---------------------------------------------------------------------------------------------------------------------

const onCommit = ({ cuts }: Strikes): number => cutKinds.reduce((sum, kind) => sum + cuts[kind].onCommit, 0)

describe.skipIf(isMissing)("chaos on the emulator", () => {
  it.live(
    "the books balance after 10 kills and 10 cuts, some of them in the middle of a commit",
    () =>
      Effect.gen(function*() {
        const { starts, strikes, tally, verdict } = yield* run(short)

        assert.deepStrictEqual(verdict.problems, [])
        assert.strictEqual(verdict.paid + verdict.refused + verdict.returned, short.transfers)
        assert.isAtLeast(strikes.kills.total, 10)
        assert.isAtLeast(starts, 3 + 10)
        assert.isAbove(strikes.kills.onCommit, 0, "no kill hit a commit under way")
        assert.isAtLeast(cutsOf(strikes), 10)
        assert.isAbove(onCommit(strikes), 0, "no cut hit a commit under way")
        assert.isAbove(tally.unanswered, 0, "every commit had its answer")
      }),
    180_000
  )

  it.live("a worker that applies a commit again when it has no answer is found out", () =>
    Effect.gen(function*() {
      const options: Options = { ...short, kills: 0, cuts: 15, transfers: 100 }
      const isFoundOut = (problems: string) =>
        /^transfer t\d+ .*: posted .*2 times /m.test(problems) &&
        /^account a\d: its move \d+ was made 2 times/m.test(problems)

      // Which moments the cuts meet depends on the machine, and they must meet a commit that has landed.
      let problems = ""
      for (let round = 0; round < 5 && !isFoundOut(problems); round++) {
        const { verdict } = yield* run(options, { worker: join(utils, "brokenWorker.ts") })
        problems = verdict.problems.join("\n")
      }

      assert.isTrue(isFoundOut(problems), problems)
    }), 5 * patienceMillis)

  it.live("too few strikes within the time are a failure, though the books balance", () =>
    Effect.gen(function*() {
      const { verdict } = yield* run({ ...short, kills: 1_000, transfers: 5, minutes: 0.05 })

      assert.lengthOf(verdict.problems, 1)
      assert.match(verdict.problems[0]!, /^only \d+ of 1000 kills and \d+ of 10 cuts within 0.05 minutes$/)
      assert.strictEqual(verdict.paid + verdict.refused + verdict.returned, 5)
    }), patienceMillis)
})

describe("chaos: the report", () => {
  const result: Result = {
    strikes: {
      kills: { total: 12, onRequest: 9, onCommit: 7 },
      cuts: {
        before: { total: 5, onRequest: 4, onCommit: 3 },
        after: { total: 6, onRequest: 6, onCommit: 2 },
        late: { total: 1, onRequest: 0, onCommit: 0 }
      }
    },
    starts: 15,
    tally: { ...emptyTally(), unanswered: 20, foundLanded: 4, foundLost: 3, foundFenced: 2, notFound: 1, resent: 8 },
    verdict: { problems: [], paid: 1, refused: 2, returned: 3, cents: 100, openedCents: 100 },
    elapsedMillis: 1_500
  }

  it("has a line for each figure", () => {
    const report = formatResult(short, result)
    const text = report.replace(/\n {15,}/g, " ")

    assert.match(text, /^ {2}kills +12 {2}9 hit a request under way, 7 a commit$/m)
    assert.match(text, /^ {2}restarts +12 {2}of 3 processes$/m)
    assert.match(text, /^ {2}cuts before +5 {2}.*: 4 hit a request under way, 3 a commit$/m)
    assert.match(text, /^ {2}cuts after +6 /m)
    assert.match(text, /^ {2}cuts late +1 /m)
    assert.match(text, /^ {2}found out +9 {2}.*4 landed, 3 lost a race, 2 fenced; 1 not found out$/m)
    assert.match(text, /^ {2}resent +8 /m)
    assert.match(text, /^The books balance: /m)
    for (const line of report.split("\n")) assert.isAtMost(line.length, 80, line)
    assert.notInclude(text, "--seed")
  })

  it("says in a failure how to read it, and with which seed to decide the same again", () => {
    const text = formatResult(short, { ...result, verdict: { ...result.verdict, problems: ["account a: gone"] } })

    assert.match(text, /^The books do NOT balance, 1 problem:\n {2}account a: gone\n.*chaos\.md.* --seed short$/m)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Nothing is left running
// ---------------------------------------------------------------------------------------------------------------------

/** Command lines of the processes that have inherited this from their environment, without this one. */
const marked = (mark: string): ReadonlyArray<string> =>
  readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid).flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "utf8").includes(mark)) return []
      return [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")]
    } catch {
      // It has just ended, or is not ours.
      return []
    }
  })

const soon = async (isSo: () => boolean): Promise<void> => {
  const giveUpAt = Date.now() + patienceMillis
  while (!isSo() && Date.now() < giveUpAt) await new Promise((done) => setTimeout(done, 50))
}

/** An emulator that came from outside does not show that one could be started here. */
const cannotStart = (process.env["DATASTORE_EMULATOR_HOST"] ?? "") !== ""

describe.skipIf(isMissing || !existsSync("/proc/self/environ"))("chaos leaves no process behind", () => {
  it.skipIf(cannotStart).each([
    ["SIGINT" as const, 130],
    ["SIGKILL" as const, null]
  ])("after %s, the emulator that it started included", async (signal, expected) => {
    const mark = `CHAOS_TEST_${crypto.randomUUID()}`
    const args = ["--conditions=effect-eventbox:source", join(root, "chaos/main.ts"), "--workers", "2"]
    const child = spawn(process.execPath, args, {
      env: { ...process.env, DATASTORE_EMULATOR_HOST: "", [mark]: "1" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let [stdout, stderr] = ["", ""]
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    const ended = new Promise((done) => child.on("exit", done))
    await soon(() => / [1-9]\d* batches\n/.test(stderr))
    const before = marked(mark)

    child.kill(signal)

    assert.strictEqual(await ended, expected)
    assert.match(stdout, /^SEED=[0-9a-f]{8}\nChaos on the emulator: /)
    for (const part of ["java ", "child.ts", "sender.ts"]) assert.include(before.join("\n"), part)
    // What is killed cannot tidy up: its processes notice by themselves.
    if (signal === "SIGKILL") await soon(() => marked(mark).length === 0)
    assert.deepStrictEqual(marked(mark), [])
    if (signal === "SIGINT") assert.match(stderr, /^chaos: stopped after \d+ kills and \d+ cuts$/m)
  }, patienceMillis)

  it.live("after a process of it has failed, and says why", () =>
    Effect.gen(function*() {
      const mark = `CHAOS_TEST_${crypto.randomUUID()}`
      process.env[mark] = "1"

      const exit = yield* Effect.exit(run(short, { worker: join(utils, "failingWorker.ts") }))

      delete process.env[mark]
      assert.match(
        Exit.isFailure(exit) ? String(exit.cause) : "",
        /worker process \d ended with exit code 3: .*it has had enough/s
      )
      assert.deepStrictEqual(marked(mark), [])
    }), patienceMillis)
})
