/**
 * Reading and writing the bytes of stored tombstones: numbers, ids and checks.
 *
 * Varints are little-endian base 128, at most 53 bits. An id is varint 0 and 16 bytes when it is a lower-case UUID,
 * else varint n >= 1 and n bytes of UTF-8.
 */
import { utf8Bytes } from "../../Key.ts"

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const uuidBytes = 16
const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))
const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** Builds bytes. */
export class Writer {
  private bytes = new Uint8Array(64)
  private used = 0

  get size(): number {
    return this.used
  }

  /** A number from 0 on. */
  varint(value: number): void {
    this.reserve(8)
    let rest = value
    while (rest >= 128) {
      this.bytes[this.used++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.bytes[this.used++] = rest
  }

  /** A number that may be negative. */
  signed(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value)
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.used++] = value
  }

  id(id: string): void {
    if (isUuid(id)) {
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

/** Reads bytes; what is not there makes it `failed`, and never throws. */
export class Reader {
  failed = false
  at = 0
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes
    this.at = at
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

  signed(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  skip(size: number): void {
    this.at += size
    this.failed ||= this.at > this.bytes.length
  }

  raw(size: number): Uint8Array {
    const from = this.at
    this.skip(size)
    return this.bytes.subarray(from, this.at)
  }

  skipId(): void {
    const size = this.varint()
    this.skip(size === 0 ? uuidBytes : size)
  }

  /** As {@link uuidTime}, of the next id. */
  idTime(): number | undefined {
    const size = this.varint()
    const from = this.at
    this.skip(size === 0 ? uuidBytes : size)
    if (size !== 0 || this.failed) return undefined
    let time = 0
    for (let at = from; at < from + 6; at++) time = time * 256 + this.bytes[at]!
    return time
  }

  id(): string {
    const size = this.varint()
    const bytes = this.raw(size === 0 ? uuidBytes : size)
    if (this.failed) return ""
    return size === 0 ? uuidText(bytes) : textDecoder.decode(bytes)
  }

  /** A hash of the next id; the same for the same id. */
  idHash(): number {
    const size = this.varint()
    const from = this.at
    this.skip(size === 0 ? uuidBytes : size)
    // Damaged bytes may claim any length.
    if (this.failed) return 0
    let hash = size
    for (let at = from; at < this.at; at++) hash = (Math.imul(hash, 31) + this.bytes[at]!) | 0
    return hash
  }
}

/**
 * The first 48 bits of an id that is a lower-case UUID, `undefined` for another: in UUIDv7 the time, ms since epoch.
 */
export const uuidTime = (id: string): number | undefined =>
  isUuid(id) ? Number.parseInt(id.slice(0, 8), 16) * 0x10000 + Number.parseInt(id.slice(9, 13), 16) : undefined

const isUuid = (id: string): boolean => id.length === 36 && uuid.test(id)

/** 32 bits by which different bytes are told apart (FNV-1a). */
export const checkOf = (bytes: Uint8Array): number => {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

const uuidText = (bytes: Uint8Array): string => {
  let text = ""
  for (let index = 0; index < 16; index++) {
    text += hex[bytes[index]!]!
    if (index === 3 || index === 5 || index === 7 || index === 9) text += "-"
  }
  return text
}
