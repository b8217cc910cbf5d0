/**
 * Removes what the build wrote, so that a deleted module leaves nothing behind.
 */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { projectRoot } from "./source.ts"

rmSync(join(projectRoot, "dist"), { recursive: true, force: true })
