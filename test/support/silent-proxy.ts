import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { listen } from '../../harness/listen.ts'

/** A proxy to a port of 127.0.0.1 that can drop all bytes in both directions, as after a cable was pulled. */
export async function startSilentProxy (t: Test, port: number) {
  const sockets = new Set<Socket>()
  let isSilent = false
  const forward = (from: Socket, to: Socket): void => {
    sockets.add(from)
    from.on('data', (bytes) => { if (!isSilent) to.write(bytes) })
    from.on('error', () => {}).on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1')
    forward(client, server)
    forward(server, client)
  })
  const ownPort = await listen(proxy)
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  return { port: ownPort, silence: (silent: boolean) => { isSilent = silent } }
}
