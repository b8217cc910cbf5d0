/**
 * Faults of the backends: in memory, and Google's service.
 */
import type { Mutant } from "./mutant.ts"

const memory: ReadonlyArray<Mutant> = [
  {
    name: "memory-drops-an-expectation",
    file: "src/layers/InMemory.ts",
    what: "A commit in memory checks every expectation.",
    find: "const changed = expected.filter(",
    replace: "const changed = expected.slice(1).filter(",
    tests: ["test/layers/InMemory.test.ts"]
  },
  {
    name: "memory-commits-half",
    file: "src/layers/InMemory.ts",
    what: "A commit in memory that fails writes nothing.",
    find: "const exists = state.rows.has(key.toString())",
    replace: `const exists = state.rows.has(key.toString())
    if (mutation._tag === "Delete") apply(state, mutation, BigInt(0))`,
    tests: ["test/layers/InMemory.test.ts"]
  },
  {
    name: "memory-keeps-the-version",
    file: "src/layers/InMemory.ts",
    what: "Every change of an entity in memory raises its version.",
    find: "row.version = version",
    replace: "",
    tests: ["test/layers/InMemory.test.ts"]
  },
  {
    name: "memory-raises-the-version-for-nothing",
    file: "src/layers/InMemory.ts",
    what:
      "A write that changes nothing keeps the version in memory, as on the emulator: tokens are tested against that.",
    find: "} else if (!sameEntity(row.entity, entity)) {",
    replace: "} else {",
    tests: ["test/layers/InMemory.test.ts"]
  },
  {
    name: "memory-takes-any-size",
    file: "src/layers/InMemory.ts",
    what: "A commit in memory has the size limit of the service.",
    find: "if (bytes > maxCommitBytes)",
    replace: "if (bytes > maxCommitBytes * 2)",
    tests: ["test/layers/InMemory.test.ts"]
  },
  {
    name: "memory-shares-entities",
    file: "src/Entity.ts",
    what: "What is stored in memory shares nothing that a caller could change.",
    find: "if (Array.isArray(value)) return value.map(copyValue)",
    replace: "if (Array.isArray(value)) return value",
    tests: ["test/layers/InMemory.test.ts"]
  }
]

const commits: ReadonlyArray<Mutant> = [
  {
    name: "google-drops-unwritten-expectations",
    file: "src/layers/google/commit.ts",
    what: "An expectation on a key that is not written rides on a mutation that changes nothing.",
    find: "[...mutations, ...onUnwritten.map(confirm)]",
    replace: "[...mutations, ...onUnwritten.slice(1).map(confirm)]",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-confirms-nothing",
    file: "src/layers/google/commit.ts",
    what: "A mutation that changes nothing carries the version that is expected.",
    find: "baseVersion: expected.version",
    replace: "baseVersion: undefined",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-commits-outside-transactions",
    file: "src/layers/google/messages.ts",
    what: "Every commit is transactional: others wait behind foreign locks, and are not atomic.",
    find: "const transactional = 1",
    replace: "const transactional = 2",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-existence-before-expectations",
    file: "src/layers/google/commit.ts",
    what: "Of an insert that failed, expectations are judged before existence.",
    find: "if (differs.length > 0) return changed(differs, failure)",
    replace: "",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-drops-the-base-version",
    file: "src/layers/google/commit.ts",
    what: "The mutation of an expected entity carries its version.",
    find: `_tag === "Insert" ? undefined : { operation: mutation, baseVersion: at }`,
    replace: `_tag === "Insert" ? undefined : { operation: mutation, baseVersion: undefined }`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-deletes-blindly",
    file: "src/layers/google/commit.ts",
    what: "The deletion of an expected entity carries its version.",
    find: `if (mutation._tag === "Delete") return { operation: mutation, baseVersion: at }`,
    replace: `if (mutation._tag === "Delete") return { operation: mutation, baseVersion: undefined }`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-strategy-is-not-fail",
    file: "src/layers/google/messages.ts",
    what: "The conflict resolution strategy is FAIL: by default a stale mutation is skipped without a word.",
    find: "const failOnConflict = 3",
    replace: "const failOnConflict = 1",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-upserts-an-expected-absence",
    file: "src/layers/google/commit.ts",
    what: "An entity whose absence is expected is inserted, or another writer's would be overwritten.",
    find: `{ operation: { _tag: "Insert", entity }, baseVersion: undefined }`,
    replace: "{ operation: mutation, baseVersion: undefined }",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-absence-is-already-exists",
    file: "src/layers/google/commit.ts",
    what: "ALREADY_EXISTS on an expected absence is contention.",
    find: `blindInserts(request).length > 0
        ? explain(connection, request, failure)
        : Effect.fail(changed(request.expected, failure))`,
    replace: `blindInserts(request).length > 0
        ? explain(connection, request, failure)
        : Effect.fail(toError("commit", failure, keys))`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-changed-version-is-a-failure",
    file: "src/layers/google/commit.ts",
    what: "FAILED_PRECONDITION on a commit with versions is contention.",
    find: "if (conditional) return Effect.fail(changed(request.expected, failure))",
    replace: "",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-aborted-is-a-failure",
    file: "src/layers/google/commit.ts",
    what: "ABORTED is contention.",
    find: "return Effect.fail(aborted(failure))\n    case",
    replace: "break\n    case",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-retries-commits",
    file: "src/layers/google/commit.ts",
    what: "A commit is sent once, whatever happens to it.",
    find: `connection.commitDeadlineMillis + mutations.length * millisPerMutation
    )`,
    replace: `connection.commitDeadlineMillis + mutations.length * millisPerMutation
    ).pipe(Effect.retry({ times: 1 }))`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-cancels-commits",
    file: "src/layers/google/commit.ts",
    what: "An interruption waits for the result of a commit: a cancelled one may land all the same.",
    find: `connection.client.callToEnd(
      "commit"`,
    replace: `connection.client.call(
      "commit"`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-certain-after-unknown",
    file: "src/layers/google/errors.ts",
    what: "After UNKNOWN a commit may have landed.",
    find: `default:
      return true`,
    replace: `default:
      return code !== Code.unknown`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-certain-after-a-deadline",
    file: "src/layers/google/errors.ts",
    what: "After DEADLINE_EXCEEDED, CANCELLED or UNAVAILABLE a commit may have landed.",
    find: "case Code.unauthenticated:\n      return false",
    replace: "case Code.unauthenticated:\n    case Code.deadlineExceeded:\n      return false",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-half-an-answer",
    file: "src/layers/google/commit.ts",
    what: "An answer that does not speak of every mutation is no proof that a commit landed.",
    find: "results >= mutations.length",
    replace: "results >= 0",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-conflicts-ignored",
    file: "src/layers/google/commit.ts",
    what: "A conflict in the answer of a commit is contention.",
    find: "conflicts.length > 0",
    replace: "conflicts.length < 0",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-confirms-a-used-name",
    file: "src/layers/google/snapshot.ts",
    what: "The mutation that changes nothing names a property that the entity does not have.",
    find: "bytes.includes(name)",
    replace: "bytes.length === 0",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-sends-without-a-token",
    file: "src/layers/google/ready.ts",
    what: "A commit is handed over once there are a connection and a token, or nobody could tell whether it was sent.",
    find: "auth === undefined && connectivity(channel) === Connectivity.ready",
    replace: "channel !== undefined",
    tests: ["test/layers/GoogleDatastore.token.test.ts"]
  },
  {
    name: "google-token-failure-unmarked",
    file: "src/layers/google/token.ts",
    what: "A commit that got no token was certainly not sent.",
    find: "if (marked.has(client)) return",
    replace: "if (marked !== undefined) return",
    tests: ["test/layers/GoogleDatastore.token.test.ts"]
  }
]

const interactive: ReadonlyArray<Mutant> = [
  {
    name: "google-interactive-compares-nothing",
    file: "src/layers/google/commit.ts",
    what: "In a transaction of the server, what was expected and is not written is compared before the commit.",
    find: "return differs.length === 0 ? Effect.void",
    replace: "return differs.length >= 0 ? Effect.void",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-interactive-keeps-locks",
    file: "src/layers/google/commit.ts",
    what: "A transaction of the server that does not commit is rolled back, or its locks stay.",
    find: "Exit.isSuccess(exit) ? Effect.void : rollback(connection, transaction)",
    replace: "Exit.isSuccess(exit) ? rollback(connection, transaction) : Effect.void",
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  },
  {
    name: "google-interactive-reads-outside",
    file: "src/layers/google/commit.ts",
    what: "What is compared in a transaction of the server is read in it, and so locked until the commit.",
    find: `lookupWith(partition, keys, { _tag: "Transaction", id: transaction }, sendOnce)`,
    replace: `lookupWith(partition, keys, { _tag: "Strong" }, sendOnce)`,
    tests: ["test/layers/GoogleDatastore.commit.test.ts"]
  }
]

const connections: ReadonlyArray<Mutant> = [
  {
    name: "google-sends-no-pings",
    file: "src/layers/google/client.ts",
    what: "A connection that is dead without being closed is found out by pings.",
    find: "...pings,",
    replace: "",
    tests: ["test/layers/GoogleDatastore.client.test.ts"]
  },
  {
    name: "google-pings-against-the-settings",
    file: "src/layers/google/client.ts",
    what: "What the user sets stands above the layer's own options.",
    find: "...pings,\n    ...settings.clientOptions",
    replace: "...settings.clientOptions,\n    ...pings",
    tests: ["test/layers/GoogleDatastore.client.test.ts"]
  },
  {
    name: "foreign-bytes-refused",
    file: "src/ground/foreign.ts",
    what: "Bytes of another realm are bytes.",
    find: `typeof value === "object" && nameOfView.call(value) === "Uint8Array"`,
    replace: "value instanceof Uint8Array",
    tests: ["test/realms.test.ts"]
  },
  {
    name: "login-messages-shown",
    file: "src/layers/google/secrets.ts",
    what: "Of the message of a login only plain words are shown.",
    find: "if (end < 0) return",
    replace: "if (end !== 0) return",
    tests: ["test/layers/setups.test.ts", "test/layers/secrets.test.ts", "test/layers/GoogleDatastore.token.test.ts"]
  },
  {
    name: "older-emulator-accepted",
    file: "src/layers/google/emulatorClient.ts",
    what: "The older emulator, which drops properties that a patch keeps, is refused.",
    find: "state.isLegacy = !hasReadTime(method, response)",
    replace: "state.isLegacy = false",
    tests: ["test/layers/setups.test.ts"]
  },
  {
    name: "emulator-through-a-proxy",
    file: "src/layers/google/client.ts",
    what: "An emulator is not asked through the proxy of the environment.",
    find: `"grpc.enable_http_proxy": 0`,
    replace: `"grpc.enable_http_proxy": 1`,
    tests: ["test/layers/proxies.test.ts"]
  }
]

const reads: ReadonlyArray<Mutant> = [
  {
    name: "google-first-batch-only",
    file: "src/layers/google/reads.ts",
    what: "Unfinished batches of a query are followed to the end.",
    find: "if (batch.finished || results.length === limit)",
    replace: "if (batch.finished || results.length > 0)",
    tests: ["test/layers/GoogleDatastore.test.ts"]
  },
  {
    name: "google-internal-for-ever",
    file: "src/layers/google/errors.ts",
    what: "A read that ends with INTERNAL is tried again once.",
    find: "return attempt <= 1",
    replace: "return attempt > 0",
    tests: ["test/layers/GoogleDatastore.test.ts"]
  },
  {
    name: "google-one-try-takes-all",
    file: "src/layers/google/reads.ts",
    what: "A try of a read ends in time for another one.",
    find: "total / 2))",
    replace: "total))",
    tests: ["test/layers/GoogleDatastore.test.ts"]
  },
  {
    name: "google-foreign-key-is-own",
    file: "src/layers/google/key.ts",
    what: "A key of another database or namespace is not taken for one of this backend.",
    find: "if (partition === own) return toKey(path)",
    replace: "if (partition.projectId === own.projectId) return toKey(path)",
    tests: ["test/layers/GoogleDatastore.codec.test.ts"]
  },
  {
    name: "google-limit-not-lowered",
    file: "src/layers/google/reads.ts",
    what: "Each batch asks for what is still missing to the limit.",
    find: "Math.min(limit - results.length, maxLimit)",
    replace: "Math.min(limit, maxLimit)",
    tests: ["test/layers/GoogleDatastore.test.ts"]
  },
  {
    name: "google-torn-lookup",
    file: "src/layers/google/reads.ts",
    what: "Deferred keys of a lookup are read as of the time of its first response.",
    find: `reading = { _tag: "ReadTime", micros: response.readTime }`,
    replace: "reading = options",
    tests: ["test/layers/GoogleDatastore.test.ts"]
  },
  {
    name: "google-snapshots-out-of-order",
    file: "src/layers/google/reads.ts",
    what: "Snapshots stand in the order of the keys.",
    find: "return snapshots\n})",
    replace: "return Array.from(found.values())\n})",
    tests: ["test/layers/GoogleDatastore.test.ts"]
  },
  {
    name: "google-rounds-integers",
    file: "src/layers/google/wire.ts",
    what: "Integers keep all of their 64 bits.",
    find: "Number.isSafeInteger(value) ? value : BigInt",
    replace: "Number.isFinite(value) ? value : BigInt",
    tests: ["test/layers/GoogleDatastore.codec.test.ts"]
  },
  {
    name: "google-cuts-integers",
    file: "src/layers/google/entity.ts",
    what: "An integer of more than 64 bits is refused, and not stored as another one.",
    find: "if (BigInt.asIntN(64, value) !== value) throw",
    replace: "if (BigInt.asIntN(65, value) !== value) throw",
    tests: ["test/layers/GoogleDatastore.codec.test.ts"]
  },
  {
    name: "google-stores-half-pairs",
    file: "src/layers/google/entity.ts",
    what: "A string with a lone surrogate is refused, and not stored as another one.",
    find: "if (!value.isWellFormed()) throw",
    replace: "if (value === undefined) throw",
    tests: ["test/layers/GoogleDatastore.codec.test.ts"]
  },
  {
    name: "google-indexes-what-has-no-index",
    file: "src/layers/google/entity.ts",
    what: "A value without an index goes back without one.",
    find: "if (unindexed && !Array.isArray(value)) to.writer.varint(19, 1)",
    replace: "if (unindexed && typeof value === \"string\") to.writer.varint(19, 1)",
    tests: ["test/layers/GoogleDatastore.codec.test.ts"]
  },
  {
    name: "google-half-a-query",
    file: "src/layers/google/reads.ts",
    what: "A query whose answer does not say whether it is complete fails.",
    find: "batch.finished === undefined",
    replace: "batch.finished === null",
    tests: ["test/layers/GoogleDatastore.test.ts", "test/layers/GoogleDatastore.malformed.test.ts"]
  }
]

/** Faults of the backends. */
export const backendMutants: ReadonlyArray<Mutant> = [...memory, ...commits, ...interactive, ...connections, ...reads]
