import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, References, Schedule } from "effect"
import type { Backend } from "../../src/Backend.ts"
import * as Datastore from "../../src/Datastore.ts"
import { lockCount, setCount } from "../../src/dsset/memory.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import { Aborted, ContentionError, DatastoreError, Unavailable } from "../../src/EventboxError.ts"
import * as InMemory from "../../src/layers/InMemory.ts"
import { Journal, withJournal } from "../utils/boxJournal.ts"
import { settle } from "../utils/settle.ts"

/** What goes wrong at the moment. */
interface Trouble {
  query: "fails" | "hangs" | undefined
  commit: "loses" | undefined
}

const down = new DatastoreError({ operation: "query", reason: new Unavailable({ detail: "down" }) })
const lost = new ContentionError({ reason: new Aborted({}) })

const troubled = (backend: Backend, trouble: Trouble): Backend => ({
  ...backend,
  query: (query) =>
    Effect.suspend(() => {
      if (trouble.query === undefined) return backend.query(query)
      return trouble.query === "hangs" ? Effect.never : Effect.fail(down)
    }),
  commit: (request) =>
    Effect.suspend(() => {
      if (trouble.commit === undefined || request.expected.length === 0) return backend.commit(request)
      return Effect.fail(lost)
    })
})

const once = { retry: Schedule.recurs(0) }

/** Starts an effect, and interrupts it once it waits. */
const interrupted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    yield* settle
    yield* Fiber.interrupt(fiber)
  })

type Recipient = ReturnType<typeof Journal.recipient>
const emit = (recipient: Recipient) => Eventbox.emit(Journal, recipient, "a")
const process = (recipient: Recipient) => Eventbox.process(Journal, recipient, once)

/** What a process may go through with one recipient. */
const courses: Record<string, (recipient: Recipient, trouble: Trouble) => Effect.Effect<unknown, unknown, any>> = {
  "that have no events": process,
  "whose events it consumed": (recipient) => Effect.andThen(emit(recipient), process(recipient)),
  "that it drained in several batches": (recipient) =>
    Effect.andThen(
      Eventbox.emitAll(Journal, recipient, ["a", "b", "c"]),
      Eventbox.drain(Journal, recipient, { maxEvents: 1 })
    ),
  "whose listings failed": (recipient, trouble) => {
    trouble.query = "fails"
    return Effect.flip(process(recipient))
  },
  "whose listings were interrupted": (recipient, trouble) => {
    trouble.query = "hangs"
    return interrupted(process(recipient))
  },
  "whose batches lost a race": (recipient, trouble) => {
    trouble.commit = "loses"
    return Effect.andThen(emit(recipient), Effect.flip(process(recipient)))
  },
  "whose batches were interrupted before the commit": (recipient) =>
    Effect.andThen(
      emit(recipient),
      interrupted(
        Effect.provideServiceEffect(
          process(recipient),
          Journal,
          Journal.entity({ initial: () => [], prepareMutation: () => Effect.never })
        )
      )
    ),
  "that were inspected": (recipient) => Eventbox.list(Journal, recipient),
  "whose emits died": (recipient) =>
    Effect.exit(Effect.andThen(emit(recipient), Datastore.withTransaction(process(recipient))))
}

describe("a process that met 100 recipients", () => {
  for (const [name, course] of Object.entries(courses)) {
    it.effect(`${name} remembers none of them`, () =>
      Effect.gen(function*() {
        const { backend } = yield* InMemory.makeStore
        const trouble: Trouble = { query: undefined, commit: undefined }
        const datastore = yield* Datastore.make(troubled(backend, trouble))
        for (let n = 0; n < 100; n++) {
          yield* Effect.provideService(course(Journal.recipient(`r${n}`), trouble), Datastore.Datastore, datastore)
        }
        yield* settle

        // Who lost a race to items alone is patient until a batch lands: a flag each, of 10,000 recipients at most.
        const patient = name === "whose batches lost a race" ? 100 : 0
        assert.deepStrictEqual([setCount(datastore), lockCount(datastore)], [patient, 0])
      }).pipe(withJournal(), Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))
  }
})
