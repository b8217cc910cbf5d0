/**
 * A mutant: a small fault that is put into the sources to see whether the tests notice.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { listFiles, type Node, parse, readText } from "../source.ts"

/** One fault, as `rules.txt` has it. */
export interface Mutant {
  readonly name: string
  /** The top-level declaration that gets the fault. */
  readonly within: string
  readonly find: string
  readonly replace: string
  readonly what: string
  /** Test files. */
  readonly tests: ReadonlyArray<string>
}

/** The faults of a table. */
export const readRules = (text: string): ReadonlyArray<Mutant> => {
  const rule = /^(\S+) in (\S+) seen by (.+)\n {2}(\S.*)\n {2}- (.*)\n {2}\+ ?(.*)$/gm
  return Array.from(text.matchAll(rule), ([, name, within, tests, what, find, replace]) => ({
    name: name!,
    within: within!,
    find: find!,
    replace: replace!,
    what: what!,
    tests: tests!.split(" ").map((test) => `test/${test}.test.ts`)
  }))
}

/** The mutants of this library. */
export const mutants = readRules(readFileSync(join(import.meta.dirname, "rules.txt"), "utf8"))

/** A top-level declaration of a module, and its text without blanks: `at` are the places of what is left. */
interface Declaration {
  readonly path: string
  readonly name: string
  readonly packed: string
  readonly at: ReadonlyArray<number>
}

const pack = (text: string): string => text.replace(/\s+/g, "")

/** All declarations of the sources below `root`. */
export const declarationsOf = (root: string): ReadonlyArray<Declaration> =>
  listFiles(".ts", root).filter((path) => path.startsWith("src/")).flatMap((path) => {
    const text = readText(path, root)
    return parse(path, text).body.flatMap((statement) => {
      const declaration = (statement["declaration"] ?? statement) as Node
      const named = (declaration["declarations"] ?? [declaration]) as ReadonlyArray<Node>
      return named.flatMap((one): ReadonlyArray<Declaration> => {
        const id = one["id"] as { readonly name?: string } | null | undefined
        if (id?.name === undefined) return []
        const at = Array.from(text.slice(one.start, one.end), (_, index) => one.start + index)
          .filter((place) => /\S/.test(text[place]!))
        return [{ path, name: id.name, packed: at.map((place) => text[place]).join(""), at }]
      })
    })
  })

/** The module that gets a fault, without and with it; throws when there is no place for it, or more than one. */
export const mutate = (
  { find, name, replace, within }: Mutant,
  declarations: ReadonlyArray<Declaration>,
  root: string
): { readonly path: string; readonly text: string; readonly mutated: string } => {
  const packed = pack(find)
  const places = declarations.filter((one) => one.name === within && one.packed.includes(packed))
  const [place, ...others] = places
  const start = place?.packed.indexOf(packed) ?? -1
  if (place === undefined || others.length > 0 || place.packed.includes(packed, start + 1)) {
    const files = places.map(({ path }) => path).join(", ") || "no file"
    throw new Error(
      `mutant ${name} no longer applies: ${JSON.stringify(find)} must be once in ${within}; is in ${files}`
    )
  }
  const text = readText(place.path, root)
  const mutated = text.slice(0, place.at[start]) + replace + text.slice(place.at[start + packed.length - 1]! + 1)
  parse(place.path, mutated)
  return { path: place.path, text, mutated }
}
