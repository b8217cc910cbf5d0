/**
 * Faults of the box: emit, batches, and the cycle around them.
 */
import type { Mutant } from "./mutant.ts"

const emitting: ReadonlyArray<Mutant> = [
  {
    name: "sent-counted-before-the-commit",
    file: "src/Eventbox.ts",
    what: "Events count as sent once the transaction of their emit has landed.",
    find: "yield* afterCommit(Metrics.update(recipient.monitoringString, [Metrics.eventsSent, items.length]))",
    replace: "yield* Metrics.update(recipient.monitoringString, [Metrics.eventsSent, items.length])",
    tests: ["test/EventboxMetrics.test.ts"]
  },
  {
    name: "emit-retried-with-a-new-time",
    file: "src/Eventbox.ts",
    what: "Every try of an emit has the time of the first, or a late one is a new event (P3).",
    find: "DsSet.addItems(items)",
    replace: `Effect.flatMap(Clock.currentTimeMillis, (now) =>
      DsSet.addItems(items.map(({ bytes, entity }) => ({
        bytes,
        entity: { ...entity, properties: { ...entity.properties, At: now } }
      }))))`,
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "emit-retried-with-a-new-id",
    file: "src/Eventbox.ts",
    what: "Every try of an emit has the same id, or one emit is two events.",
    find: "const add = DsSet.addItems(items)",
    replace: `const add = Effect.flatMap(
      Effect.orDie(makeItems(box.eventCodec, parent, emissions, DsSet.maxEntityBytes)),
      (fresh) => DsSet.addItems(fresh.items)
    )`,
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "emit-retried-past-the-window",
    file: "src/Eventbox.ts",
    what: "An emit gives up well within the tombstones delay: a retry after it would be a new event.",
    find: "Math.min(30_000, delayMillis / 5)",
    replace: "delayMillis * 5",
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "emit-retried-after-a-standstill",
    file: "src/Eventbox.ts",
    what: "A failure that is heard of only after the window is not followed by another try (P3).",
    find: `+ delayMillis / 2
`,
    replace: `+ delayMillis * 10
`,
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "doubt-of-an-emit-forgotten",
    file: "src/Eventbox.ts",
    what: "An emit that may have landed is told so, whatever its retries fail with.",
    find: "Effect.mapError(retried, () => failure!.error)",
    replace: "retried",
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "emit-not-retried",
    file: "src/Eventbox.ts",
    what: "An emit outside of a transaction is retried after a transient failure, also of unknown outcome.",
    find: "yield* isInside ? add : retryEmit(add)",
    replace: "yield* items.length > 0 ? add : retryEmit(add)",
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "event-size-unchecked",
    file: "src/eventbox/emission.ts",
    what: "An event above 900 KiB is EventRejected, and the message has the exact limit (E8).",
    find: "item.bytes > maxEntityBytes",
    replace: "item.bytes > maxEntityBytes + 1",
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "id-twice-accepted",
    file: "src/eventbox/emission.ts",
    what: "One id twice in one emitAll is refused, since the second event would replace the first.",
    find: "const detail = ids.has(id)",
    replace: "const detail = ids.has(`${id}x`)",
    tests: ["test/Eventbox.emit.test.ts"]
  }
]

const batches: ReadonlyArray<Mutant> = [
  {
    name: "state-saved-outside",
    file: "src/eventbox/batch.ts",
    what: "The state is saved in the transaction that pops the events (E3).",
    find: "yield* saveChanged(batch, transitions)",
    replace: "yield* Transaction.outside(saveChanged(batch, transitions))",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "side-effect-outside",
    file: "src/eventbox/batch.ts",
    what: "Side effects run in the transaction that pops the events (E3).",
    find: "if (sideEffect !== undefined) yield* effectOf(sideEffect,",
    replace: "if (sideEffect !== undefined) yield* effectOf(Transaction.outside(sideEffect),",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "side-effect-needs-a-new-state",
    file: "src/eventbox/batch.ts",
    what: "Side effects run also when the state stays as it is.",
    find: "if (sideEffect !== undefined) yield* effectOf(sideEffect,",
    replace: `const changes = transitions.some(({ transitionTo }) => transitionTo !== loaded.state)
    if (sideEffect !== undefined && changes) yield* effectOf(sideEffect,`,
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "events-not-popped",
    file: "src/eventbox/batch.ts",
    what: "Each event that a transition consumes is popped (P2).",
    find: "for (const { id } of events) op.pop(id)",
    replace: "for (const { id } of events.slice(1)) op.pop(id)",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "pops-not-finished",
    file: "src/eventbox/batch.ts",
    what: "Every batch writes the head (E7), also one that consumes nothing.",
    find: "yield* DsSet.finishPop(op)",
    replace: `if (op.popped.size > 0) yield* DsSet.finishPop(op)
  else op.finish()`,
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "version-not-raised",
    file: "src/eventbox/saving.ts",
    what: "Every state that is saved has the next EVersion.",
    find: "(loaded.eversion + 1) as EVersion",
    replace: "loaded.eversion",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "same-state-saved",
    file: "src/eventbox/saving.ts",
    what: "A state that has not changed is not saved.",
    find: "touched || isChanged(loaded.state, state) ?",
    replace: "transitions.length > 0 ?",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "first-state-saved",
    file: "src/eventbox/saving.ts",
    what: "The state that is saved is that of the last transition.",
    find: "transitions[transitions.length - 1]!.transitionTo",
    replace: "transitions[0]!.transitionTo",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "stale-state-accepted",
    file: "src/eventbox/batch.ts",
    what: "Without fetchEVersion the commit expects all that loadState looked up (E1).",
    find: "for (const snapshot of remembered.values()) Transaction.recordRead(transaction, snapshot)",
    replace: "for (const snapshot of remembered.values()) transaction.reads.get(snapshot.key.toString())",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "newer-version-accepted",
    file: "src/eventbox/batch.ts",
    what: "A fetchEVersion that differs from the loaded version is contention (E1).",
    find: "actual === eversion",
    replace: "actual >= eversion",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "contention-ignored",
    file: "src/eventbox/batch.ts",
    what: "A batch that did not land fails.",
    find: "if (result.garbage === 0) yield* commit",
    replace: "if (result.garbage === 0) yield* Effect.exit(commit)",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "garbage-not-awaited",
    file: "src/eventbox/batch.ts",
    what: "The deletion of garbage is awaited before a batch returns.",
    find: "Effect.exit(garbage)]",
    replace: "Effect.forkDetach(garbage)]",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "garbage-fails-a-landed-batch",
    file: "src/eventbox/batch.ts",
    what: "Garbage that cannot be deleted fails no batch that landed.",
    find: "Effect.exit(garbage)]",
    replace: "garbage]",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "garbage-kept-on-failure",
    file: "src/eventbox/batch.ts",
    what: "Garbage is deleted also when prepareMutation fails with it.",
    find: "Effect.andThen(Effect.exit(deleteGarbage(batch, failure.garbage))),",
    replace: "",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "stored-garbage-kept",
    file: "src/eventbox/batch.ts",
    what: "A batch sends off the deletion of the garbage that its listing found.",
    find: "yield* datastore.background(Effect.ignore(deleteUnchanged(datastore, garbage.snapshots)))",
    replace: "",
    tests: ["test/Eventbox.processBatch.test.ts", "test/Eventbox.rounds.test.ts"]
  },
  {
    name: "state-read-twice",
    file: "src/eventbox/batch.ts",
    what: "What loadState looked up is remembered in the transaction, which then needs no round of its own (P6).",
    find: "batch.loaded.remembered)",
    replace: "new Map())",
    tests: ["test/Eventbox.rounds.test.ts"]
  },
  {
    name: "post-process-is-a-noop",
    file: "src/eventbox/decision.ts",
    what: "A transition with a post-process effect is no noop.",
    find: " && postProcess === undefined",
    replace: "",
    tests: ["test/Processor.test.ts"]
  },
  {
    name: "noops-judged-by-the-loaded-state",
    file: "src/eventbox/decision.ts",
    what: "A noop is judged by the state that the transitions before it led to.",
    find: "if (!isNoop) current = transition.transitionTo",
    replace: "",
    tests: ["test/Processor.test.ts"]
  },
  {
    name: "foreign-event-consumed",
    file: "src/eventbox/decision.ts",
    what: "A transition that names an event which is not in the batch dies.",
    find: "if (!batch.has(id)) return",
    replace: "if (id === undefined) return",
    tests: ["test/Processor.test.ts"]
  },
  {
    name: "undecodable-events-skipped",
    file: "src/eventbox/batch.ts",
    what: "An event that does not decode is an error, and is not passed over.",
    find: "else if (undecodable.length > 0) return yield* undecodable[0]!",
    replace: "",
    tests: ["test/Eventbox.decoding.test.ts"]
  },
  {
    name: "failure-raised-anew",
    file: "src/eventbox/batch.ts",
    what: "The cause of a batch that failed names the callback that failed.",
    find: "Effect.mapError((error) => error instanceof ContentionError ? withRecipient(error, recipient.key) : error)",
    replace:
      "Effect.catch((error) => Effect.fail(error instanceof ContentionError ? withRecipient(error, recipient.key) : error))",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "decoded-again",
    file: "src/eventbox/batch.ts",
    what: "Events that were decoded before one whose decoding takes time come to the processor once.",
    find: "items.slice(index)",
    replace: "items.slice()",
    tests: ["test/Eventbox.decoding.test.ts"]
  },
  {
    name: "equality-of-its-own-ignored",
    file: "src/eventbox/decision.ts",
    what: "A state that says itself what is equal is asked.",
    find: " &&\n  !(Equal.symbol in value)",
    replace: "",
    tests: ["test/eventbox/decision.test.ts"]
  },
  {
    name: "nan-is-a-change",
    file: "src/eventbox/decision.ts",
    what: "A state with NaN in it is not saved again and again.",
    find: " && !(Number.isNaN(one) && Number.isNaN(other))",
    replace: "",
    tests: ["test/eventbox/decision.test.ts"]
  },
  {
    name: "newest-first",
    file: "src/eventbox/batch.ts",
    what: "The processor gets events oldest first.",
    find: "age(self) - age(that)",
    replace: "age(that) - age(self)",
    tests: ["test/Eventbox.processBatch.test.ts", "test/Eventbox.emit.test.ts"]
  },
  {
    name: "lost-race-moves-on",
    file: "src/eventbox/batch.ts",
    what:
      "After a lost race the same events are tried again; after another failure the next batch goes on behind them.",
    find: "if (isTransient(error)) {",
    replace: "if (!isTransient(error)) {",
    tests: ["test/Eventbox.processBatch.test.ts"]
  },
  {
    name: "foreign-mailbox-processed",
    file: "src/eventbox/batch.ts",
    what: "A mailbox belongs to the box whose batch was the first: another box's batch fails.",
    find: "if (owner === undefined || owner === box.key) return Effect.void",
    replace: "if (owner === undefined || box.key !== undefined) return Effect.void",
    tests: ["test/Eventbox.owner.test.ts"]
  },
  {
    name: "mailbox-without-owner",
    file: "src/eventbox/batch.ts",
    what: "The first batch makes the mailbox the own of its box.",
    find: "{ owner: batch.owner }",
    replace: "{}",
    tests: ["test/Eventbox.owner.test.ts"]
  },
  {
    name: "owner-replaced",
    file: "src/dsset/format/nextHead.ts",
    what: "The owner of a mailbox stays.",
    find: "before.owner ?? options.owner",
    replace: "options.owner ?? before.owner",
    tests: ["test/Eventbox.owner.test.ts", "test/dsset/format/nextHead.test.ts"]
  },
  {
    name: "touch-is-a-noop",
    file: "src/eventbox/decision.ts",
    what: "A transition that touches the state is no noop.",
    find: ` &&
  touch !== true`,
    replace: "",
    tests: ["test/Processor.test.ts", "test/Processor.saving.test.ts"]
  },
  {
    name: "deep-events-accepted",
    file: "src/processor/codec.ts",
    what: "A value whose JSON has too many levels to be decoded again is refused.",
    find: "return deepest > maxDepth",
    replace: "return deepest > maxDepth * 1_000",
    tests: ["test/Eventbox.oddValues.test.ts"]
  }
]

const cycles: ReadonlyArray<Mutant> = [
  {
    name: "unknown-outcome-retried",
    file: "src/eventbox/isolation.ts",
    what: "A batch of unknown outcome is not run again: if it landed, its post-process effects would be lost unseen.",
    find: "(isContentionError(error) || isDatastoreError(error)) && error.isRetryable",
    replace: "isTransient(error)",
    tests: ["test/Eventbox.process.test.ts"]
  },
  {
    name: "contention-not-retried",
    file: "src/eventbox/isolation.ts",
    what: "A batch that met contention is run again.",
    find: "(isContentionError(error) || isDatastoreError(error)) && error.isRetryable",
    replace: "isDatastoreError(error) && error.isRetryable",
    tests: ["test/Eventbox.process.test.ts"]
  },
  {
    name: "list-moves-the-position",
    file: "src/DsSet.ts",
    what: "Listing all events does not move where batches go on.",
    find: `range: { after: undefined, upTo: undefined },
      cursor: undefined`,
    replace: `range: undefined,
      cursor: undefined`,
    tests: ["test/Eventbox.emit.test.ts"]
  },
  {
    name: "locks-kept-for-ever",
    file: "src/eventbox/lock.ts",
    what: "A lock that nobody uses is forgotten, so that a process that meets many recipients does not grow.",
    find: "--lock.users === 0",
    replace: "--lock.users < 0",
    tests: ["test/Eventbox.process.test.ts"]
  },
  {
    name: "batches-race-in-one-process",
    file: "src/eventbox/lock.ts",
    what: "Batches of one recipient take turns inside a process.",
    find: "Semaphore.makeUnsafe(1)",
    replace: "Semaphore.makeUnsafe(2)",
    tests: ["test/Eventbox.process.test.ts"]
  },
  {
    name: "batch-waits-for-itself",
    file: "src/eventbox/mark.ts",
    what: "A batch that processes its own recipient dies, and does not wait for itself for ever.",
    find: "if (around?.open === true) return refuse(what, recipient, around.recipient)",
    replace: "",
    tests: ["test/Eventbox.forks.test.ts"]
  },
  {
    name: "drain-shares-the-position",
    file: "src/Eventbox.ts",
    what: "A drain is a pass of its own, which other listings of the process do not disturb.",
    find: "cycle(box, recipient, options, cursor, before)",
    replace: "cycle(box, recipient, options, undefined, before)",
    tests: ["test/Eventbox.process.test.ts", "test/Eventbox.drain.test.ts"]
  },
  {
    name: "drain-ends-early",
    file: "src/Eventbox.ts",
    what: "A drain makes another pass after one that did something.",
    find: "reachedEnd && idle",
    replace: "reachedEnd",
    tests: ["test/Eventbox.process.test.ts"]
  },
  {
    name: "post-process-stops-at-a-failure",
    file: "src/eventbox/landing.ts",
    what: "A post-process effect that fails keeps none of the others from running: the batch has landed.",
    find: `run.failures.push(exit.cause)
`,
    replace: `run.failures.push(exit.cause)
    return
`,
    tests: ["test/Eventbox.process.test.ts"]
  }
]

const states: ReadonlyArray<Mutant> = [
  {
    name: "foreign-properties-dropped",
    file: "src/Datastore.ts",
    what: "A state in the recipient's entity is saved beside properties of others, which stay.",
    find: `{ _tag: "Patch", entity }`,
    replace: `{ _tag: "Upsert", entity }`,
    tests: ["test/Processor.test.ts", "test/Datastore.test.ts"]
  },
  {
    name: "state-indexed",
    file: "src/processor/entity.ts",
    what: "A state in the recipient's entity has no index, which would limit it to 1,500 bytes.",
    find: `{ unindexed: ["EVersion", "State"] }`,
    replace: `{ unindexed: ["EVersion"] }`,
    tests: ["test/Processor.test.ts"]
  },
  {
    name: "foreign-entity-is-a-state",
    file: "src/processor/entity.ts",
    what: "An entity without EVersion was never saved by a box: its recipient has the initial state.",
    find: "if (version === undefined && text === undefined) {",
    replace: "if (Option.isNone(found)) {",
    tests: ["test/Processor.test.ts"]
  },
  {
    name: "foreign-state-overwritten",
    file: "src/processor/entity.ts",
    what: "An entity with State and no EVersion is something else's, and is not overwritten.",
    find: "if (version === undefined) {",
    replace: "if (version === null) {",
    tests: ["test/Processor.test.ts"]
  },
  {
    name: "side-effect-overwrites-the-state",
    file: "src/eventbox/saving.ts",
    what: "A state that is not changed outlives a side effect that puts the entity.",
    find: "return texts.keep(loaded, recipient.key)",
    replace: "return Effect.void",
    tests: ["test/Processor.saving.test.ts"]
  },
  {
    name: "change-in-place-unseen",
    file: "src/processor/entity.ts",
    what: "A state that was changed in place dies, and is not silently left unsaved.",
    find: "one.text === next.text || one.text !== two.text",
    replace: `one.text !== ""`,
    tests: ["test/Processor.saving.test.ts"]
  },
  {
    name: "removed-fields-come-back",
    file: "src/processor/excess.ts",
    what: "A field that the schema knows and the new state lacks is gone.",
    find: "!Object.hasOwn(known, name) && !Object",
    replace: "!Object",
    tests: ["test/Processor.saving.test.ts"]
  },
  {
    name: "unknown-fields-change-their-case",
    file: "src/processor/excess.ts",
    what: "Fields that the schema does not know do not pass to another case of a union.",
    find: `if (known["_tag"] !== next["_tag"]) return next`,
    replace: "",
    tests: ["test/Processor.saving.test.ts"]
  }
]

/** Faults of the box. */
export const boxMutants: ReadonlyArray<Mutant> = [...emitting, ...batches, ...cycles, ...states]
