/**
 * What a step touched, and so which steps can change places without anybody seeing it.
 */
import { type CommitRequest, mutationKey } from "../../Backend.ts"
import type { Call } from "../Recorder.ts"

/** What a step touched: what decides whether it commutes with another. */
export interface Footprint {
  /** The process that the step belongs to; none for a late landing and for a jump of time. */
  readonly process: string | undefined
  /** Whether code of the process ran, and so read and wrote its memory. */
  readonly isLocal: boolean
  /** For the answer to a read: in which step the process asked for it. */
  readonly askedAt: number | undefined
  /** Whether the process did nothing that can be seen on it: it waits for something else. */
  readonly isQuiet: boolean
  /** Whether it took back other requests of its process: an interruption, a crash. */
  readonly withdraws: boolean
  readonly reads: ReadonlyArray<string>
  readonly writes: ReadonlyArray<string>
  /** Whether it is a query, which may see any write. */
  readonly isQuery: boolean
  readonly movesTime: boolean
  readonly readsClock: boolean
}

/** A step that touches nothing. */
export const nothing: Footprint = {
  process: undefined,
  isLocal: false,
  askedAt: undefined,
  isQuiet: false,
  withdraws: false,
  reads: [],
  writes: [],
  isQuery: false,
  movesTime: false,
  readsClock: false
}

/** What an operation touches in the store; a commit that did not land only read. */
export const ofCall = (call: Call, landed: boolean): Pick<Footprint, "reads" | "writes" | "isQuery"> => {
  switch (call.operation) {
    case "lookup":
      return { reads: call.keys.map(String), writes: [], isQuery: false }
    case "query":
      return { reads: [], writes: [], isQuery: true }
    case "commit":
      return ofCommit(call.request, landed)
  }
}

const ofCommit = ({ expected, mutations }: CommitRequest, landed: boolean) => {
  const written = mutations.map((mutation) => mutationKey(mutation).toString())
  const reads = expected.map(({ key }) => key.toString())
  return landed
    ? { reads, writes: written, isQuery: false }
    : { reads: [...reads, ...written], writes: [], isQuery: false }
}

/**
 * Whether the order of two steps may matter: to the store, to a process, or to which steps are left.
 *
 * **Details**
 *
 * Versions are compared for one key only, save where limited listings tell arrivals by them, on which nothing depends
 * but where the next listing begins. A query may see any entity, so it depends on every write. Steps of one process
 * depend on each other through its memory, save answers to reads that it asked for in one go, as long as it does
 * nothing on them. Faults share how many there may be, but none makes another possible, and none that it makes
 * impossible is lost: each is tried where its commit is.
 */
export const isDependent = (self: Footprint, that: Footprint): boolean =>
  (self.movesTime && (that.movesTime || that.readsClock)) || (that.movesTime && self.readsClock) ||
  (self.process !== undefined && self.process === that.process && meetInProcess(self, that)) ||
  (self.isQuery && that.writes.length > 0) ||
  (that.isQuery && self.writes.length > 0) ||
  overlaps(self.writes, that.reads) || overlaps(self.writes, that.writes) || overlaps(self.reads, that.writes)

const meetInProcess = (self: Footprint, that: Footprint): boolean =>
  (self.isLocal && that.isLocal && !(self.isQuiet && isAwaitedWith(that, self))) || self.withdraws || that.withdraws

/**
 * Whether an answer on which its process did nothing was asked for in one go with another: then their order is all one.
 */
export const isAwaitedWith = (quiet: Footprint, other: Footprint): boolean =>
  quiet.isQuiet && quiet.askedAt !== undefined && quiet.askedAt === other.askedAt &&
  quiet.process === other.process && !other.withdraws

const overlaps = (self: ReadonlyArray<string>, that: ReadonlyArray<string>): boolean =>
  self.length > 0 && that.length > 0 && self.some((key) => that.includes(key))
