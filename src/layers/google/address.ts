/**
 * Host and port as settings give them: the one rule for every layer and every place that names a server.
 */
import * as Result from "effect/Result"
import { shown } from "./secrets.ts"

/** Where a server is. */
export interface Address {
  /** A name, an IPv4 address, or an IPv6 address in brackets. */
  readonly host: string
  readonly port: number | undefined
}

/** Host and port of an emulator, as `DATASTORE_EMULATOR_HOST` holds them; `undefined` for a blank text. */
export const parseEmulatorHost = (text: string | undefined): Result.Result<Address | undefined, string> =>
  parse(text, {
    setting: "DATASTORE_EMULATOR_HOST (option `emulatorHost` or `host`)",
    scheme: "http",
    otherScheme: "an emulator is reached without TLS",
    needsPort: true,
    example: "127.0.0.1:8081"
  })

/** Host, with an optional port, of a service; `undefined` for a blank text. */
export const parseEndpoint = (text: string | undefined): Result.Result<Address | undefined, string> =>
  parse(text, {
    setting: "DATASTORE_ENDPOINT (option `endpoint`)",
    scheme: "https",
    otherScheme: "a service is reached with TLS; an emulator goes to DATASTORE_EMULATOR_HOST",
    needsPort: false,
    example: "datastore.example.com or datastore.example.com:443"
  })

/** An address as text. */
export const formatAddress = ({ host, port }: Address): string => port === undefined ? host : `${host}:${port}`

interface Rule {
  readonly setting: string
  readonly scheme: string
  /** Why no other scheme will do. */
  readonly otherScheme: string
  readonly needsPort: boolean
  readonly example: string
}

const parse = (text: string | undefined, rule: Rule): Result.Result<Address | undefined, string> => {
  const trimmed = text?.trim() ?? ""
  if (trimmed === "") return Result.succeed(undefined)
  const [, scheme = rule.scheme, rest = ""] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(trimmed)!
  const bare = rest.replace(/\/+$/, "")
  const [, host = "", port] = /^(\[[\da-f:.]*:[\da-f:.]*\]|[^:]*)(?::(\d+))?$/i.exec(bare) ?? []
  const problem = scheme.toLowerCase() === rule.scheme ? problemOf(bare, host, port, rule) : rule.otherScheme
  return problem === undefined
    ? Result.succeed({ host, port: port === undefined ? undefined : Number(port) })
    : Result.fail(`${rule.setting} is ${shown(trimmed)}: ${problem}; write ${rule.example}`)
}

const problemOf = (bare: string, host: string, port: string | undefined, rule: Rule): string | undefined => {
  if (/^["'`]|["'`]$/.test(bare)) return "the quotes are part of it"
  if (bare.includes(",")) return "it is one address, not a list"
  if (/[/?#@]/.test(bare)) return "it has a host and a port, and nothing else"
  if (/^[\da-f]*:[\da-f]*:[\da-f:.]*$/i.test(bare)) return "an IPv6 address is written in brackets, such as [::1]:8081"
  if (!/^\[.*\]$/.test(host) && !/^[a-z\d](?:[\w.-]*[a-z\d.])?$/i.test(host)) return "that is no host and port"
  if (port === undefined) return rule.needsPort ? "it has no port" : undefined
  return Number(port) >= 1 && Number(port) <= 65_535 ? undefined : "a port lies between 1 and 65535"
}
