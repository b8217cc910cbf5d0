/**
 * Finding out how a commit ended that popped items: when its response was lost, and after a lost race.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { Snapshot } from "../Backend.ts"
import { changedAmong } from "../datastore/reads.ts"
import { sendCommit } from "../datastore/sending.ts"
import { isUnknownOutcome } from "../EventboxError.ts"
import { retryOnceFailed } from "../ground/retries.ts"
import type { Contended, Outcome, Witness } from "../ground/transaction.ts"
import type { IdSource } from "../Ids.ts"
import type { Key } from "../Key.ts"
import { type Head, headEntity, headKind, itemKind, readHead } from "./format/stored.ts"
import { hasToken, makePop, type Pop, tokenOf, withToken } from "./format/tombstones.ts"
import { loadPages } from "./livePages.ts"
import { type Place, placeOf, setPatience } from "./memory.ts"

/** A commit, as far as its outcome is concerned. */
interface Commit {
  readonly place: Place
  /** The head that it was to replace, and what that held. */
  readonly head: Snapshot
  readonly tombstones: Head
  readonly token: string
  readonly ids: IdSource
  readonly giveUpAtMillis: number
}

/** Tells how a commit of pops ended. */
export const makeWitness = (commit: Commit): Witness => ({
  afterDoubt: search(commit),
  afterContention: (expected) => whoWasFirst(commit, expected)
})

/**
 * Reads the head that the commit was to write, and the pages that are younger than the commit. Its token is there: it
 * landed. The head changed otherwise: it lost, and can never land, since it expects the old head. The head is
 * unchanged: the commit may still be under way, so *fence* it, by rewriting the head under the same expectation;
 * success proves that the commit can never land.
 *
 * **Details**
 *
 * Tries up to eight times with jittered pauses from 100 ms on, and no more after `giveUpAtMillis`. From then on an
 * absent token proves nothing when the head has changed, since tokens are erased with their tombstones. Costs 1 read, 1
 * for each younger page, and 1 write for a fence.
 */
const search = (commit: Commit): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    let looks = 0
    const once: Effect.Effect<Outcome, Unsettled> = Effect.gen(function*() {
      looks++
      const { changed, isThere } = yield* Effect.mapError(look(commit, [commit.head]), () => unsettled)
      if (isThere) return "Landed"
      if (changed.length > 0) return yield* absent(commit)
      const fenced = yield* Effect.result(fence(commit))
      if (Result.isSuccess(fenced)) return "Fenced"
      // Somebody was first: the commit itself or another one; the next read tells. No answer to the fence: read, too.
      const readOn = looks === 1 && (fenced.failure._tag === "ContentionError" || isUnknownOutcome(fenced.failure))
      return yield* readOn ? once : Effect.fail(unsettled)
    })
    const isInTime = () =>
      Effect.map(Clock.currentTimeMillis, (now) => looks < maxLooks && now <= commit.giveUpAtMillis)
    return Effect.orElseSucceed(
      retryOnceFailed(once, () => ({ while: isInTime, schedule: betweenLooks })),
      (): Outcome => "Unknown"
    )
  })

/** The outcome cannot be told yet. */
interface Unsettled {
  readonly _tag: "Unsettled"
}

const unsettled: Unsettled = { _tag: "Unsettled" }

const maxLooks = 8

const betweenLooks = Schedule.jittered(Schedule.exponential("100 millis"))

/** What it means that the token is not there although the head has changed. */
const absent = ({ giveUpAtMillis }: Commit): Effect.Effect<Outcome> =>
  Effect.map(Clock.currentTimeMillis, (now) => now > giveUpAtMillis ? "Unknown" : "Lost")

/**
 * After a lost race: who was first? Perhaps the commit itself, when something on the way delivered it twice: then its
 * token is there, and it landed. Otherwise this names what has changed of all that is no item; and when that is
 * nothing, the race was lost to items alone, which are then being added again.
 *
 * Costs 1 read for each entity that the commit expected and that is no item, in one RPC.
 */
const whoWasFirst = (commit: Commit, expected: ReadonlyArray<Snapshot>): Effect.Effect<Contended> => {
  const others = expected.filter(({ key }) => key.kind !== itemKind)
  return Effect.matchEffect(look(commit, others), {
    // What cannot be looked at leaves the same doubt as a lost response.
    onFailure: () => Effect.map(search(commit), (outcome) => ({ outcome, changed: [] })),
    onSuccess: ({ changed, isThere }) => {
      if (isThere) return Effect.succeed({ outcome: "Landed", changed })
      if (changed.length === 0 && others.length < expected.length) {
        for (const parent of parentsOfItems(expected)) setPatience(placeOf(commit.place.datastore, parent), true)
      }
      const outcome = changed.some(({ key }) => key.kind === headKind)
        ? absent(commit)
        : Effect.succeed<Outcome>("Lost")
      return Effect.map(outcome, (found) => ({ outcome: found, changed }))
    }
  })
}

/** The sets of all items that a transaction expected: it may pop several, in one call or in more. */
const parentsOfItems = (expected: ReadonlyArray<Snapshot>): Iterable<Key> => {
  const parents = new Map<string, Key>()
  for (const { key: { kind, parent } } of expected) {
    if (kind === itemKind && parent !== undefined) parents.set(parent.toString(), parent)
  }
  return parents.values()
}

/** Which of these have changed, among them the head, and whether the token is there, in the head or in a page. */
const look = Effect.fnUntraced(
  function*({ head, place, tombstones, token }: Commit, expected: ReadonlyArray<Snapshot>) {
    const now = yield* place.datastore.backend.lookup(expected.map(({ key }) => key))
    const changed = changedAmong(expected, now)
    const name = head.key.toString()
    const found = readHead(now.find(({ key }) => key.toString() === name)!)
    if (found === undefined) return { changed, isThere: false }
    if (hasToken(found.tokens, token) || isAmong(token, found.pops)) return { changed, isThere: true }
    const younger = found.pages.filter(({ number }) => number >= tombstones.next)
    return { changed, isThere: (yield* loadPages(place, younger)).some(({ pops }) => isAmong(token, pops)) }
  }
)

const isAmong = (token: string, pops: ReadonlyArray<Pop>): boolean => pops.some((pop) => tokenOf(pop) === token)

const fence = Effect.fnUntraced(function*({ head, ids, place, tombstones }: Commit) {
  const mark = makePop(yield* ids.next, yield* Clock.currentTimeMillis, [])
  const pops = [...tombstones.pops, mark]
  const tokens = withToken(tombstones.tokens, tokenOf(mark))
  yield* sendCommit(place.datastore, {
    mutations: [{ _tag: "Upsert", entity: headEntity(head.key, { ...tombstones, pops, tokens }) }],
    expected: [head]
  })
})
