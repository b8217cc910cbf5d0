/**
 * Faults of what stands around a batch: the isolation of events that fail, interruption, and what follows a commit.
 */
import type { Mutant } from "./mutant.ts"

const isolation: ReadonlyArray<Mutant> = [
  {
    name: "hidden-event-run-again",
    file: "src/internal/relist.ts",
    what: "A part of a failed batch leaves out what was consumed meanwhile (P3).",
    find: "visibleAmong({ datastore, parent, delayMillis, tombstones }, items)",
    replace: "Effect.succeed(items)",
    tests: ["test/simulation/isolation.test.ts"]
  },
  {
    name: "part-takes-changed-events",
    file: "src/internal/relist.ts",
    what: "A part that lost a race leaves out what has changed since the listing.",
    find: "if (!verify || sameSnapshot(snapshot, now[index]!)) kept",
    replace: "kept",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "part-expects-no-items",
    file: "src/internal/relist.ts",
    what: "A part expects its items as they were listed: they were read before its head (P2).",
    find: "isPatient: false,",
    replace: "",
    tests: ["test/internal/relist.test.ts"]
  },
  {
    name: "part-covers-the-listing",
    file: "src/internal/relist.ts",
    what: "A part has looked at nothing but its own events, and erases no tombstones (E4).",
    find: `present: [],
    covered: [],
    gone: new Set(),
`,
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts", "test/simulation/isolation.test.ts"]
  },
  {
    name: "failed-events-taken-again",
    file: "src/internal/batch.ts",
    what: "Events that failed alone stay out of the other batches of the call.",
    find: "items.filter(({ id }) => !watch.without.has(id))",
    replace: "items",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "load-failure-isolated",
    file: "src/internal/batch.ts",
    what: "A batch that fails before its state was read is not halved.",
    find: "if (watch !== undefined) watch.listing = undefined",
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "setup-failure-isolated",
    file: "src/internal/isolation.ts",
    what: "What is wrong with the set-up is not the failure of an event.",
    find: `isDatastoreError(error) && ofSetUp.has(error.reason._tag) ||
`,
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "interruption-isolated",
    file: "src/internal/isolation.ts",
    what: "An interruption is not the failure of an event.",
    find: "!Cause.hasInterrupts(cause) &&",
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "failures-counted-for-ever",
    file: "src/internal/isolation.ts",
    what: "Only events that fail one after the other, with none consumed in between, end a call.",
    find: "if (result.consumed > 0) course.failedInRow = 0",
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "one-failure-too-many",
    file: "src/internal/isolation.ts",
    what: "A call ends after maxFailures failures in a row.",
    find: "failedInRow >= maxFailures",
    replace: "failedInRow > maxFailures",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "part-not-due-again",
    file: "src/internal/isolation.ts",
    what: "A part that failed for now is due again, with all that came behind it.",
    find: "Effect.sync(() => isTransient(error) ? rewind() : undefined)",
    replace: "Effect.void",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "newest-half-first",
    file: "src/internal/isolation.ts",
    what: "The halves of a batch land oldest events first.",
    find: "[pieceOf(left.slice(half)), pieceOf(left.slice(0, half))]",
    replace: "[pieceOf(left.slice(0, half)), pieceOf(left.slice(half))]",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "deleted-garbage-run-again",
    file: "src/internal/isolation.ts",
    what: "Garbage that a failed batch deleted is not run again.",
    find: "ids.filter((id) => !deleted.has(id))",
    replace: "[...ids]",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "dropped-events-untold",
    file: "src/internal/isolation.ts",
    what: "Events that were dropped with a failure of their own are told of.",
    find: "for (const id of part?.dropped?.ids ?? []) course.failed.set(id, part!.dropped!.cause)",
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts"]
  },
  {
    name: "undecodable-events-untold",
    file: "src/internal/isolation.ts",
    what: "Events that do not decode are told of also when the rest of their batch lands.",
    find: `noteUndecodable(course, watch)
    for`,
    replace: "for",
    tests: ["test/Eventbox.isolation.test.ts", "test/Eventbox.decoding.test.ts"]
  },
  {
    name: "failures-forgotten-by-drain",
    file: "src/Eventbox.ts",
    what: "A drain tries an event that fails alone once, and tells of it.",
    find: `before = course
`,
    replace: "",
    tests: ["test/Eventbox.isolation.test.ts", "test/Eventbox.drain.test.ts"]
  },
  {
    name: "warned-every-time",
    file: "src/internal/unconsumed.ts",
    what: "A recipient of which nothing is consumed is warned of once.",
    find: "if (known.has(id)) return Effect.void",
    replace: "",
    tests: ["test/Eventbox.drain.test.ts"]
  }
]

const landing: ReadonlyArray<Mutant> = [
  {
    name: "effects-lost-with-the-result",
    file: "src/internal/landing.ts",
    what: "A processBatch that landed and does not return runs its post-process effects.",
    find: "Exit.isSuccess(exit) || effects.length === 0",
    replace: "effects.length >= 0",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "effects-lost-on-failure",
    file: "src/internal/landing.ts",
    what: "The post-process effects of what landed run also when the call fails afterwards.",
    find: "const done = effects.length === 0",
    replace: "const done = effects.length === 0 || Exit.isFailure(exit)",
    tests: ["test/Eventbox.interruption.test.ts", "test/Eventbox.isolation.test.ts"]
  },
  {
    name: "effects-cut-at-once",
    file: "src/internal/landing.ts",
    what: "An interruption leaves post-process effects the time of their grace.",
    find: "Effect.timeoutOption(Fiber.await(fiber), grace)",
    replace: "Effect.timeoutOption(Fiber.await(fiber), 0)",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "late-effects-not-run",
    file: "src/internal/batch.ts",
    what: "What is found to have landed when the caller is gone has its post-process effects run.",
    find: "landing.over && postProcess.length > 0 ? ",
    replace: "landing.over && postProcess.length < 0 ? ",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "doubt-binds-the-caller",
    file: "src/internal/doubt.ts",
    what: "Whoever waits for an outcome in doubt can be interrupted.",
    find: "restore(Deferred.await(found))",
    replace: "Deferred.await(found)",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "late-landing-unheeded",
    file: "src/internal/doubt.ts",
    what: "A search goes on without its caller, and does what follows a commit that landed.",
    find: `isGone && known.outcome === "Landed" ? late : Effect.void`,
    replace: "Effect.void",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "effects-of-what-did-not-land",
    file: "src/internal/doubt.ts",
    what: "Nothing follows a commit that did not land.",
    find: `isGone && known.outcome === "Landed" ? late`,
    replace: "isGone ? late",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "lock-lost-with-its-fiber",
    file: "src/internal/keyedLock.ts",
    what: "A fiber that ends without its finalizers leaves no lock behind.",
    find: "if (isHeld) Effect.runFork(semaphore.release(1))",
    replace: "if (isHeld) return",
    tests: ["test/Eventbox.interruption.test.ts"]
  },
  {
    name: "batch-never-over",
    file: "src/internal/batchMark.ts",
    what: "A fiber that was forked inside of a batch and outlives it may run batches.",
    find: "mark.open = false",
    replace: "",
    tests: ["test/Eventbox.forks.test.ts"]
  },
  {
    name: "other-recipients-inside-a-batch",
    file: "src/internal/batchMark.ts",
    what: "A batch inside of a batch dies, whichever recipient that is of: two might wait for each other for ever.",
    find: "if (around?.open === true) return",
    replace: "if (around?.open === true && String(around.recipient) === String(recipient)) return",
    tests: ["test/Eventbox.forks.test.ts", "test/Eventbox.process.test.ts"]
  },
  {
    name: "landed-counted-by-its-exit",
    file: "src/internal/batch.ts",
    what: "A batch that landed counts as that, also when its caller never hears of it.",
    find: "...tally.landed === undefined ? ",
    replace: "...tally.landed === undefined || Exit.isFailure(exit) ? ",
    tests: ["test/EventboxMetrics.test.ts"]
  }
]

/** Faults of isolation and interruption. */
export const cycleMutants: ReadonlyArray<Mutant> = [...isolation, ...landing]
