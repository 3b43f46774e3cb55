import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import pageHeaders from '../../plugins/page-headers.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { startChromium } from '../support/chromium.ts'
import { buildEdgeApp } from '../support/edge-app.ts'
import { startService } from '../support/service.ts'

const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'

/** Another origin with an image, a script and a page. */
async function startOther (t: Test, html: string): Promise<string> {
  const server = createServer(({ url }, response) => {
    const [type, body] = url === '/image.svg' ? ['image/svg+xml', svg] : url === '/script.js' ? ['text/javascript', 'window.foreignRan = true'] : ['text/html', html]
    response.setHeader('access-control-allow-origin', '*').setHeader('content-type', type).end(body)
  }).listen(0, 'localhost')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://localhost:${(server.address() as AddressInfo).port}`
}

const pageOf = (other: string) => `<!doctype html><title>x</title><link rel="stylesheet" href="/style.css"><p id="text">x</p>
  <img id="own" src="/image.svg"><img id="file" src="${other}/image.svg"><img id="inline" src="data:image/svg+xml,${encodeURIComponent(svg)}">
  <script>window.inlineRan = true</script><script src="${other}/script.js"></script><script src="/script.js"></script>`

t.test('a page of the service runs its own scripts only, and reads only from the service and from where the files are', async (t) => {
  const files = await startOther(t, '')
  const stranger = await startOther(t, '')
  const { app } = await buildEdgeApp(t, {}, (scope) => {
    scope.register(pageHeaders, { fileSources: [files], hasInlineStyles: false })
    scope.get('/', (_, reply) => reply.type('text/html').send(pageOf(files)))
    scope.get('/style.css', (_, reply) => reply.type('text/css').send('#text { color: rgb(1, 2, 3) }'))
    scope.get('/image.svg', (_, reply) => reply.type('image/svg+xml').send(svg))
    scope.get('/script.js', (_, reply) => reply.type('text/javascript').send('window.ownRan = true'))
    scope.get('/events', (_, reply) => reply.type('text/event-stream').send('data: x\n\n'))
  })
  const page = await (await startChromium(t)).newPage()
  await page.goto(await app.listen({ port: 0, host: '127.0.0.1' }), { waitUntil: 'load' })
  t.same(await page.evaluate(`({
    own: window.ownRan, inline: window.inlineRan, foreign: window.foreignRan,
    color: getComputedStyle(document.querySelector('#text')).color,
    images: ['own', 'file', 'inline'].map((id) => document.getElementById(id).naturalWidth)
  })`), { own: true, color: 'rgb(1, 2, 3)', images: [7, 7, 7] })
  const read = (url: string) => page.evaluate(`fetch(${JSON.stringify(url)}).then((response) => response.text(), () => 'refused')`)
  t.equal(await read('/events'), 'data: x\n\n')
  t.equal(await read(`${files}/image.svg`), svg)
  t.equal(await read(`${stranger}/image.svg`), 'refused')
})

t.test('a page of another site cannot show /docs in a frame', async (t) => {
  // With keys, the page itself is served to everyone.
  const { app } = await startService(t, { env: { API_KEYS: keyList([newTestKey('app')]) } })
  const docs = `${await app.listen({ port: 0, host: '127.0.0.1' })}/docs/`
  const page = await (await startChromium(t)).newPage()
  const messages: string[] = []
  page.on('console', (message) => messages.push(message.text()))
  await page.goto(await startOther(t, `<!doctype html><title>x</title><iframe src="${docs}"></iframe>`), { waitUntil: 'load' })
  t.match(messages, [/frame-ancestors 'none'/])
  await page.goto(docs)
  await page.getByText('Create a video', { exact: true }).waitFor()
})
