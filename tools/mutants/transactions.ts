/**
 * Faults of transactions, and of what stands around a backend: merged lookups, retries, limits, ids, keys.
 */
import type { Mutant } from "./mutant.ts"

const transactions: ReadonlyArray<Mutant> = [
  {
    name: "expectation-dropped",
    file: "src/Datastore.ts",
    what: "A commit expects every key that was read to be unchanged.",
    find: "Array.from(transaction.reads.values())",
    replace: "Array.from(transaction.reads.values()).slice(1)",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "only-writes-expected",
    file: "src/Datastore.ts",
    what: "A commit expects also those keys to be unchanged that were read and not written.",
    find: "Array.from(transaction.reads.values())",
    replace: "Array.from(transaction.reads.values()).filter(({ key }) => transaction.writes.has(key.toString()))",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "last-read-counts",
    file: "src/Transaction.ts",
    what: "The first snapshot of a key counts: later ones must not move what the commit expects.",
    find: "self.reads.set(id, known ?? snapshot)",
    replace: "self.reads.set(id, snapshot)",
    tests: ["test/Transaction.test.ts"]
  },
  {
    name: "remembered-reads-forgotten",
    file: "src/Transaction.ts",
    what: "What was remembered from before the transaction is the first snapshot of its key.",
    find: "self.reads.get(id) ?? self.remembered.get(id)",
    replace: "self.reads.get(id)",
    tests: ["test/Transaction.test.ts"]
  },
  {
    name: "transaction-stays-open",
    file: "src/Datastore.ts",
    what: "A transaction is closed when its body ends: a write of a fiber that outlived it dies, and is not lost.",
    find: "transaction.open = false",
    replace: "transaction.open = true",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "open-unchecked-after-a-read",
    file: "src/Datastore.ts",
    what: "A read that was under way when the transaction ended dies.",
    find: "was waiting.\n      if (transaction?.open === false) return Transaction.ended",
    replace: "was waiting.",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "torn-reads-accepted",
    file: "src/Datastore.ts",
    what: "Reads of several RPCs are validated although nothing is written.",
    find: "transaction.readRpcs.size > 1",
    replace: "transaction.readRpcs.size > 2",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "version-not-compared",
    file: "src/Datastore.ts",
    what: "A snapshot of another version of an entity is another snapshot.",
    find: " && self.version === that.version",
    replace: "",
    tests: ["test/Datastore.test.ts", "test/DsSet.test.ts"]
  },
  {
    name: "after-commit-before-the-commit",
    file: "src/Datastore.ts",
    what: "Effects of afterCommit run after the commit, and not at all when it fails.",
    find: "Effect.andThen(end(datastore, transaction, context, restore), runAfterCommit(transaction))",
    replace: "Effect.andThen(runAfterCommit(transaction), end(datastore, transaction, context, restore))",
    tests: ["test/Datastore.background.test.ts"]
  },
  {
    name: "after-commit-inside",
    file: "src/Datastore.ts",
    what: "An effect of afterCommit runs outside of the transaction, which is over.",
    find: "Transaction.outside(effect)",
    replace: "effect",
    tests: ["test/Datastore.background.test.ts"]
  },
  {
    name: "commit-interruptible",
    file: "src/Datastore.ts",
    what: "An interruption waits for a commit that is under way, and for what follows it.",
    find: "Effect.andThen(end(datastore, transaction, context, restore), runAfterCommit(transaction))",
    replace: "restore(Effect.andThen(end(datastore, transaction, context, restore), runAfterCommit(transaction)))",
    tests: ["test/Datastore.test.ts", "test/Datastore.background.test.ts"]
  },
  {
    name: "commit-retried-blindly",
    file: "src/Datastore.ts",
    what: "The commit of a transaction is sent once: sent again, it meets what it wrote itself, or lands too late.",
    find: "const sending = sendCommit(datastore, { mutations, expected }, bytes)",
    replace: "const sending = Effect.retry(sendCommit(datastore, { mutations, expected }, bytes), { times: 1 })",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "unfinished-pop-commits",
    file: "src/Datastore.ts",
    what: "A pop without its finishPop dies at the end of the transaction.",
    find: "for (const problem of transaction.unfinished) return Effect.die(new Error(problem))",
    replace: "",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "lost-race-succeeds",
    file: "src/Datastore.ts",
    what: "A commit without a response that turns out to have lost is contention.",
    find: "return Effect.fail(lost)",
    replace: "return Effect.void",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "unknown-outcome-succeeds",
    file: "src/Datastore.ts",
    what: "An outcome that cannot be found out is OutcomeUnknown.",
    find: `return Effect.fail(error._tag === "DatastoreError" ? error : inDoubt(error))`,
    replace: "return Effect.void",
    tests: ["test/DsSet.outcome.test.ts"]
  }
]

const around: ReadonlyArray<Mutant> = [
  {
    name: "write-retried-blindly",
    file: "src/Datastore.ts",
    what: "A write whose response is lost is not sent again: only an aborted one is, which wrote nothing.",
    find: `while: (error) => error._tag === "ContentionError"`,
    replace: `while: (error) => error._tag === "ContentionError" || isUnknownOutcome(error)`,
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "write-interruptible",
    file: "src/Datastore.ts",
    what: "An interruption waits for a write that is under way.",
    find: "Effect.uninterruptible(sendCommit(datastore, { mutations, expected: [] }, bytes))",
    replace: "sendCommit(datastore, { mutations, expected: [] }, bytes)",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "late-read-is-another-one",
    file: "src/Datastore.ts",
    what:
      "All reads that a batch remembers are of one snapshot: else the state is of one, and the commit expects another.",
    find: "known(id) ?? found.get(id)!",
    replace: "found.get(id) ?? known(id)!",
    tests: ["test/Transaction.test.ts"]
  },
  {
    name: "retried-without-the-first-pause",
    file: "src/ground/retries.ts",
    what: "The first retry waits as the policy says, and is one of its tries.",
    find: "runs++ === 0 ? Effect.fail(failure) : self",
    replace: "runs++ < 0 ? Effect.fail(failure) : self",
    tests: ["test/Datastore.test.ts", "test/Eventbox.emit.test.ts"]
  },
  {
    name: "aborted-write-not-retried",
    file: "src/Datastore.ts",
    what: "A write outside of a transaction that the database aborts is sent again.",
    find: "Schedule.upTo({ times: 4 })",
    replace: "Schedule.upTo({ times: 0 })",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "commit-size-unchecked",
    file: "src/Datastore.ts",
    what: "A commit above the limit of the backend is refused before any RPC.",
    find: "if (bytes > limit) {",
    replace: "if (bytes > limit * 2) {",
    tests: ["test/Datastore.test.ts"]
  },
  {
    name: "lookup-in-the-callers-context",
    file: "src/datastore/lookups.ts",
    what: "A merged lookup runs in the layer's context, not in the transaction and span of whoever asked first.",
    find: "(_: Context.Context<never>) => context",
    replace: "(own: Context.Context<never>) => own ?? context",
    tests: ["test/Datastore.lookups.test.ts"]
  },
  {
    name: "bad-lookup-fails-others",
    file: "src/datastore/lookups.ts",
    what: "One bad request does not fail the requests that were merged with it.",
    find: "entries.length > 1 && !isTransient(exit)",
    replace: "entries.length > 1_000 && !isTransient(exit)",
    tests: ["test/Datastore.lookups.test.ts"]
  },
  {
    name: "lookups-too-large",
    file: "src/datastore/lookups.ts",
    what: "A merged lookup has a thousand keys at most.",
    find: "size > room || groups.length === 0",
    replace: "room <= 0 || groups.length === 0",
    tests: ["test/Datastore.lookups.test.ts"]
  },
  {
    name: "lookups-not-merged",
    file: "src/datastore/lookups.ts",
    what: "Lookups of one turn are one RPC, so a batch costs two rounds (P6).",
    find: "batchKey: () => backend",
    replace: "batchKey: () => ({})",
    tests: ["test/Datastore.lookups.test.ts"]
  },
  {
    name: "background-interrupted-at-once",
    file: "src/Datastore.ts",
    what: "Closing a layer waits for its background work.",
    find: "Effect.andThen(FiberSet.awaitEmpty(fibers))",
    replace: "Effect.andThen(Effect.void)",
    tests: ["test/Datastore.background.test.ts"]
  },
  {
    name: "closing-waits-for-ever",
    file: "src/Datastore.ts",
    what: "Closing a layer waits for its background work for ten seconds at most.",
    find: `        Effect.timeoutOption(closeTimeout),
`,
    replace: "",
    tests: ["test/Datastore.background.test.ts"]
  },
  {
    name: "closing-not-told",
    file: "src/Datastore.ts",
    what: "Background work hears that its layer closes, so that its pauses end.",
    find: "closing.open.pipe(",
    replace: "Effect.void.pipe(",
    tests: ["test/Datastore.background.test.ts"]
  },
  {
    name: "background-in-the-callers-context",
    file: "src/Datastore.ts",
    what: "Background work runs in the layer's context, not in the transaction and span of whoever asked for it.",
    find: "(_: Context.Context<never>) => outside",
    replace: "(own: Context.Context<never>) => own",
    tests: ["test/Datastore.background.test.ts"]
  },
  {
    name: "lookups-sent-a-turn-too-early",
    file: "src/datastore/lookups.ts",
    what: "Lookups of whoever starts beside the first requester are part of its RPC.",
    find: "delay: Effect.andThen(Effect.yieldNow, Effect.yieldNow)",
    replace: "delay: Effect.yieldNow",
    tests: ["test/Datastore.lookups.test.ts", "test/Eventbox.rounds.test.ts"]
  },
  {
    name: "random-bytes-repeated",
    file: "src/Ids.ts",
    what: "No two ids have the same random bytes.",
    find: "return pool.slice(used - size, used)",
    replace: "return pool.slice(0, size)",
    tests: ["test/Ids.test.ts"]
  },
  {
    name: "ids-not-monotonic",
    file: "src/Ids.ts",
    what: "Ids of one source ascend, so that a limited listing returns the oldest events first.",
    find: "random.uuidV7()",
    replace: "random.uuidV4()",
    tests: ["test/Ids.test.ts"]
  },
  {
    name: "key-order-by-utf16",
    file: "src/Key.ts",
    what: "Keys are in the order of UTF-8 bytes, as the database has them.",
    find: "if (aHigh !== bHigh) return aHigh ? 1 : -1",
    replace: "",
    tests: ["test/Key.test.ts"]
  },
  {
    name: "integers-after-names",
    file: "src/Key.ts",
    what: "Integer ids come before names in the order of keys.",
    find: `if (typeof that.id === "string") return -1`,
    replace: `if (typeof that.id === "string") return 1`,
    tests: ["test/Key.test.ts"]
  },
  {
    name: "large-ids-rounded",
    file: "src/Key.ts",
    what: "An integer id is a number only where that is exact.",
    find: "id <= BigInt(Number.MAX_SAFE_INTEGER)",
    replace: "id <= BigInt(Number.MAX_SAFE_INTEGER) * BigInt(2)",
    tests: ["test/Key.test.ts"]
  },
  {
    name: "transaction-reads-not-remembered",
    file: "src/Datastore.ts",
    what: "What a loadState reads in a transaction of its own is expected by the commit (E1).",
    find: `if (memory !== undefined) keepReads(memory, transaction)
`,
    replace: "",
    tests: ["test/Eventbox.loadState.test.ts"]
  },
  {
    name: "failed-reads-not-remembered",
    file: "src/Datastore.ts",
    what: "What a loadState reads in a transaction that failed is expected by the commit (E1).",
    find: "if (memory !== undefined && Exit.isFailure(exit)) keepReads(memory, transaction)",
    replace: "",
    tests: ["test/Eventbox.loadState.test.ts"]
  },
  {
    name: "foreign-write-taken-for-own",
    file: "src/Datastore.ts",
    what: "After a write inside of loadState the new version counts only if it shows what was written (E1).",
    find: "if (sameContent(now[index]!.entity, wanted)) memory",
    replace: "memory",
    tests: ["test/Transaction.test.ts", "test/Eventbox.loadState.test.ts"]
  },
  {
    name: "memory-outlives-the-load",
    file: "src/Datastore.ts",
    what: "A fiber that was forked inside of loadState and outlives it adds nothing to what the commit expects.",
    find: "memory.open = false",
    replace: "",
    tests: ["test/Eventbox.forks.test.ts"]
  },
  {
    name: "own-writes-not-read",
    file: "src/Transaction.ts",
    what: "A transaction reads what it has written.",
    find: "written === undefined ? snapshot.entity",
    replace: "written !== null ? snapshot.entity",
    tests: ["test/Transaction.test.ts"]
  },
  {
    name: "closed-layer-answers",
    file: "src/Datastore.ts",
    what: "A layer that is closed sends nothing more.",
    find: "isClosed = true",
    replace: "",
    tests: ["test/Datastore.closed.test.ts"]
  },
  {
    name: "lookups-wait-for-a-closed-layer",
    file: "src/Datastore.ts",
    what: "Lookups that are under way when a layer is closed fail.",
    find: `failAll(closed("lookup"))`,
    replace: "",
    tests: ["test/Datastore.closed.test.ts"]
  },
  {
    name: "contention-names-all",
    file: "src/datastore/contention.ts",
    what: "Contention names three keys at most.",
    find: "keys: keys.slice(0, maxKeys),",
    replace: "keys,",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  }
]

/** Faults of transactions and of what stands around a backend. */
export const transactionMutants: ReadonlyArray<Mutant> = [...transactions, ...around]
