/**
 * A TCP proxy for gRPC that delays, cuts and holds.
 *
 * It passes bytes on as they come, so flow control and round trips are those of the network. It follows the frames of
 * HTTP/2 far enough to know where a request and its response begin, so a fault strikes exactly there. Everything that
 * was sent on the same connection after what is held or cut shares its fate, as with a real network.
 */
import { Effect, type Scope } from "effect"
import { connect, createServer, type Server, type Socket } from "node:net"
import { WireReader } from "../../src/layers/google/wire.ts"

/**
 * - `cutRequest`: the connection breaks before the request gets to the server.
 * - `dropResponse`: the server has answered, the connection breaks before the answer gets to the client.
 * - `holdRequest`, `holdResponse`: it waits in the proxy until it is released; the server's side of the connection
 *   stays open even when the client gives up.
 * - `muteClient`: the request gets through, and after it nothing more from the client until it is released.
 */
export type Fault = "cutRequest" | "dropResponse" | "holdRequest" | "holdResponse" | "muteClient"

/** Requests under way: that came, and were not answered to their end, as the proxy saw it. */
export interface UnderWay {
  readonly requests: number
  /** Those of them that are commits. */
  readonly commits: number
}

export interface Armed {
  /** Resolves when the fault has struck, with what was then under way on that connection. */
  readonly struck: Promise<UnderWay>
  /** Takes the fault back; returns whether it was in time. */
  readonly disarm: () => boolean
  /** Breaks the client's side of the connection that was struck: for ever, while what is held stays under way. */
  readonly hangUp: () => void
  /** Lets go what is held. Without `cancels`, the default, the server does not learn that the client gave up. */
  readonly release: (options?: { readonly cancels?: boolean }) => void
}

export interface TcpProxy {
  /** Where clients connect to. */
  readonly host: string
  /** One-way delays of everything from now on, in milliseconds. */
  readonly delay: (toServerMillis: number, toClientMillis: number) => void
  /** Arms one fault, for the next request whose message passes; see {@link isCommit}. */
  readonly arm: (fault: Fault, when?: (message: Uint8Array) => boolean) => Armed
  /** Breaks every connection. */
  readonly cutAll: () => void
  /** Requests that came so far. */
  readonly requests: () => number
  /** Connections that clients hold. */
  readonly connections: () => number
  readonly underWay: () => UnderWay
  /** Bytes that were passed on so far, those of HTTP/2 itself included. */
  readonly bytes: () => { readonly toServer: number; readonly toClient: number }
}

/** Whether a request is a commit: the only one with an enum, its mode, in field 5. */
export const isCommit = (message: Uint8Array): boolean => {
  const reader = new WireReader(message)
  try {
    while (reader.next()) {
      if (reader.field === 5) return typeof reader.integer() === "number"
      reader.skip()
    }
  } catch {
    // The first frame holds only a part of a large message; the mode stands at the beginning of a commit.
  }
  return false
}

/** How a proxy is made. */
export interface ProxyOptions {
  /**
   * Whether delays end within 0.1 ms: the proxy then waits for the last two milliseconds without rest. Timers alone are
   * up to 1 ms late, and a loaded machine makes them later.
   */
  readonly punctual?: boolean
}

/** A proxy in front of `target`, `host:port`, on a free port of the loopback interface. */
export const makeTcpProxy = (target: string, options: ProxyOptions = {}): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => open(target, options)),
    ({ close }) => Effect.promise(close)
  )

interface State {
  readonly punctual: boolean
  toServerMillis: number
  toClientMillis: number
  requests: number
  armed: Array<Pending>
  toServerBytes: number
  toClientBytes: number
  readonly connections: Set<Connection>
}

interface Pending {
  readonly fault: Fault
  readonly when: (message: Uint8Array) => boolean
  readonly strike: (underWay: UnderWay) => void
  connection: Connection | undefined
  cancels: boolean
  released: boolean
  hasStruck: boolean
  disarmed: boolean
}

const open = async (
  target: string,
  { punctual = false }: ProxyOptions
): Promise<TcpProxy & { readonly close: () => Promise<void> }> => {
  const state: State = {
    punctual,
    toServerMillis: 0,
    toClientMillis: 0,
    requests: 0,
    toServerBytes: 0,
    toClientBytes: 0,
    armed: [],
    connections: new Set()
  }
  const colon = target.lastIndexOf(":")
  const server = createServer((client) => {
    const upstream = connect(Number(target.slice(colon + 1)), target.slice(0, colon))
    state.connections.add(new Connection(state, client, upstream))
  })
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", done)
  })
  const cutAll = () => {
    for (const connection of state.connections) connection.cut()
  }
  return {
    host: `127.0.0.1:${portOf(server)}`,
    delay: (toServerMillis, toClientMillis) => {
      Object.assign(state, { toServerMillis, toClientMillis })
    },
    arm: (fault, when = () => true) => arm(state, fault, when),
    cutAll,
    requests: () => state.requests,
    connections: () => Array.from(state.connections).filter((connection) => connection.isHeld()).length,
    underWay: () => sumUnderWay(Array.from(state.connections, (connection) => connection.underWay())),
    bytes: () => ({ toServer: state.toServerBytes, toClient: state.toClientBytes }),
    close: () => {
      cutAll()
      return new Promise<void>((done) => {
        server.close(() => done())
      })
    }
  }
}

const sumUnderWay = (parts: ReadonlyArray<UnderWay>): UnderWay =>
  parts.reduce((sum, part) => ({ requests: sum.requests + part.requests, commits: sum.commits + part.commits }), {
    requests: 0,
    commits: 0
  })

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

const arm = (state: State, fault: Fault, when: (message: Uint8Array) => boolean): Armed => {
  const { promise, resolve } = Promise.withResolvers<UnderWay>()
  const pending: Pending = {
    fault,
    when,
    strike: (underWay) => {
      pending.hasStruck = true
      resolve(underWay)
    },
    connection: undefined,
    cancels: false,
    released: false,
    hasStruck: false,
    disarmed: false
  }
  state.armed.push(pending)
  return {
    struck: promise,
    disarm: () => {
      if (pending.hasStruck) return false
      pending.disarmed = true
      state.armed = state.armed.filter((one) => one !== pending)
      return true
    },
    hangUp: () => pending.connection?.hangUp(),
    release: ({ cancels = false } = {}) => {
      pending.cancels = cancels
      pending.released = true
      pending.connection?.resume(pending)
    }
  }
}

const preface = 24
const headersType = 1
const dataType = 0
const resetType = 3
const endOfStream = 1

/** One connection: a lane of frames each way. */
class Connection {
  private readonly state: State
  private readonly client: Socket
  private readonly upstream: Socket
  private readonly toServer: Lane
  private readonly toClient: Lane
  /** Faults that wait for the response on a stream. */
  private readonly onResponse = new Map<number, Pending>()
  /** Streams whose request came and whose answer has not ended, with whether the request is a commit. */
  private readonly unanswered = new Map<number, boolean>()
  /** Streams whose headers came and whose message did not. */
  private readonly undecided = new Set<number>()
  /** All frames since the headers of the first of them: their order must be kept. */
  private opened: Array<Frame> = []
  private holding: Pending | undefined
  private muting: Pending | undefined

  constructor(state: State, client: Socket, upstream: Socket) {
    this.state = state
    this.client = client
    this.upstream = upstream
    this.toServer = new Lane(upstream, () => state.toServerMillis, preface, state.punctual)
    this.toClient = new Lane(client, () => state.toClientMillis, 0, state.punctual)
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true)
      socket.on("error", () => {})
    }
    client.on("data", (chunk: Buffer) => {
      state.toServerBytes += chunk.length
      for (const frame of this.toServer.split(chunk)) this.fromClient(frame)
    })
    upstream.on("data", (chunk: Buffer) => {
      state.toClientBytes += chunk.length
      for (const frame of this.toClient.split(chunk)) this.fromServer(frame)
    })
    client.on("close", () => {
      if (this.holding?.fault !== "holdRequest" || this.holding.released) this.cut()
    })
    upstream.on("close", () => this.cut())
  }

  cut(): void {
    this.state.connections.delete(this)
    this.client.destroy()
    this.upstream.destroy()
  }

  resume(pending: Pending): void {
    this.toServer.open((frame) => pending.cancels || frame.type !== resetType)
    this.toClient.open(() => true)
    this.cutIfDone()
  }

  hangUp(): void {
    this.client.destroy()
  }

  /** Whether the client's side is open. */
  isHeld(): boolean {
    return !this.client.destroyed
  }

  underWay(): UnderWay {
    const commits = Array.from(this.unanswered.values()).filter((isOne) => isOne).length
    return { requests: this.unanswered.size, commits }
  }

  /** Headers wait for the first frame of the message, which tells what the request is. */
  private fromClient(frame: Frame): void {
    if (frame.type === headersType) {
      this.state.requests++
      this.undecided.add(frame.stream)
    }
    // A request that is held is under way also after its client gave up.
    if (frame.type === resetType && !this.toServer.isHeld()) this.unanswered.delete(frame.stream)
    if (this.undecided.size === 0) return this.toServer.pass(frame)
    this.opened.push(frame)
    if (frame.type === resetType) this.undecided.delete(frame.stream)
    if (frame.type === dataType && this.undecided.delete(frame.stream)) {
      const message = frame.bytes.subarray(9 + 5)
      this.unanswered.set(frame.stream, isCommit(message))
      const index = this.state.armed.findIndex(({ when }) => when(message))
      const [pending] = index === -1 ? [] : this.state.armed.splice(index, 1)
      if (pending !== undefined && this.struck(pending, frame.stream)) return
    }
    if (this.undecided.size > 0) return
    for (const held of this.opened.splice(0)) this.toServer.pass(held)
    if (this.muting?.released === false) this.toServer.hold()
  }

  private fromServer(frame: Frame): void {
    const pending = frame.type === headersType ? this.onResponse.get(frame.stream) : undefined
    if (pending !== undefined) this.onResponse.delete(frame.stream)
    if (pending?.disarmed === false) {
      pending.strike(this.underWay())
      if (pending.fault === "dropResponse") return this.cut()
      if (!pending.released) this.toClient.hold()
    }
    this.toClient.pass(frame)
    const carries = frame.type === headersType || frame.type === dataType
    if (frame.type === resetType || (carries && (frame.flags & endOfStream) !== 0)) {
      this.unanswered.delete(frame.stream)
    }
    this.cutIfDone()
  }

  /** What was held for a client that has hung up has come to its end. */
  private cutIfDone(): void {
    if (this.client.destroyed && this.unanswered.size === 0) this.cut()
  }

  /** Whether the fault ends the connection at once. */
  private struck(pending: Pending, stream: number): boolean {
    pending.connection = this
    switch (pending.fault) {
      case "cutRequest":
        pending.strike(this.underWay())
        this.cut()
        return true
      case "holdRequest":
        pending.strike(this.underWay())
        this.holding = pending
        if (!pending.released) this.toServer.hold()
        return false
      case "muteClient":
        pending.strike(this.underWay())
        this.muting = pending
        return false
      default:
        this.onResponse.set(stream, pending)
        return false
    }
  }
}

interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly bytes: Buffer
}

/** One direction: splits bytes into frames, and passes them on after the delay, in order. */
class Lane {
  private readonly to: Socket
  private readonly delayMillis: () => number
  private rest: Buffer = Buffer.alloc(0)
  private readonly punctual: boolean
  private skip: number
  private held: Array<Frame> | undefined
  private readonly waiting: Array<{ readonly bytes: Buffer; readonly due: number }> = []

  constructor(to: Socket, delayMillis: () => number, skip: number, punctual: boolean) {
    this.to = to
    this.punctual = punctual
    this.delayMillis = delayMillis
    this.skip = skip
  }

  split(chunk: Buffer): Array<Frame> {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    if (this.skip > 0) {
      if (this.rest.length < this.skip) return []
      this.write(this.rest.subarray(0, this.skip))
      this.rest = this.rest.subarray(this.skip)
      this.skip = 0
    }
    const frames: Array<Frame> = []
    while (this.rest.length >= 9) {
      const size = 9 + this.rest.readUIntBE(0, 3)
      if (this.rest.length < size) break
      const bytes = this.rest.subarray(0, size)
      frames.push({ type: bytes[3]!, flags: bytes[4]!, stream: bytes.readUInt32BE(5) & 0x7fff_ffff, bytes })
      this.rest = this.rest.subarray(size)
    }
    return frames
  }

  pass(frame: Frame): void {
    if (this.held === undefined) this.write(frame.bytes)
    else this.held.push(frame)
  }

  hold(): void {
    this.held ??= []
  }

  isHeld(): boolean {
    return this.held !== undefined
  }

  open(passes: (frame: Frame) => boolean): void {
    const frames = this.held ?? []
    this.held = undefined
    for (const frame of frames) {
      if (passes(frame)) this.write(frame.bytes)
    }
  }

  private write(bytes: Buffer): void {
    const delay = this.delayMillis()
    if (delay === 0 && this.waiting.length === 0) {
      this.to.write(bytes)
      return
    }
    this.waiting.push({ bytes, due: performance.now() + delay })
    if (this.waiting.length === 1) this.wait()
  }

  private wait(): void {
    const rest = this.waiting[0]!.due - performance.now()
    if (!this.punctual) setTimeout(this.flush, Math.max(0, rest))
    else if (rest > restless) setTimeout(this.flush, rest - restless)
    else setImmediate(this.flush)
  }

  private readonly flush = (): void => {
    const now = performance.now()
    while (this.waiting.length > 0 && this.waiting[0]!.due <= now) {
      const { bytes } = this.waiting.shift()!
      if (this.to.writable) this.to.write(bytes)
    }
    if (this.waiting.length > 0) this.wait()
  }
}

/** For so many milliseconds before its time a punctual lane asks again and again. */
const restless = 2
