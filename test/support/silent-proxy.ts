import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A way to a port of 127.0.0.1 on which bytes can get lost in both directions, as behind a cable that was pulled. */
export async function startSilentProxy (t: Test, port: number) {
  const sockets = new Set<Socket>()
  let isSilent = false
  const pass = (from: Socket, to: Socket): void => {
    sockets.add(from)
    from.on('data', (bytes) => { if (!isSilent) to.write(bytes) })
    from.on('error', () => {}).on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1')
    pass(client, server)
    pass(server, client)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  const { port: ownPort } = proxy.address() as AddressInfo
  return { port: ownPort, silence: (silent: boolean) => { isSilent = silent } }
}
