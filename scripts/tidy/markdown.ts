/**
 * Tidy checks of Markdown: one title per page, links that lead somewhere.
 */
import { posix } from "node:path"
import type { Problem } from "../source.ts"

interface Line {
  readonly line: number
  readonly text: string
}

/** The lines outside fences and HTML comments, each with its number. */
const proseOf = (text: string): ReadonlyArray<Line> => {
  let fence: string | undefined
  return text.replace(/<!--[\s\S]*?-->/g, (comment) => comment.replace(/[^\n]/g, "")).split("\n")
    .map((line, index) => ({ line: index + 1, text: line }))
    .filter((line) => {
      const mark = /^\s*(```+|~~~+)/.exec(line.text)?.[1]
      if (mark === undefined) return fence === undefined
      if (fence === undefined) fence = mark
      else if (mark.startsWith(fence)) fence = undefined
      return false
    })
}

/** The anchors of a page's headings, as GitHub makes them. */
export const anchorsOf = (text: string): ReadonlySet<string> => {
  const anchors = new Set<string>()
  for (const { text: line } of proseOf(text)) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
    if (heading === undefined) continue
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
    const slug = plain.replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-")
    let anchor = slug
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${slug}-${copy}`
    anchors.add(anchor)
  }
  for (const [, id] of text.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) anchors.add(id!)
  return anchors
}

/** The targets of links and images, inline and by reference. */
const targetsOf = (line: string): ReadonlyArray<string> => {
  const codeless = line.replace(/`[^`]*`/g, "")
  const inline = [...codeless.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)].map(([, target]) => target!)
  const reference = /^\s*\[[^\]]+\]:\s*<?(\S+?)>?\s*$/.exec(codeless)?.[1]
  return reference === undefined ? inline : [...inline, reference]
}

/**
 * Checks one page. `files` holds the texts of all files of the project that a link may lead to; a folder is a prefix.
 */
export const checkPage = (
  path: string,
  text: string,
  files: { readonly has: (path: string) => boolean; readonly read: (path: string) => string }
): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const prose = proseOf(text)
  const titles = prose.filter((line) => /^# \S/.test(line.text))
  if (titles.length !== 1 && !path.startsWith(".changeset/")) {
    problems.push({ file: path, line: titles[1]?.line ?? 0, message: `${titles.length} titles (# …), must be one` })
  }
  for (const { line, text: prosaic } of prose) {
    for (const target of targetsOf(prosaic)) {
      if (/^[a-z][a-z+.-]*:/i.test(target)) continue
      const [file = "", anchor] = decodeURI(target).split("#")
      const linked = file === "" ? path : posix.normalize(posix.join(posix.dirname(path), file)).replace(/\/$/, "")
      if (!files.has(linked)) problems.push({ file: path, line, message: `link leads nowhere: ${target}` })
      else if (anchor !== undefined && linked.endsWith(".md") && !anchorsOf(files.read(linked)).has(anchor)) {
        problems.push({ file: path, line, message: `no heading for the link: ${target}` })
      }
    }
  }
  return problems
}
