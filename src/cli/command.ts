/**
 * Runs one command of `effect/cli` as a process: its options, its help within 80 columns, its exit code.
 */
import { Console, Data, Effect, FileSystem, Layer, Option, Path, Stdio, Terminal } from "effect"
import {
  CliConfig,
  type CliError,
  CliOutput,
  Command,
  Flag,
  GlobalFlag,
  type HelpDoc,
  TerminalCapabilities
} from "effect/cli"
import { ChildProcessSpawner } from "effect/process"

/** Columns of help and reports. */
export const width = 80

/** Breaks a text into lines of {@link width}, after a label; all but the first are indented as far as the label. */
export const wrap = (label: string, text: string, indent: number): string => {
  const lines = [label.padEnd(indent)]
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)!
    if (line.length === indent) lines[lines.length - 1] = line + word
    else if (line.length + 1 + word.length > width) lines.push(" ".repeat(indent) + word)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines.join("\n")
}

/** A flag for a whole number. */
export const count = (name: string, min: number, max: number, fallback: number, help: string): Flag.Flag<number> =>
  Flag.withDefault(countOr(name, min, max, String(fallback), help), fallback)

/** A flag for a whole number, whose fallback depends on something; `shown` tells it in the help. */
export const countOr = (name: string, min: number, max: number, shown: string, help: string): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.filterMap((given) => {
      const value = /^\d+$/.test(given) ? Number(given) : NaN
      return value >= min && value <= max ? Option.some(value) : Option.none()
    }, () => `an integer from ${min} to ${max}`),
    Flag.withMetavar("N"),
    Flag.withDescription(`${help} [${shown}]`)
  )

/** A flag for a text that is not empty. */
export const text = (name: string, metavar: string, help: string): Flag.Flag<string> =>
  Flag.String(name).pipe(
    Flag.filter((value) => value.trim() !== "", () => "a text that is not empty"),
    Flag.withMetavar(metavar),
    Flag.withDescription(help)
  )

/** Options that do not go together; the message is for the user. */
export class Refused extends Data.TaggedError("Refused")<{ readonly message: string }> {}

/** Refuses options. */
export const refuse = (message: string): Effect.Effect<never, Refused> => Effect.fail(new Refused({ message }))

/** How a program tells its exit code to {@link runCommand}. */
export class Exited extends Data.TaggedError("Exited")<{ readonly code: number }> {}

// A flag reads no files, asks nothing and starts nothing, so no package for a platform is needed.
const environment = Layer.mergeAll(
  FileSystem.layerNoop({}),
  Path.layer,
  Stdio.layerTest({}),
  Layer.succeed(
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.succeed(width),
      rows: Effect.succeed(24),
      size: Effect.die("no questions are asked"),
      readInput: Effect.die("no questions are asked"),
      readLine: Effect.die("no questions are asked"),
      display: () => Effect.void
    })
  ),
  Layer.succeed(
    ChildProcessSpawner.ChildProcessSpawner,
    ChildProcessSpawner.make(() => Effect.die("nothing is started"))
  )
)

/** The formatter of `effect/cli` breaks no lines. */
const narrow = (doc: HelpDoc.HelpDoc): HelpDoc.HelpDoc => {
  const lines = doc.description.split("\n").map((line) => line === "" ? "" : wrap("", line, 2))
  return {
    ...doc,
    description: lines.join("\n").trimStart(),
    flags: narrowFlags(doc.flags),
    globalFlags: narrowFlags(doc.globalFlags ?? [])
  }
}

const narrowFlags = (flags: ReadonlyArray<HelpDoc.FlagDoc>): ReadonlyArray<HelpDoc.FlagDoc> => {
  const columns = flags.map(({ aliases, name, type }) =>
    [`--${name}`, ...aliases].join(", ").length + (type === "boolean" ? 0 : type.length + 1)
  )
  const indent = Math.max(...columns) + 6
  return flags.map(({ description, ...flag }) => ({
    ...flag,
    description: Option.map(description, (said) => wrap("", said, indent).trimStart())
  }))
}

const presenter: CliOutput.Presenter = {
  present: Effect.fnUntraced(function*(event) {
    const { canColor: colors } = yield* TerminalCapabilities.TerminalCapabilities
    const formatter = CliOutput.defaultFormatter({ colors })
    switch (event._tag) {
      case "Help":
        return yield* Console.log(formatter.formatHelpDoc(narrow(event.helpDoc)))
      case "Version":
        return yield* Console.log(formatter.formatVersion(event.name, event.version))
      case "InvalidInvocation":
        return yield* complain(event.commandPath.at(-1)!, event.errors.map(formatter.formatCliError))
    }
  })
}

/** Tells what is wrong with the options. */
const complain = (name: string, problems: ReadonlyArray<string>): Effect.Effect<void> =>
  Console.error([...problems, "--help shows the options"].map((problem) => `${name}: ${problem}`).join("\n"))

/** Exit code after options that cannot be used. */
const badOptionsCode = 2

/** A command whose program takes what `check` makes of the flags, and succeeds with an exit code. */
export const command = <const Name extends string, const Flags extends Command.Command.Config, Options>(spec: {
  readonly name: Name
  readonly description: string
  readonly flags: Flags
  readonly check: (values: Command.Command.Config.Infer<Flags>) => Effect.Effect<Options, Refused>
}) =>
<R>(program: (options: Options) => Effect.Effect<number, never, R>) =>
  Command.make(spec.name, spec.flags, (values) =>
    spec.check(values).pipe(
      Effect.catchTag("Refused", ({ message }) =>
        Effect.andThen(complain(spec.name, [message]), new Exited({ code: badOptionsCode }))),
      Effect.flatMap(program),
      Effect.flatMap((code) =>
        new Exited({ code })
      )
    )).pipe(Command.withDescription(spec.description))

/** Reads a command line and runs its program; returns the exit code: 0 after `--help`, 2 after bad options. */
export const runCommand = <Name extends string, Input, Context, R>(
  main: Command.Command<Name, Input, Context, Exited | CliError.CliError, R>,
  args: ReadonlyArray<string>,
  version?: string
): Effect.Effect<number, never, Exclude<R, Command.Environment>> =>
  Command.runWith(main, { version: version ?? "" })(args).pipe(
    Effect.as(0),
    Effect.catch((error) => Effect.succeed(error._tag === "Exited" ? error.code : badOptionsCode)),
    Effect.provide(environment),
    Effect.provideService(CliOutput.Presenter, presenter),
    Effect.provideService(CliConfig.CliConfig, {
      builtIns: version === undefined ? [GlobalFlag.Help] : [GlobalFlag.Help, GlobalFlag.Version]
    })
  )
