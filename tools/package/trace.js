/**
 * Preloaded into a program: writes the addresses of all modules that it loaded to `trace.json`.
 */
import { writeFileSync } from "node:fs"
import { registerHooks } from "node:module"

const loaded = []
registerHooks({
  load: (url, context, nextLoad) => {
    loaded.push(url)
    return nextLoad(url, context)
  }
})
process.on("exit", () => writeFileSync("trace.json", JSON.stringify(loaded)))
