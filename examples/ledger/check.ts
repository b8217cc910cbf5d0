/**
 * The final check: do the stored books show every transfer applied exactly once, and not a cent lost or made?
 *
 * It knows what was to be transferred and what is stored, and nothing of what workers counted or believed.
 */
import { Effect, Option, Schedule, Schema } from "effect"
import { Datastore, type Entity, Eventbox, type EventboxError, type Key } from "effect-eventbox"
import { Account, accountOf, type Plan, type Posting, PostingKind, postingKind, type Transfer } from "./bank.ts"

/** What is stored when all is over. */
export interface Books {
  /** Cents by account, as its entity says; 0 for one that has no entity. */
  readonly balances: ReadonlyMap<string, number>
  readonly postings: ReadonlyArray<Posting>
  /** What the entities of accounts say of their past, by account. */
  readonly pasts: ReadonlyMap<string, Past>
  /** Accounts at which events still wait, and how many. */
  readonly outstanding: ReadonlyMap<string, number>
}

/** What an account's entity says of its past. */
export interface Past {
  /** Moves that its state counts. */
  readonly moves: number
  /** How often the state was saved. */
  readonly eversion: number
}

/** What the check found. */
export interface Verdict {
  /** What is wrong; empty when the books balance. */
  readonly problems: ReadonlyArray<string>
  /** How the transfers ended. */
  readonly paid: number
  readonly refused: number
  readonly returned: number
  /** Cents that all accounts hold, and cents that they were opened with. */
  readonly cents: number
  readonly openedCents: number
}

/** The ways in which a transfer may end: its postings, each exactly once. */
const endings = {
  paid: ({ cents, from, to }: Transfer) => [line("withdrawn", from, -cents), line("deposited", to, cents)],
  refused: ({ from }: Transfer) => [line("refused", from, 0)],
  returned: ({ cents, from, to }: Transfer) => [
    line("withdrawn", from, -cents),
    line("returned", to, 0),
    line("refunded", from, cents)
  ]
}

const line = (kind: string, account: string, cents: number): string => `${kind} ${account} ${cents}`

/** Judges the books. */
export const check = ({ accounts, transfers }: Plan, { balances, outstanding, postings }: Books): Verdict => {
  const problems: Array<string> = []
  const byTransfer = Map.groupBy(postings, ({ transfer }) => transfer)
  const ends = { paid: 0, refused: 0, returned: 0 }
  for (const transfer of transfers) {
    const actual = (byTransfer.get(transfer.id) ?? []).map(({ account, cents, kind }) => line(kind, account, cents))
    const end = (Object.keys(endings) as Array<keyof typeof endings>).find((name) =>
      isSame(endings[name](transfer), actual)
    )
    if (end === undefined) problems.push(`transfer ${show(transfer)}: ${describe(actual)}`)
    else ends[end]++
    byTransfer.delete(transfer.id)
  }
  const openings = byTransfer.get("") ?? []
  byTransfer.delete("")
  for (const [id, stray] of byTransfer) problems.push(`${stray.length} postings of ${id}, which nobody ordered`)

  const byAccount = Map.groupBy(postings, ({ account }) => account)
  for (const [account, openedCents] of accounts) {
    const opened = openings.filter((posting) => posting.account === account)
    const expected = openedCents === 0 ? 0 : 1
    if (opened.length !== expected || opened.some(({ cents }) => cents !== openedCents)) {
      problems.push(`account ${account}: opened ${opened.length} times, should be ${expected}`)
    }
    const balance = balances.get(account) ?? 0
    const posted = sum((byAccount.get(account) ?? []).map(({ cents }) => cents))
    if (balance !== posted) {
      problems.push(`account ${account}: holds ${money(balance)}, its postings say ${money(posted)}`)
    }
    if (balance < 0) problems.push(`account ${account}: overdrawn, ${money(balance)}`)
  }
  for (const [account, waiting] of outstanding) problems.push(`account ${account}: ${waiting} events still wait`)

  const cents = sum(balances.values())
  const openedCents = sum(accounts.values())
  if (cents !== openedCents) {
    const gone = openedCents - cents
    problems.push(gone > 0 ? `${money(gone)} were lost` : `${money(-gone)} were made from nothing`)
  }
  return { problems, ...ends, cents, openedCents }
}

const isSame = (expected: ReadonlyArray<string>, actual: ReadonlyArray<string>): boolean =>
  expected.length === actual.length && expected.toSorted().join() === actual.toSorted().join()

const describe = (actual: ReadonlyArray<string>): string => {
  if (actual.length === 0) return "no trace of it: lost"
  const times = Map.groupBy(actual, (text) => text)
  return `posted ${
    Array.from(times, ([text, all]) => all.length === 1 ? text : `${all.length} times ${text}`).join(", ")
  }`
}

const show = ({ cents, from, id, to }: Transfer): string => `${id} (${money(cents)} from ${from} to ${to})`

/** Cents as a decimal number. */
export const money = (cents: number): string =>
  (cents / 100).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })

const sum = (numbers: Iterable<number>): number => {
  let total = 0
  for (const number of numbers) total += number
  return total
}

const StoredPosting = Schema.Struct({ kind: PostingKind, transfer: Schema.String, cents: Schema.Int, nth: Schema.Int })
const StoredAccount = Schema.Struct({
  State: Schema.fromJsonString(Schema.Struct({ balance: Schema.Int, moves: Schema.Int })),
  EVersion: Schema.Int
})

/** Reads the books from the stored entities. */
export const readBooks = (
  bank: Key.Key,
  plan: Plan
): Effect.Effect<
  Books,
  EventboxError.DatastoreError | EventboxError.EventDecodeError | Schema.SchemaError,
  Datastore.Datastore
> =>
  Effect.gen(function*() {
    const names = Array.from(plan.accounts.keys())
    const entities = yield* patiently(Datastore.getAll(names.map((name) => accountOf(bank, name).key)))
    const balances = new Map<string, number>()
    const pasts = new Map<string, Past>()
    for (const [index, found] of entities.entries()) {
      if (Option.isNone(found)) continue
      const { EVersion, State } = yield* Schema.decodeUnknownEffect(StoredAccount)(found.value.properties)
      balances.set(names[index]!, State.balance)
      pasts.set(names[index]!, { moves: State.moves, eversion: EVersion })
    }
    const postings: Array<Posting> = []
    for (const entity of yield* queryAll(postingKind, bank)) {
      const posting = yield* Schema.decodeUnknownEffect(StoredPosting)(entity.properties)
      postings.push({ ...posting, account: String(entity.key.parent!.id) })
    }
    const outstanding = new Map<string, number>()
    for (const name of names) {
      const waiting = yield* patiently(Eventbox.list(Account, accountOf(bank, name)))
      if (waiting.length > 0) outstanding.set(name, waiting.length)
    }
    return { balances, postings, pasts, outstanding }
  })

/** Removes all that is stored below the bank. */
export const removeBank = (bank: Key.Key): Effect.Effect<void, EventboxError.DatastoreError, Datastore.Datastore> =>
  Effect.gen(function*() {
    for (const kind of ["Account", postingKind, "dsset.Item", "dsset.Tombstones"]) {
      const keys = (yield* queryAll(kind, bank, true)).map((entity) => entity.key)
      for (let from = 0; from < keys.length; from += 500) yield* Datastore.remove(keys.slice(from, from + 500))
    }
  })

/** How many events are stored below the bank, also garbage that waits for its deletion. */
export const countStored = (
  bank: Key.Key
): Effect.Effect<number, EventboxError.DatastoreError, Datastore.Datastore> =>
  Effect.map(queryAll("dsset.Item", bank, true), (all) => all.length)

/** Reads again after a failure that may pass: whether the books balance should not depend on the day. */
const patiently = <A, E extends { readonly isRetryable: boolean }, R>(
  read: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.retry(read, { while: (error) => error.isRetryable, schedule: Schedule.exponential("50 millis"), times: 6 })

/** All entities of a kind below the bank, page by page. */
const queryAll = (
  kind: string,
  bank: Key.Key,
  keysOnly = false
): Effect.Effect<ReadonlyArray<Entity.Entity>, EventboxError.DatastoreError, Datastore.Datastore> =>
  Effect.gen(function*() {
    const all: Array<Entity.Entity> = []
    while (true) {
      const last = all[all.length - 1]
      const { results } = yield* patiently(Datastore.query({
        kind,
        ancestor: bank,
        keysOnly,
        from: last === undefined ? undefined : { key: last.key, inclusive: false },
        limit: 1_000
      }))
      for (const { entity } of results) all.push(Option.getOrThrow(entity))
      if (results.length < 1_000) return all
    }
  })
