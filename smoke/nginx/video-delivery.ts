import { once } from 'node:events'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { until } from '../../harness/until.ts'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import type { Instance } from './instance.ts'
import type { LoadClients } from './load-clients.ts'
import type { Nginx } from './nginx.ts'

/** A request for a video with the expected response. */
interface DeliveryCase { what: string, headers: Record<string, string>, status: number, contentRange?: string, body?: Buffer }

interface Video { path: string, bytes: Buffer, etag: string }

const timeoutMs = 5_000
/** Enough for nginx to choose each instance. */
const wholeRequests = 6
/** The path under which nginx logs all videos. */
const loggedPath = '/videos/…'

/** @returns a sentence for each response with a video, of nginx or of an instance, that was not as expected */
export async function checkVideoDelivery (clients: LoadClients, nginx: Nginx, instances: Instance[], predictions: PredictionView[]): Promise<string[]> {
  const video = await findVideo(clients, nginx, predictions)
  if (typeof video === 'string') return [video]
  const before = (await nginx.accessLines()).length
  const cases = deliveryCases(video)
  const whole = cases.slice(0, 1)
  const throughNginx = [...cases, ...Array.from({ length: wholeRequests - 1 }, () => whole).flat()]
  const findings = await Promise.all([
    ...throughNginx.map((one) => checkCase('nginx', nginx.url, video, one)),
    checkHead('nginx', nginx.url, video),
    ...instances.flatMap(({ port }) => {
      const [name, url] = [`instance ${port}`, `http://127.0.0.1:${port}`]
      return [...cases.map((one) => checkCase(name, url, video, one)), checkHead(name, url, video)]
    })
  ])
  return [...findings.flat(), ...await checkUpstreams(nginx, before, throughNginx.length + 1)]
}

/** @returns the video of the last task, with the bytes that the emulator has, or a sentence that tells why there is none */
async function findVideo ({ tasks }: LoadClients, { url }: Nginx, predictions: PredictionView[]): Promise<Video | string> {
  const task = tasks.at(-1)
  if (task === undefined) return 'no task was created, so no video can be checked'
  const view = await (await get(`${url}/video-status/${task.taskId}`)).json() as { status?: unknown, video_url?: unknown }
  const output = predictions.find(({ input }) => String(input.prompt).includes(task.key))?.output
  const source = Array.isArray(output) ? output[0] : output
  if (typeof view.video_url !== 'string' || typeof source !== 'string') return `task ${task.taskId} is ${String(view.status)} and has no video`
  const original = await get(source)
  const bytes = Buffer.from(await original.arrayBuffer())
  if (!original.ok) return `the emulator answered ${original.status} for the video of task ${task.taskId}`
  const path = new URL(view.video_url).pathname
  const response = await get(url + path)
  await response.body?.cancel()
  const etag = response.headers.get('etag')
  return etag === null ? `the video of task ${task.taskId} was answered with ${response.status} and no ETag` : { path, bytes, etag }
}

/** The first case is the whole video. */
function deliveryCases ({ bytes, etag }: Video): DeliveryCase[] {
  const size = bytes.length
  const middle = Math.floor(size / 2)
  const part = (start: number, end: number) => ({ status: 206, contentRange: `bytes ${start}-${end}/${size}`, body: bytes.subarray(start, end + 1) })
  const whole = { status: 200, body: bytes }
  return [
    { what: 'the whole video', headers: {}, ...whole },
    // Safari plays no video without it.
    { what: 'the first two bytes', headers: { range: 'bytes=0-1' }, ...part(0, 1) },
    { what: 'the last ten bytes', headers: { range: 'bytes=-10' }, ...part(size - 10, size - 1) },
    { what: 'bytes in the middle', headers: { range: `bytes=${middle}-${middle + 99}` }, ...part(middle, middle + 99) },
    { what: 'a range beyond the end', headers: { range: `bytes=${size}-` }, status: 416, contentRange: `bytes */${size}` },
    { what: 'a range with If-Range', headers: { range: 'bytes=0-1', 'if-range': etag }, ...part(0, 1) },
    { what: 'a range with another If-Range', headers: { range: 'bytes=0-1', 'if-range': '"another"' }, ...whole },
    { what: 'If-None-Match', headers: { 'if-none-match': etag }, status: 304, body: Buffer.alloc(0) }
  ]
}

async function checkCase (server: string, url: string, { path }: Video, { what, headers, status, contentRange, body }: DeliveryCase): Promise<string[]> {
  try {
    const response = await get(url + path, headers)
    const received = Buffer.from(await response.arrayBuffer())
    const range = response.headers.get('content-range') ?? undefined
    if (response.status === status && range === contentRange && (body === undefined || received.equals(body))) return []
    const expected = `${status}, ${contentRange}${body === undefined ? '' : `, ${body.length} bytes of the video`}`
    return [`${what} from ${server}: ${response.status}, Content-Range ${range}, ${received.length} bytes, expected ${expected}`]
  } catch (error) {
    return [`${what} from ${server}: ${String(error)}`]
  }
}

/** Reads from a socket, because clients for HTTP ignore a body after HEAD. */
async function checkHead (server: string, url: string, { path, bytes }: Video): Promise<string[]> {
  const { hostname, port, host } = new URL(url)
  const socket = connect(Number(port), hostname)
  try {
    const signal = AbortSignal.timeout(timeoutMs)
    signal.addEventListener('abort', () => socket.destroy(new Error('HEAD takes too long')))
    await once(socket, 'connect')
    socket.write(`HEAD ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    const [head = '', ...body] = (await buffer(socket)).toString('latin1').split('\r\n\r\n')
    const length = /^content-length: (\d+)\r?$/im.exec(head)?.[1]
    const isRight = head.startsWith('HTTP/1.1 200 ') && length === String(bytes.length) && body.join('') === ''
    return isRight ? [] : [`HEAD from ${server}: ${head.split('\r\n')[0]}, Content-Length ${length}, expected ${bytes.length} and no body`]
  } catch (error) {
    return [`HEAD from ${server}: ${String(error)}`]
  } finally {
    socket.destroy()
  }
}

/** If only one instance has answered, the responses through nginx prove nothing about the others. */
async function checkUpstreams (nginx: Nginx, before: number, requests: number): Promise<string[]> {
  const lines = async () => (await nginx.accessLines()).slice(before).filter(({ path }) => path === loggedPath)
  // nginx logs a request after its response.
  await until(async () => (await lines()).length >= requests, 'nginx to log the videos', { timeoutMs }).catch(() => undefined)
  const upstreams = new Set((await lines()).map(({ upstream }) => upstream))
  return upstreams.size > 1 ? [] : [`nginx got all videos from ${[...upstreams].join() || 'no instance'}`]
}

function get (url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers, signal: AbortSignal.timeout(timeoutMs) })
}
