import { existsSync } from "node:fs"
import { join } from "node:path"
import { defineConfig } from "vitest/config"

// Tests and the programs they start import `effect-eventbox` itself and reach its sources, without a build.
const condition = "effect-eventbox:source"
const conditions = [condition, "module", "node", "development|production"]
const globalSetup = join(import.meta.dirname, "test/globalSetup.ts")
const long = "test/**/*.long.test.ts"

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // `npm test` is the short one: all that a change may break. `npm run test:long` is the rest, whole enumerations
    // and real processes.
    projects: [
      { extends: true, test: { name: "short", include: ["test/**/*.test.ts"], exclude: [long] } },
      { extends: true, test: { name: "long", include: [long] } }
    ],
    globalSetup: existsSync(globalSetup) ? [globalSetup] : [],
    pool: "forks",
    // Loading Effect once per file would take longer than most files do.
    isolate: false,
    // The default leaves a core idle, half of a machine with two.
    maxWorkers: "100%",
    execArgv: [`--conditions=${condition}`],
    // Programs that tests start load Effect and Google's client: compiled once for all of them.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/node") },
    testTimeout: 30_000,
    hookTimeout: 120_000
  }
})
