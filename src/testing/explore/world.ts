/**
 * One history: processes over one store, and one step at a time.
 *
 * Every operation of a process waits here until it is chosen. Between two steps all fibers wait, so that a history is
 * nothing but the sequence of choices.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Backend } from "../../Backend.ts"
import { DatastoreError, isContentionError, OutcomeUnknown } from "../../EventboxError.ts"
import type { Store, StoreSnapshot } from "../../layers/InMemory.ts"
import type { Call } from "../Recorder.ts"
import { describeCall, describeExit, type Row } from "../text/table.ts"
import { Chance } from "../virtual/chance.ts"
import { gated } from "../virtual/gated.ts"
import { makeContext, quiet } from "../virtual/process.ts"
import { makeClock } from "../virtual/time.ts"
import { Turns } from "../virtual/turns.ts"
import * as Footprint from "./footprint.ts"

/** What can go wrong with a commit; the text is its mark in a token. */
export type FaultKind = "response-lost" | "request-lost" | "late" | "crash-before" | "crash-after"

/** What a history is made of. */
export interface Scenario {
  readonly store: Store
  readonly stored: StoreSnapshot
  /** What the caller provides to programs and checks. */
  readonly context: Context.Context<never>
  readonly programs: ReadonlyArray<Program>
  readonly startMillis: number
  readonly jumpsMillis: ReadonlyArray<number>
  readonly faults: ReadonlyArray<FaultKind>
  readonly maxFaults: number
  readonly mayFail: (call: Call, process: string) => boolean
  /** Whether the start of a program and the answer to an operation are steps of their own. */
  readonly isSeparate: boolean
}

/** A program and the process that it runs in. */
export interface Program {
  readonly name: string
  readonly process: string
  readonly effect: Effect.Effect<unknown, unknown, any>
}

/** What may happen next. */
export interface Choice {
  /** The same for the same step in every history in which its process came the same way. */
  readonly id: string
  readonly waiting: Waiting | "jump"
  /** Steps taken when it became possible. */
  readonly bornAt: number
  readonly fault: FaultKind | undefined
}

type Resume = (exit: Exit.Exit<any, any>) => void

interface Waiting {
  readonly id: string
  readonly process: Process
  /** Steps taken when it began to wait. */
  readonly bornAt: number
  readonly kind: "request" | "answer" | "landing" | "start" | "pause" | "timer"
  /** What a request, its answer or its late landing is about. */
  readonly sent?: Sent
  /** When a timer is due. */
  readonly dueMillis?: number
  /** Takes the step; only a request meets a fault. */
  readonly perform: (fault: FaultKind | undefined) => Footprint.Footprint
}

interface Sent {
  readonly call: Call
  readonly run: Effect.Effect<unknown, unknown>
  readonly resume: Resume
  /** Steps taken when it was asked for. */
  readonly askedAt: number
}

interface Process {
  readonly name: string
  context: Context.Context<any>
  isAlive: boolean
  serial: number
}

/** What programs can tell the history; see `Explore.note` and `Explore.step`. */
export interface Probe {
  readonly note: (note: unknown) => void
  readonly step: (label: string) => Effect.Effect<void>
}

/** The probe of the program that a fiber belongs to; outside of a history it does nothing. */
export const Probe: Context.Reference<Probe> = Context.Reference<Probe>("eventbox/testing/Explore/Probe", {
  defaultValue: () => ({ note: () => undefined, step: () => Effect.void })
})

/** One history under way: the store, the programs, and what has happened so far. */
export class World {
  readonly rows: Array<Row> = []
  readonly notes: Array<{ readonly program: string; readonly note: unknown }> = []
  readonly exits = new Map<string, Exit.Exit<unknown, unknown>>()
  readonly taken: Array<string> = []
  contentions = 0
  faults = 0
  /** Times that the step went to another process than the one before. */
  switches = 0
  now: number
  private readonly turns = new Turns()
  private readonly scenario: Scenario
  private readonly processes = new Map<string, Process>()
  private waiting: Array<Waiting> = []
  private jumps = 0
  private withdrew = false
  /** What the process did in this step that can be seen: requests, sleeps, notes, ends, random numbers drawn. */
  private deeds = 0
  private readClock = false
  private last: string | undefined
  private readonly inner: Context.Context<never>

  constructor(scenario: Scenario, isLoud: boolean) {
    this.scenario = scenario
    this.now = scenario.startMillis
    const clock = makeClock({ now: () => this.now, sleep: () => () => undefined })
    this.inner = Context.make(Clock.Clock, clock)
    Effect.runSync(scenario.store.restore(scenario.stored))
    for (const { process } of scenario.programs) {
      if (!this.processes.has(process)) this.processes.set(process, this.makeProcess(process, isLoud))
    }
    for (const program of scenario.programs) {
      const process = this.processes.get(program.process)!
      const start = () => this.start(process, program)
      if (!scenario.isSeparate) start()
      else {
        const what = `${program.name} starts`
        const perform = () => this.local(process, what, "", start)
        this.enqueue({ kind: "start", ...this.born(process, `${encodeURIComponent(program.name)}:start`), perform })
      }
    }
    this.turns.flush()
  }

  /** What may happen next, the process of the last step first; nothing when the history has ended. */
  choices(): ReadonlyArray<Choice> {
    const choices: Array<Choice> = []
    const add = (own: boolean): void => {
      for (const waiting of this.waiting) {
        if ((waiting.process.name === this.last) !== own || this.isTooEarly(waiting)) continue
        choices.push({ id: waiting.id, waiting, bornAt: waiting.bornAt, fault: undefined })
      }
    }
    add(true)
    add(false)
    if (choices.length === 0) return choices
    if (this.faults < this.scenario.maxFaults) {
      for (const { waiting } of choices.slice()) {
        if (waiting === "jump" || waiting.kind !== "request" || waiting.sent?.call.operation !== "commit") continue
        if (!this.scenario.mayFail(waiting.sent.call, waiting.process.name)) continue
        for (const fault of this.scenario.faults) {
          choices.push({ id: `${waiting.id}!${fault}`, waiting, bornAt: waiting.bornAt, fault })
        }
      }
    }
    if (this.jumps < this.scenario.jumpsMillis.length) {
      choices.push({ id: `:jump${this.jumps + 1}`, waiting: "jump", bornAt: 0, fault: undefined })
    }
    return choices
  }

  /** Of the sleepers of one process, the earliest wakes first. */
  private isTooEarly(waiting: Waiting): boolean {
    const { dueMillis, process } = waiting
    return dueMillis !== undefined &&
      this.waiting.some((other) => other.process === process && (other.dueMillis ?? Infinity) < dueMillis)
  }

  /** Programs that have neither ended nor crashed. */
  unfinished(): ReadonlyArray<string> {
    return this.scenario.programs
      .filter(({ name, process }) => !this.exits.has(name) && this.processes.get(process)!.isAlive)
      .map(({ name }) => name)
  }

  /** Takes one step, and lets all that it sets off run to its next wait. */
  take({ fault, id, waiting }: Choice): Footprint.Footprint {
    this.taken.push(id)
    this.withdrew = false
    if (waiting === "jump") {
      const millis = this.scenario.jumpsMillis[this.jumps++]!
      this.now += millis
      this.row("", `time jumps by ${millis} ms`, "")
      return { ...Footprint.nothing, movesTime: true }
    }
    this.waiting.splice(this.waiting.indexOf(waiting), 1)
    if (this.last !== undefined && this.last !== waiting.process.name) this.switches++
    this.last = waiting.process.name
    this.deeds = 0
    this.readClock = false
    const footprint = waiting.perform(fault)
    this.turns.flush()
    const askedAt = footprint.isLocal ? askedAtOf(waiting) : undefined
    return { ...footprint, askedAt, isQuiet: this.deeds === 0, withdraws: this.withdrew, readsClock: this.readClock }
  }

  /** A step in which nothing but code of the process runs. */
  private local(process: Process, what: string, result: string, run: () => void): Footprint.Footprint {
    this.row(process.name, what, result)
    run()
    return { ...Footprint.nothing, process: process.name, isLocal: true }
  }

  private request(id: string, process: Process, sent: Sent, fault: FaultKind | undefined): Footprint.Footprint {
    const isReached = fault === undefined || fault === "response-lost" || fault === "crash-after"
    const exit = isReached ? this.reach(sent) : undefined
    const touched = exit === undefined ? {} : Footprint.ofCall(sent.call, Exit.isSuccess(exit))
    const result = exit === undefined ? "" : describeExit(sent.call, exit)
    this.row(process.name, describeCall(sent.call), [result, fault].filter((part) => part).join(", "))
    if (fault !== undefined) this.faults++
    let isLocal = true
    if (fault === "crash-before" || fault === "crash-after") {
      this.crash(process)
    } else {
      const answer = fault === undefined ? exit! : lost(sent.call)
      if (fault === "late") this.landLater(id, process, sent)
      if (this.scenario.isSeparate) {
        isLocal = false
        const what = `answer to ${sent.call.operation}`
        const perform = () => this.local(process, what, describeExit(sent.call, answer), () => sent.resume(answer))
        this.enqueue({ kind: "answer", ...this.born(process, `${id}>`), sent, perform })
      } else {
        sent.resume(answer)
      }
    }
    return { ...Footprint.nothing, process: process.name, isLocal, ...touched }
  }

  private landLater(id: string, process: Process, sent: Sent): void {
    const perform = () => {
      const exit = this.reach(sent)
      this.row(process.name, `late ${describeCall(sent.call)}`, describeExit(sent.call, exit))
      return { ...Footprint.nothing, ...Footprint.ofCall(sent.call, Exit.isSuccess(exit)) }
    }
    this.enqueue({ kind: "landing", ...this.born(process, `${id}~`), sent, perform })
  }

  /** The operation takes effect. */
  private reach({ run }: Sent): Exit.Exit<unknown, unknown> {
    const exit = Effect.runSyncExitWith(this.inner)(run)
    if (isContention(exit)) this.contentions++
    return exit
  }

  /** The process is gone: its fibers never go on, and nobody waits for what it asked. */
  private crash(process: Process): void {
    process.isAlive = false
    this.withdrew = true
    this.waiting = this.waiting.filter((waiting) => waiting.process !== process || waiting.kind === "landing")
    for (const program of this.scenario.programs) {
      if (program.process !== process.name || this.exits.has(program.name)) continue
      this.row(program.name, "crashed", "", false)
    }
  }

  private start(process: Process, { effect, name }: Program): void {
    const probe: Probe = {
      note: (note) => {
        this.deeds++
        this.notes.push({ program: name, note })
        this.row(name, `note: ${typeof note === "string" ? note : JSON.stringify(note)}`, "", false)
      },
      step: (label) =>
        this.wait((resume) => ({
          kind: "pause",
          ...this.born(process),
          perform: () => this.local(process, label, "", () => resume(Exit.void))
        }))
    }
    const fiber = Effect.runForkWith(Context.add(process.context, Probe, probe))(effect)
    fiber.addObserver((exit) => {
      this.deeds++
      this.exits.set(name, exit)
      this.row(name, "ends", describeExit(undefined, exit), false)
    })
  }

  private makeProcess(name: string, isLoud: boolean): Process {
    const process: Process = { name, context: Context.empty() as Context.Context<any>, isAlive: true, serial: 0 }
    const now = (): number => {
      this.readClock = true
      return this.now
    }
    const clock = makeClock({
      now,
      sleep: (millis, resume) => {
        const dueMillis = now() + millis
        const perform = () => {
          this.now = Math.max(this.now, dueMillis)
          // Also when another sleeper has moved time that far: in the other order it would have been this one.
          return { ...this.local(process, "wakes up", "", resume), movesTime: true }
        }
        return this.enqueue({ kind: "timer", ...this.born(process), dueMillis, perform })
      }
    })
    process.context = makeContext({
      context: quiet(this.scenario.context, isLoud),
      turns: this.turns,
      clock,
      random: new Chance(name).service(() => this.deeds++),
      backend: this.makeGate(process)
    })
    return process
  }

  private makeGate(process: Process): Backend {
    return gated(this.scenario.store.backend, <A, E>(call: Call, run: Effect.Effect<A, E>) => {
      const answer = this.wait<A, E>((resume) => {
        const born = this.born(process)
        const sent = { call, run, resume, askedAt: this.taken.length }
        return { kind: "request", ...born, sent, perform: (fault) => this.request(born.id, process, sent, fault) }
      })
      // A commit that was sent cannot be taken back.
      return call.operation === "commit" ? Effect.uninterruptible(answer) : answer
    })
  }

  private wait<A, E>(make: (resume: Resume) => Waiting): Effect.Effect<A, E> {
    return Effect.callback<A, E>((resume) => Effect.sync(this.enqueue(make(resume))))
  }

  /** Returns what takes it back. */
  private enqueue(waiting: Waiting): () => void {
    this.deeds++
    this.waiting.push(waiting)
    return () => {
      const sent = waiting.kind === "request" ? waiting.sent : undefined
      // An answer may be under way instead: nobody waits for it any more.
      this.waiting = this.waiting.filter((other) =>
        other !== waiting && !(other.kind === "answer" && other.sent === sent)
      )
      this.withdrew = true
    }
  }

  private born(process: Process, id = `${encodeURIComponent(process.name)}.${++process.serial}`) {
    return { id, process, bornAt: this.taken.length }
  }

  private row(who: string, what: string, result: string, isStep = true): void {
    this.rows.push({ number: isStep ? this.taken.length : undefined, who, what, result, atMillis: this.now })
  }
}

/** For the answer to a read, or a read that is answered at once: in which step it was asked for. */
const askedAtOf = ({ kind, sent }: Waiting): number | undefined =>
  (kind === "request" || kind === "answer") && sent?.call.operation !== "commit" ? sent?.askedAt : undefined

const lost = (call: Call): Exit.Exit<never, DatastoreError> =>
  Exit.fail(
    new DatastoreError({ operation: call.operation, reason: new OutcomeUnknown({ detail: "explored: no response" }) })
  )

const isContention = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) => reason._tag === "Fail" && isContentionError(reason.error))
