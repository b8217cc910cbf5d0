/**
 * All tables, in the order in which they are measured and printed.
 */
import type { Table } from "./setting.ts"
import { backlog } from "./tables/backlog.ts"
import { batches } from "./tables/batches.ts"
import { codec } from "./tables/codec.ts"
import { hot } from "./tables/hot.ts"
import { imports } from "./tables/imports.ts"
import { many } from "./tables/many.ts"
import { memory } from "./tables/memory.ts"
import { minutes } from "./tables/minutes.ts"
import { roundTrips } from "./tables/roundTrips.ts"

/** All tables. */
export const tables: ReadonlyArray<Table<any>> = [
  batches,
  roundTrips,
  minutes,
  backlog,
  hot,
  many,
  memory,
  codec,
  imports
]
