/**
 * Prints one line about test runs, from the files that vitest's JSON reporter wrote: `N passed, N failed, N skipped`.
 */
import { readFileSync } from "node:fs"

const reports = process.argv.slice(2).map((path): any => JSON.parse(readFileSync(path, "utf8")))

const sum = (count: (report: any) => number): number => reports.reduce((total, report) => total + count(report), 0)

// A file that could not even be loaded counts as one failure.
const unloaded = (report: any): number =>
  report.testResults.filter((file: any) => file.status === "failed" && file.assertionResults.length === 0).length

const passed = sum((report) => report.numPassedTests)
const failed = sum((report) => report.numFailedTests + unloaded(report))
const skipped = sum((report) => report.numPendingTests + report.numTodoTests)
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
