/**
 * How long a popped id is remembered.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * How long a popped id is remembered, so that adding it again does not bring it back. Five minutes unless overridden.
 *
 * **Details**
 *
 * From 1 second to 30 days; operations die outside of these. All workers and emitters of a set should use the same
 * value, longer than any of them retries an addition, and longer than their clocks differ. Longer: more tombstones are
 * stored. Shorter: a late retry of an addition comes back as a new item. Read when an operation
 * runs, so `Effect.provideService` overrides it for a fiber and `Layer.succeed` for an application.
 *
 * Source: luci-go `cv/internal/common/eventbox/dsset`, `Set.TombstonesDelay`.
 *
 * @category services
 * @since 0.1.0
 */
export const TombstonesDelay: Context.Reference<Duration.Duration> = Context.Reference<Duration.Duration>(
  "eventbox/TombstonesDelay",
  { defaultValue: () => Duration.minutes(5) }
)

/** The delay of the calling fiber in milliseconds; dies when it is out of its limits. */
export const tombstonesDelayMillis: Effect.Effect<number> = Effect.flatMap(TombstonesDelay, (delay) => {
  const millis = Duration.toMillis(delay)
  if (millis >= minDelayMillis && millis <= maxDelayMillis) return Effect.succeed(millis)
  return Effect.die(
    new Error(`TombstonesDelay is from 1 second to 30 days, got ${millis} ms`)
  )
})

const minDelayMillis = 1_000

const maxDelayMillis = 30 * 24 * 3_600_000
