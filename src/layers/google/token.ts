/**
 * Tokens that cannot be had while requests are made: nothing is sent then, and the caller is told so.
 */
import { messageOf } from "../../ground/foreign.ts"
import { NoToken, type RpcFailure, unsent } from "./errors.ts"
import { plainWords } from "./secrets.ts"

/** A client of the login library. */
export interface AuthClient {
  getRequestHeaders: (url: string) => Promise<unknown>
}

/**
 * Makes the failures of a login carry codes of ours: gRPC hands on the code of what goes wrong there, and the libraries
 * set HTTP numbers, names of network failures, or nothing.
 */
export const markTokenFailures = (client: AuthClient): void => {
  // Several layers may share a login.
  if (marked.has(client)) return
  marked.add(client)
  const original = client.getRequestHeaders
  client.getRequestHeaders = (url) =>
    original.call(client, url).catch((cause: unknown) => {
      throw new TokenError(cause)
    })
}

const marked = new WeakSet<AuthClient>()

/** Gets a token, so that a request which is sent next need not wait for one. */
export const tokenFailure = async (client: AuthClient, url: string): Promise<RpcFailure | undefined> => {
  try {
    await client.getRequestHeaders(url)
    return undefined
  } catch (cause) {
    const error = cause instanceof TokenError ? cause : new TokenError(cause)
    return unsent(error.code, error.message, error)
  }
}

/** Drops the cause: errors of the login flow carry their requests, and those carry secrets. */
class TokenError extends Error {
  override readonly name = "TokenError"
  readonly code: number
  constructor(cause: unknown) {
    const isDown = isTokenServerDown(cause)
    super(`${isDown ? "there is no token to be had" : "a token was refused"}: ${tokenMessage(cause)}; nothing was sent`)
    this.code = isDown ? NoToken.unavailable : NoToken.refused
  }
}

/** Only plain words: the libraries quote keys and the answers of token servers. */
const tokenMessage = (cause: unknown): string => plainWords(messageOf(cause)) ?? "the login failed"

/** Whether the login may work later: the token server cannot be reached, is busy, or has a failure of its own. */
export const isTokenServerDown = (cause: unknown): boolean => {
  const { cause: inner, code, response, status } = (cause ?? {}) as Readonly<Record<string, unknown>>
  const { status: responded } = (response ?? {}) as { readonly status?: unknown }
  const answered = [status, responded, code].find(isHttpStatus)
  if (answered !== undefined) return answered === 408 || answered === 429 || answered >= 500
  const { code: innerCode } = (inner ?? {}) as { readonly code?: unknown }
  return [code, innerCode].some((name) => typeof name === "string" && network.has(name))
}

const isHttpStatus = (value: unknown): value is number => typeof value === "number" && value >= 400 && value < 600

const network: ReadonlySet<string> = new Set([
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENOTFOUND",
  "EPIPE",
  "ERR_SOCKET_CONNECTION_TIMEOUT",
  "ETIMEDOUT",
  "TimeoutError",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_SOCKET"
])
