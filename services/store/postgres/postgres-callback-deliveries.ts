import type { Log } from '../../runtime/log.ts'
import type { Task } from '../../tasks/task.ts'
import type { CallbackDeliveries, CallbackDelivery, DueDelivery, NextAttempt } from '../callback-deliveries.ts'
import { JobLeases } from './job-leases.ts'
import { deliveryQueue, type PostgresDatabase } from './postgres-database.ts'
import type { Database } from './postgres-transaction.ts'

export interface PostgresCallbackDeliveriesOptions {
  database: PostgresDatabase
  loadTask: (taskId: string) => Promise<Task | undefined>
  log: Log
}

interface DeliveryJob { taskId: string, attempt: number }

/** Each attempt is a pg-boss job. The transaction that ends a job inserts the job of the next attempt. */
export class PostgresCallbackDeliveries implements CallbackDeliveries {
  #options
  #leases
  #listeners: Array<() => void> = []

  constructor (options: PostgresCallbackDeliveriesOptions) {
    this.#options = options
    this.#leases = new JobLeases<DeliveryJob>({ database: options.database, queue: deliveryQueue, log: options.log })
  }

  async claim (limit: number): Promise<CallbackDelivery[]> {
    const { database, loadTask } = this.#options
    const jobs = await database.withRetry(() => this.#leases.claim(limit))
    try {
      const found = await Promise.all(jobs.map(async ({ id, data }) => ({ id, task: await loadTask(data.taskId), attempt: data.attempt })))
      // A removed task needs no callback, so its job is done.
      await Promise.all(found.filter(({ task }) => task === undefined).map(({ id }) => this.#leases.release(id, true)))
      return found.filter((delivery): delivery is CallbackDelivery => delivery.task !== undefined)
    } catch (error) {
      this.#leases.abandon(jobs.map(({ id }) => id))
      throw error
    }
  }

  async finishAttempt ({ id, task, attempt }: CallbackDelivery, next?: NextAttempt): Promise<void> {
    await this.#leases.complete(id, next && { data: { taskId: task.id, attempt: next.attempt ?? attempt + 1 }, startAfter: next.inMs / 1_000 })
  }

  onDue (listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Call it after the commit that added a delivery. */
  notifyDue (): void {
    for (const notify of this.#listeners) notify()
  }

  close (): Promise<void> {
    return this.#leases.close()
  }
}

/** Call it in the transaction that ends the tasks. */
export async function insertDeliveries (db: Database, deliveries: DueDelivery[], { boss }: PostgresDatabase): Promise<void> {
  if (deliveries.length === 0) return
  await boss.insert(deliveryQueue, deliveries.map(({ taskId, attempt, inMs }) => ({ data: { taskId, attempt }, startAfter: inMs / 1_000 })), { db })
}
