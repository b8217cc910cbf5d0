/**
 * The checker of a simulated history. It knows what was emitted, and watches every commit as it lands; what the library
 * says about itself it only ever compares with these.
 *
 * What is stored is consumed by the one batch that deletes it, whatever clocks say. Which ids are hidden, and for how
 * long, `mailbox.ts` says.
 */
import { type CommitRequest, type Mutation, mutationKey } from "../../../src/Backend.ts"
import * as Entity from "../../../src/Entity.ts"
import type { Key } from "../../../src/Key.ts"
import { type Instance, Mailbox, type Window } from "./mailbox.ts"
import { holdsTombstones, isPage, type Tombstones, TombstonesOf } from "./tombstones.ts"

/** Kinds that a history stores, save those of tombstones. */
export const kinds = {
  box: "SimBox",
  batch: "SimBatch",
  counter: "SimCounter",
  item: "dsset.Item"
}

/** What an event of the box carries; the checker finds it in the stored bytes. */
export interface Payload {
  /** Names the emission. */
  readonly serial: number
  /** Consuming it does not change the state. */
  readonly keeps: boolean
  /** The processor declares it garbage. */
  readonly worthless: boolean
  /** Side effects that may still follow from it, one after the other. */
  readonly hops: number
}

/**
 * What the side effect of a batch writes, as JSON: the commit that it lands in is the one that consumed these events.
 */
export interface Batch {
  readonly attempt: number
  /** The clock of the worker, just before the tombstones were made. */
  readonly atMillis: number
  readonly ids: ReadonlyArray<string>
  readonly serials: ReadonlyArray<number>
  /** Notes of others beside the state when it was loaded, if the commit must expect all that was. */
  readonly notes?: number | undefined
  /** A counter that the transaction read and did not write, and what it saw. */
  readonly seen?: { readonly counter: number; readonly count: number } | undefined
}

/** State of a recipient of the box. */
export interface BoxState {
  readonly count: number
  readonly sum: number
}

/** The state after one event more. */
export const consume = ({ count, sum }: BoxState, { serial }: Payload): BoxState => ({
  count: count + 1,
  sum: (sum + serial * 7_919) % 1_000_003
})

/** One value that somebody tries to emit; all its tries carry it. */
export interface Emission {
  readonly payload: Payload
  readonly recipient: number
  /** Unknown when the library draws it, until the event lands. */
  id: string | undefined
  landings: number
  /** Its sender was told that it was not written. */
  isRefused: boolean
  /** Its sender tries again by itself, whenever it likes. */
  isResent: boolean
  isConsumed: boolean
  /** The batch whose side effect it is. */
  readonly attempt: number | undefined
  /** The counter that the transaction of its sender raises. */
  readonly counter: number | undefined
}

interface Recipient {
  readonly mailboxes: Map<string, Mailbox<Emission>>
  readonly tombstones: TombstonesOf
  /** Tokens of all pops, in the order in which they landed. */
  readonly tokens: Array<string>
  /** Processes that were told that a batch of theirs has not landed. */
  readonly losers: Set<string>
  state: BoxState
  eversion: number
  /** Raised by writers who know nothing of the box. */
  notes: number
}

/** One run of a processor for one batch. */
interface Attempt {
  readonly recipient: number
  readonly call: number
  hasLanded: boolean
  /** Pops of its recipient up to its own. */
  pops: number
  isRefused: boolean
  postProcessed: number
}

/** A call of `processBatch`, `process` or `drain` by a worker. */
export interface Work {
  readonly number: number
  readonly attempts: Array<number>
}

/** How a call came out, as its caller saw it. */
export type Outcome = "success" | "unknown" | "failure"

/**
 * What may be broken.
 *
 * | rule | means |
 * |---|---|
 * | `Lost` | an event was deleted that nobody had consumed, or a value that nobody saw, or an emit stored nothing |
 * | `Doubled` | an event was consumed, a batch landed, or a post-process effect ran twice |
 * | `Repeated` | an event was consumed again, though its id was repeated within the window |
 * | `Invented` | an event that nobody emitted, or garbage that was consumed |
 * | `Outcome` | a caller was told something else about a commit than what happened |
 * | `Version` | a state that does not follow from the one before and its events |
 * | `Atomicity` | a part of a commit without the rest |
 * | `Erased` | a tombstone was erased before its time, or while its item was stored, or a token that is still looked for |
 * | `Window` | a tombstone with a time that is neither its worker's nor that of what it popped |
 * | `Limit` | an entity above its limit, or tombstones that pile up |
 * | `Unsettled` | events that are left long after the faults have stopped |
 * | `Stuck` | a process that never comes to rest |
 * | `Died` | a defect |
 * | `Check` | the workload failed while it settled what was left |
 */
export const rules = [
  "Lost",
  "Doubled",
  "Repeated",
  "Invented",
  "Outcome",
  "Version",
  "Atomicity",
  "Erased",
  "Window",
  "Limit",
  "Unsettled",
  "Stuck",
  "Died",
  "Check"
] as const

/** Counts for the report; by the checker, not by the library. */
export interface Counts {
  emitted: number
  repeated: number
  followed: number
  landed: number
  consumed: number
  garbage: number
  hidden: number
  batches: number
  attempts: number
  refused: number
  unknown: number
  /** Batches whose listing did not hold all events. */
  truncated: number
  /** Tombstones that were erased. */
  erased: number
  /** Pages of tombstones that were written, and those that were deleted. */
  pages: number
  deletedPages: number
  /** Bytes of the largest entity that holds tombstones. */
  largestTombstones: number
}

/** What was emitted, what landed, and what must not have. */
export class Ledger {
  readonly counts: Counts = {
    emitted: 0,
    repeated: 0,
    followed: 0,
    landed: 0,
    consumed: 0,
    garbage: 0,
    hidden: 0,
    batches: 0,
    attempts: 0,
    refused: 0,
    unknown: 0,
    truncated: 0,
    erased: 0,
    pages: 0,
    deletedPages: 0,
    largestTombstones: 0
  }
  /** Objects to something that must not happen, about a recipient if it is about one. */
  readonly object: (rule: typeof rules[number], detail: string, recipient?: number) => void
  private readonly window: Window
  /** Whether clocks agree so far that nothing is taken for expired that another process still looks for. */
  private readonly areClocksClose: boolean
  private readonly now: () => number
  private readonly recipients = new Map<number, Recipient>()
  private readonly emissions: Array<Emission> = []
  private readonly attempts: Array<Attempt> = []
  private readonly counters = new Map<number, number>()
  /** Consumed instances, in the order in which their windows end. */
  private readonly windows: Array<{ readonly endMillis: number; readonly instance: Instance<Emission> }> = []
  private firstWindow = 0
  private calls = 0

  constructor(options: {
    readonly delayMillis: number
    readonly skewMillis: number
    readonly now: () => number
    readonly object: Ledger["object"]
  }) {
    this.window = options
    this.areClocksClose = 4 * options.skewMillis < options.delayMillis
    this.now = options.now
    this.object = options.object
  }

  // What is emitted

  /** Registers a value before it is sent. */
  emit(
    recipient: number,
    options: Omit<Payload, "serial"> & {
      readonly id?: string | undefined
      readonly attempt?: number | undefined
      readonly counter?: number | undefined
    }
  ): Emission {
    const { attempt, counter, hops, id, keeps, worthless } = options
    const payload = { serial: this.emissions.length, keeps, worthless, hops }
    const so = { landings: 0, isRefused: false, isResent: false, isConsumed: false }
    const emission = { payload, recipient, id, attempt, counter, ...so }
    this.emissions.push(emission)
    if (attempt === undefined) this.counts.emitted++
    return emission
  }

  /** The sender was told that its event is stored. */
  accepted(emission: Emission): void {
    if (emission.landings > 0) return
    this.object("Lost", `the emit of ${name(emission)} succeeded, and nothing was stored`, emission.recipient)
  }

  /** The sender was told that nothing was written. */
  refused(emission: Emission): void {
    emission.isRefused = true
    if (emission.landings === 0) return
    this.object("Outcome", `the emit of ${name(emission)} failed as not written, and was stored`, emission.recipient)
  }

  // What is processed

  begin(): Work {
    return { number: this.calls++, attempts: [] }
  }

  /** The processor was asked to decide, in this call. */
  attempt(work: Work, recipient: number): number {
    const number = this.attempts.length
    this.attempts.push({ recipient, call: work.number, hasLanded: false, pops: 0, isRefused: false, postProcessed: 0 })
    work.attempts.push(number)
    this.counts.attempts++
    return number
  }

  /** A post-process effect of a batch ran. */
  postProcessed(number: number): void {
    const attempt = this.attempts[number]!
    attempt.postProcessed++
    const what = `post-process effect of batch ${number}`
    if (!attempt.hasLanded) this.object("Outcome", `the ${what} ran, and the batch has not landed`, attempt.recipient)
    if (attempt.postProcessed > 1) this.object("Doubled", `the ${what} ran twice`, attempt.recipient)
  }

  /** The worker's call returned. */
  end(work: Work, outcome: Outcome): void {
    const lost: Array<number> = []
    for (const number of work.attempts) {
      const attempt = this.attempts[number]!
      if (attempt.hasLanded && attempt.postProcessed === 0 && this.isTokenKept(attempt)) lost.push(number)
      if (!attempt.hasLanded && outcome !== "unknown") {
        attempt.isRefused = true
        this.counts.refused++
      }
    }
    if (outcome === "unknown") this.counts.unknown++
    if (lost.length <= (outcome === "unknown" ? 1 : 0)) return
    const detail = `batch ${lost[0]} landed, the call ended as a ${outcome}, and its post-process effect did not run`
    this.object("Outcome", detail, this.attempts[lost[0]!]!.recipient)
  }

  /** A process was told that its commit has not landed, or that nobody knows: the next batch may expect no items. */
  faltered({ mutations }: CommitRequest, process: string): void {
    const head = mutations.map(mutationKey).find(holdsTombstones)
    if (head !== undefined) this.recipient(recipientOf(head)).losers.add(process)
  }

  /** A token is looked for until it may be erased: one of the newest is not, and others only once they are old. */
  private isTokenKept({ pops, recipient }: Attempt): boolean {
    return this.areClocksClose || this.recipient(recipient).tokens.length - pops < keptTokens
  }

  // What lands

  /** A commit has landed, sent by a process. */
  landed(request: CommitRequest, process: string): void {
    const { mutations } = request
    for (const mutation of mutations) this.checkSize(mutation)
    const written = mutations.find((mutation) => mutationKey(mutation).kind === kinds.batch)
    const batch = written === undefined ? undefined : JSON.parse(textOf(written, "Batch")) as Batch
    const consumed = batch === undefined ? [] : this.batchLanded(batch, request, process)
    // A patient batch expects no items: the values that it lists may be replaced by others before it lands.
    const isPatient = !request.expected.some(({ key }) => key.kind === kinds.item)
    const popped = mutations.filter((mutation) => holdsTombstones(mutationKey(mutation)))
    this.tombstonesLanded(batch, consumed, popped, isPatient)
    for (const mutation of mutations) this.mutationLanded(mutation, mutations, batch)
  }

  private checkSize(mutation: Mutation): void {
    const key = mutationKey(mutation)
    if (isPage(key)) this.counts[mutation._tag === "Delete" ? "deletedPages" : "pages"]++
    if (mutation._tag === "Delete") return
    const bytes = Entity.sizeBytes(mutation.entity)
    if (holdsTombstones(key)) this.counts.largestTombstones = Math.max(this.counts.largestTombstones, bytes)
    if (bytes > maxBytes) this.object("Limit", `${key} has ${bytes} bytes`, recipientOf(key))
  }

  /** Tombstones come with the batch that consumed their events, and go when nothing needs them any more. */
  private tombstonesLanded(
    batch: Batch | undefined,
    consumed: ReadonlyArray<Instance<Emission>>,
    mutations: ReadonlyArray<Mutation>,
    isPatient: boolean
  ): void {
    const number = mutations.length > 0
      ? recipientOf(mutationKey(mutations[0]!))
      : batch === undefined
      ? undefined
      : this.attempts[batch.attempt]!.recipient
    if (number === undefined) return
    const { mailboxes, tokens, tombstones } = this.recipient(number)
    const { added, damaged, erased, tokens: kept } = tombstones.land(mutations)
    for (const key of damaged) this.object("Died", `${key} does not decode`, number)
    const missing = new Set(batch?.ids)
    for (const { atMillis, ids, isWhole, token } of added) {
      if (isWhole) tokens.push(token)
      for (const id of ids) {
        if (!missing.delete(id)) this.object("Atomicity", `the tombstone of ${id} landed without its batch`, number)
        mailboxes.get(id)?.bury(atMillis)
      }
      if (batch !== undefined && ids.length > 0) this.checkTime(atMillis, batch, consumed, number, isPatient)
    }
    for (const id of missing) this.object("Atomicity", `${id} was consumed without a tombstone`, number)
    if (batch !== undefined) this.attempts[batch.attempt]!.pops = tokens.length
    for (const one of erased) this.erased(one, number)
    if (kept !== undefined && !tokens.slice(-keptTokens).every((token) => kept.has(token))) {
      this.object("Erased", `a token was erased that is one of the newest ${keptTokens}`, number)
    }
  }

  /**
   * The time of a tombstone is that of its worker, or of the newest emit, which counts for one delay at most. A patient
   * batch may know other times than what is stored.
   */
  private checkTime(
    atMillis: number,
    batch: Batch,
    consumed: ReadonlyArray<Instance<Emission>>,
    number: number,
    isPatient: boolean
  ): void {
    const { delayMillis, skewMillis } = this.window
    const newest = consumed.reduce((most, one) => Math.max(most, one.atMillis), 0)
    const latest = Math.max(batch.atMillis, this.now() + skewMillis)
    const [low, high] = isPatient
      ? [batch.atMillis, latest + delayMillis]
      : [batch.atMillis, latest].map((clock) => Math.min(Math.max(clock, newest), clock + delayMillis))
    if (atMillis >= low! && atMillis <= high!) {
      for (const instance of consumed) this.windows.push({ endMillis: atMillis + delayMillis, instance })
      return
    }
    const detail = `the tombstones of batch ${batch.attempt} have time ${atMillis}, which is not in ${low} to ${high}`
    this.object("Window", detail, number)
  }

  private erased({ atMillis, ids }: Tombstones, number: number): void {
    const { mailboxes } = this.recipient(number)
    const { delayMillis, skewMillis } = this.window
    this.counts.erased += ids.length
    const endMillis = atMillis + delayMillis
    // The worker saw that it had expired, and then listed, by a clock that may be ahead.
    const earlyMillis = Math.ceil(endMillis - this.now() - skewMillis)
    if (earlyMillis > 0) {
      const whose = ids.length === 0 ? "an empty pop" : ids.join(", ")
      this.object("Erased", `the tombstone of ${whose} was erased ${earlyMillis} ms before its time`, number)
    }
    for (const id of ids) {
      const mailbox = mailboxes.get(id)
      mailbox?.exhume(atMillis)
      const stored = mailbox?.stored
      // What was stored before that, the listing must have seen.
      if (stored === undefined || stored.landedMillis >= endMillis - skewMillis) continue
      this.object("Erased", `the tombstone of ${id} was erased while ${id} was stored`, number)
    }
  }

  private mutationLanded(mutation: Mutation, mutations: ReadonlyArray<Mutation>, batch: Batch | undefined): void {
    const key = mutationKey(mutation)
    const recipient = recipientOf(key)
    if (mutation._tag === "Delete") {
      // What its batch has consumed is gone by now.
      if (key.kind === kinds.item) this.itemDeleted(recipient, String(key.id))
      else if (!isPage(key)) this.object("Atomicity", `${key} was deleted`, recipient)
      return
    }
    switch (key.kind) {
      case kinds.item:
        return this.itemStored(recipient, mutation.entity, mutations, batch)
      case kinds.counter: {
        const next = (this.counters.get(recipient) ?? 0) + 1
        const written = mutation.entity.properties["Count"]
        if (written !== next) this.object("Version", `${key} became ${String(written)} instead of ${next}`)
        this.counters.set(recipient, next)
        return
      }
      case kinds.box:
        if (batch === undefined) this.noted(recipient, mutation.entity)
    }
  }

  /** A writer from outside raised its own property of the entity that holds the state, and changed nothing else. */
  private noted(number: number, { properties }: Entity.Entity): void {
    const recipient = this.recipient(number)
    recipient.notes++
    const isKept = (properties["EVersion"] ?? 0) === recipient.eversion && properties["Notes"] === recipient.notes
    if (!isKept) this.object("Version", "the state was saved without a batch, or a note was lost", number)
  }

  private itemStored(
    number: number,
    entity: Entity.Entity,
    mutations: ReadonlyArray<Mutation>,
    batch: Batch | undefined
  ): void {
    const id = String(entity.key.id)
    const payload = JSON.parse(decoder.decode(entity.properties["Value"] as Uint8Array)) as Payload
    const emission = this.emissions[payload.serial]
    if (emission === undefined || emission.recipient !== number || (emission.id ?? id) !== id) {
      return this.object("Invented", `nobody emitted ${id}`, number)
    }
    emission.id = id
    emission.landings++
    this.counts.landed++
    if (emission.attempt !== undefined) this.counts.followed++
    if (emission.isRefused) {
      this.object("Outcome", `the emit of ${name(emission)} failed as not written, and landed later`, number)
    }
    if (emission.attempt !== batch?.attempt) {
      this.object("Atomicity", `${name(emission)} landed without the batch that emitted it`, number)
    }
    const { counter } = emission
    if (counter !== undefined && !mutations.some((other) => isCounter(mutationKey(other), counter))) {
      this.object("Atomicity", `${name(emission)} landed without the rest of its transaction`, number)
    }
    const atMillis = entity.properties["At"] as number
    const { mailboxes } = this.recipient(number)
    let mailbox = mailboxes.get(id)
    if (mailbox === undefined) mailboxes.set(id, mailbox = new Mailbox(this.window))
    if (mailbox.land(emission, id, atMillis, this.now()).isHidden) this.counts.hidden++
  }

  private itemDeleted(number: number, id: string): void {
    const removed = this.recipient(number).mailboxes.get(id)?.remove()
    if (removed?.isDue !== true) return
    if (removed.emission.payload.worthless) this.counts.garbage++
    else this.object("Lost", `${name(removed.emission)} was deleted, and nobody had consumed it`, number)
  }

  private batchLanded(batch: Batch, request: CommitRequest, process: string): ReadonlyArray<Instance<Emission>> {
    const attempt = this.attempts[batch.attempt]!
    const number = attempt.recipient
    const recipient = this.recipient(number)
    if (attempt.hasLanded) this.object("Doubled", `batch ${batch.attempt} landed twice`, number)
    if (attempt.isRefused) {
      const detail = `batch ${batch.attempt} landed after its caller was told that nothing was written`
      this.object("Outcome", detail, number)
    }
    attempt.hasLanded = true
    this.counts.batches++
    this.counts.consumed += batch.ids.length
    const consumed = this.consumedBy(batch, request, process)
    const next = consumed.reduce(
      (state, { emission: { payload } }) => payload.keeps ? state : consume(state, payload),
      recipient.state
    )
    if (batch.notes !== undefined && batch.notes !== recipient.notes) {
      this.object("Version", `batch ${batch.attempt} landed, and the entity that it loaded had changed`, number)
    }
    const { seen } = batch
    if (seen !== undefined && seen.count !== this.counterOf(seen.counter, request)) {
      this.object("Version", `batch ${batch.attempt} landed with an old read of counter ${seen.counter}`, number)
    }
    this.stateLanded(recipient, number, next, request.mutations)
    return consumed
  }

  /** What a transaction reads of a counter: what it raises it by is seen by it, too. */
  private counterOf(counter: number, { mutations }: CommitRequest): number {
    const isRaised = mutations.some((mutation) => isCounter(mutationKey(mutation), counter))
    return (this.counters.get(counter) ?? 0) + (isRaised ? 1 : 0)
  }

  private stateLanded(recipient: Recipient, number: number, next: BoxState, mutations: ReadonlyArray<Mutation>): void {
    const saved = mutations.find((mutation) => mutationKey(mutation).kind === kinds.box)
    if (saved === undefined || saved._tag === "Delete") {
      if (next !== recipient.state) this.object("Atomicity", "a batch landed without its state", number)
      return
    }
    const eversion = saved.entity.properties["EVersion"] as number
    if (eversion !== recipient.eversion + 1) {
      this.object("Version", `version ${eversion} was saved after ${recipient.eversion}`, number)
    }
    const notes = saved.entity.properties["Notes"] ?? (saved._tag === "Patch" ? recipient.notes : 0)
    if (notes !== recipient.notes) {
      this.object("Version", "the state was saved over a change from outside", number)
    }
    const state = JSON.parse(textOf(saved, "State")) as BoxState
    if (state.count !== next.count || state.sum !== next.sum) {
      const detail = `the saved state is ${JSON.stringify(state)}, its events make ${JSON.stringify(next)}`
      this.object("Version", detail, number)
    }
    recipient.state = next
    recipient.eversion = eversion
  }

  /** Takes what a batch consumes out of the mailboxes. P2 */
  private consumedBy(
    batch: Batch,
    { expected, mutations }: CommitRequest,
    process: string
  ): ReadonlyArray<Instance<Emission>> {
    const number = this.attempts[batch.attempt]!.recipient
    const { losers } = this.recipient(number)
    const itemsOf = (keys: ReadonlyArray<Key>) =>
      new Set(keys.flatMap((key) => key.kind === kinds.item && recipientOf(key) === number ? [String(key.id)] : []))
    const isExpected = itemsOf(expected.map(({ key }) => key))
    const isDeleted = itemsOf(mutations.flatMap((one) => one._tag === "Delete" ? [one.key] : []))
    const consumed: Array<Instance<Emission>> = []
    for (const [at, id] of batch.ids.entries()) {
      if (!isDeleted.has(id)) this.object("Atomicity", `${id} was consumed, and is still stored`, number)
      if (!isExpected.has(id) && !losers.has(process)) {
        this.object("Atomicity", `${id} was consumed whatever it was by then, and no race was lost before`, number)
      }
      const found = this.consumed(number, id, batch.serials[at]!, isExpected.has(id))
      if (found !== undefined) consumed.push(found)
    }
    return consumed
  }

  private consumed(number: number, id: string, serial: number, isExpected: boolean): Instance<Emission> | undefined {
    const mailbox = this.recipient(number).mailboxes.get(id)
    const emission = this.emissions[serial]!
    const found = mailbox?.consume(emission, isExpected)
    if (found === undefined) {
      const other = mailbox?.stored?.emission
      if (mailbox?.wasConsumed(emission) === true) {
        this.object("Doubled", `${name(emission)} was consumed twice`, number)
      } else if (other === undefined) {
        this.object("Doubled", `${name(emission)} was consumed, and was not stored`, number)
      } else this.object("Lost", `${name(other)} was deleted for ${name(emission)}, which it had replaced`, number)
      return undefined
    }
    if (found.isHidden) this.object("Repeated", `${name(emission)} was consumed within the window of its id`, number)
    if (emission.payload.worthless) this.object("Invented", `${id} is garbage, and was consumed`, number)
    // The library stops trying in time, so one emit is one event for ever, if clocks agree about what that is.
    if (emission.isConsumed && !emission.isResent && this.areClocksClose) {
      this.object("Doubled", `${name(emission)} was emitted once, and consumed twice`, number)
    }
    emission.isConsumed = true
    return found
  }

  // What is left

  /** Objects when something is outstanding. */
  settled(): void {
    for (const [number, { mailboxes }] of this.recipients) {
      for (const { stored } of mailboxes.values()) {
        if (stored === undefined) continue
        const is = stored.isDue ? "never consumed" : "left as garbage"
        this.object("Unsettled", `${name(stored.emission)} was ${is}, though faults had stopped`, number)
      }
    }
  }

  /** Objects when a recipient, which has just been at work, still has tombstones from long ago. */
  forgot(number: number): void {
    if (this.hasForgotten(number)) return
    const ageMillis = this.ageOfTombstones(number)
    this.object("Limit", `tombstones of recipient ${number} are left after ${ageMillis} ms`, number)
  }

  /** Whether a recipient has no tombstones from long ago. */
  hasForgotten(number: number): boolean {
    // A page is deleted as a whole: what was young when it was written may go a delay later than what was old.
    return this.ageOfTombstones(number) <= 2.5 * this.window.delayMillis + 2 * this.window.skewMillis
  }

  private ageOfTombstones(number: number): number {
    return Math.floor(this.now() - (this.recipient(number).tombstones.oldestMillis() ?? Infinity))
  }

  /** Something that was consumed, and whose window ends within so many milliseconds from now, or ended as long ago. */
  atEndOfWindow(withinMillis: number, choose: (count: number) => number): Instance<Emission> | undefined {
    const { windows } = this
    const now = this.now()
    while (this.firstWindow < windows.length && windows[this.firstWindow]!.endMillis < now - withinMillis) {
      this.firstWindow++
    }
    let count = 0
    while (count < 50 && (windows[this.firstWindow + count]?.endMillis ?? Infinity) <= now + withinMillis) count++
    return count === 0 ? undefined : windows[this.firstWindow + choose(count)]!.instance
  }

  /** Numbers of all recipients that were ever written to. */
  known(): ReadonlyArray<number> {
    return Array.from(this.recipients.keys())
  }

  private recipient(number: number): Recipient {
    let recipient = this.recipients.get(number)
    if (recipient === undefined) {
      this.recipients.set(
        number,
        recipient = {
          mailboxes: new Map(),
          tombstones: new TombstonesOf(),
          tokens: [],
          losers: new Set(),
          state: { count: 0, sum: 0 },
          eversion: 0,
          notes: 0
        }
      )
    }
    return recipient
  }
}

/** What a stored entity may have. Source: the promise E8, not the library's constant. */
const maxBytes = 900 * 1_024

/** Pops whose tokens stay, however old they are. Source: the promise P5, not the library's constant. */
const keptTokens = 32

const decoder = new TextDecoder()

const name = ({ id, payload }: Emission): string => `${id ?? "an event"} (emission ${payload.serial})`

/** The number of the recipient that a key belongs to, or of the counter; recipients may lie below one another. */
export const recipientOf = ({ path }: Key): number => {
  let at = path.length - 1
  while (at > 0 && path[at]!.kind !== kinds.box) at--
  return Number(path[at]!.id)
}

const isCounter = (key: Key, number: number): boolean => key.kind === kinds.counter && recipientOf(key) === number

const textOf = (mutation: Mutation, property: string): string =>
  mutation._tag === "Delete" ? "null" : String(mutation.entity.properties[property])
