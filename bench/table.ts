/**
 * Numbers and tables as text.
 */
import type { Proof, Spread } from "./measure.ts"

/** A number with about three digits that mean something, and commas between thousands. */
export const formatNumber = (value: number): string => {
  const digits = value >= 99.95 || Number.isInteger(value) ? 0 : value >= 9.995 ? 1 : 2
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** A median with its ends: `12.3 (11.8..14.0)`. */
export const formatSpread = (spread: Spread | undefined): string =>
  spread === undefined
    ? "-"
    : `${formatNumber(spread.median)} (${formatNumber(spread.min)}..${formatNumber(spread.max)})`

/** A ratio of two medians: `x 2.4`. */
export const formatRatio = (of: Spread, to: Spread): string => `x ${formatNumber(of.median / to.median)}`

/** Rows in columns, the first column to the left and the others to the right. */
export const formatTable = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)))
  const line = (row: ReadonlyArray<string>) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join("   ")
      .trimEnd()
  return [line(head), widths.map((width) => "-".repeat(width)).join("   "), ...rows.map(line)].join("\n")
}

/** The line that says that the work was done. */
export const reportProof = ({ count, samples, sum }: Proof): string =>
  `CHECKED: ${formatNumber(samples)} samples left ${
    formatNumber(count)
  } events in their entities, the sum of the amounts ` +
  `${formatNumber(sum)}, and no event in a mailbox.`
