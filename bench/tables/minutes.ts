/**
 * What a batch costs after minutes of load, when the tombstones of the last minutes are read and written with it: in
 * memory, under virtual time.
 */
import { Cause, Effect, Exit, Option, type Scope } from "effect"
import { Ids } from "effect-eventbox"
import { TestClock } from "effect/testing"
import { byEffort, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatTable } from "../table.ts"
import { Counter } from "../workloads/counter.ts"
import { type Batch, isFull, oneEntity, openCounted, ours } from "../workloads/tombstones.ts"

/** A load on one recipient: one batch per second. */
export interface MinutesLoad {
  readonly eventsPerSecond: number
  readonly minutes: number
}

/** One minute of load, or the part of one until a limit was met. */
export interface Minute {
  /** When it ended, in minutes from the start. */
  readonly minute: number
  /** Bytes read and written per batch, beside the items themselves. */
  readonly bytesPerBatch: number
  /** Entities read and written per batch, beside the items themselves. */
  readonly entitiesPerBatch: number
  readonly operationsPerBatch: number
  readonly largestBytes: number
}

/** How one way of remembering did. */
export interface Endured {
  readonly minutes: ReadonlyArray<Minute>
  readonly events: number
  /** Why it ended early. */
  readonly stopped: string | undefined
}

/** What was measured. */
export interface MinutesData {
  readonly loads: ReadonlyArray<MinutesLoad & { readonly library: Endured; readonly oneEntity: Endured }>
}

const loadsOf = ({ effort }: Setting): ReadonlyArray<MinutesLoad> =>
  byEffort(effort, {
    smoke: [{ eventsPerSecond: 5, minutes: 2 }],
    ordinary: [{ eventsPerSecond: 20, minutes: 15 }, { eventsPerSecond: 1_000, minutes: 15 }],
    full: [20, 50, 200, 1_000].map((eventsPerSecond) => ({ eventsPerSecond, minutes: 30 }))
  })

const measure = (setting: Setting): Effect.Effect<MinutesData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const loads: Array<MinutesData["loads"][number]> = []
    for (const load of loadsOf(setting)) {
      loads.push({ ...load, library: yield* endure(ours, load), oneEntity: yield* endure(oneEntity, load) })
    }
    return { loads }
  })

/** Runs one batch per second of virtual time, until the minutes are over or a limit is met. */
const endure = (batch: Batch, { eventsPerSecond, minutes }: MinutesLoad): Effect.Effect<Endured, unknown> =>
  Effect.gen(function*() {
    const { layer, traffic } = yield* openCounted
    const found: Array<Minute> = []
    let batches = 0
    const note = (seconds: number) => {
      if (seconds === 0) return
      found.push({
        minute: batches / 60,
        bytesPerBatch: traffic.overheadBytes / seconds,
        entitiesPerBatch: traffic.overheadEntities / seconds,
        operationsPerBatch: traffic.operations / seconds,
        largestBytes: traffic.largestBytes
      })
      Object.assign(traffic, { overheadBytes: 0, largestBytes: 0, overheadEntities: 0, operations: 0 })
    }
    const work = Effect.gen(function*() {
      // Times as long as they are today: those of the beginning of the clock take fewer bytes.
      yield* TestClock.setTime(1_764_000_000_000)
      while (batches < 60 * minutes) {
        yield* TestClock.adjust("1 second")
        yield* batch(batches * eventsPerSecond, eventsPerSecond)
        // What runs in the background is done before the clock goes on.
        yield* Effect.yieldNow
        batches++
        if (batches % 60 === 0) note(60)
      }
    })
    const exit = yield* work.pipe(
      // A source of its own: the times of its ids never go back, and what was measured before had the real time.
      Effect.provideServiceEffect(Ids.Ids, Ids.makeSeeded),
      Effect.provide([layer, Counter.layer, TestClock.layer()]),
      Effect.exit
    )
    const events = batches * eventsPerSecond
    if (Exit.isSuccess(exit)) return { minutes: found, events, stopped: undefined }
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    if (!isFull(error)) return yield* Effect.failCause(exit.cause)
    note(batches % 60)
    return { minutes: found, events, stopped: error.message }
  })

const row = (name: string, { events, minutes, stopped }: Endured, at: ReadonlyArray<number>): ReadonlyArray<string> => [
  name,
  ...at.map((minute) => {
    const found = minutes.find((each) => each.minute === minute)
    return found === undefined ? "-" : `${formatNumber(found.bytesPerBatch / 1_024)} KiB`
  }),
  minutes.length === 0
    ? "-"
    : `${formatNumber(Math.max(...minutes.map(({ largestBytes }) => largestBytes)) / 1_024)} KiB`,
  stopped === undefined
    ? "no"
    : `after ${formatNumber(events)} events, ${formatNumber(minutes.at(-1)?.minute ?? 0)} min`
]

const report = ({ loads }: MinutesData): string =>
  [
    ...loads.map(({ eventsPerSecond, library, minutes, oneEntity: other }) => {
      const at = Array.from(new Set([1, 3, 5, 6, 10, 15, minutes])).filter((minute) => minute <= minutes)
      return formatTable(
        [
          `${formatNumber(eventsPerSecond)} EVENTS/S`,
          ...at.map((minute) => `minute ${minute}`),
          "largest entity",
          "ended early"
        ],
        [row("this library", library, at), row("LUCI's one entity", other, at)]
      )
    }),
    [
      "Bytes read and written per batch beside the events themselves: tombstones and state. One batch per second, all its",
      "events consumed; 5 minutes of tombstones delay; virtual time, in-memory store."
    ].join("\n"),
    ...loads.flatMap(({ eventsPerSecond, library }) =>
      library.stopped === undefined ? [] : [
        `This library at ${formatNumber(eventsPerSecond)} events/s: ${library.stopped}`
      ]
    )
  ].join("\n\n")

const losses = ({ loads }: MinutesData): ReadonlyArray<string> =>
  loads.flatMap(({ eventsPerSecond, library }) =>
    library.stopped === undefined ? [] : [
      `${formatNumber(eventsPerSecond)} events/s for one recipient end after ${
        formatNumber(library.events)
      } events: ${library.stopped}`
    ]
  )

/** The table. */
export const minutes: Table<MinutesData> = {
  name: "minutes",
  question: "What does a batch cost after minutes of load?",
  needsEmulator: false,
  measure,
  report,
  losses
}
