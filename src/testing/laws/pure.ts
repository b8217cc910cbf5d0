/**
 * The law `Pure`: nothing but a commit of transitions writes, not even a fiber that was left behind.
 */
import * as Effect from "effect/Effect"
import type { Backend } from "../../Backend.ts"
import { describeCall } from "../text/table.ts"
import { gated } from "../virtual/gated.ts"
import { broken, type Place } from "./broken.ts"
import type { Rig } from "./rig.ts"

/** Whether anybody may write, and what was written when nobody might. */
export interface Watch {
  isWriting: boolean
  readonly strays: Array<string>
}

/** Scheduler turns in which a fiber left behind has its chance to write. */
const turnsAfter = 3

/** A database that notes who writes when nobody may. */
export const guard = (backend: Backend, watch: Watch): Backend =>
  gated(backend, (call, run) =>
    Effect.suspend(() => {
      if (call.operation === "commit" && !watch.isWriting) watch.strays.push(describeCall(call))
      return run
    }))

/** Looks what a call of the processor wrote. */
export const checkPure = Effect.fnUntraced(function*(rig: Rig, call: string, place: Place) {
  const strays = rig.watch.strays.splice(0)
  if (strays.length === 0) return
  rig.current = undefined
  if (!rig.subject.isLaw("Pure")) return
  return yield* broken("Pure", `${call} writes to the store, outside of any transaction of a batch`, strays, place)
})

/** Gives fibers that were left behind their chance, and looks what they wrote. */
export const settle = Effect.fnUntraced(function*(rig: Rig, place: Place) {
  for (let turn = 0; turn < turnsAfter; turn++) yield* Effect.yieldNow
  return yield* checkPure(rig, "a fiber that a call of the processor left behind", place)
})
