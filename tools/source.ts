/**
 * What the tools share: the project's files, parsing, running programs, and printing problems.
 */
import { execFile } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { type Comment, parseSync } from "oxc-parser"

export type { Comment }

/** The root of the project, where `package.json` is. */
export const projectRoot = join(import.meta.dirname, "..")

/** One thing that a check found; line 0 stands for the file as a whole. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly message: string
}

/** Paths of the project's own files that end so, relative, in order. */
export const listFiles = (ending: string, root = projectRoot): ReadonlyArray<string> =>
  globSync(`**/*${ending}`, {
    cwd: root,
    exclude: (name) => name.startsWith(".") || ["node_modules", "dist", "coverage"].includes(name)
  }).toSorted()

/** The text of a file of the project. */
export const readText = (path: string, root = projectRoot): string => readFileSync(join(root, path), "utf8")

/** The line, from 1, on which the character at `offset` stands. */
export const lineAt = (text: string, offset: number): number => text.slice(0, offset).split("\n").length

/** A node of the syntax tree (ESTree with TypeScript), as far as the tools look into it. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [property: string]: unknown
}

/** A module, parsed. */
export interface Parsed {
  readonly path: string
  readonly text: string
  readonly body: ReadonlyArray<Node>
  readonly comments: ReadonlyArray<Comment>
}

/** Parses a TypeScript module; throws when it does not parse. */
export const parse = (path: string, text: string): Parsed => {
  const { comments, errors, program } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`)
  return { path, text, body: program.body as unknown as ReadonlyArray<Node>, comments }
}

/** How a program ended and what it said. */
export interface Finished {
  readonly code: number | string | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv }
): Promise<Finished> =>
  new Promise((resolve) => {
    execFile(command, args, { timeout: 300_000, maxBuffer: 1e8, ...options }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code ?? null, stdout, stderr })
    })
  })

/** The compiler's messages about the project that is configured in `folder`, one a line; empty when all is well. */
export const compile = async (folder: string): Promise<string> => {
  // TypeScript 7 has no stable API.
  const tsc = join(projectRoot, "node_modules/typescript/bin/tsc")
  const { stderr, stdout } = await run(process.execPath, [tsc, "-p", folder, "--noEmit", "--pretty", "false"], {
    cwd: folder
  })
  return stdout + stderr
}

/** Prints what a check found and makes the process fail if it found anything. */
export const report = (check: string, problems: ReadonlyArray<Problem>, looked: string): void => {
  for (const { file, line, message } of problems) console.error(`${file}${line === 0 ? "" : `:${line}`}: ${message}`)
  if (problems.length > 0) process.exitCode = 1
  console.log(problems.length === 0 ? `${check}: ok, ${looked}` : `${check}: ${problems.length} problems, ${looked}`)
}
