/**
 * Credentials: finding them, trying them out, and errors about them that give nothing away.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createPrivateKey } from "node:crypto"
import { readFile } from "node:fs/promises"
import { type DatastoreError, FailedPrecondition, Unauthenticated, Unavailable } from "../../EventboxError.ts"
import { codeOf, messageOf } from "../../ground/foreign.ts"
import { makeError } from "./errors.ts"
import { isPath, plainWords } from "./secrets.ts"
import { isTokenServerDown } from "./token.ts"

/** The login of a service account. */
export interface ServiceAccount {
  readonly clientEmail: string
  readonly privateKey: string | Redacted.Redacted<string>
}

/** What the options say about the login. */
export interface LoginSettings {
  readonly keyFilename: string | undefined
  readonly credentials: ServiceAccount | undefined
  /** Options of the generated client that the user gives. */
  readonly clientOptions: Readonly<Record<string, unknown>> | undefined
}

/** Options of the generated client that log in, and the project that the login belongs to. */
export interface Login {
  readonly clientOptions: object
  readonly projectId: string | undefined
}

/** The part of `google-gax` that makes the login of a service account. */
export interface AuthLibrary {
  readonly googleAuthLibrary: { readonly JWT: new(options: object) => object }
}

/** The part of the generated client that is tried out. */
interface Authenticated {
  readonly auth: {
    readonly getClient: () => Promise<{ readonly getRequestHeaders: (url: string) => Promise<unknown> }>
  }
}

/**
 * Makes a login of the settings; none when they are silent, and the client then looks for the default credentials.
 * Service accounts log in by a client of their own: given by name the library prints a warning for each.
 */
export const makeLogin = (
  { clientOptions, credentials, keyFilename }: LoginSettings,
  library: AuthLibrary
): Effect.Effect<Login, DatastoreError> =>
  attempt(async () => {
    if (credentials !== undefined) {
      const key = usableKey("`credentials.privateKey`", credentials.privateKey)
      return { clientOptions: jwt(library, { email: emailOf(credentials.clientEmail), key }), projectId: undefined }
    }
    if (keyFilename === undefined) {
      await checkNamedFile(clientOptions)
      return { clientOptions: {}, projectId: undefined }
    }
    const setting = "DATASTORE_KEY_FILENAME (option `keyFilename`)"
    const file = await readKeyFile(setting, keyFilename)
    const projectId = typeof file["project_id"] === "string" ? file["project_id"] : undefined
    if (file["type"] !== "service_account") return { clientOptions: { keyFilename }, projectId }
    const login = jwt(library, {
      email: file["client_email"],
      key: usableKey(`\`private_key\` of the file that ${setting} names`, file["private_key"]),
      keyId: file["private_key_id"],
      projectId,
      ...(file["universe_domain"] === undefined ? {} : { universeDomain: file["universe_domain"] })
    })
    return { clientOptions: login, projectId }
  })

const jwt = ({ googleAuthLibrary }: AuthLibrary, options: object): object => ({
  authClient: new googleAuthLibrary.JWT(options)
})

/** A file that the client would read by itself: its errors would quote the name or the content. */
const checkNamedFile = async (clientOptions: LoginSettings["clientOptions"] = {}): Promise<void> => {
  const named = ["keyFilename", "keyFile"].find((name) => typeof clientOptions[name] === "string")
  if (named !== undefined) {
    await readText(`\`clientOptions.${named}\``, clientOptions[named] as string)
    return
  }
  if (["authClient", "auth", "credentials", "apiKey"].some((name) => clientOptions[name] !== undefined)) return
  const names = ["GOOGLE_APPLICATION_CREDENTIALS", "google_application_credentials"]
  const variable = names.find((name) => (process.env[name] ?? "") !== "")
  if (variable !== undefined) await readKeyFile(variable, process.env[variable]!)
}

/** What is wrong with the settings of a login, in our own words, which never hold the value of a secret. */
class LoginProblem extends Error {
  override readonly name = "LoginProblem"
}

type KeyFile = Readonly<Record<string, unknown>>

const readKeyFile = async (setting: string, path: string): Promise<KeyFile> => {
  const file = parseObject(await readText(setting, path))
  if (file !== undefined) return file
  throw new LoginProblem(
    `${setting} names ${isPath(path) ? path : "a file"}, which is no key file: it does not hold JSON with the fields ` +
      `of a key. Name another file, or ${logInInstead}`
  )
}

const readText = (setting: string, path: string): Promise<string> =>
  readFile(path, "utf8").catch((cause: unknown) => {
    throw new LoginProblem(
      isPath(path)
        ? `${setting} names ${path}, which cannot be read (${codeOf(cause)}): correct the path, or ${logInInstead}`
        : `${setting} does not hold the path of a key file${
          /PRIVATE KEY|[{"]/.test(path) ? ", but the key itself" : ""
        }: ` +
          "write the key to a file and set it to the path of that file, or give the option `credentials`"
    )
  })

const logInInstead = "leave it out and log in with `gcloud auth application-default login`"

const parseObject = (text: string): KeyFile | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as KeyFile : undefined
  } catch {
    // What the parser says quotes a piece of the text.
    return undefined
  }
}

const emailOf = (email: unknown): string => {
  if (typeof email === "string" && email.trim() !== "") return email.trim()
  throw new LoginProblem(
    `\`credentials.clientEmail\` is ${email === "" ? "empty" : typeof email}: give \`client_email\` of the key file`
  )
}

/** A private key as the library wants it, or what is wrong with the one given. */
const usableKey = (setting: string, given: unknown): string => {
  const key: unknown = Redacted.isRedacted(given) ? Redacted.value(given) : given
  const fault = (problem: string) =>
    new LoginProblem(`${setting} ${problem}: give \`private_key\` of the key file as it stands there`)
  if (typeof key !== "string" || key.trim() === "") {
    const what = key === undefined ? "undefined, as of a variable that is not set" : typeof key
    throw fault(`is ${typeof key === "string" ? "empty" : what}`)
  }
  // Environments and their files often have no line breaks.
  const pem = key.replaceAll("\\n", "\n").trim()
  if (/^["']/.test(pem)) throw fault("begins with a quotation mark")
  if (pem.startsWith("{")) throw fault("holds the whole key file, of which only one field is the key")
  if (/BEGIN ENCRYPTED/.test(pem)) throw fault("is encrypted")
  if (!/^-----BEGIN (RSA )?PRIVATE KEY-----/.test(pem)) {
    throw fault("is not in PEM form, which begins with -----BEGIN PRIVATE KEY-----")
  }
  try {
    createPrivateKey(pem)
  } catch {
    throw fault("begins as a key in PEM form does, but is none: it may be cut off, or have lost its line breaks")
  }
  return pem
}

/** Asks for a token, or has one signed: loading credentials alone does not show that they work. */
export const checkLogin = (client: Authenticated): Effect.Effect<void, DatastoreError> =>
  attempt(async () => {
    const auth = await client.auth.getClient()
    await auth.getRequestHeaders("https://datastore.googleapis.com/")
  }).pipe(
    Effect.timeoutOrElse({
      duration: "20 seconds",
      orElse: () =>
        Effect.fail(makeError("connect", new Unavailable({ detail: "no answer to the request for a token" })))
    })
  )

/** The project of the login. */
export const detectProject = (
  client: { readonly getProjectId: () => Promise<string> }
): Effect.Effect<string, DatastoreError> =>
  Effect.tryPromise({
    try: () => client.getProjectId(),
    catch: () => {
      const detail = "no project is known; give `projectId` or set GOOGLE_CLOUD_PROJECT"
      return makeError("connect", new FailedPrecondition({ detail }))
    }
  })

const attempt = <A>(evaluate: () => Promise<A>): Effect.Effect<A, DatastoreError> =>
  Effect.tryPromise({ try: evaluate, catch: (cause) => makeError("connect", reasonOf(cause)) })

/**
 * The cause itself is dropped, and of what it says only plain words are taken: errors of the login flow carry their
 * requests and quote answers, and those hold secrets.
 */
const reasonOf = (cause: unknown): Unauthenticated | Unavailable => {
  if (cause instanceof LoginProblem) return new Unauthenticated({ detail: cause.message })
  const code = codeOf(cause)
  const message = plainWords(messageOf(cause)) ?? "the credentials cannot be used"
  const text = code === undefined || message.includes(code) ? message : `${plainWords(code) ?? "a code"}: ${message}`
  if (isTokenServerDown(cause)) return new Unavailable({ detail: `there is no token to be had: ${text}` })
  return new Unauthenticated({
    detail:
      `${text}; log in with \`gcloud auth application-default login\`, or name a key file in \`keyFilename\` or ` +
      "GOOGLE_APPLICATION_CREDENTIALS, or set DATASTORE_EMULATOR_HOST"
  })
}
