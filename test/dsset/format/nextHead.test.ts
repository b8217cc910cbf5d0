import { assert, describe, it } from "@effect/vitest"
import { nextHead } from "../../../src/dsset/format/nextHead.ts"
import * as Pages from "../../../src/dsset/format/pages.ts"
import type { Head } from "../../../src/dsset/format/stored.ts"
import { decode, encodedSize, idsOf, makePop, type Pop } from "../../../src/dsset/format/tombstones.ts"

const maxHeadBytes = 16 * 1_024
const delayMillis = 300_000
const startMillis = 1_700_000_000_000
const noHead: Head = { ...Pages.empty, pops: [], tokens: new Uint8Array(0), owner: undefined }

/** A UUIDv7 of a time. */
const uuid = (millis: number, last: number) => {
  const time = millis.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${last.toString(16).padStart(12, "0")}`
}

/** Bytes of what a head holds. */
const bytesOf = (head: Head) => encodedSize(head.pops) + head.bytes.length + head.tokens.length

/** Pops of so many UUIDv7 of their time, made by changing the times in the bytes of one: there are millions of ids. */
const popsOf = (ids: number) => {
  const template = makePop(
    uuid(startMillis, 0),
    startMillis,
    Array.from({ length: ids }, (_, n) => uuid(startMillis, n))
  )
  const stamp = (bytes: Uint8Array, from: number, millis: number) => {
    for (let at = from + 5, rest = millis; at >= from; at--, rest = Math.floor(rest / 256)) bytes[at] = rest % 256
  }
  return (nowMillis: number): Pop => {
    const bytes = template.bytes.slice()
    bytes.set(makePop(uuid(nowMillis, 0), nowMillis, []).bytes.subarray(0, 17 + 6))
    for (let at = template.idsFrom; at < bytes.length; at += 17) stamp(bytes, at + 1, nowMillis)
    return { atMillis: nowMillis, bytes, idsFrom: template.idsFrom }
  }
}

/** What one batch after the other changes, the items of each being gone by the next. */
const run = function*(batches: number, millisBetween: number, ids: number) {
  const popAt = popsOf(ids)
  let head = noHead
  for (let n = 0; n < batches; n++) {
    const now = startMillis + Math.floor(n * millisBetween)
    const expiredBefore = now - delayMillis
    const gone = head.pages.filter(({ newestAtMillis }) => newestAtMillis < expiredBefore)
    const change = nextHead(head, popAt(now), {
      expiredBefore,
      keep: () => false,
      gone: new Set(gone.map(({ number }) => number)),
      maxHeadBytes,
      owner: undefined
    })
    head = change.head
    yield change
  }
}

describe("the head", () => {
  // Kills: pops that get only what a long directory leaves, so that pages get smaller and the directory longer still.
  for (
    const { batch, most, perSecond } of [
      { perSecond: 10, batch: 1, most: 17 },
      { perSecond: 1_000, batch: 50, most: 19 },
      { perSecond: 2_000, batch: 100, most: 25 },
      { perSecond: 5_000, batch: 1_000, most: 16 },
      { perSecond: 10_000, batch: 1_000, most: 30 }
    ]
  ) {
    it(`stays below ${most} KiB at ${perSecond} events per second, ${batch} a batch`, () => {
      const millisBetween = batch * 1_000 / perSecond
      const stored = new Map<number, number>()
      let [largest, largestPage, last] = [0, 0, noHead]
      for (const { erased, head, written } of run(Math.ceil(320_000 / millisBetween), millisBetween, batch)) {
        largest = Math.max(largest, bytesOf(head))
        for (const number of erased) stored.delete(number)
        for (const { bytes, page } of written) {
          largestPage = Math.max(largestPage, bytes.length)
          stored.set(page.number, bytes.length)
        }
        last = head
      }

      assert.isAtMost(largest, most * 1_024)
      assert.isAtMost(largestPage, 18 * 1_024)
      assert.deepStrictEqual(Array.from(stored.keys()), last.pages.map(({ number }) => number))
      // Five minutes of pops: nothing is forgotten before its time, and what expired goes with its page.
      const bytes = Array.from(stored.values()).reduce((sum, one) => sum + one, encodedSize(last.pops))
      const fiveMinutes = 300_000 / millisBetween * popsOf(batch)(startMillis).bytes.length
      assert.isAtLeast(bytes, fiveMinutes)
      assert.isAtMost(bytes, fiveMinutes + 30_000)
    })
  }

  it("keeps the newest pops, in order, and moves the older ones to one page", () => {
    const changes = Array.from(run(100, 1_000, 12))
    const n = changes.findIndex(({ written }) => written.length > 0)
    const { head, written } = changes[n]!

    assert.lengthOf(written, 1)
    assert.deepStrictEqual(head.pages, [written[0]!.page])
    const times = [...decode(written[0]!.bytes)!, ...head.pops].map(({ atMillis }) => atMillis)
    assert.deepStrictEqual(times, Array.from({ length: n + 1 }, (_, index) => startMillis + index * 1_000))
    assert.isAtLeast(encodedSize(head.pops), maxHeadBytes / 4 - 300)
    assert.deepStrictEqual(idsOf(head.pops[0]!)[3], uuid(head.pops[0]!.atMillis, 3))
  })

  it("takes the owner of the first pop that says one, and no other afterwards", () => {
    const pop = makePop(uuid(startMillis, 0), startMillis, [])
    const options = { expiredBefore: 0, keep: () => true, gone: new Set<number>(), maxHeadBytes }

    const first = nextHead(noHead, pop, { ...options, owner: undefined }).head
    const second = nextHead(first, pop, { ...options, owner: "one" }).head
    const third = nextHead(second, pop, { ...options, owner: "two" }).head

    assert.deepStrictEqual([first.owner, second.owner, third.owner], [undefined, "one", "one"])
  })
})
