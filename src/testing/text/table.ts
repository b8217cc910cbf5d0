/**
 * A history as text.
 */
import * as Exit from "effect/Exit"
import { type CommitRequest, type Mutation, mutationKey, type QueryResult, type Snapshot } from "../../Backend.ts"
import { isDatastoreError } from "../../EventboxError.ts"
import type { Key } from "../../Key.ts"
import type { Call } from "../Recorder.ts"

/** One line of a history: a step, with its number, or what happened in consequence of it. */
export interface Row {
  readonly number: number | undefined
  readonly who: string
  readonly what: string
  readonly result: string
  readonly atMillis: number
}

/** What an operation asks, with its keys. */
export const describeCall = (call: Call): string => {
  switch (call.operation) {
    case "lookup":
      return `lookup ${list(call.keys)}`
    case "query": {
      const { ancestor, from, kind, limit } = call.query
      const below = ancestor === undefined ? "" : ` of ${ancestor}`
      const after = from === undefined || typeof from.key.id !== "string" ? "" : ` from ${JSON.stringify(from.key.id)}`
      return `query ${kind}${below}${after}${limit === undefined ? "" : `, at most ${limit}`}`
    }
    case "commit":
      return describeCommit(call.request)
  }
}

const describeCommit = ({ expected, mutations }: CommitRequest): string => {
  const written = mutations.map((mutation) => `${verb[mutation._tag]} ${short(mutationKey(mutation))}`)
  const texts = new Set(mutations.map((mutation) => mutationKey(mutation).toString()))
  const isSame = expected.length === texts.size && expected.every(({ key }) => texts.has(key.toString()))
  const expects = isSame ? "; expects them unchanged" : `; expects ${list(expected.map(({ key }) => key))} unchanged`
  return `commit ${written.join(", ")}${expected.length === 0 ? "" : expects}`
}

const verb: Readonly<Record<Mutation["_tag"], string>> = {
  Insert: "insert",
  Upsert: "put",
  Patch: "patch",
  Delete: "delete"
}

/** How an operation, or a program when there is none, came out. */
export const describeExit = (call: Call | undefined, exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isFailure(exit)) {
    return exit.cause.reasons.map((reason) => reason._tag === "Fail" ? nameOf(reason.error) : reason._tag).join(", ")
  }
  switch (call?.operation) {
    case undefined:
      return "success"
    case "commit":
      return "landed"
    case "lookup":
      return (exit.value as ReadonlyArray<Snapshot>).map(({ entity, version }) =>
        entity._tag === "None" ? "absent" : `v${version}`
      ).join(", ")
    case "query": {
      const { results } = exit.value as QueryResult
      const ids = results.slice(0, 5).map(({ key }) => key.id)
      return `${results.length} found${ids.length === 0 ? "" : `: ${ids.join(", ")}`}${results.length > 5 ? " …" : ""}`
    }
  }
}

const nameOf = (error: unknown): string => {
  if (isDatastoreError(error)) return error.reason._tag
  const { _tag } = (error ?? {}) as { readonly _tag?: unknown }
  return typeof _tag === "string" ? _tag : String(error)
}

/** A key without the path that leads to it, when that is long. */
const short = (key: Key): string =>
  key.path.slice(-2).map(({ id, kind }) => `${kind},${typeof id === "string" ? JSON.stringify(id) : id}`).join("/")

const list = (keys: ReadonlyArray<Key>): string =>
  keys.length <= 4
    ? keys.map(short).join(", ")
    : `${keys.slice(0, 4).map(short).join(", ")} and ${keys.length - 4} more`

/** Rows as a table in columns, with the time since the start where it moved. */
export const formatRows = (rows: ReadonlyArray<Row>, startMillis: number): string => {
  const hasTime = rows.some(({ atMillis }) => atMillis !== startMillis)
  const cells = rows.map(({ atMillis, number, result, what, who }) => [
    number === undefined ? "" : String(number),
    ...(hasTime ? [`${(atMillis - startMillis) / 1_000} s`] : []),
    who,
    what,
    result
  ])
  const lines = [["step", ...(hasTime ? ["time"] : []), "fiber", "operation", "result"], ...cells]
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const format = (line: ReadonlyArray<string>): string =>
    line.map((cell, column) => column === line.length - 1 ? cell : cell.padEnd(widths[column]!)).join("  ").trimEnd()
  return lines.map(format).join("\n")
}

/** A number as people read it. */
export const formatCount = (value: number): string => value.toLocaleString("en")
