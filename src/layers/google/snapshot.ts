/**
 * A snapshot that keeps the entity as the server sent it.
 */
import * as Option from "effect/Option"
import type { Snapshot, Version } from "../../Backend.ts"
import type { Entity } from "../../Entity.ts"
import type { Key } from "../../Key.ts"
import { readEntity } from "./entity.ts"
import type { Partition } from "./key.ts"

/**
 * What a read saw of one key. The entity is decoded at once, where a malformed one still makes the read fail: it would
 * be a defect of whoever looked at it later. Nearly every entity that is read is looked at.
 */
export class GoogleSnapshot implements Snapshot {
  readonly key: Key
  readonly version: Version
  readonly entity: Option.Option<Entity>
  readonly #message: Uint8Array | undefined
  readonly #keysOnly: boolean

  /** Throws for a message that is no entity. */
  constructor(options: {
    readonly key: Key
    readonly version: Version
    /** The `Entity` message; `undefined` when there is no entity. */
    readonly message: Uint8Array | undefined
    readonly partition: Partition
    readonly keysOnly: boolean
  }) {
    this.key = options.key
    this.version = options.version
    this.entity = options.message === undefined
      ? Option.none()
      : Option.some(readEntity(options.message, options.partition, options.key))
    this.#message = options.message
    this.#keysOnly = options.keysOnly
  }

  static is(snapshot: Snapshot): snapshot is GoogleSnapshot {
    return #message in snapshot
  }

  static isAbsent(self: GoogleSnapshot): boolean {
    return self.#message === undefined
  }

  /** Bytes of the entity in wire form, about those that it has where it is stored. */
  static sizeBytes(self: GoogleSnapshot): number {
    return self.#message === undefined ? 0 : self.#message.length
  }

  /** A name that no property of the entity has: one that does not occur in its message at all. */
  static unusedName(self: GoogleSnapshot): string {
    const message = self.#message
    if (message === undefined) return unusedName
    const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
    let name = unusedName
    for (let number = 1; bytes.includes(name); number++) name = `${unusedName}${number}`
    return name
  }

  /** Whether it came from a query for keys: its message then lacks the properties. */
  static isKeysOnly(self: GoogleSnapshot): boolean {
    return self.#keysOnly
  }
}

/** A plain word, which needs no quotes in a mask. */
const unusedName = "eventbox_expects_no_change"
