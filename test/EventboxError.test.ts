import { assert, describe, it } from "@effect/vitest"
import { Effect, Equal, Schema } from "effect"
import * as EventboxError from "../src/EventboxError.ts"
import * as Key from "../src/Key.ts"

const recipient = Key.make("Run", "r1")
const other = Key.make("Run", "r2", "Log", 7)
const cause = new Error("socket closed")

const inDatastore = (reason: EventboxError.DatastoreReason, keys?: ReadonlyArray<Key.Key>) =>
  new EventboxError.DatastoreError({ operation: "commit", reason, ...(keys === undefined ? {} : { keys }) })

const contention = (reason: EventboxError.ContentionReason) => new EventboxError.ContentionError({ reason })

interface Case {
  readonly schema: Schema.Codec<unknown, unknown>
  readonly error: Error & { readonly _tag: string; readonly isRetryable: boolean; readonly cause?: unknown }
  readonly retryable: boolean
  /** What a reader of the message alone must learn. */
  readonly says: ReadonlyArray<string>
}

const datastoreCase = (
  Reason: new(fields: { detail: string; cause: unknown }) => EventboxError.DatastoreReason,
  retryable: boolean,
  says: string
): Case => ({
  schema: EventboxError.DatastoreError as unknown as Case["schema"],
  error: inDatastore(new Reason({ detail: "the server said so", cause }), [recipient]),
  retryable,
  says: ["commit", "Run,\"r1\"", says, "(the server said so)"]
})

const contentionCase = (reason: EventboxError.ContentionReason, ...says: ReadonlyArray<string>): Case => ({
  schema: EventboxError.ContentionError as unknown as Case["schema"],
  error: new EventboxError.ContentionError({ reason, recipient }),
  retryable: true,
  says: ["Contention on Run,\"r1\"", "Nothing was written", ...says]
})

const cases: ReadonlyArray<Case> = [
  datastoreCase(EventboxError.Unavailable, true, "the service is unavailable"),
  datastoreCase(EventboxError.DeadlineExceeded, true, "the deadline passed"),
  datastoreCase(EventboxError.ResourceExhausted, true, "a quota or size limit was met"),
  datastoreCase(EventboxError.OutcomeUnknown, false, "it may or may not have landed; load again"),
  datastoreCase(EventboxError.AlreadyExists, false, "the entity already exists"),
  datastoreCase(EventboxError.NotFound, false, "not found"),
  datastoreCase(EventboxError.PermissionDenied, false, "permission denied"),
  datastoreCase(EventboxError.Unauthenticated, false, "no valid credentials"),
  datastoreCase(EventboxError.InvalidArgument, false, "invalid argument"),
  datastoreCase(EventboxError.FailedPrecondition, false, "failed precondition"),
  datastoreCase(EventboxError.Internal, false, "internal error"),
  datastoreCase(EventboxError.LayerClosed, false, "the layer is closed"),
  contentionCase(new EventboxError.EntityChanged({ keys: [other], cause }), "Run,\"r2\"/Log,7 was changed"),
  contentionCase(new EventboxError.Aborted({ cause }), "aborted"),
  contentionCase(new EventboxError.Fenced({ cause }), "did not land"),
  contentionCase(new EventboxError.EVersionChanged({ expected: 4, actual: 6 }), "EVersion is 6, but 4 was loaded"),
  {
    schema: EventboxError.EventRejected as unknown as Case["schema"],
    error: new EventboxError.EventRejected({
      recipient,
      reason: new EventboxError.TooLarge({ sizeBytes: 2_000_000, limitBytes: 1_000_000 })
    }),
    retryable: false,
    says: ["Run,\"r1\"", "2000000 bytes", "the limit is 1000000"]
  },
  {
    schema: EventboxError.EventRejected as unknown as Case["schema"],
    error: new EventboxError.EventRejected({
      recipient,
      reason: new EventboxError.Encode({ detail: "n is missing", cause })
    }),
    retryable: false,
    says: ["Run,\"r1\"", "does not fit the event schema", "n is missing"]
  },
  {
    schema: EventboxError.EventRejected as unknown as Case["schema"],
    error: new EventboxError.EventRejected({
      recipient,
      reason: new EventboxError.InvalidId({ id: "__x__", detail: "a name of the form __…__ is reserved" })
    }),
    retryable: false,
    says: ["Run,\"r1\"", "\"__x__\"", "is reserved"]
  },
  {
    schema: EventboxError.EventDecodeError as unknown as Case["schema"],
    error: new EventboxError.EventDecodeError({ recipient, eventId: "e1", cause }),
    retryable: false,
    says: ["Run,\"r1\"", "\"e1\"", "does not decode", "socket closed"]
  },
  {
    schema: EventboxError.StateDecodeError as unknown as Case["schema"],
    error: new EventboxError.StateDecodeError({ recipient, cause }),
    retryable: false,
    says: ["Run,\"r1\"", "State", "does not decode", "socket closed"]
  },
  {
    schema: EventboxError.MailboxOwned as unknown as Case["schema"],
    error: new EventboxError.MailboxOwned({ recipient, owner: "app/One", box: "app/Two" }),
    retryable: false,
    says: ["Run,\"r1\"", "app/One", "app/Two", "a kind of its own", "child key"]
  },
  {
    schema: EventboxError.EmulatorError as unknown as Case["schema"],
    error: new EventboxError.EmulatorError({ detail: "no java on the path", cause }),
    retryable: false,
    says: ["emulator", "no java on the path"]
  },
  {
    schema: Key.KeyError as unknown as Case["schema"],
    error: new Key.KeyError({ input: "Run,0", reason: "an integer id is positive" }),
    retryable: false,
    says: ["Run,0", "an integer id is positive"]
  }
]

const nameOf = ({ error }: Case): string =>
  "reason" in error ? `${error._tag}/${(error.reason as Case["error"])._tag}` : error._tag

describe("EventboxError", () => {
  it.each(cases.map((one) => [nameOf(one), one] as const))(
    "%s has a message that is useful on its own",
    (_, { error, says }) => {
      for (const part of says) assert.include(error.message, part)
      assert.notInclude(error.message, "undefined")
      assert.notInclude(error.message, "[object")
      assert.include(String(error), error.message)
      assert.strictEqual(error.name, `eventbox/${error._tag}`)
    }
  )

  it.each(cases.map((one) => [nameOf(one), one] as const))("%s says whether to retry", (_, { error, retryable }) => {
    assert.strictEqual(error.isRetryable, retryable)
  })

  it.each(cases.filter((one) => one.error.cause !== undefined).map((one) => [nameOf(one), one] as const))(
    "%s keeps its cause",
    (_, { error }) => {
      assert.strictEqual(error.cause, cause)
    }
  )

  it("every reason that takes a cause is among the cases that keep one", () => {
    assert.strictEqual(cases.filter((one) => one.error.cause === cause).length, cases.length - 5)
  })

  it.effect.each(cases.map((one) => ({ ...one, toString: () => nameOf(one) })))(
    "%s survives JSON",
    ({ error, schema }) =>
      Effect.gen(function*() {
        const codec = Schema.fromJsonString(Schema.toCodecJson(schema))

        const back = (yield* Schema.decodeEffect(codec)(yield* Schema.encodeEffect(codec)(error))) as Case["error"]

        assert.strictEqual(back.constructor, error.constructor)
        assert.strictEqual(back.message, error.message)
        assert.strictEqual(back.isRetryable, error.isRetryable)
        if (error.cause !== undefined) assert.strictEqual((back.cause as Error).message, cause.message)
        if ("reason" in error && "reason" in back) {
          assert.strictEqual((back.reason as Error).constructor, (error.reason as Error).constructor)
        }
      })
  )

  it.effect("keys survive JSON as keys", () =>
    Effect.gen(function*() {
      const codec = Schema.fromJsonString(Schema.toCodecJson(EventboxError.DatastoreError))
      const error = inDatastore(new EventboxError.Internal({ detail: "" }), [recipient, other])

      const back = yield* Schema.decodeEffect(codec)(yield* Schema.encodeEffect(codec)(error))

      assert.isTrue(Equal.equals(back.keys, [recipient, other]))
    }))

  it("a message lists few keys, and counts the rest", () => {
    const keys = Array.from({ length: 9 }, (_, index) => Key.make("K", index + 1))

    assert.include(contention(new EventboxError.EntityChanged({ keys })).message, "one of K,1, K,2, K,3 and 6 more was")
    assert.include(
      inDatastore(new EventboxError.Internal({ detail: "" }), keys).message,
      "K,3 and 6 more failed: internal error"
    )
    assert.strictEqual(
      inDatastore(new EventboxError.Internal({ detail: "" })).message,
      "Datastore commit failed: internal error"
    )
  })

  it.effect("one reason can be picked by its tag", () =>
    Effect.gen(function*() {
      const failing = Effect.fail(inDatastore(new EventboxError.AlreadyExists({ detail: "" })))

      const picked = yield* Effect.catchReason(
        failing,
        "DatastoreError",
        "AlreadyExists",
        () => Effect.succeed("picked")
      )
      const passed = yield* Effect.flip(
        Effect.catchReason(failing, "DatastoreError", "NotFound", () => Effect.succeed("picked"))
      )

      assert.strictEqual(picked, "picked")
      assert.strictEqual(passed.reason._tag, "AlreadyExists")
    }))
})
