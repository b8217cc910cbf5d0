import { Effect } from "effect"

/** Who waits for quiet; the one that came last goes on first, so that what waits around it sees it end. */
const waiting: Array<() => void> = []

let isLooking = false

const lookSoon = (): void => {
  if (isLooking || waiting.length === 0) return
  isLooking = true
  setImmediate(() => {
    isLooking = false
    // A turn of a fiber is an immediate of Node.
    if (!process.getActiveResourcesInfo().includes("Immediate")) waiting.pop()?.()
    lookSoon()
  })
}

/**
 * Lets everything go on that can go on without the clock: returns when no other fiber has a turn to take. Each has
 * ended then, or waits for time, a gate or a socket.
 */
export const settle: Effect.Effect<void> = Effect.callback((resume) => {
  const goOn = () => resume(Effect.void)
  waiting.push(goOn)
  lookSoon()
  return Effect.sync(() => {
    if (waiting.includes(goOn)) waiting.splice(waiting.indexOf(goOn), 1)
  })
})
