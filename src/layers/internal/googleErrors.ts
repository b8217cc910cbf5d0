/**
 * What the codes of gRPC mean here. Classification is by code, never by the text of a message.
 */
import {
  AlreadyExists,
  DatastoreError,
  type DatastoreReason,
  DeadlineExceeded,
  FailedPrecondition,
  Internal,
  InvalidArgument,
  NotFound,
  OutcomeUnknown,
  PermissionDenied,
  ResourceExhausted,
  Unauthenticated,
  Unavailable
} from "../../EventboxError.ts"
import type { Key } from "../../Key.ts"

/** Numbers of gRPC status codes. */
export const Code = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16
} as const

/** An RPC that ended without a response. */
export interface RpcFailure {
  /** Absent for a failure inside the client. */
  readonly code: number | undefined
  readonly detail: string
  readonly cause: unknown
  /** False when the request certainly never left this process. */
  readonly sent: boolean
}

/** Whether the same read may succeed soon. Of `INTERNAL` Google's error page says: repeat it once at most. */
export const isTransient = ({ code }: RpcFailure, attempt: number): boolean => {
  switch (code) {
    case Code.unavailable:
    case Code.deadlineExceeded:
    case Code.resourceExhausted:
    case Code.aborted:
    case Code.cancelled:
      return true
    case Code.internal:
      return attempt <= 1
    default:
      return false
  }
}

/** Whether a commit that ended with this may have landed, or may still land: then its outcome is unknown. */
export const leavesDoubt = ({ code, sent }: RpcFailure): boolean => {
  switch (code) {
    case Code.invalidArgument:
    case Code.notFound:
    case Code.alreadyExists:
    case Code.permissionDenied:
    case Code.resourceExhausted:
    case Code.failedPrecondition:
    case Code.aborted:
    case Code.outOfRange:
    case Code.unimplemented:
    case Code.unauthenticated:
      return false
    default:
      return sent
  }
}

/** The error of a read, or of a commit that certainly did not land. */
export const toError = (operation: string, failure: RpcFailure, keys?: ReadonlyArray<Key>): DatastoreError =>
  makeError(operation, reasonOf(failure), keys)

/** The error of a commit that may have landed. */
export const unknownOutcome = ({ cause, code, detail }: RpcFailure, keys: ReadonlyArray<Key>): DatastoreError =>
  makeError(
    "commit",
    new OutcomeUnknown({ detail: code === undefined ? detail : `code ${code}: ${detail}`, cause }),
    keys
  )

/** An error about these keys, which it names when they are few. */
export const makeError = (operation: string, reason: DatastoreReason, keys: ReadonlyArray<Key> = []): DatastoreError =>
  new DatastoreError({ operation, reason, ...(keys.length === 0 || keys.length > maxKeys ? {} : { keys }) })

/** An error names at most this many keys. */
const maxKeys = 20

const reasonOf = ({ cause, code, detail }: RpcFailure): DatastoreReason => {
  const fields = { detail, cause }
  switch (code) {
    case Code.cancelled:
    case Code.aborted:
    case Code.unavailable:
      return new Unavailable(fields)
    case Code.invalidArgument:
    case Code.outOfRange:
      return new InvalidArgument(fields)
    case Code.deadlineExceeded:
      return new DeadlineExceeded(fields)
    case Code.notFound:
      return new NotFound(fields)
    case Code.alreadyExists:
      return new AlreadyExists(fields)
    case Code.permissionDenied:
      return new PermissionDenied(fields)
    case Code.resourceExhausted:
      return new ResourceExhausted(fields)
    case Code.failedPrecondition:
    case Code.unimplemented:
      return new FailedPrecondition(fields)
    case Code.unauthenticated:
      return new Unauthenticated(fields)
    default:
      return new Internal(fields)
  }
}
