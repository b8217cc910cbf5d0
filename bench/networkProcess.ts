/**
 * The network of the benchmark, in a process of its own: neither its CPU nor its turns are those of what is measured.
 * Its argument is the host that it leads to.
 */
import { Effect, Scope } from "effect"
import { makeTcpProxy } from "../test/utils/tcpProxy.ts"
import type { Order, Reply } from "./network.ts"

const proxy = await Effect.runPromise(
  Effect.flatMap(Scope.make(), (scope) => Scope.provide(makeTcpProxy(process.argv[2]!, { punctual: true }), scope))
)

const reply = (message: Reply): void => {
  process.send?.(message)
}

process.on("message", ({ delayMillis, id }: Order) => {
  if (delayMillis !== undefined) proxy.delay(delayMillis, delayMillis)
  reply({ id, host: proxy.host, ...proxy.bytes() })
})
process.on("disconnect", () => process.exit())
reply({ id: 0, host: proxy.host, ...proxy.bytes() })
