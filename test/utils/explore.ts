import { Effect, Option } from "effect"
import * as Datastore from "../../src/Datastore.ts"
import * as Entity from "../../src/Entity.ts"
import * as Key from "../../src/Key.ts"
import * as Explore from "../../src/testing/Explore.ts"

/** Whether the explorations that take minutes run too. */
export const isLong = process.env["EVENTBOX_LONG"] === "1"

/** Prints what an exploration covered, and gives it on. */
export const printed = <E, R>(
  title: string,
  exploration: Effect.Effect<Explore.Report, E, R>
): Effect.Effect<Explore.Report, E, R> =>
  Effect.tap(exploration, (report) => Effect.sync(() => console.log(`${title}: ${Explore.format(report)}`)))

/**
 * A record that an event was applied by one attempt of one worker. It is written blindly under a key of its own, so two
 * attempts that apply one event leave two records.
 */
export const applied = (attempt: string, ids: ReadonlyArray<string>) =>
  Datastore.put(ids.map((id) => Entity.make(Key.make("Applied", `${id} ${attempt}`), { id, attempt })))

/** The records of {@link applied} that are stored. */
export const allApplied = Effect.map(
  Datastore.query({ kind: "Applied" }),
  ({ results }) =>
    results.map(({ entity }) => {
      const { attempt, id } = Option.getOrThrow(entity).properties
      return { attempt: String(attempt), id: String(id) }
    })
)

/** How often each of some ids is among others. */
export const countEach = (ids: ReadonlyArray<string>, among: ReadonlyArray<string>): ReadonlyArray<number> =>
  ids.map((id) => among.filter((other) => other === id).length)
