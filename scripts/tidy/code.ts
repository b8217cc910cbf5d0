/**
 * Tidy checks of code: banned words, sizes.
 */
import { lineAt, type Node, type Parsed, type Problem, walk } from "../source.ts"

/** Lines that a file may have. */
export const maxFileLines = 800

/** Lines that a function may have. */
export const maxFunctionLines = 70

/** Columns that a comment may use; code is the formatter's business. */
export const maxCommentColumns = 120

interface Ban {
  /** `name`, or `object.member`; a trailing `.*` stands for every member. */
  readonly word: string
  readonly instead: string
  /** Paths below `src` that may use it, as prefixes. */
  readonly allowed: ReadonlyArray<string>
}

/** What no module of `src` uses, because a test could not replay it or a user could not replace it. */
export const bans: ReadonlyArray<Ban> = [
  { word: "Date", instead: "the Clock or DateTime module of effect", allowed: ["layers/"] },
  { word: "performance.*", instead: "Clock.currentTimeNanos", allowed: ["layers/"] },
  { word: "Math.random", instead: "the Random service", allowed: ["layers/"] },
  { word: "crypto.randomUUID", instead: "the Ids reference", allowed: ["layers/"] },
  { word: "crypto.getRandomValues", instead: "the Ids reference", allowed: ["Ids.ts", "layers/"] },
  { word: "setTimeout", instead: "Effect.sleep or Effect.timeout", allowed: ["layers/"] },
  { word: "setInterval", instead: "Effect.repeat with a Schedule", allowed: ["layers/"] },
  { word: "setImmediate", instead: "Effect.yieldNow", allowed: ["layers/"] },
  { word: "console.*", instead: "Effect.log, or the Console module of effect", allowed: [] },
  { word: "process.*", instead: "the Config module of effect, or a layer", allowed: ["layers/", "testing/", "cli/"] }
]

const nameOf = (node: unknown): string | undefined => {
  const { type, name } = (node ?? {}) as { readonly type?: string; readonly name?: string }
  return type === "Identifier" ? name : undefined
}

/** The word that a node uses, as `bans` spells it: a free identifier, or a member of one or of `globalThis`. */
const wordsOf = (node: Node, parents: ReadonlyArray<Node>): ReadonlyArray<string> => {
  if (node.type === "MemberExpression") {
    const object = node["object"] as Node
    const owner = object.type === "MemberExpression" && nameOf(object["object"]) === "globalThis"
      ? nameOf(object["property"])
      : nameOf(object)
    const member = nameOf(node["property"])
    if (owner === undefined || member === undefined) return []
    return owner === "globalThis" ? [member] : [`${owner}.${member}`, `${owner}.*`]
  }
  const name = nameOf(node)
  const parent = parents.at(-1)
  const isName = parent?.["key"] === node || (parent?.["property"] === node && parent["computed"] === false) ||
    parent?.type.startsWith("Import") || parent?.type.startsWith("Export")
  return name === undefined || isName ? [] : [name]
}

/** Names that the module declares at its top, which are then not the globals of that name. */
const declaredNames = (module: Parsed): ReadonlySet<string> => {
  const names = new Set<string>()
  for (const statement of module.body) {
    const declaration = (statement["declaration"] ?? statement) as Node
    const declared = [declaration, ...(declaration["declarations"] as ReadonlyArray<Node> | undefined ?? [])]
    for (const { id } of declared) if (nameOf(id) !== undefined) names.add(nameOf(id)!)
    for (const { local } of statement["specifiers"] as ReadonlyArray<Node> | undefined ?? []) {
      if (nameOf(local) !== undefined) names.add(nameOf(local)!)
    }
  }
  return names
}

/** Finds the banned words of a module of `src`. */
export const checkBans = (module: Parsed): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const below = module.path.slice("src/".length)
  const own = declaredNames(module)
  const active = new Map(
    bans.filter((ban) => !ban.allowed.some((prefix) => below.startsWith(prefix))).map((ban) => [ban.word, ban])
  )
  for (const statement of module.body) {
    walk(statement, (node, parents) => {
      const ban = wordsOf(node, parents).map((word) => active.get(word)).find((found) => found !== undefined)
      if (ban === undefined || own.has(ban.word.split(".")[0]!)) return
      const message = `${ban.word} is banned here: use ${ban.instead}`
      problems.push({ file: module.path, line: lineAt(module.text, node.start), message })
    })
  }
  return problems
}

const functionTypes = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"])

/** Finds functions that are too long; of nested ones the outermost. */
export const checkFunctions = (module: Parsed): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  for (const statement of module.body) {
    walk(statement, (node) => {
      if (!functionTypes.has(node.type)) return
      const line = lineAt(module.text, node.start)
      const lines = lineAt(module.text, node.end) - line + 1
      if (lines <= maxFunctionLines) return
      problems.push({ file: module.path, line, message: `function of ${lines} lines, at most ${maxFunctionLines}` })
      return false
    })
  }
  return problems
}

/** Whether a line is a comment that is too wide. A table or an address may be wide. */
export const isTooWide = (line: string): boolean =>
  line.length > maxCommentColumns && /^\s*(\*|\/\/|\/\*)/.test(line) && !/\|\s*$|https?:/.test(line)

/** Tells line by line whether it belongs to an `// Output:` comment, which must stay as the program prints it. */
export const outputTracker = (): (line: string) => boolean => {
  let inOutput = false
  return (line) => {
    inOutput = /^\s*\/\/ Output:/.test(line) || (inOutput && /^\s*\/\//.test(line))
    return inOutput
  }
}

/** Finds a file that is too long and comments that are too wide. */
export const checkSize = (module: Parsed): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const lines = module.text.replace(/\n$/, "").split("\n")
  if (lines.length > maxFileLines) {
    problems.push({ file: module.path, line: 0, message: `file of ${lines.length} lines, at most ${maxFileLines}` })
  }
  const isOutput = outputTracker()
  lines.forEach((line, index) => {
    if (isOutput(line) || !isTooWide(line)) return
    const message = `comment of ${line.length} columns, at most ${maxCommentColumns}`
    problems.push({ file: module.path, line: index + 1, message })
  })
  return problems
}
