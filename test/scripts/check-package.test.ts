import { assert, describe, it } from "@effect/vitest"
import { entrypointsOf, forbiddenModules, strangeFiles, targetOf } from "../../scripts/package/exports.ts"
import { summarise } from "../../scripts/test-summary.ts"

const exported = {
  ".": { types: "./dist/index.d.ts", default: "./dist/index.js" },
  "./*": { types: "./dist/*.d.ts", default: "./dist/*.js" },
  "./layers/*": { default: "./dist/layers/*.js" },
  "./internal/*": null,
  "./index": null,
  "./package.json": "./package.json"
}

describe("check-package", () => {
  it("resolves a subpath as Node does: exact first, then the longest pattern", () => {
    assert.strictEqual(targetOf(exported, "./Key", "types"), "./dist/Key.d.ts")
    assert.strictEqual(targetOf(exported, "./layers/InMemory", "default"), "./dist/layers/InMemory.js")
    assert.isUndefined(targetOf(exported, "./layers/InMemory", "types"))
    assert.isUndefined(targetOf(exported, "./internal/lookups", "default"))
    assert.isUndefined(targetOf(exported, "./index", "default"))
    assert.isUndefined(targetOf({ ".": "./a.js" }, "./b", "default"))
  })

  it("lists the entries that lead to a file and leaves out the closed ones", () => {
    const files = [
      "dist/index.js",
      "dist/Key.js",
      "dist/Key.d.ts",
      "dist/internal/a.js",
      "dist/layers/InMemory.js",
      "src/x.ts"
    ]
    assert.deepStrictEqual(entrypointsOf(exported, new Set(files)), [".", "./Key", "./layers/InMemory"])
  })

  it("finds modules of optional peers and their dependencies among the loaded ones", () => {
    const at = (path: string): string => `file:///app/node_modules/${path}`
    const forbidden = [
      at("@grpc/grpc-js/a.js"),
      at("@google-cloud/datastore/b.js"),
      at("x/node_modules/google-gax/c.js")
    ]
    const allowed = [at("effect/dist/Effect.js"), at("effect-eventbox/dist/layers/GoogleDatastore.js"), "node:fs"]
    assert.deepStrictEqual(forbiddenModules([...allowed, ...forbidden]), forbidden)
  })

  it("finds files that do not belong into the package", () => {
    const proper = ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "dist/Key.js", "src/internal/a.ts"]
    const strange = ["test/Key.test.ts", "dist/Key.test.js", ".npmrc", "scripts/tidy.ts"]
    assert.deepStrictEqual(strangeFiles([...proper, ...strange]), strange)
  })
})

describe("test-summary", () => {
  it("counts a file that could not be loaded as a failure", () => {
    const counts = { numPassedTests: 5, numFailedTests: 1, numPendingTests: 2, numTodoTests: 1 }
    const loaded = { status: "failed", assertionResults: [{}] }
    const unloaded = { status: "failed", assertionResults: [] }
    assert.strictEqual(summarise({ ...counts, testResults: [loaded] }), "5 passed, 1 failed, 3 skipped")
    assert.strictEqual(summarise({ ...counts, testResults: [loaded, unloaded] }), "5 passed, 2 failed, 3 skipped")
  })
})
