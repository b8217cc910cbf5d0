/**
 * The bank: accounts as recipients of events, and the postings that they leave behind.
 *
 * A transfer starts as a `Withdraw` event of the payer. Its account refuses it for want of money, or takes the money
 * off and, in the same transaction, emits a `Deposit` to the payee. An account that was never opened sends the money
 * back with a `Refund`. Every event that is applied writes a posting, under a new key each time: applied twice, it
 * shows twice.
 */
import { Context, Effect, Random, Schema } from "effect"
import { Datastore, Entity, Eventbox, Ids, Key, Processor } from "effect-eventbox"

/** Order to pay, as a customer gives it. */
export const Transfer = Schema.Struct({ id: Schema.String, from: Schema.String, to: Schema.String, cents: Schema.Int })
export type Transfer = typeof Transfer.Type

const AccountState = Schema.Struct({
  balance: Schema.Int,
  isOpen: Schema.Boolean,
  /** Events that changed the state; refusals and returns keep it as it is. */
  moves: Schema.Int
})
type AccountState = typeof AccountState.Type

const AccountEvent = Schema.TaggedUnion({
  Open: { cents: Schema.Int },
  Withdraw: { transfer: Transfer },
  Deposit: { transfer: Transfer },
  Refund: { transfer: Transfer }
})
type AccountEvent = typeof AccountEvent.Type

export const PostingKind = Schema.Literals(["opened", "withdrawn", "refused", "deposited", "returned", "refunded"])
export type PostingKind = typeof PostingKind.Type

/** What one applied event did to one account. */
export interface Posting {
  readonly account: string
  readonly kind: PostingKind
  /** Id of the transfer, empty for `opened`. */
  readonly transfer: string
  /** What was added to the balance; negative for money that was taken off, 0 when nothing moved. */
  readonly cents: number
  /** Moves of the account up to here, with this one if it is one: its place in the history of the account. */
  readonly nth: number
}

/** Told, after the commit, that a transfer has come to its end. */
export class Receipts extends Context.Service<Receipts, {
  readonly settled: Effect.Effect<void>
}>()("ledger/Receipts") {}

export class Account extends Processor.Service<Account>()("ledger/Account", {
  kind: "Account",
  state: AccountState,
  event: AccountEvent
}) {
  static readonly layer = this.toLayer(Effect.gen(function*() {
    const receipts = yield* Receipts
    return yield* Account.entity({
      initial: () => ({ balance: 0, isOpen: false, moves: 0 }),
      // Order among events does not matter to the books, and there is none.
      prepareMutation: (events, before, account) => {
        let state = before
        const transitions = events.map((event) => {
          const { emits, isLast, kind, next } = apply(state, event.value, account)
          const cents = next.balance - state.balance
          const posting = { kind, transfer: transferOf(event.value), cents, nth: next.moves }
          state = next
          return {
            events: [event],
            transitionTo: next,
            sideEffect: Processor.Chain(post(account, posting), emits),
            postProcess: isLast ? receipts.settled : undefined
          }
        })
        return Effect.succeed({ transitions })
      }
    })
  }))
}

type AccountRecipient = Processor.Recipient<Account>

interface Step {
  readonly next: AccountState
  readonly kind: PostingKind
  /** Sends the transfer on its way, in the same transaction. */
  readonly emits?: Processor.SideEffect | undefined
  /** Whether the transfer has come to its end. */
  readonly isLast?: boolean
}

/** What one event does to an account. */
const apply = (state: AccountState, event: AccountEvent, account: AccountRecipient): Step => {
  const plus = (cents: number): AccountState => ({
    ...state,
    balance: state.balance + cents,
    moves: state.moves + 1
  })
  switch (event._tag) {
    case "Open":
      return { next: { ...plus(event.cents), isOpen: true }, kind: "opened" }
    case "Withdraw": {
      const { cents, to } = event.transfer
      if (state.balance < cents) return { next: state, kind: "refused", isLast: true }
      const emits = Eventbox.emit(Account, sibling(account, to), { _tag: "Deposit", transfer: event.transfer })
      return { next: plus(-cents), kind: "withdrawn", emits }
    }
    case "Deposit": {
      const { cents, from } = event.transfer
      if (state.isOpen) return { next: plus(cents), kind: "deposited", isLast: true }
      const emits = Eventbox.emit(Account, sibling(account, from), { _tag: "Refund", transfer: event.transfer })
      return { next: state, kind: "returned", emits }
    }
    case "Refund":
      return { next: plus(event.transfer.cents), kind: "refunded", isLast: true }
  }
}

const transferOf = (event: AccountEvent): string => event._tag === "Open" ? "" : event.transfer.id

/** The account of that name at the same bank. */
const sibling = (account: AccountRecipient, name: string): AccountRecipient => accountOf(account.key.parent!, name)

/** The account of a name at the bank whose key is given. */
export const accountOf = (bank: Key.Key, name: string): AccountRecipient =>
  Account.recipient(Key.child(bank, "Account", name))

export const postingKind = "Posting"

/** Writes a posting below its account, inside the transaction; never over another one. */
const post = (account: AccountRecipient, posting: Omit<Posting, "account">): Processor.SideEffect =>
  Effect.gen(function*() {
    const ids = yield* Ids.Ids
    const key = Key.child(account.key, postingKind, yield* ids.next)
    yield* Datastore.insert([Entity.make(key, { ...posting }, { unindexed: "all" })])
  })

/** What there is to do, decided by the options and the seed alone. */
export interface Plan {
  /** All accounts by name, with the cents that they are opened with; 0 for one that is never opened. */
  readonly accounts: ReadonlyMap<string, number>
  readonly transfers: ReadonlyArray<Transfer>
}

const openingCents = 1_000_00
const maxTransferCents = 250_00

/** Draws the transfers. */
export const makePlan = (options: {
  readonly accounts: number
  readonly transfers: number
  readonly seed: string
}): Effect.Effect<Plan> =>
  Effect.gen(function*() {
    const accounts = new Map(
      Array.from({ length: options.accounts }, (_, index) => [`a${index}`, index % 8 === 7 ? 0 : openingCents])
    )
    const names = Array.from(accounts.keys())
    const transfers: Array<Transfer> = []
    for (let n = 0; n < options.transfers; n++) {
      const from = yield* Random.nextIntBetween(0, names.length, { halfOpen: true })
      const distance = yield* Random.nextIntBetween(1, names.length, { halfOpen: true })
      const cents = yield* Random.nextIntBetween(1, maxTransferCents)
      transfers.push({ id: `t${n}`, from: names[from]!, to: names[(from + distance) % names.length]!, cents })
    }
    return { accounts, transfers }
  }).pipe(Random.withSeed(options.seed))
