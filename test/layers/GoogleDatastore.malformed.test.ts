// Answers with entities that are none: the read fails, and nobody dies of them later.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Option } from "effect"
import type { Snapshot } from "../../src/Backend.ts"
import type { DatastoreError } from "../../src/EventboxError.ts"
import * as Key from "../../src/Key.ts"
import { makePartition } from "../../src/layers/google/key.ts"
import { strong } from "../../src/layers/google/messages.ts"
import { lookupWith } from "../../src/layers/google/reads.ts"
import * as GoogleDatastore from "../../src/layers/GoogleDatastore.ts"
import { encodeWith, makeScriptedServer, messages, timestamp, wireKey } from "../utils/scriptedServer.ts"

const key = Key.make("K", "a")

const entity = {
  key: wireKey("K", "a"),
  properties: {
    text: { stringValue: "x".repeat(40), excludeFromIndexes: true },
    list: { arrayValue: { values: [{ integerValue: 5 }, { doubleValue: 1.5 }] } },
    nested: { entityValue: { properties: { blob: { blobValue: Buffer.from([1, 2]) } } } },
    point: { geoPointValue: { latitude: 1, longitude: 2 } },
    moment: { timestampValue: { seconds: 5, nanos: 1_000 } },
    link: { keyValue: wireKey("L", "b") }
  }
}

const intact = encodeWith(messages.LookupResponse, { found: [{ entity, version: 5 }], readTime: timestamp(1) })

/** The response with one property whose name or value is cut: lengths say more than there is. */
const cut = (): Buffer => {
  const broken = Buffer.from(intact)
  // The length of the text, which then reaches beyond the entity.
  broken[broken.indexOf("x".repeat(40)) - 1] = 0x7f
  return broken
}

describe("GoogleDatastore: a malformed entity in an answer", () => {
  it.effect("fails the lookup and the query as Internal, and is no defect", () =>
    Effect.gen(function*() {
      const lookup = cut()
      const batch = { entityResults: [{ entity, version: 5 }], moreResults: "NO_MORE_RESULTS", readTime: timestamp(1) }
      const query = encodeWith(messages.RunQueryResponse, { batch })
      query[query.indexOf("x".repeat(40)) - 1] = 0x7f
      const server = yield* makeScriptedServer({
        Lookup: () => ({ bytes: lookup }),
        RunQuery: () => ({ bytes: query })
      })
      const backend = yield* GoogleDatastore.makeBackend({ emulatorHost: server.host, projectId: "scripted" })

      const errors = [yield* Effect.flip(backend.lookup([key])), yield* Effect.flip(backend.query({ kind: "K" }))]

      assert.deepStrictEqual(errors.map(({ operation, reason }) => [operation, reason._tag]), [
        ["lookup", "Internal"],
        ["query", "Internal"]
      ])
      for (const { message } of errors) assert.include(message, "the response cannot be read")
    }))

  it.effect("whichever byte of an answer is another, the read succeeds or fails, and reading on never dies", () =>
    Effect.gen(function*() {
      const partition = makePartition({ projectId: "scripted", databaseId: "", namespace: "" })
      const read = (bytes: Uint8Array): Effect.Effect<ReadonlyArray<Snapshot>, DatastoreError> =>
        Effect.map(lookupWith(partition, [key], strong, () => Effect.succeed(bytes)), (snapshots) => {
          for (const snapshot of snapshots) Option.map(snapshot.entity, ({ properties }) => Object.keys(properties))
          return snapshots
        })
      const seen = { succeeded: 0, failed: 0 }
      for (let at = 0; at < intact.length; at++) {
        for (const flip of [0x01, 0x04, 0x80, 0xff]) {
          const broken = Buffer.from(intact)
          broken[at]! ^= flip
          const exit = yield* Effect.exit(read(broken))
          if (Exit.isSuccess(exit)) seen.succeeded++
          else {
            assert.isFalse(Cause.hasDies(exit.cause), `byte ${at}, flip ${flip}: ${Cause.pretty(exit.cause)}`)
            seen.failed++
          }
        }
      }
      yield* read(intact)

      assert.isAbove(seen.failed, 200)
      assert.isAbove(seen.succeeded, 200)
    }))
})
