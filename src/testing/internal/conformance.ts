/**
 * What every backend must do, as a list of facts that needs no test runner: `DatastoreSuite` makes tests of it.
 */
import * as Effect from "effect/Effect"
import { commitFacts } from "./commitFacts.ts"
import type { Declare, Fact, Options, Topic } from "./fact.ts"
import { raceFacts } from "./raceFacts.ts"
import { readFacts } from "./readFacts.ts"
import { valueFacts } from "./valueFacts.ts"

/** All facts, in the order in which they are best read. */
export const conformance = (options: Options): ReadonlyArray<Fact> => {
  const facts: Array<Fact> = []
  const about = (topic: Topic): Declare => {
    const fact: Declare["fact"] = (name, check) => {
      facts.push({ name, topic, check: Effect.suspend(check) })
    }
    return { fact, each: (table, name, check) => table.forEach((row) => fact(name(row), () => check(row))) }
  }
  readFacts(about("reading"), options)
  commitFacts(about("commits"))
  valueFacts(about("values and limits"), options)
  raceFacts(about("races"), options)
  return facts
}
