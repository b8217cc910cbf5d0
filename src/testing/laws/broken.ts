/**
 * A broken law, on its way from where it was seen to the report.
 */

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

/** Which law was seen broken, and how. */
export class Broken {
  readonly _tag = "Broken"
  readonly law: Name
  /** What is wrong, in one sentence without its end. */
  readonly summary: string
  /** What shows it, line by line. */
  readonly detail: ReadonlyArray<string>
  /** The state in which it was seen, where there was one. */
  readonly state: string | undefined
  /** The events that it was seen with. */
  readonly events: ReadonlyArray<ShownEvent>
  readonly cause: unknown

  constructor(options: {
    readonly law: Name
    readonly summary: string
    readonly detail?: ReadonlyArray<string> | undefined
    readonly state?: string | undefined
    readonly events?: ReadonlyArray<ShownEvent> | undefined
    readonly cause?: unknown
  }) {
    this.law = options.law
    this.summary = options.summary
    this.detail = options.detail ?? []
    this.state = options.state
    this.events = options.events ?? []
    this.cause = options.cause
  }
}
