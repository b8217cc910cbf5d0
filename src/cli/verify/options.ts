/**
 * The options of `effect-eventbox verify`.
 */
import { Config, Effect } from "effect"
import { Flag } from "effect/cli"
import { command, refuse, type Refused, text } from "../command.ts"
import { isOurs, prefix } from "./namespace.ts"
import { allParts, type Part } from "./plan.ts"

/** A real database, or an emulator whose host is found or started later. */
export interface Options {
  readonly datastore: "google" | "emulator"
  readonly projectId: string | undefined
  readonly databaseId: string | undefined
  readonly endpoint: string | undefined
  readonly unwrittenExpectations: "noop" | "interactive"
  readonly parts: ReadonlyArray<Part>
  /** Only say what would be done. */
  readonly dryRun: boolean
  /** A namespace that a killed run has left, to be emptied in place of a run. */
  readonly clean: string | undefined
}

const description = `\
Finds out whether a database does what eventbox relies on: asks what the design leans on, checks the facts of the \
conformance suite, and lets workers fight over one recipient. It says first what it will do and what that may cost, \
works in a namespace of its own, which it empties at the end, and prints a verdict with what to do about each answer \
that differs.

It needs @google-cloud/datastore beside it, and --project P, or --datastore emulator.

Exit code: 0 everything is as eventbox assumes it, 1 something differs, 2 bad options, no way to the database, or not \
finished.`

const unlessGiven = Flag.withDefault(undefined)

const flags = {
  projectId: text(
    "project",
    "P",
    "project of a real database; needs a login (gcloud auth application-default login, or " +
      "GOOGLE_APPLICATION_CREDENTIALS) with the role roles/datastore.user"
  ).pipe(unlessGiven),
  databaseId: text("database", "D", "database of the project [the default database]").pipe(unlessGiven),
  datastore: Flag.Literals("datastore", ["google", "emulator"]).pipe(
    Flag.withMetavar("WHAT"),
    Flag.withDescription("the emulator is the one that DATASTORE_EMULATOR_HOST names, or one that is started [google]"),
    unlessGiven
  ),
  endpoint: text("endpoint", "HOST", "another host of the service, such as one of a region").pipe(unlessGiven),
  unwrittenExpectations: Flag.Literals("unwritten-expectations", ["noop", "interactive"]).pipe(
    Flag.withMetavar("HOW"),
    Flag.withDescription("how to verify: as the layer's option of this name [noop]"),
    Flag.withDefault("noop")
  ),
  only: text("only", "LIST", "some of questions, facts and fight, with commas [all]").pipe(
    Flag.filter(
      (list) => list.split(",").every((name) => allParts.some((part) => part === name.trim())),
      () => `some of ${allParts.join(", ")}`
    ),
    unlessGiven
  ),
  dryRun: Flag.Boolean("dry-run").pipe(
    Flag.withDescription("only say what would be done"),
    Flag.withDefault(false)
  ),
  clean: text("clean", "NAMESPACE", "in place of a run, empty a namespace that a killed run has left").pipe(
    Flag.filter(isOurs, () => `a namespace of this program, ${prefix}…; no other is emptied`),
    unlessGiven
  )
}

const emulatorHost = Effect.orDie(Effect.gen(function*() {
  return yield* Config.withDefault(Config.String("DATASTORE_EMULATOR_HOST"), "")
}))

/** `effect-eventbox verify`. */
export const verifyCommand = command({
  name: "verify",
  description,
  flags,
  check: ({ only, ...given }): Effect.Effect<Options, Refused> =>
    Effect.gen(function*() {
      const { databaseId, datastore = "google", endpoint, projectId } = given
      if (projectId === undefined && datastore === "google") {
        return yield* refuse("say which database: --project P for a real one, or --datastore emulator")
      }
      const host = yield* emulatorHost
      if (datastore === "google" && host !== "") {
        return yield* refuse(
          `DATASTORE_EMULATOR_HOST is set to ${host}, so a real database would not be reached: unset it, or use ` +
            "--datastore emulator"
        )
      }
      if (datastore === "emulator" && endpoint !== undefined) {
        return yield* refuse("--endpoint is for a real database; DATASTORE_EMULATOR_HOST names the emulator")
      }
      const wanted = only?.split(",").map((name) => name.trim())
      return {
        ...given,
        datastore,
        databaseId: databaseId === "(default)" ? undefined : databaseId,
        parts: allParts.filter((part) => wanted === undefined || wanted.includes(part))
      }
    })
})
