/**
 * The recorded answers, and what is written from them: the page's section of figures, and the plots.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Machine, reportMachine } from "./machine.ts"
import { drawFigure } from "./plot.ts"
import { plotBatches, plotMinutes } from "./plots.ts"
import type { Effort } from "./setting.ts"
import { tables } from "./tables.ts"
import type { BatchesData } from "./tables/batches.ts"
import type { MinutesData } from "./tables/minutes.ts"

/** One recorded answer. */
export interface Answer {
  readonly date: string
  readonly machine: Machine & { readonly loadAfter: number }
  readonly emulator: string | undefined
  readonly effort: Effort
  readonly data: unknown
}

/** All recorded answers, by table. */
export type Record = { readonly [table: string]: Answer | undefined }

const root = join(import.meta.dirname, "..")
const recordFile = join(root, "bench/results.json")
const page = join(root, "bench/README.md")
const assets = join(root, "docs/assets")

/** Reads the record. */
export const readRecord = (): Record =>
  existsSync(recordFile) ? JSON.parse(readFileSync(recordFile, "utf8")) as Record : {}

/** Keeps an answer, in the place of an earlier one to the same question. */
export const writeRecord = (table: string, answer: Answer): void => {
  const record = { ...readRecord(), [table]: answer }
  const ordered = Object.fromEntries(
    tables.flatMap(({ name }) => record[name] === undefined ? [] : [[name, record[name]]])
  )
  writeFileSync(recordFile, `${JSON.stringify(ordered, roundNumbers, 2)}\n`)
}

/** Four digits say all that a measurement can. */
const roundNumbers = (_: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value

/** Writes the figures of the page and the plots. */
export const render = (record: Record): void => {
  mkdirSync(assets, { recursive: true })
  const batches = record["batches"]?.data as BatchesData | undefined
  const minutes = record["minutes"]?.data as MinutesData | undefined
  if (batches !== undefined) {
    const figure = drawFigure("Cost per event against batch size", plotBatches(batches))
    writeFileSync(join(assets, "cost-by-batch-size.svg"), figure)
  }
  if (minutes !== undefined) {
    const figure = drawFigure("Bytes per batch against minutes of load", plotMinutes(minutes))
    writeFileSync(join(assets, "cost-by-minutes.svg"), figure)
  }
  writeFileSync(page, replaceFigures(readFileSync(page, "utf8"), figuresOf(record)))
}

const begin = "<!-- figures: written by `npm run bench -- --record` -->"
const end = "<!-- figures end -->"

/** Replaces what stands between the two marks of the page. */
export const replaceFigures = (text: string, figures: string): string => {
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) throw new Error(`bench/README.md lacks the marks ${begin} and ${end}`)
  return `${text.slice(0, from)}${begin}\n\n${figures}\n\n${text.slice(to)}`
}

/** The figures of all recorded answers as Markdown, with what is worse than what it is compared with first. */
export const figuresOf = (record: Record): string => {
  const answered = tables.flatMap((table) => {
    const answer = record[table.name]
    return answer === undefined ? [] : [{ table, answer }]
  })
  const losses = answered.flatMap(({ answer, table }) =>
    (table.losses?.(answer.data) ?? []).map((line) => `${table.name}: ${line}`)
  )
  return [
    "### Where it is worse",
    losses.length === 0 ? "Nowhere in what is recorded." : fence(losses.join("\n")),
    ...answered.flatMap(({ answer, table }) => [
      `### ${table.question}`,
      fence([
        `npm run bench -- --table ${table.name}${answer.effort === "full" ? " --full" : ""}`,
        `${answer.date}, ${reportMachine(answer.machine).replaceAll("\n", "\n")}`,
        `load of the minute before the end: ${answer.machine.loadAfter.toFixed(2)}` +
        (answer.emulator === undefined ? "" : `; ${answer.emulator}`),
        "",
        table.report(answer.data)
      ].join("\n"))
    ])
  ].join("\n\n")
}

const fence = (text: string): string => `\`\`\`\n${text}\n\`\`\``
