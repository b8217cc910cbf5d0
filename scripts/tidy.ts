/**
 * Makes the house style a test: what the linter, the formatter and the compiler cannot see.
 *
 * Code: banned words, file and function length, width of comments. `src`: doc comments of every export. Pages: one
 * title, links that lead somewhere. Everything: no leftover markers. `--fix` only wraps comments.
 */
import { writeFileSync } from "node:fs"
import { extname, join } from "node:path"
import { listFiles, parse, type Problem, projectRoot, readText, report } from "./source.ts"
import { checkBans, checkFunctions, checkSize } from "./tidy/code.ts"
import { checkDocs } from "./tidy/docs.ts"
import { checkPage } from "./tidy/markdown.ts"
import { wrapComments } from "./tidy/wrap.ts"

const textFiles = new Set([".ts", ".js", ".mjs", ".json", ".md", ".sh", ".yml", ".yaml"])

// Spelt so that this line is not one itself.
const leftover = /\b(TO[D]O|FIX[M]E|XX[X])\b/

/** Finds markers of unfinished work. */
export const checkLeftovers = (path: string, text: string): ReadonlyArray<Problem> =>
  text.split("\n").flatMap((line, index) => {
    const marker = leftover.exec(line)?.[1]
    return marker === undefined
      ? []
      : [{ file: path, line: index + 1, message: `leftover marker ${marker}: do it now` }]
  })

/** All checks of one code file. */
export const checkCode = (path: string, text: string): ReadonlyArray<Problem> => {
  const module = parse(path, text)
  const isSource = path.startsWith("src/")
  // The body of a `describe` is as long as the facts it holds.
  const isTest = path.startsWith("test/") || path.startsWith("typetest/")
  return [
    ...checkSize(module),
    ...(isTest ? [] : checkFunctions(module)),
    ...(isSource ? checkBans(module) : []),
    ...(isSource ? checkDocs(module) : [])
  ]
}

/** Runs all checks on the tree below `root`. */
export const tidy = (root: string): { readonly problems: ReadonlyArray<Problem>; readonly files: number } => {
  const paths = listFiles(root)
  const known = new Set(paths.flatMap((path) => {
    const folders = path.split("/")
    return folders.map((_, index) => folders.slice(0, index + 1).join("/"))
  }))
  const files = { has: (path: string) => path === "." || known.has(path), read: (path: string) => readText(root, path) }
  const checked = paths.filter((path) => textFiles.has(extname(path)) && path !== "package-lock.json")
  const problems = checked.flatMap((path) => {
    const text = readText(root, path)
    return [
      ...checkLeftovers(path, text),
      ...(extname(path) === ".ts" ? checkCode(path, text) : []),
      ...(extname(path) === ".md" ? checkPage(path, text, files) : [])
    ]
  })
  return { problems, files: checked.length }
}

/** Wraps the comments of all code below `root`. */
export const fix = (root: string): void => {
  for (const path of listFiles(root).filter((one) => extname(one) === ".ts")) {
    const text = readText(root, path)
    const wrapped = wrapComments(text)
    if (wrapped !== text) writeFileSync(join(root, path), wrapped)
  }
}

if (import.meta.main && process.argv.includes("--fix")) {
  fix(projectRoot)
} else if (import.meta.main) {
  const { files, problems } = tidy(projectRoot)
  report("tidy", problems, `${files} files`)
}
