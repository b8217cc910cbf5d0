/**
 * One simulated history: processes come and go, the network fails, clients and workers act; then all trouble stops, and
 * what is left must settle.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Backend, type CommitRequest, mutationKey } from "../../Backend.ts"
import { isContentionError } from "../../EventboxError.ts"
import { messageOf } from "../../ground/foreign.ts"
import * as InMemory from "../../layers/InMemory.ts"
import type { FaultTag } from "../Faulty.ts"
import { describeCall, describeExit, type Row } from "../text/table.ts"
import { Chance, Fingerprint } from "../virtual/chance.ts"
import { gated } from "../virtual/gated.ts"
import { startMillis } from "../virtual/time.ts"
import { makeNetwork, type Network, Sender } from "./network.ts"
import type { Trouble } from "./settings.ts"
import { type Process, World } from "./world.ts"

/** What the processes of a history do. */
export interface Job {
  readonly client: () => Effect.Effect<unknown, unknown, any>
  readonly worker: () => Effect.Effect<unknown, unknown, any>
  /** Runs alone, in one process, when the faults have stopped. */
  readonly settle: () => Effect.Effect<unknown, unknown, any>
  /** Whether clients have done enough, so that the trouble may stop. */
  readonly isEnough: () => boolean
  /** Hears of every commit at the moment at which it lands, and who sent it. */
  readonly landed?: (request: CommitRequest, process: string) => void
  /** Hears of every commit whose process hears that it failed, or that nobody knows. */
  readonly faltered?: (request: CommitRequest, process: string) => void
}

/** What a job may draw from and tell. */
export interface Trial {
  readonly chance: Chance
  readonly now: () => number
  /** Something happened that must not; the first of these counts. */
  readonly object: (rule: string, detail: string, about?: number) => void
}

/** Something that must not happen. */
export interface Violation {
  readonly rule: string
  readonly detail: string
  /** What it is about, as the job numbers such things, if it is about one. */
  readonly about: number | undefined
}

/** What a history runs in. */
export interface Setting<J extends Job> {
  readonly settings: Trouble
  /** How often the client, and each worker, of a process acts, on average; milliseconds. */
  readonly gaps: { readonly client: number; readonly worker: number }
  /** What the caller provides. */
  readonly context: Context.Context<never>
  readonly makeJob: (trial: Trial) => J
  /** What stands between the network and the database. */
  readonly wrap: (database: Backend) => Backend
  /** Whether to keep the rows of the history. */
  readonly isTraced: boolean
}

/** What happened in a history, whatever its processes do. */
export interface Happened {
  /** Commits that landed, and those that met contention. */
  readonly commits: number
  readonly contentions: number
  readonly crashes: number
  /** Processes that were stopped as they should be. */
  readonly stops: number
  /** Times that a process stood still. */
  readonly pauses: number
  /** Processes whose clock was off when they started. */
  readonly skews: number
  readonly faults: Readonly<Record<FaultTag, number>>
  /** Faults of deletes of garbage. */
  readonly deleteFaults: Readonly<Record<FaultTag, number>>
  readonly virtualMillis: number
  readonly steps: number
}

/** One history at its end. */
export interface Ended<J extends Job> {
  readonly job: J
  readonly violation: Violation | undefined
  readonly hash: string
  readonly happened: Happened
  readonly steps: number
  readonly rows: ReadonlyArray<Noted>
}

/** One row of a history; `about` names the keys of an operation. */
export interface Noted extends Row {
  readonly about: string | undefined
}

/** One place in which processes follow one another. */
interface Slot {
  readonly name: string
  generation: number
  process: Process | undefined
  main: Fiber.Fiber<unknown, unknown> | undefined
}

/** Workers of one process. */
export const lanes = 2
/** Virtual time that anything may take when there are no faults any more. */
const patienceMillis = 3_600_000
/** Steps of one history between two turns of the program that runs it. */
const stepsPerTurn = 2_000

/** One history, from the first process to the last check. */
export class History<J extends Job> {
  private readonly world: World
  private readonly fingerprint = new Fingerprint()
  private readonly network: Network
  private readonly slots: Array<Slot> = []
  private readonly rows: Array<Noted> = []
  private readonly chance: Chance
  private readonly job: J
  private readonly settings: Trouble
  private readonly gaps: Setting<J>["gaps"]
  private readonly isTraced: boolean
  private readonly counts = { commits: 0, contentions: 0, crashes: 0, stops: 0, pauses: 0, skews: 0 }
  private violation: Violation | undefined
  private isEnding = false
  private isOver = false

  constructor({ context, gaps, isTraced, makeJob, settings, wrap }: Setting<J>) {
    this.settings = settings
    this.gaps = gaps
    this.chance = new Chance(settings.seed)
    this.world = new World(context, this.chance, { ...settings, isLoud: isTraced })
    this.job = makeJob({
      chance: this.chance,
      now: () => this.world.now,
      object: (rule, detail, about) => this.object(rule, detail, about)
    })
    const { backend } = Effect.runSync(InMemory.makeStore)
    this.isTraced = isTraced
    this.network = makeNetwork(
      this.world,
      settings,
      wrap(this.watch(backend)),
      (process, call, exit) => {
        if (call.operation === "commit") this.job.faltered?.(call.request, process.name)
        if (!this.isTraced) return
        this.note(process.name, `hears of its ${call.operation}`, describeExit(undefined, exit), describeCall(call))
      },
      (process) => {
        if (this.isEnding || settings.pauseEvery === 0 || !this.chance.happens(0.2)) return
        this.pause(process, settings.tombstonesDelay * this.chance.between(0.4, 2))
      }
    )
  }

  /** Runs the history to its end; gives way to other fibers now and then. */
  readonly run: Effect.Effect<Ended<J>> = Effect.gen({ self: this }, function*() {
    this.begin()
    while (!this.isOver && this.violation === undefined) {
      for (let step = 0; step < stepsPerTurn; step++) {
        if (this.isOver || this.violation !== undefined) break
        this.step()
      }
      yield* Effect.yieldNow
    }
    const { counts, fingerprint, job, network, rows, violation, world: { now, steps } } = this
    fingerprint.number(steps)
    const happened = { ...counts, ...network.counts(), virtualMillis: now - startMillis, steps }
    return { job, violation, hash: fingerprint.toString(), happened, steps, rows }
  })

  private object(rule: string, detail: string, about?: number): void {
    this.violation ??= { rule, detail, about }
  }

  private step(): void {
    try {
      if (this.world.step()) return
      this.object("Stuck", "a process waits for something other than the database and time")
    } catch (defect) {
      // What spins without end is stopped from outside.
      this.object("Stuck", messageOf(defect))
    }
  }

  private begin(): void {
    for (let number = 1; number <= this.settings.processes; number++) {
      const slot: Slot = { name: `worker ${number}`, generation: 0, process: undefined, main: undefined }
      this.slots.push(slot)
      this.startIn(slot)
    }
    this.superviseEnd()
  }

  private startIn(slot: Slot): void {
    if (this.isEnding) return
    const { chance, settings, world } = this
    slot.generation++
    const name = `${slot.name}.${slot.generation}`
    const process = world.start(name, this.drawSkew(), this.network.connect)
    slot.process = process
    if (process.skewMillis !== 0) this.counts.skews++
    this.note(name, "starts", process.skewMillis === 0 ? "" : `clock off by ${process.skewMillis} ms`)
    const loops = [
      this.loop(this.gaps.client, () => this.job.client()),
      ...Array.from({ length: lanes }, () => this.loop(this.gaps.worker, () => this.job.worker()))
    ]
    slot.main = world.fork(Effect.all(loops, { concurrency: "unbounded", discard: true }), process.context)
    slot.main.addObserver((exit) => this.judge(name, exit))
    if (settings.lifetime > 0) world.after(chance.gap(settings.lifetime), () => this.end(slot, process))
    if (settings.pauseEvery > 0) this.pauseLater(process)
  }

  private loop(gap: number, act: () => Effect.Effect<unknown, unknown, any>): Effect.Effect<void, never, any> {
    return Effect.gen({ self: this }, function*() {
      while (true) {
        yield* Effect.sleep(this.chance.gap(gap))
        if (this.isEnding) return
        yield* Effect.ignore(act())
      }
    })
  }

  /** A process ends: most crash, some are stopped as they should be. */
  private end(slot: Slot, process: Process): void {
    if (this.isEnding || !process.isAlive) return
    const { chance, world } = this
    const restart = () => world.after(chance.gap(this.settings.tombstonesDelay / 10), () => this.startIn(slot))
    if (chance.happens(0.75)) {
      this.counts.crashes++
      this.note(process.name, "crashes", "")
      process.isAlive = false
      restart()
      return
    }
    this.counts.stops++
    this.note(process.name, "is stopped", "")
    const stop = Effect.andThen(Fiber.interrupt(slot.main!), Scope.close(process.scope, Exit.void))
    world.fork(stop, process.context).addObserver(() => {
      process.isAlive = false
      if (!this.isEnding) restart()
    })
  }

  /** A process stands still for a while, or its clock is set. */
  private pauseLater(process: Process): void {
    const { chance, settings, world } = this
    world.after(chance.gap(settings.pauseEvery), () => {
      if (this.isEnding || !process.isAlive) return
      if (chance.happens(0.3)) {
        process.skewMillis = this.drawSkew()
      } else {
        // Some pauses outlast the tombstones.
        const delays = chance.happens(0.2) ? chance.between(1, 2) : chance.next() ** 2
        this.pause(process, settings.tombstonesDelay * delays)
      }
      this.pauseLater(process)
    })
  }

  private pause(process: Process, millis: number): void {
    process.frozenUntil = Math.max(process.frozenUntil, this.world.now + millis)
    this.counts.pauses++
    this.note(process.name, "stands still", `for ${Math.round(millis)} ms`)
  }

  private drawSkew(): number {
    const { maxSkew } = this.settings
    return maxSkew === 0 ? 0 : Math.floor(this.chance.between(-maxSkew, maxSkew))
  }

  /** Once enough was emitted, trouble stops; once all have come to rest, the rest is settled. */
  private superviseEnd(): void {
    const { settings, world } = this
    const check = (): void => {
      if (!this.job.isEnough()) {
        world.after(this.gaps.client, check)
        return
      }
      this.isEnding = true
      this.network.heal()
      this.note("", "all faults stop", "")
      const giveUp = world.now + patienceMillis
      const wait = (): void => {
        if (world.now > giveUp) this.object("Stuck", "a worker did not come to rest within an hour")
        else if (this.isResting()) world.after(settings.maxLateness + 4 * settings.maxDeleteDelay, () => this.settle())
        else world.after(1_000, wait)
      }
      wait()
    }
    check()
  }

  private isResting(): boolean {
    return this.slots.every(({ main, process }) => process?.isAlive !== true || main?.pollUnsafe() !== undefined)
  }

  private settle(): void {
    // A process that lived through it all must be able to, with all that it remembers.
    const survivor = this.slots.find(({ process }) => process?.isAlive === true)?.process
    const process = survivor ?? this.world.start("settler", 0, this.network.connect)
    this.note(process.name, "settles what is left", "")
    const main = this.world.fork(this.job.settle(), process.context)
    const end = this.world.after(patienceMillis, () => this.object("Stuck", "settling took more than an hour"))
    main.addObserver((exit) => {
      end()
      this.judge(process.name, exit)
      if (Exit.isFailure(exit)) {
        const reasons = exit.cause.reasons.map((one) => one._tag === "Fail" ? messageOf(one.error) : one._tag)
        this.object("Check", `the check failed: ${reasons.join(", ")}`)
      }
      this.isOver = true
    })
  }

  /** A defect is a finding, whoever it belongs to. */
  private judge(name: string, exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) return
    for (const reason of exit.cause.reasons) {
      if (reason._tag === "Die") this.object("Died", `${name} died: ${String(reason.defect)}`)
    }
  }

  /** Counts what lands, and shows it to the job, at the moment at which it does. */
  private watch(database: Backend): Backend {
    return gated(database, (call, run) =>
      Effect.flatMap(Sender, (sender) =>
        Effect.onExit(run, (exit) => {
          if (call.operation === "commit" && Exit.isSuccess(exit)) this.landed(call.request, sender)
          if (call.operation === "commit" && isContended(exit)) this.counts.contentions++
          if (!this.isTraced) return Effect.void
          const what = describeCall(call)
          return Effect.sync(() => this.note(sender, what, describeExit(call, exit), what))
        })))
  }

  private landed(request: CommitRequest, sender: string): void {
    this.counts.commits++
    this.fingerprint.number(this.world.now)
    for (const mutation of request.mutations) this.fingerprint.text(String(mutationKey(mutation).id))
    this.job.landed?.(request, sender)
  }

  private note(who: string, what: string, result: string, about?: string): void {
    if (!this.isTraced) return
    this.rows.push({ number: undefined, who, what, result, about, atMillis: Math.round(this.world.now) })
  }
}

const isContended = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.some((one) => one._tag === "Fail" && isContentionError(one.error))
