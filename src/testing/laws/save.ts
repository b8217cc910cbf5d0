/**
 * The law `Save`: `loadState` returns what `saveState` saved, and `fetchEVersion` the version of that.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Datastore from "../../Datastore.ts"
import type { EVersion } from "../../Processor.ts"
import { type Broken, broken, type Place } from "./broken.ts"
import { checkPure } from "./pure.ts"
import { isSame, type Rig, run, show } from "./rig.ts"
import { failed } from "./success.ts"

/** A state with its version. */
export interface Saved {
  readonly state: unknown
  readonly eversion: EVersion
}

/** Looks at what is loaded after a commit. */
export const checkSaved = (rig: Rig, saved: Saved, loaded: Saved, place: Place): Effect.Effect<void, Broken> => {
  if (!rig.subject.isLaw("Save")) return Effect.void
  if (loaded.eversion === saved.eversion && isSame(rig, loaded.state, saved.state)) return Effect.void
  return broken("Save", "loadState does not return what saveState saved", [
    `saved   ${show(rig, saved.state)}, EVersion ${saved.eversion}`,
    `loaded  ${show(rig, loaded.state)}, EVersion ${loaded.eversion}`
  ], place)
}

/** Looks at the version that `fetchEVersion` returns, where there is one. */
export const checkEVersion = Effect.fnUntraced(function*(rig: Rig, eversion: EVersion, state: string) {
  const { isLaw, processor: { fetchEVersion }, recipient } = rig.subject
  if (fetchEVersion === undefined || !isLaw("Save")) return
  const place = { state, events: [] }
  const fetch = Datastore.withTransaction(Effect.suspend(() => fetchEVersion(recipient)))
  const exit = yield* run(rig, () => fetch, "fetch")
  yield* checkPure(rig, "fetchEVersion", place)
  if (Exit.isFailure(exit)) yield* failed(rig, "fetchEVersion", exit.cause, place)
  else if (exit.value !== eversion) {
    const summary = "fetchEVersion and loadState do not agree on the version, while the same is stored"
    return yield* broken("Save", summary, [`loadState      ${eversion}`, `fetchEVersion  ${exit.value}`], place)
  }
})
