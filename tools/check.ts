/**
 * Runs every check but the tests, also after one has failed, and says at the end which did.
 */
import { spawnSync } from "node:child_process"
import { projectRoot } from "./source.ts"

const checks = ["types", "lint", "pages", "format:check", "tidy", "doctest", "api:check", "package"]

const failed = checks.filter((check) => {
  console.log(`\n== npm run ${check}`)
  return spawnSync("npm", ["run", "--silent", check], { cwd: projectRoot, stdio: "inherit" }).status !== 0
})

console.log(failed.length === 0 ? `\ncheck: ok, ${checks.length} checks` : `\ncheck: failed: ${failed.join(", ")}`)
if (failed.length > 0) process.exitCode = 1
