import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import pg from 'pg'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { matchList } from '../support/match-list.ts'
import { createDatabase } from '../support/postgres.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'
import { startSilentProxy } from '../support/silent-proxy.ts'

const endless = { generationMs: 600_000 }
const dream = '/generate-video?dream=A%20whale&style=Cursed'
const longDream = `/generate-video?dream=${encodeURIComponent('🐳'.repeat(2_000))}&style=Cursed`

/** What clients have sent on a connection: none of it is a complete request. */
const unfinished = {
  nothing: '',
  'half a head': 'GET /livez HTTP/1.1\r\nHost: localh',
  'half a body': `POST ${dream} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf`,
  'half a chunk': `POST ${dream} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf`,
  'half a pipelined head': 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HT',
  'a tunnel': 'CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'an upgrade': 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
}

for (const backend of ['SQLite', 'PostgreSQL'] as const) {
  t.test(`connections without a complete request do not delay a shutdown, on ${backend}`, async (t) => {
    const { service, url, post, emulator, jobs } = await start(t, backend, endless, { HOST: 'localhost' })
    await Promise.all(Array.from({ length: 20 }, () => post()))
    await until(() => emulator.predictions.length === 20 || undefined, 'every prediction')
    const sockets = []
    for (const { address: host } of await lookup('localhost', { all: true })) {
      for (const text of Object.values(unfinished)) sockets.push(await open(t, host, url, text))
    }
    const cut = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))))
    const { code, output } = await service.end('SIGTERM')
    t.equal(code, 0)
    t.notMatch(sinceStop(output), /killed by timeout|"level":[456]0/)
    await cut
    t.equal(emulator.predictions.length, 20)
    if (backend === 'PostgreSQL') t.same(await jobs(), [{ state: 'retry', message: 'released', jobs: 20 }])
  })
}

t.test('clients that do not read their response delay a shutdown for a limited time, in which no prediction is created', async (t) => {
  const { service, url, post, emulator, jobs } = await start(t, 'PostgreSQL', endless, { REPLICATE_CREATES_PER_MINUTE: '120' })
  for (let tasks = 0; tasks < 100; tasks += 20) await Promise.all(Array.from({ length: 20 }, () => post(longDream)))
  // A response has 800 kB. The operating system buffers some of them for a client that reads nothing, then one cannot be sent.
  for (let clients = 0; clients < 2; clients++) {
    const socket = await open(t, '127.0.0.1', url, 'GET /video-status?limit=100 HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(100))
    await once(socket, 'data')
    socket.pause()
  }
  await inTheEnd(() => service.output().split('"route":"/video-status"').length - 1)
  await until(() => emulator.predictions.length > 12 || undefined, 'what may leave at once to have left')
  service.signal('SIGTERM')
  await until(() => service.output().includes('"Stopping"') || undefined, 'the stop to begin')
  const before = emulator.predictions.length
  const { code, output } = await service.end()
  t.equal(code, 0)
  const warnings = sinceStop(output).split('\n').filter((line) => /"level":[456]0/.test(line)).map((line) => JSON.parse(line))
  matchList(t, warnings, [{ connections: 2, msg: 'Closing connections whose responses were not ready or not read in time' }])
  // Two a second would be sent if the jobs continued; one may have been in progress.
  t.ok(emulator.predictions.length - before < 4, `${emulator.predictions.length - before} were asked for`)
  t.same((await jobs()).filter(({ state }) => state === 'active'), [])
})

t.test('a stopping instance answers complete requests, also one that arrives late on an open connection', async (t) => {
  const { service, url, post, emulator } = await start(t, 'SQLite', endless)
  const taskId = await post()
  await until(() => emulator.predictions.length === 1 || undefined, 'the prediction')
  const waiting = await open(t, '127.0.0.1', url, `GET /video-status/${taskId} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n`)
  const stream = await open(t, '127.0.0.1', url, `GET /video-status/${taskId}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  const late = await open(t, '127.0.0.1', url, '')
  const answers = [waiting, stream, late].map(textOf)
  await once(stream, 'data')
  service.signal('SIGTERM')
  await until(() => service.output().includes('"Stopping"') || undefined, 'the stop to begin')
  late.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const [polled, streamed, lived] = await Promise.all(answers)
  t.match(polled, /^HTTP\/1.1 200[^]*"status":"processing"/)
  t.match(streamed, /^HTTP\/1.1 200[^]*event: status[^]*\r\n0\r\n\r\n$/)
  t.match(lived, /^HTTP\/1.1 200/)
  t.equal((await service.end()).code, 0)
})

t.test('a shutdown while PostgreSQL does not respond ends streams properly, lets the leases expire, and says so once', async (t) => {
  const { service, url, post, emulator, proxy } = await start(t, 'PostgreSQL', endless)
  const taskIds = await Promise.all(Array.from({ length: 20 }, () => post()))
  await until(() => emulator.predictions.length === 20 || undefined, 'every prediction')
  const streams = await Promise.all(taskIds.map(async (taskId) => {
    const socket = await open(t, '127.0.0.1', url, `GET /video-status/${taskId}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const text = textOf(socket)
    await once(socket, 'data')
    return { text }
  }))
  proxy.silence(true)
  const { code, output } = await service.end('SIGTERM')
  t.equal(code, 0)
  for (const { text } of streams) t.match(await text, /\r\n0\r\n\r\n$/)
  t.equal(output.split('Could not release tasks').length, 2)
  t.notMatch(output, 'killed by timeout')
})

t.test('a busy instance sends everything that it has accepted to the end, submits nothing more, and continues after the next start', async (t) => {
  const { service, url, post, emulator, restart } = await start(t, 'SQLite', endless, { MAX_IN_FLIGHT: '600' })
  const finish = async (bytes: number) => {
    const prediction = await until(() => emulator.log.all.find(({ id }) => emulator.predictions.some((view) => view.id === id && view.status !== 'succeeded')), 'a prediction')
    emulator.end(prediction, { status: 'succeeded', video: { bytes } })
  }
  const stored = await post()
  await finish(50_000_000)
  const { video_url: videoUrl } = await until(() => viewOf(url, stored, 'completed'), 'the video to be stored')
  emulator.addFault({ call: 'file', kind: 'slow', bytes_per_second: 100_000, times: 1 })
  const copied = await post()
  await finish(1_000_000)
  await until(() => emulator.calls.file === 2 || undefined, 'the copy to begin')
  for (let tasks = 0; tasks < 500; tasks += 50) await Promise.all(Array.from({ length: 50 }, () => post()))
  await until(() => emulator.predictions.length === 502 || undefined, 'every prediction', { timeoutMs: 120_000 })

  const download = await open(t, '127.0.0.1', url, '')
  const chunks: Buffer[] = []
  download.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  download.write(`GET ${new URL(videoUrl ?? '').pathname} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await once(download, 'data')
  download.pause()
  const idle = await Promise.all(['', 'GET /livez HT'].map((text) => open(t, '127.0.0.1', url, text)))
  const [waiting, stream] = await Promise.all([`/${copied} HTTP/1.1\r\nPrefer: wait=60`, `/${copied}/events HTTP/1.1`]
    .map((request) => open(t, '127.0.0.1', url, `GET /video-status${request}\r\nHost: localhost\r\n\r\n`)))
  const posts = await Promise.all(Array.from({ length: 10 }, () => open(t, '127.0.0.1', url, '')))
  const answers = Promise.all([...posts, waiting, stream].map((socket) => socket && textOf(socket)))
  const closed = Promise.all([download, ...idle].map((socket) => new Promise((resolve) => socket.once('close', resolve))))
  for (const socket of posts) socket.write(`POST ${dream} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  service.signal('SIGTERM')
  await until(() => service.output().includes('"Stopping"') || undefined, 'the stop to begin')
  const before = emulator.predictions.length
  download.resume()
  await closed
  const received = Buffer.concat(chunks)
  t.equal(received.length - received.indexOf('\r\n\r\n') - 4, 50_000_000)
  const texts = await answers
  const created = texts.slice(0, posts.length).map((text) => /"task_id":"([^"]+)"/.exec(text ?? '')?.[1])
  t.notMatch(created, [undefined])
  t.match(texts.at(-2), /^HTTP\/1.1 200[^]*"status":"processing"/)
  t.match(texts.at(-1), /event: status[^]*\r\n0\r\n\r\n$/)
  t.equal((await service.end()).code, 0)
  t.equal(emulator.predictions.length, before)

  const next = await restart()
  for (const taskId of created) t.match(await until(() => viewOf(next, taskId, 'processing'), 'a task to continue'), { task_id: taskId })
  t.match(await until(() => viewOf(next, copied, 'completed'), 'the copy to be repeated'), { task_id: copied })
  await until(() => emulator.predictions.length === 512 || undefined, 'the predictions of the last tasks')
})

async function viewOf (url: string, taskId: string | undefined, status: TaskView['status']): Promise<TaskView | undefined> {
  const view = await (await fetch(`${url}/video-status/${taskId}`)).json() as TaskView
  return view.status === status ? view : undefined
}

async function start (t: Test, backend: 'SQLite' | 'PostgreSQL', emulatorOptions: EmulatorOptions, env: Record<string, string> = {}) {
  const { emulator, apiUrl } = await startEmulator(t, emulatorOptions)
  const databaseUrl = backend === 'PostgreSQL' ? await createDatabase(t) : undefined
  const proxy = await startSilentProxy(t, Number(new URL(databaseUrl ?? 'postgres://localhost:5432').port))
  const environment = { REPLICATE_API_URL: apiUrl, ...databaseUrl === undefined ? { DATA_DIR: t.testdir() } : { DATABASE_URL: through(proxy.port, databaseUrl) }, ...env }
  const service = await runService(t, environment)
  const url = await service.listeningUrl()
  const restart = async () => (await runService(t, environment)).listeningUrl()
  const post = async (query = dream): Promise<string> => {
    const response = await fetch(url + query, { method: 'POST' })
    return (await response.json() as { task_id: string }).task_id
  }
  /** @returns the states of the jobs of all tasks */
  const jobs = async (): Promise<Array<{ state: string, message: string | null, jobs: number }>> => {
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    const { rows } = await client.query("select state::text, output ->> 'message' as message, count(*)::int as jobs from pgboss.job where name = 'generate' group by 1, 2")
    await client.end()
    return rows
  }
  return { service, url, post, emulator, proxy, jobs, restart }
}

function through (port: number, databaseUrl: string): string {
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return url.href
}

async function open (t: Test, host: string, url: string, text: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), host)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.resume()
  socket.write(text)
  return socket
}

/** What was logged from the signal on: a start without API keys is a warning. */
function sinceStop (output: string): string {
  return output.slice(output.indexOf('"Stopping"'))
}

/** @returns everything that is received until the other side closes the connection */
async function textOf (socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => { text += chunk })
  await once(socket, 'close')
  return text
}

/** @returns what `count` returns, above 0, once it has not changed for a while */
async function inTheEnd (count: () => number): Promise<number> {
  let last = 0
  let looks = 0
  return await until(() => {
    const now = count()
    looks = now === last ? looks + 1 : 0
    last = now
    return looks === 60 && now > 0 ? now : undefined
  }, 'nothing more to happen')
}
