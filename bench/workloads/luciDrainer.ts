/**
 * Workers of one recipient with LUCI's batch, each for itself, beside senders.
 */
import { setTimeout } from "node:timers/promises"
import { mark, since } from "../measure.ts"
import { Counter, ticks, type Total } from "./counter.ts"
import type { Drained, HotLoad } from "./drainer.ts"
import { emitLuci, type LuciBox, LuciContention, processLuci, readLuci } from "./luci.ts"
import { type Address, openClient } from "./plainClient.ts"

/** What came of it. */
export interface LuciDrained {
  readonly seconds: number
  readonly drained: Drained
  /** What the entity has counted: more than there were, where events were consumed twice. */
  readonly total: Total
}

/** Runs workers until all is sent and nothing is left. */
export const drainLuci = async (address: Address, load: HotLoad): Promise<LuciDrained> => {
  const { events, workers } = load
  const { close, datastore } = openClient(address)
  const box: LuciBox = { datastore, recipient: datastore.key([Counter.kind, "hot"]) }
  const drained = { batches: 0, contended: 0, idle: 0 }
  try {
    await sendAll(box, load, 0, events / 2)
    const begin = mark()
    const sender = { isDone: false }
    const sending = sendAll(box, load, events / 2, events).then(() => {
      sender.isDone = true
    })
    await Promise.all([sending, ...Array.from({ length: workers }, () => work(box, load.maxEvents, drained, sender))])
    const seconds = since(begin).wallMicros / 1e6
    return { seconds, drained, total: await readLuci(box) }
  } finally {
    await close()
  }
}

const work = async (
  box: LuciBox,
  maxEvents: number,
  drained: { batches: number; contended: number; idle: number },
  sender: { readonly isDone: boolean }
): Promise<void> => {
  while (true) {
    const wasDone = sender.isDone
    try {
      if ((await processLuci(box, maxEvents)).consumed > 0) {
        drained.batches++
        continue
      }
      drained.idle++
      if (wasDone) return
    } catch (error) {
      if (!(error instanceof LuciContention)) throw error
      drained.contended++
      await setTimeout(5 + 20 * Math.random())
    }
  }
}

/** Emits with so many senders at a time. */
const sendAll = async (
  box: LuciBox,
  { eventsPerEmit, senders }: HotLoad,
  from: number,
  to: number
): Promise<void> => {
  let next = from
  const send = async (): Promise<void> => {
    while (next < to) {
      const at = next
      next = Math.min(to, at + eventsPerEmit)
      await emitLuci(box, ticks(at, next - at))
    }
  }
  await Promise.all(Array.from({ length: senders }, send))
}
