import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type CommitRequest, mutationKey } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { Ids } from "../../src/Ids.ts"
import * as Key from "../../src/Key.ts"
import { Journal, journal, type JournalEvents, type JournalMutation, withJournal } from "../utils/boxJournal.ts"
import { entity } from "../utils/boxWorld.ts"
import { makeLatencyWorld } from "../utils/latencyWorld.ts"

/** Sees what lands: what is stored under each id, and which batch consumes it. */
class Watch {
  /** The newest value of each id that waits. */
  readonly stored = new Map<string, string>()
  /** All values of an id since it was consumed last. */
  readonly seen = new Map<string, Set<string>>()
  readonly consumed = new Set<string>()
  readonly problems: Array<string> = []
  /** Processes that have lost a race: their next batches need not expect items. */
  readonly losers = new Set<string>()
  batches = 0

  landed({ expected, mutations }: CommitRequest, process: string): void {
    const expects = new Set(expected.map(({ key }) => key.toString()))
    const batch = mutations.find((mutation) => mutationKey(mutation).kind === "Batch")
    if (batch !== undefined && batch._tag !== "Delete") {
      this.batches++
      this.taken(JSON.parse(String(batch.entity.properties["n"])), mutations, expects)
      const isBlind = mutations.some((one) =>
        one._tag === "Delete" && one.key.kind === "dsset.Item" && !expects.has(one.key.toString())
      )
      if (isBlind && !this.losers.has(process)) this.problems.push("a batch that lost no race expects no items")
    }
    for (const mutation of mutations) {
      const key = mutationKey(mutation)
      const id = String(key.id)
      if (key.kind !== "dsset.Item") continue
      if (mutation._tag === "Delete") {
        if (this.stored.delete(id) && !this.consumed.has(id)) this.problems.push(`${id} was deleted, not consumed`)
        continue
      }
      const value = JSON.parse(new TextDecoder().decode(mutation.entity.properties["Value"] as Uint8Array)) as string
      this.stored.set(id, value)
      this.seen.set(id, (this.seen.get(id) ?? new Set()).add(value))
    }
  }

  /** A batch has landed that saw these values. */
  private taken(values: ReadonlyArray<string>, mutations: CommitRequest["mutations"], expects: ReadonlySet<string>) {
    const deleted = new Map(
      mutations.flatMap((one) => one._tag === "Delete" ? [[String(one.key.id), one.key.toString()]] : [])
    )
    for (const value of values) {
      const id = value.slice(0, value.indexOf("="))
      const key = deleted.get(id)
      if (key === undefined) this.problems.push(`${id} was consumed, and is still there`)
      if (this.consumed.has(id)) this.problems.push(`${id} was consumed twice`)
      this.consumed.add(id)
      // A batch that lost a race to emits before does not expect items; the value that it saw is then an old one maybe.
      const isSeen = key !== undefined && expects.has(key)
        ? this.stored.get(id) === value
        : this.seen.get(id)?.has(value)
      if (isSeen !== true) this.problems.push(`${value} was consumed when ${this.stored.get(id)} was stored`)
    }
  }
}

/** Consumes all, changes no state, and tells the watch what it saw, in the same transaction. */
const consume = (events: JournalEvents, state: ReadonlyArray<string>): JournalMutation => {
  if (events.length === 0) return { transitions: [] }
  const values = JSON.stringify(events.map(({ value }) => value))
  const sideEffect = Effect.flatMap(
    Ids,
    (ids) => Effect.flatMap(ids.next, (id) => Datastore.put([entity(Key.make("Batch", id), values)]))
  )
  return { transitions: [{ events, transitionTo: state, sideEffect }] }
}

const others = Array.from({ length: 300 }, (_, n) => `old-${String(n).padStart(60, "0")}`)
const millis = 20_000

describe("overlapping batches of one recipient in one process, requests of which take their time", () => {
  // Pages that the process has not read, ids of callers that may be in them, ids that are emitted again while they wait
  // and after they were consumed, limited listings, a second process. All of it within one window.
  const history = (seed: number) => {
    const watch = new Watch()
    const world = makeLatencyWorld({
      seed,
      tombstonesDelay: 3_600_000,
      // Mostly quick, some slow: what overtakes what is what shows.
      millis: (chance) => chance.happens(0.2) ? chance.between(20, 400) : chance.between(1, 15),
      landed: (request, process) => watch.landed(request, process),
      refused: (_, process) => watch.losers.add(process)
    })
    const { chance } = world
    const emitted: Array<string> = []
    const emit = (id: string) =>
      Effect.suspend(() => Eventbox.emit(Journal, journal, `${id}=${emitted.push(id)}`, { id }))
    const other = world.start("other")
    const emitOld = Eventbox.emitAll(Journal, journal, others.map((id) => `${id}=`), { id: (_, n) => others[n]! })
    world.run(other, Effect.andThen(emitOld, withJournal(consume)(Eventbox.drain(Journal, journal))))

    const one = world.start("one")
    const end = world.now() + millis
    const until = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.whileLoop({
        while: () => world.now() < end,
        body: () => effect,
        step: () => undefined
      })
    const batch = Effect.suspend(() =>
      Eventbox.processBatch(Journal, journal, { maxEvents: chance.happens(0.5) ? 2_000 : 1 + chance.below(30) })
    ).pipe(withJournal(consume), Effect.catchTag("ContentionError", () => Effect.void))
    const pause = Effect.suspend(() => Effect.sleep(chance.gap(30)))
    const fresh = Effect.suspend(() => emit(`${chance.pick(["a", "caller", "old", "z"])}-${emitted.length}`))
    const again = Effect.suspend(() => emit(emitted[Math.floor(emitted.length * (1 - chance.next() ** 3))] ?? "first"))
    const old = Effect.suspend(() => emit(chance.pick(others)))
    const client = Effect.andThen(Effect.suspend(() => chance.pick([fresh, fresh, again, old])), pause)
    for (let n = 0; n < 3; n++) {
      world.fork(one, until(batch))
      world.fork(other, until(client))
    }
    world.fork(other, until(Effect.andThen(batch, pause)))
    world.run(one, Effect.sleep(millis + 10_000))
    world.run(one, withJournal(consume)(Eventbox.drain(Journal, journal)))
    world.run(one, Effect.sleep(10_000))
    return { watch, emitted: new Set([...emitted, ...others]) }
  }

  // Kills: items that a pop does not expect; a pop that does not delete its items; a head that is not expected.
  for (let seed = 1; seed <= 6; seed++) {
    it(`consume nothing twice, lose nothing, and see every value that they delete, seed ${seed}`, () => {
      const { emitted, watch } = history(seed)

      assert.deepStrictEqual(watch.problems, [])
      assert.deepStrictEqual(Array.from(watch.consumed).toSorted(), Array.from(emitted).toSorted())
      assert.deepStrictEqual(Array.from(watch.stored.keys()), [])
      assert.isAbove(watch.batches, 50)
      assert.isAbove(emitted.size, 400)
    })
  }
})
