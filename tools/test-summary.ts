/**
 * Prints one line about a test run, from the file that vitest's JSON reporter wrote: `N passed, N failed, N skipped`.
 */
import { readFileSync } from "node:fs"

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: ReadonlyArray<{ readonly status: string; readonly assertionResults: ReadonlyArray<unknown> }>
}

/** The line of a report. A file that could not even be loaded counts as one failure. */
export const summarise = (report: Report): string => {
  const unloaded = report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0)
  const failed = report.numFailedTests + unloaded.length
  return `${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`
}

if (import.meta.main) console.log(summarise(JSON.parse(readFileSync(process.argv[2]!, "utf8"))))
