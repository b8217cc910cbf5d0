/**
 * A further check of the books: does every account have one past, step by step, without a fork or a gap?
 *
 * Every move of an account carries its place among its moves, so two batches that went on from one state show as two
 * moves at one place, and one that was overwritten as a state that counts fewer moves than are posted.
 */
import type { Plan, Posting, Transfer } from "./bank.ts"
import { type Books, money } from "./check.ts"

/** What is wrong with the pasts of the accounts; empty when all are linear. */
export const checkHistories = ({ accounts, transfers }: Plan, { pasts, postings }: Books): ReadonlyArray<string> => {
  const ordered = new Map(transfers.map((transfer) => [transfer.id, transfer]))
  const byAccount = Map.groupBy(postings, ({ account }) => account)
  return Array.from(accounts.keys()).flatMap((name) => {
    const own = byAccount.get(name) ?? []
    const moves = own.filter(({ kind }) => kind !== "refused" && kind !== "returned")
    const after = balances(moves)
    return [
      ...order(moves),
      ...saves(moves.length, pasts.get(name) ?? { moves: 0, eversion: 0 }),
      ...overdrawn(after),
      ...refusals(own, after, ordered)
    ].map((problem) => `account ${name}: ${problem}`)
  })
}

/** Every place from the first to the last is taken once. */
const order = (moves: ReadonlyArray<Posting>): ReadonlyArray<string> => {
  const byPlace = Map.groupBy(moves, ({ nth }) => nth)
  const problems: Array<string> = []
  for (let nth = 1; nth <= moves.length; nth++) {
    const here = byPlace.get(nth) ?? []
    byPlace.delete(nth)
    if (here.length === 0) problems.push(`its move ${nth} is missing`)
    if (here.length > 1) problems.push(`its move ${nth} was made ${here.length} times, by ${here.map(show).join(", ")}`)
  }
  for (const [nth, beyond] of byPlace) problems.push(`${beyond.map(show).join(", ")} is its move ${nth}, after a gap`)
  return problems
}

const show = ({ kind, transfer }: Posting): string => transfer === "" ? kind : `${kind} ${transfer}`

/** The state counts what is posted, and was saved at least once for it and at most once for each move. */
const saves = (posted: number, past: { readonly moves: number; readonly eversion: number }): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (past.moves !== posted) problems.push(`its state counts ${past.moves} moves, its postings ${posted}`)
  if (past.eversion > posted || (past.eversion === 0 && posted > 0)) {
    problems.push(`its state was saved ${past.eversion} times, for ${posted} moves`)
  }
  return problems
}

/** What an account held after each of its moves; nothing before the first. */
const balances = (moves: ReadonlyArray<Posting>): ReadonlyArray<number> => {
  const after = [0]
  for (const { cents } of moves.toSorted((self, that) => self.nth - that.nth)) after.push(after.at(-1)! + cents)
  return after
}

const overdrawn = (after: ReadonlyArray<number>): ReadonlyArray<string> => {
  const nth = after.findIndex((balance) => balance < 0)
  return nth === -1 ? [] : [`overdrawn after its move ${nth}, ${money(after[nth]!)}`]
}

/** A transfer is refused only where the money was not there. */
const refusals = (
  postings: ReadonlyArray<Posting>,
  after: ReadonlyArray<number>,
  ordered: ReadonlyMap<string, Transfer>
): ReadonlyArray<string> =>
  postings.flatMap(({ kind, nth, transfer }) => {
    const held = after[nth]
    const cents = ordered.get(transfer)?.cents ?? 0
    if (kind !== "refused" || held === undefined || held < cents) return []
    return [`refused ${transfer} of ${money(cents)} after its move ${nth}, when it held ${money(held)}`]
  })
