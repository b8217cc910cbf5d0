import { type Datastore, Eventbox, type EventboxError, Processor } from "effect-eventbox"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { holds, type Same } from "./types.ts"

class Refused extends Schema.TaggedError<Refused>("Refused")("Refused", {}) {}

class Counter extends Processor.Service<Counter>()("app/Counter", {
  kind: "Counter",
  state: Schema.Int,
  event: Schema.Struct({ amount: Schema.Int }),
  error: Refused
}) {}

class Audit extends Processor.Service<Audit>()("app/Audit", {
  kind: "Audit",
  state: Schema.Int,
  event: Schema.Struct({ amount: Schema.Int })
}) {}

const visits = Counter.recipient("visits")

// An event goes only to its own box, and only as the schema says.

// @ts-expect-error Recipient<Audit>
Eventbox.emit(Counter, Audit.recipient("visits"), { amount: 1 })

// @ts-expect-error number
Eventbox.emit(Counter, visits, { amount: "1" })

// @ts-expect-error number
Eventbox.emitAll(Counter, visits, [{ amount: 1 }, { amount: "2" }])

const unnamed = Processor.Service()("app/Unnamed", { kind: "Unnamed", state: Schema.Int, event: Schema.Int })
// @ts-expect-error Missing
export class Unnamed extends unnamed {}

// A sender needs the Datastore and no processor; a worker needs both.

const emitted = Eventbox.emit(Counter, visits, { amount: 1 })
holds<
  Same<
    typeof emitted,
    Effect.Effect<string, EventboxError.DatastoreError | EventboxError.EventRejected, Datastore.Datastore>
  >
>()

const processed = Eventbox.processBatch(Counter, visits)
holds<Same<Effect.Services<typeof processed>, Counter | Datastore.Datastore>>()
holds<
  Same<
    Effect.Error<typeof processed>,
    | Refused
    | EventboxError.ContentionError
    | EventboxError.EventDecodeError
    | EventboxError.MailboxOwned
    | EventboxError.StoreError
  >
>()

// The box without an error schema adds no failures of its own.
const audited = Eventbox.processBatch(Audit, Audit.recipient("log"))
holds<
  Same<
    Effect.Error<typeof audited>,
    | EventboxError.ContentionError
    | EventboxError.EventDecodeError
    | EventboxError.MailboxOwned
    | EventboxError.StoreError
  >
>()

// The callbacks are typed from the schemas.

Counter.entity({
  initial: () => 0,
  prepareMutation: (events, state) => {
    holds<Same<typeof state, number>>()
    holds<Same<typeof events, ReadonlyArray<Processor.Event<{ readonly amount: number }>>>>()
    return Effect.succeed({ transitions: [{ events, transitionTo: state }] })
  }
})

// @ts-expect-error number
Counter.entity({ initial: () => "0", prepareMutation: () => Effect.succeed({ transitions: [] }) })
