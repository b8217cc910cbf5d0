/**
 * What it costs to load the library, in a fresh process each time.
 */
import { Effect, type Scope } from "effect"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { type Spread, spreadOf } from "../measure.ts"
import { byEffort, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatSpread, formatTable } from "../table.ts"

/** One thing to load. */
export interface ImportsRow {
  readonly name: string
  readonly millis: Spread
  readonly cpuMillis: Spread
  readonly modules: number
}

/** What was measured. */
export interface ImportsData {
  readonly rows: ReadonlyArray<ImportsRow>
  readonly samples: number
}

const root = join(import.meta.dirname, "../..")
const run = promisify(execFile)

const build = (layer: string): string =>
  `export default () => Effect.runPromise(Effect.scoped(Effect.asVoid(Layer.build(${layer}))))`

/** What is loaded, as the text of a module whose default export does what is left to do at the start. */
const probes = (dist: string): ReadonlyArray<readonly [name: string, text: string]> => {
  const ours = (path: string) => JSON.stringify(pathToFileURL(join(dist, path)).href)
  const paths = `import { Effect, Layer } from "effect"\nimport { Datastore, Eventbox, Processor } from ${
    ours("index.js")
  }`
  return [
    ["nothing", "export default () => {}"],
    ["effect, as a barrel", "import * as all from \"effect\"\nexport default () => all"],
    ["one module: Eventbox", `import * as Eventbox from ${ours("Eventbox.js")}\nexport default () => Eventbox`],
    ["memory path", `${paths}\nimport * as InMemory from ${ours("layers/InMemory.js")}\n${build("InMemory.layer")}`],
    [
      "Google path",
      `${paths}\nimport * as GoogleDatastore from ${ours("layers/GoogleDatastore.js")}\n` +
      build("GoogleDatastore.layer({ emulatorHost: \"127.0.0.1:1\", projectId: \"p\" })")
    ],
    [
      "plain API alone",
      // As far as the Google path: the first request makes the generated client ready. It finds nobody.
      "import { Datastore } from \"@google-cloud/datastore\"\nprocess.env.DATASTORE_EMULATOR_HOST = \"127.0.0.1:1\"\n" +
      "export default async () => {\n  const datastore = new Datastore({ projectId: \"p\" })\n" +
      "  await datastore.get(datastore.key([\"K\", 1]), { gaxOptions: { timeout: 1, retry: null } }).catch(() => {})\n}"
    ]
  ]
}

const measure = (setting: Setting): Effect.Effect<ImportsData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const samples = setting.samples ?? byEffort(setting.effort, { smoke: 1, ordinary: 9, full: 25 })
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => {
        // Below the project, so that the packages are found; what is loaded is built as the published package is.
        const cache = join(root, "node_modules/.cache")
        mkdirSync(cache, { recursive: true })
        return mkdtempSync(join(cache, "eventbox-bench-"))
      }),
      (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
    )
    const dist = join(folder, "dist")
    const tsc = join(root, "node_modules/typescript/bin/tsc")
    yield* Effect.promise(() =>
      run(process.execPath, [tsc, "-p", "tsconfig.build.json", "--noCheck", "--outDir", dist], { cwd: root })
    )
    const all = probes(dist).map(([name, text], index) => {
      const file = join(folder, `probe${index}.mjs`)
      writeFileSync(file, text)
      return { name, file, found: [] as Array<Loaded> }
    })
    const warmUp = setting.effort === "smoke" ? 0 : 1
    for (let round = -warmUp; round < samples; round++) {
      for (const { file, found } of all) {
        const loaded = yield* load(file)
        // The first round fills the cache of the file system.
        if (round >= 0) found.push(loaded)
      }
    }
    const rows: Array<ImportsRow> = []
    for (const { file, found, name } of all) {
      const { modules } = yield* load(file, "count")
      rows.push({
        name,
        millis: spreadOf(found.map(({ millis }) => millis)),
        cpuMillis: spreadOf(found.map(({ cpuMillis }) => cpuMillis)),
        modules: modules - 1
      })
    }
    return { rows, samples }
  })

interface Loaded {
  readonly millis: number
  readonly cpuMillis: number
  readonly modules: number
}

const load = (file: string, ...counting: ReadonlyArray<"count">): Effect.Effect<Loaded> =>
  Effect.promise(async () => {
    const script = join(import.meta.dirname, "../importProbe.js")
    const { stdout } = await run(process.execPath, [script, pathToFileURL(file).href, ...counting], { cwd: root })
    return JSON.parse(stdout) as Loaded
  })

const report = ({ rows, samples }: ImportsData): string => {
  const plain = rows.at(-1)!
  return [
    `${samples} fresh processes each, in turn; median (least..greatest)`,
    formatTable(
      ["LOADED", "ms", "ms CPU", "modules", "CPU to plain API"],
      rows.map((row) => [
        row.name,
        formatSpread(row.millis),
        formatSpread(row.cpuMillis),
        formatNumber(row.modules),
        `x ${formatNumber(row.cpuMillis.median / plain.cpuMillis.median)}`
      ])
    ),
    [
      "Modules of packages and of this library, those of Node itself left out; built as the published package is. memory",
      "path, Google path: `effect`, the index and one layer, which is also built; the Google one loads the plain API's",
      "package then, and sends nothing. plain API alone: its package, and a request that finds nobody, which makes its",
      "generated client ready."
    ].join("\n")
  ].join("\n\n")
}

const losses = ({ rows }: ImportsData): ReadonlyArray<string> => {
  const [google, plain] = ["Google path", "plain API alone"].map((name) => rows.find((row) => row.name === name)!)
  return google!.cpuMillis.median <= plain!.cpuMillis.median ? [] : [
    `loading the Google path takes ${formatNumber(google!.cpuMillis.median)} ms CPU and ${
      formatNumber(google!.modules)
    } ` +
    `modules, the plain API alone ${formatNumber(plain!.cpuMillis.median)} and ${formatNumber(plain!.modules)}`
  ]
}

/** The table. */
export const imports: Table<ImportsData> = {
  name: "import",
  question: "What does it cost to load the library?",
  needsEmulator: false,
  measure,
  report,
  losses
}
