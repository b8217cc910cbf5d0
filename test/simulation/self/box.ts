/**
 * The workload: a box whose events add to a sum, with everything that the library allows, chosen at random:
 * emits alone, in bursts, in transactions and as side effects, ids given and drawn, repeated and used again, garbage,
 * events left for later, transitions that keep the state, processors that fail.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { CommitRequest } from "../../../src/Backend.ts"
import * as Datastore from "../../../src/Datastore.ts"
import * as DsSet from "../../../src/DsSet.ts"
import * as Eventbox from "../../../src/Eventbox.ts"
import { isUnknownOutcome } from "../../../src/EventboxError.ts"
import * as Key from "../../../src/Key.ts"
import * as Processor from "../../../src/Processor.ts"
import type { Job, Trial } from "../../../src/testing/simulate/history.ts"
import type { Chance } from "../../../src/testing/virtual/chance.ts"
import {
  type Batch,
  type BoxState,
  consume,
  type Emission,
  kinds,
  Ledger,
  type Payload,
  recipientOf,
  type Work
} from "./ledger.ts"
import type { Settings } from "./settings.ts"

class SimFailure extends Schema.TaggedError<SimFailure>("test/simulation/SimFailure")("SimFailure", {}) {}

class SimBox extends Processor.Service<SimBox>()("test/simulation/SimBox", {
  kind: kinds.box,
  state: Schema.Struct({ count: Schema.Int, sum: Schema.Int }),
  event: Schema.Struct({ serial: Schema.Int, keeps: Schema.Boolean, worthless: Schema.Boolean, hops: Schema.Int }),
  error: SimFailure
}) {}

type Event = Processor.Event<Payload>
type Box = Processor.Processor<SimBox, BoxState, Payload, SimFailure>
type Decision = ReturnType<Box["prepareMutation"]>
type Transition = Processor.Transition<BoxState, Payload, SimFailure>

/** The call that a batch belongs to. */
const CurrentWork = Context.Reference<Work | undefined>("test/simulation/CurrentWork", {
  defaultValue: () => undefined
})

/** An emission whose id may be used again. */
interface Known {
  readonly emission: Emission
  readonly id: string
  readonly atMillis: number
}

/** Most of these have a use again within a history of the default size. */
const maxKnown = 3_000
const counters = 5
const encoder = new TextEncoder()

/** What clients and workers do, and the checker that watches them. */
export class SelfTest implements Job {
  /** Whether the processor must consume all it is given, since the end is near. */
  isSettling = false
  private readonly settings: Settings
  readonly ledger: Ledger
  private readonly chance: Chance
  private readonly now: () => number
  private readonly known: Array<Known> = []
  /** What a writer from outside had written when a state was loaded. */
  private readonly notes = new WeakMap<BoxState, number>()
  private readonly recipients: ReadonlyArray<Processor.Recipient<SimBox>>
  private readonly box: Box

  constructor(settings: Settings, { chance, now, object }: Trial) {
    this.settings = settings
    this.ledger = new Ledger({ delayMillis: settings.tombstonesDelay, skewMillis: settings.maxSkew, now, object })
    this.chance = chance
    this.now = now
    this.recipients = Array.from({ length: settings.recipients }, (_, at) => SimBox.recipient(keyOf(at + 1)))
    const box = Effect.runSync(SimBox.entity({
      initial: () => ({ count: 0, sum: 0 }),
      prepareMutation: (events, state, { key }) => this.decide(events, state, Number(key.id))
    }))
    this.box = chance.happens(0.3)
      ? { ...box, fetchEVersion }
      : { ...box, loadState: this.loadWithNotes(box.loadState) }
  }

  isEnough(): boolean {
    return this.ledger.counts.emitted >= this.settings.events
  }

  landed(request: CommitRequest, process: string): void {
    this.ledger.landed(request, process)
  }

  faltered(request: CommitRequest, process: string): void {
    this.ledger.faltered(request, process)
  }

  /** One thing that a client does. */
  client(): Effect.Effect<void, never, Datastore.Datastore> {
    return Effect.suspend(() => {
      const { chance } = this
      if (chance.happens(this.settings.repeats)) {
        const again = chance.happens(0.5) ? this.pickKnown() : this.pickAtEnd()
        if (again !== undefined) return this.repeat(again)
      }
      const recipient = this.pickRecipient()
      if (chance.happens(0.05)) return this.emitInTransaction(recipient)
      if (chance.happens(0.03)) return this.writeNote(recipient)
      return this.emitMany(recipient, chance.happens(0.3) ? 1 : 1 + chance.below(this.settings.maxBurst))
    })
  }

  /** One thing that a worker does. */
  worker(): Effect.Effect<void, never, Datastore.Datastore> {
    return Effect.suspend(() => {
      const recipient = this.recipient(this.pickRecipient())
      const maxEvents = 1 + this.chance.below(this.settings.maxEvents)
      switch (this.chance.below(10)) {
        case 0:
          return this.work(Eventbox.drain(SimBox, recipient, { maxEvents }))
        case 1:
          return this.work(Effect.timeoutOption(Eventbox.process(SimBox, recipient, { maxEvents }), "1 second"))
        case 2:
        case 3:
          return this.work(Eventbox.process(SimBox, recipient, { maxEvents }))
        default:
          return this.work(Effect.flatMap(
            Eventbox.processBatch(SimBox, recipient, { maxEvents }),
            ({ postProcess, truncated }) => {
              if (truncated) this.ledger.counts.truncated++
              return Effect.forEach(postProcess, (effect) => effect, { discard: true })
            }
          ))
      }
    })
  }

  /** Processes all recipients until nothing is left; then lets the ids be forgotten, and sees that they are. */
  settle(): Effect.Effect<void, unknown, Datastore.Datastore> {
    return Effect.gen({ self: this }, function*() {
      this.isSettling = true
      const { ledger, settings } = this
      let isIdle = false
      for (let pass = 0; !isIdle; pass++) {
        if (pass === 50) return ledger.object("Unsettled", "after 50 passes over all recipients, events are left")
        isIdle = true
        for (const number of ledger.known()) {
          const summary = yield* this.provide(
            Eventbox.drain(SimBox, this.recipient(number), { maxEvents: settings.maxEvents })
          )
          if (summary.consumed + summary.garbage > 0) isIdle = false
        }
      }
      // The deletes in the background have their time too.
      yield* Effect.sleep(30_000)
      const left = yield* Datastore.query({ kind: kinds.item })
      ledger.settled()
      for (const { key } of left.results) ledger.object("Unsettled", `${key} is left`, recipientOf(key))
      yield* this.forget()
    })
  }

  /** The tombstones of a recipient that goes on working do not pile up. */
  private forget(): Effect.Effect<void, unknown, Datastore.Datastore> {
    return Effect.gen({ self: this }, function*() {
      yield* Effect.sleep(2 * this.settings.tombstonesDelay)
      for (const number of this.ledger.known().slice(0, 20)) {
        const recipient = this.recipient(number)
        // One batch deletes at most 200 pages, and with tiny heads there may be thousands.
        for (let batch = 0; batch === 0 || batch < 50 && !this.ledger.hasForgotten(number); batch++) {
          const emission = this.ledger.emit(number, { keeps: true, worthless: false, hops: 0 })
          yield* Eventbox.emit(SimBox, recipient, emission.payload)
          yield* this.provide(Eventbox.drain(SimBox, recipient))
          // What else holds tombstones may be deleted in the background.
          yield* Effect.sleep(this.settings.tombstonesDelay / 200)
        }
        this.ledger.forgot(number)
      }
    })
  }

  // Clients

  private emitMany(number: number, size: number): Effect.Effect<void, never, Datastore.Datastore> {
    const hasIds = this.chance.happens(0.6)
    const emissions = Array.from({ length: size }, () => this.register(number, hasIds ? this.drawId() : undefined))
    const recipient = this.recipient(number)
    const [first] = emissions
    if (size === 1) return this.send(emissions, Eventbox.emit(SimBox, recipient, first!.payload, { id: first!.id }))
    const values = emissions.map(({ payload }) => payload)
    const options = hasIds ? { id: (_: unknown, at: number) => emissions[at]!.id! } : {}
    return this.send(emissions, Eventbox.emitAll(SimBox, recipient, values, options))
  }

  private emitInTransaction(number: number): Effect.Effect<void, never, Datastore.Datastore> {
    const counter = 1 + this.chance.below(counters)
    const emission = this.register(number, this.drawId(), counter)
    const emit = Eventbox.emit(SimBox, this.recipient(number), emission.payload, { id: emission.id })
    return this.send([emission], Datastore.withTransaction(Effect.andThen(raise(counter), emit)), true)
  }

  /** A writer that knows nothing of the box, and changes the entity that holds the state. */
  private writeNote(number: number): Effect.Effect<void, never, Datastore.Datastore> {
    const { key } = this.recipient(number)
    return Effect.ignore(Datastore.withTransaction(Effect.flatMap(Datastore.get(key), (found) => {
      const properties = Option.getOrUndefined(found)?.properties
      const notes = Number(properties?.["Notes"] ?? 0) + 1
      return Datastore.put([{ key, properties: { ...properties, Notes: notes }, unindexed: "all" }])
    })))
  }

  /** Emits an id again: as a retry of the same emission, or as a new one. */
  private repeat({ atMillis, emission, id }: Known): Effect.Effect<void, never, Datastore.Datastore> {
    const { chance, ledger, settings } = this
    const isYoung = this.now() - atMillis < settings.tombstonesDelay
    const recipient = this.recipient(emission.recipient)
    ledger.counts.repeated++
    const isAlone = emission.attempt === undefined && emission.counter === undefined
    if (isAlone && chance.happens(isYoung ? 0.5 : 0.2)) {
      // What a sender does whose own retries the library does not see.
      const value = encoder.encode(JSON.stringify(emission.payload))
      const set = DsSet.make({ parent: recipient.key })
      ledger.counts.emitted++
      emission.isResent = true
      return this.send([emission], DsSet.add(set, [{ id, value, atMillis }]))
    }
    const next = ledger.emit(emission.recipient, { ...emission.payload, id })
    if (!isYoung) this.remember(next, id)
    return this.send([next], Eventbox.emit(SimBox, recipient, next.payload, { id }))
  }

  private register(recipient: number, id: string | undefined, counter?: number): Emission {
    const { chance, ledger, settings } = this
    const emission = ledger.emit(recipient, {
      keeps: chance.happens(settings.keeps),
      worthless: chance.happens(settings.garbage),
      hops: chance.happens(settings.sideEffects) ? 1 + chance.below(2) : 0,
      id,
      counter
    })
    if (id !== undefined) this.remember(emission, id)
    return emission
  }

  private remember(emission: Emission, id: string): void {
    if (this.known.length >= maxKnown) this.known.shift()
    this.known.push({ emission, id, atMillis: Math.floor(this.now()) })
  }

  /** Runs an emit, and tells the checker what its sender was told. */
  private send<A, E>(
    emissions: ReadonlyArray<Emission>,
    effect: Effect.Effect<A, E, Datastore.Datastore>,
    isTransaction = false
  ): Effect.Effect<void, never, Datastore.Datastore> {
    return Effect.flatMap(Effect.exit(effect), (exit) => {
      if (Exit.isSuccess(exit)) { for (const emission of emissions) this.ledger.accepted(emission) }
      else if (isTransaction && outcomeOf(exit) === "failure") {
        for (const emission of emissions) this.ledger.refused(emission)
      }
      return rethrown(exit)
    })
  }

  /** Ids of several shapes; two of them are in another order by bytes than in JavaScript. */
  private drawId(): string {
    return `${this.chance.pick(["", "", "", "\uff5e", "\u{1f600}", "z"])}${this.ledger.counts.emitted}`
  }

  private pickKnown(): Known | undefined {
    if (this.known.length === 0) return undefined
    // Old and young ones alike, though most are young.
    const oldest = this.known[0]!.atMillis
    const from = this.chance.between(Math.max(oldest, this.now() - 2 * this.settings.tombstonesDelay), this.now())
    let low = 0
    let high = this.known.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.known[middle]!.atMillis >= from) high = middle
      else low = middle + 1
    }
    return this.known[low]
  }

  /** Where the window of an id ends, every rule about time shows. */
  private pickAtEnd(): Known | undefined {
    return this.ledger.atEndOfWindow(3 * this.settings.maxDelay, (count) => this.chance.below(count))
  }

  /** Some get far more than others: that is where workers meet. */
  private pickRecipient(): number {
    return 1 + Math.floor(this.settings.recipients * this.chance.next() ** 3)
  }

  private recipient(number: number): Processor.Recipient<SimBox> {
    return this.recipients[number - 1]!
  }

  // Workers

  private provide<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, SimBox>> {
    return Effect.provideService(effect, SimBox, this.box)
  }

  /** Runs a call, and tells the checker how it came out. */
  private work<A, E>(
    effect: Effect.Effect<A, E, Datastore.Datastore | SimBox>
  ): Effect.Effect<void, never, Datastore.Datastore> {
    const work = this.ledger.begin()
    return Effect.flatMap(
      Effect.exit(this.provide(Effect.provideService(effect, CurrentWork, work))),
      (exit) => {
        const outcome = outcomeOf(exit)
        // Of a call that was interrupted nothing is known.
        const isCut = Exit.isSuccess(exit) && Option.isOption(exit.value) && Option.isNone(exit.value)
        if (outcome !== undefined && !isCut) this.ledger.end(work, outcome)
        return rethrown(exit)
      }
    )
  }

  private loadWithNotes(load: Box["loadState"]): Box["loadState"] {
    return (recipient) =>
      Effect.map(
        Effect.all([load(recipient), Datastore.get(recipient.key)], { concurrency: "unbounded" }),
        ([loaded, found]) => {
          this.notes.set(loaded.state, Number(Option.getOrUndefined(found)?.properties["Notes"] ?? 0))
          return loaded
        }
      )
  }

  private decide(
    events: ReadonlyArray<Event>,
    state: BoxState,
    number: number
  ): Decision {
    return Effect.flatMap(CurrentWork, (current): Decision => {
      const { chance, ledger } = this
      const work = current ?? ledger.begin()
      const attempt = ledger.attempt(work, number)
      const garbage = events.filter(({ value }) => value.worthless)
      const worthy = events.filter(({ value }) => !value.worthless)
      if (!this.isSettling && chance.happens(0.02)) {
        return chance.happens(0.5)
          ? Effect.fail(new SimFailure({}))
          : Processor.failWithGarbage(new SimFailure({}), garbage)
      }
      const isLeaving = !this.isSettling && chance.happens(0.15)
      const taken = isLeaving ? worthy.filter(() => chance.happens(0.6)) : worthy
      // A batch may consume nothing, and still do something.
      if (taken.length === 0 && (this.isSettling || !chance.happens(0.1))) {
        return Effect.succeed({ transitions: [], garbage })
      }
      const mutation = { transitions: this.transitions(taken, state, attempt, number), garbage }
      // Now and then somebody else writes just after the state was loaded. // E1
      return Effect.as(!this.isSettling && chance.happens(0.02) ? this.writeNote(number) : Effect.void, mutation)
    })
  }

  /** One or two transitions over these events. */
  private transitions(
    taken: ReadonlyArray<Event>,
    state: BoxState,
    attempt: number,
    number: number
  ): ReadonlyArray<Transition> {
    const notes = this.notes.get(state)
    const ids = taken.map(({ id }) => id)
    const serials = taken.map(({ value }) => value.serial)
    const cut = this.chance.happens(0.3) ? this.chance.below(taken.length + 1) : taken.length
    const first = taken.slice(0, cut)
    const second = taken.slice(cut)
    const followers = taken.filter(({ value }) => value.hops > 0).map(({ value }) => this.follow(value, attempt))
    const shared = this.chance.happens(0.05) ? raise(1 + this.chance.below(counters)) : undefined
    const seen = this.chance.happens(0.05) ? look(1 + this.chance.below(counters)) : Effect.undefined
    // The clock is read last, so that the batch is no older than its tombstones.
    const write = Effect.flatMap(seen, (read) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (atMillis) => putBatch(this.recipient(number).key, { attempt, atMillis, ids, serials, notes, seen: read })
      ))
    const between = nextState(state, first)
    const transitions: Array<Transition> = []
    if (first.length > 0) {
      transitions.push({ events: first, transitionTo: between, sideEffect: Processor.Chain(shared, ...followers) })
    }
    const postProcess = Effect.sync(() => this.ledger.postProcessed(attempt))
    const isWhole = second.length === 0
    transitions.push({
      events: isWhole ? [] : second,
      transitionTo: isWhole ? between : nextState(between, second),
      sideEffect: isWhole || first.length > 0 ? write : Processor.Chain(shared, ...followers, write),
      postProcess
    })
    return transitions
  }

  /** What follows from an event: another one, for anybody, in the same commit. */
  private follow({ hops }: Payload, attempt: number): Processor.SideEffect<SimFailure> {
    return Effect.suspend(() => {
      const number = this.pickRecipient()
      const emission = this.ledger.emit(number, {
        keeps: this.chance.happens(0.5),
        worthless: false,
        hops: hops - 1,
        attempt
      })
      return Eventbox.emit(SimBox, this.recipient(number), emission.payload)
    })
  }
}

/** Every fifth recipient lies below the one before it, whose items must not be mistaken for its own. */
const keyOf = (number: number): Key.Key =>
  number % 5 === 0 ? Key.child(keyOf(number - 1), kinds.box, number) : Key.make(kinds.box, number)

const nextState = (state: BoxState, events: ReadonlyArray<Event>): BoxState =>
  events.reduce((next, { value }) => value.keeps ? next : consume(next, value), state)

const putBatch = (recipient: Key.Key, batch: Batch) =>
  Datastore.put([{
    key: Key.child(recipient, kinds.batch, 1),
    properties: { Batch: JSON.stringify(batch) },
    unindexed: "all"
  }])

/** Reads a counter of others. */
const look = (counter: number) =>
  Effect.map(Datastore.get(Key.make(kinds.counter, counter)), (found) => ({
    counter,
    count: Number(Option.getOrUndefined(found)?.properties["Count"] ?? 0)
  }))

/** Another way to see that the state is the one that was loaded. */
const fetchEVersion = ({ key }: Processor.Recipient<SimBox>) =>
  Effect.map(
    Datastore.get(key),
    (found) => Number(Option.getOrUndefined(found)?.properties["EVersion"] ?? 0) as Processor.EVersion
  )

/** Raises a counter that transactions of all recipients share. */
const raise = (counter: number) => {
  const key = Key.make(kinds.counter, counter)
  return Effect.flatMap(Datastore.get(key), (found) => {
    const count = Number(Option.getOrUndefined(found)?.properties["Count"] ?? 0)
    return Datastore.put([{ key, properties: { Count: count + 1 }, unindexed: "all" }])
  })
}

/** How a call came out; `undefined` when it was interrupted or died. */
const outcomeOf = (exit: Exit.Exit<unknown, unknown>): "success" | "unknown" | "failure" | undefined => {
  if (Exit.isSuccess(exit)) return "success"
  const errors = exit.cause.reasons.flatMap((reason) => reason._tag === "Fail" ? [reason.error] : [])
  if (errors.length === 0) return undefined
  return errors.some(isUnknownOutcome) ? "unknown" : "failure"
}

/** Only defects and interruption go on: failures are part of the trouble. */
const rethrown = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Exit.isSuccess(exit) || outcomeOf(exit) !== undefined ? Effect.void : exit as Exit.Exit<never>
