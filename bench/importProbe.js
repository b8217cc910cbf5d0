/**
 * Run in a fresh process: loads what its argument names and prints how long that took. With a second argument it
 * counts the modules instead, since counting takes time.
 */
import { registerHooks } from "node:module"

const [probe, counting] = process.argv.slice(2)
let modules = 0
if (counting !== undefined) {
  registerHooks({
    load: (url, context, nextLoad) => {
      if (!url.startsWith("node:")) modules++
      return nextLoad(url, context)
    }
  })
}
const before = process.cpuUsage()
const begin = performance.now()
await (await import(probe)).default()
const millis = performance.now() - begin
const { system, user } = process.cpuUsage(before)
process.stdout.write(JSON.stringify({ millis, cpuMillis: (user + system) / 1_000, modules }))
process.exit()
