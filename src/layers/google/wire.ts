/**
 * The protobuf wire format, as far as Datastore's messages use it: varints, doubles, strings, bytes, submessages.
 *
 * Why not the generated message classes: they make a `Long` and a string of every integer, and two objects of every
 * value. They also know only the fields of their release, so that a value of a newer kind would be lost on its way
 * through an `Entity.Opaque`.
 *
 * Source: protobuf.dev, "Encoding". Tests compare both directions with the generated classes.
 */

/** Wire types. */
const varintType = 0
const fixed64Type = 1
const bytesType = 2
const fixed32Type = 5

/** Bytes that are not a protobuf message of the expected kind. */
export class WireError extends Error {
  override readonly name = "WireError"
}

const two28 = 0x1000_0000
const two32 = 0x1_0000_0000
const shift28 = BigInt(28)
const low28 = BigInt(two28 - 1)
const shift32 = BigInt(32)

/** Strings up to this length are read and written here: for short ASCII that is faster than a call into native code. */
const shortText = 24

/** From this length on, zeroing the memory of a blob costs more than asking for memory as it is. */
const largeBlob = 2_048

/**
 * Writes a message from its end to its beginning: the length of a submessage is then known when its prefix is written,
 * so nothing is measured before or moved after. Callers therefore write fields, elements and entries in reverse.
 */
export class WireWriter {
  private buffer: Buffer
  private at: number

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafe(bytes)
    this.at = bytes
  }

  /** How many bytes were written; the mark that {@link message} takes. */
  get written(): number {
    return this.buffer.length - this.at
  }

  /** What was written; a view of the writer's memory: do not write any more. */
  finish(): Buffer {
    return this.buffer.subarray(this.at)
  }

  /** Makes what was written since the mark a submessage. */
  message(field: number, mark: number): void {
    this.uint(this.written - mark)
    this.uint(field * 8 + bytesType)
  }

  string(field: number, value: string): void {
    const mark = this.written
    if (value.length > shortText || !this.ascii(value)) {
      const size = Buffer.byteLength(value)
      this.reserve(size)
      this.at -= size
      this.buffer.write(value, this.at, size, "utf8")
    }
    this.message(field, mark)
  }

  bytes(field: number, value: Uint8Array): void {
    this.fields(value)
    this.uint(value.length)
    this.uint(field * 8 + bytesType)
  }

  /** Fields that are in wire form already. */
  fields(value: Uint8Array): void {
    this.reserve(value.length)
    this.at -= value.length
    this.buffer.set(value, this.at)
  }

  double(field: number, value: number): void {
    this.reserve(8)
    this.at -= 8
    this.buffer.writeDoubleLE(value, this.at)
    this.uint(field * 8 + fixed64Type)
  }

  /** A signed integer of 64 bits, an enum, or a boolean as 0 or 1; a `number` must be a safe integer. */
  varint(field: number, value: number | bigint): void {
    // Versions and times are exact as numbers, and arithmetic with a bigint costs ten times as much.
    const exact = Number(value)
    if (exact >= 0 && exact <= Number.MAX_SAFE_INTEGER) {
      this.uint(exact)
    } else {
      const bits = BigInt.asUintN(64, BigInt(value))
      this.split(Number(bits & low28), Number(bits >> shift28))
    }
    this.uint(field * 8 + varintType)
  }

  private uint(value: number): void {
    if (value < 0x80) {
      this.reserve(1)
      this.buffer[--this.at] = value
    } else {
      this.split(value % two28, Math.floor(value / two28))
    }
  }

  /** Writes `low + high * 2^28`. */
  private split(low: number, high: number): void {
    if (high > 0) this.groups(high, countGroups(high), 0)
    this.groups(low, high > 0 ? 4 : countGroups(low), high > 0 ? 0x80 : 0)
  }

  /** Writes groups of seven bits, lowest first; `last` is the continuation bit of the last one. */
  private groups(value: number, count: number, last: number): void {
    this.reserve(count)
    this.at -= count
    let rest = value
    for (let index = 0; index < count; index++) {
      this.buffer[this.at + index] = (rest % 0x80) + (index === count - 1 ? last : 0x80)
      rest = Math.floor(rest / 0x80)
    }
  }

  private ascii(value: string): boolean {
    this.reserve(value.length)
    const start = this.at - value.length
    for (let index = 0; index < value.length; index++) {
      const unit = value.charCodeAt(index)
      if (unit > 0x7f) return false
      this.buffer[start + index] = unit
    }
    this.at = start
    return true
  }

  private reserve(bytes: number): void {
    if (this.at >= bytes) return
    const written = this.written
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, written + bytes))
    this.buffer.copy(grown, grown.length - written, this.at)
    this.at = grown.length - written
    this.buffer = grown
  }
}

const countGroups = (value: number): number => {
  let count = 1
  for (let limit = 0x80; value >= limit; limit *= 0x80) count++
  return count
}

/**
 * Names that were read lately: kinds and properties come again with every entity. A name that is found here costs no
 * memory, and is a property key that the engine knows.
 */
const names: Array<string | undefined> = Array.from({ length: 256 }, () => undefined)

/**
 * Reads a message field by field: `next` moves to the next field, then one method takes its value, or `skip` passes
 * over it.
 */
export class WireReader {
  /** Number of the field that {@link next} found. */
  field = 0
  private type = 0
  private readonly buffer: Buffer
  private at: number
  private end: number

  constructor(bytes: Uint8Array) {
    this.buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = 0
    this.end = bytes.length
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.at >= this.end) return false
    const tag = this.uint()
    this.field = tag >>> 3
    this.type = tag & 7
    return true
  }

  /** Where the reader is: before the value of the field, once `next` has found one. */
  get position(): number {
    return this.at
  }

  /** Goes to the value of a field of length-delimited type that was found, or passed over, before. */
  seek(position: number): void {
    this.at = position
    this.type = bytesType
  }

  /** What lies between an earlier position and the current one, as a view. */
  since(position: number): Buffer {
    return this.buffer.subarray(position, this.at)
  }

  /** What lies between two positions, as a view. */
  between(from: number, to: number): Buffer {
    return this.buffer.subarray(from, to)
  }

  /** Enters the submessage that is the value of the field; the result goes to {@link leave}. */
  enter(): number {
    const size = this.length()
    const outer = this.end
    this.end = this.at + size
    return outer
  }

  /** Leaves a submessage: goes to its end. */
  leave(outer: number): void {
    this.at = this.end
    this.end = outer
  }

  /** The value as a view of the message: it keeps the whole message in memory. */
  view(): Buffer {
    const size = this.length()
    this.at += size
    return this.buffer.subarray(this.at - size, this.at)
  }

  /** The value as bytes of their own. */
  bytes(): Uint8Array {
    const size = this.length()
    const from = this.at
    this.at += size
    if (size <= shortText) {
      const copy = new Uint8Array(size)
      for (let index = 0; index < size; index++) copy[index] = this.buffer[from + index]!
      return copy
    }
    // Memory that is about to be overwritten need not be zeroed.
    const copy = size < largeBlob ? new Uint8Array(size) : new Uint8Array(Buffer.allocUnsafeSlow(size).buffer)
    copy.set(this.buffer.subarray(from, this.at))
    return copy
  }

  string(): string {
    const size = this.length()
    const start = this.at
    this.at += size
    if (size > shortText) return this.buffer.toString("utf8", start, this.at)
    let text = ""
    for (let index = start; index < this.at; index++) {
      const byte = this.buffer[index]!
      if (byte > 0x7f) return this.buffer.toString("utf8", start, this.at)
      text += String.fromCharCode(byte)
    }
    return text
  }

  /** A string of which there are few, such as the name of a property. */
  name(): string {
    const size = this.length()
    const start = this.at
    this.at += size
    if (size > shortText || size === 0) return this.buffer.toString("utf8", start, this.at)
    const slot = (size * 37 + this.buffer[start]! * 7 + this.buffer[this.at - 1]!) & 255
    const known = names[slot]
    if (known !== undefined && this.holds(start, known, size)) return known
    return names[slot] = this.buffer.toString("utf8", start, this.at)
  }

  /** Whether the bytes from a position on are those of the other. */
  sameAt(position: number, that: Uint8Array): boolean {
    for (let index = 0; index < that.length; index++) {
      if (this.buffer[position + index] !== that[index]) return false
    }
    return true
  }

  double(): number {
    this.expect(fixed64Type)
    this.at += 8
    if (this.at > this.end) throw tooShort()
    return this.buffer.readDoubleLE(this.at - 8)
  }

  boolean(): boolean {
    return this.integer() !== 0
  }

  /** A signed integer of 64 bits: a `number` when that is exact, a `bigint` otherwise. */
  integer(): number | bigint {
    this.expect(varintType)
    return this.int64()
  }

  /** Passes over the value. */
  skip(): void {
    switch (this.type) {
      case varintType:
        this.int64()
        return
      case bytesType: {
        const size = this.length()
        this.at += size
        return
      }
      case fixed64Type:
      case fixed32Type:
        this.at += this.type === fixed64Type ? 8 : 4
        if (this.at > this.end) throw tooShort()
        return
      default:
        throw new WireError(`wire type ${this.type} at ${this.at}`)
    }
  }

  /** Whether so many bytes are the text; never for one that is not ASCII. */
  private holds(start: number, text: string, size: number): boolean {
    if (text.length !== size) return false
    for (let index = 0; index < size; index++) {
      const byte = this.buffer[start + index]!
      if (byte > 0x7f || byte !== text.charCodeAt(index)) return false
    }
    return true
  }

  private expect(type: number): void {
    if (this.type !== type) throw new WireError(`field ${this.field} has wire type ${this.type}, not ${type}`)
  }

  private length(): number {
    this.expect(bytesType)
    const size = this.uint()
    if (size > this.end - this.at) throw tooShort()
    return size
  }

  /** A tag or a length: not negative and below 2^32. */
  private uint(): number {
    const byte = this.buffer[this.at]!
    if (byte < 0x80) {
      this.at++
      return byte
    }
    const value = this.int64()
    if (typeof value === "number" && value >= 0 && value < two32) return value
    throw new WireError(`a tag or length of ${value}`)
  }

  private int64(): number | bigint {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      low += (byte & 0x7f) << shift
      if (byte < 0x80) return low
    }
    let byte = this.byte()
    low = (low | (byte << 28)) >>> 0
    let high = (byte & 0x7f) >> 4
    for (let shift = 3; byte >= 0x80; shift += 7) {
      // The tenth byte holds one bit.
      if (shift > 31) throw new WireError(`a varint of more than ten bytes at ${this.at}`)
      byte = this.byte()
      high |= (byte & 0x7f) << shift
    }
    const value = high * two32 + low
    return Number.isSafeInteger(value) ? value : BigInt.asIntN(64, (BigInt(high) << shift32) | BigInt(low))
  }

  private byte(): number {
    if (this.at >= this.end) throw tooShort()
    return this.buffer[this.at++]!
  }
}

const tooShort = (): WireError => new WireError("the message ends too early")
