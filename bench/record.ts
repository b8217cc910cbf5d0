/**
 * The recorded answers, and what is written from them: a page for each table, one of what is worse, and the plots.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Machine, reportMachine } from "./machine.ts"
import { drawFigure } from "./plot.ts"
import { plotBatches, plotMinutes } from "./plots.ts"
import type { Effort, Table } from "./setting.ts"
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
const results = join(root, "bench/results")
const recordFile = join(results, "results.json")
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

/** Writes the pages of figures and the plots. */
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
  for (const [name, text] of pagesOf(record)) writeFileSync(join(results, `${name}.md`), text)
}

/** The pages of the recorded answers, by name: one for each table, and `worse`. */
export const pagesOf = (record: Record): ReadonlyMap<string, string> => {
  const answered = tables.flatMap((table) => {
    const answer = record[table.name]
    return answer === undefined ? [] : [{ table, answer }]
  })
  const losses = answered.flatMap(({ answer, table }) =>
    (table.losses?.(answer.data) ?? []).map((line) => `${table.name}: ${line}`)
  )
  return new Map([
    ["worse", pageOf("Where it is worse", losses.length === 0 ? "Nowhere in what is recorded." : losses.join("\n"))],
    ...answered.map(({ answer, table }) => [table.name, pageOf(table.question, figuresOf(table, answer))] as const)
  ])
}

const figuresOf = (table: Table<any>, answer: Answer): string =>
  [
    `npm run bench -- --table ${table.name}${answer.effort === "full" ? " --full" : ""}`,
    `${answer.date}, ${reportMachine(answer.machine)}`,
    `load of the minute before the end: ${answer.machine.loadAfter.toFixed(2)}` +
    (answer.emulator === undefined ? "" : `; ${answer.emulator}`),
    "",
    table.report(answer.data)
  ].join("\n")

const pageOf = (title: string, figures: string): string =>
  `# ${title}\n\nWritten by \`npm run bench -- --record\`; [what is measured](../README.md).\n\n` +
  `\`\`\`\n${figures}\n\`\`\`\n`
