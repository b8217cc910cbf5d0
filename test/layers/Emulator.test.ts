import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option } from "effect"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import type { EmulatorError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import * as Emulator from "../../src/layers/Emulator.ts"
import { findJar } from "../../src/layers/emulator/process.ts"
import * as DatastoreSuite from "../../src/testing/DatastoreSuite.ts"
import { emulatorHost, emulatorLayer, isMissing, onEmulator } from "../utils/emulator.ts"

// The emulator shows a commit to readers beside it entity by entity, in 3 to 10 reads of 100: a defect of its own,
// which its read-only transactions have as well.
describe.skipIf(isMissing)("Emulator: conformance", () => {
  DatastoreSuite.suite("with no-op writes", emulatorLayer(), { tornReads: true })
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "eventbox-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** Something in place of Java: it writes its process id to a file, then runs these lines of shell. */
const fakeJava = (lines: string) =>
  Effect.map(folder, (path) => {
    const java = join(path, "java")
    const pidFile = join(path, "pid")
    writeFileSync(java, `#!/bin/sh\necho $$ > ${pidFile}\n${lines}\n`)
    chmodSync(java, 0o755)
    // Any file will do as the jar: the fake does not read it.
    return { options: { host: "", jar: java, java }, pidFile }
  })

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const startError = (options: Emulator.StartOptions): Effect.Effect<EmulatorError> =>
  Effect.flip(Effect.scoped(Effect.asVoid(Emulator.start(options)))).pipe(Effect.orDie)

const until = (condition: () => boolean | Promise<boolean>) =>
  Effect.promise(async () => {
    while (!(await condition())) await new Promise((done) => setTimeout(done, 10))
  })

describe("Emulator: what goes wrong is one typed error with what to do", () => {
  it.effect("Java is missing", () =>
    Effect.gen(function*() {
      const error = yield* startError({ host: "", jar: process.execPath, java: "/nowhere/java" })

      assert.strictEqual(error._tag, "EmulatorError")
      assert.match(error.message, /needs Java, and there is no \/nowhere\/java\. Install a Java runtime/)
    }))

  it.effect("the jar is missing", () =>
    Effect.gen(function*() {
      const error = yield* startError({ host: "", jar: "/nowhere/emulator.jar" })

      assert.match(
        error.message,
        /no file \/nowhere\/emulator\.jar.*gcloud components install cloud-firestore-emulator/
      )
    }))

  it.effect("none answers at the host that was named", () =>
    Effect.gen(function*() {
      const error = yield* startError({ host: "127.0.0.1:1" })

      assert.match(error.message, /none answers at 127\.0\.0\.1:1.*DATASTORE_EMULATOR_HOST/)
    }))

  it.effect("it ends at once: with what it printed", () =>
    Effect.gen(function*() {
      const { options } = yield* fakeJava("echo some reason >&2; exit 3")

      assert.match((yield* startError(options)).message, /exit code 3.*some reason/s)
    }))

  it.effect("it needs a newer Java", () =>
    Effect.gen(function*() {
      const { options } = yield* fakeJava("echo java.lang.UnsupportedClassVersionError >&2; exit 1")

      assert.match((yield* startError(options)).message, /newer Java: install version 21/)
    }))

  it.effect("it never answers: then it is ended", () =>
    Effect.gen(function*() {
      const { options, pidFile } = yield* fakeJava("exec sleep 60")

      const error = yield* startError({ ...options, startTimeout: 200 })

      assert.match(error.message, /did not answer within 0\.2 s/)
      assert.isFalse(isAlive(Number(readFileSync(pidFile, "utf8"))))
    }))
})

describe("Emulator: its process", () => {
  it.effect("an interrupted start leaves no process", () =>
    Effect.gen(function*() {
      const { options, pidFile } = yield* fakeJava("exec sleep 60")
      const fiber = yield* Effect.forkChild(Effect.scoped(Emulator.start(options)), { startImmediately: true })
      yield* until(() => existsSync(pidFile) && readFileSync(pidFile, "utf8") !== "")
      const pid = Number(readFileSync(pidFile, "utf8"))
      assert.isTrue(isAlive(pid))

      yield* Fiber.interrupt(fiber)

      yield* until(() => !isAlive(pid))
    }))

  it.effect("the jar is looked for where the settings say, before anywhere else", () =>
    Effect.gen(function*() {
      const root = yield* folder
      const jar = join(root, "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
      mkdirSync(dirname(jar), { recursive: true })
      writeFileSync(jar, "")
      const other = join(root, "other.jar")
      writeFileSync(other, "")
      const find = (named: string | undefined, environment: Record<string, string>) =>
        Effect.promise(() => findJar(named, environment))

      assert.strictEqual(yield* find(undefined, { CLOUDSDK_ROOT_DIR: root }), jar)
      assert.strictEqual(yield* find(undefined, { CLOUDSDK_ROOT_DIR: root, EVENTBOX_EMULATOR_JAR: other }), other)
      assert.strictEqual(yield* find(jar, { EVENTBOX_EMULATOR_JAR: other }), jar)
    }))
})

onEmulator("Emulator: the layer", (it) => {
  const entity = Entity.make(Key.make("K", "a"), { n: 1 })

  it.effect("each layer has a project of its own, unless one is named", () =>
    Effect.gen(function*() {
      const seenIn = (options: Emulator.Options) =>
        Effect.map(Effect.provide(Datastore.get(entity.key), Layer.fresh(emulatorLayer(options))), Option.isSome)
      yield* Effect.provide(Datastore.put([entity]), Layer.fresh(emulatorLayer({ projectId: "named" })))

      assert.isTrue(yield* seenIn({ projectId: "named" }))
      assert.isFalse(yield* seenIn({ projectId: "named", namespace: "n" }))
      assert.isFalse(yield* seenIn({ projectId: "named", databaseId: "d" }))
      assert.isFalse(yield* seenIn({}))
    }))

  it.effect("it says where the emulator is", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Emulator.Emulator).host, emulatorHost)
    }))
})
