/**
 * What is done to the processes and their connections: kills and cuts, as the seed draws them.
 *
 * A decision is drawn as a whole before it is carried out, so the sequence of decisions depends on the seed alone. What
 * they meet does not: processes, the network and the database keep no seed.
 */
import { Effect, Random } from "effect"
import { type Armed, type Fault, isCommit, type UnderWay } from "../test/utils/tcpProxy.ts"
import type { Slot } from "./slot.ts"

/** Kinds of cuts, in the words of the report. */
export const cutKinds = ["before", "after", "late"] as const

/**
 * - `before`: the connection breaks when a request has come and before it is forwarded.
 * - `after`: the server has answered, and the connection breaks before the answer gets to the client.
 * - `late`: the client's side breaks while the request is under way; it gets to the server some time after.
 */
export type CutKind = typeof cutKinds[number]

const faults: Readonly<Record<CutKind, Fault>> = {
  before: "cutRequest",
  after: "dropResponse",
  late: "holdRequest"
}

/** Strikes of one kind. */
export interface Count {
  total: number
  /** Those that hit a request under way, and those that hit a commit. */
  onRequest: number
  onCommit: number
}

/** What was done so far. */
export interface Strikes {
  readonly kills: Count
  readonly cuts: Readonly<Record<CutKind, Count>>
}

const none = (): Count => ({ total: 0, onRequest: 0, onCommit: 0 })

export const noStrikes = (): Strikes => ({ kills: none(), cuts: { before: none(), after: none(), late: none() } })

/** All cuts. */
export const cutsOf = ({ cuts }: Strikes): number => cutKinds.reduce((sum, kind) => sum + cuts[kind].total, 0)

const add = (count: Count, { commits, requests }: UnderWay): void => {
  count.total++
  if (requests > 0) count.onRequest++
  if (commits > 0) count.onCommit++
}

/**
 * Kills the processes of one slot until it is enough, each when it has done as much as the seed says: half of them at
 * any moment, a quarter with a commit that gets to the server after the death of its sender, a quarter with a commit
 * whose answer nobody hears.
 */
export const kill = (slot: Slot, strikes: Strikes, isEnough: () => boolean): Effect.Effect<void> =>
  Effect.gen(function*() {
    while (!isEnough()) {
      const aim = (["moment", "moment", "holdRequest", "holdResponse"] as const)[yield* below(4)]!
      const [work, pauseMillis, lateMillis] = [1 + (yield* below(10)), yield* below(200), yield* below(300)]
      while (slot.workDone() < work && !isEnough()) yield* Effect.sleep("10 millis")
      if (isEnough()) return
      const armed = aim === "moment" ? undefined : slot.proxy.arm(aim, isCommit)
      const strike = Effect.gen(function*() {
        const hit = armed === undefined ? undefined : yield* struck(armed)
        add(strikes.kills, hit ?? slot.proxy.underWay())
        yield* Effect.promise(() => slot.kill(pauseMillis))
        if (aim === "holdRequest") yield* Effect.sleep(lateMillis)
        armed?.release()
      })
      yield* armed === undefined ? strike : lettingGo(armed, strike)
    }
  })

/** Cuts connections until it is enough, two of three at a commit, and changes the delays of what is cut. */
export const cut = (
  slots: ReadonlyArray<Slot>,
  strikes: Strikes,
  isEnough: () => boolean
): Effect.Effect<void> =>
  Effect.gen(function*() {
    while (!isEnough()) {
      const { name: _, proxy } = slots[yield* below(slots.length)]!
      const kind = cutKinds[yield* below(cutKinds.length)]!
      const isAimed = (yield* below(3)) > 0
      const [pauseMillis, lateMillis] = [yield* below(500), yield* below(400)]
      proxy.delay(yield* below(12), yield* below(12))
      yield* Effect.sleep(pauseMillis)
      if (proxy.connections() === 0) continue
      const armed = proxy.arm(faults[kind], isAimed ? isCommit : () => true)
      const strike = Effect.gen(function*() {
        const hit = yield* struck(armed)
        if (hit === undefined) {
          // Nothing came: what is cut is a connection that waits, or nothing when the process is gone.
          if (proxy.connections() === 0) return
          add(strikes.cuts[kind], proxy.underWay())
          proxy.cutAll()
          return
        }
        add(strikes.cuts[kind], hit)
        if (kind !== "late") return
        armed.hangUp()
        yield* Effect.sleep(lateMillis)
        armed.release()
      })
      yield* lettingGo(armed, strike)
    }
  })

/** Takes a fault back, or lets go of what it holds, when the time is up: a connection would be held for ever. */
const lettingGo = (armed: Armed, strike: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.onInterrupt(strike, () =>
    Effect.sync(() => {
      armed.disarm()
      armed.hangUp()
      armed.release()
    }))

/** A whole number from 0 up to, and without, `end`. */
const below = (end: number): Effect.Effect<number> => Random.nextIntBetween(0, end, { halfOpen: true })

const patienceMillis = 1_000

/** Waits for a fault to strike; takes it back when nothing comes. */
const struck = (armed: Armed): Effect.Effect<UnderWay | undefined> =>
  Effect.flatMap(
    Effect.timeoutOption(Effect.promise(() => armed.struck), patienceMillis),
    (found) => found._tag === "Some" || !armed.disarm() ? Effect.promise(() => armed.struck) : Effect.succeed(undefined)
  )
