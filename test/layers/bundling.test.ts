// The Google layer inside of bundles: with the package left out, as docs/guides/bundling.md says, and otherwise.
import { bundledTests } from "./bundles.ts"

bundledTests(["ES modules"], ["cjs"])
