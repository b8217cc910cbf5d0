/**
 * A store in memory as text for people: entities, the events that wait, and what is remembered of consumed ones.
 *
 * `InMemory` shows entities as they are; here the blobs that the library stores for mailboxes are decoded as well.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { itemKind } from "../dsset/format/stored.ts"
import { newestOf, type Pop } from "../dsset/format/tombstones.ts"
import type * as Entity from "../Entity.ts"
import type { Key } from "../Key.ts"
import * as InMemory from "../layers/InMemory.ts"
import { popsOf, showPop, showStored, textOf, timeOf } from "./text/storedText.ts"

/**
 * A snapshot as text: entities with their properties, in key order, and for each mailbox its events and tombstones.
 *
 * **Details**
 *
 * The values of events are shown as the JSON text that they are stored as, times as UTC. An event that was popped and
 * is still stored is marked: it waits for its deletion, unless its id is in use again after the tombstones delay. What
 * cannot be decoded is shown as a plain entity. O(entities).
 *
 * **Example** (A mailbox after one batch)
 *
 * ```ts
 * import { Datastore, Entity, Eventbox, Key, Processor } from "effect-eventbox"
 * import * as InMemory from "effect-eventbox/layers/InMemory"
 * import { StoreDump } from "effect-eventbox/testing"
 * import { Effect, Schema } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * class Counter extends Processor.Service<Counter>()("app/Counter", {
 *   kind: "Counter",
 *   state: Schema.Int,
 *   event: Schema.Struct({ amount: Schema.Int })
 * }) {
 *   static readonly layer = this.toLayer(this.entity({
 *     initial: () => 0,
 *     prepareMutation: (events, total) =>
 *       Effect.succeed({
 *         transitions: [{ events, transitionTo: events.reduce((sum, { value }) => sum + value.amount, total) }]
 *       })
 *   }))
 * }
 *
 * const visits = Counter.recipient("visits")
 *
 * const program = Effect.gen(function*() {
 *   yield* Eventbox.emit(Counter, visits, { amount: 2 }, { id: "first" })
 *   yield* Eventbox.drain(Counter, visits)
 *   yield* Eventbox.emit(Counter, visits, { amount: 3 }, { id: "second" })
 *   yield* Datastore.put([Entity.make(Key.make("Log", 1), { text: "emitted" })])
 *   console.log(yield* StoreDump.dump)
 * })
 *
 * await Effect.runPromise(program.pipe(
 *   Effect.provide([Counter.layer, InMemory.layerControlled, TestClock.layer()])
 * ))
 * // Output:
 * // Counter,"visits" {EVersion: 1, State: "2"}
 * // mailbox of Counter,"visits"
 * //   waits   second  1970-01-01T00:00:00.000Z  {"amount":3}
 * //   popped  1970-01-01T00:00:00.000Z: first
 * // Log,1 {text: "emitted"}
 * ```
 *
 * @category string form
 * @since 0.1.0
 */
export const format = (snapshot: InMemory.StoreSnapshot): string => {
  const lines: Array<string> = []
  const boxes = new Map<string, Mailbox>()
  for (const { entity } of InMemory.entitiesOf(snapshot)) {
    const found = Option.getOrThrow(entity)
    const stored = storedOf(found)
    if (stored === undefined) {
      lines.push(InMemory.formatEntity(found, showStored))
      continue
    }
    // Key order keeps what one mailbox stores together, right after its recipient.
    const parent = found.key.parent!
    const name = parent.toString()
    const box = boxes.get(name) ?? { parent, line: lines.length, items: [], pops: [] }
    if (!boxes.has(name)) lines.push("")
    boxes.set(name, box)
    if (stored === "item") box.items.push(found)
    else box.pops.push(...stored)
  }
  for (const box of boxes.values()) lines[box.line] = showMailbox(box)
  return lines.join("\n")
}

/**
 * The store of `InMemory.layerControlled` as text, as {@link format} shows it.
 *
 * @category string form
 * @since 0.1.0
 */
export const dump: Effect.Effect<string, never, InMemory.InMemory> = Effect.flatMap(
  InMemory.InMemory,
  (store) => Effect.map(store.snapshot, format)
)

/**
 * What became of a store between two snapshots, one line per entity, with events and tombstones decoded; empty when
 * nothing did.
 *
 * @see `InMemory.diff` for the changes as values
 *
 * @category string form
 * @since 0.1.0
 */
export const formatDiff = (before: InMemory.StoreSnapshot, after: InMemory.StoreSnapshot): string =>
  InMemory.formatDiff(InMemory.diff(before, after), showStored)

interface Mailbox {
  readonly parent: Key
  /** Where it is shown. */
  readonly line: number
  readonly items: Array<Entity.Entity>
  readonly pops: Array<Pop>
}

/** What an entity is for its mailbox, if it is for one. */
const storedOf = (entity: Entity.Entity): "item" | ReadonlyArray<Pop> | undefined => {
  if (entity.key.parent === undefined) return undefined
  if (entity.key.kind === itemKind) return textOf(entity.properties["Value"]) === undefined ? undefined : "item"
  return popsOf(entity)
}

const showMailbox = ({ items, parent, pops }: Mailbox): string => {
  const popped = newestOf(pops, items.map(({ key }) => String(key.id)))
  const rows = items.map(({ key, properties }) => {
    const id = String(key.id)
    const mark = popped.has(id) ? "again" : "waits"
    return `  ${mark}   ${id}  ${timeOf(properties["At"]) ?? "no time"}  ${textOf(properties["Value"])}`
  })
  const times = pops.toSorted((self, that) => self.atMillis - that.atMillis).map((pop) => `  popped  ${showPop(pop)}`)
  return [`mailbox of ${parent}`, ...rows, ...times].join("\n")
}
