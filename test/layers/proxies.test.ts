// A proxy of the environment is for the way out: an emulator is never reached through it.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { runModule } from "../utils/child.ts"
import { makeScriptedServer, missingResult, timestamp, wireKey } from "../utils/scriptedServer.ts"

/** An HTTP server that answers every request, and counts those that a proxy would get. */
const httpServer = Effect.acquireRelease(
  Effect.promise(() =>
    new Promise<{ readonly host: string; readonly requests: Array<string>; readonly close: () => void }>((done) => {
      const requests: Array<string> = []
      const server = createServer((request, response) => {
        requests.push(`${request.method} ${request.url}`)
        response.end("Ok")
      })
      server.on("connect", ({ method, url }, socket) => {
        requests.push(`${method} ${url}`)
        socket.destroy()
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        done({ host: `127.0.0.1:${port}`, requests, close: () => server.close() })
      })
    })
  ),
  ({ close }) => Effect.sync(close)
)

describe("a proxy in the environment", () => {
  it.live("is not asked for an emulator, whichever variable names it", () =>
    Effect.gen(function*() {
      const proxy = yield* httpServer
      const url = `http://${proxy.host}`
      const health = yield* httpServer
      const server = yield* makeScriptedServer({
        Lookup: () => ({ response: { missing: [missingResult(wireKey("K", "a"), 1)], readTime: timestamp(1) } })
      })
      const { stderr, stdout } = yield* runModule(
        `
        import { Effect } from "effect"
        import { Datastore, Key } from "./src/index.ts"
        import * as Emulator from "./src/layers/Emulator.ts"
        import * as GoogleDatastore from "./src/layers/GoogleDatastore.ts"
        const layer = GoogleDatastore.layer({ projectId: "p", emulatorHost: "${server.host}", readDeadline: "5 seconds" })
        const run = (effect) => Effect.runPromise(Effect.result(effect)).then((result) => console.log(result._tag))
        await run(Effect.provide(Datastore.get(Key.make("K", "a")), layer))
        await run(Effect.scoped(Effect.flatMap(Emulator.start({ host: "${health.host}" }), ({ reset }) => reset)))
        console.log("done")
        process.exit(0)
      `,
        // The last makes Node's own clients use proxies, too.
        { http_proxy: url, https_proxy: url, grpc_proxy: url, NODE_USE_ENV_PROXY: "1" }
      )

      assert.strictEqual(stdout, "Success\nSuccess\ndone\n", stderr)
      assert.deepStrictEqual(proxy.requests, [])
      assert.deepStrictEqual(health.requests, ["GET /", "POST /reset"])
    }))
})
