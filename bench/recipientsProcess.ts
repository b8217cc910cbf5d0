/**
 * Whether a process that meets many recipients grows: the heap before and after, with what may go wrong. In a process
 * of its own, with `--expose-gc`.
 */
import { Effect, Fiber, References, Schedule } from "effect"
import { Datastore, Eventbox, EventboxError } from "effect-eventbox"
import type { Backend } from "effect-eventbox/Backend"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { Counter, ticks } from "./workloads/counter.ts"

/** What a process goes through with each recipient. */
export const courses = ["nothing waits", "consumed", "listing fails", "listing is interrupted", "race is lost"] as const

const down = new EventboxError.DatastoreError({
  operation: "query",
  reason: new EventboxError.Unavailable({ detail: "down" })
})
const lost = new EventboxError.ContentionError({ reason: new EventboxError.Aborted({}) })

/** A store that keeps nothing of a recipient for longer than its turn. */
const makeBackend = (course: typeof courses[number]): Effect.Effect<{ backend: Backend; clear: Effect.Effect<void> }> =>
  Effect.map(InMemory.makeStore, (store) => {
    const empty = Effect.runSync(store.snapshot)
    const { backend } = store
    return {
      clear: store.restore(empty),
      backend: {
        ...backend,
        query: (query) =>
          course === "listing fails"
            ? Effect.fail(down)
            : course === "listing is interrupted"
            ? Effect.never
            : backend.query(query),
        commit: (request) =>
          course === "race is lost" && request.expected.length > 0 ? Effect.fail(lost) : backend.commit(request)
      }
    }
  })

const turn = (course: typeof courses[number], number: number) => {
  const recipient = Counter.recipient(`recipient-${String(number).padStart(8, "0")}`)
  const process = Eventbox.process(Counter, recipient, { retry: Schedule.recurs(0) })
  switch (course) {
    case "nothing waits":
    case "listing fails":
      return Effect.ignore(process)
    case "listing is interrupted":
      return Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(process)
        yield* Effect.forEach([1, 2, 3], () => Effect.yieldNow)
        yield* Fiber.interrupt(fiber)
      })
    case "consumed":
    case "race is lost":
      return Effect.andThen(Eventbox.emitAll(Counter, recipient, ticks(0, 3)), Effect.ignore(process))
  }
}

const heapBytes = (): number => {
  const { gc } = globalThis as { gc?: () => void }
  if (gc === undefined) throw new Error("run it with --expose-gc")
  for (let n = 0; n < 4; n++) gc()
  const { arrayBuffers, heapUsed } = globalThis.process.memoryUsage()
  return arrayBuffers + heapUsed
}

/** Bytes by which the heap grows for each recipient. */
const grown = (course: typeof courses[number], recipients: number) =>
  Effect.gen(function*() {
    const { backend, clear } = yield* makeBackend(course)
    const meet = (from: number, to: number) =>
      Effect.gen(function*() {
        for (let n = from; n < to; n++) {
          yield* turn(course, n)
          if (n % 100 === 99) yield* clear
        }
      })
    return yield* Effect.gen(function*() {
      yield* meet(0, 2_000)
      const before = heapBytes()
      yield* meet(2_000, 2_000 + recipients)
      return (heapBytes() - before) / recipients
    }).pipe(Effect.provide(Datastore.layer(Effect.succeed(backend))), Effect.provide(Counter.layer))
  })

const recipients = Number(process.argv[2])
const found: Record<string, number> = {}
for (const course of courses) {
  found[course] = await Effect.runPromise(
    grown(course, recipients).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )
}
console.log(JSON.stringify(found))
