/**
 * What a run found out, as a person reads it.
 */
import { wrap } from "../command.ts"
import type { Cost, Operation } from "./meter.ts"

/** One thing that was found out. */
export interface Finding {
  readonly title: string
  readonly status: "as assumed" | "differs" | "no answer"
  readonly answer: string
  readonly assumed: string
  /** What to switch on or do; for every status but `as assumed`. */
  readonly advice?: string | undefined
}

/** What was found out in all. */
export interface Verdict {
  readonly findings: ReadonlyArray<Finding>
  readonly spent: Cost
  /** The median time of an operation in milliseconds. */
  readonly medianMillis: (operation: Operation) => number | undefined
  /** How many entities were deleted at the end, or why they could not be. */
  readonly cleaned: { readonly entities: number } | { readonly problem: string }
}

/** 0: everything is as assumed. 1: something differs. 2: not everything could be found out, or cleaned up. */
export const exitCodeOf = ({ cleaned, findings }: Verdict): 0 | 1 | 2 => {
  if (findings.some(({ status }) => status === "differs")) return 1
  return "problem" in cleaned || findings.some(({ status }) => status === "no answer") ? 2 : 0
}

const marks = { "as assumed": "ok", "differs": "DIFFERS", "no answer": "NO ANSWER" }

// Green, red, yellow.
const colorOf = { "as assumed": 32, "differs": 31, "no answer": 33 }

/** A finding as some lines. */
export const formatFinding = ({ advice, answer, assumed, status, title }: Finding, colors = false): string => {
  const mark = marks[status]
  const text = [
    wrap(mark, title, 11),
    wrap("           answer:", answer, 21),
    wrap("           assumed:", assumed, 21),
    ...(advice === undefined ? [] : [wrap("           do:", advice, 21)]),
    ""
  ].join("\n")
  return colors ? `\x1b[${colorOf[status]}m${mark}\x1b[0m${text.slice(mark.length)}` : text
}

/** The last words. */
export const formatVerdict = (verdict: Verdict): string => {
  const { findings } = verdict
  const titles = (status: Finding["status"]) =>
    findings.filter((finding) => finding.status === status).map(({ title }) => wrap("  -", title, 4))
  const [differing, unanswered] = [titles("differs"), titles("no answer")]
  const rest = unanswered.length === 0 ? [] : ["Without an answer:", ...unanswered]
  switch (exitCodeOf(verdict)) {
    case 0:
      return wrap("", "Verdict: GOOD. The database does everything that was asked as eventbox assumes it.", 0)
    case 1:
      return ["Verdict: NOT GOOD. It differs here, see `do` above:", ...differing, ...rest].join("\n")
    case 2:
      return unanswered.length === 0
        ? "Verdict: NOT FINISHED. The answers are as eventbox assumes them,\nbut the namespace could not be emptied."
        : ["Verdict: NOT FINISHED. What was answered is as eventbox assumes it.", ...rest].join("\n")
  }
}
