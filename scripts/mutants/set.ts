/**
 * Faults of the set: tombstones, listings, pops, deletions, and finding out how a commit ended.
 */
import type { Mutant } from "./mutant.ts"

const popping: ReadonlyArray<Mutant> = [
  {
    name: "tombstone-skipped",
    file: "src/DsSet.ts",
    what: "Each popped id gets a tombstone (P3).",
    find: "popTime(now, newestAtMillis, delayMillis), op.popped)",
    replace: "popTime(now, newestAtMillis, delayMillis), Array.from(op.popped).slice(1))",
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
    file: "src/dsset/parts.ts",
    what: "Additions are split by bytes, so that no commit is above the limit of the backend.",
    find: "bytes + size > maxBytes",
    replace: "bytes > maxBytes",
    tests: ["test/DsSet.test.ts", "test/DsSet.bytes.test.ts"]
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
    name: "removed-twice",
    file: "src/DsSet.ts",
    what: "An id that is given twice to remove is removed once: a commit has one mutation per key.",
    find: "Array.from(new Set(ids), ",
    replace: "Array.from(ids, ",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "popped-items-stay",
    file: "src/DsSet.ts",
    what: "Popped items are deleted by the very commit that pops them.",
    find: `transaction.writes.set(name, { _tag: "Delete", key: snapshot.key })`,
    replace: "",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "popped-items-not-expected",
    file: "src/DsSet.ts",
    what: "A pop expects each item as it was listed: what was added again since is another event (P2).",
    find: "if (!listing.isPatient) Transaction.recordRead(transaction, snapshot)",
    replace: "",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "patient-pop-expects-items",
    file: "src/DsSet.ts",
    what:
      "A patient pop expects no versions of items, or an id that is added again and again keeps others from being popped.",
    find: "if (!listing.isPatient) Transaction.recordRead",
    replace: "Transaction.recordRead",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "emitted-id-popped",
    file: "src/DsSet.ts",
    what: "A transaction that pops an id which it has added dies: the addition would be swallowed.",
    find: "if (transaction.writes.has(name)) return id",
    replace: "",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "popped-id-emitted",
    file: "src/DsSet.ts",
    what: "A transaction that adds an id which it has popped dies: the addition would be swallowed.",
    find: "return popped === undefined ? put(",
    replace: "return items.length >= 0 ? put(",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "never-patient",
    file: "src/DsSet.ts",
    what: "After a race that was lost to items alone the next listing reads the head first.",
    find: "const { isPatient } = memory",
    replace: "const isPatient = false",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "patient-for-ever",
    file: "src/DsSet.ts",
    what: "A set is no longer patient once a pop of it has landed.",
    find: "Effect.sync(() => setPatience(datastore, [set.parent], false))",
    replace: "Effect.void",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "deleted-bytes-not-counted",
    file: "src/DsSet.ts",
    what: "What a pop deletes counts against the limit of a commit.",
    find: "transaction.deletedBytes += poppedBytes",
    replace: "",
    tests: ["test/DsSet.bytes.test.ts"]
  },
  {
    name: "listing-above-a-commit",
    file: "src/DsSet.ts",
    what: "A listing holds no more than one commit can pop.",
    find: "bytes: Math.min(maxBytes, most)",
    replace: "bytes: maxBytes",
    tests: ["test/DsSet.bytes.test.ts"]
  },
  {
    name: "item-counts-its-size-alone",
    file: "src/dsset/listing.ts",
    what: "An item counts as what it takes in the commit that pops it: its key and its tombstone too.",
    find: "storedBytes(parentBytes, item) + parentBytes + 2 * utf8Bytes(item.id)",
    replace: "storedBytes(parentBytes, item)",
    tests: ["test/DsSet.bytes.test.ts"]
  },
  {
    name: "delay-of-any-length",
    file: "src/DsSet.ts",
    what: "A TombstonesDelay out of its limits is refused.",
    find: "if (millis >= minDelayMillis && millis <= maxDelayMillis)",
    replace: "if (millis >= 0)",
    tests: ["test/DsSet.clocks.test.ts"]
  },
  {
    name: "pop-older-than-its-items",
    file: "src/dsset/format/tombstones.ts",
    what:
      "A tombstone is as new as the newest addition that it pops, also when the clock of whoever added is ahead (P3).",
    find: "Math.min(Math.max(nowMillis, newestAtMillis), nowMillis + delayMillis)",
    replace: "nowMillis",
    tests: ["test/DsSet.clocks.test.ts"]
  },
  {
    name: "pop-in-the-far-future",
    file: "src/dsset/format/tombstones.ts",
    what: "A clock that is years ahead keeps no tombstone for years.",
    find: "Math.min(Math.max(nowMillis, newestAtMillis), nowMillis + delayMillis)",
    replace: "Math.max(nowMillis, newestAtMillis)",
    tests: ["test/DsSet.clocks.test.ts"]
  }
]

const erasing: ReadonlyArray<Mutant> = [
  {
    name: "tombstone-erased-at-its-end",
    file: "src/dsset/format/tombstones.ts",
    what: "A tombstone lives through the last moment of the delay.",
    find: "pop.atMillis >= expiredBefore",
    replace: "pop.atMillis > expiredBefore",
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "tombstone-erased-at-half-time",
    file: "src/DsSet.ts",
    what: "A tombstone lives as long as TombstonesDelay says (P3).",
    find: "expiredBefore: now - delayMillis",
    replace: "expiredBefore: now - delayMillis / 2",
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
    file: "src/dsset/format/tombstones.ts",
    what: "A pop that consumed nothing stays as long as its time does: its token tells that it landed (P5).",
    find: "if (pop.atMillis >= expiredBefore) {",
    replace: "if (pop.atMillis >= expiredBefore && pop.idBytes.length > 0) {",
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "empty-pops-kept",
    file: "src/dsset/format/tombstones.ts",
    what: "A pop without ids is erased once its time has come.",
    find: "if (ids.length > 0) left.push",
    replace: "if (ids.length >= 0) left.push",
    tests: ["test/dsset/format/tombstones.test.ts"]
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
    file: "src/dsset/format/tombstones.ts",
    what: "The end of a covered range is judged in the order of UTF-8 bytes, which is that of the database.",
    find: "compareUtf8(id, upTo) <= 0",
    replace: "id <= upTo",
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "coverage-begins-too-early",
    file: "src/dsset/format/tombstones.ts",
    what: "The key after which a range begins is not covered by it.",
    find: "compareUtf8(id, after) > 0",
    replace: "compareUtf8(id, after) >= 0",
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "truncated-page-covers-all",
    file: "src/dsset/listing.ts",
    what: "A page that was cut off covers the range up to its last key only (E4).",
    find: "const upTo = reachedEnd ? range.upTo : ",
    replace: "const upTo = reachedEnd || result.results.length > 0 ? range.upTo : ",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "covered-from-the-beginning",
    file: "src/dsset/listing.ts",
    what: "A page covers the range after the key that it began behind, and nothing before it (E4).",
    find: "covered.push({ after, upTo })",
    replace: "covered.push({ after: undefined, upTo })",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "case-of-a-uuid-lost",
    file: "src/dsset/format/bytes.ts",
    what: "Only what comes back as it was is stored as 16 bytes: a UUID in upper case is text.",
    find: "[0-9a-f]{12}$/",
    replace: "[0-9a-f]{12}$/i",
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "byte-order-mark-lost",
    file: "src/dsset/format/bytes.ts",
    what: "An id that begins with a byte order mark keeps it.",
    find: `"utf-8", { ignoreBOM: true }`,
    replace: `"utf-8"`,
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "oldest-tombstone-counts",
    file: "src/dsset/format/tombstones.ts",
    what: "Of several tombstones of one id the newest counts.",
    find: "Math.max(atMillis,",
    replace: "Math.min(atMillis,",
    tests: ["test/dsset/format/tombstones.test.ts"]
  },
  {
    name: "garbage-counts-as-gone",
    file: "src/dsset/listing.ts",
    what: "A hidden item counts as present, so its tombstone stays (E4).",
    find: "view.present.push(item.id)",
    replace: "if (!tombstones.has(item.id)) view.present.push(item.id)",
    tests: ["test/DsSet.test.ts"]
  }
]

const listing: ReadonlyArray<Mutant> = [
  {
    name: "id-behind-the-range",
    file: "src/dsset/format/stored.ts",
    what: "Ids behind the end of the key range are refused: no listing would find them.",
    find: "id.startsWith(idsEnd)",
    replace: "id === idsEnd",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "payload-indexed",
    file: "src/dsset/format/stored.ts",
    what: "Items have no index, which would limit their values to 1,500 bytes.",
    find: `Trace: item.trace },
    unindexed: "all"`,
    replace: "Trace: item.trace },\n    unindexed: new Set()",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "item-time-ignored",
    file: "src/dsset/listing.ts",
    what: "A tombstone hides only what was added within the delay: an id that is used again later is a new item.",
    find: "tombstone !== undefined && item.atMillis <= tombstone + delayMillis",
    replace: "tombstone !== undefined",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "late-retry-shown",
    file: "src/dsset/listing.ts",
    what: "An addition that was first tried within the delay after the pop is hidden, however late it lands (P3).",
    find: "item.atMillis <= tombstone + delayMillis",
    replace: "item.atMillis <= tombstone",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "window-ends-too-early",
    file: "src/dsset/listing.ts",
    what: "An addition of the last moment of the delay is hidden.",
    find: "item.atMillis <= tombstone",
    replace: "item.atMillis < tombstone",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "full-page-is-the-end",
    file: "src/dsset/listing.ts",
    what: "A page as long as its limit says nothing about what comes after it.",
    find: "result.results.length < limit",
    replace: "result.results.length <= limit",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "last-page-is-not-the-end",
    file: "src/dsset/listing.ts",
    what: "A page shorter than its limit is the last one: no further query is made.",
    find: "result.results.length < limit",
    replace: "result.results.length < limit - 1",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "cut-off-is-the-end",
    file: "src/dsset/listing.ts",
    what: "A listing that left visible items out is truncated.",
    find: "page.reachedEnd && !view.cutOff",
    replace: "page.reachedEnd",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "middle-is-not-truncated",
    file: "src/DsSet.ts",
    what: "A listing that began in the middle and got to the end is truncated too.",
    find: "truncated: !reachedEnd || before.after !== undefined",
    replace: "truncated: !reachedEnd",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "no-wrap-around",
    file: "src/dsset/listing.ts",
    what: "A listing that finds nothing behind the last one begins again.",
    find: "wraps && !hasWrapped",
    replace: "!wraps && !hasWrapped",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "truncated-not-continued",
    file: "src/dsset/sweep.ts",
    what: "A truncated listing is continued by the next one, so that no id starves behind others.",
    find: "leap: undefined, after: last",
    replace: "leap: undefined, after: undefined",
    tests: ["test/DsSet.listing.test.ts"]
  },
  {
    name: "rewind-always",
    file: "src/DsSet.ts",
    what: "A listing takes the position back only if no other listing has moved it meanwhile.",
    find: "if (from === to || recall(datastore, parent).sweep !== from) return",
    replace: "if (from === to) return",
    tests: ["test/DsSet.listing.test.ts", "test/DsSet.order.test.ts"]
  },
  {
    name: "listing-without-end",
    file: "src/dsset/listing.ts",
    what: "A listing ends before the items of recipients whose keys lie below its own.",
    find: "{ key: itemsEnd(parent), inclusive: false }",
    replace: "undefined",
    tests: ["test/DsSet.listing.test.ts"]
  }
]

const sweeps: ReadonlyArray<Mutant> = [
  {
    name: "lost-race-keeps-the-position",
    file: "src/DsSet.ts",
    what: "A listing can be taken back: what was not popped is listed again.",
    find: "rewind: () => move(next, sweep)",
    replace: "rewind: () => {}",
    tests: ["test/DsSet.order.test.ts"]
  },
  {
    name: "range-moves-the-sweep",
    file: "src/DsSet.ts",
    what: "The listing of a range leaves the position where it is.",
    find: "if (options.range !== undefined) return {",
    replace: "if (options.range === null) return {",
    tests: ["test/DsSet.order.test.ts"]
  },
  {
    name: "whole-listing-remembered",
    file: "src/DsSet.ts",
    what: "A sweep of one listing leaves nothing to remember.",
    find: "after.after === undefined && after.listings === 1 ? undefined : after",
    replace: "after",
    tests: ["test/DsSet.memory.test.ts"]
  },
  {
    name: "sweep-without-end",
    file: "src/dsset/sweep.ts",
    what: "A sweep leaps over what has arrived since it began, or it never ends.",
    find: "if (arrivals < minArrivals ||",
    replace: "if (arrivals < Number.POSITIVE_INFINITY ||",
    tests: ["test/dsset/sweep.test.ts", "test/DsSet.order.test.ts"]
  },
  {
    name: "old-items-leapt-over",
    file: "src/dsset/sweep.ts",
    what: "A listing with anything older than the sweep is no listing of arrivals.",
    find: "if (known !== undefined && version <= known) isArrivals = false",
    replace: "",
    tests: ["test/dsset/sweep.test.ts", "test/DsSet.order.test.ts"]
  },
  {
    name: "leaps-grow-for-ever",
    file: "src/dsset/sweep.ts",
    what: "After something older the next leap is a short one again.",
    find: "arrivals, leap: undefined, after",
    replace: "arrivals, after",
    tests: ["test/dsset/sweep.test.ts", "test/DsSet.order.test.ts"]
  },
  {
    name: "never-popped-never-swept",
    file: "src/dsset/sweep.ts",
    what: "A sweep of a set that was never popped ends as well.",
    find: "sweep.listings >= maxUnknown ? sweep.seen : undefined",
    replace: "undefined",
    tests: ["test/dsset/sweep.test.ts", "test/DsSet.order.test.ts"]
  },
  {
    name: "empty-memory-kept",
    file: "src/dsset/memory.ts",
    what: "A set about which there is nothing to say has no entry.",
    find: `if (isEmpty(memory)) return
`,
    replace: "",
    tests: ["test/DsSet.memory.test.ts", "test/dsset/memory.test.ts"]
  },
  {
    name: "sets-without-bound",
    file: "src/dsset/memory.ts",
    what: "A layer remembers a bounded number of sets.",
    find: "if (all.sets.size <= maxSets) return",
    replace: "if (all.sets.size > 0) return",
    tests: ["test/dsset/memory.test.ts"]
  }
]

const deleting: ReadonlyArray<Mutant> = [
  {
    name: "deletes-expect-nothing",
    file: "src/dsset/deletions.ts",
    what: "A delete expects the listed snapshot: a late one must not remove a newer item with the same id.",
    find: "expected: chunk",
    replace: "expected: []",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "changed-items-block-deletes",
    file: "src/dsset/deletions.ts",
    what: "When something in a chunk has changed, the rest of the chunk is deleted all the same.",
    find: "chunk.filter((snapshot, index) => sameSnapshot(snapshot, now[index]!))",
    replace: "chunk.filter((_, index) => now.length > index)",
    tests: ["test/DsSet.test.ts"]
  },
  {
    name: "deletes-not-split-by-bytes",
    file: "src/dsset/deletions.ts",
    what: "Deletions are split by what they delete, which counts against the limit of a commit.",
    find: "storedBytes, datastore.backend.limits.commitBytes",
    replace: "storedBytes, Number.POSITIVE_INFINITY",
    tests: ["test/dsset/deletions.test.ts", "test/DsSet.bytes.test.ts"]
  },
  {
    name: "deletes-tried-once",
    file: "src/dsset/deletions.ts",
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
    file: "src/dsset/outcome.ts",
    what: "A commit that has not landed is fenced before it counts as lost: it may still be under way.",
    find: "Effect.result(fence(commit))",
    replace: "Effect.result(Effect.void as ReturnType<typeof fence>)",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-with-the-same-token",
    file: "src/dsset/outcome.ts",
    what: "A fence has a token of its own: with that of the commit, it would be taken for it.",
    find: "makePop(yield* ids.next,",
    replace: "makePop(options.token,",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-without-a-token",
    file: "src/dsset/outcome.ts",
    what: "A fence changes the head, or the late commit still finds it as it expects it.",
    find: "[...tombstones.pops, mark]",
    replace: "tombstones.pops",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-expects-nothing",
    file: "src/dsset/outcome.ts",
    what: "A fence expects the head that the commit expects, or it overwrites what has landed meanwhile.",
    find: "expected: [head]",
    replace: "expected: []",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-forgets-tombstones",
    file: "src/dsset/outcome.ts",
    what: "A fence keeps the tombstones that are in the head.",
    find: "[...tombstones.pops, mark]",
    replace: "[mark]",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "unreadable-head-is-lost",
    file: "src/dsset/outcome.ts",
    what: "A head that cannot be read says nothing about the commit.",
    find: `if (read._tag === "Failure") {
      return yield* again`,
    replace: `if (read._tag === "Failure") {
      return "Lost"`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "fence-contention-is-lost",
    file: "src/dsset/outcome.ts",
    what: "A fence that meets contention was overtaken, perhaps by the commit itself: the head is read again.",
    find: "return readOn && number === 1 ? yield* attempt(commit, number + 1) : yield* again",
    replace: `return "Lost" as Outcome`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "lost-race-landed",
    file: "src/dsset/outcome.ts",
    what: "A commit whose token is not in the changed head has lost the race.",
    find: "return yield* absent(commit)",
    replace: `return "Landed"`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "token-not-looked-for",
    file: "src/dsset/outcome.ts",
    what: "A commit whose token is in the head has landed.",
    find: "tokenOf(pop) === token",
    replace: "tokenOf(pop) === undefined",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "outcome-looked-for-too-long",
    file: "src/dsset/outcome.ts",
    what: "The search ends before the token itself may be erased, or a landed commit is taken for a lost one.",
    find: "now > commit.giveUpAtMillis",
    replace: "now > commit.giveUpAtMillis * 2",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "search-ends-with-the-token",
    file: "src/DsSet.ts",
    what: "The search ends after half of the delay: a read that takes long must end in time as well.",
    find: "now + delayMillis / 2",
    replace: "now + delayMillis",
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "delivered-twice-is-lost",
    file: "src/dsset/outcome.ts",
    what: "After a lost race the token is looked for: something on the way may have delivered the commit twice.",
    find: `if (isThere) return Effect.succeed({ outcome: "Landed", changed })`,
    replace: "",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "unseen-race-is-lost",
    file: "src/dsset/outcome.ts",
    what: "A race that cannot be looked into leaves the same doubt as a lost response.",
    find: "Effect.map(attempt(commit, 1), (outcome) => ({ outcome, changed: [] }))",
    replace: `Effect.succeed<Contended>({ outcome: "Lost", changed: [] })`,
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "patient-after-every-race",
    file: "src/dsset/outcome.ts",
    what: "Only a race that was lost to items alone makes a set patient.",
    find: "if (changed.length === 0 && others.length < expected.length)",
    replace: "if (others.length < expected.length)",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "patient-without-items",
    file: "src/dsset/outcome.ts",
    what: "A race in which no item was expected makes no set patient.",
    find: "if (changed.length === 0 && others.length < expected.length)",
    replace: "if (changed.length === 0)",
    tests: ["test/DsSet.popping.test.ts"]
  },
  {
    name: "erased-token-is-lost",
    file: "src/dsset/outcome.ts",
    what: "After half of the delay a token that is not there proves nothing: it may have been erased.",
    find: `now > giveUpAtMillis ? "Unknown" : "Lost"`,
    replace: `now > giveUpAtMillis * 2 ? "Unknown" : "Lost"`,
    tests: ["test/DsSet.outcome.test.ts"]
  },
  {
    name: "kept-tokens-not-asked",
    file: "src/dsset/outcome.ts",
    what: "A batch is known to have landed also when its tombstones were erased, by a worker whose clock is ahead.",
    find: "hasToken(found.tokens, token) || ",
    replace: "",
    tests: ["test/DsSet.clocks.test.ts"]
  },
  {
    name: "one-token-fewer",
    file: "src/dsset/format/tombstones.ts",
    what: "A head keeps the tokens of its 32 newest pops.",
    find: "const keptTokens = 32",
    replace: "const keptTokens = 31",
    tests: ["test/DsSet.clocks.test.ts"]
  }
]

/** Faults of the set. */
export const setMutants: ReadonlyArray<Mutant> = [
  ...popping,
  ...erasing,
  ...listing,
  ...sweeps,
  ...deleting,
  ...outcomes
]
