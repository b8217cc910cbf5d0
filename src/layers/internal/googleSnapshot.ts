/**
 * A snapshot that keeps the entity as the server sent it.
 */
import * as Option from "effect/Option"
import type { Snapshot, Version } from "../../Backend.ts"
import type { Entity } from "../../Entity.ts"
import type { Key } from "../../Key.ts"
import { readEntity } from "./googleEntity.ts"
import type { Partition } from "./googleKey.ts"

/** What a read saw of one key; the entity is decoded on first use. */
export class GoogleSnapshot implements Snapshot {
  readonly key: Key
  readonly version: Version
  readonly #message: Uint8Array | undefined
  readonly #partition: Partition
  readonly #keysOnly: boolean
  #entity: Option.Option<Entity> | undefined

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
    this.#message = options.message
    this.#partition = options.partition
    this.#keysOnly = options.keysOnly
    this.#entity = undefined
  }

  get entity(): Option.Option<Entity> {
    return this.#entity ??= this.#message === undefined
      ? Option.none()
      : Option.some(readEntity(this.#message, this.#partition, this.key))
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
