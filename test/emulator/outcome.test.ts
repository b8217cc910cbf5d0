/**
 * Responses that are lost, requests that are cut off, and commits that land late, on the real protocol: what a batch
 * makes of them, and that nothing lands after a batch has said that it did not.
 */
import { assert } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { applied, setUp, untouched } from "../utils/emuAccounts.ts"
import { freshProjectId } from "../utils/emuClients.ts"
import { onEmulator } from "../utils/emulator.ts"
import { isLookup } from "../utils/emuWire.ts"
import { isCommit } from "../utils/tcpProxy.ts"

const projectId = freshProjectId()

for (const changes of [true, false]) {
  onEmulator(`a batch that ${changes ? "changes" : "keeps"} the state`, (it) => {
    it.effect("has landed when only the response to its commit was lost", () =>
      Effect.gen(function*() {
        const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes)
        const { struck } = yield* wire.arm("dropResponse", isCommit)

        assert.strictEqual(yield* work, "landed")

        yield* struck
        assert.deepStrictEqual(yield* seen, applied(changes))
        assert.strictEqual(yield* workElsewhere, "nothing to do")
      }))

    it.effect("is contention when its commit never got to the server, and lands when it is run again", () =>
      Effect.gen(function*() {
        const { seen, wire, work } = yield* setUp(projectId, changes)
        const lost = yield* wire.arm("cutRequest", isCommit)

        assert.strictEqual(yield* work, "Fenced")

        yield* lost.struck
        assert.deepStrictEqual(yield* seen, untouched)
        assert.strictEqual(yield* work, "landed")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))

    it.effect("is contention when its commit is still under way, and that commit can never land", () =>
      Effect.gen(function*() {
        const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes)
        const late = yield* wire.arm("holdRequest", isCommit)
        const working = yield* Effect.forkChild(work)
        yield* late.struck
        yield* wire.hangUp

        assert.strictEqual(yield* Fiber.join(working), "Fenced")

        yield* late.release()
        assert.deepStrictEqual(yield* seen, untouched)
        assert.strictEqual(yield* workElsewhere, "landed")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))

    it.effect("has landed when its commit comes late, but before the head is looked at", () =>
      Effect.gen(function*() {
        const { seen, wire, work } = yield* setUp(projectId, changes)
        const late = yield* wire.arm("holdRequest", isCommit)
        const working = yield* Effect.forkChild(work)
        yield* late.struck
        const look = yield* wire.arm("holdRequest", isLookup)
        yield* wire.hangUp
        yield* look.struck

        yield* late.release()
        yield* look.release()

        assert.strictEqual(yield* Fiber.join(working), "landed")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))

    it.effect("has landed when its commit comes late, but before the fence", () =>
      Effect.gen(function*() {
        const { seen, wire, work } = yield* setUp(projectId, changes)
        const late = yield* wire.arm("holdRequest", isCommit)
        const working = yield* Effect.forkChild(work)
        yield* late.struck
        const fence = yield* wire.arm("holdRequest", isCommit)
        yield* wire.hangUp
        yield* fence.struck

        yield* late.release()
        yield* fence.release()

        assert.strictEqual(yield* Fiber.join(working), "landed")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))

    it.effect("is contention when it gave up waiting, and the response to the fence is lost too", () =>
      Effect.gen(function*() {
        const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes, { commitDeadline: "300 millis" })
        const late = yield* wire.arm("holdRequest", isCommit)
        const working = yield* Effect.forkChild(work)
        yield* late.struck
        const look = yield* wire.arm("holdRequest", isLookup)
        // The commit has ended at its deadline, with its connection still open.
        yield* look.struck
        const fence = yield* wire.arm("dropResponse", isCommit)
        yield* wire.hangUp
        yield* fence.struck

        // The fence has changed the head, and its author cannot know: to it, some other writer was first.
        assert.strictEqual(yield* Fiber.join(working), "EntityChanged")

        // The commit, and the lookup that was held behind it.
        yield* late.release(2)
        assert.deepStrictEqual(yield* seen, untouched)
        assert.strictEqual(yield* workElsewhere, "landed")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))

    it.effect("is contention when another worker was first while nobody knew", () =>
      Effect.gen(function*() {
        const { seen, wire, work, workElsewhere } = yield* setUp(projectId, changes)
        const late = yield* wire.arm("holdRequest", isCommit)
        const working = yield* Effect.forkChild(work)
        yield* late.struck
        const look = yield* wire.arm("holdRequest", isLookup)
        yield* wire.hangUp
        yield* look.struck
        assert.strictEqual(yield* workElsewhere, "landed")

        yield* late.release()
        yield* look.release()

        assert.strictEqual(yield* Fiber.join(working), "EntityChanged")
        assert.deepStrictEqual(yield* seen, applied(changes))
      }))
  }, { projectId })
}
