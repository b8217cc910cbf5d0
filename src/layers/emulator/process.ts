/**
 * Finding the Firestore emulator, and running it as a process that does not outlive its user.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { existsSync, realpathSync, statSync } from "node:fs"
import { request } from "node:http"
import { createServer } from "node:net"
import { homedir } from "node:os"
import { delimiter, dirname, join } from "node:path"

/** Why there is no emulator, in words for its user. */
export class EmulatorProblem extends Error {
  override readonly name = "EmulatorProblem"
}

const jarInSdk = join("platform", "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
const mainClass = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"

const install = "Install the Google Cloud SDK and in it the emulator, with `gcloud components install " +
  "cloud-firestore-emulator` or `apt-get install google-cloud-cli-firestore-emulator`; or set EVENTBOX_EMULATOR_JAR " +
  "to the path of cloud-firestore-emulator.jar; or set DATASTORE_EMULATOR_HOST to an emulator that runs."

type Environment = Readonly<Record<string, string | undefined>>

/** Path of the emulator's jar: the one named, else that of the SDK. Asks `gcloud`, which is slow, only at the end. */
export const findJar = async (named: string | undefined, environment: Environment): Promise<string> => {
  const jar = named ?? environment["EVENTBOX_EMULATOR_JAR"]
  if (jar !== undefined && jar !== "") {
    if (existsSync(jar)) return jar
    throw new EmulatorProblem(`there is no file ${jar}, where the jar of the emulator should be. ${install}`)
  }
  for (const root of sdkRoots(environment)) {
    if (existsSync(join(root, jarInSdk))) return join(root, jarInSdk)
  }
  const asked = await run("gcloud", ["info", "--format=value(installation.sdk_root)"])
  if (asked !== undefined && existsSync(join(asked, jarInSdk))) return join(asked, jarInSdk)
  const sdk = asked === undefined ? "" : ` The Google Cloud SDK in ${asked} has none.`
  throw new EmulatorProblem(`no Firestore emulator was found.${sdk} ${install}`)
}

const sdkRoots = (environment: Environment): ReadonlyArray<string> => {
  const home = homedir()
  const gcloud = (environment["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "gcloud")).find((path) =>
    existsSync(path)
  )
  return [
    environment["CLOUDSDK_ROOT_DIR"],
    gcloud === undefined ? undefined : dirname(dirname(realpathSync(gcloud))),
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    join(home, "google-cloud-sdk"),
    "/opt/homebrew/share/google-cloud-sdk",
    "/usr/local/share/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
    join(environment["LOCALAPPDATA"] ?? home, "Google", "Cloud SDK", "google-cloud-sdk")
  ].filter((root) => root !== undefined).filter((root) => root !== "")
}

const run = (command: string, args: ReadonlyArray<string>): Promise<string | undefined> =>
  new Promise((done) => {
    execFile(command, args, { timeout: 20_000 }, (error, stdout) => done(error === null ? stdout.trim() : undefined))
  })

/** The `java` to start: the one named, else that of `JAVA_HOME`, else the one on the path. */
export const findJava = (named: string | undefined, environment: Environment): string => {
  const home = environment["JAVA_HOME"]
  if (named !== undefined) return named
  if (home === undefined || home === "") return "java"
  if (statSync(home, { throwIfNoEntry: false })?.isFile() === true) {
    throw new EmulatorProblem(
      `JAVA_HOME is ${home}, which is a file: set it to the folder of a Java runtime, in which there is bin/java, or ` +
        "unset it to use the java of the path"
    )
  }
  return join(home, "bin", "java")
}

/** A running emulator. */
export interface EmulatorProcess {
  readonly port: number
  /** Ends it: SIGTERM, and SIGKILL after 5 s. */
  readonly stop: () => Promise<void>
}

/** Starts the emulator and waits until it answers; whatever goes wrong, no process is left. */
export const startProcess = async (options: {
  readonly java: string
  readonly jar: string
  readonly heapMegabytes: number
  readonly timeoutMillis: number
  readonly signal: AbortSignal
}): Promise<EmulatorProcess> => {
  const port = await freePort()
  // Java itself, not the SDK's shell script: a signal would end the script and leave Java running.
  const child = spawnJava(options.java, [
    `-Xmx${options.heapMegabytes}m`,
    "-XX:+UseSerialGC",
    "-Duser.language=en",
    "-cp",
    options.jar,
    mainClass,
    "start",
    "--host=127.0.0.1",
    `--port=${port}`,
    "--database-mode=datastore-mode"
  ])
  const output = tail(child)
  const ended = new Promise<string>((done) => {
    child.once("error", (error) => done(explainSpawn(error, options.java)))
    const explain = (code: number | null, signal: string | null) => done(explainExit(code, signal, output()))
    child.once("close", explain)
    // What it printed may come a little later; a process of its own may keep the pipe open for ever.
    child.once("exit", (code, signal) => setTimeout(() => explain(code, signal), 500).unref())
  })
  const guard = child.pid === undefined ? undefined : startGuard(child.pid)
  const stop = async (): Promise<void> => {
    await end(child, ended)
    guard?.kill("SIGKILL")
  }
  detach(child)
  try {
    await healthy(`127.0.0.1:${port}`, { ...options, why: watch(ended), output })
    options.signal.throwIfAborted()
    return { port, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const spawnJava = (java: string, args: ReadonlyArray<string>): ChildProcess => {
  try {
    return spawn(java, args, { stdio: ["ignore", "pipe", "pipe"] })
  } catch (cause) {
    // Some failures are thrown, others come as an event.
    throw new EmulatorProblem(explainSpawn(cause as Error, java))
  }
}

const freePort = (): Promise<number> =>
  new Promise((done, fail) => {
    const server = createServer()
    server.once("error", fail)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => done(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** The end of what a process prints; it is read all the time, or a full pipe would stop the process. */
const tail = (child: ChildProcess): () => string => {
  let text = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-2_000)
    })
  }
  return () => text.trim()
}

/** Lets this process end by itself although the emulator runs; then the guard ends the emulator. */
const detach = (child: ChildProcess): void => {
  child.unref()
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    if (stream !== null && "unref" in stream && typeof stream.unref === "function") stream.unref()
  }
}

/**
 * A small process that ends the emulator when this one is gone, also when it was killed: its standard input then
 * closes.
 */
const startGuard = (pid: number): ChildProcess => {
  const script = `
    const end = (signal) => { try { process.kill(${pid}, signal) } catch { process.exit(0) } }
    process.on("SIGINT", () => {}); process.on("SIGTERM", () => {}); process.on("SIGHUP", () => {})
    process.stdin.resume().on("end", () => {
      end("SIGTERM")
      const since = Date.now()
      setInterval(() => end(Date.now() - since > 5000 ? "SIGKILL" : 0), 100)
    })`
  const guard = spawn(process.execPath, ["-e", script], {
    stdio: ["pipe", "ignore", "ignore"],
    // Options for this process, such as a debugger's, are not meant for that one.
    env: { ...process.env, NODE_OPTIONS: "" }
  })
  guard.on("error", () => {})
  guard.stdin.on("error", () => {})
  detach(guard)
  return guard
}

const end = async (child: ChildProcess, ended: Promise<string>): Promise<void> => {
  child.kill("SIGTERM")
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000)
  await ended
  clearTimeout(timer)
}

const explainSpawn = (error: Error, java: string): string =>
  "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")
    ? `the emulator needs Java, and there is no ${java}. Install a Java runtime, version 21 or later (17 for emulators ` +
      "up to 1.19), and have it on the path or in JAVA_HOME; or set DATASTORE_EMULATOR_HOST to an emulator that runs."
    : `Java could not be started: ${error.message}; \`java\` or JAVA_HOME has to lead to a program that may be run`

const explainExit = (code: number | null, signal: string | null, output: string): string => {
  const hint = output.includes("UnsupportedClassVersionError")
    ? " It needs a newer Java: install version 21 or later, or point JAVA_HOME to one."
    : output.includes("OutOfMemoryError")
    ? " It has too little memory: raise `heapMegabytes`."
    : ""
  return `the emulator ended at once, with ${signal ?? `exit code ${code}`}.${hint} It printed:\n${output}`
}

const watch = (ended: Promise<string>): () => string | undefined => {
  let reason: string | undefined
  void ended.then((why) => {
    reason = why
  })
  return () => reason
}

/** Waits until the emulator answers, or fails with the reason why it never will. */
const healthy = async (host: string, options: {
  readonly timeoutMillis: number
  readonly signal: AbortSignal
  /** Why it ended, once it has. */
  readonly why: () => string | undefined
  readonly output: () => string
}): Promise<void> => {
  const inTime = await answersWithin(host, options.timeoutMillis, () => {
    const reason = options.why()
    if (reason !== undefined) throw new EmulatorProblem(reason)
    options.signal.throwIfAborted()
  })
  if (inTime) return
  const seconds = options.timeoutMillis / 1_000
  throw new EmulatorProblem(`the emulator did not answer within ${seconds} s. It printed:\n${options.output()}`)
}

/** Asks until an emulator answers or the time is over, once at least; `check` may throw in between. */
export const answersWithin = async (host: string, timeoutMillis: number, check: () => void): Promise<boolean> => {
  const giveUpAt = Date.now() + timeoutMillis
  const attempt = async (): Promise<boolean> => {
    if (await answers(host, Math.max(1, Math.min(1_000, giveUpAt - Date.now())))) return true
    check()
    if (Date.now() > giveUpAt) return false
    await new Promise((done) => setTimeout(done, 50))
    return attempt()
  }
  return attempt()
}

/** Whether an emulator answers at this host and port. */
export const answers = async (host: string, timeoutMillis: number): Promise<boolean> =>
  await call(host, "GET", "/", timeoutMillis).catch(() => 0) === 200

/** Makes the emulator forget everything: entities, transactions, locks. */
export const reset = async (host: string): Promise<void> => {
  const status = await call(host, "POST", "/reset", 30_000)
  if (status !== 200) throw new EmulatorProblem(`the emulator at ${host} answered ${status} to a reset`)
}

/** The status of an answer. An agent of its own: the global ones may use a proxy of the environment. */
const call = (host: string, method: string, path: string, timeoutMillis: number): Promise<number> =>
  new Promise((done, fail) => {
    const signal = AbortSignal.timeout(timeoutMillis)
    const sent = request(new URL(path, `http://${host}`), { method, agent: false, signal }, (response) => {
      response.resume().once("error", fail).once("end", () => done(response.statusCode ?? 0))
    })
    sent.once("error", fail).end()
  })
