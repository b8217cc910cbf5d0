/**
 * The bytes of the tombstones head: which ids were popped by which commit, and when.
 *
 * | bytes | content |
 * |---|---|
 * | 1 | format, 1 |
 * | then per pop, oldest first | token: an id · time: varint, ms since epoch · length of the ids in bytes: varint · the ids |
 * | an id | varint 0 and 16 bytes when it is a lower-case UUID, else varint n ≥ 1 and n bytes of UTF-8 |
 *
 * Varints are little-endian base 128, at most 53 bits. A head is read and written with every batch, so pops stay bytes:
 * the ids of one become text only when they expire, and looking for the ids of a listing compares hashes.
 */
import { compareUtf8, utf8Bytes } from "../Key.ts"

/** One committed batch of pops, which may have consumed nothing (as that of a fence). */
export interface Pop {
  /** Names the commit that wrote this pop: how a commit whose response was lost is recognised. */
  readonly token: string
  /** When the pop was built, ms since epoch on the worker's clock. */
  readonly atMillis: number
  /** The popped ids, as bytes. */
  readonly idBytes: Uint8Array
}

/** Makes a pop of ids. */
export const makePop = (token: string, atMillis: number, ids: Iterable<string>): Pop => {
  const writer = new Writer()
  for (const id of ids) writer.id(id)
  return { token, atMillis, idBytes: writer.done() }
}

/** The ids of a pop. O(ids). */
export const idsOf = (pop: Pop): Array<string> => {
  const reader = new Reader(pop.idBytes)
  const ids: Array<string> = []
  while (reader.hasMore()) ids.push(reader.id())
  return ids
}

/** A part of the key range of a set, by item id; `undefined` means unbounded. */
export interface Range {
  /** Exclusive. */
  readonly after: string | undefined
  /** Inclusive. */
  readonly upTo: string | undefined
}

/** Whether an id lies in one of the ranges, in Datastore's key order. */
export const isCovered = (ranges: ReadonlyArray<Range>, id: string): boolean =>
  ranges.some(({ after, upTo }) =>
    (after === undefined || compareUtf8(id, after) > 0) && (upTo === undefined || compareUtf8(id, upTo) <= 0)
  )

/** The newest tombstone of each of these ids that has one, ms since epoch. O(ids + tombstones). */
export const newestOf = (pops: ReadonlyArray<Pop>, ids: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const newest = new Map<string, number>()
  if (ids.length === 0 || pops.length === 0) return newest
  const wanted = new Set(ids)
  const hashes = new Set<number>()
  const listed = new Reader(makePop("", 0, wanted).idBytes)
  while (listed.hasMore()) hashes.add(listed.idHash())
  for (const { atMillis, idBytes } of pops) {
    const reader = new Reader(idBytes)
    while (reader.hasMore()) {
      const at = reader.at
      if (!hashes.has(reader.idHash())) continue
      reader.at = at
      const id = reader.id()
      if (wanted.has(id)) newest.set(id, Math.max(atMillis, newest.get(id) ?? atMillis))
    }
  }
  return newest
}

/**
 * What is left of pops when those from before `expiredBefore` are erased, save the ids for which `keep` holds. // E4
 * The token of a pop lives as long as its time does, even when it popped nothing.
 */
export const withoutExpired = (
  pops: ReadonlyArray<Pop>,
  expiredBefore: number,
  keep: (id: string) => boolean
): Array<Pop> => {
  const left: Array<Pop> = []
  for (const pop of pops) {
    if (pop.atMillis >= expiredBefore) {
      left.push(pop)
      continue
    }
    const ids = idsOf(pop).filter(keep)
    if (ids.length > 0) left.push(makePop(pop.token, pop.atMillis, ids))
  }
  return left
}

/** Writes pops as bytes. O(pops), and a copy of their ids. */
export const encode = (pops: ReadonlyArray<Pop>): Uint8Array => {
  const writer = new Writer()
  writer.varint(format)
  for (const { atMillis, idBytes, token } of pops) {
    writer.id(token)
    writer.varint(atMillis)
    writer.varint(idBytes.length)
    writer.raw(idBytes)
  }
  return writer.done()
}

/** Reads what {@link encode} wrote; `undefined` for anything else. O(pops). */
export const decode = (bytes: Uint8Array): ReadonlyArray<Pop> | undefined => {
  const reader = new Reader(bytes)
  if (reader.varint() !== format) return undefined
  const pops: Array<Pop> = []
  while (reader.hasMore()) {
    const pop = { token: reader.id(), atMillis: reader.varint(), idBytes: reader.raw(reader.varint()) }
    if (reader.failed) return undefined
    pops.push(pop)
  }
  return reader.failed ? undefined : pops
}

const format = 1
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))
const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true })

class Writer {
  private bytes = new Uint8Array(64)
  private used = 0

  varint(value: number): void {
    this.reserve(8)
    let rest = value
    while (rest >= 128) {
      this.bytes[this.used++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.bytes[this.used++] = rest
  }

  id(id: string): void {
    if (id.length === 36 && uuid.test(id)) {
      this.varint(0)
      this.reserve(16)
      for (let at = 0; at < 36; at += 2) {
        if (at === 8 || at === 13 || at === 18 || at === 23) at++
        this.bytes[this.used++] = (digit(id.charCodeAt(at)) << 4) | digit(id.charCodeAt(at + 1))
      }
      return
    }
    const size = utf8Bytes(id)
    this.varint(size)
    this.reserve(size)
    textEncoder.encodeInto(id, this.bytes.subarray(this.used))
    this.used += size
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.used)
    this.used += bytes.length
  }

  done(): Uint8Array {
    return this.bytes.slice(0, this.used)
  }

  private reserve(size: number): void {
    if (this.used + size <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.used + size))
    grown.set(this.bytes.subarray(0, this.used))
    this.bytes = grown
  }
}

const digit = (unit: number): number => unit < 58 ? unit - 48 : unit - 87

class Reader {
  failed = false
  at = 0
  private readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  hasMore(): boolean {
    return !this.failed && this.at < this.bytes.length
  }

  varint(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 53; scale *= 128) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) break
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    this.failed = true
    return 0
  }

  raw(size: number): Uint8Array {
    const from = this.at
    this.at += size
    this.failed ||= this.at > this.bytes.length
    return this.bytes.subarray(from, this.at)
  }

  id(): string {
    const size = this.varint()
    const bytes = this.raw(size === 0 ? 16 : size)
    if (this.failed) return ""
    return size === 0 ? uuidText(bytes) : textDecoder.decode(bytes)
  }

  /** A hash of the next id; the same for the same id. */
  idHash(): number {
    const size = this.varint()
    const from = this.at
    this.at += size === 0 ? 16 : size
    this.failed ||= this.at > this.bytes.length
    // Damaged bytes may claim any length.
    if (this.failed) return 0
    let hash = size
    for (let at = from; at < this.at; at++) hash = (Math.imul(hash, 31) + this.bytes[at]!) | 0
    return hash
  }
}

const uuidText = (bytes: Uint8Array): string => {
  let text = ""
  for (let index = 0; index < 16; index++) {
    text += hex[bytes[index]!]!
    if (index === 3 || index === 5 || index === 7 || index === 9) text += "-"
  }
  return text
}
