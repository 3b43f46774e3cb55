import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { startChromium, takePicture } from '../support/chromium.ts'
import { startService } from '../support/service.ts'

const studio = newTestKey('studio')

/** A page of another site. Its host is another one than that of the service, so browsers call its requests cross-site. */
async function startSite (t: Test): Promise<{ origin: string, show: (html: string) => void }> {
  let html = ''
  const server = createServer((_, response) => { response.setHeader('content-type', 'text/html').end(html) }).listen(0, 'localhost')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { origin: `http://localhost:${(server.address() as AddressInfo).port}`, show: (text) => { html = text } }
}

/** A service, and a page of another origin in a browser. @param env depends on the origin of that page */
async function openSite (t: Test, env: (origin: string) => Record<string, string>, html: (serviceUrl: string) => string = () => '') {
  const { origin, show } = await startSite(t)
  const { app, emulator } = await startService(t, { env: env(origin), emulator: { generationMs: 300 } })
  const serviceUrl = await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = await startChromium(t)
  const page = await browser.newPage()
  const lines: string[] = []
  page.on('console', (message) => lines.push(message.text()))
  page.on('pageerror', (error) => lines.push(String(error)))
  show(`<!doctype html><title>Another site</title>${html(serviceUrl)}`)
  await page.goto(origin)
  return { page, serviceUrl, emulator, lines }
}

/** Calls `fetch` in the page. @returns what the page can see */
async function fetchIn (page: Page, url: string, init: object = {}): Promise<{ status?: number, headers?: Record<string, string>, body?: string, error?: string }> {
  return await page.evaluate(async ({ url, init }) => {
    try {
      const response = await fetch(url, init)
      return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
    } catch (error) {
      return { error: String(error) }
    }
  }, { url, init })
}

const createPath = '/generate-video?dream=A+whale&style=Cursed'

t.test('the client of docs/clients.md makes a video with an API key, on a page of an allowed origin', async (t) => {
  const document = await readFile(new URL('../../docs/clients.md', import.meta.url), 'utf8')
  const code = /```js\n([^]*?)```/.exec(document)?.[1] ?? ''
  const { lines, emulator } = await openSite(t, (origin) => ({ API_KEYS: keyList([studio]), CORS_ORIGINS: origin }), (serviceUrl) => {
    const env = JSON.stringify({ SERVICE: serviceUrl, API_KEY: studio.key, FIRST_PAUSE_SECONDS: '0.1' })
    return `<script>globalThis.process = { env: ${env} }</script><script type="module">${code}</script>`
  })
  await until(() => lines.length > 0, 'the client to end', { timeoutMs: 30_000 })
  t.match(lines, [/^completed http:.*\.mp4$/])
  t.equal(emulator.predictions.length, 1)
})

t.test('a page of an allowed origin follows the events with its key, reads each header, cancels and deletes, and shows the video', async (t) => {
  const { page, serviceUrl, lines } = await openSite(t, (origin) => ({ API_KEYS: keyList([studio]), CORS_ORIGINS: `https://other.example,${origin}` }))
  const created = await fetchIn(page, serviceUrl + createPath, { method: 'POST', headers: { ...studio.headers, 'Idempotency-Key': 'one', Prefer: 'respond-async' } })
  t.match(created, { status: 202, headers: { location: /^\/video-status\//, 'retry-after': '5', 'preference-applied': 'respond-async', 'x-request-id': /./ } })
  const taskUrl = serviceUrl + created.headers?.location
  const events = await fetchIn(page, `${taskUrl}/events`, { headers: { ...studio.headers, 'Last-Event-ID': '1' } })
  t.match(events, { status: 200, body: /event: status\nid: \d+\ndata: .*"status":"completed"/ })
  const status = await fetchIn(page, taskUrl, { headers: studio.headers })
  const { video_url: videoUrl } = JSON.parse(status.body ?? '')
  t.match(await fetchIn(page, taskUrl, { headers: { ...studio.headers, 'If-None-Match': status.headers?.etag } }), { status: 304 })
  t.match(await fetchIn(page, videoUrl, { headers: { Range: 'bytes=0-1' } }), { status: 206 })
  const width = await page.evaluate(`(async () => {
    const video = document.body.appendChild(Object.assign(document.createElement('video'), { src: ${JSON.stringify(videoUrl)} }))
    await new Promise((resolve, reject) => { video.onloadeddata = resolve; video.onerror = () => reject(video.error) })
    return video.videoWidth
  })()`)
  t.equal(width, 360)
  await takePicture(page, 'other-origin')
  t.match(await fetchIn(page, `${taskUrl}/cancel`, { method: 'POST', headers: studio.headers }), { status: 409 })
  t.match(await fetchIn(page, taskUrl, { method: 'DELETE', headers: studio.headers }), { status: 204 })
  t.match(JSON.parse((await fetchIn(page, taskUrl, { headers: studio.headers })).body ?? ''), { code: 'task_not_found' })
  t.match(JSON.parse((await fetchIn(page, taskUrl)).body ?? ''), { code: 'api_key_missing' }, 'a refusal can be read')
  // The console has a line for each answer of 400 and above, and none about CORS.
  t.notOk(lines.some((line) => line.includes('CORS')), lines.join('\n'))
})

t.test('an EventSource of an allowed origin follows a task of a service without keys', async (t) => {
  const { page, serviceUrl } = await openSite(t, (origin) => ({ CORS_ORIGINS: origin }))
  const created = await fetchIn(page, serviceUrl + createPath, { method: 'POST' })
  t.match(created, { status: 200 })
  const last = await page.evaluate(`new Promise((resolve, reject) => {
    const events = new EventSource(${JSON.stringify(`${serviceUrl}${created.headers?.location}/events`)})
    events.onerror = reject
    events.addEventListener('status', ({ data }) => {
      const { status } = JSON.parse(data)
      if (status === 'completed' || status === 'failed') { events.close(); resolve(status) }
    })
  })`)
  t.equal(last, 'completed')
})

t.test('a page of another origin can neither create a video nor read an answer, with or without a key', async (t) => {
  for (const env of [{}, { API_KEYS: keyList([studio], { name: 'anonymous' }) }]) {
    const { page, serviceUrl, emulator } = await openSite(t, () => ({ ...env, CORS_ORIGINS: 'https://other.example' }))
    for (const init of [{ method: 'POST' }, { method: 'POST', mode: 'no-cors' }, { method: 'POST', headers: studio.headers }, { method: 'POST', body: 'x', headers: { 'content-type': 'text/plain' } }]) {
      const seen = await fetchIn(page, serviceUrl + createPath, init)
      t.ok(seen.error !== undefined || seen.status === 0, JSON.stringify(seen))
    }
    for (const path of ['/video-status', '/openapi.json', '/docs', '/nowhere']) t.match(await fetchIn(page, serviceUrl + path), { error: /Failed to fetch/ }, path)
    t.match(await fetchIn(page, `${serviceUrl}/video-status`, { headers: studio.headers }), { error: /Failed to fetch/ })
    t.equal(emulator.predictions.length, 0)
  }
})
