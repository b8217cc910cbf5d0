/**
 * The options of `npm run verify`.
 */
import { parseArgs } from "node:util"
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

/** What `--help` prints. */
export const help = `Usage: npm run verify -- --project P [--database D] [options]
       npm run verify -- --datastore emulator [options]

Finds out whether a database does what eventbox relies on: asks what the design leans on, checks the facts of the
conformance suite, and lets workers fight over one recipient. It says first what it will do and what that may cost,
works in a namespace of its own, which it empties at the end, and prints a verdict with what to do about each answer
that differs.

  --project P        project of a real database; needs a login (gcloud auth application-default login, or
                     GOOGLE_APPLICATION_CREDENTIALS) with the role roles/datastore.user
  --database D       database of the project                                (the default database)
  --datastore WHAT   google, or emulator: the one that DATASTORE_EMULATOR_HOST names, or one that is started  (google)
  --endpoint HOST    another host of the service, such as one of a region
  --unwritten-expectations noop|interactive
                     how to verify: as the layer's option of this name      (noop)
  --only LIST        some of questions, facts and fight, with commas        (all)
  --dry-run          only say what would be done
  --clean NAMESPACE  in place of a run, empty a namespace that a killed run has left
  --help             print this

Exit code: 0 everything is as eventbox assumes it, 1 something differs, 2 bad options, no way to the database, or not
finished. docs/guides/verify.md says more.`

/** An option that cannot be used; its message is for the user. */
export class BadOptionError extends Error {
  override readonly name = "BadOptionError"
}

type Environment = Readonly<Record<string, string | undefined>>

/** Reads the command line; `undefined` when help was asked for. Throws a {@link BadOptionError}. */
export const parseOptions = (args: ReadonlyArray<string>, environment: Environment): Options | undefined => {
  const values = parse(args)
  if (values.help === true) return undefined
  const projectId = named("--project", values.project)
  const databaseId = named("--database", values.database)
  if (projectId === undefined && values.datastore === undefined) {
    throw new BadOptionError("say which database: --project P for a real one, or --datastore emulator")
  }
  const datastore = oneOf("--datastore", ["google", "emulator"], values.datastore ?? "google")
  const endpoint = named("--endpoint", values.endpoint)
  if (datastore === "google") checkGoogle(projectId, environment)
  else if (endpoint !== undefined) {
    throw new BadOptionError("--endpoint is for a real database; DATASTORE_EMULATOR_HOST names the emulator")
  }
  const clean = values.clean
  if (clean !== undefined && !isOurs(clean)) {
    throw new BadOptionError(
      `--clean only empties namespaces of this program, ${prefix}…, got ${JSON.stringify(clean)}`
    )
  }
  return {
    datastore,
    projectId,
    databaseId: databaseId === "(default)" ? undefined : databaseId,
    endpoint,
    unwrittenExpectations: oneOf(
      "--unwritten-expectations",
      ["noop", "interactive"],
      values["unwritten-expectations"] ?? "noop"
    ),
    parts: partsOf(values.only),
    dryRun: values["dry-run"] === true,
    clean
  }
}

const parse = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        project: { type: "string" },
        database: { type: "string" },
        datastore: { type: "string" },
        endpoint: { type: "string" },
        "unwritten-expectations": { type: "string" },
        only: { type: "string" },
        "dry-run": { type: "boolean" },
        clean: { type: "string" },
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    throw new BadOptionError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

const checkGoogle = (projectId: string | undefined, environment: Environment): void => {
  if (projectId === undefined) throw new BadOptionError("--datastore google needs --project P")
  const host = environment["DATASTORE_EMULATOR_HOST"]
  if (host !== undefined && host !== "") {
    throw new BadOptionError(
      `DATASTORE_EMULATOR_HOST is set to ${host}, so a real database would not be reached: unset it, or use ` +
        "--datastore emulator"
    )
  }
}

const named = (name: string, value: string | undefined): string | undefined => {
  if (value === undefined || value.trim() !== "") return value
  throw new BadOptionError(`${name} needs a value`)
}

const oneOf = <A extends string>(name: string, allowed: ReadonlyArray<A>, value: string): A => {
  const found = allowed.find((one) => one === value)
  if (found !== undefined) return found
  throw new BadOptionError(`${name} is ${allowed.join(" or ")}, got ${JSON.stringify(value)}`)
}

const partsOf = (only: string | undefined): ReadonlyArray<Part> => {
  if (only === undefined) return allParts
  const wanted = new Set(only.split(",").map((name) => oneOf("--only", allParts, name.trim())))
  return allParts.filter((part) => wanted.has(part))
}
