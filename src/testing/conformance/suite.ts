/**
 * What every backend must do, as a list of facts that needs no test runner: `DatastoreSuite` makes tests of it.
 */
import * as Effect from "effect/Effect"
import { commitFacts } from "./commits.ts"
import type { Declare, Fact, Options, Topic } from "./fact.ts"
import { raceFacts } from "./races.ts"
import { readFacts } from "./reads.ts"
import { setup } from "./setting.ts"
import { valueFacts } from "./values.ts"

/** All facts, in the order in which they are best read. */
export const conformance = (options: Options): ReadonlyArray<Fact> => {
  const facts: Array<Fact> = []
  const about = (topic: Topic): Declare => {
    const fact: Declare["fact"] = (name, check) => {
      facts.push({ name, topic, check: Effect.flatMap(setup, (place) => Effect.gen(() => check(place))) })
    }
    return {
      fact,
      each: (table, name, check) => table.forEach((row) => fact(name(row), (place) => check(row, place)))
    }
  }
  readFacts(about("reading"), options)
  commitFacts(about("commits"))
  valueFacts(about("values and limits"), options)
  raceFacts(about("races"), options)
  return facts
}
