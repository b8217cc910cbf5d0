/**
 * What the user sees: a line while it runs, a table and a verdict at the end.
 */
import { Clock, Effect, type Scope } from "effect"
import { wrap } from "../../src/cli/command.ts"
import { money, type Verdict } from "./check.ts"
import type { Options } from "./options.ts"
import type { Result } from "./run.ts"
import type { Tally } from "./tally.ts"

/** Where the progress line goes. */
export interface Terminal {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly write: (text: string) => unknown
}

/** A number with thousands separators. */
export const whole = (value: number): string => value.toLocaleString("en-US", { maximumFractionDigits: 0 })
/** A number with one decimal. */
export const tenths = (value: number): string =>
  value.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })

/** A part of a whole in percent, 0 of nothing. */
export const percent = (part: number, total: number): string => `${whole(total === 0 ? 0 : 100 * part / total)} %`

const progressLine = (tally: Tally, transfers: number, seconds: number): string => {
  const { batches, contention, sent, settled } = tally
  const share = percent(contention, batches + contention)
  return `${tenths(seconds)} s: sent ${whole(sent)}, settled ${whole(settled)} of ${whole(transfers)}; ` +
    `${whole(batches)} batches, ${share} contention`
}

/** Shows how far the run has come until the scope closes, as {@link showLine} does. */
export const showProgress =
  (terminal: Terminal, transfers: number) => (tally: () => Tally): Effect.Effect<void, never, Scope.Scope> =>
    showLine(terminal, (seconds) => progressLine(tally(), transfers, seconds))

/**
 * Shows a line until the scope closes: one that is rewritten ten times a second on a terminal, a new one every two
 * seconds elsewhere.
 */
export const showLine = (
  terminal: Terminal,
  lineAfter: (seconds: number) => string
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const start = yield* Clock.currentTimeMillis
    const isLive = terminal.isTTY === true
    const show = Effect.map(Clock.currentTimeMillis, (now) => {
      const line = lineAfter((now - start) / 1_000)
      terminal.write(isLive ? `\r\x1b[K${line.slice(0, (terminal.columns ?? 80) - 1)}` : `${line}\n`)
    })
    if (isLive) {
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          terminal.write("\r\x1b[K")
        })
      )
    }
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(isLive ? 100 : 2_000), show)))
  })

const where = { memory: "in memory", emulator: "on the emulator", google: "on Google's service" }

const headline = (options: Options): string => {
  const { accounts, datastore, processes, seed, senders, transfers, workers } = options
  const inside = `in ${processes} ${processes === 1 ? "process" : "processes"}`
  return wrap(
    "",
    `Ledger ${where[datastore]}: ${whole(transfers)} transfers among ${whole(accounts)} accounts, ` +
      `${whole(senders)} senders, ${whole(workers)} workers ${inside}, seed ${JSON.stringify(seed)}`,
    0
  )
}

/** The table of a run. */
export const formatResult = (options: Options, { elapsedMillis, tally, verdict }: Result): string => {
  const { batches, contention, deletes, events, idle, resent, rounds, rpcs, transient } = tally
  const seconds = Math.max(elapsedMillis, 1) / 1_000
  const perBatch = (value: number): number => batches === 0 ? 0 : value / batches
  const rows: ReadonlyArray<Row> = [
    ["transfers", whole(options.transfers), endsOf(verdict)],
    ["resent", whole(resent), "emitted twice with one id, which must change nothing"],
    ["events", whole(events), `${tenths(perBatch(events))} per batch`],
    ["batches", whole(batches), `landed; ${whole(idle)} more looks found nothing to do`],
    [
      "contention",
      whole(contention),
      `${percent(contention, batches + contention)} of the batches that were tried lost a race`
    ],
    ["retries", whole(contention + transient), `after contention, and ${whole(transient)} after transient errors`],
    ["round trips", tenths(perBatch(rounds)), "per batch that landed, before its result"],
    [
      "RPCs",
      tenths(perBatch(rpcs)),
      `per batch that landed; ${tenths(perBatch(deletes))} more delete garbage`
    ],
    [
      "throughput",
      whole(events / seconds),
      `events per second, ${whole(options.transfers / seconds)} transfers per second`
    ],
    ["time", `${tenths(seconds)} s`, "from the first transfer sent until the last worker was done"]
  ]
  return [headline(options), "", ...formatRows(rows), "", formatVerdict(verdict)].join("\n")
}

/** A line of a table. */
export type Row = readonly [name: string, value: string, note: string]

/** The lines of a table. */
export const formatRows = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => {
  const widest = Math.max(...rows.map(([, value]) => value.length))
  return rows.map(([name, value, note]) =>
    wrap(`  ${name.padEnd(12)}${value.padStart(widest)}`, note, widest + 16).trimEnd()
  )
}

const endsOf = ({ paid, refused, returned }: Verdict): string =>
  `${whole(paid)} paid, ${whole(refused)} refused for want of money, ${whole(returned)} returned by unopened accounts`

const maxShown = 20

/** What the check found, in words. */
export const formatVerdict = ({ cents, openedCents, problems }: Verdict): string => {
  if (problems.length === 0) {
    return wrap(
      "",
      `The books balance: accounts were opened with ${money(openedCents)} and hold ${money(cents)}; every transfer ` +
        "was applied exactly once; nothing is outstanding.",
      0
    )
  }
  const more = problems.length - maxShown
  return [
    `The books do NOT balance, ${whole(problems.length)} ${problems.length === 1 ? "problem" : "problems"}:`,
    ...problems.slice(0, maxShown).map((problem) => `  ${problem}`),
    ...(more > 0 ? [`  and ${whole(more)} more`] : [])
  ].join("\n")
}
