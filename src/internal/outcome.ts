/**
 * Finding out how a commit ended whose response was lost.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Snapshot } from "../Backend.ts"
import { type Datastore, sameSnapshot, sendCommit } from "../Datastore.ts"
import { isUnknownOutcome } from "../EventboxError.ts"
import type { IdSource } from "../Ids.ts"
import type { Key } from "../Key.ts"
import type { Outcome } from "../Transaction.ts"
import { loadPages } from "./livePages.ts"
import { type Head, headEntity, readHead } from "./stored.ts"
import { makePop, type Pop, tokenOf } from "./tombstones.ts"

const maxAttempts = 8

/**
 * Reads the head that the commit was to write, and the pages that are younger than the commit. Its token is there: it
 * landed. The head changed otherwise: it lost, and can never land, since it expects the old head. The head is
 * unchanged: the commit may still be under way, so *fence* it, by rewriting the head under the same expectation;
 * success proves that the commit can never land.
 *
 * **Details**
 *
 * Tries up to eight times with jittered pauses from 100 ms on, and not after `giveUpAtMillis`: tokens are erased with
 * their tombstones, and an absent token would then prove nothing. Costs 1 read, 1 for each younger page, and 1 write
 * for a fence.
 */
export const findOutcome = (options: {
  readonly datastore: Datastore["Service"]
  readonly parent: Key
  readonly head: Snapshot
  readonly tombstones: Head
  readonly token: string
  readonly ids: IdSource
  readonly giveUpAtMillis: number
}): Effect.Effect<Outcome> => attempt(options, 1)

const attempt = (options: Parameters<typeof findOutcome>[0], number: number): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const { giveUpAtMillis, head } = options
    const again = number >= maxAttempts ? Effect.succeed<Outcome>("Unknown") : Effect.andThen(
      Effect.flatMap(Random.nextBetween(0.5, 1.5), (jitter) => Effect.sleep(100 * 2 ** (number - 1) * jitter)),
      attempt(options, number + 1)
    )
    const read = yield* Effect.result(look(options))
    // Reads that took long may show a head or a directory from which the token has been erased.
    if ((yield* Clock.currentTimeMillis) > giveUpAtMillis) return "Unknown"
    if (read._tag === "Failure") return yield* again
    const { isThere, now } = read.success
    if (isThere) return "Landed"
    if (!sameSnapshot(now, head)) return "Lost"
    const fenced = yield* Effect.result(fence(options))
    if (fenced._tag === "Success") return "Fenced"
    // Somebody was first: the commit itself or another one; the next read tells. No answer to the fence: read as well.
    const readOn = fenced.failure._tag === "ContentionError" || isUnknownOutcome(fenced.failure)
    return readOn && number === 1 ? yield* attempt(options, number + 1) : yield* again
  })

/** Reads the head, and whether the token is there or in a page that is younger than what the commit expected. */
const look = ({ datastore, head, parent, tombstones, token }: Parameters<typeof findOutcome>[0]) =>
  Effect.gen(function*() {
    const now = (yield* datastore.backend.lookup([head.key]))[0]!
    const found = readHead(now)
    if (found === undefined) return { now, isThere: false }
    if (isAmong(token, found.pops)) return { now, isThere: true }
    const younger = found.pages.filter(({ number }) => number >= tombstones.next)
    return { now, isThere: (yield* loadPages(datastore, parent, younger)).some(({ pops }) => isAmong(token, pops)) }
  })

const isAmong = (token: string, pops: ReadonlyArray<Pop>): boolean => pops.some((pop) => tokenOf(pop) === token)

const fence = (options: Parameters<typeof findOutcome>[0]) =>
  Effect.gen(function*() {
    const { datastore, head, ids, tombstones } = options
    const mark = makePop(yield* ids.next, yield* Clock.currentTimeMillis, [])
    yield* sendCommit(datastore, {
      mutations: [{
        _tag: "Upsert",
        entity: headEntity(head.key, { ...tombstones, pops: [...tombstones.pops, mark] })
      }],
      expected: [head]
    })
  })
