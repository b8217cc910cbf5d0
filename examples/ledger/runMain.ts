/**
 * Runs a program as a process: keeps the process alive, stops the program on signals, sets the exit code.
 */
import { Cause, Effect, Exit, Fiber } from "effect"

/** Exit code of a program that was stopped by Ctrl-C. */
export const stoppedCode = 130

const graceMillis = 2_000

/** Runs a program that returns its exit code. The first signal interrupts it, a second one ends the process at once. */
export const runMain = (
  program: Effect.Effect<number>,
  options: {
    readonly signals: ReadonlyArray<NodeJS.Signals>
    readonly ignored?: ReadonlyArray<NodeJS.Signals>
    /** Whether to stop, too, when the process that started this one is gone; at once when that takes long. */
    readonly disconnects?: boolean
  }
): void => {
  const fiber = Effect.runFork(program)
  // A fiber that waits for another one keeps no process alive.
  const keepAlive = setInterval(() => undefined, 1 << 30)
  let isStopping = false
  const stop = (): void => {
    if (isStopping) process.exit(stoppedCode)
    isStopping = true
    Effect.runFork(Fiber.interrupt(fiber))
  }
  for (const signal of options.signals) process.on(signal, stop)
  for (const signal of options.ignored ?? []) process.on(signal, () => undefined)
  const abandoned = (): void => {
    stop()
    // With its ledger, its database may be gone, and what waits for that would wait for minutes.
    setTimeout(() => process.exit(stoppedCode), graceMillis).unref()
  }
  if (options.disconnects === true) {
    // It may be gone already: this process takes longer to start than the other one to end.
    if (process.connected) process.once("disconnect", abandoned)
    else abandoned()
  }
  fiber.addObserver((exit) => {
    clearInterval(keepAlive)
    for (const signal of options.signals) process.off(signal, stop)
    process.off("disconnect", abandoned)
    if (process.connected) process.disconnect()
    if (Exit.isSuccess(exit)) {
      process.exitCode = exit.value
    } else if (Cause.hasInterruptsOnly(exit.cause)) {
      process.exitCode = stoppedCode
    } else {
      console.error(Cause.pretty(exit.cause))
      process.exitCode = 1
    }
  })
}

/** Why a program failed, for its user: the message of a typed failure, all that is known of a defect. */
export const messageOf = (cause: Cause.Cause<unknown>): string => {
  const fail = cause.reasons.find(Cause.isFailReason)
  if (fail === undefined) return Cause.pretty(cause)
  return fail.error instanceof Error ? fail.error.message : String(fail.error)
}
