/**
 * A question that the design leans on, and its answer.
 */
import { Effect, Result, type Scope } from "effect"
import type { Backend, Mutation } from "../../Backend.ts"
import { type ContentionError, type DatastoreError, isUnknownOutcome } from "../../EventboxError.ts"
import * as Key from "../../Key.ts"
import { judge, leaf, play, remove, upsert, valueOf } from "../../testing/conformance/setting.ts"

/** What a question is asked with. */
export interface Asked {
  readonly backend: Backend
  /** The same database with `unwrittenExpectations: "interactive"`; `undefined` when that is switched on already. */
  readonly interactive: Effect.Effect<Backend, DatastoreError, Scope.Scope> | undefined
  /** A key that no other question uses. */
  readonly root: Key.Key
  /** RPCs of this name until now. */
  readonly rpcs: (method: string) => number
}

/** An answer in words. */
export interface Answer {
  /** Whether the library works with it. */
  readonly fits: boolean
  readonly said: string
  /** What to do in place of the question's own `otherwise`. */
  readonly advice?: string | undefined
}

/** What the design assumes, as a question to a database. */
export interface Question {
  readonly id: string
  readonly title: string
  /** What the design assumed. */
  readonly assumed: string
  /** What to switch on, or do, when the answer differs. */
  readonly otherwise: string
  readonly ask: (asked: Asked) => Effect.Effect<Answer, ContentionError | DatastoreError, Scope.Scope>
}

/** The advice where nothing helps. */
export const doNotUse = (because: string): string =>
  `Do not run eventbox on this database: ${because}. No option helps.`

/** The first mistakes, and how many more there are. */
export const listed = (mistakes: ReadonlyArray<string>): string =>
  mistakes.slice(0, maxListed).join("; ") +
  (mistakes.length > maxListed ? `; and ${mistakes.length - maxListed} more` : "")

const maxListed = 3

/** Whether a failure says nothing about the database but that it was out of reach. */
export const isTransient = (error: ContentionError | DatastoreError): boolean =>
  error._tag === "DatastoreError" && (error.isRetryable || isUnknownOutcome(error))

/** `Success`, `Contention`, or the reason of a failure; an outage is no outcome, it goes on as a failure. */
export const ended = (
  effect: Effect.Effect<void, ContentionError | DatastoreError>
): Effect.Effect<string, ContentionError | DatastoreError> =>
  Effect.flatMap(Effect.result(effect), (result) => {
    if (Result.isSuccess(result)) return Effect.succeed("Success")
    const error = result.failure
    if (isTransient(error)) return Effect.fail(error)
    return Effect.succeed(error._tag === "ContentionError" ? "Contention" : error.reason._tag)
  })

type Tag = Mutation["_tag"] | "None"

/**
 * Plays histories of an entity between a read and a commit that expects it, and returns what went wrong, in words. Each
 * commit also writes an entity of its own, which must share its fate.
 */
export const tryExpectations = (
  backend: Backend,
  root: Key.Key,
  tags: ReadonlyArray<Tag>,
  histories: ReadonlyArray<string>
): Effect.Effect<
  { readonly tried: number; readonly mistakes: ReadonlyArray<string> },
  ContentionError | DatastoreError
> =>
  Effect.gen(function*() {
    const mistakes: Array<string> = []
    for (const tag of tags) {
      for (const history of histories) {
        const [key, beside] = ["Leaf", "Beside"].map((kind) => Key.child(root, kind, `${tag} ${history}`))
        const snapshot = yield* play(backend, key!, history)
        const right = judge(history, true, tag)
        const own: ReadonlyArray<Mutation> = tag === "None"
          ? []
          : [tag === "Delete" ? remove(key!) : { _tag: tag, entity: leaf(key!, 3) }]
        const outcome = yield* ended(backend.commit({
          mutations: [...own, { _tag: "Upsert", entity: leaf(beside!, 1) }],
          expected: [snapshot]
        }))
        const [mine, other] = (yield* backend.lookup([key!, beside!])).map(valueOf)
        const what = `${names[tag]} of an entity that ${happened(history)}`
        if (outcome !== right.outcome) mistakes.push(`${what} ${words[outcome] ?? `failed with ${outcome}`}`)
        else if (mine !== right.value) mistakes.push(`${what} ended well, but the entity is not what it should be`)
        else if ((other === 1) !== (outcome === "Success")) mistakes.push(`${what} did not share its commit's fate`)
      }
    }
    return { tried: tags.length * histories.length, mistakes }
  })

const names: Readonly<Record<Tag, string>> = {
  Insert: "an insert",
  Upsert: "an upsert",
  Patch: "a patch",
  Delete: "a delete",
  None: "an expectation"
}

const words: Readonly<Record<string, string>> = { Success: "was applied", Contention: "was refused" }

const happened = (history: string): string => {
  const [before, after] = history.split(", ")
  if (after === undefined) return before === "absent" ? "is still missing" : "has not changed"
  return `was ${after} in between`
}

/** A commit of entities in chunks of 500. */
export const writeMany = (backend: Backend, root: Key.Key, kind: string, count: number) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(count / 500) }, (_, chunk) => chunk * 500),
    (from) =>
      upsert(
        backend,
        Array.from(
          { length: Math.min(500, count - from) },
          (_, index) => leaf(Key.child(root, kind, from + index + 1), from + index + 1)
        )
      ),
    { discard: true }
  )
