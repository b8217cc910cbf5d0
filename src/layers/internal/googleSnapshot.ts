/**
 * A snapshot that keeps the entity as the server sent it.
 */
import * as Option from "effect/Option"
import type { Snapshot, Version } from "../../Backend.ts"
import type { Entity } from "../../Entity.ts"
import type { Key } from "../../Key.ts"
import { readEntity } from "./googleEntity.ts"
import type { Partition } from "./googleKey.ts"

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

  /**
   * The `Entity` message exactly as it came: an update with it changes nothing. `undefined` when there is no entity.
   */
  static message(self: GoogleSnapshot): Uint8Array | undefined {
    return self.#message
  }

  /** Whether it came from a query for keys: its message then lacks the properties. */
  static isKeysOnly(self: GoogleSnapshot): boolean {
    return self.#keysOnly
  }
}
