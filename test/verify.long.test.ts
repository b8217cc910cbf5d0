/**
 * `npm run verify`: that it is content with the emulator, that it objects to databases which answer wrongly, and that
 * it leaves nothing behind.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber } from "effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { compare } from "../src/cli/verify/fight.ts"
import { exitCodeOf, type Finding, formatVerdict, type Verdict } from "../src/cli/verify/finding.ts"
import { makeMeter, noCost, OverBoundError } from "../src/cli/verify/meter.ts"
import { type Address, count, empty, freshNamespace, isOurs } from "../src/cli/verify/namespace.ts"
import { verifyCommand } from "../src/cli/verify/options.ts"
import { allParts, boundOf, type Part } from "../src/cli/verify/plan.ts"
import type { Question } from "../src/cli/verify/question.ts"
import { allQuestions, type Terminal, verify } from "../src/cli/verify/run.ts"
import { adviceFor } from "../src/cli/verify/unreachable.ts"
import { Datastore } from "../src/Datastore.ts"
import * as Key from "../src/Key.ts"
import * as GoogleDatastore from "../src/layers/GoogleDatastore.ts"
import * as InMemory from "../src/layers/InMemory.ts"
import { leaf, upsert } from "../src/testing/conformance/setting.ts"
import { emulatorHost, isMissing, onEmulator } from "./utils/emulator.ts"
import { type Lie, makeLiar } from "./utils/liar.ts"
import { readOptions } from "./utils/options.ts"
import { type Finished, root, runProgram } from "./utils/program.ts"
import { makeScriptedServer } from "./utils/scriptedServer.ts"

const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}): Promise<Finished> =>
  runProgram("src/cli/main.ts", ["verify", ...args], {
    env: { DATASTORE_EMULATOR_HOST: emulatorHost, ...env },
    timeoutMillis: 200_000
  })

const freshAddress = (host: string = emulatorHost): Address => ({
  emulatorHost: host,
  projectId: `eventbox-${crypto.randomUUID().slice(0, 13)}`
})

/** Verifies in this process, and returns what was said as well. */
const verifying = (
  address: Address,
  options: {
    readonly parts?: ReadonlyArray<Part>
    readonly questions?: ReadonlyArray<Question>
    readonly ownsEmulator?: boolean
  } = {}
) => {
  const said: Array<string> = []
  const terminal: Terminal = {
    colors: false,
    say: (text) => Effect.sync(() => said.push(text)),
    progress: () => Effect.void
  }
  const plan = {
    address,
    namespace: Effect.runSync(freshNamespace),
    parts: options.parts ?? ["questions"],
    ownsEmulator: options.ownsEmulator
  }
  return {
    plan,
    said,
    verdict: verify(plan, terminal, options.questions)
  }
}

const guide = readFileSync(join(root, "docs/guides/verify.md"), "utf8")

const question = (id: string): Question => allQuestions.find((one) => one.id === id)!

describe("verify: the command line", () => {
  it("--help tells every option and the exit codes, and ends with 0", async () => {
    const { code, stderr, stdout } = await run(["--help"])

    for (
      const option of [
        "--project",
        "--database",
        "--datastore",
        "--endpoint",
        "--unwritten-expectations",
        "--only",
        "--clean"
      ]
    ) {
      assert.include(stdout, option)
    }
    assert.match(stdout, /^  Exit code: 0 /m)
    for (const line of stdout.split("\n")) assert.isAtMost(line.length, 80, line)
    assert.deepStrictEqual({ code, stderr }, { code: 0, stderr: "" })
  })

  it.each([
    [[], "say which database: --project P"],
    [["--project"], "--project"],
    [["--project", " "], "a text that is not empty"],
    [["--project", "p", "--frobnicate"], "--frobnicate"],
    [["--project", "p", "extra"], `"extra"`],
    [["--datastore", "memory"], `"google" | "emulator"`],
    [["--datastore", "google"], "--project P for a real one"],
    [["--datastore", "emulator", "--endpoint", "e"], "DATASTORE_EMULATOR_HOST names the emulator"],
    [["--datastore", "emulator", "--only", "facts,some"], "some of questions, facts, fight"],
    [["--datastore", "emulator", "--unwritten-expectations", "no"], `"noop" | "interactive"`],
    [["--datastore", "emulator", "--clean", "production"], "no other is emptied"]
  ])("refuses %j with what to do", (args, message) => {
    const { code, said } = readOptions(verifyCommand, args)

    assert.include(said, message)
    assert.strictEqual(code, 2)
  })

  const withHost = (host: string, args: ReadonlyArray<string>) =>
    readOptions(verifyCommand, args, ConfigProvider.fromEnv({ env: { DATASTORE_EMULATOR_HOST: host } }))

  it("refuses a real database while an emulator is set, which would answer in its place", () => {
    assert.include(withHost("h:1", ["--project", "p"]).said, "unset it")
    assert.strictEqual(withHost("", ["--project", "p"]).options?.datastore, "google")
  })

  it("reads options, in which (default) is the default database", () => {
    const args = ["--project", "p", "--database", "(default)", "--only", "fight, questions"]

    assert.deepInclude(withHost("", args).options, {
      projectId: "p",
      databaseId: undefined,
      parts: ["questions", "fight"],
      unwrittenExpectations: "noop"
    })
  })

  it("ends with 2 and a message after bad options, without credentials, and without an emulator", async () => {
    const bad = await run(["--datastore", "memory"])
    const noLogin = await run(["--project", "p"], {
      DATASTORE_EMULATOR_HOST: "",
      GOOGLE_APPLICATION_CREDENTIALS: "/no/such/file.json"
    })
    const noEmulator = await run(["--datastore", "emulator"], { DATASTORE_EMULATOR_HOST: "127.0.0.1:9" })

    assert.match(bad.stderr, /^verify: .*--datastore: "memory"/)
    assert.match(noLogin.stderr, /^verify: [^]*no valid credentials[^]*gcloud\s+auth\s+application-default\s+login/)
    assert.match(noEmulator.stderr, /^verify: Datastore emulator: none answers at 127\.0\.0\.1:9/m)
    assert.deepStrictEqual([bad.code, noLogin.code, noEmulator.code], [2, 2, 2])
  }, 60_000)

  it("says what it will do and cost before anything is sent, and only that with --dry-run", async () => {
    const { code, stdout } = await run(["--project", "some-project", "--database", "db", "--dry-run"], {
      DATASTORE_EMULATOR_HOST: ""
    })

    assert.match(stdout, /^Verifying project some-project, database db$/m)
    const [, reads, writes, deletes] = /^ {2}in all .* ([\d,]+) +([\d,]+) +([\d,]+)$/m.exec(stdout) ?? []
    assert.include(guide, `${reads} reads, ${writes} writes and ${deletes} deletes`)
    for (const part of [...allParts, "cleaning", "in all"]) {
      assert.match(stdout, new RegExp(`^ {2}${part} .* [\\d,]+$`, "m"))
    }
    assert.strictEqual(code, 0)
  })
})

describe("verify: a database that cannot be used", () => {
  const cases: ReadonlyArray<readonly [what: string, code: number, advice: RegExp]> = [
    ["a missing database", 5, /gcloud firestore databases create --project=p --database=db --type=datastore-mode/],
    ["a login that may not", 7, /roles\/datastore\.user in project p/],
    ["a database in native mode", 9, /Datastore mode/]
  ]
  it.live.each(cases)(
    "%s is one error with what to do, and nothing is written",
    ([, code, advice]) =>
      Effect.gen(function*() {
        const server = yield* makeScriptedServer({ Lookup: () => ({ code }) })
        const address = { projectId: "p", databaseId: "db", emulatorHost: server.host }

        const error = yield* Effect.flip(verifying(address).verdict)

        assert.match(adviceFor(error, address) ?? "", advice)
        assert.deepStrictEqual(server.calls.map(({ method }) => method), ["Lookup"])
      })
  )
})

describe("verify: costs", () => {
  it.effect("what would go beyond the bound is not sent, and what was sent is counted", () =>
    Effect.gen(function*() {
      const meter = makeMeter({ reads: 10, writes: 3, deletes: 1 })
      const backend = meter.watch((yield* Datastore).backend, "noop")
      const keys = [1, 2, 3].map((id) => Key.make("K", id))

      yield* upsert(backend, keys.slice(0, 2).map((key) => leaf(key, 1)))
      const expected = yield* backend.lookup(keys)
      yield* backend.commit({ mutations: [], expected: expected.slice(1) })
      yield* backend.query({ kind: "K", limit: 5 })
      const over = yield* Effect.exit(upsert(backend, [leaf(keys[2]!, 1)]))

      assert.deepStrictEqual(meter.spent(), { reads: 5, writes: 3, deletes: 1 })
      assert.match(String(over), /it would cost more than was announced/)
      assert.deepStrictEqual((yield* backend.lookup(keys)).map(({ entity }) => entity._tag), ["Some", "Some", "None"])
    }).pipe(Effect.provide(InMemory.layer)))

  it.effect("an operation that failed counts with all that it may have read to explain itself", () =>
    Effect.gen(function*() {
      const meter = makeMeter({ reads: 10, writes: 10, deletes: 10 })
      const backend = meter.watch((yield* Datastore).backend, "noop")
      const insert = { mutations: [{ _tag: "Insert" as const, entity: leaf(Key.make("K", 1), 1) }], expected: [] }

      yield* backend.commit(insert)
      yield* Effect.flip(backend.commit(insert))

      assert.deepStrictEqual(meter.spent(), { reads: 1, writes: 2, deletes: 0 })
    }).pipe(Effect.provide(InMemory.layer)))
})

describe("verify: the guide", () => {
  it("lists every question", () => {
    for (const { title } of allQuestions) assert.include(guide.replaceAll("`", ""), title)
  })
})

describe("verify: the fight", () => {
  it("tells what was lost and what was doubled", () => {
    assert.deepStrictEqual(compare("it", [3, 1, 2], [1, 2, 3]), [])
    assert.deepStrictEqual(compare("it", [1], [1, 2, 3]), ["it lost 2 of 3 events (2; 3)"])
    assert.deepStrictEqual(compare("it", [1, 2, 2, 3, 3, 3], [1, 2, 3]), ["it doubled 2 events (2; 3)"])
  })
})

describe("verify: the verdict", () => {
  const finding = (status: Finding["status"]): Finding => ({ title: `it ${status}`, status, answer: "", assumed: "" })
  const verdict = (
    statuses: ReadonlyArray<Finding["status"]>,
    cleaned: Verdict["cleaned"] = { entities: 1 }
  ): Verdict => ({
    findings: statuses.map(finding),
    spent: noCost,
    medianMillis: () => undefined,
    cleaned
  })

  it("is 0 when all is as assumed, 1 when something differs, 2 when something could not be found out or cleaned up", () => {
    assert.strictEqual(exitCodeOf(verdict(["as assumed"])), 0)
    assert.strictEqual(exitCodeOf(verdict(["as assumed", "no answer", "differs"])), 1)
    assert.strictEqual(exitCodeOf(verdict(["as assumed", "no answer"])), 2)
    assert.strictEqual(exitCodeOf(verdict(["as assumed"], { problem: "no" })), 2)
    assert.strictEqual(exitCodeOf(verdict(["differs"], { problem: "no" })), 1)
  })

  it("names what differs and what has no answer", () => {
    const text = formatVerdict(verdict(["as assumed", "no answer", "differs"]))

    assert.include(text, "NOT GOOD")
    assert.include(text, "- it differs")
    assert.include(text, "- it no answer")
    assert.notInclude(text, "it as assumed")
    assert.match(formatVerdict(verdict(["as assumed"])), /^Verdict: GOOD/)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// On the emulator
// ---------------------------------------------------------------------------------------------------------------------

describe.skipIf(isMissing)("verify on the emulator", () => {
  it("finds everything as assumed, leaves nothing behind, and ends with 0", async () => {
    const projectId = freshAddress().projectId

    const { code, stderr, stdout } = await run(["--datastore", "emulator", "--project", projectId])

    assert.strictEqual(code, 0, stdout + stderr)
    assert.lengthOf(stdout.match(/^ok /gm) ?? [], allQuestions.length + 2)
    assert.lengthOf(stdout.match(/^ {11}answer: {3}yes/gm) ?? [], allQuestions.length + 2)
    assert.lengthOf(stdout.match(/^ {11}assumed:/gm) ?? [], allQuestions.length + 2)
    assert.match(stdout, /all (\d+) do, on every database/)
    assert.notMatch(stdout, /, 0 attempts lost/)
    assert.match(stdout, /^Verdict: GOOD/m)
    const [, namespace] = /The namespace (\S+) is empty: [\d,]+ entities were deleted/.exec(stdout) ?? []
    assert.strictEqual(await Effect.runPromise(count({ projectId, emulatorHost }, namespace!)), 0)
  }, 240_000)

  it("stops on Ctrl-C, cleans up what it has written, and ends with 2", async () => {
    const projectId = freshAddress().projectId
    const args = ["--datastore", "emulator", "--project", projectId, "--only", "questions,facts"]
    const child = spawn(process.execPath, [join(root, "src/cli/main.ts"), "verify", ...args], {
      env: { ...process.env, DATASTORE_EMULATOR_HOST: emulatorHost },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let [stdout, stderr] = ["", ""]
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    child.stderr.on("data", (chunk: Buffer) => {
      if (!stderr.includes("checking fact 10") && chunk.toString().includes("checking fact 10")) child.kill("SIGINT")
      stderr += chunk.toString()
    })
    const code = await new Promise((done) => child.on("close", done))

    assert.include(stderr, "stopping and cleaning up")
    assert.include(stderr, "verify: stopped before the end")
    const [, namespace, deleted] = /^The namespace (\S+) is empty: ([\d,]+) entities were deleted/m.exec(stdout) ?? []
    assert.isAbove(Number(deleted?.replace(",", "")), 1_000)
    assert.strictEqual(await Effect.runPromise(count({ projectId, emulatorHost }, namespace!)), 0)
    assert.notInclude(stdout, "Verdict")
    assert.strictEqual(code, 2)
  }, 120_000)

  it("--clean empties what a killed run has left", async () => {
    const address = freshAddress()
    const namespace = Effect.runSync(freshNamespace)
    const keys = Array.from({ length: 1_100 }, (_, index) => Key.make("A", index + 1)).concat(
      Key.make("B", "b", "C", 1)
    )
    const stored = () => Effect.runPromise(count(address, namespace))
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const backend = yield* GoogleDatastore.makeBackend({ ...address, namespace })
      yield* upsert(backend, keys.map((key) => leaf(key, 1)))
    })))
    assert.strictEqual(await stored(), keys.length)

    const { code, stdout } = await run([
      "--datastore",
      "emulator",
      "--project",
      address.projectId,
      "--clean",
      namespace
    ])

    assert.include(stdout, `The namespace ${namespace} is empty: 1,101 entities were deleted.`)
    assert.strictEqual(await stored(), 0)
    assert.strictEqual(code, 0)
  }, 60_000)
})

onEmulator("verify: whatever happens", (it) => {
  it.effect("a question that dies has no answer, the others are asked, and the namespace is emptied", () =>
    Effect.gen(function*() {
      const dies: Question = {
        ...question("versions"),
        title: "dies",
        ask: ({ backend, root }) =>
          Effect.andThen(upsert(backend, [leaf(root, 1)]), Effect.die(new Error("unforeseen")))
      }
      const { plan, verdict } = verifying(freshAddress(), { questions: [dies, question("versions")] })

      const { cleaned, findings } = yield* verdict

      assert.deepStrictEqual(findings.map(({ status }) => status), ["no answer", "as assumed"])
      assert.strictEqual(findings[0]!.answer, "unforeseen")
      assert.deepStrictEqual(cleaned, { entities: 2 })
      assert.strictEqual(yield* count(plan.address, plan.namespace), 0)
    }))

  it.effect("what would cost more than announced ends without an answer", () =>
    Effect.gen(function*() {
      const greedy: Question = {
        ...question("versions"),
        ask: ({ backend }) =>
          Effect.as(
            Effect.forever(backend.lookup(Array.from({ length: 1_000 }, (_, index) => Key.make("K", index + 1)))),
            { fits: true, said: "yes" }
          )
      }

      const { findings, spent } = yield* verifying(freshAddress(), { questions: [greedy] }).verdict

      assert.strictEqual(findings[0]!.answer, new OverBoundError().message)
      assert.strictEqual(findings[0]!.status, "no answer")
      assert.isAtMost(spent.reads, boundOf(["questions"]).reads)
    }))

  it.effect.each([
    { ownsEmulator: false, left: 0, message: /is empty: 1 entity was deleted/ },
    // Ctrl-C reaches an emulator that was started by the run as well.
    { ownsEmulator: true, left: 1, message: /is gone with the emulator of this run/ }
  ])(
    "an interrupted run empties the namespace, unless it ends with the emulator: $ownsEmulator",
    ({ left, message, ownsEmulator }) =>
      Effect.gen(function*() {
        const hangs: Question = {
          ...question("versions"),
          ask: ({ backend, root }) => Effect.andThen(upsert(backend, [leaf(root, 1)]), Effect.never)
        }
        const { plan, said, verdict } = verifying(freshAddress(), { questions: [hangs], ownsEmulator })
        const fiber = yield* Effect.forkChild(verdict)
        while ((yield* count(plan.address, plan.namespace)) === 0) yield* Effect.sleep("20 millis")

        yield* Fiber.interrupt(fiber)

        assert.strictEqual(yield* count(plan.address, plan.namespace), left)
        assert.match(said.join("\n"), message)
      })
  )

  it.effect("a namespace that cannot be emptied is said, with exit code 2", () =>
    Effect.gen(function*() {
      const liar = yield* makeLiar({
        request: (method, request) =>
          method === "Commit" && request.mutations.every((mutation: any) => mutation.delete) ? { code: 7 } : undefined
      })

      const verdict = yield* verifying(freshAddress(liar.host), { questions: [question("order")] }).verdict

      assert.include("problem" in verdict.cleaned ? verdict.cleaned.problem : "", "permission denied")
      assert.strictEqual(exitCodeOf(verdict), 2)
    }))

  it.effect("no namespace but those of this program is ever emptied", () =>
    Effect.gen(function*() {
      const refused = yield* Effect.exit(empty(freshAddress(), "production"))

      assert.match(String(refused), /production is not a namespace of this program/)
      assert.isTrue(isOurs(Effect.runSync(freshNamespace)))
      for (const name of ["", "production", "my-eventbox-verify-1", "eventbox-verify-/x"]) assert.isFalse(isOurs(name))
    }))
})

// ---------------------------------------------------------------------------------------------------------------------
// Databases that answer wrongly
// ---------------------------------------------------------------------------------------------------------------------

const dropVersion = (mutation: any): void => {
  delete mutation.baseVersion
  delete mutation.conflictResolutionStrategy
}

const ignoresVersions: Lie = {
  request: (method, request) => {
    if (method === "Commit") request.mutations?.forEach(dropVersion)
  }
}

const wrong: ReadonlyArray<{
  readonly what: string
  readonly lie: Lie
  readonly id: string
  readonly answer: RegExp
  readonly advice: RegExp
}> = [
  {
    what: "that ignores versions",
    lie: ignoresVersions,
    id: "stale",
    answer: /^NO: an upsert of an entity that was updated in between was applied/,
    advice: /^Do not run eventbox/
  },
  {
    what: "that ignores the versions of deletes",
    lie: {
      request: (method, request) => {
        if (method === "Commit") request.mutations?.filter((one: any) => one.delete).forEach(dropVersion)
      }
    },
    id: "missing",
    answer:
      /an expectation of an entity that was created in between was applied.*a delete of an entity that was created/,
    advice:
      /^Switch on `unwrittenExpectations: "interactive"`.*do not remove an entity that the transaction has found missing/
  },
  {
    what: "that reports a version for a missing entity with which no delete lands",
    lie: {
      response: (method, { missing }) => {
        if (method === "Lookup") { for (const one of missing ?? []) one.version = "12345" }
      }
    },
    id: "missing",
    answer: /an expectation of an entity that is still missing was refused.*it is 12345 for one that never was/,
    advice: /unwrittenExpectations: "interactive"/
  },
  {
    what: "that ignores the versions of updates",
    lie: {
      request: (method, request) => {
        if (method === "Commit") request.mutations?.filter((one: any) => one.update).forEach(dropVersion)
      }
    },
    id: "unchanged",
    answer: /an expectation of an entity that was updated in between was applied/,
    advice: /unwrittenExpectations: "interactive"/
  },
  {
    what: "whose inserts overwrite",
    lie: {
      request: (method, request) => {
        if (method !== "Commit") return
        for (const mutation of request.mutations ?? []) {
          if (mutation.insert === undefined) continue
          mutation.upsert = mutation.insert
          delete mutation.insert
        }
      }
    },
    id: "insert",
    answer: /an insert of an existing entity ended with Success; it overwrote the entity/,
    advice: /^Do not run eventbox/
  },
  {
    what: "whose queries and lookups disagree on versions",
    lie: {
      response: (method, { batch }) => {
        if (method === "RunQuery") { for (const one of batch.entityResults ?? []) one.version = "7" }
      }
    },
    id: "versions",
    answer: /a lookup said version \d+, a query 7/,
    advice: /^Do not run eventbox/
  },
  {
    what: "that lists in the wrong order",
    lie: {
      response: (method, { batch }) => {
        if (method === "RunQuery") batch.entityResults?.reverse()
      }
    },
    id: "order",
    answer: /all: place 1 holds "\u{10ffff}" and should hold "1"/u,
    advice: /forget tombstones too early/
  },
  {
    what: "with a limit of 500 mutations",
    lie: {
      request: (method, request) =>
        method === "Commit" && request.mutations?.length > 500 ? { code: 3, details: "too many" } : undefined
    },
    id: "mutations",
    answer: /501 of them ended with InvalidArgument, and 0 were stored/,
    advice: /maxEvents/
  },
  {
    what: "that says a listing is at its end when it is not",
    lie: {
      request: (method, { query }) => {
        if (method === "RunQuery") query.limit = { value: Math.min(300, query.limit?.value ?? 300) }
      },
      response: (method, { batch }) => {
        if (method === "RunQuery") batch.moreResults = "NO_MORE_RESULTS"
      }
    },
    id: "batches",
    answer: /a query returned 300 of 1000/,
    advice: /listings would miss events/
  },
  {
    what: "that does not say whether a listing is at its end",
    lie: {
      response: (method, { batch }) => {
        if (method === "RunQuery") delete batch.moreResults
      }
    },
    id: "order",
    answer: /it does not say whether it is complete/,
    advice: /^Do not run eventbox/
  },
  {
    what: "that takes no notice of property masks",
    lie: {
      request: (method, request) => {
        if (method === "Commit") { for (const mutation of request.mutations ?? []) delete mutation.propertyMask }
      }
    },
    id: "patch",
    answer: /what is not named was not kept.*was put into the indexes/,
    advice: /^Do not run eventbox/
  }
]

onEmulator("verify objects to a database", (it) => {
  it.effect.each(wrong)("$what", ({ advice, answer, id, lie }) =>
    Effect.gen(function*() {
      const liar = yield* makeLiar(lie)

      const { said, verdict } = verifying(freshAddress(liar.host), { questions: [question(id)] })
      const { findings: [finding] } = yield* verdict

      assert.strictEqual(finding!.status, "differs", finding!.answer)
      assert.match(finding!.answer, answer)
      assert.match(finding!.advice ?? "", advice)
      assert.match(said[0] ?? "", /^DIFFERS .*\n[^]* {11}do: /)
    }))

  it.effect("that ignores versions, by the facts and the fight as well", () =>
    Effect.gen(function*() {
      const liar = yield* makeLiar(ignoresVersions)

      const { findings: [facts, fight] } = yield* verifying(freshAddress(liar.host), { parts: ["facts", "fight"] })
        .verdict

      assert.strictEqual(facts!.status, "differs")
      assert.match(facts!.answer, /every history of an entity gives the one right outcome/)
      assert.strictEqual(fight!.status, "differs")
      assert.match(fight!.answer, /^NO: .*(lost|doubled) \d+/)
    }), 120_000)

  it.effect("and does not ask for what is switched on already", () =>
    Effect.gen(function*() {
      const liar = yield* makeLiar({
        request: (method, request) => {
          if (method === "Commit") request.mutations?.filter((one: any) => one.delete).forEach(dropVersion)
        }
      })
      const address: Address = { ...freshAddress(liar.host), unwrittenExpectations: "interactive" }

      const { findings } = yield* verifying(address, { questions: [question("unchanged")] }).verdict

      assert.strictEqual(findings[0]!.status, "as assumed", findings[0]!.answer)
    }))
})

onEmulator("verify is content with a database", (it) => {
  it.effect("whose listings come in parts, and says in how many", () =>
    Effect.gen(function*() {
      const liar = yield* makeLiar({
        request: (method, { query }) => {
          if (method === "RunQuery") query.limit = { value: Math.min(300, query.limit?.value ?? 300) }
        },
        response: (method, { batch }) => {
          if (method === "RunQuery" && batch.entityResults?.length === 300) batch.moreResults = "NOT_FINISHED"
        }
      })

      const { findings } = yield* verifying(freshAddress(liar.host), { questions: [question("batches")] }).verdict

      assert.strictEqual(findings[0]!.status, "as assumed", findings[0]!.answer)
      assert.include(findings[0]!.answer, "a query of 1,000 took 4 RPCs")
    }))

  it.effect("that raises the version when nothing changes, and says what that costs", () =>
    Effect.gen(function*() {
      let nth = 0
      const liar = yield* makeLiar({
        // A change that the client does not get to see.
        request: (method, request) => {
          if (method !== "Commit") return
          for (const { baseVersion, propertyMask, update } of request.mutations ?? []) {
            if (update === undefined || baseVersion === undefined) continue
            update.properties = { hidden: { integerValue: ++nth } }
            propertyMask.paths = ["hidden"]
          }
        },
        response: (method, { found }) => {
          if (method === "Lookup") { for (const { entity } of found ?? []) delete entity.properties.hidden }
        }
      })

      const { findings } = yield* verifying(freshAddress(liar.host), { questions: [question("unchanged")] }).verdict

      assert.strictEqual(findings[0]!.status, "as assumed", findings[0]!.answer)
      assert.include(findings[0]!.answer, "it raises the version")
    }))
})
