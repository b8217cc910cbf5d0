/**
 * A scheduler that runs when it is told to.
 *
 * All fibers of a history share one queue of tasks. Draining it to the end leaves every fiber waiting: for the
 * database, for time, or for something that no history controls.
 */
import type * as Fiber from "effect/Fiber"
import type { Scheduler, SchedulerDispatcher } from "effect/Scheduler"

/** Tasks that one step may take; beyond, something spins. */
const maxTasks = 1_000_000

/** One queue for all fibers, in the order in which they ask. */
export class Turns implements Scheduler, SchedulerDispatcher {
  readonly executionMode = "sync"
  private tasks: Array<() => void> = []

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  makeDispatcher(): SchedulerDispatcher {
    return this
  }

  scheduleTask(task: () => void): void {
    this.tasks.push(task)
  }

  flush(): void {
    let count = 0
    while (this.tasks.length > 0) {
      const tasks = this.tasks
      this.tasks = []
      count += tasks.length
      if (count > maxTasks) throw new Error("a program spins: it yields without end, and never waits")
      for (const task of tasks) task()
    }
  }
}
