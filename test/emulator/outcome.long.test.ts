/**
 * Connections that go silent and servers that stay away: what a batch makes of them takes seconds of real time.
 */
import { assert } from "@effect/vitest"
import { Duration, Effect } from "effect"
import * as Eventbox from "../../src/Eventbox.ts"
import { applied, setUp, untouched } from "../utils/emuAccounts.ts"
import { freshProjectId } from "../utils/emuClients.ts"
import { fastPings, onEmulator } from "../utils/emulator.ts"
import { isCommit } from "../utils/tcpProxy.ts"

const projectId = freshProjectId()

for (const changes of [true, false]) {
  onEmulator(`a batch that ${changes ? "changes" : "keeps"} the state`, (it) => {
    it.effect("has landed when its connection went silent before the answer, and pings found that out", () =>
      Effect.gen(function*() {
        const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes, { clientOptions: fastPings })
        const { struck } = yield* wire.arm("holdResponse", isCommit)

        assert.strictEqual(yield* work, "landed")

        yield* struck
        assert.deepStrictEqual(yield* seen, applied(changes))
        assert.strictEqual(yield* workElsewhere, "nothing to do")
      }))

    it.effect("is contention when its connection went silent before the commit, which can never land", () =>
      Effect.gen(function*() {
        const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes, { clientOptions: fastPings })
        const silent = yield* wire.arm("holdRequest", isCommit)

        assert.strictEqual(yield* work, "Fenced")

        yield* silent.release()
        assert.deepStrictEqual(yield* seen, untouched)
        assert.strictEqual(yield* workElsewhere, "landed")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))

    for (const fault of ["dropResponse", "cutRequest"] as const) {
      const landed = fault === "dropResponse"
      it.effect(`has an unknown outcome when it ${landed ? "landed" : "did not land"} and the server stays away`, () =>
        Effect.gen(function*() {
          const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes, { readDeadline: "5 seconds" })
          yield* wire.arm(fault, (message) => {
            if (isCommit(message)) wire.refuse()
            return isCommit(message)
          })

          // The worker looks for the outcome during half of the tombstones delay: for one read that fails. Shorter,
          // what it reads before might fail too, where much else runs.
          const outcome = yield* Effect.provideService(work, Eventbox.TombstonesDelay, Duration.seconds(10))

          assert.strictEqual(outcome, "OutcomeUnknown")
          assert.deepStrictEqual(yield* seen, landed ? { ...applied(changes), afterwards: [] } : untouched)
          assert.strictEqual(yield* workElsewhere, landed ? "nothing to do" : "landed")
          assert.deepStrictEqual((yield* seen).copies, [1, 2, 3])
        }))
    }
  }, { projectId })
}
