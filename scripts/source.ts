/**
 * What the checks share: walking the tree, parsing, and printing problems.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { parseSync, visitorKeys } from "oxc-parser"

/** The root of the project, where `package.json` is. */
export const projectRoot = join(import.meta.dirname, "..")

/** One thing that a check found. */
export interface Problem {
  readonly file: string
  /** From 1; 0 when the problem is about the file as a whole. */
  readonly line: number
  readonly message: string
}

const skippedFolders = new Set(["node_modules", "dist", "coverage"])
const keptDotFolders = new Set([".changeset", ".ci", ".github"])

/** Paths of all files below `root` that the project owns, relative, with `/`, in order. */
export const listFiles = (root: string, folder = ""): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`
      if (!entry.isDirectory()) return [path]
      const skipped = skippedFolders.has(entry.name) ||
        (entry.name.startsWith(".") && !keptDotFolders.has(entry.name))
      return skipped ? [] : listFiles(root, path)
    })

/** The text of a file, with `\n` line ends. */
export const readText = (root: string, path: string): string =>
  readFileSync(join(root, path), "utf8").replaceAll("\r\n", "\n")

/** The line, from 1, on which the character at `offset` stands. */
export const lineAt = (text: string, offset: number): number => {
  let line = 1
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line++
  return line
}

/** A node of the syntax tree (ESTree with TypeScript), as far as the checks look into it. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [property: string]: unknown
}

/** A comment, without its delimiters. */
export interface Comment {
  readonly type: "Line" | "Block"
  readonly value: string
  readonly start: number
  readonly end: number
}

/** A module, parsed. */
export interface Parsed {
  readonly path: string
  readonly text: string
  readonly body: ReadonlyArray<Node>
  readonly comments: ReadonlyArray<Comment>
}

/** Parses a TypeScript module; throws when it does not parse, as the compiler says more about it. */
export const parse = (path: string, text: string): Parsed => {
  const result = parseSync(path, text)
  if (result.errors.length > 0) throw new Error(`${path} does not parse: ${result.errors[0]?.message}`)
  return { path, text, body: result.program.body as unknown as ReadonlyArray<Node>, comments: result.comments }
}

/** Whether a value is a syntax tree node. */
export const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string"

/** Calls `enter` with each node below `node` and its parents, nearest last; `false` skips what is below. */
export const walk = (
  node: Node,
  enter: (node: Node, parents: ReadonlyArray<Node>) => boolean | void,
  parents: ReadonlyArray<Node> = []
): void => {
  if (enter(node, parents) === false) return
  const below = [...parents, node]
  for (const key of visitorKeys[node.type] ?? []) {
    const child = node[key]
    for (const one of Array.isArray(child) ? child : [child]) if (isNode(one)) walk(one, enter, below)
  }
}

/** Prints what a check found and makes the process fail if it found anything. */
export const report = (check: string, problems: ReadonlyArray<Problem>, looked: string): void => {
  for (const { file, line, message } of problems) console.error(`${file}${line === 0 ? "" : `:${line}`}: ${message}`)
  if (problems.length > 0) process.exitCode = 1
  console.log(problems.length === 0 ? `${check}: ok, ${looked}` : `${check}: ${problems.length} problems, ${looked}`)
}
