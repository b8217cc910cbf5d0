import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runModule } from "../utils/child.ts"
import { makeScriptedServer, missingResult, timestamp, wireKey } from "../utils/scriptedServer.ts"

describe("GoogleDatastore: pings", () => {
  // gRPC says in its trace what it makes of the options: the interval with the first call, the patience with a ping.
  const pings = (clientOptions: object) =>
    Effect.gen(function*() {
      const server = yield* makeScriptedServer({
        Lookup: () =>
          new Promise((done) => {
            const response = { missing: [missingResult(wireKey("K", "a"), 1)], readTime: timestamp(1) }
            setTimeout(() => done({ response }), 500)
          })
      })
      const { stderr, stdout } = yield* runModule(
        `
        import { Effect } from "effect"
        import { Datastore, Key } from "./src/index.ts"
        import * as GoogleDatastore from "./src/layers/GoogleDatastore.ts"
        const options = { projectId: "p", clientOptions: ${JSON.stringify(clientOptions)} }
        await Effect.runPromise(Effect.provide(Datastore.get(Key.make("K", "a")), GoogleDatastore.layer(options)))
        console.log("done")
      `,
        { DATASTORE_EMULATOR_HOST: server.host, GRPC_TRACE: "keepalive", GRPC_VERBOSITY: "DEBUG" }
      )
      assert.strictEqual(stdout, "done\n", stderr)
      return Array.from(new Set(Array.from(stderr.matchAll(/(?:timer for|with timeout) \d+ms/g), ([found]) => found)))
    })

  it.live("a connection with calls under way is pinged every 30 s", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* pings({}), ["timer for 30000ms"])
    }))

  it.live("a ping is given 10 s to be answered, and the time between pings may be set", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* pings({ "grpc.keepalive_time_ms": 100 }),
        ["timer for 100ms", "with timeout 10000ms"]
      )
    }))

  it.live("0 as the time between pings turns them off", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* pings({ "grpc.keepalive_time_ms": 0 }), [])
    }))
})
