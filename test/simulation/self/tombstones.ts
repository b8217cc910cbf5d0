/**
 * What the checker of a simulated history knows of tombstones: where they are stored, and which come and go with a
 * commit.
 *
 * This is the only part of the simulator that knows the stored format. What it reads must not depend on which entity a
 * pop lies in: pops may move from the head to another entity, in one commit.
 */
import { type Mutation, mutationKey } from "../../../src/Backend.ts"
import { Reader } from "../../../src/dsset/format/bytes.ts"
import { headKind, pageKind } from "../../../src/dsset/format/stored.ts"
import { decode, idsOf, type Pop, tokenOf } from "../../../src/dsset/format/tombstones.ts"
import type { Entity } from "../../../src/Entity.ts"
import { isBytes } from "../../../src/ground/foreign.ts"
import type { Key } from "../../../src/Key.ts"

/**
 * Whether an entity is the head of a set or a page. Pages never change, take over pops of a head that is full, and may
 * be deleted.
 */
export const holdsTombstones = ({ kind }: Key): boolean => kind === headKind || kind === pageKind

/** Whether an entity is a page: it may be deleted, once nothing in it is needed any more. */
export const isPage = ({ kind }: Key): boolean => kind === pageKind

/** The pops of a head or a page; `undefined` when it does not decode. */
const popsOf = ({ properties }: Entity): ReadonlyArray<Pop> | undefined => {
  const bytes = properties["Pops"]
  return isBytes(bytes) ? decode(bytes) : undefined
}

/** The tokens that a head keeps beside its pops. */
const tokensOf = ({ properties }: Entity): ReadonlySet<string> => {
  const bytes = properties["Tokens"]
  const tokens = new Set<string>()
  const reader = new Reader(isBytes(bytes) ? bytes : new Uint8Array(0))
  while (reader.hasMore()) tokens.add(reader.id())
  return tokens
}

/** One pop, or the part of it that came or went. */
export interface Tombstones {
  readonly token: string
  readonly atMillis: number
  readonly ids: ReadonlyArray<string>
  /** Whether it is the whole pop, with its token. */
  readonly isWhole: boolean
}

/** What a commit did to the tombstones of a recipient. */
export interface Changes {
  readonly added: ReadonlyArray<Tombstones>
  readonly erased: ReadonlyArray<Tombstones>
  /** The tokens that a head keeps whatever their age, if one was written. */
  readonly tokens: ReadonlySet<string> | undefined
  /** Entities that do not decode. */
  readonly damaged: ReadonlyArray<Key>
}

/** The tombstones of one recipient, as they are stored. */
export class TombstonesOf {
  private readonly stored = new Map<string, ReadonlyArray<Pop>>()

  /** Takes in a commit: what it writes and deletes of the entities that hold the tombstones of this recipient. */
  land(mutations: ReadonlyArray<Mutation>): Changes {
    const before: Array<Pop> = []
    const after: Array<Pop> = []
    const damaged: Array<Key> = []
    let tokens: ReadonlySet<string> | undefined
    for (const mutation of mutations) {
      const key = mutationKey(mutation)
      const name = key.toString()
      before.push(...this.stored.get(name) ?? [])
      this.stored.delete(name)
      if (mutation._tag === "Delete") continue
      if (key.kind === headKind) tokens = tokensOf(mutation.entity)
      const pops = popsOf(mutation.entity)
      if (pops === undefined) damaged.push(key)
      else {
        after.push(...pops)
        this.stored.set(name, pops)
      }
    }
    return { added: beyond(after, before), erased: this.withoutStored(beyond(before, after), before), tokens, damaged }
  }

  /** When the oldest tombstone was made; nothing when there is none. */
  oldestMillis(): number | undefined {
    let oldest: number | undefined
    for (const pop of Array.from(this.stored.values()).flat()) {
      if (idBytes(pop) === 0) continue
      oldest = Math.min(oldest ?? pop.atMillis, pop.atMillis)
    }
    return oldest
  }

  /** What went from one entity may lie in another one that the commit did not touch. */
  private withoutStored(gone: ReadonlyArray<Tombstones>, before: ReadonlyArray<Pop>): ReadonlyArray<Tombstones> {
    if (gone.length === 0 || this.stored.size === 0) return gone
    return beyond(before, Array.from(this.stored.values()).flat())
  }
}

const idBytes = ({ bytes, idsFrom }: Pop): number => bytes.length - idsFrom

/** What these pops have and others have not, by token; ids are read only where a pop has shrunk. */
const beyond = (pops: ReadonlyArray<Pop>, others: ReadonlyArray<Pop>): ReadonlyArray<Tombstones> => {
  const bytes = new Map<string, number>()
  for (const pop of others) bytes.set(tokenOf(pop), (bytes.get(tokenOf(pop)) ?? 0) + idBytes(pop))
  const own = new Map<string, Array<Pop>>()
  for (const pop of pops) own.set(tokenOf(pop), [...own.get(tokenOf(pop)) ?? [], pop])
  const found: Array<Tombstones> = []
  for (const [token, parts] of own) {
    const size = parts.reduce((sum, pop) => sum + idBytes(pop), 0)
    const left = bytes.get(token)
    if (left !== undefined && left >= size) continue
    const kept = new Set(left === undefined ? [] : others.filter((other) => tokenOf(other) === token).flatMap(idsOf))
    const ids = parts.flatMap(idsOf).filter((id) => !kept.has(id))
    found.push({ token, atMillis: parts[0]!.atMillis, ids, isWhole: left === undefined })
  }
  return found
}
