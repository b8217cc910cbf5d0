/**
 * Faults of the set: tombstones, listings, pops, deletions, and finding out how a commit ended.
 */
import type { Mutant } from "./mutant.ts"

const popping: ReadonlyArray<Mutant> = [
  {
    name: "tombstone-skipped",
    file: "src/DsSet.ts",
    what: "Each popped id gets a tombstone (P3).",
    find: "makePop(token, atMillis, op.popped)",
    replace: "makePop(token, atMillis, Array.from(op.popped).slice(1))",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "failed-pop-ignored",
    file: "src/DsSet.ts",
    what: "The commit of a pop expects the head that the listing saw (E7), so a pop that came too late is contention.",
    find: "Transaction.recordRead(transaction, listing.head)",
    replace: "listing.head",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "newer-head-accepted",
    file: "src/DsSet.ts",
    what: "A transaction that has read a newer head than the listing is contention at once (E7).",
    find: "if (!sameSnapshot(Transaction.recordRead(transaction, listing.head), listing.head)) {",
    replace: "if (Transaction.recordRead(transaction, listing.head) === undefined) {",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "popped-twice",
    file: "src/DsSet.ts",
    what: "The second pop of an id in one transaction is refused (E2).",
    find: "if (popped.has(id) || !listing.snapshots.has(id)) return false",
    replace: "if (!listing.snapshots.has(id)) return false",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "popped-unlisted",
    file: "src/DsSet.ts",
    what: "Only what the listing shows can be popped (E2).",
    find: "if (popped.has(id) || !listing.snapshots.has(id)) return false",
    replace: "if (popped.has(id)) return false",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "item-size-unchecked",
    file: "src/DsSet.ts",
    what: "An item above 900 KiB is refused before any RPC (E8).",
    find: "if (made.bytes > maxEntityBytes) {",
    replace: "if (made.bytes > maxEntityBytes + 1_000) {",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "additions-not-split",
    file: "src/DsSet.ts",
    what: "Additions are split by bytes, so that no commit is above the limit of the backend.",
    find: "part.bytes + bytes > maxBytes",
    replace: "part.bytes > maxBytes",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "deletions-not-awaited",
    file: "src/internal/setMemory.ts",
    what: "Items that are being deleted are bounded in number: a listing reads them once more.",
    find: "memory.deleting.size <= most.items && ",
    replace: "",
    tests: ["test/DsSet.deleting.test.ts"]
  },
  {
    name: "bytes-being-deleted-unbounded",
    file: "src/internal/setMemory.ts",
    what: "Items that are being deleted are bounded in bytes: they are held until they are gone.",
    find: " && memory.deletingBytes <= most.bytes",
    replace: "",
    tests: ["test/DsSet.deleting.test.ts"]
  },
  {
    name: "waiting-for-deletions-for-ever",
    file: "src/internal/setMemory.ts",
    what: "A listing that waits for deletions goes on when they have ended.",
    find: "for (const look of memory.waiting) look()",
    replace: "",
    tests: ["test/DsSet.deleting.test.ts"]
  },
  {
    name: "one-id-added-twice",
    file: "src/DsSet.ts",
    what: "An id that is given twice to add is added once, with its last value: a commit has one mutation per key.",
    find: "added.set(item.id, made)",
    replace: "added.set(`${item.id} ${added.size}`, made)",
    tests: ["test/DsSet.adding.test.ts"]
  },
  {
    name: "stored-value-unchecked",
    file: "src/DsSet.ts",
    what: "A value that is no bytes is refused before any RPC.",
    find: "checkId(item.id) ?? checkItem(item)",
    replace: "checkId(item.id)",
    tests: ["test/DsSet.adding.test.ts"]
  },
  {
    name: "items-deleted-before-the-commit",
    file: "src/DsSet.ts",
    what: "Popped items are deleted after the commit, and not at all when it fails (P1).",
    find: "transaction.afterCommit.push(deletePopped(datastore, op))",
    replace: "yield* deletePopped(datastore, op)",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "removed-twice",
    file: "src/DsSet.ts",
    what: "An id that is given twice to remove is removed once: a commit has one mutation per key.",
    find: "Array.from(new Set(ids), ",
    replace: "Array.from(ids, ",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "deletion-not-remembered",
    file: "src/internal/setMemory.ts",
    what: "Ids that are being deleted are remembered, so that the next listing asks for more and needs one query.",
    find: "for (const id of ids) memory.deleting.add(id)",
    replace: "",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "deletion-remembered-for-ever",
    file: "src/internal/setMemory.ts",
    what: "Ids are no longer ignored once their deletion is over, also when it failed.",
    find: "for (const id of ids) memory.deleting.delete(id)",
    replace: "",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "position-not-taken-back",
    file: "src/DsSet.ts",
    what: "A listing all of whose items were popped is not continued: else their tombstones are never erased.",
    find: "if (popped.size === listing.items.length) listing.rewind()",
    replace: "",
    tests: ["test/DsSet.listing.test.ts"]
  }
]

const erasing: ReadonlyArray<Mutant> = [
  {
    name: "tombstone-erased-at-its-end",
    file: "src/internal/tombstones.ts",
    what: "A tombstone lives through the last moment of the delay.",
    find: "pop.atMillis >= expiredBefore",
    replace: "pop.atMillis > expiredBefore",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "tombstone-erased-at-half-time",
    file: "src/DsSet.ts",
    what: "A tombstone lives as long as TombstonesDelay says (P3).",
    find: "(yield* Clock.currentTimeMillis) - delayMillis",
    replace: "(yield* Clock.currentTimeMillis) - delayMillis / 2",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "age-taken-after-the-reads",
    file: "src/DsSet.ts",
    what: "The age of tombstones is taken before the reads are sent: later, a retried addition could slip in between.",
    find: "expiredBefore: options.expiredBefore }",
    replace: "expiredBefore: (yield* Clock.currentTimeMillis) - options.delayMillis }",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "empty-pops-forgotten",
    file: "src/internal/tombstones.ts",
    what: "A pop that consumed nothing stays as long as its time does: its token tells that it landed (P5).",
    find: "if (pop.atMillis >= expiredBefore) {",
    replace: "if (pop.atMillis >= expiredBefore && pop.idBytes.length > 0) {",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "empty-pops-kept",
    file: "src/internal/tombstones.ts",
    what: "A pop without ids is erased once its time has come.",
    find: "if (ids.length > 0) left.push",
    replace: "if (ids.length >= 0) left.push",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "coverage-ignored",
    file: "src/DsSet.ts",
    what: "A tombstone outside of the range that the listing read stays (E4).",
    find: ".has(id) || !Tombstones.isCovered(covered, id)",
    replace: ".has(id)",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "presence-ignored",
    file: "src/DsSet.ts",
    what: "A tombstone whose item is still stored stays (E4).",
    find: "(stored ??= new Set(present)).has(id) || !Tombstones",
    replace: "stored === undefined && present.length >= 0 && !Tombstones",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "coverage-by-utf16",
    file: "src/internal/tombstones.ts",
    what: "The end of a covered range is judged in the order of UTF-8 bytes, which is that of the database.",
    find: "compareUtf8(id, upTo) <= 0",
    replace: "id <= upTo",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "coverage-begins-too-early",
    file: "src/internal/tombstones.ts",
    what: "The key after which a range begins is not covered by it.",
    find: "compareUtf8(id, after) > 0",
    replace: "compareUtf8(id, after) >= 0",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "truncated-page-covers-all",
    file: "src/internal/listing.ts",
    what: "A page that was cut off covers the range up to its last key only (E4).",
    find: "const upTo = page.reachedEnd ? undefined : ",
    replace: "const upTo = page.result.results.length > 0 ? undefined : ",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "covered-from-the-beginning",
    file: "src/internal/listing.ts",
    what: "A page covers the range after the key that it began behind, and nothing before it (E4).",
    find: "after: page.after, upTo",
    replace: "after: undefined, upTo",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "case-of-a-uuid-lost",
    file: "src/internal/bytes.ts",
    what: "Only what comes back as it was is stored as 16 bytes: a UUID in upper case is text.",
    find: "[0-9a-f]{12}$/",
    replace: "[0-9a-f]{12}$/i",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "byte-order-mark-lost",
    file: "src/internal/bytes.ts",
    what: "An id that begins with a byte order mark keeps it.",
    find: `"utf-8", { ignoreBOM: true }`,
    replace: `"utf-8"`,
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "oldest-tombstone-counts",
    file: "src/internal/tombstones.ts",
    what: "Of several tombstones of one id the newest counts.",
    find: "Math.max(atMillis,",
    replace: "Math.min(atMillis,",
    tests: ["test/internal/tombstones.test.ts"]
  },
  {
    name: "deleting-counts-as-gone",
    file: "src/internal/listing.ts",
    what: "An item whose deletion is under way counts as present, so its tombstone stays (E4).",
    find: "view.present.push(item.id)",
    replace: "if (!options.memory.deleting.has(item.id)) view.present.push(item.id)",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "garbage-counts-as-gone",
    file: "src/internal/listing.ts",
    what: "A hidden item counts as present, so its tombstone stays (E4).",
    find: "view.present.push(item.id)",
    replace: "if (!tombstones.has(item.id)) view.present.push(item.id)",
    tests: ["test/DsSet.test.ts"]
  }
]

const listing: ReadonlyArray<Mutant> = [
  {
    name: "older-items-accepted",
    file: "src/internal/listing.ts",
    what: "Items that were read before the head's last change are read again: their tombstones may be erased already.",
    find: "page.result.readTime >= head.updateTime",
    replace: "page.result.readTime >= page.result.readTime",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "items-read-again-from-the-beginning",
    file: "src/internal/listing.ts",
    what: "Items that were too old are read again from where the page began.",
    find: "readPage(datastore, parent, page.after, ",
    replace: "readPage(datastore, parent, undefined, ",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "id-behind-the-range",
    file: "src/internal/stored.ts",
    what: "Ids behind the end of the key range are refused: no listing would find them.",
    find: "id.startsWith(idsEnd)",
    replace: "id === idsEnd",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "payload-indexed",
    file: "src/internal/stored.ts",
    what: "Items have no index, which would limit their values to 1,500 bytes.",
    find: `Trace: item.trace },
    unindexed: "all"`,
    replace: "Trace: item.trace },\n    unindexed: new Set()",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "item-time-ignored",
    file: "src/internal/listing.ts",
    what: "A tombstone hides only what was added within the delay: an id that is used again later is a new item.",
    find: "tombstone !== undefined && item.atMillis <= tombstone + options.delayMillis",
    replace: "tombstone !== undefined",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "late-retry-shown",
    file: "src/internal/listing.ts",
    what: "An addition that was first tried within the delay after the pop is hidden, however late it lands (P3).",
    find: "item.atMillis <= tombstone + options.delayMillis",
    replace: "item.atMillis <= tombstone",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "window-ends-too-early",
    file: "src/internal/listing.ts",
    what: "An addition of the last moment of the delay is hidden.",
    find: "item.atMillis <= tombstone",
    replace: "item.atMillis < tombstone",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "deleting-not-ignored",
    file: "src/internal/listing.ts",
    what: "Items that this process is deleting are no garbage: they would be deleted twice.",
    find: "options.deleting.has(item.id) || options.memory.deleting.has(item.id)",
    replace: "item.id === undefined",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "deletion-that-ends-meanwhile",
    file: "src/internal/listing.ts",
    what: "Items are ignored also when their deletion ends while the listing is under way.",
    find: "options.deleting.has(item.id) || options.memory.deleting.has(item.id)",
    replace: "options.memory.deleting.has(item.id)",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "no-room-for-deleting",
    file: "src/DsSet.ts",
    what: "A listing asks for as many more items as are being deleted, so one query is enough.",
    find: "options.room) + deleting.size",
    replace: "options.room)",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "full-page-is-the-end",
    file: "src/internal/listing.ts",
    what: "A page as long as its limit says nothing about what comes after it.",
    find: "result.results.length < limit",
    replace: "result.results.length <= limit",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "last-page-is-not-the-end",
    file: "src/internal/listing.ts",
    what: "A page shorter than its limit is the last one: no further query is made.",
    find: "result.results.length < limit",
    replace: "result.results.length < limit - 1",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "cut-off-is-the-end",
    file: "src/internal/listing.ts",
    what: "A listing that left visible items out is truncated.",
    find: "page.reachedEnd && !view.cutOff",
    replace: "page.reachedEnd",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "middle-is-not-truncated",
    file: "src/internal/listing.ts",
    what: "A listing that began in the middle and got to the end is truncated too.",
    find: "truncated: !reachedEnd || !fromBeginning",
    replace: "truncated: !reachedEnd",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "no-wrap-around",
    file: "src/internal/listing.ts",
    what: "A listing that finds nothing behind the last one begins again.",
    find: "wraps && !fromBeginning && view.items.length === 0",
    replace: "!wraps && !fromBeginning && view.items.length === 0",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "truncated-not-continued",
    file: "src/internal/listing.ts",
    what: "A truncated listing is continued by the next one, so that no id starves behind others.",
    find: "cursor.after = last\n",
    replace: "cursor.after = undefined\n",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "rewind-always",
    file: "src/internal/listing.ts",
    what: "A listing takes the position back only if no other listing has moved it meanwhile.",
    find: "if (cursor.after === last) cursor.after = start",
    replace: "cursor.after = start",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "listing-without-end",
    file: "src/internal/listing.ts",
    what: "A listing ends before the items of recipients whose keys lie below its own.",
    find: "to: { key: itemsEnd(parent), inclusive: false },",
    replace: "",
    tests: ["test/DsSet.listing.test.ts"]
  }
]

const deleting: ReadonlyArray<Mutant> = [
  {
    name: "deletes-expect-nothing",
    file: "src/internal/deletions.ts",
    what: "A delete expects the listed snapshot: a late one must not remove a newer item with the same id.",
    find: "expected: chunk",
    replace: "expected: []",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "changed-items-block-deletes",
    file: "src/internal/deletions.ts",
    what: "When something in a chunk has changed, the rest of the chunk is deleted all the same.",
    find: "chunk.filter((snapshot, index) => sameSnapshot(snapshot, now[index]!))",
    replace: "chunk.filter((_, index) => now.length > index)",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "deletes-not-split-by-bytes",
    file: "src/internal/deletions.ts",
    what: "Deletions are split so that keys of any size fit into a commit.",
    find: "Math.floor(datastore.backend.limits.commitBytes / maxDeleteBytes)",
    replace: "maxDeletes",
    tests: ["test/internal/deletions.test.ts"]
  },
  {
    name: "deletes-tried-once",
    file: "src/internal/deletions.ts",
    what: "A delete that fails for a while is tried again.",
    find: "attempt >= maxAttempts || !(error.isRetryable",
    replace: "attempt >= 1 || !(error.isRetryable",
    tests: ["test/DsSet.test.ts"]
  }
]

const outcomes: ReadonlyArray<Mutant> = [
  {
    name: "no-search-for-the-outcome",
    file: "src/DsSet.ts",
    what: "When the response of a commit with a pop is lost, its outcome is looked for (P5).",
    find: "transaction.witness ??= ",
    replace: "void ",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-forgotten",
    file: "src/internal/outcome.ts",
    what: "A commit that has not landed is fenced before it counts as lost: it may still be under way.",
    find: "Effect.result(fence(options))",
    replace: "Effect.result(Effect.void as ReturnType<typeof fence>)",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-with-the-same-token",
    file: "src/internal/outcome.ts",
    what: "A fence has a token of its own: with that of the commit, it would be taken for it.",
    find: "makePop(yield* ids.next,",
    replace: "makePop(options.token,",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-without-a-token",
    file: "src/internal/outcome.ts",
    what: "A fence changes the head, or the late commit still finds it as it expects it.",
    find: "[...tombstones.pops, mark]",
    replace: "tombstones.pops",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-expects-nothing",
    file: "src/internal/outcome.ts",
    what: "A fence expects the head that the commit expects, or it overwrites what has landed meanwhile.",
    find: "expected: [head]",
    replace: "expected: []",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-forgets-tombstones",
    file: "src/internal/outcome.ts",
    what: "A fence keeps the tombstones that are in the head.",
    find: "[...tombstones.pops, mark]",
    replace: "[mark]",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "unreadable-head-is-lost",
    file: "src/internal/outcome.ts",
    what: "A head that cannot be read says nothing about the commit.",
    find: `if (read._tag === "Failure") return yield* again`,
    replace: `if (read._tag === "Failure") return "Lost"`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-contention-is-lost",
    file: "src/internal/outcome.ts",
    what: "A fence that meets contention was overtaken, perhaps by the commit itself: the head is read again.",
    find: "return readOn && number === 1 ? yield* attempt(options, number + 1) : yield* again",
    replace: `return "Lost" as Outcome`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "lost-race-landed",
    file: "src/internal/outcome.ts",
    what: "A commit whose token is not in the changed head has lost the race.",
    find: `return "Lost"`,
    replace: `return "Landed"`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "token-not-looked-for",
    file: "src/internal/outcome.ts",
    what: "A commit whose token is in the head has landed.",
    find: "tokenOf(pop) === token",
    replace: "tokenOf(pop) === undefined",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "outcome-looked-for-too-long",
    file: "src/internal/outcome.ts",
    what: "The search ends before the token itself may be erased, or a landed commit is taken for a lost one.",
    find: "(yield* Clock.currentTimeMillis) > giveUpAtMillis",
    replace: "(yield* Clock.currentTimeMillis) > giveUpAtMillis * 2",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "search-ends-with-the-token",
    file: "src/DsSet.ts",
    what: "The search ends after half of the delay: a read that takes long must end in time as well.",
    find: "Duration.toMillis(Context.get(context, TombstonesDelay)) / 2",
    replace: "Duration.toMillis(Context.get(context, TombstonesDelay))",
    tests: ["test/DsSet.outcome.test.ts"]
  }
]

/** Faults of the set. */
export const setMutants: ReadonlyArray<Mutant> = [...popping, ...erasing, ...listing, ...deleting, ...outcomes]
