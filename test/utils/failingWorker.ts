/**
 * A process of workers that fails at once, in place of one that works.
 */
console.error("it has had enough")
process.exitCode = 3
process.disconnect?.()
