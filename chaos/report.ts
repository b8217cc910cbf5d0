/**
 * What the user of a chaos run sees.
 */
import { formatRows, formatVerdict, percent, type Row, tenths, whole } from "../examples/ledger/report.ts"
import { wrap } from "../src/cli/command.ts"
import { type Count, type CutKind, cutKinds, cutsOf, type Strikes } from "./nemesis.ts"
import type { Options } from "./options.ts"
import type { Progress, Result } from "./run.ts"

/** What is said before anything happens. */
export const formatHead = ({ accounts, cuts, kills, senders, transfers, workers }: Options): string =>
  wrap(
    "",
    `Chaos on the emulator: ${whole(transfers)} transfers among ${whole(accounts)} accounts, ${workers} processes of ` +
      `workers, ${senders} of senders; at least ${whole(kills)} kills and ${whole(cuts)} cuts`,
    0
  )

/** How far it is. */
export const progressLine = ({ strikes, tally }: Progress, options: Options, seconds: number): string =>
  `${tenths(seconds)} s: ${whole(strikes.kills.total)} of ${whole(options.kills)} kills, ` +
  `${whole(cutsOf(strikes))} of ${whole(options.cuts)} cuts; sent ${whole(tally.sent)} of ` +
  `${whole(options.transfers)}, ${whole(tally.batches)} batches`

const meanings: Readonly<Record<CutKind, string>> = {
  before: "before the request was forwarded",
  after: "after the answer was there",
  late: "with the request forwarded after the cut"
}

const hits = ({ onCommit, onRequest }: Count): string =>
  `${whole(onRequest)} hit a request under way, ${whole(onCommit)} a commit`

const strikeRows = ({ cuts, kills }: Strikes, starts: number, processes: number): ReadonlyArray<Row> => [
  ["kills", whole(kills.total), hits(kills)],
  ["restarts", whole(starts - processes), `of ${processes} processes`],
  ...cutKinds.map((kind): Row => [`cuts ${kind}`, whole(cuts[kind].total), `${meanings[kind]}: ${hits(cuts[kind])}`])
]

/** The table of a run, and what the check says. */
export const formatResult = (options: Options, result: Result): string => {
  const { elapsedMillis, starts, strikes, tally, verdict } = result
  const { batches, contention, events, foundFenced, foundLanded, foundLost, notFound, resent, settled } = tally
  const rows: ReadonlyArray<Row> = [
    ...strikeRows(strikes, starts, options.workers + options.senders),
    ["unanswered", whole(tally.unanswered), "commits of senders and workers without an answer"],
    [
      "found out",
      whole(foundLanded + foundLost + foundFenced),
      `batches of them: ${whole(foundLanded)} landed, ${whole(foundLost)} lost a race, ${whole(foundFenced)} fenced; ` +
      `${whole(notFound)} not found out`
    ],
    ["resent", whole(resent), "emits that a sender made again, with the same id"],
    ["contention", whole(contention), `${percent(contention, batches + contention)} of the batches lost a race`],
    [
      "transfers",
      whole(options.transfers),
      `${whole(verdict.paid)} paid, ${whole(verdict.refused)} refused, ${whole(verdict.returned)} returned`
    ],
    ["batches", whole(batches), `landed, with ${whole(events)} events, as far as told before a kill`],
    ["receipts", whole(settled), "written after the commit; some die with their process"],
    ["time", `${tenths(elapsedMillis / 1_000)} s`, ""]
  ]
  const text = [...formatRows(rows), "", formatVerdict(verdict)].join("\n")
  return verdict.problems.length === 0
    ? text
    : `${text}\nHow to read this: docs/guides/chaos.md. To decide the same again: --seed ${options.seed}`
}
