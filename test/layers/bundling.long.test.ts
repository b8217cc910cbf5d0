// The Google layer inside of bundles: with the package left out, as docs/guides/bundling.md says, and otherwise.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { bundledTests, installing, run, ways } from "./bundles.ts"

bundledTests(["CommonJS", "CommonJS with require"], ["esm"])

describe("GoogleDatastore: bundled with a package that is broken", () => {
  it.live("a package that lacks a dependency is not taken for a missing one", () =>
    Effect.gen(function*() {
      const root = yield* installing((path) => {
        mkdirSync(path)
        writeFileSync(join(path, "index.js"), "require('google-gax')")
      })

      const said = yield* run(root, ways["CommonJS"]!)

      assert.match(said, /^FailedPrecondition .*cannot be loaded: Cannot find module 'google-gax'; install it anew/)
      assert.notInclude(said, "is not installed")
    }))

  it.live("a client of another kind is said to be one", () =>
    Effect.gen(function*() {
      const root = yield* installing((path) => {
        mkdirSync(path)
        writeFileSync(join(path, "index.js"), "exports.v1 = { DatastoreClient: class {} }")
      })

      assert.match(yield* run(root, ways["CommonJS"]!), /^FailedPrecondition .*cannot set up the client \(this release/)
    }))
})
