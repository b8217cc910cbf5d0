/**
 * `npm run tidy`: what no linter knows of the house style: doc comments of exports, and the width of comments.
 *
 * Why by hand: `eslint-plugin-jsdoc` knows tags and not the parts of our doc comments, `dprint` leaves comments alone,
 * and oxlint has no `max-len`. Pages are `markdownlint`'s, leftover markers and sizes oxlint's.
 */
import {
  type Comment,
  lineAt,
  listFiles,
  type Node,
  parse,
  type Parsed,
  type Problem,
  readText,
  report
} from "./source.ts"

const maxColumns = 120

/** The parts of a doc comment after its first sentence, in the order in which they stand. */
const parts = [
  /^\*\*When to use\*\*/m,
  /^\*\*Details\*\*/m,
  /^\*\*Gotchas\*\*/m,
  /^\*\*Example\*\*/m,
  /^@see /m,
  /^@category /m,
  /^@since /m
]

/** What is wrong with a doc comment; one of a private module needs only its sentence. */
const checkDoc = (comment: Comment, isPrivate: boolean, wantsCategory: boolean): ReadonlyArray<string> => {
  const doc = comment.value.split("\n").map((line) => line.replace(/^\s*\*? ?/, "")).join("\n").trim()
    .replace(/^```[\s\S]*?^```/gm, "")
  const messages: Array<string> = []
  const [summary = ""] = doc.split(/\n\s*\n|\n(?=@|\*\*)/)
  if (!/[.:]$|\(E\d+\)$|\bE\d+$/.test(summary)) messages.push("the first sentence does not end")
  const places = parts.map((part) => doc.search(part)).filter((place) => place !== -1)
  if (places.some((place, index) => index > 0 && place < places[index - 1]!)) {
    messages.push("its parts are not in order: When to use, Details, Gotchas, Example, @see, @category, @since")
  }
  if (isPrivate || /^@internal\b/m.test(doc)) return messages
  if (!/^@since \d+\.\d+\.\d+$/m.test(doc)) messages.push("no @since with a version")
  if (wantsCategory && !/^@category \S/m.test(doc)) messages.push("no @category (nor @internal)")
  return messages
}

const nameIn = (node: unknown): string => {
  const { name, value } = (node ?? {}) as { readonly name?: string; readonly value?: string }
  return name ?? value ?? "default"
}

/** The names that a statement exports, and where the doc comment of each should end. */
const exportsOf = (statement: Node): ReadonlyArray<{ readonly name: string; readonly start: number }> => {
  // What is passed on is documented where it is declared.
  const isPassedOn = statement.type === "ExportNamedDeclaration" && Boolean(statement["source"])
  if (!statement.type.startsWith("Export") || isPassedOn) return []
  const declaration = statement["declaration"] as Node | null | undefined
  const [declarator] = (declaration?.["declarations"] ?? []) as ReadonlyArray<Node>
  const specifiers = (statement["specifiers"] ?? []) as ReadonlyArray<Node>
  return specifiers.length === 0
    ? [{ name: nameIn((declarator ?? declaration)?.["id"] ?? statement["exported"]), start: statement.start }]
    : specifiers.map((one) => ({ name: nameIn(one["exported"]), start: one.start }))
}

const isDoc = (comment: Comment | undefined) => comment?.type === "Block" && comment.value.startsWith("*")

/** Exported names without a doc comment, and doc comments that break the grammar. */
const checkDocs = ({ body, comments, path, text }: Parsed): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const add = (start: number, message: string) => problems.push({ file: path, line: lineAt(text, start), message })
  const isPrivate = /\/[a-z]\w*\.ts$/.test(path) && !path.endsWith("/index.ts")
  const [first] = comments
  if (first === undefined || !isDoc(first) || !/^(#!.*)?$/.test(text.slice(0, first.start).trim())) {
    add(0, "no module comment at the top")
  } else for (const message of checkDoc(first, isPrivate, false)) add(first.start, `module comment: ${message}`)

  const overloads = new Set<string>()
  for (const statement of body) {
    for (const { name, start } of exportsOf(statement)) {
      if (overloads.has(name)) continue
      if ((statement["declaration"] as Node | null | undefined)?.type === "TSDeclareFunction") overloads.add(name)
      const doc = comments.findLast(({ end }) => end <= start)
      const wantsCategory = statement.type !== "ExportAllDeclaration"
      if (doc === undefined || doc === first || !isDoc(doc) || text.slice(doc.end, start).trim() !== "") {
        add(start, `${name} has no doc comment`)
      } else for (const message of checkDoc(doc, isPrivate, wantsCategory)) add(start, `doc of ${name}: ${message}`)
    }
  }
  return problems
}

/** Comments that are too wide; a table, an address and what a program prints may be. */
const checkWidth = (path: string, text: string): ReadonlyArray<Problem> => {
  let inOutput = false
  return text.split("\n").flatMap((line, index) => {
    inOutput = /^\s*\/\/ Output:/.test(line) || (inOutput && /^\s*\/\//.test(line))
    if (line.length <= maxColumns || inOutput || !/^\s*(\*|\/\/|\/\*)/.test(line) || /\|\s*$|https?:/.test(line)) {
      return []
    }
    return [{ file: path, line: index + 1, message: `comment of ${line.length} columns, at most ${maxColumns}` }]
  })
}

/** What is wrong with one file. */
export const tidy = (path: string, text: string): ReadonlyArray<Problem> => [
  ...checkWidth(path, text),
  ...(path.startsWith("src/") ? checkDocs(parse(path, text)) : [])
]

if (import.meta.main) {
  const paths = listFiles(".ts")
  report("tidy", paths.flatMap((path) => tidy(path, readText(path))), `${paths.length} files`)
}
