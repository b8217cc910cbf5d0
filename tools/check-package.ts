/**
 * `npm run package`: packs the package, installs the tarball into an empty project, and uses it there: first beside
 * `effect` alone, where the memory path must compile and run without any vendor; then with the optional peers, where
 * every public module must load and compile, and every private one be closed.
 *
 * Why by hand: `publint` and `attw` read manifest and types; neither installs, runs, or knows what must stay closed.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import { compile, projectRoot, run } from "./source.ts"

const readJson = (path: string): any => JSON.parse(readFileSync(path, "utf8"))

const manifest: { readonly name: string; readonly peerDependencies: Readonly<Record<string, string>> } = readJson(
  join(projectRoot, "package.json")
)

const ensureNone = (found: ReadonlyArray<string>, message: string): void => {
  if (found.length > 0) throw new Error(`${message}:\n${found.join("\n")}`)
}

/** Runs a program; throws with all that it said when it fails. */
const must = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  const { code, stderr, stdout } = await run(command, args, { cwd })
  ensureNone(code === 0 ? [] : [stdout, stderr], `${command} ${args.join(" ")} failed (${code})`)
  return stdout
}

interface Packed {
  readonly tarball: string
  readonly files: ReadonlyArray<string>
  readonly unpackedSize: number
}

const pack = async (folder: string): Promise<Packed> => {
  await must("npm", ["run", "build"], projectRoot)
  const printed = await must("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], projectRoot)
  const parsed: any = JSON.parse(printed)
  const [packed] = Array.isArray(parsed) ? parsed : Object.values<any>(parsed)
  const files: ReadonlyArray<string> = packed.files.map((file: { readonly path: string }) => file.path)
  const known = /^(dist|docs|examples)\/.+|^bench\/.*\.md$|^([A-Z]+\.md|package\.json|LICENSE)$/
  const strange = files.filter((file) => !known.test(file) || /\.(test|tst)\.|\.tsbuildinfo$/.test(file))
  ensureNone(strange, "the tarball holds files that do not belong there")
  const needed = ["README.md", "LICENSE", "CHANGELOG.md", "dist/index.js", "dist/cli/main.js"]
  ensureNone(needed.filter((file) => !files.includes(file)), "the tarball lacks")
  return { tarball: join(folder, packed.filename), files, unpackedSize: packed.unpackedSize }
}

/** No link of the pages that are in the package may lead out of it. */
const checkPages = async ({ tarball }: Packed, folder: string): Promise<void> => {
  await must("tar", ["-xzf", tarball, "-C", folder], folder)
  const markdownlint = join(projectRoot, "node_modules/markdownlint-cli2/markdownlint-cli2-bin.mjs")
  const config = join(projectRoot, ".markdownlint-cli2.jsonc")
  await must(process.execPath, [markdownlint, "--config", config, "**/*.md"], join(folder, "package"))
}

const lint = async ({ tarball }: Packed, modules: ReadonlyArray<string>): Promise<void> => {
  const bytes = Uint8Array.from(readFileSync(tarball))
  const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true })
  // The sources are not in the package: their condition is for this repository, and nobody else sets it.
  const told = messages.map((message) => formatMessage(message, pkg ?? {}, { color: false }) ?? message.code)
  ensureNone(told.filter((message) => !message.includes("effect-eventbox:source")), "publint")
  const attw = join(projectRoot, "node_modules/@arethetypeswrong/cli/dist/index.js")
  const options = ["--profile", "esm-only", "--no-definitely-typed", "--no-emoji", "--no-color", "--format", "ascii"]
  await must(process.execPath, [attw, tarball, ...options, "--entrypoints", ...modules], projectRoot)
}

const install = (folder: string, packages: ReadonlyArray<string>): Promise<string> => {
  const options = ["--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
  return must("npm", ["install", ...options, ...packages], folder)
}

/** `name@version` of what is installed here, so that the check uses what the tests used. */
const sameAsHere = (name: string): string =>
  `${name}@${readJson(join(projectRoot, "node_modules", name, "package.json")).version}`

const compileIn = async (folder: string, include: ReadonlyArray<string>, skipLibCheck: boolean): Promise<void> => {
  const strict = { strict: true, exactOptionalPropertyTypes: true, noPropertyAccessFromIndexSignature: true }
  for (const moduleResolution of ["NodeNext", "Bundler"]) {
    const module = moduleResolution === "Bundler" ? "ESNext" : "NodeNext"
    const target = { module, moduleResolution, target: "ES2023", lib: ["ES2024", "DOM"], types: [] }
    const compilerOptions = { ...target, ...strict, skipLibCheck }
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include }))
    // One after the other: both use the one configuration file.
    const said = await compile(folder)
    ensureNone(said === "" ? [] : [said], `types under ${moduleResolution}`)
  }
}

/** A program as a user would write it, on the layer in memory. */
const example = join(projectRoot, "examples/01-counter.ts")

/** Preloaded into a program: writes down which modules it loads. */
const trace = `import { writeFileSync } from "node:fs"
  import { registerHooks } from "node:module"
  const loaded = []
  registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context) } })
  process.on("exit", () => writeFileSync("trace.json", JSON.stringify(loaded)))`

const runMemoryPath = async (folder: string): Promise<void> => {
  const printed = await must(process.execPath, ["--import", "./trace.js", "memory.ts"], folder)
  const expected = readFileSync(example, "utf8").split("// Output:\n")[1]!.replaceAll("// ", "")
  ensureNone(printed === expected ? [] : [printed], "the memory path prints something else")
  const loaded: ReadonlyArray<string> = readJson(join(folder, "trace.json"))
  const isSeen = loaded.some((url) => url.includes(`/node_modules/${manifest.name}/dist/`))
  ensureNone(isSeen ? [] : loaded, "the trace saw no module of ours")
  const vendor = /\/node_modules\/(@grpc|@google-cloud|google-gax|google-auth-library|protobufjs|vitest|@effect)\//
  ensureNone(loaded.filter((url) => vendor.test(url)), "the memory path loads what it must not")
}

/** The command runs, and says what it lacks. */
const runCommand = async (folder: string): Promise<void> => {
  const bin = join(folder, "node_modules/.bin/effect-eventbox")
  await must(bin, ["verify", "--help"], folder)
  const env = { ...process.env, DATASTORE_EMULATOR_HOST: "" }
  const { code, stderr } = await run(bin, ["verify", "--project", "p"], { cwd: folder, env })
  const isSaid = code === 2 && /npm\s+install\s+@google-cloud\/datastore/.test(stderr)
  ensureNone(isSaid ? [] : [stderr], "verify does not say what to install")
}

/** The modules that users can import: all with a name in upper case, and no other. They are loaded, too. */
const openModules = async (folder: string, { files }: Packed): Promise<ReadonlyArray<string>> => {
  const subpaths = files.filter((file) => /^dist\/.*\.js$/.test(file)).map((file) => file.slice(5, -3))
    .map((path) => ["index", "testing/index"].includes(path) ? path.replace(/\/?index$/, "") : path)
  const names = subpaths.map((path) => path === "" ? manifest.name : `${manifest.name}/${path}`)
  const code = `import { existsSync } from "node:fs"
    for (const name of ${JSON.stringify(names)}) {
      try {
        if (!existsSync(new URL(import.meta.resolve(name)))) continue
      } catch { continue }
      if (!name.endsWith("/DatastoreSuite")) await import(name)
      console.log(name)
    }
    await import("${manifest.name}/package.json", { with: { type: "json" } })`
  writeFileSync(join(folder, "resolve.js"), code)
  const open = (await must(process.execPath, ["resolve.js"], folder)).trim().split("\n")
  const isPublic = (name: string) => /(^|\/)[A-Z]\w*$/.test(name) || name === manifest.name || name.endsWith("/testing")
  ensureNone(open.filter((name) => !isPublic(name)), "private modules are exported")
  ensureNone(names.filter((name) => isPublic(name) && !open.includes(name)), "public modules are not exported")
  return open
}

const check = async (folder: string): Promise<string> => {
  const packed = await pack(folder)
  await checkPages(packed, folder)
  const consumer = join(folder, "consumer")
  mkdirSync(consumer)
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ private: true, type: "module" }))
  copyFileSync(example, join(consumer, "memory.ts"))
  writeFileSync(join(consumer, "trace.js"), trace)
  const peers = Object.keys(manifest.peerDependencies).filter((peer) => peer !== "effect")
  await install(consumer, [packed.tarball, sameAsHere("effect")])
  const installed = peers.filter((peer) => existsSync(join(consumer, "node_modules", peer)))
  ensureNone(installed, "peers that should be optional were installed")
  await compileIn(consumer, ["memory.ts"], false)
  await runMemoryPath(consumer)
  await runCommand(consumer)

  await install(consumer, peers.map(sameAsHere))
  await runMemoryPath(consumer)
  const open = await openModules(consumer, packed)
  const all = open.map((name, index) => `export * as m${index} from ${JSON.stringify(name)}`)
  writeFileSync(join(consumer, "all.ts"), all.join("\n"))
  await compileIn(consumer, ["memory.ts", "all.ts"], true)
  await lint(packed, open.map((name) => `.${name.slice(manifest.name.length)}`))
  const megabytes = (packed.unpackedSize / 1e6).toFixed(2)
  return `${packed.files.length} files of ${megabytes} MB, ${open.length} public modules`
}

const folder = mkdtempSync(join(tmpdir(), "eventbox-package-"))
try {
  console.log(`package: ok, ${await check(folder)}`)
} catch (error) {
  console.error(`package: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
