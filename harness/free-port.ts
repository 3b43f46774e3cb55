import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { listen } from './listen.ts'

/**
 * A free port of 127.0.0.1 that stays free while no process listens on it, so that a process can be started again on its
 * port. It is below the range from which the system takes the ports of outgoing connections: one of these could take the
 * port in the meantime, or even connect to itself. The choice does not depend on the seed of a run, because two runs with
 * the same seed may go on at the same time.
 */
export async function freePort (): Promise<number> {
  for (;;) {
    const server = createServer()
    const port = await listen(server, randomInt(20_000, 32_000)).catch(() => undefined)
    if (port === undefined) continue
    server.close()
    await once(server, 'close')
    return port
  }
}
