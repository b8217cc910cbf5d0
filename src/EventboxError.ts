/**
 * Every typed failure of the library, and what the caller should do about each.
 *
 * | error | means | do |
 * |---|---|---|
 * | {@link ContentionError} | another writer was first; nothing was written | run the batch again, with jitter |
 * | {@link DatastoreError} `Unavailable`, `DeadlineExceeded`, `ResourceExhausted` | a read failed after its retries, or a commit was not sent | retry later |
 * | {@link DatastoreError} `TooLarge` | a commit is over the limit; nothing was written | write less in one transaction |
 * | {@link DatastoreError} `OutcomeUnknown` | a commit may have landed | load again; never repeat blindly |
 * | {@link DatastoreError}, the others | the program or the set-up is wrong | fix it |
 * | {@link EventRejected} | a bad value or id on emit | fix the value |
 * | {@link EventDecodeError} | a stored event does not decode | policy of the box |
 * | {@link StateDecodeError} | a stored state does not decode | migrate the state |
 * | {@link MailboxOwned} | the mailbox belongs to another box; nothing was consumed | give each box a kind of its own, or a child key |
 * | {@link EmulatorError} | the emulator layer found none and could start none | install it, as the message says |
 *
 * `KeyError`, for text or parts that make no key, lives in `Key`; `EventFailed`, which names events that fail alone
 * while all others land, in `Eventbox`. Misuse of the library is a defect, not in this table.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { messageOf } from "./ground/foreign.ts"
import { FromString, type Key } from "./Key.ts"

const KeyField = FromString

const CauseField = { cause: Schema.optionalKey(Schema.Defect()) }

/**
 * An entity that the transaction had read, or one that it meant to create, was changed by another writer.
 *
 * @category contention
 * @since 0.1.0
 */
export class EntityChanged extends Schema.TaggedError<EntityChanged>("eventbox/EntityChanged")("EntityChanged", {
  /** The first expected entities, three at most; one of all that were expected changed. */
  keys: Schema.Array(KeyField),
  /** How many others were expected beside them. */
  more: Schema.optionalKey(Schema.Int),
  ...CauseField
}) {
  override get message(): string {
    const { keys, more = 0 } = this
    return keys.length + more === 1
      ? `${keys[0]} was changed by another writer`
      : `one of ${list(keys, more)} was changed by another writer`
  }
}

/**
 * Datastore itself aborted the commit, because of a lock or a conflict that it does not name.
 *
 * @category contention
 * @since 0.1.0
 */
export class Aborted extends Schema.TaggedError<Aborted>("eventbox/Aborted")("Aborted", CauseField) {
  override get message(): string {
    return "Datastore aborted the commit"
  }
}

/**
 * The response of a commit was lost, and the library made sure that it never lands.
 *
 * @category contention
 * @since 0.1.0
 */
export class Fenced extends Schema.TaggedError<Fenced>("eventbox/Fenced")("Fenced", CauseField) {
  override get message(): string {
    return "the response of the commit was lost; it did not land, and a later write keeps it from landing"
  }
}

/**
 * `fetchEVersion` returned another version than `loadState`.
 *
 * @category contention
 * @since 0.1.0
 */
export class EVersionChanged
  extends Schema.TaggedError<EVersionChanged>("eventbox/EVersionChanged")("EVersionChanged", {
    /** What `loadState` returned. */
    expected: Schema.Int,
    /** What `fetchEVersion` returned in the transaction. */
    actual: Schema.Int
  })
{
  override get message(): string {
    return `EVersion is ${this.actual}, but ${this.expected} was loaded`
  }
}

/**
 * Why a {@link ContentionError} was raised.
 *
 * @category contention
 * @since 0.1.0
 */
export type ContentionReason = EntityChanged | Aborted | Fenced | EVersionChanged

/**
 * Another writer was first: the transaction wrote nothing.
 *
 * **Details**
 *
 * The caller should run the whole batch again, from loading the state, after a jittered pause; `Eventbox.process` does.
 *
 * @category errors
 * @since 0.1.0
 */
export class ContentionError
  extends Schema.TaggedError<ContentionError>("eventbox/ContentionError")("ContentionError", {
    reason: Schema.Union([EntityChanged, Aborted, Fenced, EVersionChanged]),
    /** The recipient whose batch lost, when it was a batch. */
    recipient: Schema.optionalKey(KeyField)
  })
{
  override readonly cause: unknown = "cause" in this.reason ? this.reason.cause : undefined
  override get message(): string {
    const where = this.recipient === undefined ? "" : ` on ${this.recipient}`
    return `Contention${where}: ${this.reason.message}. Nothing was written; run it again.`
  }
  /** Always: run the batch again. */
  get isRetryable(): boolean {
    return true
  }
}

const DetailFields = {
  /** What the server or the check said. */
  detail: Schema.String,
  ...CauseField
}

/**
 * The service could not be reached: of a commit nothing was sent, and the retries of a read did not help. Retry later.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>("eventbox/Unavailable")("Unavailable", DetailFields) {
  override get message(): string {
    return describe("the service is unavailable", this.detail)
  }
}

/**
 * A read did not finish within its deadline: retry later.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class DeadlineExceeded
  extends Schema.TaggedError<DeadlineExceeded>("eventbox/DeadlineExceeded")("DeadlineExceeded", DetailFields)
{
  override get message(): string {
    return describe("the deadline passed", this.detail)
  }
}

/**
 * A quota or a size limit of the service was met: retry later, with less at a time.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class ResourceExhausted
  extends Schema.TaggedError<ResourceExhausted>("eventbox/ResourceExhausted")("ResourceExhausted", DetailFields)
{
  override get message(): string {
    return describe("a quota or size limit was met", this.detail)
  }
}

/**
 * The commit is larger than one commit may be; nothing was written. Write less in one transaction: `Eventbox.process`
 * halves the batch by itself.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class CommitTooLarge
  extends Schema.TaggedError<CommitTooLarge>("eventbox/CommitTooLarge")("TooLarge", DetailFields)
{
  override get message(): string {
    return describe("the commit is too large", this.detail)
  }
}

/**
 * The response of a commit was lost: it may have landed. Load again; never repeat it blindly.
 *
 * **Details**
 *
 * So is every answer that the service itself did not give, such as a status that gRPC's client makes up from a reset or
 * from what a proxy says. A commit that was never handed over is `Unavailable` in place of this.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class OutcomeUnknown
  extends Schema.TaggedError<OutcomeUnknown>("eventbox/OutcomeUnknown")("OutcomeUnknown", DetailFields)
{
  override get message(): string {
    return describe(
      "the response of the commit was lost, so it may or may not have landed; load again before repeating anything",
      this.detail
    )
  }
}

/**
 * An `insert` met an existing entity: choose another key, or `put`.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class AlreadyExists
  extends Schema.TaggedError<AlreadyExists>("eventbox/AlreadyExists")("AlreadyExists", DetailFields)
{
  override get message(): string {
    return describe("the entity already exists", this.detail)
  }
}

/**
 * The project or the database does not exist: fix the set-up.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>("eventbox/NotFound")("NotFound", DetailFields) {
  override get message(): string {
    return describe("not found", this.detail)
  }
}

/**
 * The credentials may not do this: fix the set-up.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class PermissionDenied
  extends Schema.TaggedError<PermissionDenied>("eventbox/PermissionDenied")("PermissionDenied", DetailFields)
{
  override get message(): string {
    return describe("permission denied", this.detail)
  }
}

/**
 * There are no valid credentials: log in or name a key file.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class Unauthenticated
  extends Schema.TaggedError<Unauthenticated>("eventbox/Unauthenticated")("Unauthenticated", DetailFields)
{
  override get message(): string {
    return describe("no valid credentials", this.detail)
  }
}

/**
 * The request breaks a rule of Datastore or of this library: fix the program.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class InvalidArgument
  extends Schema.TaggedError<InvalidArgument>("eventbox/InvalidArgument")("InvalidArgument", DetailFields)
{
  override get message(): string {
    return describe("invalid argument", this.detail)
  }
}

/**
 * The database is not in a state for this, such as a missing index or a database in another mode: fix the set-up.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class FailedPrecondition
  extends Schema.TaggedError<FailedPrecondition>("eventbox/FailedPrecondition")("FailedPrecondition", DetailFields)
{
  override get message(): string {
    return describe("failed precondition", this.detail)
  }
}

/**
 * The service failed in a way that it does not explain, or answered what this library cannot read.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class Internal extends Schema.TaggedError<Internal>("eventbox/Internal")("Internal", DetailFields) {
  override get message(): string {
    return describe("internal error", this.detail)
  }
}

/**
 * The layer that provided `Datastore` is closed; nothing was sent. Keep its scope open for as long as it is used.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export class LayerClosed extends Schema.TaggedError<LayerClosed>("eventbox/LayerClosed")("Closed", DetailFields) {
  override get message(): string {
    return describe("the layer is closed", this.detail)
  }
}

const DatastoreReason = Schema.Union([
  Unavailable,
  DeadlineExceeded,
  ResourceExhausted,
  CommitTooLarge,
  OutcomeUnknown,
  AlreadyExists,
  NotFound,
  PermissionDenied,
  Unauthenticated,
  InvalidArgument,
  FailedPrecondition,
  Internal,
  LayerClosed
])

/**
 * Why a {@link DatastoreError} was raised; one class per case, so that `Effect.catchReason` can pick one.
 *
 * @category Datastore reasons
 * @since 0.1.0
 */
export type DatastoreReason = typeof DatastoreReason.Type

/**
 * An operation on Datastore failed for another reason than contention.
 *
 * **Details**
 *
 * `reason` tells what happened and so what to do: `Unavailable`, `DeadlineExceeded` and `ResourceExhausted` are
 * retryable; after `OutcomeUnknown` load again, since the commit may have landed; all others need a change of program
 * or set-up.
 *
 * @category errors
 * @since 0.1.0
 */
export class DatastoreError extends Schema.TaggedError<DatastoreError>("eventbox/DatastoreError")("DatastoreError", {
  /** What was being done: `lookup`, `query`, `commit`, `connect`, or the name of a function of `Datastore`. */
  operation: Schema.String,
  reason: DatastoreReason,
  /** The key or keys it was about, when few. */
  keys: Schema.optionalKey(Schema.Array(KeyField))
}) {
  override readonly cause: unknown = this.reason.cause
  override get message(): string {
    const what = this.keys === undefined || this.keys.length === 0 ? "" : ` of ${list(this.keys)}`
    return `Datastore ${this.operation}${what} failed: ${this.reason.message}`
  }
  /** Whether the same operation may succeed later. False for `OutcomeUnknown`: load before you repeat. */
  get isRetryable(): boolean {
    switch (this.reason._tag) {
      case "Unavailable":
      case "DeadlineExceeded":
      case "ResourceExhausted":
        return true
      default:
        return false
    }
  }
}

/**
 * The encoded event is larger than an event may be.
 *
 * @category emit
 * @since 0.1.0
 */
export class TooLarge extends Schema.TaggedError<TooLarge>("eventbox/TooLarge")("TooLarge", {
  sizeBytes: Schema.Int,
  limitBytes: Schema.Int
}) {
  override get message(): string {
    return `its encoded form has ${this.sizeBytes} bytes, the limit is ${this.limitBytes}; store the payload elsewhere and emit a reference`
  }
}

/**
 * The value does not fit the event schema of the box.
 *
 * @category emit
 * @since 0.1.0
 */
export class Encode extends Schema.TaggedError<Encode>("eventbox/Encode")("Encode", DetailFields) {
  override get message(): string {
    return describe("it does not fit the event schema", this.detail)
  }
}

/**
 * The id given for the event breaks Datastore's rules for names.
 *
 * @category emit
 * @since 0.1.0
 */
export class InvalidId extends Schema.TaggedError<InvalidId>("eventbox/InvalidId")("InvalidId", {
  id: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return describe(`its id ${JSON.stringify(this.id.slice(0, 60))} is not valid`, this.detail)
  }
}

/**
 * An event was refused on emit; nothing was written. Fix the value or the id.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventRejected extends Schema.TaggedError<EventRejected>("eventbox/EventRejected")("EventRejected", {
  recipient: KeyField,
  reason: Schema.Union([TooLarge, Encode, InvalidId])
}) {
  override readonly cause: unknown = "cause" in this.reason ? this.reason.cause : undefined
  override get message(): string {
    return `Event for ${this.recipient} rejected: ${this.reason.message}`
  }
  /** Never: the same value is refused again. */
  get isRetryable(): boolean {
    return false
  }
}

/**
 * A stored event does not decode with the event schema of the box. It stays stored; the batch was not processed.
 *
 * **Details**
 *
 * The policy is the box's: widen the schema, or remove the event with `DsSet.remove`.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventDecodeError
  extends Schema.TaggedError<EventDecodeError>("eventbox/EventDecodeError")("EventDecodeError", {
    recipient: KeyField,
    eventId: Schema.String,
    ...CauseField
  })
{
  override get message(): string {
    return `Event ${JSON.stringify(this.eventId)} of ${this.recipient} does not decode: ${messageOf(this.cause)}`
  }
  /** Never: the stored bytes stay as they are until the schema or the event changes. */
  get isRetryable(): boolean {
    return false
  }
}

/**
 * The stored state of a recipient does not decode with the state schema of its box. Migrate the state or the schema.
 *
 * @category errors
 * @since 0.1.0
 */
export class StateDecodeError
  extends Schema.TaggedError<StateDecodeError>("eventbox/StateDecodeError")("StateDecodeError", {
    recipient: KeyField,
    ...CauseField
  })
{
  override get message(): string {
    return `State of ${this.recipient} does not decode: ${messageOf(this.cause)}`
  }
  /** Never: the stored bytes stay as they are until the schema or the state changes. */
  get isRetryable(): boolean {
    return false
  }
}

/**
 * The mailbox of a recipient belongs to another box, whose batch was the first here. Nothing was consumed.
 *
 * **Details**
 *
 * A mailbox holds the events of one box, which are stored without saying whose they are: two boxes on one entity would
 * consume each other's. Give each box a kind of its own, or one of them a child key of the entity.
 *
 * @category errors
 * @since 0.1.0
 */
export class MailboxOwned extends Schema.TaggedError<MailboxOwned>("eventbox/MailboxOwned")("MailboxOwned", {
  recipient: KeyField,
  /** Id of the box that the mailbox belongs to. */
  owner: Schema.String,
  /** Id of the box that was to be processed. */
  box: Schema.String
}) {
  override get message(): string {
    return `The mailbox of ${this.recipient} belongs to the box ${this.owner}, not to ${this.box}: nothing was ` +
      "consumed. Give each box a kind of its own, or one of them a child key of the entity."
  }
  /** Never: a mailbox keeps its owner. */
  get isRetryable(): boolean {
    return false
  }
}

/**
 * No emulator was found, or the one found could not be started or did not become healthy.
 *
 * @category errors
 * @since 0.1.0
 */
export class EmulatorError extends Schema.TaggedError<EmulatorError>("eventbox/EmulatorError")("EmulatorError", {
  /** What is missing or went wrong, and what to install or set. */
  detail: Schema.String,
  ...CauseField
}) {
  override get message(): string {
    return `Datastore emulator: ${this.detail}`
  }
  /** Never: something has to be installed or set first. */
  get isRetryable(): boolean {
    return false
  }
}

/**
 * What the library itself can raise in a user's processor and side effects.
 *
 * @category errors
 * @since 0.1.0
 */
export type StoreError = DatastoreError | EventRejected | StateDecodeError

/**
 * Whether an error is a {@link ContentionError}, also one that another copy of this package made.
 *
 * @category guards
 * @since 0.1.0
 */
export const isContentionError: (error: unknown) => error is ContentionError = Schema.is(ContentionError)

/**
 * Whether an error is a {@link DatastoreError}, also one that another copy of this package made.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDatastoreError: (error: unknown) => error is DatastoreError = Schema.is(DatastoreError)

/**
 * Whether an error says that a commit may or may not have landed.
 *
 * @category guards
 * @since 0.1.0
 */
export const isUnknownOutcome = (error: unknown): boolean =>
  isDatastoreError(error) && error.reason._tag === "OutcomeUnknown"

const describe = (what: string, detail: string): string => detail === "" ? what : `${what} (${detail})`

const list = (keys: ReadonlyArray<Key>, others = 0): string => {
  const shown = keys.slice(0, 3)
  const more = keys.length - shown.length + others
  return more === 0 ? shown.join(", ") : `${shown.join(", ")} and ${more} more`
}
