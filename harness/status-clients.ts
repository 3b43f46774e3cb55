import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { ClientsOrder, ClientsReport } from './status-client-process.ts'

const longestMs = 30_000

/** Thousands of clients in a process of their own. */
export class Clients {
  #child: ChildProcess

  constructor () {
    this.#child = fork(new URL('status-client-process.ts', import.meta.url), { execArgv: [] })
  }

  /** Resolves when all are connected and have asked; those that poll will have within 5 s. */
  async open (order: ClientsOrder): Promise<void> {
    this.#child.send(order)
    await this.#answer()
  }

  async report (): Promise<ClientsReport> {
    this.#child.send('report')
    return await this.#answer() as ClientsReport
  }

  /** What so many clients were told, once they all were. */
  async told (count: number): Promise<ClientsReport['told']> {
    for (let giveUpAt = performance.now() + longestMs; ;) {
      // Asking is work for the processor that the clients need.
      await delay(1_000)
      const { told } = await this.report()
      if (told.length >= count) return told
      if (performance.now() > giveUpAt) throw new Error(`${told.length} of ${count} clients were told`)
    }
  }

  async stop (): Promise<void> {
    this.#child.kill('SIGKILL')
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'close')
  }

  async #answer (): Promise<unknown> {
    const over = new AbortController()
    const end = once(this.#child, 'close', { signal: over.signal }).then(() => { throw new Error('The clients ended') })
    try {
      const [message] = await Promise.race([once(this.#child, 'message', { signal: over.signal }), end])
      return message
    } finally {
      end.catch(() => undefined)
      over.abort()
    }
  }
}
