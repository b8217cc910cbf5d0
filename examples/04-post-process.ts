// A post-process effect runs after the commit, outside of it: for what cannot be undone, such as sending mail.
// Run: node --conditions=effect-eventbox:source examples/04-post-process.ts
import { Cause, Effect, References, Schedule, Schema } from "effect"
import { Eventbox, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"

class MailError extends Schema.TaggedError<MailError>()("MailError", { to: Schema.String }) {
  override get message() {
    return `no mailbox for ${this.to}`
  }
}

let tries = 0
const sendMail = (to: string) =>
  Effect.suspend(() => {
    tries++
    if (to === "nobody" || tries === 1) return Effect.fail(new MailError({ to }))
    return Effect.sync(() => console.log("mail to", to))
  })

class Signup extends Processor.Service<Signup>()("app/Signup", {
  kind: "List",
  state: Schema.Array(Schema.String),
  event: Schema.Struct({ name: Schema.String }),
  error: MailError // makes it the type of this box's own failures
}) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => [],
    prepareMutation: (events, before) => {
      let members = before
      const transitions = events.map((event) => {
        members = [...members, event.value.name]
        return { events: [event], transitionTo: members, postProcess: sendMail(event.value.name) }
      })
      return Effect.succeed({ transitions })
    }
  }))
}

const list = Signup.recipient("news")

const program = Effect.gen(function*() {
  yield* Eventbox.emitAll(Signup, list, [{ name: "ada" }, { name: "nobody" }, { name: "grace" }])

  // `process` runs them in order, each with this schedule; `processBatch` returns them instead.
  const summary = yield* Eventbox.process(Signup, list, { postProcess: Schedule.recurs(2) }).pipe(
    // One that fails for good is a warning in the log, too, with the time of day: not in this output.
    Effect.provideService(References.MinimumLogLevel, "Error")
  )
  console.log("consumed:", summary.consumed, "post-processed:", summary.postProcessed)
  console.log("failed:", summary.postProcessFailures.map(Cause.squash).map(String))

  // The batch has landed whatever became of the mails.
  console.log("members:", (yield* Eventbox.loadState(Signup, list)).state)
})

await Effect.runPromise(program.pipe(Effect.provide([Signup.layer, InMemory.layer])))
// Output:
// mail to ada
// mail to grace
// consumed: 3 post-processed: 2
// failed: [ 'MailError: no mailbox for nobody' ]
// members: [ 'ada', 'nobody', 'grace' ]
