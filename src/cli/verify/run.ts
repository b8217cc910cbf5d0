/**
 * The whole run: connects, asks, checks, fights, cleans up.
 */
import { Cause, Effect, Exit, References } from "effect"
import * as Datastore from "../../Datastore.ts"
import { DatastoreError } from "../../EventboxError.ts"
import { messageOf } from "../../ground/foreign.ts"
import * as Key from "../../Key.ts"
import * as GoogleDatastore from "../../layers/GoogleDatastore.ts"
import { UnmetError } from "../../testing/conformance/checks.ts"
import type { Fact } from "../../testing/conformance/fact.ts"
import { conformance } from "../../testing/conformance/suite.ts"
import { wrap } from "../command.ts"
import { expectationQuestions } from "./expectations.ts"
import { fight, size } from "./fight.ts"
import { type Finding, formatFinding, type Verdict } from "./finding.ts"
import { makeMeter, type Meter } from "./meter.ts"
import { type Address, empty } from "./namespace.ts"
import { boundOf, type Plan } from "./plan.ts"
import { type Answer, type Asked, isTransient, listed, type Question } from "./question.ts"
import { readQuestions } from "./reads.ts"

/** Where the words go. */
export interface Terminal {
  readonly colors: boolean
  readonly say: (text: string) => Effect.Effect<unknown>
  /** Overwritten by the next, where that is possible. */
  readonly progress: (text: string) => Effect.Effect<unknown>
}

/** All questions, in their order. */
export const allQuestions: ReadonlyArray<Question> = [...expectationQuestions, ...readQuestions]

/** What belongs to one run. */
interface Run {
  readonly plan: Plan
  readonly terminal: Terminal
  readonly meter: Meter
  readonly rpcs: Record<string, number>
}

/**
 * Finds out what the plan says, tells every finding at once, and empties the namespace whatever happens. Fails only
 * when the database cannot be used at all; then nothing was written.
 */
export const verify = (
  plan: Plan,
  terminal: Terminal,
  questions: ReadonlyArray<Question> = allQuestions
): Effect.Effect<Verdict, DatastoreError> =>
  Effect.scoped(Effect.gen(function*() {
    const run: Run = { plan, terminal, meter: makeMeter(boundOf(plan.parts)), rpcs: {} }
    const backend = yield* connect(run, {})
    yield* backend.lookup([Key.make("Probe", 1)])
    let cleaned: Verdict["cleaned"] = { problem: "nothing was cleaned up" }
    const parts = Effect.gen(function*() {
      const findings: Array<Finding> = []
      if (plan.parts.includes("questions")) findings.push(...(yield* askAll(run, backend, questions)))
      if (plan.parts.includes("facts")) findings.push(yield* checkFacts(run, backend))
      if (plan.parts.includes("fight")) findings.push(yield* runFight(run))
      return findings
    })
    const findings = yield* Effect.onExit(parts, (exit) => {
      // Ctrl-C has reached the emulator too, so it could not be asked any more.
      if (plan.ownsEmulator === true && Exit.hasInterrupts(exit)) {
        return terminal.say(`The namespace ${plan.namespace} is gone with the emulator of this run.`)
      }
      return Effect.map(cleanUp(plan.address, plan.namespace, terminal), (result) => {
        cleaned = result
      })
    })
    return { findings, spent: run.meter.spent(), medianMillis: run.meter.medianMillis, cleaned }
  })).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

/** Empties a namespace, and says so. */
export const cleanUp = (
  address: Address,
  namespace: string,
  { progress, say }: Terminal
): Effect.Effect<Verdict["cleaned"]> =>
  Effect.andThen(progress(`emptying the namespace ${namespace}`), empty(address, namespace)).pipe(
    Effect.map((entities) => ({ entities })),
    Effect.catchCause((cause) => Effect.succeed({ problem: messageOf(Cause.squash(cause)) })),
    Effect.tap((cleaned) =>
      say(
        "problem" in cleaned
          ? wrap("", `The namespace ${namespace} could NOT be emptied: ${cleaned.problem}`, 0)
          : `The namespace ${namespace} is empty: ${deleted(cleaned.entities)}.`
      )
    )
  )

const deleted = (entities: number): string =>
  entities === 1 ? "1 entity was deleted" : `${entities.toLocaleString("en-US")} entities were deleted`

/** One more client of the database, within the bound. */
const connect = ({ meter, plan, rpcs }: Run, options: GoogleDatastore.Options) => {
  const all: GoogleDatastore.Options = {
    // A slow line needs more than the default for commits of many megabytes.
    commitDeadline: "30 seconds",
    ...plan.address,
    ...options,
    namespace: plan.namespace,
    onRpc: (method) => {
      rpcs[method] = (rpcs[method] ?? 0) + 1
    }
  }
  return Effect.map(
    GoogleDatastore.makeBackend(all),
    (backend) => meter.watch(backend, all.unwrittenExpectations ?? "noop")
  )
}

type Backend = Effect.Success<ReturnType<typeof connect>>

const maxTime = "3 minutes"

const tooSlow = "no result within 3 minutes"

const seeAbove =
  "Do what the questions above advise, and verify again. Where they found nothing, do not run eventbox on this " +
  "database, and report what is said here."

/** Tells a finding as soon as it is there. */
const told = ({ terminal }: Run, finding: Finding): Effect.Effect<Finding> =>
  Effect.as(terminal.say(formatFinding(finding, terminal.colors)), finding)

// ---------------------------------------------------------------------------------------------------------------------
// Questions
// ---------------------------------------------------------------------------------------------------------------------

const askAll = (
  run: Run,
  backend: Backend,
  questions: ReadonlyArray<Question>
): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.forEach(questions, (question) => {
    const asked: Asked = {
      backend,
      interactive: run.plan.address.unwrittenExpectations === "interactive"
        ? undefined
        : connect(run, { unwrittenExpectations: "interactive" }),
      root: Key.make("Question", question.id),
      rpcs: (method) => run.rpcs[method] ?? 0
    }
    return run.terminal.progress(`asking: ${question.title}`).pipe(
      Effect.andThen(settle(question, Effect.scoped(question.ask(asked)))),
      Effect.flatMap((finding) => told(run, finding))
    )
  })

/** Lets something be found out; failures and slowness are findings too. */
const settle = <E>(
  { assumed, otherwise, title }: Pick<Question, "title" | "assumed" | "otherwise">,
  answer: Effect.Effect<Answer, E>
): Effect.Effect<Finding> =>
  answer.pipe(
    Effect.map((found): Finding => ({
      title,
      assumed,
      status: found.fits ? "as assumed" : "differs",
      answer: found.said,
      advice: found.fits ? undefined : found.advice ?? otherwise
    })),
    Effect.timeoutOrElse({ duration: maxTime, orElse: () => Effect.succeed(unanswered(title, assumed, tooSlow)) }),
    Effect.catchCause((cause) => {
      if (Cause.hasInterrupts(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      const says = error instanceof DatastoreError && !isTransient(error)
      return Effect.succeed(
        says
          ? { title, assumed, status: "differs", answer: `NO: ${error.message}`, advice: otherwise } satisfies Finding
          : unanswered(title, assumed, messageOf(Cause.squash(cause)))
      )
    })
  )

const unanswered = (title: string, assumed: string, answer: string): Finding => ({
  title,
  assumed,
  answer,
  status: "no answer",
  advice: "Verify again when the database can be reached and is not busy."
})

// ---------------------------------------------------------------------------------------------------------------------
// Facts
// ---------------------------------------------------------------------------------------------------------------------

const factOptions = { rounds: 10, tooLargeCommitBytes: 11 * 1_024 * 1_024 }

const checkFacts = (run: Run, backend: Backend): Effect.Effect<Finding> =>
  Effect.scoped(Effect.gen(function*() {
    // The emulator may show a commit to readers beside it entity by entity; eventbox does not lean on the opposite.
    const facts = conformance({ ...factOptions, tornReads: run.plan.address.emulatorHost !== undefined })
    const datastore = yield* Datastore.make(backend)
    const unmet: Array<string> = []
    const unreached: Array<string> = []
    for (const [index, fact] of facts.entries()) {
      yield* run.terminal.progress(`checking fact ${index + 1} of ${facts.length}: ${fact.name}`)
      const found = yield* Effect.provideService(checkFact(fact), Datastore.Datastore, datastore)
      if (found !== undefined) (found.isOutage ? unreached : unmet).push(`${fact.name} (${found.problem})`)
    }
    const title = "Does every fact of the conformance suite hold?"
    const assumed = `all ${facts.length} do, on every database`
    const held = `${facts.length - unmet.length - unreached.length} of ${facts.length} hold`
    if (unmet.length > 0) {
      return yield* told(run, {
        title,
        assumed,
        status: "differs",
        answer: `NO: ${held}; not: ${listed(unmet)}`,
        advice: seeAbove
      })
    }
    if (unreached.length > 0) {
      return yield* told(run, unanswered(title, assumed, `${held}; not checked: ${listed(unreached)}`))
    }
    return yield* told(run, { title, assumed, status: "as assumed", answer: `yes, ${held}` })
  }))

/** What is wrong with a fact; nothing when it holds. */
const checkFact = (
  { check }: Fact
): Effect.Effect<{ readonly problem: string; readonly isOutage: boolean } | undefined, never, Datastore.Datastore> =>
  Effect.exit(Effect.timeoutOrElse(check, {
    duration: maxTime,
    orElse: () => Effect.die(new Error(tooSlow))
  })).pipe(Effect.flatMap((exit) => {
    if (Exit.isSuccess(exit)) return Effect.succeed(undefined)
    if (Cause.hasInterrupts(exit.cause)) return Effect.interrupt
    const error = Cause.squash(exit.cause)
    return Effect.succeed({ problem: messageOf(Cause.squash(exit.cause)), isOutage: isOutage(error) })
  }))

const isOutage = (error: unknown): boolean => {
  if (error instanceof UnmetError) return outages.has(String(error.actual))
  return !(error instanceof DatastoreError) || isTransient(error)
}

/** Outcomes of a commit that say nothing about the fact. */
const outages = new Set(["Unavailable", "DeadlineExceeded", "OutcomeUnknown"])

// ---------------------------------------------------------------------------------------------------------------------
// The fight
// ---------------------------------------------------------------------------------------------------------------------

const runFight = (run: Run): Effect.Effect<Finding> => {
  const progress = `fighting: ${size.workers} workers over ${size.events} events of one recipient`
  const title = `Do ${size.workers} workers on one recipient consume each of ${size.events} events exactly once?`
  const assumed = "each event changes the state and is heard of once, and none is left, whoever wins the races"
  // Workers of one process would share a connection.
  const options = { clientOptions: { ...run.plan.address.clientOptions, "grpc.use_local_subchannel_pool": 1 } }
  const question = { title, assumed, otherwise: seeAbove }
  return run.terminal.progress(progress).pipe(
    Effect.andThen(fight(() => Datastore.layer(connect(run, options)))),
    Effect.map(({ batches, lost, mistakes }): Answer => {
      const races = `${batches} batches landed, ${lost} attempts lost a race and wrote nothing`
      return mistakes.length === 0
        ? { fits: true, said: `yes; ${races}` }
        : { fits: false, said: `NO: ${listed(mistakes)}; ${races}` }
    }),
    (answer) => settle(question, answer),
    Effect.flatMap((finding) => told(run, finding))
  )
}
