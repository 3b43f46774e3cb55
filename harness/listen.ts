import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'

/**
 * Listens on 127.0.0.1.
 * @param port any free one where none is given
 * @returns the port
 */
export async function listen (server: Server, port = 0): Promise<number> {
  await once(server.listen(port, '127.0.0.1'), 'listening')
  // The boundary: a server that listens on a port has an address of this kind.
  return (server.address() as AddressInfo).port
}

/** A port of 127.0.0.1 that refuses connections: it was free a moment ago, and the system gives it away only when it has to. */
export async function closedPort (): Promise<number> {
  const server = createServer()
  const port = await listen(server)
  server.close()
  await once(server, 'close')
  return port
}
