/**
 * One simulated history: processes come and go, the network fails, clients emit, workers process; then all trouble
 * stops, and what is left must settle.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Backend, CommitRequest } from "../../Backend.ts"
import { messageOf } from "../../ground/foreign.ts"
import * as InMemory from "../../layers/InMemory.ts"
import type { FaultTag } from "../Faulty.ts"
import type { Call } from "../Recorder.ts"
import { describeCall, describeExit, type Row } from "../text/table.ts"
import { Ledger, type Violation } from "./ledger.ts"
import { makeNetwork, type Network, Sender } from "./network.ts"
import { Chance, Fingerprint } from "./random.ts"
import type { Settings } from "./settings.ts"
import { type Process, startMillis, World } from "./world.ts"

/** What the processes of a history do. */
export interface Job {
  readonly client: () => Effect.Effect<unknown, unknown, any>
  readonly worker: () => Effect.Effect<unknown, unknown, any>
  /** Runs alone, in a process of its own, when the faults have stopped. */
  readonly settle: () => Effect.Effect<unknown, unknown, any>
  /** Events that clients have emitted until now. */
  readonly emitted: () => number
  /** Hears of every commit at the moment at which it lands, and who sent it. */
  readonly landed: (request: CommitRequest, process: string) => void
}

/** What a history runs in. */
export interface Setting {
  readonly settings: Settings
  /** What the caller provides. */
  readonly context: Context.Context<any>
  readonly makeJob: (ledger: Ledger, chance: Chance, now: () => number) => Job
  /** What stands between the network and the database. */
  readonly wrap: (database: Backend) => Backend
  /** Whether to keep the rows of the history. */
  readonly isTraced: boolean
}

/** One history at its end. */
export interface Ended {
  readonly violation: Violation | undefined
  readonly ledger: Ledger
  readonly hash: string
  readonly virtualMillis: number
  readonly steps: number
  readonly crashes: number
  readonly stops: number
  readonly pauses: number
  /** Processes that began with a clock that was off. */
  readonly skews: number
  readonly faults: Readonly<Record<FaultTag, number>>
  readonly deleteFaults: Readonly<Record<FaultTag, number>>
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
const lanes = 2
/** Virtual time that anything may take when there are no faults any more. */
const patienceMillis = 3_600_000
/** Steps of one history between two turns of the program that runs it. */
const stepsPerTurn = 2_000

/** One history, from the first process to the last check. */
export class History {
  private readonly world: World
  private readonly ledger: Ledger
  private readonly fingerprint = new Fingerprint()
  private readonly network: Network
  private readonly slots: Array<Slot> = []
  private readonly rows: Array<Noted> = []
  private readonly chance: Chance
  private readonly job: Job
  private readonly settings: Settings
  private readonly isTraced: boolean
  private readonly counts = { crashes: 0, stops: 0, pauses: 0, skews: 0 }
  private readonly gaps: { readonly client: number; readonly worker: number }
  private isEnding = false
  private isOver = false

  constructor({ context, isTraced, makeJob, settings, wrap }: Setting) {
    this.settings = settings
    this.chance = new Chance(settings.seed)
    this.world = new World(context, this.chance, { ...settings, isLoud: isTraced })
    this.ledger = new Ledger({
      delayMillis: settings.tombstonesDelay,
      skewMillis: settings.maxSkew,
      now: () => this.world.now,
      fingerprint: this.fingerprint
    })
    this.job = makeJob(this.ledger, this.chance, () => this.world.now)
    const { backend } = Effect.runSync(InMemory.makeStore)
    this.isTraced = isTraced
    this.network = makeNetwork(
      this.world,
      settings,
      wrap(this.watch(backend)),
      (process, call, exit) => {
        if (call.operation === "commit") this.ledger.faltered(process.name, call.request)
        if (!this.isTraced) return
        this.note(process.name, `hears of its ${call.operation}`, describeExit(undefined, exit), describeCall(call))
      },
      (process) => {
        if (this.isEnding || settings.pauseEvery === 0 || !this.chance.happens(0.2)) return
        this.pause(process, settings.tombstonesDelay * this.chance.between(0.4, 2))
      }
    )
    this.gaps = gapsOf(settings)
  }

  /** Runs the history to its end; gives way to other fibers now and then. */
  readonly run: Effect.Effect<Ended> = Effect.gen({ self: this }, function*() {
    this.begin()
    while (!this.isOver && this.ledger.violation === undefined) {
      for (let step = 0; step < stepsPerTurn; step++) {
        if (this.isOver || this.ledger.violation !== undefined) break
        this.step()
      }
      yield* Effect.yieldNow
    }
    const { fingerprint, ledger, rows, world } = this
    fingerprint.number(world.steps)
    return {
      violation: ledger.violation,
      ledger,
      hash: fingerprint.toString(),
      virtualMillis: world.now - startMillis,
      steps: world.steps,
      ...this.counts,
      ...this.network.counts(),
      rows
    }
  })

  private step(): void {
    try {
      if (this.world.step()) return
      this.ledger.object("Stuck", "a process waits for something other than the database and time")
    } catch (defect) {
      // What spins without end is stopped from outside.
      this.ledger.object("Stuck", messageOf(defect))
    }
  }

  private begin(): void {
    for (let number = 1; number <= this.settings.workers; number++) {
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
      this.loop(this.gaps.client, this.job.client),
      ...Array.from({ length: lanes }, () => this.loop(this.gaps.worker, this.job.worker))
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
    const { ledger, settings, world } = this
    const check = (): void => {
      if (this.job.emitted() < settings.events) {
        world.after(this.gaps.client, check)
        return
      }
      this.isEnding = true
      this.network.heal()
      this.note("", "all faults stop", "")
      const giveUp = world.now + patienceMillis
      const wait = (): void => {
        if (world.now > giveUp) ledger.object("Stuck", "a worker did not come to rest within an hour")
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
    const end = this.world.after(patienceMillis, () => this.ledger.object("Stuck", "settling took more than an hour"))
    main.addObserver((exit) => {
      end()
      this.judge(process.name, exit)
      if (Exit.isFailure(exit)) this.ledger.object("Check", `settling failed: ${describeExit(undefined, exit)}`)
      this.isOver = true
    })
  }

  /** A defect is a finding, whoever it belongs to. */
  private judge(name: string, exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) return
    for (const reason of exit.cause.reasons) {
      if (reason._tag === "Die") this.ledger.object("Died", `${name} died: ${String(reason.defect)}`)
    }
  }

  /** Shows the checker what lands, at the moment at which it does. */
  private watch(database: Backend): Backend {
    const write = (sender: string, call: Call) => (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
      Effect.sync(() => {
        const what = describeCall(call)
        this.note(sender, what, describeExit(call, exit), what)
      })
    const traced = <A, E>(call: Call, run: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      this.isTraced ? Effect.flatMap(Sender, (sender) => Effect.onExit(run, write(sender, call))) : run
    return {
      lookup: (keys) => traced({ operation: "lookup", keys }, database.lookup(keys)),
      query: (query) => traced({ operation: "query", query }, database.query(query)),
      commit: (request) =>
        traced(
          { operation: "commit", request },
          Effect.andThen(
            database.commit(request),
            Effect.map(Sender, (sender) => this.job.landed(request, sender))
          )
        ),
      limits: database.limits
    }
  }

  private note(who: string, what: string, result: string, about?: string): void {
    if (!this.isTraced) return
    this.rows.push({ number: undefined, who, what, result, about, atMillis: Math.round(this.world.now) })
  }
}

/** How often clients and workers act, so that events come as thick as asked for, and in batches of some. */
const gapsOf = (settings: Settings): { readonly client: number; readonly worker: number } => {
  const { eventsPerDelay, maxBurst, maxEvents, recipients, tombstonesDelay, workers } = settings
  const perEvent = tombstonesDelay * workers / (recipients * eventsPerDelay)
  return {
    client: perEvent * (0.3 + 0.35 * (1 + maxBurst)),
    worker: perEvent * lanes * Math.min(30, 0.4 * (1 + maxEvents))
  }
}
