/**
 * A database whose calls pass a gate: to be written down, held back, or answered in its stead.
 */
import type * as Effect from "effect/Effect"
import type { Backend } from "../../Backend.ts"
import type { Call } from "../Recorder.ts"

/** A backend whose calls pass a gate, which is told what is asked and what would run. */
export const gated = (
  backend: Backend,
  pass: <A, E>(call: Call, run: Effect.Effect<A, E>) => Effect.Effect<A, E>
): Backend => ({
  lookup: (keys) => pass({ operation: "lookup", keys }, backend.lookup(keys)),
  query: (query) => pass({ operation: "query", query }, backend.query(query)),
  commit: (request) => pass({ operation: "commit", request }, backend.commit(request)),
  limits: backend.limits
})
