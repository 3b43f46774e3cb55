import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readlink } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { startService } from '../support/service.ts'
import { createStoredVideo } from '../support/stored-video.ts'

/** How many descriptors of this process are open for the file. */
async function countOpen (file: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd')
  const targets = await Promise.all(descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')))
  return targets.filter((target) => target === file).length
}

t.test('a client that leaves in the middle of a video, or reads none of it, keeps no file open once its connection is closed', async (t) => {
  const dataDir = t.testdir()
  const { app } = await startService(t, { env: { DATA_DIR: dataDir } })
  const content = randomBytes(32_000_000)
  const { name } = await createStoredVideo(app, { content })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const file = join(dataDir, 'videos', name)
  const clients = Array.from({ length: 8 }, () => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write(`GET /videos/${name} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
    return socket
  })
  // What a client does not read stays in the file, because the buffers of a connection do not hold all of it.
  await Promise.all(clients.map((socket) => once(socket, 'readable')))
  t.equal(await countOpen(file), clients.length)
  for (const [index, socket] of clients.entries()) {
    if (index % 2 === 0) socket.destroy()
    else socket.resetAndDestroy()
  }
  await until(async () => await countOpen(file) === 0, 'the file to be closed')
  const response = await fetch(`http://127.0.0.1:${port}/videos/${name}`)
  t.ok(content.equals(Buffer.from(await response.arrayBuffer())))
})
