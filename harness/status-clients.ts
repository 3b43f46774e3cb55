import { NodeProcess } from './node-process.ts'
import type { ClientsOrder, ClientsReport, Notification } from './status-client-process.ts'
import { until } from './until.ts'

/** Thousands of clients that wait for the end of their tasks, in a process of their own. */
export class StatusClients {
  readonly #process = new NodeProcess({ args: ['harness/status-client-process.ts'], channel: 'ipc' })

  /** Resolves when all are connected and have sent their first request; those that poll send it within 5 s. */
  async open (order: ClientsOrder): Promise<void> {
    await this.#process.ask(order)
  }

  async report (): Promise<ClientsReport> {
    return await this.#process.ask<ClientsReport>('report')
  }

  /**
   * Waits until `count` clients have been notified of the end of their tasks, at most 30 s.
   * @returns all notifications since the start
   */
  async notified (count: number): Promise<Notification[]> {
    return await until(async () => {
      const { notifications } = await this.report()
      return notifications.length >= count && notifications
      // Each question takes CPU time that the clients need.
    }, `${count} clients to be notified`, { timeoutMs: 30_000, intervalMs: 1_000 })
  }

  async stop (): Promise<void> {
    await this.#process.kill()
  }
}
