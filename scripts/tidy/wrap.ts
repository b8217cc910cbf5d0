/**
 * Moves the words that stick out of a comment to its next line; the formatter leaves comments alone.
 */
import { isTooWide, maxCommentColumns, outputTracker } from "./code.ts"

interface Line {
  /** What stands before the text: indent, `*` or `//`, space, and the mark of a list item. */
  readonly lead: string
  /** What stands before the text of a line that goes on with it. */
  readonly next: string
  readonly text: string
}

const read = (line: string): Line | undefined => {
  const [, margin, mark = "", text] = /^(\s*(?:\*(?!\/)|\/\/)\s*)([-*] |\d+\. )?(.*)$/.exec(line) ?? []
  if (margin === undefined || text === undefined) return undefined
  return { lead: margin + mark, next: margin + " ".repeat(mark.length), text }
}

/** Whether a line goes on with the paragraph of the line before. */
const goesOn = (line: Line | undefined, before: Line): boolean =>
  line !== undefined && line.lead === before.next && line.text !== "" && !/^(@|\*\*|```|\||#|\{@)/.test(line.text)

/** A comment of one line, on three. */
const opened = (line: string): ReadonlyArray<string> => {
  const [, indent, text] = /^(\s*)\/\*\* (.*) \*\/$/.exec(line) ?? []
  return indent === undefined ? [line] : [`${indent}/**`, `${indent} * ${text}`, `${indent} */`]
}

/** The last space inside the width that is not inside a code span. */
const lastBreak = (line: string): number => {
  for (let at = maxCommentColumns; at > 0; at--) {
    if (line[at] === " " && line.slice(0, at).split("`").length % 2 === 1) return at
  }
  return -1
}

/** The text of a code file with all comments inside the width. A word that fits no line stays. */
export const wrapComments = (source: string): string => {
  const lines = source.split("\n")
  const isOutput = outputTracker()
  let inFence = false
  for (let at = 0; at < lines.length; at++) {
    if (/^\s*(\*|\/\/)\s*```/.test(lines[at]!)) inFence = !inFence
    if (isOutput(lines[at]!) || inFence || !isTooWide(lines[at]!)) continue
    lines.splice(at, 1, ...opened(lines[at]!))
    const wide = read(lines[at]!)
    const space = lastBreak(lines[at]!)
    if (wide === undefined || space <= wide.lead.length) continue
    const rest = lines[at]!.slice(space + 1)
    lines[at] = lines[at]!.slice(0, space).trimEnd()
    const following = read(lines[at + 1] ?? "")
    if (goesOn(following, wide)) lines[at + 1] = `${wide.next}${rest} ${following!.text}`
    else lines.splice(at + 1, 0, `${wide.next}${rest}`)
  }
  return lines.join("\n")
}
