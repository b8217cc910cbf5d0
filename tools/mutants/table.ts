/**
 * The mutants of this library, and which tests are left out when none of those that a mutant names kills it.
 *
 * To add one: put it into the table of its area (`set.ts`, `pages.ts`, `transactions.ts`, `box.ts`, `cycles.ts`,
 * `backends.ts`).
 *
 * - `name` says what is wrong, `what` which rule is broken, in a sentence that a person reads when it survives.
 * - `find` occurs exactly once in `file`. Take the shortest piece that does: it then lives through changes around it.
 *   It may have several lines, indented as they are there. `npm test` fails when it is gone ("no longer applies"): put
 *   the fault where the rule has moved to, or drop the mutant together with its rule.
 * - `replace` is a slip that a person could make, which still parses. It may use whatever is in scope there.
 * - `tests` are fast files, the one that mirrors the module first; `only` picks tests of a long file.
 *
 * Then `npm run mutants -- --only its-name`. If it survives, the tests have a hole: add the missing test. If nothing
 * that a user or another part could observe has changed, it is no fault: take another one.
 */
import { backendMutants } from "./backends.ts"
import { boxMutants } from "./box.ts"
import { cycleMutants } from "./cycles.ts"
import type { Mutant } from "./mutant.ts"
import { pageMutants } from "./pages.ts"
import { setMutants } from "./set.ts"
import { transactionMutants } from "./transactions.ts"

/** All mutants, from the set to the databases. */
export const mutants: ReadonlyArray<Mutant> = [
  ...setMutants,
  ...pageMutants,
  ...transactionMutants,
  ...boxMutants,
  ...cycleMutants,
  ...backendMutants
]

/** Tests that take too long to be run for each mutant that the tests named by it let live. */
export const longTests: ReadonlyArray<string> = [
  "test/bench.test.ts",
  "test/examples.test.ts",
  "test/ledger.test.ts",
  "test/chaos.test.ts",
  "test/simulation/minutes.test.ts",
  "test/simulation/simulate.test.ts",
  "test/simulation/workers.test.ts",
  "test/testing/ProcessorLaws.test.ts",
  "test/verify.test.ts"
]

/** Whether a test file takes long, needs the emulator, or is not about `src`. */
export const isLong = (path: string): boolean =>
  /^test\/(scripts|emulator)\/|[./]emulator\.test\.ts$/i.test(path) || longTests.includes(path)
