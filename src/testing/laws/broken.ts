/**
 * A broken law, on its way from where it was seen to the report.
 */
import * as Effect from "effect/Effect"

/** The laws by name; `ProcessorLaws.Law` says what each of them is. */
export const names = [
  "Schema",
  "Pure",
  "Input",
  "Success",
  "Batch",
  "Decision",
  "Save",
  "Updates",
  "Garbage",
  "Concurrency"
] as const

/** The name of a law. */
export type Name = (typeof names)[number]

/** An event as text. */
export interface ShownEvent {
  readonly id: string
  /** Its value as JSON text. */
  readonly text: string
}

/** Where something is seen. */
export interface Place {
  /** The state as text, where there is one. */
  readonly state?: string | undefined
  readonly events?: ReadonlyArray<ShownEvent>
}

/** Which law was seen broken, and how. */
export interface Broken extends Place {
  readonly _tag: "Broken"
  readonly law: Name
  /** What is wrong, in one sentence without its end. */
  readonly summary: string
  /** What shows it, line by line. */
  readonly detail: ReadonlyArray<string>
  readonly cause?: unknown
}

/** Fails with a law that was seen broken. */
export const broken = (
  law: Name,
  summary: string,
  detail: ReadonlyArray<string>,
  { events, state }: Place = {},
  cause?: unknown
): Effect.Effect<never, Broken> =>
  Effect.fail({ _tag: "Broken", law, summary, detail, state, ...(events && { events }), cause })
