import { Effect, Option, Schema } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Eventbox from "../../src/Eventbox.ts"
import * as Processor from "../../src/Processor.ts"
import * as Outstanding from "../../src/testing/Outstanding.ts"

/** A processor's own failure. */
export class Refused extends Schema.TaggedError<Refused>("test/Refused")("Refused", { why: Schema.String }) {}

/** A box whose state is the list of all values that it has consumed. */
export class Journal extends Processor.Service<Journal>()("test/Journal", {
  kind: "Journal",
  state: Schema.Array(Schema.String),
  event: Schema.String,
  error: Refused
}) {}

type State = ReadonlyArray<string>
export type JournalProcessor = Processor.Processor<Journal, State, string, Refused>
export type JournalEvents = ReadonlyArray<Processor.Event<string>>
export type JournalMutation = Processor.Mutation<State, string, Refused>

/** The recipient that most tests are about. */
export const journal = Journal.recipient("one")

/** Appends the values of all events to the state, in one transition. */
export const consumeAll = (events: JournalEvents, state: State): JournalMutation => ({
  transitions: [{ events, transitionTo: events.length === 0 ? state : [...state, ...events.map(({ value }) => value)] }]
})

/** A processor whose state lives in the recipient's entity, and that decides at once. */
export const deciding = (
  decide: (events: JournalEvents, state: State) => JournalMutation = consumeAll
): Effect.Effect<JournalProcessor> =>
  Journal.entity({
    initial: () => [],
    prepareMutation: (events, state) => Effect.sync(() => decide(events, state))
  })

/** Provides a processor that decides at once; it consumes all unless told otherwise. */
export const withJournal = (decide?: Parameters<typeof deciding>[0]) =>
  Effect.provideServiceEffect(Journal, deciding(decide))

/** A processor whose callbacks die unless a test expects them. */
export const mock = (callbacks: Partial<JournalProcessor>): JournalProcessor => ({
  loadState: () => Effect.succeed({ state: [], eversion: Processor.EVersion.make(0) }),
  prepareMutation: () => Effect.die(new Error("nobody expected prepareMutation")),
  fetchEVersion: () => Effect.die(new Error("nobody expected fetchEVersion")),
  saveState: () => Effect.die(new Error("nobody expected saveState")),
  ...callbacks
})

/** Provides {@link mock}. */
export const withMock = (callbacks: Partial<JournalProcessor>) => Effect.provideService(Journal, mock(callbacks))

/** The entity of a recipient: its state and version, `undefined` when there is none. */
export const saved = (recipient: Processor.Recipient<Journal> = journal) =>
  Effect.map(Datastore.get(recipient.key), (found) => {
    const properties = Option.getOrUndefined(found)?.properties
    return properties === undefined
      ? undefined
      : { state: JSON.parse(String(properties["State"])) as State, eversion: properties["EVersion"] }
  })

/** Emits values, one after the other. */
export const emit = (values: ReadonlyArray<string>, recipient: Processor.Recipient<Journal> = journal) =>
  Effect.forEach(values, (value) => Eventbox.emit(Journal, recipient, value))

/** Values of the outstanding events. */
export const pending = (recipient: Processor.Recipient<Journal> = journal) =>
  Effect.map(Outstanding.events(Journal, recipient), (events) => events.map(({ value }) => value))

export const version = (n: number) => Processor.EVersion.make(n)
