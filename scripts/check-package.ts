/**
 * Checks the package as users get it: packs it, installs the tarball into an empty project, and uses it there.
 *
 * Steps: the files of the tarball; publint; the types under each module resolution (attw); then a project with `effect`
 * alone, in which the memory path must compile and run; then the same project with the optional peers, in which every
 * entry must resolve and compile, and the memory path still must not load any of them.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import { compile } from "./compiler.ts"
import { entrypointsOf, type Exports, forbiddenModules, strangeFiles, targetOf } from "./package/exports.ts"
import { run } from "./process.ts"
import { projectRoot } from "./source.ts"

interface Manifest {
  readonly name: string
  readonly exports: Exports
  readonly devDependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
}

interface Packed {
  readonly tarball: string
  readonly files: ReadonlyArray<string>
}

const readJson = (path: string): any => JSON.parse(readFileSync(path, "utf8"))

const manifest: Manifest = readJson(join(projectRoot, "package.json"))

/** Runs a program; throws with all that it said when it fails. */
const must = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  const { code, stderr, stdout } = await run(command, args, { cwd, timeoutMillis: 300_000 })
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed (${code}):\n${stdout}${stderr}`)
  return stdout
}

const ensure = (holds: boolean, message: string): void => {
  if (!holds) throw new Error(message)
}

const pack = async (folder: string): Promise<Packed> => {
  await must("npm", ["run", "build"], projectRoot)
  const printed = await must("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], projectRoot)
  const parsed: any = JSON.parse(printed)
  const [packed] = Array.isArray(parsed) ? parsed : Object.values<any>(parsed)
  const files: ReadonlyArray<string> = packed.files.map((file: { readonly path: string }) => file.path)
  const strange = strangeFiles(files)
  ensure(strange.length === 0, `the tarball holds files that do not belong there: ${strange.join(", ")}`)
  const missing = ["README.md", "LICENSE", "CHANGELOG.md", "dist/index.js"].filter((file) => !files.includes(file))
  ensure(missing.length === 0, `the tarball lacks ${missing.join(", ")}`)
  return { tarball: join(folder, packed.filename), files }
}

const lint = async ({ tarball }: Packed, entrypoints: ReadonlyArray<string>): Promise<void> => {
  const bytes = Uint8Array.from(readFileSync(tarball))
  const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true })
  const texts = messages.map((message) => formatMessage(message, pkg ?? {}))
  ensure(texts.length === 0, `publint:\n${texts.join("\n")}`)

  const attw = join(projectRoot, "node_modules/@arethetypeswrong/cli/dist/index.js")
  const modules = entrypoints.filter((entry) => entry !== "./package.json")
  const options = ["--profile", "esm-only", "--no-definitely-typed", "--no-emoji", "--no-color", "--format", "ascii"]
  await must(process.execPath, [attw, tarball, ...options, "--entrypoints", ...modules], projectRoot)
}

const install = (folder: string, packages: ReadonlyArray<string>): Promise<string> =>
  must(
    "npm",
    ["install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", ...packages],
    folder
  )

/** `name@version` of what is installed here, so that the check uses what the tests used. */
const sameAsHere = (name: string): string =>
  `${name}@${readJson(join(projectRoot, "node_modules", name, "package.json")).version}`

const compileUnder = async (folder: string, include: ReadonlyArray<string>, skipLibCheck: boolean): Promise<void> => {
  const resolutions = [
    { module: "NodeNext", moduleResolution: "NodeNext" },
    { module: "ESNext", moduleResolution: "Bundler" }
  ]
  for (const resolution of resolutions) {
    const compilerOptions = {
      ...resolution,
      target: "ES2023",
      lib: ["ES2024", "DOM"],
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
      noPropertyAccessFromIndexSignature: true,
      skipLibCheck
    }
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include }))
    // One after the other: both use the one configuration file.
    const said = await compile(folder)
    const texts = said.map(({ file, line, text }) => `${file}:${line}: ${text}`)
    ensure(said.length === 0, `types under ${resolution.moduleResolution}:\n${texts.join("\n")}`)
  }
}

const runMemoryPath = async (folder: string): Promise<void> => {
  const traceFile = join(folder, "trace.json")
  process.env["TRACE_FILE"] = traceFile
  const printed = await must(process.execPath, ["--import", "./trace.js", "memory.ts"], folder)
  ensure(printed.trim() === "5", `the memory path printed ${JSON.stringify(printed)} instead of 5`)
  const loaded: ReadonlyArray<string> = readJson(traceFile)
  ensure(loaded.some((url) => url.includes(`/node_modules/${manifest.name}/dist/`)), "the trace saw no module of ours")
  const forbidden = forbiddenModules(loaded)
  ensure(forbidden.length === 0, `the memory path loads what it must not:\n${forbidden.join("\n")}`)
}

/** Every entry must lead to its file; all but those that need a test runner must also load. */
const resolveAll = async (folder: string, entrypoints: ReadonlyArray<string>): Promise<void> => {
  const names = entrypoints.map((entry) => manifest.name + entry.slice(1))
  const loadable = names.filter((name) => !name.endsWith("/DatastoreSuite"))
  const code = [
    ...names.map((name) => `import.meta.resolve(${JSON.stringify(name)})`),
    ...loadable.map((name) =>
      `await import(${JSON.stringify(name)}${name.endsWith(".json") ? `, { with: { type: "json" } }` : ""})`
    )
  ]
  writeFileSync(join(folder, "resolve.js"), code.join("\n"))
  await must(process.execPath, ["resolve.js"], folder)
  const modules = names.filter((name) => !name.endsWith(".json"))
  const types = modules.map((name, index) => `export * as m${index} from ${JSON.stringify(name)}`)
  writeFileSync(join(folder, "all.ts"), types.join("\n"))
}

const checkClosed = async (folder: string, files: ReadonlyArray<string>): Promise<void> => {
  const internal = files.filter((file) => /^dist\/(.*\/)?[a-z]\w*\.js$/.test(file) && !file.endsWith("/index.js"))
  const open = internal.map((file) => `.${file.slice("dist".length, -".js".length)}`)
    .filter((subpath) => targetOf(manifest.exports, subpath, "default") !== undefined)
  ensure(open.length === 0, `internal modules are exported: ${open.join(", ")}`)
  if (internal.length === 0) return
  const name = `${manifest.name}${internal[0]!.slice("dist".length, -".js".length)}`
  const { code } = await run(process.execPath, ["--input-type=module", "-e", `import ${JSON.stringify(name)}`], {
    cwd: folder
  })
  ensure(code !== 0, `${name} can be imported, but is internal`)
}

const main = async (): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "eventbox-package-"))
  try {
    const packed = await pack(folder)
    const entrypoints = entrypointsOf(manifest.exports, new Set(packed.files))
    const exact = Object.entries(manifest.exports).filter(([key, entry]) => entry !== null && !key.includes("*"))
    const unresolved = exact.map(([key]) => key).filter((key) =>
      key.endsWith(".json") ? false : !entrypoints.includes(key)
    )
    ensure(unresolved.length === 0, `exports lead nowhere: ${unresolved.join(", ")}`)
    await lint(packed, entrypoints)

    const consumer = join(folder, "consumer")
    mkdirSync(consumer)
    writeFileSync(join(consumer, "package.json"), JSON.stringify({ private: true, type: "module" }))
    for (const file of ["memory.ts", "trace.js"]) {
      copyFileSync(join(import.meta.dirname, "package", file), join(consumer, file))
    }
    await install(consumer, [packed.tarball, sameAsHere("effect")])
    const peers = Object.keys(manifest.peerDependencies).filter((peer) => peer !== "effect")
    const installed = peers.filter((peer) => existsSync(join(consumer, "node_modules", peer)))
    ensure(installed.length === 0, `peers that should be optional were installed: ${installed.join(", ")}`)
    await compileUnder(consumer, ["memory.ts"], false)
    await runMemoryPath(consumer)

    await install(consumer, peers.map(sameAsHere))
    await runMemoryPath(consumer)
    await resolveAll(consumer, [...entrypoints, "./package.json"])
    await checkClosed(consumer, packed.files)
    await compileUnder(consumer, ["memory.ts", "all.ts"], true)
    console.log(`package: ok, ${packed.files.length} files, ${entrypoints.length} entries`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    console.error(`package: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  })
}
