/**
 * An HTTP/2 proxy before the emulator that spoils answers in every way in which gRPC's client then makes up a status of
 * its own. It passes the request on before it spoils the answer, or does not pass it on at all.
 */
import { Effect, type Scope } from "effect"
import * as http2 from "node:http2"
import type { AddressInfo } from "node:net"
import type { Method } from "./scriptedServer.ts"

/** What the server has answered; nothing when it was not asked. */
interface Answer {
  readonly headers: http2.IncomingHttpHeaders
  readonly data: Buffer
  readonly trailers: http2.IncomingHttpHeaders | undefined
}

/** A way to spoil an answer. */
export interface Fault {
  readonly name: string
  readonly spoil: (stream: http2.ServerHttp2Stream, data: Buffer) => void
  /** Whether the client sends the request again by itself, as HTTP/2 allows when it was not looked at. */
  readonly isRefusal?: boolean
  /** Whether the client goes on waiting until the deadline. */
  readonly hangs?: boolean
  /** Whether the client takes it for a good answer, and only who reads it finds out. */
  readonly isAnswer?: boolean
}

/** Whether the server gets the request whose answer is spoilt. */
export type Moment = "before" | "after"

export interface H2Proxy {
  /** Where the client connects to. */
  readonly host: string
  /** Spoils the answer to the next request of a method; the result tells whether that has come. */
  readonly arm: (method: Method, fault: Fault, moment: Moment) => () => boolean
  /** Spoils nothing more. */
  readonly disarm: () => void
}

/** Opens a proxy of its own before a server. */
export const makeH2Proxy = (target: string): Effect.Effect<H2Proxy, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => open(target)),
      ({ close }) => Effect.sync(close)
    ),
    ({ arm, disarm, host }) => ({ arm, disarm, host })
  )

interface Armed {
  readonly method: Method
  readonly fault: Fault
  readonly moment: Moment
  struck: boolean
}

const open = async (target: string): Promise<H2Proxy & { readonly close: () => void }> => {
  const upstream = http2.connect(`http://${target}`)
  upstream.on("error", () => {})
  const sessions = new Set<http2.ServerHttp2Session>()
  const armed: Array<Armed> = []
  const server = http2.createServer()
  server.on("session", (session) => {
    sessions.add(session)
    session.on("error", () => {})
    session.on("close", () => sessions.delete(session))
  })
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {})
    void bodyOf(stream).then(async (request) => {
      const fault = armed.find(({ method, struck }) => !struck && headers[":path"]?.endsWith(`/${method}`) === true)
      if (fault !== undefined) fault.struck = true
      if (fault?.moment === "before") return fault.fault.spoil(stream, emptyAnswer)
      const answer = await ask(upstream, headers, request)
      if (stream.destroyed) return
      if (fault === undefined) passOn(stream, answer)
      else fault.fault.spoil(stream, answer.data)
    })
  })
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", done)
  })
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    arm: (method, fault, moment) => {
      const one: Armed = { method, fault, moment, struck: false }
      armed.push(one)
      return () => one.struck
    },
    disarm: () => {
      armed.length = 0
    },
    close: () => {
      for (const session of sessions) session.destroy()
      server.close()
      upstream.destroy()
    }
  }
}

/** The frame of an empty message. */
const emptyAnswer = Buffer.alloc(5)

const bodyOf = (stream: http2.Http2Stream): Promise<Buffer> =>
  new Promise((done) => {
    const chunks: Array<Buffer> = []
    stream.on("data", (chunk: Buffer) => chunks.push(chunk))
    stream.on("end", () => done(Buffer.concat(chunks)))
  })

const ask = async (
  upstream: http2.ClientHttp2Session,
  headers: http2.IncomingHttpHeaders,
  request: Buffer
): Promise<Answer> => {
  const { connection: _, ...passed } = headers
  const up = upstream.request({ ...passed, ":authority": undefined, ":scheme": "http" })
  const found: { headers: http2.IncomingHttpHeaders; trailers: http2.IncomingHttpHeaders | undefined } = {
    headers: {},
    trailers: undefined
  }
  up.on("response", (response) => {
    found.headers = response
  })
  up.on("trailers", (trailers) => {
    found.trailers = trailers
  })
  up.end(request)
  const data = await bodyOf(up)
  return { ...found, data }
}

const passOn = (stream: http2.ServerHttp2Stream, { data, headers, trailers }: Answer): void => {
  // Statuses of failed requests mostly come with the headers.
  if (trailers === undefined) return stream.respond(headers, { endStream: true })
  reply(stream, [data], trailers)
}

/** A success of gRPC with these frames. */
const reply = (
  stream: http2.ServerHttp2Stream,
  frames: ReadonlyArray<Buffer>,
  trailers: http2.IncomingHttpHeaders = { "grpc-status": "0" }
): void => {
  stream.respond(grpcHeaders, { waitForTrailers: true })
  stream.on("wantTrailers", () => stream.sendTrailers(trailers))
  for (const frame of frames) stream.write(frame)
  stream.end()
}

const grpcHeaders = { ":status": 200, "content-type": "application/grpc" }

// ---------------------------------------------------------------------------------------------------------------------
// The faults
// ---------------------------------------------------------------------------------------------------------------------

const { constants } = http2

const errorCodes = Object.entries({
  NO_ERROR: constants.NGHTTP2_NO_ERROR,
  PROTOCOL_ERROR: constants.NGHTTP2_PROTOCOL_ERROR,
  INTERNAL_ERROR: constants.NGHTTP2_INTERNAL_ERROR,
  FLOW_CONTROL_ERROR: constants.NGHTTP2_FLOW_CONTROL_ERROR,
  SETTINGS_TIMEOUT: constants.NGHTTP2_SETTINGS_TIMEOUT,
  STREAM_CLOSED: constants.NGHTTP2_STREAM_CLOSED,
  FRAME_SIZE_ERROR: constants.NGHTTP2_FRAME_SIZE_ERROR,
  REFUSED_STREAM: constants.NGHTTP2_REFUSED_STREAM,
  CANCEL: constants.NGHTTP2_CANCEL,
  COMPRESSION_ERROR: constants.NGHTTP2_COMPRESSION_ERROR,
  CONNECT_ERROR: constants.NGHTTP2_CONNECT_ERROR,
  ENHANCE_YOUR_CALM: constants.NGHTTP2_ENHANCE_YOUR_CALM,
  INADEQUATE_SECURITY: constants.NGHTTP2_INADEQUATE_SECURITY,
  HTTP_1_1_REQUIRED: constants.NGHTTP2_HTTP_1_1_REQUIRED
})

const resets = errorCodes.map(([name, code]): Fault => ({
  name: `a reset with ${name}`,
  spoil: (stream) => stream.close(code),
  isRefusal: code === constants.NGHTTP2_REFUSED_STREAM
}))

const lateResets = errorCodes.filter(([name]) => name !== "REFUSED_STREAM").map(([name, code]): Fault => ({
  name: `headers, then a reset with ${name}`,
  spoil: (stream) => {
    stream.respond(grpcHeaders)
    stream.write(emptyAnswer, () => stream.close(code))
  }
}))

const goAways: ReadonlyArray<Fault> = [
  {
    name: "GOAWAY with ENHANCE_YOUR_CALM",
    spoil: (stream) => stream.session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too_many_pings"))
  },
  {
    name: "GOAWAY with INTERNAL_ERROR",
    spoil: (stream) => stream.session?.goaway(constants.NGHTTP2_INTERNAL_ERROR, stream.id)
  },
  { name: "a connection that ends", spoil: (stream) => stream.session?.destroy() }
]

const http = [400, 401, 403, 404, 429, 500, 503].flatMap((status): ReadonlyArray<Fault> => [
  {
    name: `HTTP ${status} with a page`,
    spoil: (stream) => {
      stream.respond({ ":status": status, "content-type": "text/html" })
      stream.end("<html>a proxy</html>")
    }
  },
  {
    name: `HTTP ${status} alone`,
    spoil: (stream) => stream.respond({ ":status": status, "content-type": "text/html" }, { endStream: true })
  },
  {
    name: `HTTP ${status} that calls itself gRPC`,
    spoil: (stream) => stream.respond({ ":status": status, "content-type": "application/grpc" }, { endStream: true })
  },
  {
    name: `HTTP ${status} with trailers`,
    spoil: (stream) => {
      stream.respond({ ":status": status, "content-type": "application/grpc" }, { waitForTrailers: true })
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-proxy": "a" }))
      stream.end()
    }
  }
])

const framed = (flag: number, message: Buffer, length = message.length): Buffer => {
  const frame = Buffer.alloc(5)
  frame[0] = flag
  frame.writeUInt32BE(length, 1)
  return Buffer.concat([frame, message])
}

const messages: ReadonlyArray<Fault> = [
  { name: "a success without a message", spoil: (stream) => reply(stream, []) },
  {
    name: "a success without a message, in one frame",
    spoil: (stream) => stream.respond({ ...grpcHeaders, "grpc-status": "0" }, { endStream: true })
  },
  { name: "a message without a status", spoil: (stream, data) => reply(stream, [data], { "x-proxy": "a" }) },
  {
    name: "a message without trailers",
    spoil: (stream, data) => {
      stream.respond(grpcHeaders)
      stream.end(data)
    }
  },
  { name: "two messages", spoil: (stream, data) => reply(stream, [data, data]), hangs: true },
  { name: "half a message", spoil: (stream, data) => reply(stream, [framed(0, data.subarray(5), data.length + 100)]) },
  {
    name: "a message that is no message",
    spoil: (stream) => reply(stream, [framed(0, Buffer.alloc(40, 0xff))]),
    isAnswer: true
  },
  { name: "a compressed message in clear", spoil: (stream, data) => reply(stream, [framed(1, data.subarray(5))]) },
  { name: "a message of four gigabytes", spoil: (stream) => reply(stream, [framed(0, Buffer.alloc(0), 0xffff_ffff)]) },
  {
    name: "a status beyond the known ones",
    spoil: (stream) => stream.respond({ ...grpcHeaders, "grpc-status": "429" }, { endStream: true })
  },
  {
    name: "a status that is no number",
    spoil: (stream) => stream.respond({ ...grpcHeaders, "grpc-status": "no" }, { endStream: true })
  },
  {
    name: "a refusal in trailers of its own",
    spoil: (stream) => reply(stream, [], { "grpc-status": "7", "grpc-message": "a proxy" })
  }
]

/** Everything from which gRPC's client makes up a status. */
export const faults: ReadonlyArray<Fault> = [...resets, ...lateResets, ...goAways, ...http, ...messages]
