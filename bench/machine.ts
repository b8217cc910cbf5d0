/**
 * What the measurements were made on.
 */
import { execFile } from "node:child_process"
import { createRequire } from "node:module"
import { arch, cpus, loadavg, platform } from "node:os"
import { promisify } from "node:util"

/** Enough to tell why another machine has other figures. */
export interface Machine {
  readonly node: string
  readonly effect: string
  readonly googleClient: string
  readonly system: string
  readonly processor: string
  readonly cores: number
  /** Processes that wanted to run in the last minute, on average; above the number of cores, times are worth little. */
  readonly load: number
}

const require = createRequire(import.meta.url)

/** The version of an installed package. */
const versionOf = (name: string): string => {
  try {
    return (require(`${name}/package.json`) as { readonly version: string }).version
  } catch {
    return "not installed"
  }
}

/** Describes this machine at this moment. */
export const describeMachine = (): Machine => ({
  node: process.version,
  effect: versionOf("effect"),
  googleClient: versionOf("@google-cloud/datastore"),
  system: `${platform()} ${arch()}`,
  processor: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  load: loadavg()[0]!
})

/** The lines about the machine. */
export const reportMachine = (machine: Machine): string =>
  [
    `node ${machine.node}, effect ${machine.effect}, @google-cloud/datastore ${machine.googleClient}`,
    `${machine.processor}, ${machine.cores} cores, ${machine.system}`,
    `load of the minute before the start: ${machine.load.toFixed(2)}`
  ].join("\n")

/** The version of the emulator that the layer starts, as far as it can be known. */
export const emulatorVersion = async (): Promise<string> => {
  const running = process.env["DATASTORE_EMULATOR_HOST"]
  if (running !== undefined && running !== "") return `the one that runs at ${running}`
  const jar = process.env["EVENTBOX_EMULATOR_JAR"]
  if (jar !== undefined && jar !== "") return `that of ${jar}`
  try {
    const { stdout } = await promisify(execFile)("gcloud", ["version", "--format=json"], { timeout: 20_000 })
    const versions = JSON.parse(stdout) as Readonly<Record<string, string>>
    return `Firestore emulator ${versions["cloud-firestore-emulator"] ?? "of unknown version"}`
  } catch {
    return "Firestore emulator of unknown version"
  }
}
