import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import t from 'tap'
import { startService } from '../support/service.ts'

const folder = new URL('../../public/', import.meta.url)
const names = readdirSync(new URL('studio/', folder))
const types: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.woff2': 'font/woff2'
}
const decode = { br: brotliDecompressSync, gzip: gunzipSync }
const everything = { 'accept-encoding': 'gzip, deflate, br, zstd' }

t.test('the studio is at /, and its files have their types', async (t) => {
  const { app } = await startService(t)
  const page = await app.inject('/')
  t.match(page, { statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' } })
  t.equal(page.body, readFileSync(new URL('index.html', folder), 'utf8'))
  t.ok(names.includes('main.js') && names.includes('studio.css'))
  for (const name of names) {
    const file = await app.inject(`/studio/${name}`)
    const cacheControl = name.endsWith('.woff2') ? 'public, max-age=31536000, immutable' : 'no-cache'
    t.match(file, { statusCode: 200, headers: { 'content-type': types[extname(name)] ?? 'a type that browsers know', 'cache-control': cacheControl } }, name)
    t.ok(file.rawPayload.equals(readFileSync(new URL(`studio/${name}`, folder))), name)
  }
})

t.test('a text is compressed as the client accepts it, each form with an ETag of its own', async (t) => {
  const { app } = await startService(t, { env: { CORS_ORIGINS: 'https://other.example' } })
  const etags = new Set<unknown>()
  for (const url of ['/', '/studio/main.js', '/docs/static/swagger-ui.css', '/openapi.json']) {
    const plain = await app.inject(url)
    t.notOk('content-encoding' in plain.headers, url)
    for (const [accepted, encoding] of [['gzip, deflate, br, zstd', 'br'], ['gzip, deflate', 'gzip'], ['br;q=0.5, gzip', 'gzip'], ['*', 'br']] as const) {
      const headers = { 'accept-encoding': accepted }
      const answers = await Promise.all([app.inject({ url, headers }), app.inject({ url, headers })])
      for (const { headers, rawPayload } of answers) {
        t.match(headers, { 'content-encoding': encoding, 'content-type': plain.headers['content-type'], 'content-length': String(rawPayload.length) }, `${url} ${accepted}`)
        t.ok(decode[encoding](rawPayload).equals(plain.rawPayload), `${url} ${accepted}`)
        t.match(headers.vary, /Accept-Encoding/)
        t.match(headers.vary, /Origin/, 'the header of the cross-origin plugin stays')
        etags.add(headers.etag)
      }
    }
    for (const accepted of ['identity', 'deflate', 'br;q=0, gzip;q=0', 'identity, br;q=0.1', '', 'ä']) {
      const { headers, rawPayload } = await app.inject({ url, headers: { 'accept-encoding': accepted } })
      t.notOk('content-encoding' in headers, `${url} ${accepted}`)
      t.ok(rawPayload.equals(plain.rawPayload))
      t.match(headers.vary, /Accept-Encoding/)
      etags.add(headers.etag)
    }
  }
  t.equal(etags.size, 12, 'three forms of four documents')
  const image = await app.inject({ url: '/docs/static/favicon-32x32.png', headers: everything })
  t.notOk('content-encoding' in image.headers, 'an image is compressed already')
  t.notMatch(image.headers.vary, /Accept-Encoding/)
})

t.test('304 confirms a current copy of the same form', async (t) => {
  const { app } = await startService(t)
  for (const url of ['/', '/studio/studio.css']) {
    const { headers: { etag = '' } } = await app.inject({ url, headers: everything })
    const unchanged = await app.inject({ url, headers: { ...everything, 'if-none-match': etag } })
    t.match({ ...unchanged, body: unchanged.body }, { statusCode: 304, body: '', headers: { etag, vary: 'Accept-Encoding', 'cache-control': 'no-cache' } })
    t.notOk('content-encoding' in unchanged.headers)
    t.equal((await app.inject({ url, headers: { 'if-none-match': etag } })).statusCode, 200, 'the client has it compressed, and cannot use that any more')
  }
})

t.test('HEAD is answered like GET, without the body', async (t) => {
  const { app } = await startService(t)
  for (const url of ['/', '/studio/main.js']) {
    const get = await app.inject({ url, headers: everything })
    const head = await app.inject({ method: 'HEAD', url, headers: everything })
    t.equal(head.body, '')
    t.match(head, { statusCode: 200 })
    for (const name of ['content-type', 'content-length', 'content-encoding', 'etag', 'vary', 'cache-control']) t.equal(head.headers[name], get.headers[name], name)
  }
})

t.test('there is nothing but the files of the studio', async (t) => {
  const { app } = await startService(t)
  const urls = [
    '/studio', '/studio/', '/studio/none.js', '/studio/index.html', '/studio/..%2findex.html', '/studio/..%2f..%2fpackage.json', '/studio/%2e%2e/tsconfig.json',
    '/studio/%2e%2e%2ftsconfig.json', '/studio/main.js%00', '/studio/a/main.js', '/index.html', '/tsconfig.json', `/studio/${'a'.repeat(5_000)}`
  ]
  for (const url of urls) t.match((await app.inject(url)).json(), { status: 404, code: 'not_found' }, url)
  t.match((await app.inject({ method: 'POST', url: '/' })), { statusCode: 405, headers: { allow: 'GET, HEAD' } })
})

t.test('the page can only do what it needs', async (t) => {
  const { app } = await startService(t, { env: { PUBLIC_URL: 'https://dreams.example/base' } })
  for (const url of ['/', '/studio/main.js']) {
    const { headers } = await app.inject({ url, headers: { host: 'dreams.example' } })
    const policy = String(headers['content-security-policy'])
    t.match(policy, "default-src 'none';script-src 'self';style-src 'self';")
    t.match(policy, "connect-src 'self' https://dreams.example;")
    t.notMatch(policy, /unsafe/)
    t.match(headers, { 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff', 'cross-origin-resource-policy': 'same-origin' })
  }
})

t.test('the page opens without a key, without a limit, and by a link of another site', async (t) => {
  const { app } = await startService(t, { env: { API_KEYS: JSON.stringify([{ name: 'a', sha256: 'a'.repeat(64) }]), READS_PER_MINUTE: '1' } })
  for (let n = 0; n < 3; n++) {
    for (const url of ['/', '/studio/main.js']) t.equal((await app.inject(url)).statusCode, 200)
  }
  const open = await startService(t)
  const visit = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal((await open.app.inject({ url: '/', headers: visit })).statusCode, 200)
  const embed = { ...visit, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' }
  t.match((await open.app.inject({ url: '/studio/main.js', headers: embed })).json(), { code: 'cross_site_request' })
})

t.test('STUDIO=off removes the page and nothing else', async (t) => {
  const { app } = await startService(t, { env: { STUDIO: 'off' } })
  for (const url of ['/', '/studio/main.js', '/studio/none.js']) t.match((await app.inject(url)).json(), { status: 404, code: 'not_found' }, url)
  t.equal((await app.inject('/docs/')).statusCode, 200)
})
