/**
 * Prints one line about a test run, from the file that vitest's JSON reporter wrote: `N passed, N failed, N skipped`.
 */
import { readFileSync } from "node:fs"

const report: any = JSON.parse(readFileSync(process.argv[2]!, "utf8"))
// A file that could not even be loaded counts as one failure.
const unloaded = report.testResults.filter((file: any) =>
  file.status === "failed" && file.assertionResults.length === 0
)
const failed = report.numFailedTests + unloaded.length
console.log(
  `${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`
)
