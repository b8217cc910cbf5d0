import { existsSync } from "node:fs"
import { join } from "node:path"
import { defineConfig } from "vitest/config"

// Tests and the programs they start import `effect-eventbox` itself and reach its sources, without a build.
const condition = "effect-eventbox:source"
const conditions = [condition, "module", "node", "development|production"]
const globalSetup = join(import.meta.dirname, "test/globalSetup.ts")

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: existsSync(globalSetup) ? [globalSetup] : [],
    pool: "forks",
    execArgv: [`--conditions=${condition}`],
    testTimeout: 30_000,
    hookTimeout: 120_000
  }
})
