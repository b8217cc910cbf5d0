/**
 * Runs the compiler for the checks: TypeScript 7 has no stable API, so its messages are read.
 */
import { join } from "node:path"
import { run } from "./process.ts"
import { projectRoot } from "./source.ts"

/** One message of the compiler; `text` holds all its lines. */
export interface Diagnostic {
  /** Relative to the folder of the configuration. */
  readonly file: string
  readonly line: number
  readonly text: string
}

/** Type-checks the project that is configured in `folder`. */
export const compile = async (folder: string): Promise<ReadonlyArray<Diagnostic>> => {
  const tsc = join(projectRoot, "node_modules/typescript/bin/tsc")
  const args = [tsc, "-p", folder, "--noEmit", "--pretty", "false"]
  const { code, stderr, stdout } = await run(process.execPath, args, { cwd: folder, timeoutMillis: 300_000 })
  const diagnostics: Array<Diagnostic> = []
  for (const line of stdout.split("\n").filter((one) => one.trim() !== "")) {
    const last = diagnostics.at(-1)
    const [, file, at, text] = /^(.+?)\((\d+),\d+\): (.*)$/.exec(line) ?? []
    if (file !== undefined) diagnostics.push({ file, line: Number(at), text: text! })
    else if (/^\s/.test(line) && last !== undefined) {
      diagnostics[diagnostics.length - 1] = { ...last, text: `${last.text}\n${line}` }
    } else diagnostics.push({ file: "", line: 0, text: line })
  }
  if (code !== 0 && diagnostics.length === 0) throw new Error(`the compiler failed without a message: ${stderr}`)
  return diagnostics
}
