/** Bundles of a program on the Google layer, and what they say when they run. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { build, type BuildOptions } from "esbuild"
import { generateKeyPairSync } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { runModule } from "../utils/child.ts"
import { makeScriptedServer, missingResult, timestamp, wireKey } from "../utils/scriptedServer.ts"

const projectRoot = join(import.meta.dirname, "../..")

/** Reads one entity of the emulator, then opens the service with a login. */
const program = `
  import { Effect } from "effect"
  import { Datastore, Key } from "./src/index.ts"
  import * as GoogleDatastore from "./src/layers/GoogleDatastore.ts"

  const read = Datastore.get(Key.make("K", "a")).pipe(Effect.provide(GoogleDatastore.layer({ projectId: "p" })))
  const opened = Effect.scoped(GoogleDatastore.makeBackend({
    endpoint: "localhost:1",
    projectId: "p",
    credentials: { clientEmail: "a@b", privateKey: process.env.PRIVATE_KEY }
  }))
  Effect.runPromise(Effect.result(Effect.andThen(read, opened))).then((result) => {
    console.log(result._tag === "Success" ? "it works" : result.failure.reason._tag + " " + result.failure.message)
  })
`

const { privateKey } = generateKeyPairSync("rsa", {
  modulusLength: 2_048,
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" }
})

export const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "eventbox-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const packagePath = "node_modules/@google-cloud/datastore"

/** A folder with a package in place of `@google-cloud/datastore`. */
export const installing = (make: (path: string) => void) =>
  Effect.map(folder, (root) => {
    const path = join(root, packagePath)
    mkdirSync(dirname(path), { recursive: true })
    make(path)
    return root
  })

export const installed = installing((path) => symlinkSync(join(projectRoot, packagePath), path))

/** What the program says when it was bundled into the folder with these options. */
export const run = (root: string, options: BuildOptions) =>
  Effect.gen(function*() {
    const server = yield* makeScriptedServer({
      Lookup: () => ({ response: { missing: [missingResult(wireKey("K", "a"), 1)], readTime: timestamp(1) } })
    })
    const outfile = join(root, options.format === "esm" ? "bundle.mjs" : "bundle.cjs")
    yield* Effect.promise(() =>
      build({
        stdin: { contents: program, loader: "ts", resolveDir: projectRoot },
        bundle: true,
        platform: "node",
        logLevel: "error",
        outfile,
        ...options
      })
    )
    const { stderr, stdout } = yield* runModule(`await import(${JSON.stringify(outfile)})`, {
      DATASTORE_EMULATOR_HOST: server.host,
      PRIVATE_KEY: privateKey
    })
    return `${stdout}${stderr}`.trim()
  })

const external = ["@google-cloud/datastore"]

/** Ways to bundle a program that leave the package out. */
export const ways: Readonly<Record<string, BuildOptions>> = {
  "CommonJS": { format: "cjs", external },
  "ES modules": { format: "esm", external },
  // As `externals` of webpack: the package is required, and a module does not know where it is.
  "CommonJS with require": {
    format: "cjs",
    external,
    supported: { "dynamic-import": false },
    define: { "import.meta.url": "\"file:///nowhere/source.js\"" }
  }
}

/** The Google layer inside of bundles of these ways and formats. */
export const bundledTests = (chosen: ReadonlyArray<string>, formats: ReadonlyArray<"cjs" | "esm">) =>
  describe("GoogleDatastore: bundled", () => {
    it.live.each(chosen)("%s, with the package left out, it works", (way) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* run(yield* installed, ways[way]!), "it works")
      }))

    it.live.each(chosen)(
      "%s, with the package not installed, it says to install it",
      (way) =>
        Effect.gen(function*() {
          const said = yield* run(yield* folder, ways[way]!)

          assert.match(said, /^FailedPrecondition .*the package @google-cloud\/datastore is not installed: npm install/)
          assert.include(said, "beside the bundle")
        })
    )

    it.live.each(formats)(
      "%s, with the package in it, it says to leave it out",
      (format) =>
        Effect.gen(function*() {
          const said = yield* run(yield* installed, { format })

          assert.match(said, /^FailedPrecondition .*leave @google-cloud\/datastore out of the bundle/)
          assert.include(said, "docs/guides/bundling.md")
          assert.notInclude(said, "is not installed")
          assert.notInclude(said, "credentials")
        })
    )
  })
