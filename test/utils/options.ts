import { ConfigProvider, Console, Effect } from "effect"
import type { Command } from "effect/cli"
import { type Exited, runCommand } from "../../src/cli/command.ts"

type AnyCommand = (program: (options: any) => Effect.Effect<number>) => any

/** What a command makes of a command line: its options, or what it says against them. */
export const readOptions = <C extends AnyCommand>(
  command: C,
  args: ReadonlyArray<string>,
  provider = ConfigProvider.fromEnv()
) => {
  let options: Parameters<Parameters<C>[0]>[0] | undefined
  const said: Array<unknown> = []
  const hear = (...words: ReadonlyArray<unknown>) => said.push(...words)
  const program = (given: typeof options) =>
    Effect.sync(() => {
      options = given
      return 0
    })
  const main: Command.Command<string, object, object, Exited, never> = command(program)
  const code = Effect.runSync(
    Effect.provideService(runCommand(main, args), Console.Console, {
      ...globalThis.console,
      log: hear,
      error: hear
    }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, provider))
  )
  return { options, said: said.join("\n"), code }
}
