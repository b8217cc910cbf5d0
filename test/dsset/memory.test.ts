import { assert, describe, it } from "@effect/vitest"
import type { Datastore } from "../../src/Datastore.ts"
import { forgetPage, placeOf, recall, remember, rememberPage, setCount } from "../../src/dsset/memory.ts"
import * as Key from "../../src/Key.ts"

const mebibyte = 1_024 * 1_024
/** Never touched, so that it takes no memory. */
const page = (bytes: number) => ({ check: 1, bytes: new Uint8Array(new ArrayBuffer(bytes)), gone: undefined })
const key = (name: string) => Key.make("Parent", name)

/** A layer of which only the identity counts. */
const makeLayer = () => ({ remembered: new Map() }) as unknown as Datastore["Service"]

const setPatient = (layer: Datastore["Service"], name: string, isPatient: boolean) =>
  remember(placeOf(layer, key(name)), (memory) => {
    memory.isPatient = isPatient
  })

describe("the pages that a layer remembers", () => {
  it("are 64 MiB at most; the set that was used least recently makes room, its oldest page first", () => {
    const layer = makeLayer()
    const pagesOf = (name: string) => Array.from(recall(placeOf(layer, key(name))).pages.keys())
    for (const number of [1, 2, 3]) rememberPage(placeOf(layer, key("a")), number, page(10 * mebibyte))
    for (const number of [1, 2, 3]) rememberPage(placeOf(layer, key("b")), number, page(10 * mebibyte))
    assert.deepStrictEqual([pagesOf("a"), pagesOf("b")], [[1, 2, 3], [1, 2, 3]])

    rememberPage(placeOf(layer, key("b")), 4, page(15 * mebibyte))
    assert.deepStrictEqual([pagesOf("a"), pagesOf("b")], [[3], [1, 2, 3, 4]])

    rememberPage(placeOf(layer, key("a")), 4, page(mebibyte))
    rememberPage(placeOf(layer, key("a")), 5, page(30 * mebibyte))
    assert.deepStrictEqual([pagesOf("a"), pagesOf("b")], [[3, 4, 5], [4]])
  })

  it("do not count twice when they are remembered again, nor once they are forgotten", () => {
    const layer = makeLayer()
    for (let n = 0; n < 20; n++) rememberPage(placeOf(layer, key("a")), 1, page(10 * mebibyte))
    for (let number = 2; number < 30; number++) {
      rememberPage(placeOf(layer, key("b")), number, page(10 * mebibyte))
      forgetPage(placeOf(layer, key("b")), number)
    }

    assert.isTrue(recall(placeOf(layer, key("a"))).pages.has(1))
  })

  it("do not count once their set was forgotten because there are too many sets", () => {
    const layer = makeLayer()
    rememberPage(placeOf(layer, key("old")), 1, page(60 * mebibyte))
    for (let n = 0; n < 10_000; n++) setPatient(layer, `${n}`, true)
    assert.strictEqual(recall(placeOf(layer, key("old"))).pages.size, 0)

    rememberPage(placeOf(layer, key("a")), 1, page(30 * mebibyte))
    rememberPage(placeOf(layer, key("b")), 1, page(30 * mebibyte))

    assert.deepStrictEqual(["a", "b"].map((name) => recall(placeOf(layer, key(name))).pages.size), [1, 1])
  })

  it("go with the memory of their set when the last of them is forgotten", () => {
    const layer = makeLayer()
    rememberPage(placeOf(layer, key("a")), 1, page(1))
    rememberPage(placeOf(layer, key("a")), 2, page(1))
    forgetPage(placeOf(layer, key("a")), 1)
    assert.strictEqual(setCount(layer), 1)

    forgetPage(placeOf(layer, key("a")), 2)
    assert.strictEqual(setCount(layer), 0)
  })

  it("take the memory of a set with them when they make room and it holds nothing else", () => {
    const layer = makeLayer()
    rememberPage(placeOf(layer, key("a")), 1, page(40 * mebibyte))
    rememberPage(placeOf(layer, key("patient")), 1, page(20 * mebibyte))
    setPatient(layer, "patient", true)

    rememberPage(placeOf(layer, key("b")), 1, page(60 * mebibyte))

    assert.strictEqual(setCount(layer), 2)
    assert.isTrue(recall(placeOf(layer, key("patient"))).isPatient)
  })
})

describe("the sets that a layer remembers", () => {
  it("are 10,000 at most: those used least recently are forgotten", () => {
    const layer = makeLayer()
    for (let n = 0; n < 12_000; n++) {
      setPatient(layer, `${n}`, true)
      setPatient(layer, "used all the time", true)
    }

    assert.strictEqual(setCount(layer), 10_000)
    const isPatient = (name: string) => recall(placeOf(layer, key(name))).isPatient
    assert.deepStrictEqual(["used all the time", "11999", "2001", "2000"].map(isPatient), [true, true, true, false])
  })

  it("are none about which there is nothing to say, and asking makes none", () => {
    const layer = makeLayer()
    for (let n = 0; n < 100; n++) {
      recall(placeOf(layer, key(`${n}`)))
      setPatient(layer, `${n}`, true)
      setPatient(layer, `${n}`, false)
      forgetPage(placeOf(layer, key(`${n}`)), 1)
    }

    assert.strictEqual(setCount(layer), 0)
  })
})
