/**
 * Many recipients with a few events each, drained by one process; and what a process remembers of those it has met.
 */
import { Effect, type Scope } from "effect"
import { Datastore, Eventbox } from "effect-eventbox"
import type { Backend } from "effect-eventbox/Backend"
import * as InMemory from "effect-eventbox/layers/InMemory"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { mark, noUsage, type Proof, since, type Spread, spreadOf } from "../measure.ts"
import { nodeArguments } from "../network.ts"
import type { Rpcs } from "../rpcs.ts"
import { byEffort, openEmulator, type Setting, type Table } from "../setting.ts"
import { formatNumber, formatSpread, formatTable, reportProof } from "../table.ts"
import { addTotal, checkMailboxes, Counter, ticks, type Total } from "../workloads/counter.ts"
import { recipientsOf } from "../workloads/mailbox.ts"

/** One way of draining many recipients. */
export interface ManyRow {
  readonly store: "memory" | "emulator"
  readonly recipients: number
  readonly concurrency: number
  readonly how: "process" | "drain"
  readonly eventsPerSecond: Spread
  readonly cpuMicrosPerEvent: Spread
  /** Operations of draining one recipient, by RPC. */
  readonly rpcsPerRecipient: Rpcs
}

/** What was measured. */
export interface ManyData {
  readonly rows: ReadonlyArray<ManyRow>
  /** Bytes by which the heap of a process has grown for each recipient, by what it went through with it. */
  readonly grown: { readonly recipients: number; readonly bytes: Readonly<Record<string, number>> }
  readonly eventsEach: number
  readonly samples: number
  readonly proof: Proof
}

const eventsEach = 3

interface Case {
  readonly store: "memory" | "emulator"
  readonly recipients: number
  readonly concurrency: number
  readonly how: "process" | "drain"
}

const casesOf = ({ effort }: Setting): ReadonlyArray<Case> => {
  const [inMemory, onEmulator] = byEffort(effort, { smoke: [20, 5], ordinary: [10_000, 300], full: [10_000, 1_000] })!
  const concurrencies = byEffort(effort, { smoke: [4], ordinary: [1, 16, 64], full: [1, 4, 16, 64, 256] })
  return [
    ...concurrencies.map((concurrency): Case => ({
      store: "memory",
      recipients: inMemory!,
      concurrency,
      how: "process"
    })),
    { store: "memory", recipients: inMemory!, concurrency: concurrencies.at(-1)!, how: "drain" },
    ...concurrencies.map((concurrency): Case => ({
      store: "emulator",
      recipients: onEmulator!,
      concurrency,
      how: "process"
    })),
    { store: "emulator", recipients: onEmulator!, concurrency: concurrencies.at(-1)!, how: "drain" }
  ]
}

interface Sample {
  readonly usage: ReturnType<typeof since>
  readonly rpcs: Rpcs
  readonly total: Total
}

const measure = (setting: Setting): Effect.Effect<ManyData, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const cases = casesOf(setting)
    const rounds = setting.samples ?? byEffort(setting.effort, { smoke: 1, ordinary: 3, full: 5 })
    const samples = new Map(cases.map((each) => [each, [] as Array<Sample>]))
    let proof: Proof = { samples: 0, count: 0, sum: 0 }
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < cases.length; turn++) {
        const each = cases[(round + turn) % cases.length]!
        const sample = yield* measureCase(setting.emulatorHost, each)
        samples.get(each)!.push(sample)
        proof = { ...addTotal(proof, sample.total), samples: proof.samples + 1 }
      }
    }
    return {
      rows: cases.map((each) => {
        const found = samples.get(each)!
        const events = each.recipients * eventsEach
        const { rpcs } = found[0]!
        return {
          store: each.store,
          recipients: each.recipients,
          concurrency: each.concurrency,
          how: each.how,
          eventsPerSecond: spreadOf(found.map(({ usage }) => events * 1e6 / usage.wallMicros)),
          cpuMicrosPerEvent: spreadOf(found.map(({ usage }) => usage.cpuMicros / events)),
          rpcsPerRecipient: Object.fromEntries(
            Object.entries(rpcs).map(([method, count]) => [method, count / each.recipients])
          )
        }
      }),
      grown: yield* measureGrowth(byEffort(setting.effort, { smoke: 500, ordinary: 100_000, full: 100_000 })),
      eventsEach,
      samples: rounds,
      proof
    }
  })

/** In a process of its own, whose garbage is collected before it is weighed. */
const measureGrowth = (recipients: number): Effect.Effect<ManyData["grown"]> =>
  Effect.map(
    Effect.promise(() =>
      promisify(execFile)(process.execPath, [
        "--expose-gc",
        ...nodeArguments,
        join(import.meta.dirname, "../recipientsProcess.ts"),
        String(recipients)
      ])
    ),
    ({ stdout }) => ({ recipients, bytes: JSON.parse(stdout) as Record<string, number> })
  )

/** Emits in one phase, which is not measured, and drains in another, with all deletes. */
const measureCase = (host: string, { concurrency, how, recipients, store }: Case): Effect.Effect<Sample, unknown> =>
  Effect.gen(function*() {
    const names = recipientsOf(recipients)
    const { open, rpcs } = yield* store === "memory" ? countedMemory : countedEmulator(host)
    const emitted = Effect.forEach(
      names,
      (recipient) => Eventbox.emitAll(Counter, recipient, ticks(0, eventsEach)),
      { concurrency: 16, discard: true }
    )
    yield* Effect.provide(emitted, [open(), Counter.layer])
    let usage = noUsage
    let counted: Rpcs = {}
    const worked = Effect.gen(function*() {
      // Connects.
      yield* Datastore.get(Counter.recipient("connect").key)
      for (const method of Object.keys(rpcs)) delete rpcs[method]
      const begin = mark()
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          usage = since(begin)
          counted = { ...rpcs }
        })
      )
      yield* Effect.forEach(
        names,
        (recipient) => how === "drain" ? Eventbox.drain(Counter, recipient) : Eventbox.process(Counter, recipient),
        { concurrency, discard: true }
      )
    })
    yield* Effect.scoped(Effect.provide(worked, [open(), Counter.layer]))
    const total = yield* Effect.provide(checkMailboxes(names, eventsEach), [open(), Counter.layer])
    return { usage, rpcs: counted, total }
  })

/** A store in memory whose operations count as the RPCs that they would be. */
const countedMemory = Effect.map(InMemory.makeStore, ({ backend }) => {
  const rpcs: Rpcs = {}
  const count = <A, E>(method: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      rpcs[method] = (rpcs[method] ?? 0) + 1
      return effect
    })
  const counting: Backend = {
    lookup: (keys) => count("Lookup", backend.lookup(keys)),
    query: (query) => count("RunQuery", backend.query(query)),
    commit: (request) => count("Commit", backend.commit(request)),
    limits: backend.limits
  }
  return { rpcs, open: () => Datastore.layer(Effect.succeed(counting)) }
})

const countedEmulator = (host: string) =>
  Effect.map(openEmulator(host), ({ layer, rpcs }) => ({ rpcs: rpcs!, open: () => layer }))

const showRpcs = (rpcs: Rpcs): string => {
  const all = Object.values(rpcs).reduce((sum, count) => sum + count, 0)
  const each = Object.entries(rpcs).toSorted(([a], [b]) => a.localeCompare(b))
  return `${formatNumber(all)}: ${each.map(([method, count]) => `${formatNumber(count)} ${method}`).join(", ")}`
}

const report = ({ eventsEach: each, grown, proof, rows, samples }: ManyData): string =>
  [
    `${samples} samples each, in turn; median (least..greatest)`,
    formatTable(
      ["STORE", "recipients", "at a time", "how", "events/s", "us CPU per event", "RPCs per recipient"],
      rows.map((row) => [
        row.store,
        formatNumber(row.recipients),
        formatNumber(row.concurrency),
        row.how,
        formatSpread(row.eventsPerSecond),
        formatSpread(row.cpuMicrosPerEvent),
        showRpcs(row.rpcsPerRecipient)
      ])
    ),
    [
      `${each} events for each recipient, emitted before; measured are the batches.`,
      "One commit lands the batch and deletes its events. Lookups of recipients that are processed at the same",
      "time are merged. `drain` looks once more, and so ends with a listing that finds nothing."
    ].join("\n"),
    formatTable(
      [`A PROCESS THAT MET ${formatNumber(grown.recipients)} RECIPIENTS`, "bytes of heap for each"],
      Object.entries(grown.bytes).map(([course, bytes]) => [course, formatNumber(Math.round(bytes))])
    ),
    "Heap and array buffers after a collection, less those before; the store keeps none of the recipients.",
    reportProof(proof)
  ].join("\n\n")

/** The table. */
export const many: Table<ManyData> = {
  name: "many",
  question: "What do many recipients with a few events each cost?",
  needsEmulator: true,
  measure,
  report
}
