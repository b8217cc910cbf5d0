import { assert, describe, it } from "@effect/vitest"
import type { Datastore } from "../../src/Datastore.ts"
import { forgetIfEmpty, forgetPage, rememberPage, setMemory } from "../../src/internal/setMemory.ts"
import * as Key from "../../src/Key.ts"

const mebibyte = 1_024 * 1_024
const page = (bytes: number) => ({ check: 1, pops: [], bytes, unseen: undefined })
const key = (name: string) => Key.make("Parent", name)

/** A layer of which only the identity counts. */
const makeLayer = () => ({}) as Datastore["Service"]

describe("the pages that a layer remembers", () => {
  it("are 64 MiB at most; the set that was used least recently makes room, its oldest page first", () => {
    const layer = makeLayer()
    const pagesOf = (name: string) => Array.from(setMemory(layer, key(name)).pages.keys())
    for (const number of [1, 2, 3]) rememberPage(layer, key("a"), number, page(10 * mebibyte))
    for (const number of [1, 2, 3]) rememberPage(layer, key("b"), number, page(10 * mebibyte))
    assert.deepStrictEqual([pagesOf("a"), pagesOf("b")], [[1, 2, 3], [1, 2, 3]])

    rememberPage(layer, key("b"), 4, page(15 * mebibyte))
    assert.deepStrictEqual([pagesOf("a"), pagesOf("b")], [[3], [1, 2, 3, 4]])

    rememberPage(layer, key("a"), 4, page(mebibyte))
    rememberPage(layer, key("a"), 5, page(30 * mebibyte))
    assert.deepStrictEqual([pagesOf("a"), pagesOf("b")], [[3, 4, 5], [4]])
  })

  it("do not count twice when they are remembered again, nor once they are forgotten", () => {
    const layer = makeLayer()
    for (let n = 0; n < 20; n++) rememberPage(layer, key("a"), 1, page(10 * mebibyte))
    for (let number = 2; number < 30; number++) {
      rememberPage(layer, key("b"), number, page(10 * mebibyte))
      forgetPage(layer, setMemory(layer, key("b")), number)
    }

    assert.isTrue(setMemory(layer, key("a")).pages.has(1))
  })

  it("keep the memory of their set, which goes with the last of them", () => {
    const layer = makeLayer()
    rememberPage(layer, key("a"), 1, page(1))
    const memory = setMemory(layer, key("a"))

    forgetIfEmpty(layer, key("a"))
    assert.strictEqual(setMemory(layer, key("a")), memory)

    forgetPage(layer, memory, 1)
    forgetIfEmpty(layer, key("a"))
    assert.notStrictEqual(setMemory(layer, key("a")), memory)
  })
})
