/**
 * Preloaded into a program: writes the addresses of all modules that it loaded to the file named by `TRACE_FILE`.
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
process.on("exit", () => writeFileSync(process.env["TRACE_FILE"], JSON.stringify(loaded)))
