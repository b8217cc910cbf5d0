/**
 * The plots: what is drawn of which answer.
 */
import type { Panel, Series } from "./plot.ts"
import type { BatchesData, BatchesRow, Name } from "./tables/batches.ts"
import type { MinutesData } from "./tables/minutes.ts"

const looks = {
  library: { name: "this library", tone: "ours" },
  luci: { name: "LUCI's batch", tone: "other" },
  naive: { name: "naive", tone: "plain" }
} as const

const at = (row: BatchesRow, delay: number) => row.timed.find((timed) => timed.delayMillis === delay)!.by

/** Cost per event against batch size: time over a slow network, CPU, what is billed. */
export const plotBatches = ({ rows }: BatchesData): ReadonlyArray<Panel> => {
  const delayMillis = Math.max(...rows[0]!.timed.map((timed) => timed.delayMillis))
  const series = (value: (row: BatchesRow, name: Name) => number): ReadonlyArray<Series> =>
    (["naive", "luci", "library"] as const).map((name) => ({
      name: looks[name].name,
      tone: looks[name].tone,
      points: rows.map((row) => [row.batchSize, value(row, name)])
    }))
  const x = { label: "events per batch", scale: "log" } as const
  return [
    {
      title: `Time, ${delayMillis} ms each way`,
      x,
      y: { label: "ms per event", scale: "log" },
      series: series((row, name) => 1_000 / at(row, delayMillis)[name].eventsPerSecond.median)
    },
    {
      title: "Client CPU, no delay",
      x,
      y: { label: "us per event", scale: "log" },
      series: series((row, name) => at(row, 0)[name].cpuMicrosPerEvent.median)
    },
    {
      title: "Billed",
      x,
      y: { label: "reads + writes + deletes per event", scale: "log" },
      series: series((row, name) => {
        const { deletes, reads, writes } = row.counted[name].bill
        return (reads + writes + deletes) / row.batchSize
      })
    }
  ]
}

/** Bytes per batch against minutes of load, one panel for each load. */
export const plotMinutes = ({ loads }: MinutesData): ReadonlyArray<Panel> =>
  loads.map(({ eventsPerSecond, library, minutes, oneEntity }) => {
    const step = Math.max(1, Math.round(minutes / 5))
    const ticks = Array.from({ length: 6 }, (_, index) => index * step)
    const series = ([["library", library], ["luci", oneEntity]] as const).map(([name, endured]): Series => ({
      name: name === "luci" ? "LUCI's entity" : looks[name].name,
      tone: looks[name].tone,
      stopped: endured.stopped !== undefined,
      points: endured.minutes.map(({ bytesPerBatch, minute }) => [minute, bytesPerBatch / 1_024])
    }))
    return {
      title: `${eventsPerSecond.toLocaleString("en-US")} events/s, one batch a second`,
      x: { label: "minutes of load", scale: "linear", ticks },
      y: { label: "KiB per batch, tombstones and state", scale: "log" },
      series
    }
  })
