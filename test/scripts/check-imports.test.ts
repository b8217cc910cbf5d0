import { assert, describe, it } from "@effect/vitest"
import { checkImports, importsOf } from "../../scripts/check-imports.ts"

const peers = new Set(["effect", "@google-cloud/datastore"])

const messagesOf = (files: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  checkImports(new Map(Object.entries(files)), peers).map(({ file, line, message }) => `${file}:${line}: ${message}`)

/** What the check says of one module; the modules that it may name exist. */
const ofModule = (path: string, code: string): ReadonlyArray<string> => {
  const others = ["Key", "Backend", "Transaction", "Datastore", "DsSet", "Processor", "Eventbox", "layers/InMemory"]
  const files = Object.fromEntries(others.map((name) => [`src/${name}.ts`, ""]))
  return messagesOf({ ...files, "src/testing/Faulty.ts": "", "src/layers/internal/rpc.ts": "", [path]: code })
}

const assertRefused = (messages: ReadonlyArray<string>, part: string): void => {
  assert.strictEqual(messages.length, 1, messages.join("\n"))
  assert.include(messages[0], part)
}

describe("check-imports", () => {
  it("lets a module import lower ranks and the modules of effect", () => {
    const code =
      `import * as Effect from "effect/Effect"\nimport type { Key } from "./Key.ts"\nexport const x = Effect.void`
    assert.deepStrictEqual(ofModule("src/Datastore.ts", code), [])
  })

  it("refuses the same rank, so neither DsSet nor Processor knows the other", () => {
    assertRefused(ofModule("src/DsSet.ts", `import "./Processor.ts"`), "src/DsSet.ts:1: rank 5 imports Processor")
    assertRefused(ofModule("src/Processor.ts", `import "./DsSet.ts"`), "rank 5 imports DsSet")
  })

  it("refuses higher ranks in every form of import", () => {
    const forms = [
      `import * as Datastore from "./Datastore.ts"`,
      `import type { Datastore } from "./Datastore.ts"`,
      `export * from "./Datastore.ts"`,
      `export { get } from "./Datastore.ts"`,
      `export * as Datastore from "./Datastore.ts"`,
      `export const load = () => import("./Datastore.ts")`,
      `export type Service = import("./Datastore.ts").Datastore`,
      `export type Module = typeof import("./Datastore.ts")`
    ]
    for (const form of forms) assertRefused(ofModule("src/Transaction.ts", `\n${form}`), "src/Transaction.ts:2: rank 3")
  })

  it("refuses the barrel of effect", () => {
    assertRefused(ofModule("src/Key.ts", `import { Effect } from "effect"`), `not from the barrel "effect"`)
  })

  it("refuses vendors and Node below layers/", () => {
    assertRefused(ofModule("src/Datastore.ts", `import "node:fs"`), "needs a layer")
    assertRefused(ofModule("src/Eventbox.ts", `import("@google-cloud/datastore")`), "needs a layer")
  })

  it("lets a layer use Node and a declared peer, and refuses any other package", () => {
    const google = `import "node:net"\nexport const load = () => import("@google-cloud/datastore")`
    assert.deepStrictEqual(ofModule("src/layers/GoogleDatastore.ts", google), [])
    assertRefused(ofModule("src/layers/GoogleDatastore.ts", `import "google-gax/build/x"`), "google-gax is neither")
  })

  it("keeps layers away from what is above Datastore", () => {
    assertRefused(ofModule("src/layers/Emulator.ts", `import "../DsSet.ts"`), "never DsSet")
    assertRefused(ofModule("src/layers/Emulator.ts", `import "../Eventbox.ts"`), "never Eventbox")
    assert.deepStrictEqual(ofModule("src/layers/Emulator.ts", `import "../Datastore.ts"\nimport "./InMemory.ts"`), [])
  })

  it("keeps test runners in the conformance suite", () => {
    assert.deepStrictEqual(ofModule("src/testing/DatastoreSuite.ts", `import "vitest"\nimport "@effect/vitest"`), [])
    assertRefused(ofModule("src/testing/Recorder.ts", `import "@effect/vitest"`), "only testing/DatastoreSuite")
    assertRefused(ofModule("src/Key.ts", `import "vitest"`), "only testing/DatastoreSuite")
  })

  it("keeps layers and the test kit out of the index", () => {
    assertRefused(ofModule("src/index.ts", `export * as InMemory from "./layers/InMemory.ts"`), "index never imports")
    assertRefused(ofModule("src/index.ts", `export * as Faulty from "./testing/Faulty.ts"`), "index never imports")
  })

  it("finds a cycle inside a folder", () => {
    const messages = messagesOf({
      "src/layers/A.ts": `import "./B.ts"`,
      "src/layers/B.ts": `import "./internal/C.ts"`,
      "src/layers/internal/C.ts": `import "../A.ts"`
    })
    assertRefused(messages, "import cycle: layers/A → layers/B → layers/internal/C → layers/A")
  })

  it("asks for a rank for an unknown module", () => {
    assertRefused(ofModule("src/Outbox.ts", ""), "give it a rank")
    assertRefused(ofModule("src/internal/unheard.ts", ""), "give it a rank")
  })

  it("refuses an import that leads out of src", () => {
    assertRefused(ofModule("src/Key.ts", `import "../package.json"`), "is not a module of src")
  })

  it("reports the line of each import", () => {
    assert.deepStrictEqual(importsOf("a.ts", `import "x"\n\nexport * from "y"\n`), [
      { from: "x", line: 1 },
      { from: "y", line: 3 }
    ])
  })
})
