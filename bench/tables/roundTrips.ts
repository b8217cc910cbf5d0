/**
 * How many round trips a batch takes on the clock, not in theory: with a delay on the way to the emulator, and with the
 * same batches without it, so that the emulator's own time can be told apart.
 */
import { Effect, type Scope } from "effect"
import { type Backend, Datastore, Entity, Eventbox, Key } from "effect-eventbox"
import { mark, type Proof, since, type Spread, spreadOf } from "../measure.ts"
import { makeNetwork } from "../network.ts"
import { byEffort, openEmulator, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatSpread, formatTable, reportProof } from "../table.ts"
import { addTotal, checkMailboxes, Counter, ticks } from "../workloads/counter.ts"

/** Delay of each way. */
const delayMillis = 10

/** The delay at which the time of everything else is small. */
const slowDelayMillis = 100

/** Batches of one size. */
export interface RoundTripsRow {
  readonly batchSize: number
  /** From the call of `processBatch` to its result, with the delay. */
  readonly millis: Spread
  /** The RPCs of such a batch by themselves, with the delay: a query beside a lookup, and then a commit. */
  readonly rpcsMillis: Spread
  /** The batch without the delay. */
  readonly withoutMillis: Spread
  readonly batches: number
  /** The same over a network so slow that nothing but round trips is seen. */
  readonly slowMillis: Spread
}

/** What was measured. */
export interface RoundTripsData {
  readonly rows: ReadonlyArray<RoundTripsRow>
  /** Batches of each size before those that count. */
  readonly warmUp: number
  /** One lookup of one key, with and without the delay. */
  readonly lookupMillis: Spread
  readonly lookupWithoutMillis: Spread
  readonly proof: Proof
}

const measure = (setting: Setting): Effect.Effect<RoundTripsData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const network = yield* makeNetwork(setting.emulatorHost)
    const count = byEffort(setting.effort, { smoke: 3, ordinary: 100, full: 200 })
    const slow = byEffort(setting.effort, { smoke: 2, ordinary: 10, full: 30 })
    const warmUp = byEffort(setting.effort, { smoke: 2, ordinary: 1_500, full: 3_000 })
    const rows: Array<RoundTripsRow> = []
    const sizes = setting.sizes.filter((size) => size <= 100)
    const proof = { samples: 0, count: 0, sum: 0 }
    let lookups = { with: spreadOf([0]), without: spreadOf([0]) }
    for (const batchSize of sizes) {
      const series = yield* measureSeries(network, batchSize, { count, slow, warmUp })
      rows.push({
        batchSize,
        millis: spreadOf(series.millis),
        rpcsMillis: spreadOf(series.rpcs),
        withoutMillis: spreadOf(series.without),
        batches: count,
        slowMillis: spreadOf(series.slow)
      })
      lookups = { with: spreadOf(series.lookups), without: spreadOf(series.lookupsWithout) }
      proof.samples++
      proof.count += series.total.count
      proof.sum += series.total.sum
    }
    return { rows, warmUp, lookupMillis: lookups.with, lookupWithoutMillis: lookups.without, proof }
  })

/** A single lookup of one key. */
const look = Effect.flatMap(Counter, (counter) => counter.loadState(Counter.recipient("nobody")))

/** How long an effect takes, in ms. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const begin = mark()
    return Effect.map(effect, () => since(begin).wallMicros / 1_000)
  })

interface SeriesEffort {
  /** Batches that are timed with the delay, and as many without it. */
  readonly count: number
  /** Batches that are timed with the long delay. */
  readonly slow: number
  /** Batches before all others, which are not timed. */
  readonly warmUp: number
}

type Network = Effect.Success<ReturnType<typeof makeNetwork>>

/** Batches of one size in one process, with the delay and without it in turn, and a lookup beside each. */
const measureSeries = (network: Network, batchSize: number, { count, slow, warmUp }: SeriesEffort) =>
  Effect.gen(function*() {
    const found = {
      millis: [] as Array<number>,
      rpcs: [] as Array<number>,
      without: [] as Array<number>,
      slow: [] as Array<number>,
      lookups: [] as Array<number>,
      lookupsWithout: [] as Array<number>
    }
    const bare = bareRpcs(batchSize)
    let total = { count: 0, sum: 0 }
    const measureRounds = (rounds: number, round: (at: Place) => Effect.Effect<void, unknown, Work>) =>
      Effect.gen(function*() {
        for (let left = rounds; left > 0; left -= perDatabase) {
          const times = Math.min(left, perDatabase)
          const part = (at: Place) =>
            Effect.replicateEffect(Effect.andThen(bare.prepare, round(at)), times, { discard: true })
          total = addTotal(total, yield* inDatabase(network, batchSize, part))
        }
      })
    // The emulator is slow until its JVM has compiled what it runs, and this process is as well.
    yield* measureRounds(warmUp, ({ batch }) => Effect.andThen(batch, bare.run))
    yield* measureRounds(count, ({ time }) =>
      Effect.gen(function*() {
        yield* time(delayMillis, { batch: found.millis, lookup: found.lookups })
        found.rpcs.push(yield* timed(bare.run))
        yield* time(0, { batch: found.without, lookup: found.lookupsWithout })
      }))
    yield* measureRounds(slow, ({ time }) => time(slowDelayMillis, { batch: found.slow, lookup: [] }))
    return { ...found, total }
  })

/** Rounds for one database: a query costs the emulator more with every entity of the kind that was ever there. */
const perDatabase = 10

type Work = Counter | Datastore.Datastore

/** What is done in one database. */
interface Place {
  /** One batch, of events that are emitted before. */
  readonly batch: Effect.Effect<void, unknown, Work>
  /** Times one, and a lookup after it. */
  readonly time: (delay: number, into: {
    readonly batch: Array<number>
    readonly lookup: Array<number>
  }) => Effect.Effect<void, unknown, Work>
}

/** Works in a fresh database over a connection of its own, after a first batch; returns what its entity counted. */
const inDatabase = (network: Network, batchSize: number, work: (at: Place) => Effect.Effect<void, unknown, Work>) =>
  Effect.gen(function*() {
    const { layer } = yield* openEmulator(network.host)
    const recipient = Counter.recipient(`series-${batchSize}`)
    let emitted = 0
    const emit = Effect.suspend(() => {
      const from = emitted
      emitted += batchSize
      return Eventbox.emitAll(Counter, recipient, ticks(from, batchSize))
    })
    const process = Eventbox.processBatch(Counter, recipient)
    const batch = Effect.asVoid(Effect.andThen(emit, process))
    const whole = Effect.gen(function*() {
      // The first batch connects, and finds no tombstones.
      yield* batch
      yield* work({
        batch,
        time: (delay, into) =>
          Effect.gen(function*() {
            yield* network.delay(delay)
            yield* emit
            into.batch.push(yield* timed(process))
            into.lookup.push(yield* timed(look))
          })
      })
      yield* network.delay(0)
      return yield* checkMailboxes([recipient], emitted)
    })
    return yield* Effect.provide(whole, [layer, Counter.layer])
  })

/** Writes an entity of about so many bytes, never the same. */
const write = (key: Key.Key, bytes: number): Backend.Mutation => ({
  _tag: "Upsert",
  entity: Entity.make(key, { Value: crypto.getRandomValues(new Uint8Array(bytes)), At: 1 }, { unindexed: "all" })
})

/** The RPCs of a batch without a batch: they read and write as many entities of about the same sizes. */
const bareRpcs = (batchSize: number) => {
  const parent = Key.make("BenchBare", `bare-${batchSize}`)
  const keys = [parent, Key.child(parent, "BenchBareHead", 1)]
  const items = Array.from(
    { length: batchSize },
    (_, index) => write(Key.child(parent, "BenchBareItem", `i${index}`), 35)
  )
  return {
    prepare: Effect.flatMap(Datastore.Datastore, ({ backend }) => backend.commit({ mutations: items, expected: [] })),
    run: Effect.flatMap(Datastore.Datastore, ({ backend }) =>
      Effect.gen(function*() {
        const [{ results }, expected] = yield* Effect.all([
          backend.query({ kind: "BenchBareItem", ancestor: parent, limit: batchSize }),
          backend.lookup(keys)
        ], { concurrency: "unbounded" })
        const found = results.map(({ key }): Backend.Mutation => ({ _tag: "Delete", key }))
        const mutations = [write(keys[0]!, 60), write(keys[1]!, 20 * batchSize), ...found]
        yield* backend.commit({ mutations, expected: [...expected, ...results] })
      }))
  }
}

const roundTrip = 2 * delayMillis

const trips = (millis: number, delay: number): string => (millis / (2 * delay)).toFixed(2)

const report = (data: RoundTripsData): string => {
  const { lookupMillis, lookupWithoutMillis, proof, rows, warmUp } = data
  return [
    formatTable(
      [
        "PROCESSBATCH",
        "batches",
        `ms with ${delayMillis} ms each way`,
        "round trips",
        "single lookups",
        "its RPCs alone",
        "batch / RPCs",
        "ms without",
        "less that",
        `ms with ${slowDelayMillis}`,
        "round trips"
      ],
      rows.map(({ batches, batchSize, millis, rpcsMillis, slowMillis, withoutMillis }) => [
        `${formatNumber(batchSize)} events`,
        formatNumber(batches),
        formatSpread(millis),
        trips(millis.median, delayMillis),
        (millis.median / lookupMillis.median).toFixed(2),
        formatSpread(rpcsMillis),
        `x ${formatNumber(millis.median / rpcsMillis.median)}`,
        formatSpread(withoutMillis),
        trips(millis.median - withoutMillis.median, delayMillis),
        formatSpread(slowMillis),
        trips(slowMillis.median, slowDelayMillis)
      ])
    ),
    [
      "round trips: the median of ms divided by the delay there and back. single lookups: divided by what a lookup of one",
      "key takes over this network, the least that an RPC can take. its RPCs alone: a query beside a lookup, and then a",
      "commit, of as much, sent by the same client without a batch around them. less that: without what the same batches",
      `take without a delay. With ${slowDelayMillis} ms on each way little is seen but round trips. A single lookup takes`,
      `${formatSpread(lookupMillis)} ms with ${delayMillis} ms each way, and ${
        formatSpread(lookupWithoutMillis)
      } ms without.`,
      `The delay is added by a proxy in another process. ${
        formatNumber(warmUp)
      } batches of each size come before those that count.`,
      `There is a fresh database every ${perDatabase} batches, since queries slow the emulator down with every entity that was ever`,
      "there: so the tombstones stay few (see `minutes` for more of them). The first batch in each is left out."
    ].join("\n"),
    reportProof(proof)
  ].join("\n\n")
}

const losses = ({ rows }: RoundTripsData): ReadonlyArray<string> =>
  rows.filter(({ millis }) => millis.median / roundTrip > 2.3).map(({ batchSize, millis, rpcsMillis }) =>
    `a batch of ${formatNumber(batchSize)} takes the time of ${trips(millis.median, delayMillis)} round trips of ${
      formatNumber(roundTrip)
    } ms, wanted are 2.3; its RPCs alone take ${trips(rpcsMillis.median, delayMillis)} on this emulator`
  )

/** The table. */
export const roundTrips: Table<RoundTripsData> = {
  name: "round-trips",
  question: "How many round trips does a batch take on the clock?",
  needsEmulator: true,
  measure,
  report,
  losses
}
