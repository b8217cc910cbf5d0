import { assert, describe, it } from "@effect/vitest"
import { type Change, isCrowded, maxMergedPages, nextHead } from "../../src/internal/nextHead.ts"
import * as Pages from "../../src/internal/pages.ts"
import type { Head } from "../../src/internal/stored.ts"
import { encodedSize, idsOf, makePop, type Pop } from "../../src/internal/tombstones.ts"

const maxHeadBytes = 16 * 1_024
const delayMillis = 300_000
const startMillis = 1_700_000_000_000

/** A UUIDv7 of a time. */
const uuid = (millis: number, last: number) => {
  const time = millis.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${last.toString(16).padStart(12, "0")}`
}

/**
 * Heads and pages of one set whose batches come from several processes in turn, each of which knows what it has seen.
 */
class Recipient {
  head: Head = { ...Pages.empty, pops: [], owner: undefined }
  largestHeadBytes = 0
  largestPageBytes = 0
  private readonly stored = new Map<number, ReadonlyArray<Pop>>()
  private readonly known: ReadonlyArray<Set<number>>

  constructor(processes: number) {
    this.known = Array.from({ length: processes }, () => new Set())
  }

  /** One batch, as a listing and a pop of the library make it. */
  batch(nowMillis: number, ids: ReadonlyArray<string>, process: number): void {
    const known = this.known[process]!
    if (isCrowded(this.head, maxHeadBytes)) {
      for (const { number } of this.head.pages.slice(-maxMergedPages)) known.add(number)
    }
    const expiredBefore = nowMillis - delayMillis
    const gone = this.head.pages.filter(({ newestAtMillis }) => newestAtMillis < expiredBefore)
    const change = nextHead(this.head, makePop(uuid(nowMillis, 0), nowMillis, ids), {
      expiredBefore,
      keep: () => false,
      gone: new Set(gone.map(({ number }) => number)),
      popsOf: ({ number }) => known.has(number) ? this.stored.get(number) : undefined,
      maxHeadBytes,
      owner: undefined
    })
    this.land(change, known)
  }

  /** Every id whose tombstone is there, in the head or in a page. */
  remembered(): ReadonlyArray<string> {
    return [...this.head.pages.flatMap(({ number }) => this.stored.get(number)!), ...this.head.pops].flatMap(idsOf)
  }

  private land({ erased, head, written }: Change, known: Set<number>): void {
    this.head = head
    for (const number of erased) this.stored.delete(number)
    for (const { bytes, page, pops } of written) {
      this.stored.set(page.number, pops)
      known.add(page.number)
      this.largestPageBytes = Math.max(this.largestPageBytes, bytes.length)
    }
    this.largestHeadBytes = Math.max(this.largestHeadBytes, encodedSize(head.pops) + head.bytes.length)
    assert.strictEqual(this.stored.size, head.pages.length)
  }
}

describe("the head", () => {
  const rates = [
    { perSecond: 1_000, batch: 50, processes: 1 },
    { perSecond: 1_000, batch: 50, processes: 3 },
    { perSecond: 2_000, batch: 100, processes: 2 },
    { perSecond: 5_000, batch: 1_000, processes: 2 }
  ]

  for (const { batch, perSecond, processes } of rates) {
    // Kills: pages merged by the process that wrote them only; no merging at all.
    it(`stays below 16 KiB at ${perSecond} events per second, ${batch} a batch, from ${processes} in turn`, () => {
      const recipient = new Recipient(processes)
      const seconds = 400
      for (let n = 0; n < seconds * perSecond / batch; n++) {
        const now = startMillis + Math.floor(n * batch * 1_000 / perSecond)
        const ids = Array.from({ length: batch }, (_, index) => uuid(now, n * batch + index))
        // Who comes next is a little irregular.
        recipient.batch(now, ids, (n + Math.floor(n / 7)) % processes)
      }

      console.log(
        `${perSecond} events/s, ${batch} a batch, ${processes} processes: head up to ${recipient.largestHeadBytes} ` +
          `bytes, ${recipient.head.pages.length} pages at the end, the largest ${recipient.largestPageBytes} bytes`
      )
      assert.isAtMost(recipient.largestHeadBytes, maxHeadBytes)
      assert.isAtMost(recipient.largestPageBytes, 600 * 1_024)
      const remembered = new Set(recipient.remembered())
      assert.isAtLeast(remembered.size, perSecond * delayMillis / 1_000)
      assert.isAtMost(remembered.size, perSecond * delayMillis / 1_000 * 1.2)
    })
  }
})
