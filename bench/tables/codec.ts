/**
 * The CPU of the way between bytes and values, beside the plain API of `@google-cloud/datastore`.
 */
import { Effect } from "effect"
import { type Spread, spreadOf } from "../measure.ts"
import { byEffort, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatSpread, formatTable } from "../table.ts"
import {
  type Codec,
  type Load,
  makeAnswers,
  makeLibraryCodec,
  makePlainCodec,
  type Operation
} from "../workloads/codecs.ts"

/** One operation on one load. */
export interface CodecRow extends Load {
  readonly operation: Operation
  /** CPU of one entity. */
  readonly plainMicros: Spread
  readonly libraryMicros: Spread
}

/** What was measured. */
export interface CodecData {
  readonly rows: ReadonlyArray<CodecRow>
  readonly samples: number
}

const operations: ReadonlyArray<Operation> = ["runQuery", "get", "save"]

const loadsOf = ({ effort }: Setting): ReadonlyArray<Load> =>
  byEffort(effort, { smoke: [10], ordinary: [10, 1_000, 10_000], full: [10, 1_000, 10_000] }).flatMap((items) =>
    [100, 10_000].map((payloadBytes) => ({ items, payloadBytes }))
  )

const measure = (setting: Setting): Effect.Effect<CodecData, unknown> =>
  Effect.promise(async () => {
    const samples = setting.samples ?? byEffort(setting.effort, { smoke: 2, ordinary: 9, full: 25 })
    const rows: Array<CodecRow> = []
    for (const load of loadsOf(setting)) {
      const answers = makeAnswers(load)
      const library = makeLibraryCodec(load, answers)
      const plain = await makePlainCodec(load, answers)
      for (const operation of operations) {
        rows.push(await compare(operation, load, { library, plain }, samples, setting))
      }
    }
    return { rows, samples }
  })

const compare = async (
  operation: Operation,
  load: Load,
  { library, plain }: { readonly library: Codec; readonly plain: Codec },
  samples: number,
  { effort }: Setting
): Promise<CodecRow> => {
  // As many calls as make a sample that is long beside the collections of garbage.
  const repeats = effort === "smoke"
    ? 1
    : Math.max(1, Math.round(4_000 / load.items / (load.payloadBytes > 1_000 ? 4 : 1)))
  const found = { library: [] as Array<number>, plain: [] as Array<number> }
  const contestants = [["library", library], ["plain", plain]] as const
  for (let round = -2; round < samples; round++) {
    for (const [name, codec] of round % 2 === 0 ? contestants : contestants.toReversed()) {
      const begin = process.cpuUsage()
      for (let repeat = 0; repeat < repeats; repeat++) check(await codec(operation), load, name)
      const { system, user } = process.cpuUsage(begin)
      // The first rounds are for the compiler of the engine.
      if (round >= 0) found[name].push((user + system) / repeats / load.items)
    }
  }
  return { ...load, operation, plainMicros: spreadOf(found.plain), libraryMicros: spreadOf(found.library) }
}

const check = (bytes: number, { items, payloadBytes }: Load, name: string): void => {
  if (bytes !== items * payloadBytes) throw new Error(`${name} saw ${bytes} bytes, must see ${items * payloadBytes}`)
}

const report = ({ rows, samples }: CodecData): string =>
  [
    `${samples} samples each, in turn; median (least..greatest) of us CPU per entity`,
    formatTable(
      ["OPERATION", "entities", "bytes of payload", "plain API", "this library", "to plain"],
      rows.map(({ items, libraryMicros, operation, payloadBytes, plainMicros }) => [
        operation,
        formatNumber(items),
        formatNumber(payloadBytes),
        formatSpread(plainMicros),
        formatSpread(libraryMicros),
        `x ${formatNumber(plainMicros.median / libraryMicros.median)}`
      ])
    ),
    [
      "From the bytes of a response to values and from values to the bytes of a request, with all that the two do between",
      "them and gRPC: the plain API's `runQuery`, `get` and `save` over the (de)serializers of its own stub, and",
      "`Datastore.query`, `getAll` and `put`, both answered from memory. to plain: how many times less CPU this library takes."
    ].join("\n")
  ].join("\n\n")

const losses = ({ rows }: CodecData): ReadonlyArray<string> =>
  rows.filter(({ libraryMicros, plainMicros }) => plainMicros.median < libraryMicros.median).map((row) =>
    `${row.operation} of ${formatNumber(row.items)} entities of ${formatNumber(row.payloadBytes)} bytes: ` +
    `${formatNumber(row.libraryMicros.median)} us CPU per entity, the plain API ${formatNumber(row.plainMicros.median)}`
  )

/** The table. */
export const codec: Table<CodecData> = {
  name: "codec",
  question: "What does the way between bytes and values cost?",
  needsEmulator: false,
  measure,
  report,
  losses
}
