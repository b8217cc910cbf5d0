/**
 * The network between one client and the emulator: the proxy with its faults, and what only the two ends can do.
 *
 * client - front - proxy - back - emulator. The front hangs up on clients, while what the proxy holds stays under way.
 * The back counts what the emulator has answered, so that a test knows when a request that came late was done with.
 */
import { Effect, type Scope } from "effect"
import { connect, createServer, type Server, type Socket } from "node:net"
import { WireReader } from "../../src/layers/google/wire.ts"
import { emulatorHost } from "./emulator.ts"
import { type Armed, type Fault, isCommit, makeTcpProxy } from "./tcpProxy.ts"

/** A fault that waits for its request, or has struck. */
export interface Strike {
  /** Returns when the fault has struck. */
  readonly struck: Effect.Effect<void>
  /** Lets go what is held, and returns when the emulator has answered: once, unless more than one request was held. */
  readonly release: (answers?: number) => Effect.Effect<void>
}

export interface Wire {
  /** Where the client connects to. */
  readonly host: string
  /** Arms a fault for the next request that `when` holds for; any other passes. */
  readonly arm: (fault: Fault, when: (message: Uint8Array) => boolean) => Effect.Effect<Strike>
  /** Breaks the connections of the client, which may connect again. */
  readonly hangUp: Effect.Effect<void>
  /** Lets no further connection through. */
  readonly refuse: () => void
}

/** Whether a request is a lookup. Of the requests with a field 3 only a query has a field 2, and it comes before. */
export const isLookup = (message: Uint8Array): boolean => firstField(message) === 3 && !isCommit(message)

/** Whether a request is a query. */
export const isQuery = (message: Uint8Array): boolean => firstField(message) === 2

const firstField = (message: Uint8Array): number => {
  const reader = new WireReader(message)
  return reader.next() ? reader.field : 0
}

/** How long anything may take that must happen at all. */
const patience = "15 seconds"

/** Opens a network of its own in front of the emulator of this run. */
export const makeWire: Effect.Effect<Wire, never, Scope.Scope> = Effect.gen(function*() {
  const answers = new Answers()
  const back = yield* makePipe(emulatorHost, (bytes) => answers.read(bytes))
  const proxy = yield* makeTcpProxy(back.host)
  const front = yield* makePipe(proxy.host)
  const strike = (armed: Armed): Strike => ({
    struck: Effect.asVoid(within(() => armed.struck)),
    release: (count = 1) =>
      within(() => {
        const answered = answers.next(count)
        armed.release()
        return answered
      })
  })
  return {
    host: front.host,
    arm: (fault, when) => Effect.sync(() => strike(proxy.arm(fault, when))),
    hangUp: Effect.sync(front.cut),
    refuse: front.refuse
  }
})

const within = <A>(evaluate: () => Promise<A>): Effect.Effect<A> =>
  Effect.orDie(Effect.timeout(Effect.promise(evaluate), patience))

/** Counts the answers that a server sends: streams that it ends. */
class Answers {
  private count = 0
  private waiting: Array<{ readonly enough: number; readonly done: () => void }> = []

  /** Resolves when there are so many more answers than now. */
  next(more: number): Promise<void> {
    return more === 0 ? Promise.resolve() : new Promise((done) => {
      this.waiting.push({ enough: this.count + more, done })
    })
  }

  /** Takes the complete frames from what came on one connection. */
  read(rest: Unread): void {
    while (rest.bytes.length >= 9) {
      const size = 9 + rest.bytes.readUIntBE(0, 3)
      if (rest.bytes.length < size) return
      const [type, flags] = [rest.bytes[3]!, rest.bytes[4]!]
      rest.bytes = rest.bytes.subarray(size)
      if (type === headersType && (flags & endOfStream) !== 0) this.answered()
    }
  }

  private answered(): void {
    this.count++
    const waiting = this.waiting
    this.waiting = waiting.filter(({ enough }) => enough > this.count)
    for (const { done, enough } of waiting) if (enough <= this.count) done()
  }
}

interface Unread {
  bytes: Buffer
}

const headersType = 1
const endOfStream = 1

interface Pipe {
  readonly host: string
  readonly cut: () => void
  readonly refuse: () => void
}

/** Passes bytes on between whoever connects and `target`; both ends end together. */
const makePipe = (target: string, onAnswer?: (rest: Unread) => void): Effect.Effect<Pipe, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => openPipe(target, onAnswer)),
      ({ close }) => Effect.promise(close)
    ),
    ({ close: _, ...pipe }) => pipe
  )

const openPipe = async (
  target: string,
  onAnswer: ((rest: Unread) => void) | undefined
): Promise<Pipe & { readonly close: () => Promise<void> }> => {
  const sockets = new Set<Socket>()
  let refuses = false
  const colon = target.lastIndexOf(":")
  const server: Server = createServer((from) => {
    if (refuses) {
      from.destroy()
      return
    }
    const to = connect(Number(target.slice(colon + 1)), target.slice(0, colon))
    const rest: Unread = { bytes: Buffer.alloc(0) }
    if (onAnswer !== undefined) {
      to.on("data", (chunk: Buffer) => {
        rest.bytes = Buffer.concat([rest.bytes, chunk])
        onAnswer(rest)
      })
    }
    for (const [socket, other] of [[from, to], [to, from]] as const) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", done)
  })
  const address = server.address()
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    host: `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    cut,
    refuse: () => {
      refuses = true
    },
    close: () => {
      cut()
      return new Promise<void>((done) => {
        server.close(() => done())
      })
    }
  }
}
