/**
 * Tidy checks of doc comments: every export has one, and it follows the house grammar.
 */
import { type Comment, lineAt, type Node, type Parsed, type Problem } from "../source.ts"

/** The parts of a doc comment after its first sentence, in the order in which they stand. */
const parts: ReadonlyArray<RegExp> = [
  /^\*\*When to use\*\*/m,
  /^\*\*Details\*\*/m,
  /^\*\*Gotchas\*\*/m,
  /^\*\*Example\*\*/m,
  /^@see /m,
  /^@category /m,
  /^@since /m
]

const bodyOf = (comment: Comment): string =>
  comment.value.split("\n").map((line) => line.replace(/^\s*\*? ?/, "")).join("\n").trim()

/** The doc comment that ends right before `start`; the one at the top of a file is about the module. */
const docBefore = (module: Parsed, start: number): string | undefined => {
  const comment = module.comments.findLast(({ end }) => end <= start)
  const isDoc = comment?.type === "Block" && comment.start > 0 && comment.value.startsWith("*") &&
    module.text.slice(comment.end, start).trim() === ""
  return isDoc ? bodyOf(comment) : undefined
}

const isClosed = (path: string): boolean => /\/[a-z]\w*\.ts$/.test(path) && !path.endsWith("/index.ts")

const checkDoc = (doc: string, closed: boolean, wantsCategory: boolean): ReadonlyArray<string> => {
  const messages: Array<string> = []
  const fenceless = doc.replace(/^```[\s\S]*?^```/gm, "")
  const summary = fenceless.split(/\n\s*\n|\n(?=@|\*\*)/)[0] ?? ""
  if (!/[.:]$|\(E\d+\)$|\bE\d+$/.test(summary)) messages.push("the first sentence does not end")
  const places = parts.map((part) => fenceless.search(part)).filter((place) => place !== -1)
  if (places.some((place, index) => index > 0 && place < places[index - 1]!)) {
    messages.push("its parts are not in order: When to use, Details, Gotchas, Example, @see, @category, @since")
  }
  if (closed || /^@internal\b/m.test(fenceless)) return messages
  if (!/^@since \d+\.\d+\.\d+$/m.test(fenceless)) messages.push("no @since with a version")
  if (wantsCategory && !/^@category \S/m.test(fenceless)) messages.push("no @category (nor @internal)")
  return messages
}

interface Exported {
  readonly name: string
  readonly start: number
  readonly wantsCategory: boolean
}

const nameIn = (node: unknown): string => {
  const { name, value } = (node ?? {}) as { readonly name?: string; readonly value?: string }
  return name ?? value ?? "default"
}

const exportsOf = (statement: Node): ReadonlyArray<Exported> => {
  const declaration = statement["declaration"] as Node | null | undefined
  const declared = (name: string) => [{ name, start: statement.start, wantsCategory: true }]
  switch (statement.type) {
    case "ExportAllDeclaration":
      return [{ name: nameIn(statement["exported"] ?? { name: "*" }), start: statement.start, wantsCategory: false }]
    case "ExportDefaultDeclaration":
      return declared("default")
    case "ExportNamedDeclaration": {
      // What is passed on is documented where it is declared.
      if (statement["source"]) return []
      const variables = declaration?.["declarations"] as ReadonlyArray<Node> | undefined
      if (variables !== undefined) return declared(variables.map(({ id }) => nameIn(id)).join(", "))
      if (declaration) return declared(nameIn(declaration["id"]))
      return (statement["specifiers"] as ReadonlyArray<Node>).map((specifier) => ({
        name: nameIn(specifier["exported"]),
        start: specifier.start,
        wantsCategory: true
      }))
    }
    default:
      return []
  }
}

/** Finds exported names without a doc comment, and doc comments that break the grammar. */
export const checkDocs = (module: Parsed): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const add = (start: number, message: string) =>
    problems.push({ file: module.path, line: lineAt(module.text, start), message })
  const closed = isClosed(module.path)
  const first = module.comments[0]
  if (first === undefined || module.text.slice(0, first.start).trim() !== "" || !first.value.startsWith("*")) {
    add(0, "no module comment at the top")
  } else for (const message of checkDoc(bodyOf(first), closed, false)) add(first.start, `module comment: ${message}`)

  const overloads = new Set<string>()
  for (const statement of module.body) {
    const isOverload = (statement["declaration"] as Node | null | undefined)?.type === "TSDeclareFunction"
    for (const { name, start, wantsCategory } of exportsOf(statement)) {
      if (overloads.has(name)) continue
      if (isOverload) overloads.add(name)
      const doc = docBefore(module, start)
      if (doc === undefined) add(start, `${name} has no doc comment`)
      else for (const message of checkDoc(doc, closed, wantsCategory)) add(start, `doc of ${name}: ${message}`)
    }
  }
  return problems
}
