/**
 * `npm run api`: writes `docs/reference/api`, a page for each public module, from its declarations and doc comments.
 * `--check` fails when a page was not as it should be. The pages show every public name with its type, so a change of
 * the surface is a change of them.
 *
 * Why by hand: TypeDoc and API Extractor need an API of the compiler that TypeScript 7 does not have.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { type Node, parse, projectRoot, run } from "./source.ts"

const folder = "docs/reference/api"
const declarations = ".cache/api"

/** One exported name: its doc comment without the margin, and its declarations as text. */
interface Entry {
  readonly name: string
  doc: string
  code: string
}

const must = async (program: string, ...args: ReadonlyArray<string>): Promise<void> => {
  const { code, stderr, stdout } = await run(process.execPath, [join(projectRoot, "node_modules", program), ...args], {
    cwd: projectRoot
  })
  if (code !== 0) throw new Error(`${program} failed:\n${stdout}${stderr}`)
}

const nameIn = (node: unknown): string => (node as { readonly name: string }).name

const unindent = (comment: string): string => comment.split("\n").map((line) => line.replace(/^\s*\* ?/, "")).join("\n")

/** What a declaration file exports, in its order; what it passes on is looked up where it is declared. */
const entriesOf = (file: string): ReadonlyArray<Entry> => {
  const { body, comments, text } = parse(file, readFileSync(join(projectRoot, declarations, file), "utf8"))
  const entries = new Map<string, Entry>()
  const docBefore = (start: number): string => {
    const doc = comments.findLast(({ end }) => end <= start)
    return doc?.value.startsWith("*") === true && text.slice(doc.end, start).trim() === "" ? unindent(doc.value) : ""
  }
  const add = ({ code, doc, name }: Entry) => {
    const known = entries.get(name)
    if (known === undefined) entries.set(name, { name, doc: doc.trim(), code })
    else {
      if (known.doc === "") known.doc = doc.trim()
      known.code += `\n${code}`
    }
  }
  const bases = new Map<string, string>()
  for (const statement of body) {
    const declaration = (statement["declaration"] ?? statement) as Node
    const [declarator] = (declaration["declarations"] ?? []) as ReadonlyArray<Node>
    const code = text.slice(declaration.start, declaration.end)
    if (statement.type === "ExportNamedDeclaration" && statement["source"] !== null) {
      const from = posix.join(posix.dirname(file), (statement["source"] as { readonly value: string }).value)
      const all = entriesOf(from.replace(/\.ts$/, ".d.ts"))
      for (const specifier of statement["specifiers"] as ReadonlyArray<Node>) {
        const found = all.find(({ name }) => name === nameIn(specifier["local"]))
        if (found === undefined) throw new Error(`${file}: ${nameIn(specifier["local"])} is not in ${from}`)
        add(found)
      }
    } else if (statement.type === "ExportNamedDeclaration" && statement["declaration"] !== null) {
      const name = nameIn(declarator?.["id"] ?? declaration["id"])
      // A class from a factory: the compiler gives what it extends a name, and there its members are.
      const base = bases.get(/ extends (\w+_base)\b/.exec(code)?.[1] ?? "")
      add({ name, doc: docBefore(statement.start), code: base === undefined ? code : `${base}\n${code}` })
    } else if (declarator !== undefined) bases.set(nameIn(declarator["id"]), code)
  }
  return [...entries.values()]
}

/** `operations` of `@category operations`. */
const categoryOf = ({ doc }: Entry): string => /^@category (.*)$/m.exec(doc)?.[1] ?? "others"

/** The doc comment of a module: the first of its source, since declaration files lack it. */
const moduleDocOf = (source: string): string => {
  const { comments } = parse(source, readFileSync(join(projectRoot, source), "utf8"))
  return unindent(comments[0]!.value)
}

/** A doc comment as Markdown: tags become text, links lead to pages. */
const markdownOf = (doc: string, page: string, links: ReadonlyMap<string, string>): string => {
  const link = (target: string) => {
    const address = links.get(`${page}.${target}`) ?? links.get(target)
    return address === undefined ? `\`${target}\`` : `[\`${target}\`](${address})`
  }
  return doc
    .replace(/^@(category|since) .*$/gm, "")
    .replace(/^@see /gm, "See ")
    .replace(/\{@link\s+([\w.]+)\s*\}/g, (_, target: string) => link(target))
    .replace(/^```ts\b.*$/gm, "```typescript")
    .replace(/\n{3,}/g, "\n\n")
    .trim()
}

/** The anchors of names: a heading that stands on the page before, as its title, takes the plain one. */
const anchorsOf = ({ entries, name }: Pick<Module, "entries" | "name">): ReadonlyMap<string, string> => {
  const taken = new Set([name.toLowerCase()])
  const anchors = new Map<string, string>()
  for (const category of new Set(entries.map(categoryOf))) {
    taken.add(category.toLowerCase().replaceAll(" ", "-"))
    for (const entry of entries.filter((one) => categoryOf(one) === category)) {
      const plain = entry.name.toLowerCase()
      let anchor = plain
      for (let copy = 1; taken.has(anchor); copy++) anchor = `${plain}-${copy}`
      taken.add(anchor)
      anchors.set(entry.name, `#${anchor}`)
    }
  }
  return anchors
}

const pageOf = (module: Module, links: ReadonlyMap<string, string>): string => {
  const { entries, from, name, source } = module
  const categories = [...new Set(entries.map(categoryOf))]
  const anchors = anchorsOf(module)
  const sections = categories.flatMap((category) => [
    `## ${category[0]!.toUpperCase()}${category.slice(1)}`,
    ...entries.flatMap((entry) =>
      categoryOf(entry) === category
        ? [`### ${entry.name}`, "```typescript\n" + entry.code + "\n```", markdownOf(entry.doc, name, links)]
        : []
    )
  ])
  const index = categories.map((category) => {
    const names = entries.filter((entry) => categoryOf(entry) === category)
    return `- ${category}: ${names.map((entry) => `[${entry.name}](${anchors.get(entry.name)})`).join(", ")}`
  })
  return [
    `# ${name}`,
    "```typescript\n" + from + "\n```",
    markdownOf(moduleDocOf(source), name, links),
    "Names:",
    index.join("\n"),
    ...sections
  ].filter((part) => part !== "").join("\n\n") + "\n"
}

interface Module {
  readonly name: string
  readonly source: string
  readonly from: string
  readonly entries: ReadonlyArray<Entry>
}

/** How users import a module: those of the index by its namespaces. */
const importOf = (name: string, path: string): string => {
  const parent = dirname(path)
  if (parent === ".") return `import { ${name} } from "effect-eventbox"`
  return parent === "testing" && name !== "DatastoreSuite"
    ? `import { ${name} } from "effect-eventbox/testing"`
    : `import * as ${name} from "effect-eventbox/${path}"`
}

const modulesOf = (): ReadonlyArray<Module> =>
  ["", "layers/", "testing/"].flatMap((parent) =>
    globSync(`src/${parent}[A-Z]*.ts`, { cwd: projectRoot }).toSorted().map((source) => {
      const path = source.replace(/^src\//, "").replace(/\.ts$/, "")
      const name = posix.basename(path)
      return { name, source, from: importOf(name, path), entries: entriesOf(`${path}.d.ts`) }
    })
  )

/** Where names lead to: `Key.make` from everywhere, and `make` from within `Key`. */
const linksOf = (modules: ReadonlyArray<Module>): ReadonlyMap<string, string> =>
  new Map(modules.flatMap((module) => [
    [module.name, `${module.name}.md`] as const,
    ...[...anchorsOf(module)].map(([name, anchor]) => [`${module.name}.${name}`, `${module.name}.md${anchor}`] as const)
  ]))

const indexOf = (modules: ReadonlyArray<Module>): string => {
  const line = ({ name, source }: Module) => {
    const [first = ""] = moduleDocOf(source).trim().split(/\n\s*\n/)
    return `- [${name}](${name}.md): ${markdownOf(first, name, new Map()).replaceAll("\n", " ")}`
  }
  const below = (start: string) => modules.filter(({ source }) => source.startsWith(start)).map(line).join("\n")
  return [
    "# API",
    "Every public name, with its type and its doc comment. Written by `npm run api`.",
    "## effect-eventbox",
    modules.filter(({ source }) => source.split("/").length === 2).map(line).join("\n"),
    "## effect-eventbox/layers",
    below("src/layers/"),
    "## effect-eventbox/testing",
    below("src/testing/")
  ].join("\n\n") + "\n"
}

const readPages = (): ReadonlyMap<string, string> =>
  new Map(
    globSync(`${folder}/*.md`, { cwd: projectRoot }).map((
      path
    ) => [path, readFileSync(join(projectRoot, path), "utf8")])
  )

const main = async (): Promise<void> => {
  const before = readPages()
  rmSync(join(projectRoot, declarations), { recursive: true, force: true })
  await must("typescript/bin/tsc", "-p", "tsconfig.build.json", "--emitDeclarationOnly", "--outDir", declarations)
  const modules = modulesOf()
  const links = linksOf(modules)
  rmSync(join(projectRoot, folder), { recursive: true, force: true })
  mkdirSync(join(projectRoot, folder), { recursive: true })
  const write = (name: string, text: string) => writeFileSync(join(projectRoot, folder, `${name}.md`), text)
  for (const module of modules) write(module.name, pageOf(module, links))
  write("README", indexOf(modules))
  await must("dprint/bin.cjs", "fmt", `${folder}/*.md`)

  const after = readPages()
  const stale = [...new Set([...before.keys(), ...after.keys()])].filter((path) => before.get(path) !== after.get(path))
  const problems = process.argv.includes("--check") ? stale : []
  for (const path of problems) console.error(`${path} was out of date: commit what npm run api has written`)
  if (problems.length > 0) process.exitCode = 1
  console.log(`api: ${stale.length === 0 ? "ok" : `${stale.length} pages changed`}, ${after.size} pages`)
}

if (import.meta.main) await main()
