/**
 * Where the ids of events and the tokens of commits come from: a reference, so that tests can replay them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/**
 * Source of fresh ids.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdSource {
  /** A fresh UUIDv7 in lower case, 36 characters. Later ones of one source sort after earlier ones. */
  readonly next: Effect.Effect<string>
}

/**
 * The source of ids in use: UUIDv7 from `Clock` and secure random bytes, unless replaced.
 *
 * **When to use**
 *
 * Replace it in a test whose ids must be the same in every run: `Effect.provideServiceEffect(Ids, Ids.makeSeeded)`.
 *
 * **Gotchas**
 *
 * Two sources that draw the same ids for one recipient overwrite each other's events: never share a seed between
 * processes that run at the same time.
 *
 * @category services
 * @since 0.1.0
 */
export const Ids: Context.Reference<IdSource> = Context.Reference<IdSource>("eventbox/Ids", {
  defaultValue: () => fromBytes(pooledRandomBytes())
})

/**
 * A source that draws from the fiber's `Random`, and so repeats itself under `Random.withSeed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSeeded: Effect.Effect<IdSource> = Effect.map(
  Random.Random,
  (random) => fromBytes((size) => Uint8Array.from({ length: size }, () => Math.floor(random.nextDoubleUnsafe() * 256)))
)

const fromBytes = (randomBytes: (size: number) => Uint8Array): IdSource => {
  const random = SecureRandom.make(randomBytes)
  return { next: random.uuidV7() }
}

/**
 * Secure random bytes, drawn in pools: one system call per id was a quarter of the cost of an emit.
 */
const pooledRandomBytes = () => {
  const pool = new Uint8Array(4_096)
  let used = pool.length
  return (size: number): Uint8Array => {
    if (used + size > pool.length) {
      globalThis.crypto.getRandomValues(pool)
      used = 0
    }
    used += size
    return pool.slice(used - size, used)
  }
}
