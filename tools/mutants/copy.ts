/**
 * Throw-away copies of the project, in which a fault may be put: the project itself is never touched.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { listFiles } from "../source.ts"

const copies = new Set<string>()

/**
 * Copies the project at `root`; the packages are links to those of the project. Its own name then leads to the copy's
 * `package.json`, and so to the copy's sources.
 */
export const makeCopy = (root: string): string => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "eventbox-mutants-")))
  copies.add(folder)
  // `node_modules` may itself be a link, and is then no folder to be passed over.
  for (const path of listFiles(root).filter((one) => one !== "node_modules")) {
    cpSync(join(root, path), join(folder, path))
  }
  // A folder of its own, since vitest writes into it.
  const modules = realpathSync(join(root, "node_modules"))
  mkdirSync(join(folder, "node_modules"))
  for (const name of readdirSync(modules)) {
    if (!name.startsWith(".")) symlinkSync(join(modules, name), join(folder, "node_modules", name))
  }
  return folder
}

/** Removes all copies, also while something may still be writing into them. */
export const removeCopies = (): void => {
  for (const folder of copies) {
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    copies.delete(folder)
  }
}
