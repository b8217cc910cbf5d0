/**
 * Finds the `ts` fences of doc comments and pages, and turns their `// =>` comments into checks.
 */
import { type Comment, lineAt, type Node, parse, walk } from "../source.ts"

/** Fences of one file that make one program. */
export interface Program {
  readonly file: string
  /** The line of the file on which the first fence begins. */
  readonly line: number
  /** As many lines as the file has; what is not in the fences is blank, so line numbers agree with the file. */
  readonly code: string
}

/** The fences of a file: those to be checked, and how many opted out. */
export interface Extracted {
  readonly programs: ReadonlyArray<Program>
  readonly skipped: number
}

/** The lines of a file in which fences may stand, without the margin of a doc comment; `undefined` elsewhere. */
const linesOf = (file: string, text: string): ReadonlyArray<string | undefined> => {
  const lines = text.split("\n")
  if (file.endsWith(".md")) return lines
  const result: Array<string | undefined> = lines.map(() => undefined)
  for (const comment of parse(file, text).comments.filter(isDoc)) {
    const first = lineAt(text, comment.start) - 1
    comment.value.split("\n").forEach((line, index) => {
      result[first + index] = line.replace(/^\s*\* ?/, "")
    })
  }
  return result
}

const isDoc = (comment: Comment): boolean => comment.type === "Block" && comment.value.startsWith("*")

/**
 * Extracts the programs of a page or module.
 *
 * A fence marked `ts` is a program. One marked `ts continued` goes on with the fence before it. One marked
 * `ts no-check` is left out and counted.
 */
export const extract = (file: string, text: string): Extracted => {
  const lines = linesOf(file, text)
  const programs: Array<{ line: number; code: Array<string> }> = []
  let skipped = 0
  let indent: string | undefined
  let into: Array<string> | undefined
  lines.forEach((line, index) => {
    if (indent === undefined) {
      const [, margin, info] = /^(\s*)```ts(?:\s+(.*?))?\s*$/.exec(line ?? "") ?? []
      if (margin === undefined) return
      indent = margin
      if (info === "no-check") skipped++
      else if (info === "continued" && programs.length > 0) into = programs.at(-1)!.code
      else if (info === undefined || info === "") {
        into = lines.map(() => "")
        programs.push({ line: index + 1, code: into })
      } else throw new Error(`${file}:${index + 1}: unknown fence: ts ${info}`)
    } else if (line === undefined || line.trim() === "```") {
      indent = undefined
      into = undefined
    } else if (into !== undefined) into[index] = line.startsWith(indent) ? line.slice(indent.length) : line.trimStart()
  })
  return { programs: programs.map(({ code, line }) => ({ file, line, code: code.join("\n") })), skipped }
}

/** What a program prints, by its `// Output:` comment: the rest of that line, or the comment lines that follow. */
export const expectedOutput = (code: string): string | undefined => {
  const lines = code.split("\n")
  const at = lines.findIndex((line) => /^\s*\/\/ Output:/.test(line))
  if (at === -1) return undefined
  const sameLine = lines[at]!.replace(/^\s*\/\/ Output: ?/, "").trim()
  if (sameLine !== "") return sameLine
  const output: Array<string> = []
  for (const line of lines.slice(at + 1)) {
    const comment = /^\s*\/\/ ?(.*)$/.exec(line)?.[1]
    if (comment === undefined) break
    output.push(comment.trimEnd())
  }
  return output.join("\n")
}

const isExpression = (text: string): boolean => {
  try {
    const [statement, ...others] = parse("expected.ts", `(${text})`).body
    return statement?.type === "ExpressionStatement" && others.length === 0
  } catch {
    return false
  }
}

/** The expression whose value a statement shows: its own, what it logs, or the constant that it declares. */
const shownBy = (code: string, statement: Node): { readonly value: string; readonly keeps: boolean } | undefined => {
  if (statement.type === "ExpressionStatement") {
    const expression = statement["expression"] as Node
    const call = expression.type === "CallExpression" ? expression : undefined
    const logged = (call?.["arguments"] ?? []) as ReadonlyArray<Node>
    const callee = call?.["callee"] as Node | undefined
    const isLog = callee !== undefined && code.slice(callee.start, callee.end) === "console.log" && logged.length === 1
    const shown = isLog ? logged[0]! : expression
    return { value: code.slice(shown.start, shown.end), keeps: false }
  }
  const [declarator, ...others] = (statement["declarations"] ?? []) as ReadonlyArray<Node>
  const id = declarator?.["id"] as Node | undefined
  return statement.type === "VariableDeclaration" && id?.type === "Identifier" && others.length === 0
    ? { value: id["name"] as string, keeps: true }
    : undefined
}

/** Counts the `// =>` checks of a program and writes them out as calls of `__check(line, value, expected, text)`. */
export const instrument = (
  program: Program,
  checkModule: string
): { readonly code: string; readonly checks: number } => {
  const { code, file } = program
  const module = parse(file.replace(/\.md$/, ".ts"), code)
  const arrows = module.comments.filter((comment) => comment.type === "Line" && /^\s*=>/.test(comment.value))
  const edits: Array<{ readonly start: number; readonly end: number; readonly text: string }> = []
  for (const arrow of arrows) {
    const line = lineAt(code, arrow.start)
    const expected = arrow.value.replace(/^\s*=>\s*/, "").trim()
    let found: Node | undefined
    for (const statement of module.body) {
      walk(statement, (node) => {
        const isStatement = node.type === "ExpressionStatement" || node.type === "VariableDeclaration"
        if (isStatement && node.end <= arrow.start && code.slice(node.end, arrow.start).trim() === "") found = node
      })
    }
    const shown = found === undefined ? undefined : shownBy(code, found)
    if (found === undefined || shown === undefined) {
      throw new Error(`${file}:${line}: "// =>" must follow an expression or a constant`)
    }
    const literal = isExpression(expected) ? `() => (${expected})` : "undefined"
    const call = `;__check(${line}, ${shown.value}, ${literal}, ${JSON.stringify(expected)});`
    edits.push({ start: shown.keeps ? found.end : found.start, end: found.end, text: call })
  }
  const edited = edits.toSorted((a, b) => b.start - a.start)
    .reduce((text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end), code)
  return { code: `import { check as __check } from ${JSON.stringify(checkModule)};${edited}`, checks: arrows.length }
}
