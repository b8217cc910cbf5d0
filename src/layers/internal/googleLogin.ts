/**
 * Credentials: finding them, trying them out, and errors about them that give nothing away.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { readFile } from "node:fs/promises"
import { type DatastoreError, FailedPrecondition, Unauthenticated, Unavailable } from "../../EventboxError.ts"
import { makeError } from "./googleErrors.ts"
import { isTokenServerDown } from "./googleToken.ts"

/** The login of a service account. */
export interface ServiceAccount {
  readonly clientEmail: string
  readonly privateKey: string | Redacted.Redacted<string>
}

/** What the options say about the login. */
export interface LoginSettings {
  readonly keyFilename: string | undefined
  readonly credentials: ServiceAccount | undefined
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
  { credentials, keyFilename }: LoginSettings,
  library: () => AuthLibrary
): Effect.Effect<Login, DatastoreError> => {
  const jwt = (options: object) => ({ authClient: new (library().googleAuthLibrary.JWT)(options) })
  if (credentials !== undefined) {
    const { clientEmail, privateKey } = credentials
    const key = typeof privateKey === "string" ? privateKey : Redacted.value(privateKey)
    return attempt(async () => ({ clientOptions: jwt({ email: clientEmail, key }), projectId: undefined }))
  }
  if (keyFilename === undefined) return Effect.succeed({ clientOptions: {}, projectId: undefined })
  return attempt(async () => {
    const file = JSON.parse(await readFile(keyFilename, "utf8")) as Readonly<Record<string, unknown>>
    const projectId = typeof file["project_id"] === "string" ? file["project_id"] : undefined
    if (file["type"] !== "service_account") return { clientOptions: { keyFilename }, projectId }
    const clientOptions = jwt({
      email: file["client_email"],
      key: file["private_key"],
      keyId: file["private_key_id"],
      projectId,
      ...(file["universe_domain"] === undefined ? {} : { universeDomain: file["universe_domain"] })
    })
    return { clientOptions, projectId }
  })
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

/** The cause itself is dropped: errors of the login flow carry their requests, and those carry secrets. */
const reasonOf = (cause: unknown): Unauthenticated | Unavailable => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  const message = messageOf(cause)
  const text = typeof code === "string" && !message.includes(code) ? `${code}: ${message}` : message
  if (isTokenServerDown(cause)) return new Unavailable({ detail: `there is no token to be had: ${text}` })
  return new Unauthenticated({
    detail:
      `${text}; log in with \`gcloud auth application-default login\`, or name a key file in \`keyFilename\` or ` +
      "GOOGLE_APPLICATION_CREDENTIALS, or set DATASTORE_EMULATOR_HOST"
  })
}

const messageOf = (cause: unknown): string => {
  // The parser quotes a piece of the text that it could not read.
  if (cause instanceof SyntaxError) return "the key file is not valid JSON"
  return cause instanceof Error ? cause.message : "the credentials cannot be used"
}
