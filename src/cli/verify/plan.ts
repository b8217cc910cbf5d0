/**
 * What a run does and what it may cost, before it starts.
 */
import { wrap } from "../command.ts"
import { size } from "./fight.ts"
import { addCosts, type Cost, type Operation } from "./meter.ts"
import type { Address } from "./namespace.ts"

/** A part of a run that can be left out. */
export type Part = "questions" | "facts" | "fight"

/** All parts, in their order. */
export const allParts: ReadonlyArray<Part> = ["questions", "facts", "fight"]

/** What is known before the start. */
export interface Plan {
  readonly address: Address
  readonly namespace: string
  readonly parts: ReadonlyArray<Part>
  /** Whether the emulator was started for this run, and ends with it. */
  readonly ownsEmulator?: boolean | undefined
}

/** The most that each part may cost; operations beyond the sum are not sent. */
const bounds: Readonly<Record<Part, Cost>> = {
  questions: { reads: 6_000, writes: 2_500, deletes: 200 },
  facts: { reads: 15_000, writes: 8_000, deletes: 1_000 },
  fight: { reads: 9_000, writes: 3_000, deletes: 1_000 }
}

/** The most that a run may cost, without its cleaning up. */
export const boundOf = (parts: ReadonlyArray<Part>): Cost => addCosts(parts.map((part) => bounds[part]))

/** Cleaning up deletes at most what was written; it reads keys, 500 at a time, in up to four passes. */
const boundOfCleaning = (parts: ReadonlyArray<Part>): Cost => {
  const { writes } = boundOf(parts)
  return { reads: Math.ceil(writes / 500) + 8, writes: 0, deletes: writes }
}

const what: Readonly<Record<Part, string>> = {
  questions: "asks what the design leans on",
  facts: "checks the conformance facts",
  fight: `${size.workers} workers on ${size.events} events of one recipient`
}

/** A database in words. */
export const describe = ({ databaseId, emulatorHost, endpoint, projectId }: Address): string => {
  const where = emulatorHost !== undefined
    ? ` on the emulator at ${emulatorHost}`
    : endpoint === undefined
    ? ""
    : ` at ${endpoint}`
  return `project ${projectId}, database ${databaseId ?? "(default)"}${where}`
}

const grouped = (value: number): string => value.toLocaleString("en-US")

const count = (value: number): string => grouped(value).padStart(9)

const row = (name: string, doing: string, { deletes, reads, writes }: Cost): string =>
  `  ${name.padEnd(11)}${doing.padEnd(40)}${count(reads)}${count(writes)}${count(deletes)}`

/** The plan as some lines; `cleaning` is the command that empties the namespace of a run that was killed. */
export const formatPlan = ({ address, namespace, parts }: Plan, cleaning: string): string => {
  const all = addCosts([boundOf(parts), boundOfCleaning(parts)])
  return [
    `Verifying ${describe(address)}`,
    "",
    `  ${"at most".padEnd(51)}    reads   writes  deletes`,
    ...parts.map((part) => row(part, what[part], bounds[part])),
    row("cleaning", "deletes what was written", boundOfCleaning(parts)),
    row("in all", "billed as any use of the database", all),
    "",
    wrap(
      "  ",
      `Everything is written to the namespace ${namespace}, which is new and is emptied at the end, also after a failure ` +
        "or Ctrl-C. Nothing outside of it is read or written. The numbers are entities; what would go beyond is not sent." +
        (parts.includes("facts") ? " The facts also send some 15 MB." : ""),
      2
    ),
    "  A run that is killed leaves it behind; this empties it:",
    `    ${cleaning}`,
    ""
  ].join("\n")
}

/** What a run has cost, as some lines. */
export const formatSpent = (spent: Cost, medianMillis: (operation: Operation) => number | undefined): string => {
  const medians = (["lookup", "query", "commit"] as const).flatMap((operation) => {
    const millis = medianMillis(operation)
    return millis === undefined ? [] : [`${operation} ${millis.toFixed(1)} ms`]
  })
  const { deletes, reads, writes } = spent
  const cost = `${grouped(reads)} reads, ${grouped(writes)} writes and ${grouped(deletes)} deletes`
  return wrap("", `It cost ${cost} before the cleaning. Medians: ${medians.join(", ")}.`, 0)
}
