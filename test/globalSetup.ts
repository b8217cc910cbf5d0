/**
 * Starts one emulator for the whole run, if a test file of the run uses it, and gives its host to the tests.
 *
 * `DATASTORE_EMULATOR_HOST` names one that runs already. Where none can be had, the tests that need it are skipped,
 * loudly; with `EVENTBOX_REQUIRE_EMULATOR=1` the run fails instead.
 */
import { Effect, Exit, Scope } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { TestProject } from "vitest/node"
import * as Emulator from "../src/layers/Emulator.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** Host and port of the emulator; empty when there is none. */
    readonly emulatorHost: string
  }
}

export const setup = async (project: TestProject): Promise<(() => Promise<void>) | undefined> => {
  const files = await filesOf(project)
  if (process.env["EVENTBOX_LONG"] !== "1" && files.some((file) => readFileSync(file, "utf8").includes("(isLong)"))) {
    console.error("\nSKIPPED: enumerations that take many minutes each; EVENTBOX_LONG=1 runs them.\n")
  }
  if (!isUsed(files)) {
    project.provide("emulatorHost", "")
    return undefined
  }
  const scope = Scope.makeUnsafe()
  const started = await Effect.runPromise(Effect.result(Scope.provide(Emulator.start(), scope)))
  if (started._tag === "Success") {
    project.provide("emulatorHost", started.success.host)
    return () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
  const asked = process.env["EVENTBOX_REQUIRE_EMULATOR"] === "1" ||
    (process.env["DATASTORE_EMULATOR_HOST"] ?? "") !== ""
  if (asked) throw started.failure
  const line = "!".repeat(100)
  console.error(`\n${line}\nSKIPPED: every test on the emulator.\n${started.failure.message}\n${line}\n`)
  project.provide("emulatorHost", "")
  return undefined
}

/** The test files of this run. The filter of the command line has no public name. */
const filesOf = async ({ vitest }: TestProject): Promise<ReadonlyArray<string>> => {
  const { filenamePattern } = vitest as { readonly filenamePattern?: ReadonlyArray<string> | undefined }
  const files = await vitest.globTestSpecifications(filenamePattern === undefined ? undefined : [...filenamePattern])
  return files.map(({ moduleId }) => moduleId)
}

/** Whether a test file of this run asks for the emulator. */
const isUsed = (files: ReadonlyArray<string>): boolean => {
  const seen = new Set<string>()
  return files.some((file) => reaches(file, join(import.meta.dirname, "utils/emulator.ts"), seen))
}

/** Whether a test file, or one of the tests' own files that it imports, is this one. */
const reaches = (file: string, wanted: string, seen: Set<string>): boolean => {
  if (file === wanted) return true
  if (seen.has(file) || !file.startsWith(import.meta.dirname) || !existsSync(file)) return false
  seen.add(file)
  return Array.from(readFileSync(file, "utf8").matchAll(/^(?:import|export|\}).* from "(\.[^"]+\.ts)"$/gm))
    .some(([, name]) => reaches(join(dirname(file), name!), wanted, seen))
}
