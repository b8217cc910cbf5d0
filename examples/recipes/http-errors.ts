// Every typed failure as an HTTP answer: of a route that emits, and of one that a scheduler calls to process.
// Run: node --conditions=effect-eventbox:source examples/recipes/http-errors.ts
// #region box
import { Effect, Layer, Schema } from "effect"
import { Eventbox, type EventboxError, Key, Processor } from "effect-eventbox"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"

const Vote = Schema.Struct({ choice: Schema.Literals(["yes", "no"]) })

class Poll extends Processor.Service<Poll>()("app/Poll", { kind: "Poll", state: Schema.Int, event: Vote }) {
  static readonly layer = this.toLayer(this.entity({
    initial: () => 0,
    prepareMutation: (events, votes) =>
      Effect.succeed({ transitions: [{ events, transitionTo: votes + events.length }] })
  }))
}
// #endregion

// #region status
/** All that calls of the library fail with. The compiler says so when one is missing here. */
type Failure =
  | EventboxError.ContentionError
  | EventboxError.DatastoreError
  | EventboxError.EventDecodeError
  | EventboxError.EventRejected
  | EventboxError.MailboxOwned
  | EventboxError.StateDecodeError
  | Eventbox.EventFailed
  | Key.KeyError

const statusOf = (error: Failure): number => {
  switch (error._tag) {
    case "KeyError":
      return 400
    case "EventRejected":
      return error.reason._tag === "TooLarge" ? 413 : 400
    case "ContentionError":
      return 503
    case "DatastoreError":
      return statusOfReason(error.reason._tag)
    case "EventDecodeError":
    case "EventFailed":
    case "MailboxOwned":
    case "StateDecodeError":
      return 500
  }
}

const statusOfReason = (reason: EventboxError.DatastoreReason["_tag"]): number => {
  switch (reason) {
    case "AlreadyExists":
      return 409
    case "TooLarge":
      return 413
    case "Unavailable":
    case "DeadlineExceeded":
    case "ResourceExhausted":
    case "Closed":
      return 503
    case "OutcomeUnknown":
      return 504
    case "FailedPrecondition":
    case "Internal":
    case "InvalidArgument":
    case "NotFound":
    case "PermissionDenied":
    case "Unauthenticated":
      return 500
  }
}

/** The client learns the status. What happened goes into the log: messages name keys and ids. */
const answer = (error: Failure) => {
  const status = statusOf(error)
  const response = HttpServerResponse.empty({ status, headers: status === 503 ? { "retry-after": "1" } : {} })
  return status >= 500 ? Effect.as(Effect.logError(error), response) : Effect.succeed(response)
}
// #endregion

// #region routes
/** Users vote. The id in the URL is theirs, so it is checked; `request-id` makes a repeated request harmless. */
const vote = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  const key = yield* Effect.fromResult(Key.makeResult("Poll", request.url.split("/")[2] ?? ""))
  const value = yield* HttpServerRequest.schemaBodyJson(Vote)
  yield* Eventbox.emit(Poll, Poll.recipient(key), value, { id: request.headers["request-id"] })
  return HttpServerResponse.empty({ status: 202 })
}).pipe(
  Effect.catchTag(["SchemaError", "HttpServerError"], () => Effect.succeed(HttpServerResponse.empty({ status: 400 }))),
  Effect.catch(answer)
)

/** A scheduler calls this, and calls again unless the status is 2xx. */
const work = Eventbox.process(Poll, Poll.recipient("p1")).pipe(
  // All others have landed, and to call again would change nothing. Somebody has to look at these events.
  Effect.catchTag("EventFailed", (error) => Effect.as(Effect.logError(error), error.summary)),
  Effect.map(() => HttpServerResponse.empty({ status: 200 })),
  Effect.catch(answer)
)
// #endregion

const layer = Layer.mergeAll(Poll.layer, InMemory.layer)
const route = Effect.gen(function*() {
  const { method } = yield* HttpServerRequest.HttpServerRequest
  return yield* (method === "POST" ? vote : work)
})
const { dispose, handler } = HttpEffect.toWebHandlerLayer(route, layer)

const show = async (method: string, poll: string, id = "", body?: string) => {
  const headers = { "content-type": "application/json", "request-id": id }
  const request = new Request(`http://localhost/polls/${poll}`, { method, headers, body: body ?? null })
  console.log(method, poll, id, "=>", (await handler(request)).status)
}

await show("POST", "p1", "r1", `{"choice":"yes"}`)
await show("POST", "p1", "r1", `{"choice":"yes"}`)
await show("POST", "p1", "r2", `{"choice":"maybe"}`)
await show("POST", "p1", "__r3__", `{"choice":"no"}`)
await show("POST", "__p__", "r4", `{"choice":"no"}`)
await show("GET", "p1")
await dispose()
// Output:
// POST p1 r1 => 202
// POST p1 r1 => 202
// POST p1 r2 => 400
// POST p1 __r3__ => 400
// POST __p__ r4 => 400
// GET p1  => 200
