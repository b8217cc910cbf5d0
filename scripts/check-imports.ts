/**
 * Holds the order of the modules: a module imports only modules of a strictly lower rank.
 *
 * The table below is the architecture. A new module gets a row here before it is imported anywhere.
 */
import { dirname, posix } from "node:path"
import { lineAt, listFiles, type Node, parse, type Problem, projectRoot, readText, report, walk } from "./source.ts"

/** Rank of each module of `src`, without `.ts`; a name that ends in `/` stands for all modules of a folder. */
export const ranks: Readonly<Record<string, number>> = {
  "Key": 0,
  "Ids": 0,
  "internal/foreign": 0.1,
  "internal/retries": 0.1,
  "internal/parts": 0.1,
  "internal/span": 0.1,
  "internal/excess": 0.1,
  "internal/jsonCodec": 0.1,
  "internal/bytes": 0.4,
  "internal/tombstones": 0.5,
  "internal/pages": 0.6,
  "Entity": 1,
  "EventboxError": 1,
  "Backend": 2,
  "internal/lookups": 2.5,
  "internal/sweep": 2.5,
  "internal/stored": 2.5,
  "internal/contention": 2.6,
  "internal/nextHead": 2.6,
  "Transaction": 3,
  "internal/batchMark": 3.5,
  "internal/doubt": 3.5,
  "Datastore": 4,
  "internal/setMemory": 4.2,
  "internal/deletions": 4.5,
  "internal/keyedLock": 4.5,
  "internal/livePages": 4.4,
  "internal/listing": 4.5,
  "internal/outcome": 4.5,
  "internal/entityProcessor": 4.8,
  "DsSet": 5,
  "EventboxMetrics": 5,
  "Processor": 5,
  "internal/decision": 5.2,
  "internal/emission": 5.2,
  "internal/saving": 5.3,
  "internal/unconsumed": 5.2,
  "internal/relist": 5.4,
  "internal/landing": 5.2,
  "internal/batch": 5.5,
  "internal/isolation": 5.6,
  "Eventbox": 6,
  "Worker": 7,
  "layers/": 8,
  "testing/": 9,
  "cli/": 10,
  "index": 10
}

const ownRank = (module: string): number | undefined => ranks[module] ?? ranks[`${module.split("/")[0]}/`]

const folderOf = (module: string): string | undefined =>
  ["layers", "testing", "cli"].find((folder) => module.startsWith(`${folder}/`))

/** One thing that a module imports. */
export interface Import {
  readonly from: string
  readonly line: number
}

/** All that a module imports: static, dynamic, re-exported, types included. */
export const importsOf = (path: string, text: string): ReadonlyArray<Import> => {
  const found: Array<Import> = []
  const add = (source: unknown): void => {
    if (typeof source !== "object" || source === null) return
    const { value, start } = source as { readonly value?: unknown; readonly start: number }
    if (typeof value === "string") found.push({ from: value, line: lineAt(text, start) })
  }
  for (const statement of parse(path, text).body) {
    walk(statement, (node: Node) => {
      if (/^(Import|Export)\w*Declaration$/.test(node.type) || /^(Import|TSImport)\w*/.test(node.type)) {
        add(node["source"])
      }
    })
  }
  return found
}

const testOnly = new Set(["vitest", "@effect/vitest"])

const packageOf = (specifier: string): string => specifier.split("/").slice(0, specifier[0] === "@" ? 2 : 1).join("/")

const checkForeign = (module: string, from: string, declared: ReadonlySet<string>): string | undefined => {
  const name = packageOf(from)
  if (from === "effect") return `import from "effect/<Module>", not from the barrel "effect"`
  if (name === "effect") return undefined
  if (testOnly.has(name)) {
    return module === "testing/DatastoreSuite" ? undefined : `only testing/DatastoreSuite imports ${name}`
  }
  if (folderOf(module) === undefined) return `below layers/, only "effect/*" and own modules: ${from} needs a layer`
  if (from.startsWith("node:")) return undefined
  return declared.has(name) ? undefined : `${name} is neither a dependency nor a peer dependency in package.json`
}

const checkOwn = (module: string, target: string): string | undefined => {
  const [rank, targetRank] = [ownRank(module), ownRank(target)]
  if (rank === undefined || targetRank === undefined) return undefined
  const folder = folderOf(module)
  const targetFolder = folderOf(target)
  if (module === "index" && targetFolder !== undefined) return `index never imports ${targetFolder}/`
  if (folder === "layers" && targetFolder === undefined && targetRank > 4) {
    return `a layer knows Datastore and what is below it, never ${target} (rank ${targetRank})`
  }
  if (folder !== undefined && folder === targetFolder) return undefined
  if (targetRank < rank) return undefined
  return `rank ${rank} imports ${target} of rank ${targetRank}: only lower ranks may be imported`
}

/** Cycles among modules of one folder, each found once, from its first module in order. */
const cyclesOf = (graph: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const cycles: Array<ReadonlyArray<string>> = []
  const done = new Set<string>()
  const visit = (module: string, path: ReadonlyArray<string>): void => {
    const at = path.indexOf(module)
    if (at !== -1) cycles.push([...path.slice(at), module])
    if (at !== -1 || done.has(module)) return
    for (const next of graph.get(module) ?? []) visit(next, [...path, module])
    done.add(module)
  }
  for (const module of [...graph.keys()].toSorted()) visit(module, [])
  return cycles
}

/** Checks the modules below `src`, given as path (`src/…`) and text. */
export const checkImports = (
  files: ReadonlyMap<string, string>,
  declared: ReadonlySet<string>
): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const graph = new Map<string, ReadonlyArray<string>>()
  for (const [file, text] of files) {
    const module = file.slice("src/".length, -".ts".length)
    if (ownRank(module) === undefined) {
      problems.push({ file, line: 0, message: "unknown module: give it a rank in scripts/check-imports.ts" })
    }
    const targets: Array<string> = []
    for (const { from, line } of importsOf(file, text)) {
      if (!from.startsWith(".")) {
        const message = checkForeign(module, from, declared)
        if (message !== undefined) problems.push({ file, line, message })
        continue
      }
      const path = posix.join(dirname(file), from)
      const target = path.slice("src/".length, -".ts".length)
      const message = files.has(path) ? checkOwn(module, target) : `${from} is not a module of src`
      if (message !== undefined) problems.push({ file, line, message })
      targets.push(target)
    }
    graph.set(module, targets)
  }
  for (const cycle of cyclesOf(graph)) {
    problems.push({ file: `src/${cycle[0]}.ts`, line: 0, message: `import cycle: ${cycle.join(" → ")}` })
  }
  return problems
}

if (import.meta.main) {
  const paths = listFiles(projectRoot, "src").filter((path) => path.endsWith(".ts"))
  const manifest = JSON.parse(readText(projectRoot, "package.json")) as Record<string, Record<string, string>>
  const declared = new Set(Object.keys({ ...manifest["dependencies"], ...manifest["peerDependencies"] }))
  const files = new Map(paths.map((path) => [path, readText(projectRoot, path)]))
  report("imports", checkImports(files, declared), `${files.size} modules`)
}
