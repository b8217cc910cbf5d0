import { assert, describe, it } from "@effect/vitest"
import { emulatorHost, isMissing } from "../utils/emulator.ts"
import { runProgram } from "../utils/program.ts"

const main = "examples/ledger/main.ts"

describe.skipIf(isMissing)("ledger on the emulator", () => {
  it.each([
    ["8 processes", "8"],
    ["1 process", "1"]
  ])("8 workers in %s balance the books", async (_, processes) => {
    const args = ["--datastore", "emulator", "--transfers", "100", "--workers", "8", "--processes", processes]

    const { code, stderr, stdout } = await runProgram(main, args, {
      env: { DATASTORE_EMULATOR_HOST: emulatorHost },
      timeoutMillis: 100_000
    })

    assert.include(stdout.replaceAll("\n", " "), `8 workers in ${processes} process`, stderr)
    assert.match(stdout, /^The books balance: /m)
    assert.notMatch(stdout, /^ {2}contention +0 /m)
    assert.strictEqual(code, 0)
  }, 120_000)
})
