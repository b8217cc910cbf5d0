/**
 * What the exports map of a package opens.
 */

/** The `exports` of a manifest, as far as this project uses them. */
export type Exports = Readonly<Record<string, null | string | Readonly<Record<string, string>>>>

const matches = (pattern: string, subpath: string): string | undefined => {
  const [head = "", tail] = pattern.split("*")
  if (tail === undefined) return pattern === subpath ? "" : undefined
  const fits = subpath.startsWith(head) && subpath.endsWith(tail) && subpath.length > head.length + tail.length
  return fits ? subpath.slice(head.length, subpath.length - tail.length) : undefined
}

/** The target of a subpath under a condition, by Node's rule: the pattern with the longest start decides. */
export const targetOf = (exports: Exports, subpath: string, condition: string): string | undefined => {
  const patterns = Object.keys(exports).filter((pattern) => matches(pattern, subpath) !== undefined)
  const exact = patterns.find((pattern) => pattern === subpath)
  const [best] = patterns.toSorted((a, b) => b.split("*")[0]!.length - a.split("*")[0]!.length)
  const chosen = exact ?? best
  const entry = chosen === undefined ? undefined : exports[chosen]
  const target = typeof entry === "string" ? entry : entry?.[condition]
  return target?.replaceAll("*", matches(chosen!, subpath)!)
}

/** All subpaths (`.`, `./Key`, …) that lead to a module among `files`, which are paths such as `dist/Key.js`. */
export const entrypointsOf = (exports: Exports, files: ReadonlySet<string>): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const [pattern, entry] of Object.entries(exports)) {
    const target = typeof entry === "string" ? entry : entry?.["default"]
    if (target === undefined || !target.endsWith(".js")) continue
    for (const file of files) {
      const part = matches(target, `./${file}`)
      const subpath = part === undefined ? undefined : pattern.replace("*", part)
      if (subpath !== undefined && targetOf(exports, subpath, "default") === `./${file}`) found.add(subpath)
    }
  }
  return [...found].toSorted()
}

/** Modules of packages that a program must not load, among the addresses of what it loaded. */
export const forbiddenModules = (loaded: ReadonlyArray<string>): ReadonlyArray<string> =>
  loaded.filter((url) =>
    /\/node_modules\/(@grpc|@google-cloud|google-gax|google-auth-library|protobufjs|vitest|@effect\/vitest)\//.test(url)
  )

/** Files of a package that have no business in it. */
export const strangeFiles = (files: ReadonlyArray<string>): ReadonlyArray<string> =>
  files.filter((file) =>
    !/^(dist|src)\/.+|^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(file) ||
    /\.(test|tst)\.|\.tsbuildinfo$/.test(file)
  )
