/**
 * Histories of one recipient that watch the order in which waiting events are offered: a store in memory, processes
 * over it, and arrivals as fast as batches. A seed has one history.
 *
 * The model sees what lands in the store and what a processor is offered, and nothing else: an event waits from its
 * landing until the commit that deletes it.
 */
import { Clock, Deferred, Duration, Effect, Exit, Random, Schedule, Schema } from "effect"
import type { Backend, CommitRequest } from "../../src/Backend.ts"
import { mutationKey } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import { MaxHeadBytes } from "../../src/dsset/format/nextHead.ts"
import { headKey, headKind, itemKind, pageKind, readHead, readPageBytes } from "../../src/dsset/format/stored.ts"
import * as Tombstones from "../../src/dsset/format/tombstones.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as EventboxError from "../../src/EventboxError.ts"
import * as Ids from "../../src/Ids.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import * as Processor from "../../src/Processor.ts"
import { Chance } from "../../src/testing/virtual/chance.ts"

/** Where an id comes from, and with that where it sorts. */
export type Style = "drawn" | "before" | "after" | "between" | "random" | "rising" | "falling"

/** What a history is made of. */
export interface Settings {
  readonly seed: number
  /** Events of one batch. */
  readonly batch: number
  /** Events that wait when it begins. */
  readonly backlog: number
  /** Styles of the backlog, and of what arrives. */
  readonly first: ReadonlyArray<Style>
  readonly styles: ReadonlyArray<Style>
  /** How many arrive for each event that is consumed: 1 keeps the backlog as it is. */
  readonly arrivals: number
  readonly processes: number
  /** Whether processes work at the same time. */
  readonly concurrent: boolean
  readonly modes: ReadonlyArray<"process" | "processBatch" | "drain">
  /** A drain is interrupted after so many batches. */
  readonly drainBatches: number
  /** How many events are left one to three times, and how many of the backlog are left for ever. */
  readonly defers: number
  readonly later: number
  /** How often a service that the decision needs goes down, for a call or so. */
  readonly outage: number
  /** How often the state cannot be loaded, and a batch fails with nothing written or with its response lost. */
  readonly loadFailure: number
  readonly transient: number
  /** How often a waiting event is emitted again before a listing. */
  readonly again: number
  readonly maxHeadBytes: number
  /** Listings in all. */
  readonly listings: number
}

/** One process, equal events, nothing that fails. */
export const plain: Settings = {
  seed: 1,
  batch: 5,
  backlog: 100,
  first: ["drawn"],
  styles: ["drawn"],
  arrivals: 1,
  processes: 1,
  concurrent: false,
  modes: ["process"],
  drainBatches: 50,
  defers: 0,
  later: 0,
  outage: 0,
  loadFailure: 0,
  transient: 0,
  again: 0,
  maxHeadBytes: 16 * 1_024,
  listings: 250
}

const allStyles: ReadonlyArray<Style> = ["drawn", "before", "after", "between", "random", "rising", "falling"]

/** Settings drawn from a seed; what is absent in one lets another one hide. */
export const vary = (seed: number): Settings => {
  const chance = new Chance(seed * 2 + 1)
  const some = <A>(value: A, none: A): A => chance.happens(0.5) ? value : none
  const styles = () => allStyles.filter(() => chance.happens(0.35))
  const orAll = (chosen: ReadonlyArray<Style>) => chosen.length === 0 ? [chance.pick(allStyles)] : chosen
  const batch = 1 + chance.below(10)
  const modes = (["process", "processBatch", "drain"] as const).filter(() => chance.happens(0.5))
  return {
    seed,
    batch,
    backlog: chance.below(batch * 20),
    first: orAll(styles()),
    styles: orAll(styles()),
    arrivals: some(1, chance.next()),
    processes: some(1, 1 + chance.below(3)),
    concurrent: chance.happens(0.3),
    modes: modes.length === 0 ? ["process"] : modes,
    drainBatches: 2 + chance.below(60),
    defers: some(0, 0.3 * chance.next()),
    later: some(0, chance.below(3 * batch)),
    outage: some(0, 0.03),
    loadFailure: some(0, 0.1 * chance.next()),
    transient: some(0, 0.2 * chance.next()),
    again: some(0, 0.3),
    maxHeadBytes: chance.pick([16 * 1_024, 1_000, 1]),
    listings: 250
  }
}

class Down extends Schema.TaggedError<Down>()("Down", {}) {}

/** A box whose events say how often they want to be left: -1 for ever. */
class Fair extends Processor.Service<Fair>()("test/Fair", {
  kind: "Fair",
  state: Schema.Int,
  event: Schema.Int,
  error: Down
}) {}

const recipient = Fair.recipient("one")

const delayMillis = 60_000
/** Time from one listing to the next: some windows fit in a history. */
const stepMillis = 1_500

/** Time that goes on when somebody sleeps. */
export const makeClock = () => {
  const time = { now: 1_735_689_600_000 }
  const millis = () => time.now
  const nanos = () => BigInt(time.now) * BigInt(1_000_000)
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.suspend(() => {
        const wait = Duration.toMillis(duration)
        if (!Number.isFinite(wait)) return Effect.never
        time.now += Math.ceil(Math.max(0, wait))
        return Effect.yieldNow
      })
  }
  return { time, clock }
}

interface Waiting {
  /** Listings of each process when it came or was offered last. */
  since: ReadonlyArray<number>
  /** Within so many listings it is to be offered. */
  within: number
  /** How often it is left from now on. */
  left: number
}

/** What waits, and what of it must be offered by when. */
class Model {
  readonly settings: Settings
  readonly chance: Chance
  readonly waiting = new Map<string, Waiting>()
  /** In the order of their consumption. */
  readonly consumed: Array<string> = []
  readonly everConsumed = new Set<string>()
  /** Per process: times of the listings that count. */
  readonly listings: ReadonlyArray<Array<number>>
  /** Per process: listings that do not count, since a failed batch is being taken apart. */
  readonly recovering: Array<number>
  mostWaiting = 0
  /** Arrivals that are to come before the next listing. */
  due = 0
  problem: string | undefined
  private emitted = 0

  constructor(settings: Settings) {
    this.settings = settings
    this.chance = new Chance(settings.seed)
    this.listings = Array.from({ length: settings.processes }, () => [])
    this.recovering = Array.from({ length: settings.processes }, () => 0)
  }

  /** The next id; `undefined` for one that the library draws. */
  nextId(styles: ReadonlyArray<Style>): string | undefined {
    const { chance } = this
    const number = String(++this.emitted).padStart(6, "0")
    const random = chance.next().toString(36).slice(2, 10)
    switch (chance.pick(styles)) {
      case "drawn":
        return undefined
      case "before":
        return `!${random}${number}`
      case "after":
        return `zz${random}${number}`
      case "between":
        return `01943${random}${number}`
      case "random":
        return `order-${random}${number}`
      case "rising":
        return `order-${number}`
      case "falling":
        return `order-${1_000_000 - Number(number)}`
    }
  }

  within(): number {
    return 5 * Math.max(this.waiting.size, 1) / this.settings.batch + 20
  }

  arrived(id: string, left: number): void {
    if (this.everConsumed.has(id) || this.waiting.has(id)) return
    this.waiting.set(id, { since: this.counts(), within: 0, left })
    this.mostWaiting = Math.max(this.mostWaiting, this.waiting.size)
    // What comes together counts together.
    for (const one of this.waiting.values()) if (this.isNew(one)) one.within = this.within()
  }

  /** A processor sees events; returns those that it is to consume. */
  offered<A extends { readonly id: string }>(events: ReadonlyArray<A>): ReadonlyArray<A> {
    return events.filter(({ id }) => {
      const one = this.waiting.get(id)
      // Somebody else was first; the commit will be refused.
      if (one === undefined) return true
      one.since = this.counts()
      one.within = this.within()
      if (one.left > 0) {
        one.left--
        return false
      }
      return one.left === 0
    })
  }

  landed(ids: ReadonlyArray<string>): void {
    for (const id of ids) {
      if (!this.waiting.delete(id)) this.problem ??= `${id} was consumed and did not wait`
      this.everConsumed.add(id)
      this.consumed.push(id)
    }
    this.due += this.chance.happens(this.settings.arrivals % 1)
      ? Math.ceil(this.settings.arrivals * ids.length)
      : Math.floor(this.settings.arrivals * ids.length)
  }

  /** A listing of a process has ended well: everything that waits must have been offered in time. */
  listed(process: number, now: number): void {
    if (this.recovering[process]! > 0) {
      this.recovering[process]!--
      return
    }
    const times = this.listings[process]!
    times.push(now)
    for (const [id, { since, within }] of this.waiting) {
      const passed = times.length - since[process]!
      if (passed <= within) continue
      this.problem ??= `${id} was not offered in ${passed} listings of process ${process}; ` +
        `${this.waiting.size} wait, batches have ${this.settings.batch}`
    }
  }

  /** A batch failed: it may be taken apart, into halves of halves. */
  failed(process: number): void {
    this.recovering[process] = 2 * Math.ceil(Math.log2(this.settings.batch + 1)) + 2
  }

  /** Whether no listing has ended since it came. */
  private isNew({ since }: Waiting): boolean {
    return this.listings.every((times, process) => times.length === since[process])
  }

  private counts(): ReadonlyArray<number> {
    return this.listings.map(({ length }) => length)
  }
}

const transientFailure = (chance: Chance) =>
  chance.happens(0.5)
    ? new EventboxError.ContentionError({ reason: new EventboxError.Aborted({}) })
    : new EventboxError.DatastoreError({
      operation: "commit",
      reason: new EventboxError.Unavailable({ detail: "for a moment" })
    })

const itemsDeleted = ({ mutations }: CommitRequest): ReadonlyArray<string> =>
  mutations.flatMap((mutation) =>
    mutation._tag === "Delete" && mutation.key.kind === itemKind ? [String(mutation.key.id)] : []
  )

interface Shared {
  readonly model: Model
  readonly backend: Backend
  readonly time: { now: number }
  /** Sends what is due. */
  readonly arrive: Effect.Effect<void>
}

/** The way of one process to the store. */
const connect = ({ arrive, backend, model, time }: Shared, process: number): Backend => {
  const { chance, settings } = model
  const landed = (request: CommitRequest) =>
    Effect.sync(() => {
      model.landed(itemsDeleted(request))
      model.listed(process, time.now)
    })
  const lost = new EventboxError.DatastoreError({
    operation: "commit",
    reason: new EventboxError.OutcomeUnknown({ detail: "lost" })
  })
  return {
    ...backend,
    query: (query) => query.kind === itemKind ? Effect.andThen(arrive, backend.query(query)) : backend.query(query),
    commit: (request) =>
      Effect.suspend(() => {
        if (!request.mutations.some((mutation) => mutationKey(mutation).kind === headKind)) {
          return backend.commit(request)
        }
        const fails = chance.happens(settings.transient)
        if (fails && chance.happens(0.7)) return Effect.fail(transientFailure(chance))
        const landing = Effect.tap(backend.commit(request), landed(request))
        return fails ? Effect.andThen(landing, Effect.fail(lost)) : landing
      })
  }
}

/** One process: its memory, its processor, and its calls. */
const makeProcess = Effect.fnUntraced(function*(shared: Shared, number: number) {
  const { model, time } = shared
  const { chance, settings } = model
  const datastore = yield* Datastore.make(connect(shared, number))
  const now = { isDown: false, attempts: 0, stop: yield* Deferred.make<void>() }
  const processor: Processor.Processor<Fair, number, number, Down> = {
    loadState: () =>
      Effect.suspend(() => {
        time.now += stepMillis
        if (++now.attempts > settings.drainBatches) Deferred.doneUnsafe(now.stop, Effect.void)
        if (chance.happens(settings.loadFailure)) return Effect.fail(new Down())
        return Effect.succeed({ state: 0, eversion: Processor.EVersion.make(0) })
      }),
    prepareMutation: (events, state) =>
      Effect.suspend(() => {
        const chosen = model.offered(events)
        if (now.isDown) {
          model.failed(number)
          return Effect.fail(new Down())
        }
        if (chosen.length === 0) model.listed(number, time.now)
        const mutation = { transitions: chosen.length === 0 ? [] : [{ events: chosen, transitionTo: state }] }
        return settings.concurrent ? Effect.as(Effect.yieldNow, mutation) : Effect.succeed(mutation)
      }),
    saveState: () => Effect.die(new Error("the state never changes"))
  }
  const options = { maxEvents: settings.batch, retry: Schedule.recurs(10) }
  const modes: Record<
    Settings["modes"][number],
    Effect.Effect<unknown, unknown, Fair | Datastore.Datastore>
  > = {
    process: Eventbox.process(Fair, recipient, options),
    processBatch: Eventbox.processBatch(Fair, recipient, { maxEvents: settings.batch }),
    drain: Eventbox.drain(Fair, recipient, options)
  }
  return Effect.suspend(() => {
    now.isDown = chance.happens(settings.outage)
    now.attempts = 0
    now.stop = Deferred.makeUnsafe()
    return modes[chance.pick(settings.modes)].pipe(
      Effect.raceFirst(Deferred.await(now.stop)),
      Effect.provideService(Fair, processor),
      Effect.provideService(Datastore.Datastore, datastore),
      Effect.exit,
      Effect.map((exit) => {
        if (Exit.isSuccess(exit)) return
        for (const reason of exit.cause.reasons) {
          if (reason._tag === "Die") model.problem ??= `died: ${String(reason.defect)}`
        }
      })
    )
  })
})

/** Tombstones are erased about as often as events are offered: the head and its pages end with the window. */
const checkErased = ({ backend, model, time }: Shared) =>
  Effect.gen(function*() {
    // It takes a pop to erase what a listing has covered.
    const within = 1.5 * (5 * model.mostWaiting / model.settings.batch + 21)
    const [head] = yield* backend.lookup([headKey(recipient.key)])
    const { results } = yield* backend.query({ kind: pageKind, ancestor: recipient.key })
    const inHead = readHead(head!)!.pops.filter((pop) => Tombstones.idsOf(pop).length > 0)
    const inPages = results.map((page) => {
      const pops = Tombstones.decode(readPageBytes(page)!)!
      // A page goes as a whole.
      return pops.reduce((newest, pop) => pop.atMillis > newest.atMillis ? pop : newest)
    })
    for (const pop of [...inHead, ...inPages]) {
      const endMillis = pop.atMillis + delayMillis
      for (const [process, times] of model.listings.entries()) {
        const passed = times.filter((at) => at > endMillis + stepMillis).length
        if (passed <= within) continue
        model.problem ??=
          `the tombstone of ${Tombstones.idsOf(pop)[0]} is still there, ${passed} listings of process ` +
          `${process} after its window, which ended ${time.now - endMillis} ms ago`
      }
    }
  })

/** How often tombstones are looked at. */
const callsPerCheck = 40

/** Runs one history, and says what was wrong with it. */
export const runHistory = Effect.fnUntraced(function*(settings: Settings) {
  const { clock, time } = makeClock()
  const model = new Model(settings)
  const { backend } = yield* InMemory.makeStore
  const ids = yield* Random.withSeed(Ids.makeSeeded, settings.seed)
  const emitter = yield* Datastore.make({
    ...backend,
    commit: (request) =>
      Effect.tap(backend.commit(request), () =>
        Effect.sync(() => {
          for (const mutation of request.mutations) {
            if (mutation._tag !== "Upsert" || mutation.entity.key.kind !== itemKind) continue
            const value = new TextDecoder().decode(mutation.entity.properties["Value"] as Uint8Array)
            model.arrived(String(mutation.entity.key.id), JSON.parse(value))
          }
        }))
  })
  const emit = (styles: ReadonlyArray<Style>, left: number) =>
    Effect.suspend(() => Eventbox.emit(Fair, recipient, left, { id: model.nextId(styles) })).pipe(
      Effect.provideService(Datastore.Datastore, emitter),
      Effect.orDie
    )
  const some = () => model.chance.happens(settings.defers) ? 1 + model.chance.below(3) : 0
  const arrive: Effect.Effect<void> = Effect.gen(function*() {
    const count = model.due
    model.due = 0
    for (let n = 0; n < count; n++) yield* emit(settings.styles, some())
    if (model.waiting.size === 0 || !model.chance.happens(settings.again)) return
    const [id, { left }] = Array.from(model.waiting)[model.chance.below(model.waiting.size)]!
    yield* Effect.orDie(Eventbox.emit(Fair, recipient, left, { id }))
  }).pipe(Effect.provideService(Datastore.Datastore, emitter))
  const shared = { model, backend, time, arrive }

  const history = Effect.gen(function*() {
    const processes = yield* Effect.forEach(
      Array.from({ length: settings.processes }, (_, number) => number),
      (number) => makeProcess(shared, number)
    )
    for (let n = 0; n < settings.backlog; n++) yield* emit(settings.first, n < settings.later ? -1 : some())
    const total = () => model.listings.reduce((sum, { length }) => sum + length, 0)
    for (let calls = 0; calls < 4 * settings.listings && total() < settings.listings; calls++) {
      // Something always comes.
      if (model.due === 0 && model.waiting.size <= settings.later) model.due = settings.batch
      if (settings.concurrent) yield* Effect.all(processes, { concurrency: "unbounded", discard: true })
      else yield* model.chance.pick(processes)
      if (calls % callsPerCheck === 0 && settings.later === 0) yield* checkErased(shared)
      if (model.problem !== undefined) break
    }
  })
  yield* history.pipe(
    Effect.provideService(Clock.Clock, clock),
    Effect.provideService(Ids.Ids, ids),
    Effect.provideService(MaxHeadBytes, settings.maxHeadBytes),
    Effect.provideService(Eventbox.TombstonesDelay, Duration.millis(delayMillis))
  )
  return model
}, Effect.scoped)
