import { assert } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { ContentionError } from "../../src/EventboxError.ts"
import { Ids } from "../../src/Ids.ts"
import * as Processor from "../../src/Processor.ts"
import * as Explore from "../../src/testing/Explore.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"
import { allApplied, applied, countEach } from "./explore.ts"

const schemas = { kind: "Box", state: Schema.Int, event: Schema.Struct({}) }

/** Consumes all events of a batch; an attempt has a name, by which its record and its post-process effect are known. */
const consumeAll =
  (next: (state: number, count: number) => number) => (events: ReadonlyArray<Processor.Event<{}>>, state: number) =>
    Effect.gen(function*() {
      if (events.length === 0) return { transitions: [] }
      const attempt = yield* (yield* Ids).next
      return {
        transitions: [{
          events,
          transitionTo: next(state, events.length),
          sideEffect: applied(attempt, events.map(({ id }) => id)),
          postProcess: Explore.note({ post: attempt })
        }]
      }
    })

/** A box whose state counts the events. */
export class Changing extends Processor.Service<Changing>()("test/Changing", schemas) {
  static readonly layer = this.toLayer(
    this.entity({ initial: () => 0, prepareMutation: consumeAll((state, count) => state + count) })
  )
}

/** A box whose state stays as it is. */
export class Keeping extends Processor.Service<Keeping>()("test/Keeping", schemas) {
  static readonly layer = this.toLayer(
    this.entity({ initial: () => 0, prepareMutation: consumeAll((state) => state) })
  )
}

export const layer = Layer.merge(Changing.layer, Keeping.layer)

/** Both boxes, with what the state must be after a number of events. */
export const boxes = [
  { name: "state changed", box: Changing, stateAfter: (count: number) => count },
  { name: "state kept", box: Keeping, stateAfter: () => 0 }
] as const

export type Box = typeof Changing | typeof Keeping

/** The recipient of all these tests. */
export const recipient = (box: Box): Processor.Recipient<any> => (box as typeof Changing).recipient("r")

export const emit = (box: Box, id: string) => Eventbox.emit(box as typeof Changing, recipient(box), {}, { id })

/** One batch and its post-process effects; another try after contention, `tries` in all. */
export const work = (box: Box, options: { readonly maxEvents?: number; readonly tries?: number } = {}) =>
  Effect.gen(function*() {
    const result = yield* Eventbox.processBatch(box as typeof Changing, recipient(box), options)
    for (const effect of result.postProcess) yield* effect
    return result.consumed
  }).pipe(
    Effect.retry({ times: (options.tries ?? 1) - 1, while: (error) => error instanceof ContentionError })
  )

/**
 * Judges a history: at its end each event was applied once or is listed; after that a last worker finds the rest, and
 * then each was applied once; every attempt that landed was post-processed once, and no other.
 *
 * A worker that crashed may owe its post-process effects; `mayOwe` says so. Events that the set-up consumed are
 * `earlier`.
 */
export const exactlyOnce = <P extends Explore.Programs>(
  box: Box,
  stateAfter: (count: number) => number,
  ids: ReadonlyArray<string>,
  options: { readonly mayOwe?: boolean; readonly earlier?: ReadonlyArray<string> } = {}
) =>
(history: Explore.History<P>) =>
  Effect.gen(function*() {
    for (const exit of Object.values(history.exits)) onlyContention(exit)
    const before = yield* allApplied
    const listed = (yield* Outstanding.events(box as typeof Changing, recipient(box))).map(({ id }) => id)
    const once = ids.map(() => 1)
    assert.deepStrictEqual(countEach(ids, [...before.map(({ id }) => id), ...listed]), once, "applied or listed")
    const landed = new Set(
      before.filter(({ id }) => options.earlier?.includes(id) !== true).map(({ attempt }) => attempt)
    )
    const posts = history.notes.map(({ note }) => (note as { readonly post: string }).post)
    if (options.mayOwe === true) {
      for (const post of posts) assert.isTrue(landed.has(post), "post-process of what landed")
    } else assert.deepStrictEqual(posts.toSorted(), Array.from(landed).toSorted(), "post-process of what landed, once")

    if (listed.length > 0) {
      yield* Eventbox.drain(box as typeof Changing, recipient(box))
      assert.deepStrictEqual(countEach(ids, (yield* allApplied).map(({ id }) => id)), once, "applied in the end")
    }
    const state = Option.match(yield* Datastore.get(recipient(box).key), {
      onNone: () => 0,
      onSome: ({ properties }) => Number(properties["State"] ?? 0)
    })
    assert.strictEqual(state, stateAfter(ids.length + (options.earlier?.length ?? 0)), "the state in the end")
  })

/** A program of these tests may fail with contention only. */
const onlyContention = (exit: Option.Option<Exit.Exit<unknown, unknown>>): void => {
  if (Option.isNone(exit) || Exit.isSuccess(exit.value)) return
  for (const reason of exit.value.cause.reasons) {
    assert.isTrue(reason._tag === "Fail" && reason.error instanceof ContentionError, String(exit.value.cause))
  }
}
