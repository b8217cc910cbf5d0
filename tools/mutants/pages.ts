/**
 * Faults of the pages of tombstones, and of the sizes of batches.
 */
import type { Mutant } from "./mutant.ts"

/** Faults of pages and sizes. */
export const pageMutants: ReadonlyArray<Mutant> = [
  {
    name: "page-deleted-with-its-items",
    file: "src/dsset/livePages.ts",
    what: "A page is deleted only after its items were seen to be gone (E4).",
    find: "!seen.mayHit(page) && isWithin(covered, page)",
    replace: "isWithin(covered, page)",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-deleted-out-of-sight",
    file: "src/dsset/livePages.ts",
    what: "A page is deleted only when the listing looked where its items were (E4).",
    find: "!seen.mayHit(page) && isWithin(covered, page)",
    replace: "!seen.mayHit(page)",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-deleted-at-the-end-of-its-time",
    file: "src/dsset/livePages.ts",
    what: "A page lives until all of it has expired, the last moment included.",
    find: "newestAtMillis < expiredBefore",
    replace: "newestAtMillis <= expiredBefore",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-age-by-its-oldest",
    file: "src/dsset/format/pages.ts",
    what: "A page is as old as the newest of its pops.",
    find: "Math.max(newestAtMillis, pop.atMillis)",
    replace: "newestAtMillis === 0 ? pop.atMillis : Math.min(newestAtMillis, pop.atMillis)",
    tests: ["test/dsset/format/pages.test.ts"]
  },
  {
    name: "gone-stays-gone",
    file: "src/dsset/livePages.ts",
    what: "An id that was added again after it was seen to be gone is not gone (E4).",
    find: `if (stored.has(id)) gone[index] = 0
    else if`,
    replace: "if",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "unseen-outside-of-the-listing",
    file: "src/dsset/livePages.ts",
    what: "What a listing did not cover it has not seen to be gone (E4).",
    find: "!stored.has(id) && Tombstones.isCovered(covered, id)",
    replace: "!stored.has(id)",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "all-pages-in-one-commit",
    file: "src/dsset/livePages.ts",
    what: "One pop deletes at most 200 pages.",
    find: "if (gone.size === maxGone) return gone",
    replace: "",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-not-checked",
    file: "src/dsset/livePages.ts",
    what: "A page that is not what the head says is refused.",
    find: "|| checkOf(bytes) !== check",
    replace: "",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-remembered-by-number-alone",
    file: "src/dsset/memory.ts",
    what: "A remembered page counts only if its check is that of the head.",
    find: "known?.check === check ? known : undefined",
    replace: "known",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "pages-not-asked",
    file: "src/dsset/listing.ts",
    what: "An id whose tombstone is in a page is hidden (P3).",
    find: "(loaded) => [...loaded.flatMap(({ pops }) => pops), ...tombstones.pops]",
    replace: "() => tombstones.pops",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "other-ids-not-in-pages",
    file: "src/dsset/format/pages.ts",
    what: "Ids that are not UUIDs may be in a page that holds such.",
    find: "hasOthers && page.hasOthers",
    replace: "false",
    tests: ["test/dsset/format/pages.test.ts"]
  },
  {
    name: "last-time-of-a-page-left-out",
    file: "src/dsset/format/pages.ts",
    what: "A page may hold ids of its greatest time.",
    find: "first <= page.times.to",
    replace: "first < page.times.to",
    tests: ["test/dsset/format/pages.test.ts"]
  },
  {
    name: "first-time-of-a-page-left-out",
    file: "src/dsset/format/pages.ts",
    what: "A page may hold ids of its least time.",
    find: "times[middle]! < least",
    replace: "times[middle]! <= least",
    tests: ["test/dsset/format/pages.test.ts"]
  },
  {
    name: "page-within-a-range-too-soon",
    file: "src/dsset/format/pages.ts",
    what: "A page lies within a range only if its last id does (E4).",
    find: "upTo === undefined || greatest !== undefined && compareUtf8(greatest, upTo) <= 0",
    replace: "true",
    tests: ["test/dsset/format/pages.test.ts"]
  },
  {
    name: "page-not-written",
    file: "src/DsSet.ts",
    what: "Pops that leave the head land in a page, in the same commit (E3).",
    find: "...written.map(({ bytes, page }): Mutation",
    replace: "...written.slice(1).map(({ bytes, page }): Mutation",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "dead-pages-stay",
    file: "src/DsSet.ts",
    what: "A page that nobody needs any more is deleted by the pop that forgets it.",
    find: "...erased.map((number): Mutation",
    replace: "...erased.slice(1).map((number): Mutation",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "moved-pops-forgotten",
    file: "src/dsset/format/nextHead.ts",
    what: "What leaves the head goes to a page, all of it (P3).",
    find: "paginate(pops.slice(0, from), ",
    replace: "paginate(pops.slice(1, from), ",
    tests: ["test/DsSet.pages.test.ts", "test/dsset/format/nextHead.test.ts"]
  },
  {
    name: "head-without-end",
    file: "src/dsset/format/nextHead.ts",
    what: "A head above its limit moves its pops to a page.",
    find: "Tombstones.encodedSize(pops) <= Math.max(maxHeadBytes - directory.bytes.length, leastBytes)",
    replace: "pops.length > 0",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-too-large",
    file: "src/dsset/format/nextHead.ts",
    what: "Pages stay below 900 KiB (E8).",
    find: "if (size + pop.bytes.length > maxPageBytes) close()",
    replace: "",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "page-number-used-again",
    file: "src/dsset/format/nextHead.ts",
    what: "The number of a page is never used again.",
    find: "before.next + written.length",
    replace: "before.next",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "token-of-the-youngest-page-missed",
    file: "src/dsset/outcome.ts",
    what: "A lost commit is looked for in the very page that it would have written (P5).",
    find: "number >= tombstones.next",
    replace: "number > tombstones.next",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "fence-forgets-pages",
    file: "src/dsset/outcome.ts",
    what: "A fence keeps what the head knows of pages.",
    find: "{ ...tombstones, pops, tokens }",
    replace: "{ ...tombstones, bytes: new Uint8Array(0), pages: [], next: 1, pops, tokens }",
    tests: ["test/DsSet.pages.test.ts"]
  },
  {
    name: "pages-without-bound",
    file: "src/dsset/memory.ts",
    what: "A layer remembers 64 MiB of pages at most.",
    find: "all.pageBytes <= maxPageBytes ||",
    replace: "all.pageBytes >= 0 ||",
    tests: ["test/dsset/memory.test.ts"]
  },
  {
    name: "batch-bytes-ignored",
    file: "src/dsset/listing.ts",
    what: "The events of a batch have no more bytes than it may take.",
    find: "&& bytes + cost <= room.bytes",
    replace: "",
    tests: ["test/Eventbox.batchSize.test.ts"]
  },
  {
    name: "large-event-never-taken",
    file: "src/dsset/listing.ts",
    what: "An event above `maxBytes` is taken, alone.",
    find: "view.items.length === 0 ||",
    replace: "view.items.length < 0 ||",
    tests: ["test/Eventbox.batchSize.test.ts"]
  },
  {
    name: "size-not-learnt",
    file: "src/dsset/listing.ts",
    what: "What a listing asks for follows the sizes that were seen.",
    find: "Math.ceil(bytes / Math.max(1, expected))",
    replace: "items",
    tests: ["test/Eventbox.batchSize.test.ts"]
  },
  {
    name: "cut-off-answer-is-the-end",
    file: "src/dsset/listing.ts",
    what: "An answer that ended because of its bytes is not the end of the set.",
    find: "&& result.isCutOff !== true",
    replace: "",
    tests: ["test/Eventbox.batchSize.test.ts"]
  },
  {
    name: "skip-waits",
    file: "src/eventbox/lock.ts",
    what: "Who skips a busy recipient returns at once.",
    find: "whenBusy === \"skip\"",
    replace: "whenBusy !== \"skip\" && whenBusy !== \"wait\"",
    tests: ["test/Eventbox.batchSize.test.ts"]
  },
  {
    name: "kept-pops-forgotten",
    file: "src/dsset/format/nextHead.ts",
    what: "The newest pops stay in a head whose others move to a page (P3).",
    find: "pops: pops.slice(from), tokens, owner }",
    replace: "pops: [], tokens, owner }",
    tests: ["test/DsSet.pages.test.ts", "test/dsset/format/nextHead.test.ts"]
  },
  {
    name: "long-directory-takes-all",
    file: "src/dsset/format/nextHead.ts",
    what: "A long directory leaves pops room in the head, or pages get ever smaller.",
    find: "Math.max(maxHeadBytes - directory.bytes.length, leastBytes)",
    replace: "maxHeadBytes - directory.bytes.length",
    tests: ["test/dsset/format/nextHead.test.ts"]
  },
  {
    name: "always-the-same-doubtful-pages",
    file: "src/dsset/livePages.ts",
    what: "Each listing looks into doubtful pages after those that the last one looked into.",
    find: "memory.lookedUpTo = looked[looked.length - 1]!.number",
    replace: "memory.lookedUpTo = 0",
    tests: ["test/DsSet.pages.test.ts"]
  }
]
