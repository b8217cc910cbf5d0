/**
 * Chance of a history: one stream of numbers, the same for the same seed, with a long enough state that no two
 * histories ever share a part of it.
 */
import type { Random } from "effect/Random"

/** A stream of random numbers (sfc32), and what a nemesis draws from it. */
export class Chance {
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(seed: number | string) {
    const number = typeof seed === "number" ? seed : hashOf(seed)
    this.a = number | 0
    this.b = Math.floor(number / 4_294_967_296) | 0
    this.c = 0x9e3779b9 | 0
    for (let round = 0; round < 12; round++) this.next()
  }

  /** From 0 to 1, without 1. */
  next(): number {
    const sum = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum | 0
    return (sum >>> 0) / 4_294_967_296
  }

  happens(rate: number): boolean {
    return rate > 0 && this.next() < rate
  }

  /** An integer below `bound`. */
  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from)
  }

  pick<A>(values: ReadonlyArray<A>): A {
    return values[this.below(values.length)]!
  }

  /** Times between things that happen at random moments, `mean` apart on average. */
  gap(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }

  /** The same stream as the service of Effect; tells of every draw. */
  service(onDraw: () => void = () => undefined): (typeof Random)["Service"] {
    const next = (): number => {
      onDraw()
      return this.next()
    }
    return {
      nextDoubleUnsafe: next,
      nextIntUnsafe: () => Math.floor((next() - 0.5) * 2 * Number.MAX_SAFE_INTEGER)
    }
  }
}

/** A text as a number of 32 bits. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

/** A fingerprint of what happened: the same for the same sequence of texts and numbers. */
export class Fingerprint {
  private low = 0x811c9dc5 | 0
  private high = 0x1b873593 | 0

  number(value: number): void {
    this.mix(value | 0)
    this.mix(Math.floor(value / 4_294_967_296) | 0)
  }

  text(value: string): void {
    for (let at = 0; at < value.length; at++) this.low = Math.imul(this.low ^ value.charCodeAt(at), 0x01000193)
    this.mix(this.low)
  }

  toString(): string {
    return [this.high, this.low].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("")
  }

  private mix(value: number): void {
    this.low = Math.imul(this.low ^ value, 0x01000193)
    this.high = (Math.imul(this.high ^ this.low, 0x85ebca6b) + 0x6d2b79f5) | 0
  }
}
